//! Who signs a host's certificate: the store on the controller by default, or somebody outside of it.
//!
//! [`Issuer`] is what `pki_certificate` (and with it every rotation) goes through. [`IssuerSpec`] is what the inventory
//! says (`pki_issuers`), [`open`] makes the one out of the other.

pub(crate) mod acme;
mod embedded;
mod files;
mod order;
mod spec;

use std::sync::Arc;

pub use acme::Acme;
pub use embedded::Embedded;
pub use files::{ANSWERS, Files};
pub use order::{Anchor, Answer, IssueFuture, Order, Pending, Received, Waits};
pub use spec::{AcmeSpec, FilesSpec, IssuerSpec, SpecError};

use super::{KeyType, PkiError, Request, Store, UnixTime};

/// Somebody who signs certificates.
pub trait Issuer: Send + Sync {
    /// Whose certificates these are: what judges them, and what hosts must trust. It asks nobody outside of this controller,
    /// so that checks and lints may call it; nothing where an authority has yet to be made.
    fn anchor(&self, now: UnixTime) -> Result<Option<Anchor>, PkiError>;

    /// Refuses what this issuer never signs, without asking it.
    fn accepts(&self, request: &Request) -> Result<(), PkiError>;

    /// Whether what it signs is made as it is asked for (subject, names, dates), or as the issuer likes.
    fn obeys(&self) -> bool {
        false
    }

    /// What it signs with has to be at hand before anything is done; asked in a check.
    fn ready(&self) -> Result<(), PkiError> {
        Ok(())
    }

    /// Whether [`Issuer::issue`] asks nobody outside of this controller and changes nothing: then a check does it, too.
    fn asks_nobody(&self) -> bool {
        false
    }

    /// Has a certificate signed. In a check only if it [asks nobody](Issuer::asks_nobody).
    fn issue<'a>(&'a self, order: Order<'a>) -> IssueFuture<'a>;

    /// Who it is, for people.
    fn words(&self) -> String;
}

/// The issuer of the authority `name`, as the inventory has it.
pub fn open(spec: &IssuerSpec, name: &str, store: &Arc<Store>) -> Result<Box<dyn Issuer>, PkiError> {
    Ok(match spec {
        IssuerSpec::Store => Box::new(Embedded::new(store.clone(), name)),
        IssuerSpec::Acme(spec) => Box::new(Acme::new(spec.clone(), name, store.clone())?),
        IssuerSpec::Files(spec) => Box::new(Files::new(spec.clone(), name)?),
    })
}

/// A private key and the request for a certificate of it (PEM).
pub(crate) fn key_and_request(request: &Request) -> Result<(super::PrivateKey, String), PkiError> {
    let key = super::PrivateKey::generate(request.key_type)?;
    let csr = super::csr::write(request, &key)?;
    Ok((key, csr))
}

/// Whether two kinds of keys are the same.
pub(crate) fn is_kind(have: super::KeyKind, want: KeyType) -> bool {
    want.is(have)
}
