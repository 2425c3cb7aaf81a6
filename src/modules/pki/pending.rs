//! A key that waits on its host for a certificate which somebody else signs, in `pending` beside the sets.
//!
//! Nobody reads it there but its owner; it moves into the new set on the host itself, and never travels again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::set::{LIMIT, Place};
use crate::machine::Machine;
use crate::machine::files::{Attributes, NewContent, WriteOptions};
use crate::modules::{ModuleError, Outcome};
use crate::pki::{KeyEvidence, public_half};
use crate::secret::Secret;

/// A key and its request, to be kept. In a check neither exists.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pend {
    /// The set that they are for.
    pub place: Place,
    /// The private key, PEM.
    pub key: Option<Secret>,
    /// The request, PEM.
    pub request: Option<String>,
}

fn folder(place: &Place) -> PathBuf {
    Path::new(&place.path).join("pending")
}

impl Pend {
    /// Writes both. The request comes last: it says which key is meant.
    pub fn carry_out(&self, machine: &mut Machine) -> Result<Outcome, ModuleError> {
        let folder = folder(&self.place);
        let shared = Attributes { mode: Some(0o755), ..Attributes::default() };
        machine.make_directories(Path::new(&self.place.path), &shared)?;
        let private = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        machine.make_directory(&folder, &private(0o700))?;
        machine.set_attributes(&folder, &private(0o700), true)?;
        let mut write = |name: &str, text: Option<&str>| -> Result<(), ModuleError> {
            let content = match text {
                Some(text) => NewContent::Bytes(text.as_bytes()),
                None => NewContent::AtApply("made at apply"),
            };
            let options = WriteOptions { attributes: private(0o600), sensitive: true, ..WriteOptions::default() };
            machine.write(folder.join(name), content, &options, None)?;
            Ok(())
        };
        write("key.pem", self.key.as_ref().map(Secret::expose))?;
        write("request.csr", self.request.as_deref())?;
        Ok(Outcome::ok())
    }
}

/// What waits: the request, and what is known of the key.
pub fn look(place: &Place, machine: &Machine) -> Result<Value, ModuleError> {
    let folder = folder(place);
    let text = |name: &str| -> Result<Option<Zeroizing<Vec<u8>>>, ModuleError> {
        Ok(machine.read_file_if_exists(folder.join(name), LIMIT)?.map(Zeroizing::new))
    };
    let Some(request) = text("request.csr")? else { return Ok(Value::Null) };
    let key = match text("key.pem")? {
        Some(bytes) => public_half(&String::from_utf8_lossy(&bytes)),
        None => KeyEvidence::Missing,
    };
    Ok(json!({"request": String::from_utf8_lossy(&request), "key": key}))
}

/// The key that waits.
pub fn key(place: &Place, machine: &Machine) -> Result<Zeroizing<Vec<u8>>, ModuleError> {
    Ok(Zeroizing::new(machine.read_file(folder(place).join("key.pem"), LIMIT)?))
}

/// Removes both: the certificate is in force.
pub fn forget(place: &Place, machine: &mut Machine) -> Result<(), ModuleError> {
    machine.remove(folder(place))?;
    Ok(())
}
