//! Whether a set of files would work, before it goes live: servers accept far too much at a reload.

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime as WebTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::inspect::{certificates, inspect_der};
use super::{CertInfo, KeyEvidence, KeyKind, PkiError, PrivateKey, Profile, San, UnixTime, date, public_half};
use crate::secret::Secret;

/// A set as it lies, or would lie, on a host.
#[derive(Debug, Clone, Copy)]
pub struct CertSet<'a> {
    /// The leaf first, then intermediates, PEM.
    pub cert: &'a str,
    /// The authorities that its peers trust, PEM.
    pub trust: &'a str,
    /// What is known of the private key.
    pub key: &'a KeyEvidence,
}

/// What the set must be good for.
#[derive(Debug, Clone, Default)]
pub struct VerifyPolicy {
    /// It must serve.
    pub server_auth: bool,
    /// It must connect.
    pub client_auth: bool,
    /// It must be valid for these names.
    pub names: Vec<San>,
    /// It must be this one's.
    pub common_name: Option<String>,
}

impl VerifyPolicy {
    /// What a leaf of a profile must be good for.
    pub fn of(profile: Profile, names: &[San]) -> VerifyPolicy {
        VerifyPolicy {
            server_auth: profile.server_auth(),
            client_auth: profile.client_auth(),
            names: names.to_vec(),
            common_name: None,
        }
    }

    /// What a leaf that is asked for must be good for. Of what `ours` signs everything is wanted; public authorities have ceased
    /// to give servers a client's purpose, and only nodes of a cluster and applications need that.
    pub fn signed(request: &super::Request, ours: bool) -> VerifyPolicy {
        let client_auth = request.profile.client_auth() && (ours || request.profile != Profile::Server);
        VerifyPolicy { client_auth, ..Self::of(request.profile, &request.sans) }
    }
}

/// A pair that was made elsewhere, good as it is.
#[derive(Debug)]
pub struct Admitted {
    /// What its certificate says.
    pub info: CertInfo,
    /// Its key in the form that every server reads, and that a host can judge: [`PrivateKey::to_pem`].
    pub key_pem: Secret,
}

/// One reason why a set would not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not readable at all.
    #[error("{0}")]
    Unreadable(String),
    /// Too late.
    #[error("the certificate expired at {0}")]
    Expired(String),
    /// Too early.
    #[error("the certificate becomes valid only at {0}: is this host's or the issuer's clock wrong?")]
    NotYetValid(String),
    /// Not from here.
    #[error("the certificate does not lead to any of the trusted authorities ({trusted}): {why}")]
    NoChain {
        /// Their subjects.
        trusted: String,
        /// What the path builder said.
        why: String,
    },
    /// From here, but too late.
    #[error("the authority {subject} that signed it expired at {date}")]
    AuthorityExpired {
        /// Its subject.
        subject: String,
        /// Its last moment.
        date: String,
    },
    /// A trust file without an authority.
    #[error("the trust file holds no self-signed authority, and OpenSSL follows chains to one")]
    NoAuthority,
    /// No key.
    #[error("there is no private key beside it")]
    KeyMissing,
    /// No usable key.
    #[error("its private key cannot be used: {0}")]
    KeyUnusable(String),
    /// Another key.
    #[error("its private key belongs to another certificate")]
    KeyMismatch,
    /// Not known whether.
    #[error("whether its private key belongs to it cannot be told from the file")]
    KeyUntold,
    /// Not for servers.
    #[error("it is not allowed for servers (extended key usage lacks serverAuth)")]
    NoServerAuth,
    /// Not for clients.
    #[error("it is not allowed for clients (extended key usage lacks clientAuth), and Galera's nodes are both")]
    NoClientAuth,
    /// Not for this name.
    #[error("it is not valid for {0}")]
    NameMissing(San),
    /// Can be broken.
    #[error("its key ({0}) is too weak")]
    WeakKey(KeyKind),
    /// An authority where a leaf should be.
    #[error("it is an authority's certificate, and servers use leaves")]
    IsAuthority,
    /// Somebody else's.
    #[error("its common name is {have}, and should be {want}")]
    CommonName {
        /// What it says.
        have: String,
        /// What was asked for.
        want: String,
    },
    /// Good in itself, and nobody would take it yet.
    #[error(
        "who trusts what is in force now ({trusted}) would not take it: bring its authority in first, beside the present one"
    )]
    NotTrustedYet {
        /// The subjects that are trusted now.
        trusted: String,
    },
}

/// All that is wrong, in one sentence.
pub fn sentence(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Judges a pair that comes from elsewhere: what [`verify`] says of it, once its key was read with the arithmetic that hosts do
/// not carry. `trusted_now` is the file of authorities that is in force: peers that trust no more than that must take the
/// new certificate, or it would cut its host off.
pub fn admit(
    set: (&str, &Secret, &str),
    trusted_now: Option<&str>,
    policy: &VerifyPolicy,
    now: UnixTime,
) -> Result<Admitted, Vec<Problem>> {
    let (cert, key, trust) = set;
    let encrypted = || Err(PkiError::NoPassphrase { why: "a server's key is read without one".into() });
    let read = PrivateKey::from_pem(key.expose(), "the private key", &encrypted);
    // What is too weak to be used here can be told apart nevertheless.
    let evidence = match (public_half(key.expose()), &read) {
        (KeyEvidence::Untold, Ok(key)) => KeyEvidence::Public(key.public_sha256()),
        (evidence, _) => evidence,
    };
    let info = verify(CertSet { cert, trust, key: &evidence }, policy, now)?;
    let key_pem = read.map_err(|error| vec![Problem::KeyUnusable(error.to_string())])?.to_pem();
    if let Some(now_trusted) = trusted_now
        && let Ok(trusted) = super::inspect_all(now_trusted, "the authorities in force")
        && let Err(problems) = verify(CertSet { cert, trust: now_trusted, key: &evidence }, policy, now)
        && problems.iter().any(|problem| matches!(problem, Problem::NoChain { .. }))
    {
        let trusted: Vec<_> = trusted.iter().map(|one| one.subject.as_str()).collect();
        return Err(vec![Problem::NotTrustedYet { trusted: trusted.join(", ") }]);
    }
    Ok(Admitted { info, key_pem })
}

/// Judges a set at the moment `now`: what it says, or everything that is wrong with it.
pub fn verify(set: CertSet<'_>, policy: &VerifyPolicy, now: UnixTime) -> Result<CertInfo, Vec<Problem>> {
    let unreadable = |error: super::PkiError| vec![Problem::Unreadable(error.to_string())];
    let chain = certificates(set.cert, "the certificate file").map_err(unreadable)?;
    let trust = certificates(set.trust, "the trust file").map_err(unreadable)?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(vec![Problem::NoAuthority]);
    };
    let info = inspect_der(leaf, "the certificate file").map_err(unreadable)?;
    let mut problems = Vec::new();
    if info.not_after <= now {
        problems.push(Problem::Expired(date(info.not_after)));
    }
    if info.not_before > now {
        problems.push(Problem::NotYetValid(date(info.not_before)));
    }
    if info.is_ca {
        problems.push(Problem::IsAuthority);
    }
    if matches!(info.key, KeyKind::Rsa(bits) if bits < 2048)
        || matches!(info.key, KeyKind::Ecdsa(bits) if bits < 256)
        || info.key == KeyKind::Other
    {
        problems.push(Problem::WeakKey(info.key));
    }
    match set.key {
        KeyEvidence::Missing => problems.push(Problem::KeyMissing),
        KeyEvidence::Unusable(why) => problems.push(Problem::KeyUnusable(why.clone())),
        KeyEvidence::Untold => problems.push(Problem::KeyUntold),
        KeyEvidence::Public(hash) if *hash != info.public_key_sha256 => problems.push(Problem::KeyMismatch),
        KeyEvidence::Public(_) => {}
    }
    if policy.server_auth && !info.server_auth {
        problems.push(Problem::NoServerAuth);
    }
    if policy.client_auth && !info.client_auth {
        problems.push(Problem::NoClientAuth);
    }
    for wanted in &policy.names {
        if !info.sans.iter().any(|have| have.covers(wanted)) {
            problems.push(Problem::NameMissing(wanted.clone()));
        }
    }
    if let Some(want) = &policy.common_name
        && info.common_name.as_ref() != Some(want)
    {
        let have = info.common_name.clone().unwrap_or_else(|| "missing".into());
        problems.push(Problem::CommonName { have, want: want.clone() });
    }
    // The dates of the leaf were judged above; an authority in its place would only repeat itself here.
    if !info.is_ca {
        problems.extend(chain_problem(leaf, intermediates, &trust, &info, policy, now));
    }
    if problems.is_empty() { Ok(info) } else { Err(problems) }
}

/// Whether somebody who trusts `trust` accepts the chain that a member of a cluster serves: a peer is server and client
/// at once. Dates of the leaf are not judged, nor names, which Galera does not look at.
pub fn trusts(chain: &str, trust: &str, now: UnixTime) -> Result<(), Problem> {
    let unreadable = |error: super::PkiError| Problem::Unreadable(error.to_string());
    let chain = certificates(chain, "what is served").map_err(unreadable)?;
    let trust = certificates(trust, "the trust file").map_err(unreadable)?;
    let (leaf, intermediates) = chain.split_first().ok_or(Problem::NoAuthority)?;
    let info = inspect_der(leaf, "what is served").map_err(unreadable)?;
    if !info.server_auth {
        return Err(Problem::NoServerAuth);
    }
    if !info.client_auth {
        return Err(Problem::NoClientAuth);
    }
    let policy = VerifyPolicy { server_auth: true, client_auth: true, ..VerifyPolicy::default() };
    chain_problem(leaf, intermediates, &trust, &info, &policy, now).map_or(Ok(()), Err)
}

fn chain_problem(
    leaf: &[u8],
    intermediates: &[Vec<u8>],
    trust: &[Vec<u8>],
    info: &CertInfo,
    policy: &VerifyPolicy,
    now: UnixTime,
) -> Option<Problem> {
    let mut roots = Vec::new();
    let mut between: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    for der in trust {
        let root = match inspect_der(der, "the trust file") {
            Ok(root) => root,
            Err(error) => return Some(Problem::Unreadable(error.to_string())),
        };
        if root.is_self_issued() {
            roots.push((root, CertificateDer::from(der.as_slice())));
        } else {
            between.push(CertificateDer::from(der.as_slice()));
        }
    }
    if roots.is_empty() {
        return Some(Problem::NoAuthority);
    }
    let build = |only_valid: bool| -> Result<(), String> {
        let anchors: Vec<TrustAnchor<'_>> = roots
            .iter()
            .filter(|(root, _)| !only_valid || (root.not_before <= now && now < root.not_after))
            .filter_map(|(_, der)| anchor_from_trusted_cert(der).ok())
            .collect();
        // A leaf outside its dates has been reported; whether its chain holds is another question.
        let moment = now.clamp(info.not_before, info.not_after).max(0).unsigned_abs();
        let moment = WebTime::since_unix_epoch(std::time::Duration::from_secs(moment));
        let der = CertificateDer::from(leaf);
        let cert = EndEntityCert::try_from(&der).map_err(|error| error.to_string())?;
        // Of a root the library looks at the names it may sign, not at how many authorities may stand below it; OpenSSL does.
        let length = |path: &webpki::VerifiedPath<'_>| {
            let below = path.intermediate_certificates().count();
            let same = |der: &CertificateDer<'_>| {
                anchor_from_trusted_cert(der).is_ok_and(|root| {
                    let anchor = path.anchor();
                    root.subject == anchor.subject && root.subject_public_key_info == anchor.subject_public_key_info
                })
            };
            let most = roots.iter().filter(|(_, der)| same(der)).find_map(|(root, _)| root.path_length);
            match most.and_then(|most| usize::try_from(most).ok()).is_some_and(|most| below > most) {
                true => Err(webpki::Error::PathLenConstraintViolated),
                false => Ok(()),
            }
        };
        let mut usages = Vec::new();
        if info.server_auth && (policy.server_auth || !info.client_auth) {
            usages.push(KeyUsage::server_auth());
        }
        if info.client_auth && (policy.client_auth || usages.is_empty()) {
            usages.push(KeyUsage::client_auth());
        }
        for usage in usages {
            cert.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, moment, usage, None, Some(&length))
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let why = match build(true) {
        Ok(()) => return None,
        Err(why) => why,
    };
    let out_of_date = roots.iter().find(|(root, _)| root.not_after <= now);
    if let (Some((root, _)), Ok(())) = (out_of_date, build(false)) {
        return Some(Problem::AuthorityExpired { subject: root.subject.clone(), date: date(root.not_after) });
    }
    let trusted: Vec<_> = roots.iter().map(|(root, _)| root.subject.as_str()).collect();
    Some(Problem::NoChain { trusted: trusted.join(", "), why })
}
