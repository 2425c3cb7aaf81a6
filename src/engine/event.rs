//! What happens in a run, as data. The engine emits events and never prints; `report` consumes them.

use super::position::Position;
use super::unknown::{Because, UnknownTask};
use crate::machine::Change;
use crate::source::Diag;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task as the user knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Where it stands in the play.
    #[serde(skip)]
    pub position: Position,
    /// Its name, templated, with `role : ` before it; the module's name where it has none.
    pub name: String,
    /// The module, as written.
    pub action: String,
    /// `file:line:column`.
    pub place: String,
    /// Whether it is a handler.
    pub handler: bool,
    /// The role that its name begins with.
    #[serde(skip)]
    pub role: Option<std::sync::Arc<str>>,
}

/// How a task ended on a host, as shown and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nothing to change.
    Ok,
    /// Something was changed.
    Changed,
    /// `when` was false, or the module had nothing to do.
    Skipped,
    /// It failed.
    Failed,
    /// The host could not be reached.
    Unreachable,
    /// A check could not tell.
    Unknown,
}

impl TaskStatus {
    /// As it is shown, and as it stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            TaskStatus::Ok => "ok",
            TaskStatus::Changed => "changed",
            TaskStatus::Skipped => "skipped",
            TaskStatus::Failed => "failed",
            TaskStatus::Unreachable => "unreachable",
            TaskStatus::Unknown => "unknown",
        }
    }
}

/// The result of a task, or of one item of its loop, on one host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostResult {
    /// The task.
    pub task: Arc<TaskInfo>,
    /// The host it was for.
    pub host: Arc<str>,
    /// The host it ran on, when it was delegated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated_to: Option<Arc<str>>,
    /// How it ended.
    pub status: TaskStatus,
    /// A failure that `ignore_errors` or `ignore_unreachable` made harmless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// The item, in words, when this is one item of a loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Why: for failures, skips and unknowns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// The mistake in a file that made it fail: what is wrong, with file, line and column.
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub problem: Option<Arc<Diag>>,
    /// The whole result as a play sees it; censored under `no_log`.
    pub result: serde_json::Value,
    /// Of an unknown: what was not known first, and how the task came to depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// What was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Handlers that this result notified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<String>,
    /// Whether diffs are to be shown for this result.
    #[serde(skip)]
    pub diff: bool,
    /// Seconds from the request to the answer.
    pub seconds: f64,
    /// What it is held against a plan by, beside what is shown.
    #[serde(skip)]
    pub beneath: Beneath,
}

/// What a result says beneath what is shown of it: a plan keeps keyed digests of it. It cannot be printed, and leaves the
/// process in no other form.
#[derive(Clone, Default)]
pub struct Beneath {
    /// What was changed under `no_log`; contents are fingerprints there already.
    pub hidden: Vec<Change>,
    /// In a check: fingerprints of what its module looked at, by what that is.
    pub observed: BTreeMap<String, String>,
}

impl std::fmt::Debug for Beneath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beneath(…)")
    }
}

impl HostResult {
    /// Whether it sums up a loop, whose items were told before it. Modules have `results` of their own (`dnf`).
    pub fn sums_up_a_loop(&self) -> bool {
        // Items that are hidden say nothing of their loop.
        let items = self.result.get("results").and_then(serde_json::Value::as_array);
        items.is_some_and(|items| items.iter().any(|item| item.get("ansible_loop_var").is_some()))
    }
}

/// What a recap line counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks that ended well, changed ones included, as Ansible counts them.
    pub ok: u32,
    /// Tasks that changed something.
    pub changed: u32,
    /// Times the host could not be reached.
    pub unreachable: u32,
    /// Tasks that failed.
    pub failed: u32,
    /// Tasks skipped.
    pub skipped: u32,
    /// Failures that a rescue section took.
    pub rescued: u32,
    /// Failures that were ignored.
    pub ignored: u32,
    /// Tasks of which a check could not tell.
    pub unknown: u32,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Go on.
    Open,
    /// It did not open in time; in a check: it is closed now.
    Closed,
    /// It is closed, or was not open for long enough, and is looked at again.
    Waiting,
    /// A check cannot tell.
    Unknown,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// Playbooks, as named by the user.
        playbooks: Vec<String>,
        /// Whether it is a check.
        check: bool,
    },
    /// A play began.
    PlayStarted {
        /// Its name, or its host pattern.
        name: String,
        /// The hosts it will run on.
        hosts: Vec<Arc<str>>,
    },
    /// A batch of a play with `serial` begins. Plays of one batch have none.
    BatchStarted {
        /// Its number, from 1.
        batch: usize,
        /// How many there are.
        of: usize,
        /// Its hosts.
        hosts: Vec<Arc<str>>,
    },
    /// A task began on the first of its hosts.
    TaskStarted {
        /// The task.
        task: Arc<TaskInfo>,
    },
    /// One item of a loop is done.
    ItemDone(HostResult),
    /// A task is done on a host.
    TaskDone(HostResult),
    /// A task will be tried again (`until`).
    Retrying {
        /// The task.
        task: Arc<TaskInfo>,
        /// The host.
        host: Arc<str>,
        /// Attempts left.
        left: u32,
    },
    /// A failure was taken by a rescue section.
    Rescued {
        /// The host.
        host: Arc<str>,
    },
    /// A task is still running; sent after two seconds and then now and again.
    StillRunning {
        /// The task.
        task: Arc<TaskInfo>,
        /// Hosts that are not done.
        hosts: Vec<Arc<str>>,
        /// Seconds since it began.
        seconds: u64,
        /// What the module says of its progress.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<String>,
    },
    /// A remark for the user.
    Warning {
        /// The sentence.
        message: String,
    },
    /// A diagnostic with its source excerpt, rendered plainly. It is about files at hand, so it is not read back.
    #[serde(skip_deserializing)]
    Diagnostic {
        /// The text.
        text: String,
        /// The same as data: what is wrong, with file, line and column.
        diagnostic: Box<Diag>,
    },
    /// The order of a rolling play is settled.
    RollingOrder {
        /// Its turns: the hosts that are out together.
        turns: Vec<Vec<Arc<str>>>,
        /// Hosts of the play that take no turn: the condition of `rolling` is false for them.
        left_out: Vec<Arc<str>>,
        /// Hosts whose turn the resumed run had finished.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        finished: Vec<Arc<str>>,
        /// Hosts that may be out at a time.
        max_unavailable: usize,
        /// The gate's name, or `tasks`; nothing where there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        gate: Option<String>,
        /// The members the gate looks at, where it is known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<Arc<str>>,
        /// The time window, and whether it is open now.
        #[serde(skip_serializing_if = "Option::is_none")]
        window: Option<(String, bool)>,
    },
    /// A turn of a rolling play begins.
    TurnStarted {
        /// Its number, from 1.
        turn: u32,
        /// How many there are.
        of: u32,
        /// Its hosts.
        hosts: Vec<Arc<str>>,
    },
    /// A turn of a rolling play is over.
    TurnDone {
        /// Its number, from 1.
        turn: u32,
        /// Its hosts.
        hosts: Vec<Arc<str>>,
        /// Whether all went well, the gate behind it included.
        ok: bool,
        /// Seconds it took.
        seconds: f64,
    },
    /// A failed turn was rolled back on a host.
    RolledBack {
        /// The turn's number, from 1.
        turn: u32,
        /// The host.
        host: Arc<str>,
        /// What was put back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
        /// What could not be, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_undone: Vec<String>,
        /// What becomes of the host.
        sentence: String,
    },
    /// What a gate sees.
    Gate {
        /// The cluster: the group's name, or its members'.
        name: String,
        /// Open, closed, still waiting, or not to be told in a check.
        state: GateState,
        /// One sentence: why, or what was seen.
        sentence: String,
        /// Seconds since it began to look.
        seconds: u64,
    },
    /// A rolling play waits on purpose.
    Waiting {
        /// For what.
        reason: String,
        /// How many seconds.
        seconds: u64,
    },
    /// A play stopped early.
    PlayStopped {
        /// Why.
        reason: String,
    },
    /// At the end of a check: the tasks that it could not tell of.
    Unknowns {
        /// In the order in which they were met.
        tasks: Vec<UnknownTask>,
    },
    /// The run is over.
    Recap {
        /// Every host that took part, in order.
        hosts: Vec<(Arc<str>, Counters)>,
        /// Handlers that were notified and not run, by host.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owed: Vec<(Arc<str>, Vec<String>)>,
        /// What tasks kept with `set_stats`: by host, and for the run under `_run`.
        #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
        stats: serde_json::Map<String, serde_json::Value>,
        /// Whether the terminal shows that (`show_custom_stats`).
        #[serde(skip)]
        show_stats: bool,
    },
}

/// Where events go. Implementations must be quick: the engine waits for them.
pub trait Sink: Send + Sync {
    /// Takes an event.
    fn emit(&self, event: Event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_module_are_no_loop() {
        let result = |value: serde_json::Value| HostResult {
            task: Arc::new(TaskInfo {
                position: Position::start(),
                name: "t".into(),
                action: "dnf".into(),
                place: "site.yml:1:1".into(),
                handler: false,
                role: None,
            }),
            host: "a".into(),
            delegated_to: None,
            status: TaskStatus::Changed,
            ignored: false,
            item: None,
            msg: None,
            problem: None,
            result: value,
            because: None,
            changes: Vec::new(),
            notified: Vec::new(),
            diff: false,
            seconds: 0.0,
            beneath: Default::default(),
        };
        for (value, expected) in [
            (serde_json::json!({"results": [{"item": 1, "ansible_loop_var": "item"}]}), true),
            (serde_json::json!({"results": ["Installed: hello"]}), false),
            (serde_json::json!({"results": []}), false),
            (serde_json::json!({}), false),
        ] {
            assert_eq!(result(value.clone()).sums_up_a_loop(), expected, "{value}");
        }
    }
}
