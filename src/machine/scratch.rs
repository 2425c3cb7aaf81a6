//! A private directory for a while: root-only, removed when it is dropped, and by the next one when it was not.

use super::{MachineError, Result};
use std::path::{Path, PathBuf};

/// The directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

/// Directories of this name are ours: `deploy-scratch.PURPOSE.PID.RANDOM`.
const PREFIX: &str = "deploy-scratch";

impl Scratch {
    /// Makes one in the directory for temporary files. What processes that ended left there is removed.
    pub fn new(purpose: &str) -> Result<Scratch> {
        let base = std::env::temp_dir();
        sweep(&base);
        let pid = std::process::id();
        let mut last = None;
        for _ in 0..16 {
            let mut bytes = [0u8; 8];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
                .map_err(|e| MachineError::io("cannot get random bytes", e.into()))?;
            let path = base.join(format!("{PREFIX}.{purpose}.{pid}.{:016x}", u64::from_ne_bytes(bytes)));
            match std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path) {
                Ok(()) => return Ok(Scratch { path }),
                Err(e) => last = Some(e),
            }
        }
        let why = last.unwrap_or_else(|| std::io::Error::other("no free name"));
        Err(MachineError::io(format!("cannot make a private directory in {}", base.display()), why))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path); // swept by the next one
    }
}

/// Removes our directories whose process is gone.
fn sweep(base: &Path) {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        if parts.next() != Some(PREFIX) {
            continue;
        }
        let owned = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        let gone = parts
            .nth(1)
            .and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if owned && gone {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let stale = std::env::temp_dir().join(format!("{PREFIX}.test.4194305.0"));
        std::fs::create_dir_all(&stale).unwrap();
        let scratch = Scratch::new("test").unwrap();
        assert_eq!(std::fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(scratch.path().join("x"), "x").unwrap();
        let path = scratch.path().to_path_buf();
        drop(scratch);
        assert!(!path.exists() && !stale.exists());
    }
}
