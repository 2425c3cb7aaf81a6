//! What a module says when it is done.

use crate::machine::{Change, MachineError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How a task ended on a host, before `changed_when` and `failed_when`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Done; changed when the change list is not empty.
    #[default]
    Ok,
    /// Failed; `msg` says why.
    Failed,
    /// Nothing to do by the module's own choice (`creates:` exists).
    Skipped,
    /// A check could not tell; `msg` says why.
    Unknown,
}

/// Something unknown that an outcome was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What was read: `result.stdout`.
    pub path: String,
    /// Why it is not known.
    pub reason: String,
}

/// The result of one module run on one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why, for failures, skips and unknowns; a remark otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// The module's return values, under Ansible's names (`dest`, `checksum`, `stat`, `rc`, `stdout` …).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// What was changed, in order; filled in by the agent from the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// In a check: fingerprints of what it looked at, by what that is; filled in by the agent from the machine. Where they
    /// differ from one check to the next, the host has moved, whatever the module makes of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<String, String>,
    /// Names of return values that a check could not predict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    /// In a check: what it depends on that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<Dependency>,
    /// Sentences for the user that are no failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Facts to set (`ansible_facts`), without the `ansible_` prefix of injected variables removed or added.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// Names of facts that a check cannot tell, because it cannot tell the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_facts: Vec<String>,
    /// A mistake of the playbook, with its place: known to the controller alone.
    #[cfg(feature = "controller")]
    #[serde(skip)]
    pub problem: Option<Box<crate::source::Diag>>,
}

impl Outcome {
    /// Done, with return values to come.
    pub fn ok() -> Self {
        Outcome::default()
    }

    /// Failed, with the reason.
    pub fn failed(msg: impl Into<String>) -> Self {
        Outcome { status: Status::Failed, msg: Some(msg.into()), ..Default::default() }
    }

    /// It took longer than its `timeout` allows.
    pub fn timed_out(seconds: u64, what: &str) -> Self {
        let timedout = serde_json::json!({"period": seconds, "frame": what});
        Outcome::failed(format!("Timed out after {seconds} second(s).")).with("timedout", timedout)
    }

    /// Skipped, with the reason.
    pub fn skipped(msg: impl Into<String>) -> Self {
        Outcome { status: Status::Skipped, msg: Some(msg.into()), ..Default::default() }
    }

    /// Not predictable, with the reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Outcome { status: Status::Unknown, msg: Some(why.into()), ..Default::default() }
    }

    /// Adds a return value.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_string(), value.into());
        self
    }

    /// Whether anything was changed.
    pub fn changed(&self) -> bool {
        !self.changes.is_empty()
    }
}

/// Why a module could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// An argument has a value that cannot be used; found on the host or while decoding.
    #[error("argument `{name}`: {why}")]
    Argument {
        /// The argument, as the user wrote it where that is known.
        name: String,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// The module says what went wrong.
    #[error("{0}")]
    Failed(String),
    /// The module says what went wrong, and returns values with it.
    #[error("{}", .0.msg.as_deref().unwrap_or("it failed"))]
    Ended(Box<Outcome>),
    /// The machine said no, or could not predict.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl ModuleError {
    /// A bad argument.
    pub fn argument(name: impl Into<String>, why: impl Into<String>) -> Self {
        ModuleError::Argument { name: name.into(), why: why.into() }
    }

    /// A failure with its `rc`, as the modules return it that edit files.
    pub fn with_rc(msg: impl Into<String>, rc: i64) -> Self {
        ModuleError::Ended(Box::new(Outcome::failed(msg).with("rc", rc)))
    }
}

impl From<ModuleError> for Outcome {
    /// Unknown stays unknown, everything else is a failure.
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::Machine(MachineError::Unknown { why }) => Outcome::unknown(why),
            ModuleError::Ended(outcome) => *outcome,
            other => Outcome::failed(other.to_string()),
        }
    }
}
