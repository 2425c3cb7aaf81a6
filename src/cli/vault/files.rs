//! Where vault data and clear texts are read from and written to. A file is replaced in one step and keeps its mode and owner.

use super::Fault;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Larger inputs are no secrets.
const LIMIT: u64 = 256 * 1024 * 1024;

/// Where something is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Stdin => f.write_str("standard input"),
            Place::File(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    /// As the command line names it.
    pub fn of(text: &str) -> Place {
        if text == "-" { Place::Stdin } else { Place::File(PathBuf::from(text)) }
    }

    /// All of it.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let cannot = |error: std::io::Error| Fault::Failed(format!("cannot read {self}: {error}"));
        let mut bytes = Zeroizing::new(Vec::new());
        match self {
            Place::Stdin => std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes).map_err(cannot)?,
            Place::File(path) => {
                let file = std::fs::File::open(path).map_err(cannot)?;
                // As much as there is, so that no copies of a growing buffer are left behind.
                let size = file.metadata().map_err(cannot)?.len().min(LIMIT);
                bytes.reserve(usize::try_from(size).unwrap_or(0) + 1);
                file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(cannot)?
            }
        };
        if bytes.len() as u64 > LIMIT {
            return Err(Fault::Failed(format!("{self} is larger than {} MiB", LIMIT / 1024 / 1024)));
        }
        Ok(bytes)
    }
}

/// Where something is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Writes it.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Target::Stdout => {
                let mut out = std::io::stdout().lock();
                let written = out.write_all(bytes).and_then(|()| out.flush());
                written.map_err(|error| Fault::Failed(format!("cannot write to standard output: {error}")))
            }
            Target::File(path) => {
                replace(path, bytes).map_err(|error| Fault::Failed(format!("cannot write {}: {error}", path.display())))
            }
        }
    }
}

/// Puts a file in the place of another in one step, with its mode and owner; a new one is its owner's alone. What a link
/// points to is replaced, not the link.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let before = match std::fs::metadata(&path) {
        Ok(found) if !found.is_file() => return Err(std::io::Error::other("it is not a file")),
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".deploy-vault-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    if let Some(before) = before {
        let now = file.as_file().metadata()?;
        if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
            std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
        file.as_file().set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o7777))?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // The new name is on the disk when this returns.
    std::fs::File::open(directory).and_then(|directory| directory.sync_all())
}
