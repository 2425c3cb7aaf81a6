//! What the frames say.

use crate::machine::Mode;
use crate::modules::Outcome;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The agent's first word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the frames; both ends must agree.
    pub protocol: u32,
    /// Process id of the hub.
    pub pid: u32,
    /// Effective user id of the hub.
    pub uid: u32,
    /// Machine type, as `uname -m` says.
    pub arch: String,
}

/// What a failure of this request means for those queued behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Everything of the same epoch behind it is not run.
    Stop,
    /// The queue goes on (`ignore_errors`).
    Continue,
}

/// How another user is become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BecomeMethod {
    /// `sudo`
    Sudo,
    /// `su`
    Su,
    /// `doas`
    Doas,
}

/// Another user to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Become {
    /// By which program.
    pub method: BecomeMethod,
    /// Which user.
    pub user: String,
    /// The password it asks for, if it asks.
    pub password: Option<Secret>,
    /// Further options for the program (`become_flags`).
    #[serde(default)]
    pub flags: Vec<String>,
    /// Path of the program, when it is not found by its name (`become_exe`).
    #[serde(default)]
    pub exe: Option<String>,
}

/// One module to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskRequest {
    /// The module's full name.
    pub module: String,
    /// Its templated arguments.
    pub arguments: Map<String, Value>,
    /// Whom to become; nothing means the user who logged in.
    #[serde(rename = "become", default)]
    pub become_user: Option<Become>,
    /// Live, predicted or tainted.
    pub mode: Mode,
    /// Keep contents for diffs.
    pub diff: bool,
    /// Keep contents out of changes, spools and logs.
    pub no_log: bool,
    /// Environment of the processes it starts.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// A failure drops what is queued behind it in the same epoch; the controller goes on with a new epoch.
    pub epoch: u32,
    /// What a failure means for the queue.
    pub on_failure: OnFailure,
    /// For the spool and messages: the task's name.
    pub label: String,
}

/// The answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It ran.
    Done(Outcome),
    /// It was not run, because an earlier request of its epoch failed.
    NotRun,
    /// The user could not be become; the reason never contains what the user typed.
    BecomeFailed(String),
}
