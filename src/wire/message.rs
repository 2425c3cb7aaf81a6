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
    /// Results that an earlier controller did not live to receive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
}

/// The result of a task whose controller was gone when it ended. Without return values and contents: those may be
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Who ran it: [`Start::who`].
    pub who: String,
    /// When it ended, seconds since 1970.
    pub time: u64,
    /// The task's name.
    pub label: String,
    /// The module's full name.
    pub module: String,
    /// `ok`, `failed`, `skipped`, `unknown` or `become_failed`.
    pub status: String,
    /// Why, where the task is not `no_log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// What was changed, a line each, without contents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// It ended before the controller was known to be gone: it may have been received.
    #[serde(default)]
    pub perhaps_received: bool,
}

/// A host's word for a task that waits for another run there; the holder follows.
pub const WAITING_FOR_ANOTHER_RUN: &str = "waiting for another run on this host";

/// Who is calling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// A name of this run that no other run has; sessions of one run do not wait for each other.
    pub run: String,
    /// For those who wait: `alice@control, playbooks/site.yml`.
    pub who: String,
    /// An agent that hears nothing for this many seconds takes the controller for dead; 0 never.
    #[serde(default)]
    pub patience: u64,
    /// Live tasks wait until no other run works on this host, and keep others waiting.
    #[serde(default)]
    pub exclusive: bool,
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
    /// Requests of one loop: a failure of one drops only what is queued behind all of them. 0 for none.
    #[serde(default)]
    pub group: u64,
    /// Seconds after which the task is ended and has failed (`timeout`). 0 for never.
    #[serde(default)]
    pub timeout: u64,
    /// The task is started and left running (`async` with `poll: 0`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach: Option<Detach>,
    /// For the spool and messages: the task's name.
    pub label: String,
    /// The run it belongs to ([`Start::run`]): what a live task changes is logged under this name, so that it can be
    /// undone. Without one nothing is logged.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// In a rolling play the turn, counted from 1 over all plays of the run; 0 outside of turns.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: u32,
    /// Does not wait for other runs on this host: a look, or what keeps runs apart itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlocked: bool,
    /// In a check nothing is downloaded and no archive is looked into.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_fetch: bool,
    /// A live task within a check (`check_mode: false`). The hub passes it on where tasks before it would have changed the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub within_check: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A task that is left running on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// The job's name, before the number of its process is added.
    pub job: String,
    /// Seconds after which it is ended.
    pub limit: u64,
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
    BecomeFailed {
        /// The reason.
        why: String,
        /// The status of the program that should have done it, where it ended by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rc: Option<i32>,
    },
}

/// How far a long step is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is going on.
    pub text: String,
    /// How much is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Asks for contents that were too large for the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobWant {
    /// SHA-256 of the whole, hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The end of a stream, or of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Announces contents that the agent sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadOpen {
    /// The name under which the module's controller half asks for them.
    pub name: String,
}

/// Asks for a TCP connection from the host to somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOpen {
    /// Address, or a name that the host can resolve.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How long connecting may take.
    pub timeout_ms: u64,
}
