//! The passphrase of the authorities' keys: from a file, the environment, a credential of the service manager, or a
//! prompt; asked once, when needed.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use super::PkiError;
use crate::credential;
use crate::secret::Secret;

/// The variable that is read when no file is named.
pub const ENVIRONMENT: &str = "DEPLOY_PKI_PASSPHRASE";

/// The same for a root that is offline.
pub const ROOT_ENVIRONMENT: &str = "DEPLOY_PKI_ROOT_PASSPHRASE";

/// Where the passphrase comes from; remembered after the first time.
#[derive(Debug)]
pub struct Passphrase {
    file: Option<PathBuf>,
    /// The offline root's is not the store's: it has a variable of its own, and no service is given it.
    root: bool,
    known: Mutex<Option<Secret>>,
}

impl Passphrase {
    /// From `file` if one is named, otherwise from the environment, otherwise from the service manager, otherwise from
    /// the terminal.
    pub fn from(file: Option<PathBuf>) -> Self {
        Passphrase { file, root: false, known: Mutex::new(None) }
    }

    /// The same of a root that is offline: it has a passphrase of its own.
    pub fn of_root(file: Option<PathBuf>) -> Self {
        Passphrase { root: true, ..Passphrase::from(file) }
    }

    fn environment(&self) -> &'static str {
        if self.root { ROOT_ENVIRONMENT } else { ENVIRONMENT }
    }

    fn credential(&self) -> Option<PathBuf> {
        if self.root { None } else { credential::path(credential::PKI_PASSPHRASE) }
    }

    /// One that is known already.
    pub fn given(passphrase: Secret) -> Self {
        Passphrase { known: Mutex::new(Some(passphrase)), ..Passphrase::from(None) }
    }

    /// The passphrase of existing keys.
    pub fn get(&self) -> Result<Secret, PkiError> {
        self.obtain(false)
    }

    /// The passphrase for a new key: at a prompt it is typed twice.
    pub fn get_for_new(&self) -> Result<Secret, PkiError> {
        self.obtain(true)
    }

    /// Whether there will be one when it is needed, without asking anybody: in a check.
    pub fn at_hand(&self) -> Result<(), PkiError> {
        let known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some();
        let unset =
            self.file.is_none() && std::env::var_os(self.environment()).is_none() && self.credential().is_none();
        if known || unset && std::io::stdin().is_terminal() { Ok(()) } else { self.get().map(|_| ()) }
    }

    fn obtain(&self, twice: bool) -> Result<Secret, PkiError> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(passphrase) = known.as_ref() {
            return Ok(passphrase.clone());
        }
        let found = match &self.file {
            Some(file) => read_file(file)?,
            None => match std::env::var(self.environment()) {
                Ok(text) => Secret::new(text),
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(PkiError::NoPassphrase { why: format!("{} is not UTF-8", self.environment()) });
                }
                Err(std::env::VarError::NotPresent) => match self.credential() {
                    Some(path) => credential::read(&path).map_err(|why| PkiError::NoPassphrase { why })?,
                    None => self.prompt(twice)?,
                },
            },
        };
        if found.is_empty() {
            let source = self.file.as_ref().map_or(self.environment().to_string(), |file| file.display().to_string());
            return Err(PkiError::NoPassphrase { why: format!("{source} is empty") });
        }
        *known = Some(found.clone());
        Ok(found)
    }

    fn prompt(&self, twice: bool) -> Result<Secret, PkiError> {
        let failed = |error: std::io::Error| PkiError::NoPassphrase { why: format!("the terminal: {error}") };
        if !std::io::stdin().is_terminal() && self.root {
            let why = format!(
                "of the offline root: name a file of mode 0600 with --root-passphrase-file, or set {ROOT_ENVIRONMENT}"
            );
            return Err(PkiError::NoPassphrase { why });
        }
        if !std::io::stdin().is_terminal() {
            let why = format!(
                "set `pki_passphrase_file` to a file of mode 0600, or {ENVIRONMENT}; in a unit of systemd, give it the credential \
                 {}; there is no terminal to ask at",
                credential::PKI_PASSPHRASE
            );
            return Err(PkiError::NoPassphrase { why });
        }
        let whose = if self.root { "the offline root" } else { "the CA keys" };
        let first = Secret::new(crate::ask::ask(&format!("Passphrase for {whose}: "), true).map_err(failed)?);
        if twice {
            let second = Secret::new(crate::ask::ask("The same again: ", true).map_err(failed)?);
            if first != second {
                return Err(PkiError::NoPassphrase { why: "the two were different".into() });
            }
        }
        Ok(first)
    }
}

fn read_file(file: &PathBuf) -> Result<Secret, PkiError> {
    let failed = |source| PkiError::Io { path: file.display().to_string(), doing: "read the passphrase", source };
    let mode = std::fs::metadata(file).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        let why = format!("others can reach {} (mode {:04o}); make it 0600", file.display(), mode & 0o7777);
        return Err(PkiError::NoPassphrase { why });
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(failed)?);
    // An editor's newline at the end is not meant.
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_must_be_private_and_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pass");
        for (contents, mode, want) in [
            ("it's \"a\" $secret\\\n", 0o600, Ok("it's \"a\" $secret\\")),
            ("secret", 0o400, Ok("secret")),
            ("secret", 0o640, Err("others can reach")),
            ("\n", 0o600, Err("is empty")),
        ] {
            std::fs::write(&file, contents).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let got = Passphrase::from(Some(file.clone())).get();
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got.expose(), want),
                (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
                (got, want) => panic!("{got:?} instead of {want:?}"),
            }
            std::fs::remove_file(&file).unwrap();
        }
        assert!(Passphrase::from(Some(file)).get().unwrap_err().to_string().contains("cannot read the passphrase"));
    }
}
