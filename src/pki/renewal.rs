//! Whether a host's pair stays or is replaced: a function of what lies there, what is wanted, and the clock.

use std::fmt;

use sha2::{Digest, Sha256};

use super::inspect::{certificates, inspect_der, signed_by};
use super::{
    CertInfo, CertSet, KeyEvidence, KeyKind, KeyType, Lifetime, PkiError, Problem, Request, San, UnixTime,
    VerifyPolicy, date, verify,
};

/// What lies on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The certificate file's text, when there is one.
    pub cert: Option<String>,
    /// What is known of the key beside it.
    pub key: KeyEvidence,
}

/// What should lie there.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The leaf.
    pub request: &'a Request,
    /// The authority's name.
    pub authority: &'a str,
    /// Who signs for it.
    pub signer: Signer<'a>,
}

/// By whom a certificate must have been signed.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// By this one (PEM), which makes what is asked for.
    Known(&'a str),
    /// By somebody who leads to one of these (PEM), and has a will of its own: it may choose dates and add names.
    Foreign(&'a str),
}

/// When a good pair is replaced nevertheless.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenewalPolicy {
    /// This long before its end; by default after two thirds of its life.
    pub renew_before: Option<Lifetime>,
    /// How long until the next scheduled run; what would expire before it is renewed now.
    pub next_run: Option<Lifetime>,
    /// The window in which what is due is renewed is closed, and opens then; nothing when it is open, or there is none.
    pub opens: Option<UnixTime>,
    /// Due up to so much earlier: how much is told by the authority and the cluster, so that clusters differ and the nodes of one
    /// do not.
    pub jitter: Option<Lifetime>,
    /// Which cluster: [`cluster_seed`].
    pub cluster: u64,
    /// Regardless.
    pub force: bool,
    /// The certificate that lies there was revoked, at this moment.
    pub revoked: Option<UnixTime>,
}

impl RenewalPolicy {
    /// Whether certificates of this lifetime can live under it: where the margin and the jitter leave nothing, every run
    /// would renew.
    pub fn check(&self, lifetime: Lifetime, authority: &str) -> Result<(), PkiError> {
        let margin = self.renew_before.map_or(lifetime.as_seconds() / 3, Lifetime::as_seconds);
        let jitter = self.jitter.map_or(0, Lifetime::as_seconds);
        if margin + jitter < lifetime.as_seconds() {
            return Ok(());
        }
        let margin = self.renew_before.map_or("a third of the life".to_string(), |margin| margin.to_string());
        let more = self.jitter.map_or(String::new(), |jitter| format!(" and a jitter of up to {jitter}"));
        let why = format!(
            "a margin of {margin}{more} before the end is no shorter than the lifetime of {lifetime}: every run would renew"
        );
        Err(PkiError::Authority { name: authority.to_string(), why })
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The pair stays.
    Keep {
        /// Its certificate.
        info: Box<CertInfo>,
        /// When it will be due.
        renew_at: UnixTime,
        /// It is due, and a new one would not last longer: the authority ends then, and must be rotated first.
        spent: Option<UnixTime>,
    },
    /// A new one is issued.
    Renew {
        /// Why.
        reason: Reason,
        /// The certificate that is replaced, where one could be read.
        old: Option<Box<CertInfo>>,
    },
}

/// Why a pair is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is none.
    Absent,
    /// It cannot be read.
    Unreadable(String),
    /// No key beside it.
    KeyMissing,
    /// No usable key.
    KeyUnusable(String),
    /// Another certificate's key.
    KeyMismatch,
    /// Not known whether the key fits.
    KeyUntold,
    /// Signed by another authority.
    Issuer(String),
    /// Another subject is wanted.
    Subject(String, String),
    /// Other names are wanted: new ones, dropped ones.
    Names(Vec<San>, Vec<San>),
    /// Another profile is wanted.
    Usages,
    /// Another key type is wanted.
    KeyType(KeyKind, KeyType),
    /// It lives longer than is wanted now.
    TooLong(UnixTime),
    /// Its time has come.
    Due(UnixTime),
    /// It is over.
    Expired(UnixTime),
    /// Its time is not here yet.
    NotYetValid(UnixTime),
    /// The next run would be too late.
    BeforeNextRun(UnixTime),
    /// Somebody said so.
    Forced,
    /// It must not be used any more.
    Revoked(UnixTime),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Absent => f.write_str("there is no certificate yet"),
            Reason::Unreadable(why) => f.write_str(why),
            Reason::KeyMissing => f.write_str("there is no private key beside it"),
            Reason::KeyUnusable(why) => write!(f, "its private key cannot be used: {why}"),
            Reason::KeyMismatch => f.write_str("its private key belongs to another certificate"),
            Reason::KeyUntold => f.write_str("whether its private key belongs to it cannot be told"),
            Reason::Issuer(issuer) => write!(f, "it was signed by another authority ({issuer})"),
            Reason::Subject(old, new) => write!(f, "its subject is {old} and should be {new}"),
            Reason::Names(added, removed) => {
                let list = |names: &[San]| names.iter().map(San::to_string).collect::<Vec<_>>().join(", ");
                match (added.is_empty(), removed.is_empty()) {
                    (false, true) => write!(f, "it lacks {}", list(added)),
                    (true, _) => write!(f, "it names {}, which is not wanted", list(removed)),
                    (false, false) => {
                        write!(f, "it lacks {}, and names {}", list(added), list(removed))
                    }
                }
            }
            Reason::Usages => f.write_str("it is for another purpose (extended key usage)"),
            Reason::KeyType(old, new) => write!(f, "its key is {old} and should be {}", new.name()),
            Reason::TooLong(end) => {
                write!(f, "it lives until {}, longer than is wanted", date(*end))
            }
            Reason::Due(since) => write!(f, "its renewal is due since {}", date(*since)),
            Reason::Expired(end) => write!(f, "it expired at {}", date(*end)),
            Reason::NotYetValid(begin) => write!(f, "it becomes valid only at {}", date(*begin)),
            Reason::BeforeNextRun(end) => write!(f, "it would expire before the next scheduled run, at {}", date(*end)),
            Reason::Forced => f.write_str("renewal is forced"),
            Reason::Revoked(since) => write!(f, "it was revoked at {}", date(*since)),
        }
    }
}

/// When a certificate is due under a policy.
pub fn renew_at(info: &CertInfo, policy: &RenewalPolicy) -> UnixTime {
    let lifetime = Lifetime::of_span(info.not_after - info.not_before).as_seconds();
    match policy.renew_before {
        Some(margin) => info.not_after - margin.as_seconds(),
        None => info.not_after - lifetime / 3,
    }
}

/// What tells a cluster from the others of a store, by the variables `galera_cluster_name` and `galera_group`; those who say
/// nothing are as the roles' defaults have it.
pub fn cluster_seed(name: Option<&str>, group: Option<&str>) -> u64 {
    let said = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("galera").to_string();
    let hash = Sha256::digest(format!("{}\0{}", said(name), said(group)));
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Seconds by which everything of a cluster under an authority is due earlier.
pub fn early(policy: &RenewalPolicy, authority: &CertInfo) -> i64 {
    let seed = authority.fingerprint.get(..15).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let part = |most: Lifetime| (seed ^ policy.cluster) % (most.as_seconds().unsigned_abs() + 1);
    policy.jitter.map_or(0, |most| i64::try_from(part(most)).unwrap_or(0))
}

/// Decides. An authority that cannot sign any more is an error whatever lies on the host.
pub fn renewal(found: &Found, wanted: Wanted<'_>, policy: &RenewalPolicy, now: UnixTime) -> Result<Decision, PkiError> {
    let request = wanted.request;
    // Somebody else's lifetimes are not known before its certificates are there.
    if matches!(wanted.signer, Signer::Known(_)) {
        policy.check(request.lifetime, wanted.authority)?;
    }
    let what = format!("the certificate of authority `{}`", wanted.authority);
    let (Signer::Known(pem) | Signer::Foreign(pem)) = wanted.signer;
    let authority = certificates(pem, &what)?.swap_remove(0);
    let authority_info = inspect_der(&authority, &what)?;
    if authority_info.not_after <= now && matches!(wanted.signer, Signer::Known(_)) {
        let date = date(authority_info.not_after);
        return Err(PkiError::AuthorityExpired { name: wanted.authority.to_string(), date });
    }

    let Some(text) = &found.cert else {
        return Ok(Decision::Renew { reason: Reason::Absent, old: None });
    };
    let read = certificates(text, "the certificate on the host").and_then(|mut all| {
        let der = all.swap_remove(0);
        inspect_der(&der, "the certificate on the host").map(|info| (der, info))
    });
    let (der, info) = match read {
        Ok(read) => read,
        Err(error) => {
            return Ok(Decision::Renew { reason: Reason::Unreadable(error.to_string()), old: None });
        }
    };
    let mut due = renew_at(&info, policy) - early(policy, &authority_info);
    if matches!(wanted.signer, Signer::Foreign(_)) && due <= info.not_before {
        // It lives shorter than the margin that was thought of: every run would renew it.
        due = renew_at(&info, &RenewalPolicy::default());
    }
    let signed = match wanted.signer {
        Signer::Known(_) => signed_by(&der, &authority),
        Signer::Foreign(trust) => leads_to(text, trust, &info),
    };
    let reason = match signed {
        false => first_flaw(&info, &found.key).or(Some(Reason::Issuer(info.issuer.clone()))),
        true => first_reason(&info, &found.key, request, wanted.signer, policy, due, now),
    };
    // Near the authority's end every certificate is cut short there: another one would be due again at once, in every run.
    let spent = match reason {
        Some(Reason::Due(_) | Reason::BeforeNextRun(_)) if signed => {
            let end = authority_info.not_after.min(now + request.lifetime.as_seconds());
            let ours = matches!(wanted.signer, Signer::Known(_));
            (ours && end == authority_info.not_after && end <= info.not_after).then_some(end)
        }
        _ => None,
    };
    Ok(match reason {
        Some(reason) if spent.is_none() => Decision::Renew { reason, old: Some(Box::new(info)) },
        _ => Decision::Keep { info: Box::new(info), renew_at: due, spent },
    })
}

/// What is wrong with the key beside a certificate.
fn first_flaw(info: &CertInfo, key: &KeyEvidence) -> Option<Reason> {
    match key {
        KeyEvidence::Missing => Some(Reason::KeyMissing),
        KeyEvidence::Unusable(why) => Some(Reason::KeyUnusable(why.clone())),
        KeyEvidence::Untold => Some(Reason::KeyUntold),
        KeyEvidence::Public(hash) if *hash != info.public_key_sha256 => Some(Reason::KeyMismatch),
        KeyEvidence::Public(_) => None,
    }
}

fn first_reason(
    info: &CertInfo,
    key: &KeyEvidence,
    request: &Request,
    signer: Signer<'_>,
    policy: &RenewalPolicy,
    due: UnixTime,
    now: UnixTime,
) -> Option<Reason> {
    if let Some(flaw) = first_flaw(info, key) {
        return Some(flaw);
    }
    let ours = matches!(signer, Signer::Known(_));
    if info.not_after <= now {
        return Some(Reason::Expired(info.not_after));
    }
    if info.not_before > now {
        return Some(Reason::NotYetValid(info.not_before));
    }
    let subject = request.subject.one_line();
    // An application is known by its subject; of servers only the names are looked at.
    if info.subject != subject && (ours || !request.profile.server_auth()) {
        return Some(Reason::Subject(info.subject.clone(), subject));
    }
    let added: Vec<_> = request.sans.iter().filter(|san| !info.sans.contains(san)).cloned().collect();
    let removed: Vec<_> = info.sans.iter().filter(|san| ours && !request.sans.contains(san)).cloned().collect();
    if !added.is_empty() || !removed.is_empty() {
        return Some(Reason::Names(added, removed));
    }
    let usages = (info.has_usages, info.server_auth, info.client_auth);
    let needed = VerifyPolicy::signed(request, ours);
    let lacking = needed.server_auth && !info.server_auth || needed.client_auth && !info.client_auth;
    if lacking || ours && usages != (true, request.profile.server_auth(), request.profile.client_auth()) {
        return Some(Reason::Usages);
    }
    if !request.key_type.is(info.key) {
        return Some(Reason::KeyType(info.key, request.key_type));
    }
    // A tenth of slack, so that no rounding makes two runs disagree.
    if ours && info.not_after > now + request.lifetime.as_seconds() + request.lifetime.as_seconds() / 10 {
        return Some(Reason::TooLong(info.not_after));
    }
    if let Some(since) = policy.revoked {
        return Some(Reason::Revoked(since));
    }
    if policy.force {
        return Some(Reason::Forced);
    }
    // What waits for its window must not wait until somebody has to be alarmed.
    let alarm = info.not_before + (info.not_after - info.not_before) / 5 * 4;
    if due <= now && policy.opens.is_none_or(|opens| opens > alarm) {
        return Some(Reason::Due(due));
    }
    if policy.next_run.is_some_and(|next| info.not_after <= now + next.as_seconds()) {
        return Some(Reason::BeforeNextRun(info.not_after));
    }
    None
}

/// Whether a chain leads to one of the authorities in `trust`, whatever its dates are now.
fn leads_to(chain: &str, trust: &str, info: &CertInfo) -> bool {
    let own = KeyEvidence::Public(info.public_key_sha256.clone());
    let judged = verify(CertSet { cert: chain, trust, key: &own }, &VerifyPolicy::default(), info.not_before);
    !judged
        .is_err_and(|problems| problems.iter().any(|one| matches!(one, Problem::NoChain { .. } | Problem::NoAuthority)))
}
