//! The records of a run: `meta.json`, and the lines of `steps.jsonl`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a run was asked for, and how it ended: `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Its name.
    pub id: String,
    /// `alice@control`
    pub user: String,
    /// Version of `deploy`.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Where it was started.
    pub directory: PathBuf,
    /// The command line without the program, secrets masked.
    pub arguments: Vec<String>,
    /// Something on the command line was secret and is not here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
    /// Playbooks, as named.
    pub playbooks: Vec<String>,
    /// Inventory sources, as named.
    pub inventory: Vec<String>,
    /// The inventory sources as absolute paths: debts of one inventory's hosts are no other's.
    pub inventory_id: Vec<String>,
    /// Where else roles are looked for, as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles_path: Option<String>,
    /// When it began, seconds since 1970.
    pub started: i64,
    /// When it ended; a killed run never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// How it ended; nothing while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The run that this one resumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// It carries out a plan, which lies beside this, and is held against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applies: Option<Applies>,
    /// The recap's counters, by host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, serde_json::Value>,
}

/// What was allowed when a plan was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applies {
    /// Tasks of which its check could not tell, and that may do what they will.
    pub allowed: Vec<String>,
    /// Hosts that were left out.
    pub refused: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It came to its end, well or not: the exit code says which.
    Finished,
    /// It was interrupted by Ctrl-C and ended in order.
    Interrupted,
    /// Its process is gone and left no word.
    Killed,
}

/// A handler, so that another run finds it again: where it is written, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HandlerId {
    /// The file it is written in, absolute.
    pub file: String,
    /// Its role; empty for a handler of the play itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Its name, as written.
    pub name: String,
}

/// How a host's turn in a rolling play ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnOutcome {
    /// Everything ran, and the gate opened behind it.
    Done,
    /// It failed and was left as it is.
    Failed,
    /// It failed and was put back.
    RolledBack,
}

/// A line of `steps.jsonl`: what a later run must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A host's turn in a rolling play began.
    TurnBegan {
        /// The play's number in the run.
        play: usize,
        /// The host.
        host: String,
        /// The run.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        run: String,
        /// The turn's number in the run: what hosts log its changes under.
        #[serde(default)]
        turn: u32,
    },
    /// A host's turn ended.
    TurnEnded {
        /// The play's number in the run.
        play: usize,
        /// The host.
        host: String,
        /// How.
        outcome: TurnOutcome,
        /// What the gate said behind it: `open`, or why it is closed.
        gate: String,
    },
    /// A handler was notified and will have to run.
    Notified {
        /// The play's number in the run; 0 in what older versions wrote.
        #[serde(default)]
        play: usize,
        /// The host.
        host: String,
        /// The handler.
        handler: HandlerId,
    },
    /// A handler ran, and did not fail.
    Ran {
        /// The host.
        host: String,
        /// The handler.
        handler: HandlerId,
    },
    /// A handler that this play has notified is not to run after all: others run in its place. What earlier plays and runs owe is
    /// not touched.
    Withdrawn {
        /// The play's number in the run.
        #[serde(default)]
        play: usize,
        /// The host.
        host: String,
        /// The handler.
        handler: HandlerId,
    },
    /// A unit runs on something else than what its files say, and must be restarted some time.
    OwesRestart {
        /// The host.
        host: String,
        /// The unit.
        unit: String,
        /// Why it was not restarted at once.
        reason: String,
    },
    /// A unit was started anew.
    Restarted {
        /// The host.
        host: String,
        /// The unit.
        unit: String,
    },
}

/// A step with its moment, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Seconds since 1970.
    pub time: i64,
    /// What.
    #[serde(flatten)]
    pub step: Step,
}
