//! Which issuer an authority has, by the variable `pki_issuers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::modules::{ActionError, ActionHost};
use crate::pki::{Anchor, Issuer, IssuerSpec, PkiError, Store, UnixTime, issuer};

use super::stores::failed;

/// What the inventory says; authorities that it does not name are in the store.
pub fn specs(host: &dyn ActionHost) -> Result<BTreeMap<String, IssuerSpec>, ActionError> {
    let value = host.variable("pki_issuers")?.unwrap_or_default();
    IssuerSpec::map(&value).map_err(|error| failed(error.into()))
}

/// The issuer of an authority.
pub fn of(host: &dyn ActionHost, store: &Arc<Store>, name: &str) -> Result<Box<dyn Issuer>, ActionError> {
    let spec = specs(host)?.remove(name).unwrap_or_default();
    issuer::open(&spec, name, store).map_err(failed)
}

/// The authority behind an issuer, whose absence is an error.
pub fn anchor(issuer: &dyn Issuer, store: &Store, name: &str, now: UnixTime) -> Result<Anchor, PkiError> {
    match issuer.anchor(now)? {
        Some(anchor) => Ok(anchor),
        None => Err(PkiError::NoAuthority { name: name.to_string(), store: store.location() }),
    }
}
