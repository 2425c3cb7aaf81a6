//! What lookups read and store beside the playbooks: passwords that are made once. A check makes them in memory only, so
//! that it can go on with them and leaves no file behind.

use crate::template::LookupHost;
use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The files of this machine.
pub struct Stored {
    check: bool,
    /// What a check would have stored.
    imagined: Mutex<HashMap<PathBuf, Vec<u8>>>,
}

impl Stored {
    /// Files that a check does not touch.
    pub fn new(check: bool) -> Self {
        Stored { check, imagined: Mutex::default() }
    }
}

impl LookupHost for Stored {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        let imagined = self.imagined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = imagined.get(path) {
            return Ok(Some(content.clone()));
        }
        match std::fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
        if self.check {
            let mut imagined = self.imagined.lock().unwrap_or_else(PoisonError::into_inner);
            imagined.insert(path.to_path_buf(), content.to_vec());
            return Ok(());
        }
        store(path, content, mode).map_err(|error| error.to_string())
    }
}

/// Whole or not at all: a password that is half written would be taken for one.
fn store(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_run_stores_and_a_check_remembers() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep/er/password");
        let check = Stored::new(true);
        assert_eq!(check.read(&path), Ok(None));
        check.write(&path, b"imagined", 0o600).unwrap();
        assert_eq!(check.read(&path), Ok(Some(b"imagined".to_vec())));
        assert!(!path.exists());
        let run = Stored::new(false);
        run.write(&path, b"kept", 0o600).unwrap();
        assert_eq!(run.read(&path), Ok(Some(b"kept".to_vec())));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
