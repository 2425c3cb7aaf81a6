//! What is written down of one change, so that it can be undone.

use super::image::Image;
use crate::machine::files::Time;
use crate::machine::units::{Scope, UnitAction};
use crate::machine::{Domain, Subject};
use serde::{Deserialize, Serialize};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When: seconds since 1970.
    pub time: i64,
    /// The turn of a rolling play, counted over all plays of the run; 0 outside of turns.
    #[serde(default)]
    pub turn: u32,
    /// The task's name.
    #[serde(default)]
    pub task: String,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What is about to be changed, with the state before. Written before the change is made: an entry whose change
/// did not come about says so by the host's present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A file, directory or link.
    File {
        /// Its absolute path.
        path: String,
        /// What is there before.
        before: Image,
        /// What will be there.
        after: Image,
        /// Its contents are not to be shown.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        secret: bool,
    },
    /// The times of an entry were set.
    Times {
        /// Its absolute path.
        path: String,
        /// Access and modification before.
        before: (Time, Time),
    },
    /// A unit is enabled or disabled.
    Enabled {
        /// Full name.
        unit: String,
        /// Whose manager.
        scope: Scope,
        /// Before.
        before: bool,
    },
    /// A unit is masked or unmasked.
    Masked {
        /// Full name.
        unit: String,
        /// Whose manager.
        scope: Scope,
        /// Before.
        before: bool,
    },
    /// A unit is started, stopped, restarted or reloaded.
    Unit {
        /// Full name.
        unit: String,
        /// Whose manager.
        scope: Scope,
        /// What is done to it.
        action: UnitAction,
        /// Whether it ran before.
        running: bool,
    },
    /// A kernel parameter.
    Parameter {
        /// Its name.
        name: String,
        /// Value before.
        before: String,
        /// Value after.
        after: String,
    },
    /// The host's name, as the kernel has it.
    Hostname {
        /// Before.
        before: String,
        /// After.
        after: String,
    },
    /// A user's crontab, whole.
    Crontab {
        /// Whose.
        user: String,
        /// Text before.
        before: String,
        /// Text after.
        after: String,
    },
    /// A table of the firewall.
    Firewall {
        /// Its name.
        table: String,
        /// What nft printed of it before; nothing where there was none.
        before: Option<String>,
    },
    /// What nft printed of a table after a change.
    FirewallIs {
        /// Its name.
        table: String,
        /// What nft printed; nothing where there is none.
        after: Option<String>,
    },
    /// A global variable of the database server.
    Variable {
        /// Its name.
        name: String,
        /// Value before.
        before: String,
        /// Value after.
        after: String,
    },
    /// Something that cannot be undone.
    Step {
        /// What was changed.
        domain: Domain,
        /// Its name.
        name: String,
        /// What happened to it.
        what: String,
    },
    /// All that stands before this, of this turn (0: of every turn), was rolled back.
    RolledBack,
}

impl Entry {
    /// Something that cannot be undone.
    pub fn step(subject: &Subject, what: impl Into<String>) -> Entry {
        Entry::Step { domain: subject.domain, name: subject.name.clone(), what: what.into() }
    }
}
