//! An intermediate whose root is elsewhere: the store holds its key and the root's certificate, and the root's key can be
//! unplugged.
//!
//! A root that is offline is an authority of another store, in a directory of its own with a passphrase of its own. What goes
//! between the two is public: a request one way, a certificate the other.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, NameConstraints, SubjectPublicKeyInfo};

use super::authority::{NameRule, base_params, distinguished};
use super::inspect::{certificates, inspect_der, signed_by};
use super::{
    Authority, AuthoritySpec, AuthorityView, CertInfo, KeyType, Lifetime, Phase, PkiError, PrivateKey, Purpose,
    Rotation, SigningRequest, Store, Subject, UnixTime, date, inspect, pem,
};

/// What putting an intermediate in place has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The authority is new.
    Made,
    /// Its root is the same: hosts get new certificates at their next renewal, and trust what they trusted.
    Renewed,
    /// Its root is another: hosts come to trust that first, by `rotate-ca.yml`.
    Rotating,
}

impl Store {
    /// Makes the key of an intermediate and a request for its certificate (PEM). One that was made before and has not been
    /// answered is given again.
    pub fn request_intermediate(
        &self,
        name: &str,
        purpose: Purpose,
        key_type: KeyType,
        organization: Option<&str>,
    ) -> Result<String, PkiError> {
        let spec = AuthoritySpec::new(name, purpose)?;
        let _lock = self.lock()?;
        if let Some(view) = self.authority(name)?.filter(|view| view.purpose != purpose) {
            let why = format!("it is for {} certificates, and {} was asked for", view.purpose.name(), purpose.name());
            return Err(unfit(name, why));
        }
        if let (Some(request), true) = (self.text(&request_file(name))?, self.text(&key_file(name))?.is_some()) {
            return Ok(request);
        }
        let number = self.generations(name)?.len() + 1;
        let number = if number > 1 { format!(" G{number}") } else { String::new() };
        let subject = Subject::new(&format!("{} intermediate{number}", spec.subject.common_name), organization)?;
        let key = PrivateKey::generate(key_type)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(&subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let csr = params.serialize_request(key.pair()).map_err(PkiError::crypto("write a signing request"))?;
        let request = pem::encode("CERTIFICATE REQUEST", csr.der());
        self.write_key(&key_file(name), &key)?;
        self.write_text(&request_file(name), &request)?;
        Ok(request)
    }

    /// Signs somebody's request to be an intermediate below the authority `name`: with path length 0, under the root's
    /// constraints on names, no longer than the root lives. Gives the certificate with its parents behind it.
    pub fn sign_intermediate(
        &self,
        name: &str,
        request: &SigningRequest,
        lifetime: Lifetime,
        now: UnixTime,
    ) -> Result<(String, CertInfo), PkiError> {
        let view = self.require(name)?;
        view.refuse_expired(now)?;
        if view.info.path_length == Some(0) {
            let why = "its path length is 0, so that no intermediate below it would be valid: make a root for it (`deploy pki init --offline-root`)";
            return Err(unfit(name, why.into()));
        }
        if !request.asks_to_sign() {
            let why = "it does not ask to be an authority (CA:TRUE and keyCertSign): `deploy pki sign` is for leaves";
            return Err(PkiError::Request { what: "the request".into(), why: why.into() });
        }
        let constraints = AuthoritySpec::heir(&view)?;
        let end = (now + lifetime.as_seconds()).min(view.info.not_after);
        let mut params = base_params(&request.subject, Lifetime::seconds(end - now), now, end)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if !constraints.permitted.is_empty() || !constraints.excluded.is_empty() {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: constraints.permitted.iter().map(NameRule::subtree).collect(),
                excluded_subtrees: constraints.excluded.iter().map(NameRule::subtree).collect(),
            });
        }
        let key = SubjectPublicKeyInfo::from_der(request.key_der())
            .map_err(PkiError::crypto("read the key of a signing request"))?;
        let root = self.unlock(name)?;
        let cert = pem::encode("CERTIFICATE", &root.sign(&params, &key)?);
        let info = inspect(&cert, "the new intermediate")?;
        let _lock = self.lock()?;
        self.write_text(&format!("ca/{name}/signed/{}.pem", info.serial), &cert)?;
        Ok((format!("{cert}{}", root.cert_pem), info))
    }

    /// Puts the answer to [`Store::request_intermediate`] in place, after a look at it: it signs from now on.
    pub fn install_intermediate(
        &self,
        name: &str,
        purpose: Purpose,
        chain: &str,
        now: UnixTime,
    ) -> Result<(AuthorityView, Installed), PkiError> {
        AuthoritySpec::new(name, purpose)?;
        let _lock = self.lock()?;
        let present = self.authority(name)?;
        let waiting = self.text(&key_file(name))?.ok_or_else(|| {
            unfit(name, "no request of it waits for an answer: make one with `deploy pki intermediate request`".into())
        })?;
        let key = self.read_key(&waiting, name)?;
        let chain = judged(name, chain, present.as_ref(), &key, now)?;
        let root = |pem: &str| -> Result<Option<String>, PkiError> {
            let last = certificates(pem, "the authority's certificate")?.pop();
            last.map(|der| Ok(inspect_der(&der, "its root")?.fingerprint)).transpose()
        };
        let authority = Arc::new(Authority::assemble(name, purpose, chain, key)?);
        let outcome = match &present {
            None => {
                self.add_authority(&authority)?;
                Installed::Made
            }
            Some(view) if view.purpose != purpose => {
                return Err(unfit(name, format!("it is for {} certificates", view.purpose.name())));
            }
            Some(view) => {
                let mut record = self.record(name)?;
                if let Some(rotation) = &record.rotation {
                    let why =
                        format!("its rotation stands at `{}`: bring that to its end first", rotation.phase.name());
                    return Err(unfit(name, why));
                }
                let to = self.write_generation(&authority)?;
                let same = root(&view.cert_pem)? == root(&authority.cert_pem)?;
                let from = std::mem::replace(&mut record.current, to.clone());
                if same {
                    record.trusted = vec![to];
                } else {
                    record.current.clone_from(&from);
                    record.trusted = vec![from.clone(), to.clone()];
                    record.rotation = Some(Rotation { from, to, phase: Phase::Trust, began: now });
                }
                self.write_record(name, &record)?;
                if same { Installed::Renewed } else { Installed::Rotating }
            }
        };
        self.remove(&key_file(name))?;
        self.remove(&request_file(name))?;
        Ok((self.require(name)?, outcome))
    }
}

fn key_file(name: &str) -> String {
    format!("ca/{name}/request/key.pem")
}

fn request_file(name: &str) -> String {
    format!("ca/{name}/request/request.csr")
}

fn unfit(name: &str, why: String) -> PkiError {
    PkiError::Authority { name: name.to_string(), why }
}

/// The chain from an intermediate to its root, each signed by the next, or what is wrong with it.
fn judged(
    name: &str,
    text: &str,
    present: Option<&AuthorityView>,
    key: &PrivateKey,
    now: UnixTime,
) -> Result<String, PkiError> {
    let what = "the intermediate's certificate";
    let bad = |why: String| PkiError::Answer { what: format!("{what} for `{name}`"), why };
    let mut all = certificates(text, what)?;
    let infos = all.iter().map(|der| inspect_der(der, what)).collect::<Result<Vec<_>, _>>()?;
    let Some(at) = infos.iter().position(|info| info.public_key_sha256 == key.public_sha256()) else {
        let subject = infos.first().map(|info| info.subject.clone()).unwrap_or_default();
        return Err(bad(format!("{subject} has another key than the one that was requested")));
    };
    let own = &infos[at];
    if !own.is_ca || own.key_cert_sign == Some(false) {
        return Err(bad("it may not sign (CA:TRUE and keyCertSign)".into()));
    }
    if own.path_length != Some(0) {
        return Err(bad("its path length is not 0, so that it could make further authorities".into()));
    }
    let der = all.remove(at);
    // Where the root was left out, it is the one that is known already.
    if let Some(view) = present {
        all.extend(certificates(&view.cert_pem, "the authority's certificate")?.into_iter().skip(1));
    }
    let (mut chain, mut last) = (pem::encode("CERTIFICATE", &der), der);
    for _ in 0..8 {
        let info = inspect_der(&last, what)?;
        if info.not_after <= now {
            return Err(bad(format!("{} expired at {}", info.subject, date(info.not_after))));
        }
        if info.not_before > now {
            return Err(bad(format!("{} becomes valid only at {}", info.subject, date(info.not_before))));
        }
        if info.is_self_issued() {
            return Ok(chain);
        }
        let parent = all.iter().find(|parent| signed_by(&last, parent)).cloned();
        let Some(parent) = parent else {
            return Err(bad(format!(
                "it was signed by {}, whose certificate is not behind it: OpenSSL follows chains to a self-signed root",
                info.issuer
            )));
        };
        let parent_info = inspect_der(&parent, what)?;
        if parent_info.path_length == Some(0) {
            return Err(bad(format!("{} allows no authority below it (path length 0)", parent_info.subject)));
        }
        chain.push_str(&pem::encode("CERTIFICATE", &parent));
        last = parent;
    }
    Err(bad("its chain goes in a circle".into()))
}
