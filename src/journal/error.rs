//! Why the journal cannot be kept or read.

use std::path::PathBuf;

/// Why the journal cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or folder of the journal.
    #[error("the journal of runs: {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is none of ours, or of a newer version.
    #[error("the journal of runs: {path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No place for it.
    #[error("neither XDG_STATE_HOME nor HOME is set: name a folder for the journal of runs in DEPLOY_RUNS_DIR")]
    NoHome,
    /// It is switched off.
    #[error("the journal of runs is switched off (DEPLOY_RUNS_DIR=off), so there is nothing to show or to resume")]
    Off,
    /// No such run.
    #[error("there is no run `{0}`; `deploy runs` lists those that are kept")]
    NoRun(String),
    /// The beginning of several.
    #[error("`{name}` is the beginning of several runs: {}", runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Which have it.
        runs: Vec<String>,
    },
}

impl JournalError {
    /// For `map_err`: something about `path`.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = path.into();
        move |source| JournalError::File { path, source }
    }
}
