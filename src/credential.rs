//! Secrets that the service manager hands to a unit (`LoadCredential=`, `LoadCredentialEncrypted=`): files in a directory
//! that only the unit sees.

use crate::secret::Secret;
use std::path::{Path, PathBuf};

/// The passphrase of the certificate authorities' keys.
pub const PKI_PASSPHRASE: &str = "deploy.pki-passphrase";
/// The vault's password.
pub const VAULT_PASSWORD: &str = "deploy.vault-password";
/// The password of sudo, su or doas.
pub const BECOME_PASSWORD: &str = "deploy.become-password";

/// Where a credential lies, when this process was given it.
pub fn path(name: &str) -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    Some(directory.join(name)).filter(|path| directory.is_absolute() && path.is_file())
}

/// The first line of a credential. Its mode tells nothing: the service manager may open it to its user by an access list,
/// which looks like a group that may read it.
pub fn read(path: &Path) -> Result<Secret, String> {
    let told = |why: &dyn std::fmt::Display| format!("the credential {}: {why}", path.display());
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(|error| told(&error))?);
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(told(&"it is empty")) } else { Ok(Secret::new(line)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(PKI_PASSPHRASE);
        for (contents, want) in [("it's \"a\" $secret\\\n", Some("it's \"a\" $secret\\")), ("\n", None), ("", None)] {
            std::fs::write(&file, contents).unwrap();
            assert_eq!(read(&file).ok().as_ref().map(Secret::expose), want, "{contents:?}");
        }
        let missing = read(&dir.path().join("none")).unwrap_err();
        assert!(missing.contains("the credential ") && missing.contains("none"), "{missing}");
    }
}
