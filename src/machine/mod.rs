//! A host as modules see it: typed domains, each live or predicted.
//!
//! A module is written once, against [`Machine`]. In a real run every domain is *live*; in a check every domain
//! is *predicted*: reads see what earlier tasks of the same run would have done, writes stay in an overlay.
//! Every mutation goes through a method of `Machine` (one file a domain) that reads the state before, compares,
//! records a [`Change`] and only then asks the domain's backend, so no module can forget check mode and a task
//! that did nothing cannot say `changed`.

pub mod accounts;
mod balancer;
pub mod before;
mod boot;
mod certificates;
mod change;
mod cluster;
pub mod cron;
pub mod dialogue;
mod error;
mod exec;
pub mod files;
pub mod firewall;
pub mod history;
pub mod kernel;
pub mod mounts;
pub mod packages;
mod predictions;
pub(crate) mod process;
pub(crate) mod resolve;
mod scratch;
mod selinux;
pub mod settings;
pub mod sql;
mod tools;
pub mod units;
pub mod web;

pub use change::{Change, ChangeKind, Domain, Facet, Subject, Undo};
pub use error::MachineError;
pub use exec::{Command, Output};
pub(crate) use scratch::Scratch;
pub use selinux::SelinuxMode;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Result of a machine operation.
pub type Result<T> = std::result::Result<T, MachineError>;

/// Whether changes are carried out or only predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A real run.
    Live,
    /// A check: writes go to the overlay.
    Predicted,
    /// A check of a task of which it is not known whether it would run (`when` is unknown):
    /// what it would write becomes unknown in the overlay.
    Tainted,
}

/// What the earlier tasks of a check would have done, one part a domain.
///
/// It is handed from child to child when a run changes its become identity, hence serialisable.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Overlay {
    /// State of each domain, under the domain's name; a domain reads and writes only its own.
    pub domains: BTreeMap<String, serde_json::Value>,
}

/// The machine a module works on, for one become identity.
///
/// Domain state and backends are private to the domain's file, which adds an `impl Machine` block with the
/// operations that modules call.
pub struct Machine {
    mode: Mode,
    changes: Vec<Change>,
    /// In a check: fingerprints of what the task looked at and a plan is held against.
    observed: std::sync::Mutex<BTreeMap<String, String>>,
    /// What the domains would have done; empty in a live run.
    predictions: predictions::Predictions,
    /// Where live changes are logged for a rollback.
    history: Option<history::History>,
    /// Environment variables of the task (`environment:`), for every process the task starts.
    pub environment: BTreeMap<String, String>,
    /// Contents are kept in changes, to be shown as diffs. Set for each task.
    pub diff: bool,
    /// Contents are kept out of changes (`no_log`). Set for each task.
    pub no_log: bool,
    /// In a check nothing is downloaded and no archive is looked into (`--no-fetch`). Set for each task.
    pub no_fetch: bool,
    /// The task is carried out within a check, and tasks before it would have changed the host.
    pub behind_foreseen: bool,
    /// When the task must be over (`timeout`): processes that still run then are killed with their groups. Set for
    /// each task.
    pub deadline: Option<std::time::Instant>,
}

impl Machine {
    /// A machine of this host.
    pub fn new(mode: Mode) -> Self {
        Machine {
            mode,
            changes: Vec::new(),
            observed: Default::default(),
            predictions: Default::default(),
            history: None,
            environment: BTreeMap::new(),
            diff: true,
            no_log: false,
            no_fetch: false,
            behind_foreseen: false,
            deadline: None,
        }
    }

    /// How writes are treated now.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether writes stay in memory.
    pub fn predicted(&self) -> bool {
        self.mode != Mode::Live
    }

    /// Sets how the next task's writes are treated. Overlays survive; only `Predicted` and `Tainted` may be
    /// exchanged during a run.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Adds to the change list. Domains call this, modules do not.
    pub(crate) fn record(&mut self, change: Change) {
        self.predictions.anything |= self.predicted();
        self.log_step(&change);
        self.changes.push(change);
    }

    /// How many changes there are, to insert one there later.
    pub(crate) fn changes_so_far(&self) -> usize {
        self.changes.len()
    }

    /// Adds to the change list before what was recorded since `position` ([`Machine::changes_so_far`]).
    pub(crate) fn insert_change(&mut self, position: usize, change: Change) {
        self.predictions.anything |= self.predicted();
        self.log_step(&change);
        self.changes.insert(position.min(self.changes.len()), change);
    }

    /// Takes the change list of the task that just ran.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// In a check: notes what is there now, before anything that is foreseen, as a fingerprint that only this host knows
    /// the key of. Domains call this where a state decides what a task would do without being a change itself.
    pub(crate) fn observe(&self, domain: Domain, name: &str, state: &str) {
        if self.predicted() {
            let print = files::fingerprint(&files::sha256(state.as_bytes()));
            let mut observed = self.observed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            observed.insert(format!("{domain:?} {name}"), print);
        }
    }

    /// Takes what the task that just ran has looked at.
    pub fn take_observed(&mut self) -> BTreeMap<String, String> {
        std::mem::take(self.observed.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Whether the running task has changed anything so far.
    pub fn changed(&self) -> bool {
        !self.changes.is_empty()
    }
}
