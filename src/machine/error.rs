//! What can go wrong on a host.

/// Why a machine operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the path: `cannot write /etc/hosts`.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// There is such a program, and the system does not start it: it may not be executed, or is no program.
    #[error("cannot start `{program}`: {source}")]
    NotStarted {
        /// Its name as it was given.
        program: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A process was to be run in a directory that is none, or is not open to this user.
    #[error("cannot change into `{directory}`: {why}")]
    NoDirectory {
        /// The directory.
        directory: String,
        /// In words.
        why: &'static str,
    },
    /// A program that we rely on failed or said something that we do not understand.
    #[error("{what}")]
    Failed {
        /// What happened, why, and what to do.
        what: String,
    },
    /// A program of the host could not be found.
    #[error("this needs the program `{program}`, which the host does not have{hint}")]
    MissingProgram {
        /// Its name.
        program: String,
        /// `; install the package …`, or nothing.
        hint: String,
    },
    /// In a check: this depends on something that cannot be predicted. The task's status becomes Unknown.
    #[error("cannot be predicted: {why}")]
    Unknown {
        /// A sentence without a full stop.
        why: String,
    },
}

impl MachineError {
    /// An I/O error with what was attempted.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        MachineError::Io { what: what.into(), source }
    }

    /// A failure in words.
    pub fn failed(what: impl Into<String>) -> Self {
        MachineError::Failed { what: what.into() }
    }

    /// Something that a check cannot tell.
    pub fn unknown(why: impl Into<String>) -> Self {
        MachineError::Unknown { why: why.into() }
    }
}
