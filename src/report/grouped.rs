//! The diffs of a task on a terminal: hosts with the same changes share one.
//!
//! Results come in one after the other, and a line for each is shown at once. Diffs wait for the end of their task, or for
//! the first moment in which nothing else comes.

use super::diff::{self, DiffOptions};
use super::{Mask, Style};
use crate::engine::event::HostResult;
use crate::machine::Change;

/// Diffs of the task that is being shown.
#[derive(Default)]
pub struct Grouped {
    waiting: Vec<Group>,
    /// Those of this task that were shown.
    shown: Vec<Group>,
}

struct Group {
    changes: Vec<Change>,
    /// Hosts, with the item of a loop.
    hosts: Vec<String>,
}

impl Grouped {
    /// Takes the changes of a result.
    pub fn take(&mut self, result: &HostResult) {
        if result.changes.is_empty() {
            return;
        }
        let host = match &result.item {
            Some(item) => format!("{} (item={item})", result.host),
            None => result.host.to_string(),
        };
        match self.waiting.iter_mut().find(|group| group.changes == result.changes) {
            Some(group) => group.hosts.push(host),
            None => self.waiting.push(Group { changes: result.changes.clone(), hosts: vec![host] }),
        }
    }

    /// What waits; of a play of so many hosts.
    pub fn release(&mut self, of: usize, mask: &Mask, style: Style, options: DiffOptions) -> String {
        let mut text = String::new();
        for group in std::mem::take(&mut self.waiting) {
            let names = match group.hosts.len() {
                all if all > 8 && all == of => format!("all {all} hosts"),
                _ => group.hosts.join(", "),
            };
            if let Some(earlier) = self.shown.iter().find(|shown| shown.changes == group.changes) {
                let first = earlier.hosts.first().map(String::as_str).unwrap_or_default();
                text += &style.dim(&format!("  {names}: the same as on {first}\n"));
                continue;
            }
            if of > 1 {
                text += &format!("  {}\n", style.dim(&format!("on {names}:")));
            }
            text += &diff::changes(&group.changes, mask, style, options);
            // On a host alone each item of a loop is shown by itself.
            if of > 1 {
                self.shown.push(group);
            }
        }
        text
    }

    /// Another task begins.
    pub fn forget(&mut self) {
        self.shown.clear();
    }
}
