//! Requests out as files, certificates in as files: for an authority that is run by somebody else.
//!
//! The key is made in memory, sent to the host and forgotten, as always; there it waits in `pending/` beside the sets, with
//! its request, until the certificate has come. So what lies in the folder on the controller is public.

use std::path::{Path, PathBuf};

use super::super::{
    CertSet, PkiError, Problem, Request, Signed, SigningRequest, UnixTime, VerifyPolicy, inspect::certificates, pem,
    verify,
};
use super::order::Received;
use super::{Anchor, Answer, FilesSpec, IssueFuture, Issuer, Order, Waits, is_kind, key_and_request};

/// How the name of an answer ends; what is before it is that of the request.
pub const ANSWERS: &[&str] = &["pem", "crt", "cer"];

/// No file with certificates is larger, a system's bundle of all public authorities included.
const LIMIT: u64 = 4 * 1024 * 1024;

/// An authority that is reached through a folder.
pub struct Files {
    spec: FilesSpec,
    name: String,
    trust: String,
}

impl Files {
    /// The authority `name`; its trust file is read now.
    pub fn new(spec: FilesSpec, name: &str) -> Result<Self, PkiError> {
        let trust = read(&spec.trust)?;
        Ok(Files { spec, name: name.to_string(), trust })
    }

    /// Where the request of a set lies.
    fn file(&self, order: &Order<'_>) -> PathBuf {
        self.spec.requests.join(format!("{}.csr", stem(order.host, order.path)))
    }

    /// Whether the key that waits on the host can still be answered.
    fn fits(&self, order: &Order<'_>) -> bool {
        let Some(pending) = order.pending else { return false };
        let Ok(asked) = SigningRequest::read(&pending.request, "the request on the host") else { return false };
        let Request { subject, sans, key_type, .. } = order.request;
        let mut sans = sans.clone();
        sans.sort();
        sans.dedup();
        asked.subject == *subject
            && asked.sans == sans
            && is_kind(asked.key, *key_type)
            && pending.key.public().is_some_and(|hash| hash == asked.public_key_sha256())
    }

    /// The answer to the request of an order, verified; nothing where there is none yet.
    fn answer(&self, order: &Order<'_>) -> Result<Option<Received>, PkiError> {
        let Some(pending) = order.pending else { return Ok(None) };
        let request = self.file(order);
        let mut there = ANSWERS.iter().map(|end| request.with_extension(end)).filter(|file| file.exists());
        let Some(file) = there.next() else { return Ok(None) };
        let what = file.display().to_string();
        if let Some(other) = there.next() {
            let why = format!("{} lies beside it: leave the one that answers the request", other.display());
            return Err(PkiError::Answer { what, why });
        }
        let text = read(&file)?;
        let (leaf, chain) = in_order(&text, &what, pending.key.public().unwrap_or_default())?;
        if order.in_force.is_some_and(|hash| hash == leaf.public_key_sha256) {
            return Ok(None); // it was put in place already
        }
        let policy = VerifyPolicy::signed(order.request, false);
        let set = CertSet { cert: &chain, trust: order.trust, key: &pending.key };
        let info = verify(set, &policy, order.now).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
            PkiError::Answer { what: what.clone(), why: problems.join("; ") }
        })?;
        let wanted = order.request.subject.one_line();
        if !order.request.profile.server_auth() && info.subject != wanted {
            let why = format!(
                "its subject is {} and should be {wanted}: an application is known by its subject (REQUIRE SUBJECT)",
                info.subject
            );
            return Err(PkiError::Answer { what, why });
        }
        let cert_pem = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap_or(&chain).to_string();
        Ok(Some(Received { signed: Signed { cert_pem, chain_pem: chain, info, warnings: Vec::new() }, file }))
    }

    fn decide(&self, order: &Order<'_>) -> Result<Answer, PkiError> {
        let file = self.file(order);
        if !self.fits(order) {
            let (key, request) = key_and_request(order.request)?;
            return Ok(Answer::Waits(Waits { file, request, key: Some(key.to_pem()) }));
        }
        match (self.answer(order)?, order.pending) {
            (Some(received), _) => Ok(Answer::Signed(Box::new(received))),
            (None, pending) => {
                let request = pending.map(|pending| pending.request.clone()).unwrap_or_default();
                Ok(Answer::Waits(Waits { file, request, key: None }))
            }
        }
    }
}

impl Issuer for Files {
    fn anchor(&self, now: UnixTime) -> Result<Option<Anchor>, PkiError> {
        let file = self.spec.trust.display().to_string();
        Anchor::foreign(&self.name, self.spec.purpose, &self.trust, &file, now).map(Some)
    }

    fn accepts(&self, _: &Request) -> Result<(), PkiError> {
        Ok(())
    }

    fn asks_nobody(&self) -> bool {
        true
    }

    fn issue<'a>(&'a self, order: Order<'a>) -> IssueFuture<'a> {
        Box::pin(async move { self.decide(&order) })
    }

    fn words(&self) -> String {
        format!("files in {}", self.spec.requests.display())
    }
}

/// What a set is called in the folder: its host, and its directory there.
pub(super) fn stem(host: &str, path: &str) -> String {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean = |text: &str| text.chars().map(|c| if usual(c) { c } else { '_' }).collect::<String>();
    format!("{}.{}", clean(host), clean(path.trim_matches('/')))
}

/// The certificate of this key first, whatever the order in the file, the rest behind it.
fn in_order(text: &str, what: &str, key: &str) -> Result<(super::super::CertInfo, String), PkiError> {
    let bad = |why: &str| PkiError::Answer { what: what.to_string(), why: why.to_string() };
    let mut all = certificates(text, what).map_err(|_| {
        bad("there is no certificate in PEM form in it; `openssl x509 -inform der` or `openssl pkcs7 -print_certs` turns other forms into that")
    })?;
    let infos = super::super::inspect_all(text, what)?;
    let at = infos.iter().position(|info| info.public_key_sha256 == key).unwrap_or(0);
    let leaf = all.remove(at);
    let info = infos.into_iter().nth(at).ok_or_else(|| bad("it is empty"))?;
    let mut chain = pem::encode("CERTIFICATE", &leaf);
    for der in all {
        // The self-signed end is what peers have to have already.
        let root = super::super::inspect::inspect_der(&der, what)?.is_self_issued();
        chain.push_str(&if root { String::new() } else { pem::encode("CERTIFICATE", &der) });
    }
    Ok((info, chain))
}

pub(super) fn read(file: &Path) -> Result<String, PkiError> {
    let failed = |source| PkiError::Io { path: file.display().to_string(), doing: "read", source };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > LIMIT {
        let why = format!("it has {length} bytes, and no file of certificates has");
        return Err(PkiError::Answer { what: file.display().to_string(), why });
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
