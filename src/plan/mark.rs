//! What identifies a result, and a keyed digest of all that it says.

use super::Key;
use crate::engine::event::{HostResult, TaskStatus};
use crate::machine::{Change, ChangeKind, Facet};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Where a result stands: the same in every run of the same playbooks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The host it was for.
    pub host: String,
    /// The play's number, from 1.
    pub play: u32,
    /// `file:line:column`.
    pub place: String,
    /// The task's name, which tells tasks of a file that is included twice apart.
    pub task: String,
    /// The item of a loop.
    pub item: Option<String>,
    /// How many results of this host were the same so far.
    pub again: u32,
}

/// What a result said, as digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of status, changes and notified handlers.
    pub whole: String,
    /// Of what each change leads to, whatever was there before.
    pub reached: Vec<String>,
}

impl Mark {
    /// The mark of a result.
    pub fn of(result: &HostResult, key: &Key) -> Mark {
        let changes: Vec<Change> = result.changes.iter().map(comparable).collect();
        let whole = serde_json::json!([result.status, changes, result.notified]);
        let mut reached: Vec<String> = changes.iter().filter_map(|change| reached(change, key)).collect();
        reached.sort();
        Mark { whole: key.digest("result", whole.to_string().as_bytes()), reached }
    }
}

/// The same change without what is made anew each time: keys, serial numbers, and the dates that follow from the moment.
fn comparable(change: &Change) -> Change {
    let mut change = change.clone();
    if let ChangeKind::Set { before, after, .. } = &mut change.kind {
        for facet in [before, after] {
            if let Facet::AtApply(_) = facet {
                *facet = Facet::AtApply(String::new());
            }
        }
    }
    change
}

/// What a change leads to; nothing where that is not known beforehand. That something happened counts, and not how it is
/// told: before it does, nobody knows the process id it will have.
fn reached(change: &Change, key: &Key) -> Option<String> {
    let subject = &change.subject;
    let what = match &change.kind {
        ChangeKind::Set { after: Facet::AtApply(_) | Facet::Unknown, aspect, .. } => {
            serde_json::json!([subject, aspect, "at apply"])
        }
        ChangeKind::Set { aspect, after, .. } => serde_json::json!([subject, aspect, after]),
        ChangeKind::Effect { .. } => serde_json::json!([subject, "effect"]),
        ChangeKind::Opaque => return None,
    };
    Some(key.digest("change", what.to_string().as_bytes()))
}

/// Counts the results of a run, to give each its place.
#[derive(Default)]
pub struct Counter {
    play: u32,
    seen: HashMap<Place, u32>,
}

impl Counter {
    /// Another play begins.
    pub fn play(&mut self) {
        self.play += 1;
    }

    /// The place of the next result.
    pub fn place(&mut self, result: &HostResult) -> Place {
        let mut place = Place {
            host: result.host.to_string(),
            play: self.play,
            place: result.task.place.clone(),
            task: result.task.name.clone(),
            item: result.item.clone(),
            again: 0,
        };
        let seen = self.seen.entry(place.clone()).or_insert(0);
        place.again = *seen;
        *seen += 1;
        place
    }
}

/// Whether a result says that something is changed.
pub(super) fn changes_something(result: &HostResult) -> bool {
    result.status == TaskStatus::Changed || !result.changes.is_empty()
}
