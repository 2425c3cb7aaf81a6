//! `ansible.cfg` and the `ANSIBLE_*` environment variables: found as Ansible finds them, read, and turned into typed settings.
//! What has no meaning here is named once.

mod find;
mod ini;
mod names;
mod settings;
#[cfg(test)]
mod tests;

pub use find::{Found, find};
pub use ini::{Entry, Ini};
pub use names::{Setting, named, of_plugin};
pub use settings::{Gathering, Settings, TABLE};

use std::path::{Path, PathBuf};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A line that is no section, no setting and no comment.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A value that is not of its kind.
    #[error("{from}: `{value}` {what}")]
    Value {
        /// Where it stands: `ansible.cfg:3: forks`, or the variable.
        from: String,
        /// As it was written.
        value: String,
        /// What it should be.
        what: String,
    },
}

/// What the process is given: its variables, where it stands, whose it is.
pub struct Surroundings<'a> {
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// The working directory.
    pub directory: &'a Path,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// `/etc/ansible`.
    pub system: &'a Path,
}

/// Finds and reads the configuration.
pub fn load(around: &Surroundings<'_>) -> Result<Settings, ConfigError> {
    let found = find(around);
    let ini = match &found.path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Unreadable { path: path.clone(), why: error.to_string() })?;
            Ini::parse(path, &text)?
        }
        None => Ini::default(),
    };
    let mut settings = Settings::of(&ini, around)?;
    settings.file = found.path;
    settings.warnings.splice(0..0, found.warning);
    Ok(settings)
}
