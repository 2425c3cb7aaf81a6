//! Files that may be encrypted as a whole.

use std::path::Path;
use std::sync::Arc;

use super::diag::{Diag, Diags};
use super::file::{SourceFile, io_reason};
use super::loader::load_yaml;
use super::node::Node;

/// Decrypts a file of which the first line is a vault header: its bytes and path in, the plain text out, or why not.
pub type VaultHook<'a> = dyn Fn(&[u8], &Path) -> Result<Vec<u8>, String> + 'a;

/// The first bytes of an encrypted file.
pub const VAULT_HEADER: &[u8] = b"$ANSIBLE_VAULT;";

/// A hook for where no vault secret is at hand.
pub fn no_vault(_bytes: &[u8], _path: &Path) -> Result<Vec<u8>, String> {
    Err("the file is encrypted, and no vault password was given (--vault-password-file or --ask-vault-pass)".into())
}

/// Reads a file, through `vault` if it is encrypted.
pub fn read_maybe_vaulted(path: &Path, vault: &VaultHook) -> Result<Arc<SourceFile>, Diag> {
    let bytes = std::fs::read(path).map_err(|error| {
        Diag::error(format!("cannot read {}: {}", path.display(), io_reason(&error))).coded("missing-file")
    })?;
    if !bytes.starts_with(VAULT_HEADER) {
        return SourceFile::from_bytes(path, bytes);
    }
    let plain = vault(&bytes, path)
        .map_err(|why| Diag::error(format!("cannot decrypt {}: {why}", path.display())).coded("encrypted"))?;
    match String::from_utf8(plain) {
        Ok(text) => Ok(SourceFile::new_sensitive(path, text)),
        Err(_) => Err(Diag::error(format!("{}: what was decrypted is not UTF-8 text", path.display()))),
    }
}

/// Reads and loads a YAML file, through `vault` if it is encrypted. `None` after an error.
pub fn load_yaml_file(path: &Path, vault: &VaultHook, diags: &mut Diags) -> Option<Node> {
    match read_maybe_vaulted(path, vault) {
        Ok(file) => load_yaml(&file, diags),
        Err(diag) => {
            diags.push(diag);
            None
        }
    }
}
