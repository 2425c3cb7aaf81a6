//! What is asked of an issuer, and what it answers.

use std::path::PathBuf;
use std::pin::Pin;

use super::super::{Issued, KeyEvidence, PkiError, Purpose, Request, Signed, UnixTime, date, inspect_all};
use crate::secret::Secret;

/// An authority as its certificates are judged by, wherever its key is.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// Its name in the inventory.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The certificate that signs, PEM; nothing where somebody else decides which one that is.
    pub signs: Option<String>,
    /// What hosts must trust, PEM.
    pub bundle_pem: String,
    /// What will stand as issuer in its certificates, as far as that is known.
    pub subject: String,
    /// Only a check has made it, in memory.
    pub predicted: bool,
}

impl Anchor {
    /// Of an issuer elsewhere: the authorities in `bundle` that it leads to.
    pub(crate) fn foreign(
        name: &str,
        purpose: Purpose,
        bundle: &str,
        file: &str,
        now: UnixTime,
    ) -> Result<Anchor, PkiError> {
        let all = inspect_all(bundle, file)?;
        let unfit = |why: String| PkiError::Authority { name: name.to_string(), why };
        let roots: Vec<_> = all.iter().filter(|one| one.is_self_issued() && one.is_ca).collect();
        if roots.is_empty() {
            let why = format!("{file} holds no self-signed authority, and OpenSSL follows chains to one");
            return Err(unfit(why));
        }
        if let Some(leaf) = all.iter().find(|one| !one.is_ca) {
            return Err(unfit(format!("{file} holds {}, which is no authority", leaf.subject)));
        }
        match roots.iter().max_by_key(|root| root.not_after) {
            Some(last) if last.not_after <= now => {
                Err(PkiError::AuthorityExpired { name: name.to_string(), date: date(last.not_after) })
            }
            _ => Ok(Anchor {
                name: name.to_string(),
                purpose,
                signs: None,
                bundle_pem: bundle.to_string(),
                subject: roots.iter().map(|root| root.subject.as_str()).collect::<Vec<_>>().join(" or "),
                predicted: false,
            }),
        }
    }
}

/// A key that waits on a host for its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The request that was made for it, PEM.
    pub request: String,
    /// What is known of the key.
    pub key: KeyEvidence,
}

/// A certificate that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// For which host, by its inventory name.
    pub host: &'a str,
    /// The directory of the set on it.
    pub path: &'a str,
    /// As it should be.
    pub request: &'a Request,
    /// What waits on the host already.
    pub pending: Option<&'a Pending>,
    /// SHA-256 of the public key that is in force now: an answer to that one is an old answer.
    pub in_force: Option<&'a str>,
    /// What hosts trust beside the certificate, PEM: an answer is judged by it.
    pub trust: &'a str,
    /// The clock's reading.
    pub now: UnixTime,
}

/// What an issuer gave.
#[derive(Debug)]
pub enum Answer {
    /// A certificate with the key that was made for it.
    Issued(Box<Issued>),
    /// A certificate for the key that waits on the host.
    Signed(Box<Received>),
    /// Nothing yet: somebody has to sign a request.
    Waits(Waits),
}

/// A certificate that somebody has put there.
#[derive(Debug)]
pub struct Received {
    /// The certificate.
    pub signed: Signed,
    /// Where it lay.
    pub file: PathBuf,
}

/// A request that waits for its signature.
#[derive(Debug)]
pub struct Waits {
    /// Where it belongs on the controller.
    pub file: PathBuf,
    /// The request, PEM.
    pub request: String,
    /// The key, when it was made just now: it belongs on the host before the request is shown to anybody.
    pub key: Option<Secret>,
}

/// A future of an issuer.
pub type IssueFuture<'a> = Pin<Box<dyn Future<Output = Result<Answer, PkiError>> + Send + 'a>>;
