//! What a backend of the file system says when it cannot do something.

use crate::machine::MachineError;
use rustix::io::Errno;
use std::path::Path;

/// The system's (or the overlay's) refusal, or something that a check cannot know.
#[derive(Debug)]
pub(super) enum Fault {
    Io(std::io::Error),
    Unknown(String),
}

pub(super) type FsResult<T> = std::result::Result<T, Fault>;

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Io(error)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Fault {
        Fault::Io(error.into())
    }
}

impl Fault {
    /// Whether it says that there is no such entry.
    pub fn is_absent(&self) -> bool {
        matches!(self, Fault::Io(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory))
    }

    /// The same with what was attempted on which path.
    pub fn at(self, verb: &str, path: &Path) -> MachineError {
        match self {
            Fault::Io(error) => MachineError::io(format!("{verb} {}", path.display()), error),
            Fault::Unknown(why) => MachineError::unknown(why),
        }
    }
}

/// Adds the attempt and the path to a fault.
pub(super) trait At<T> {
    fn at(self, verb: &str, path: &Path) -> crate::machine::Result<T>;
}

impl<T, E: Into<Fault>> At<T> for std::result::Result<T, E> {
    fn at(self, verb: &str, path: &Path) -> crate::machine::Result<T> {
        self.map_err(|e| e.into().at(verb, path))
    }
}
