//! The controller's key for plans: it seals them, and without it nobody can guess secrets from their digests.

use super::PlanError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a key.
const LENGTH: usize = 32;

/// A key for plans. It cannot be printed.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// The key of this controller: the file that `DEPLOY_PLAN_KEY` names, otherwise `deploy/plan.key` in the user's state
    /// directory. It is made when it is missing and `make` is set.
    ///
    /// # Errors
    /// A key that others can read, that is too short, or that is missing and not to be made.
    pub fn of_controller(make: bool) -> Result<Key, PlanError> {
        let path = Key::path()?;
        match Key::read(&path) {
            Err(PlanError::File { source, .. }) if source.kind() == ErrorKind::NotFound && make => Key::create(&path),
            other => other,
        }
    }

    /// Where the key of this controller is.
    pub fn path() -> Result<PathBuf, PlanError> {
        if let Some(path) = std::env::var_os("DEPLOY_PLAN_KEY").filter(|value| !value.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let why = || "there is no home directory for the key of plans: name a file in DEPLOY_PLAN_KEY".to_string();
        Ok(state.ok_or_else(|| PlanError::Key { path: "~".into(), why: why() })?.join("deploy/plan.key"))
    }

    /// Reads a key.
    pub fn read(path: &Path) -> Result<Key, PlanError> {
        let meta = std::fs::metadata(path).map_err(PlanError::file(path))?;
        let bad = |why: &str| PlanError::Key { path: path.to_path_buf(), why: why.into() };
        if meta.mode() & 0o077 != 0 {
            return Err(bad("others can read the key of plans: `chmod 600` it"));
        }
        let bytes = Zeroizing::new(std::fs::read(path).map_err(PlanError::file(path))?);
        match bytes.len() {
            LENGTH => Ok(Key(bytes)),
            _ => Err(bad("it is no key of plans, which has 32 bytes")),
        }
    }

    fn create(path: &Path) -> Result<Key, PlanError> {
        if let Some(parent) = path.parent() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(PlanError::file(parent))?;
        }
        let bytes = Zeroizing::new(rand::random::<[u8; LENGTH]>().to_vec());
        let temporary = path.with_extension(format!("new.{}", std::process::id()));
        let write = || {
            let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // A link fails where somebody else was quicker, and then theirs is the key.
            let linked = std::fs::hard_link(&temporary, path);
            std::fs::remove_file(&temporary)?;
            linked
        };
        match write() {
            Ok(()) => Ok(Key(bytes)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Key::read(path),
            Err(error) => Err(PlanError::file(path)(error)),
        }
    }

    /// A key for tests.
    #[cfg(test)]
    pub(super) fn of(byte: u8) -> Key {
        Key(Zeroizing::new(vec![byte; LENGTH]))
    }

    /// What to call it: tells keys apart and says nothing of them.
    pub fn name(&self) -> String {
        self.digest("name", b"").chars().take(8).collect()
    }

    /// HMAC-SHA256 in hex. `purpose` keeps digests of different things apart.
    pub fn digest(&self, purpose: &str, bytes: &[u8]) -> String {
        hex(&self.mac(purpose, bytes).finalize().into_bytes())
    }

    /// Whether `digest` is that of `bytes`, compared in constant time.
    pub fn is_digest(&self, purpose: &str, bytes: &[u8], digest: &str) -> bool {
        unhex(digest).is_some_and(|digest| self.mac(purpose, bytes).verify_slice(&digest).is_ok())
    }

    fn mac(&self, purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes keys of any length"),
        };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(bytes);
        mac
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/plan.key");
        assert!(matches!(Key::read(&path), Err(PlanError::File { .. })));
        let made = Key::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Key::create(&path).unwrap().name(), made.name(), "the first one stays");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.key");
        for (contents, mode, expected) in [(vec![7; 32], 0o640, "chmod"), (vec![7; 31], 0o600, "32 bytes")] {
            std::fs::write(&path, contents).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(Key::read(&path).err().unwrap().to_string().contains(expected));
        }
    }

    #[test]
    fn digests_depend_on_key_purpose_and_contents() {
        let key = Key::of(1);
        let digest = key.digest("a", b"b");
        assert!(key.is_digest("a", b"b", &digest));
        for (key, purpose, bytes) in [(Key::of(2), "a", b"b"), (Key::of(1), "ab", b"b"), (Key::of(1), "a", b"c")] {
            assert!(!key.is_digest(purpose, bytes, &digest));
        }
        assert!(!key.is_digest("a", b"b", "é") && !key.is_digest("a", b"b", ""));
    }
}
