//! The diffs of a task on a terminal: hosts with the same changes share one.
//!
//! Results come in one after the other, and a line for each is shown at once. Diffs wait for the end of their task, or for
//! the first moment in which nothing else comes.

use super::diff::{self, DiffOptions};
use super::{Mask, Style};
use crate::engine::event::HostResult;
use crate::machine::Change;
use std::collections::BTreeSet;

/// Diffs of the task that is being shown.
#[derive(Default)]
pub struct Grouped {
    waiting: Vec<Group>,
    /// Those of this task that were shown.
    shown: Vec<Group>,
}

struct Group {
    changes: Vec<Change>,
    /// Hosts, each with the item of a loop: a host may have the same changes with several items.
    hosts: Vec<(String, Option<String>)>,
}

impl Group {
    /// Who it is; of a play of so many hosts.
    fn names(&self, of: usize) -> String {
        let hosts: BTreeSet<&str> = self.hosts.iter().map(|(host, _)| host.as_str()).collect();
        let mut items = self.hosts.iter().map(|(_, item)| item);
        let first = items.next().and_then(Option::as_deref);
        if hosts.len() > 8 && hosts.len() == of && items.all(|item| item.as_deref() == first) {
            return format!("all {of} hosts{}", with(first));
        }
        self.hosts.iter().map(named).collect::<Vec<_>>().join(", ")
    }
}

fn with(item: Option<&str>) -> String {
    item.map(|item| format!(" (item={item})")).unwrap_or_default()
}

fn named((host, item): &(String, Option<String>)) -> String {
    format!("{host}{}", with(item.as_deref()))
}

impl Grouped {
    /// Takes the changes of a result.
    pub fn take(&mut self, result: &HostResult) {
        if result.changes.is_empty() {
            return;
        }
        let host = (result.host.to_string(), result.item.clone());
        match self.waiting.iter_mut().find(|group| group.changes == result.changes) {
            Some(group) => group.hosts.push(host),
            None => self.waiting.push(Group { changes: result.changes.clone(), hosts: vec![host] }),
        }
    }

    /// What waits; of a play of so many hosts.
    pub fn release(&mut self, of: usize, mask: &Mask, style: Style, options: DiffOptions) -> String {
        let mut text = String::new();
        for group in std::mem::take(&mut self.waiting) {
            let names = group.names(of);
            if let Some(earlier) = self.shown.iter().find(|shown| shown.changes == group.changes) {
                let first = earlier.hosts.first().map(named).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_and_not_their_items() {
        let group = |hosts: usize, items: &[Option<&str>]| {
            let hosts =
                (0..hosts).flat_map(|n| items.iter().map(move |item| (format!("h{n}"), item.map(String::from))));
            Group { changes: Vec::new(), hosts: hosts.collect() }
        };
        assert_eq!(group(10, &[None]).names(10), "all 10 hosts");
        assert_eq!(group(10, &[Some("a")]).names(10), "all 10 hosts (item=a)");
        // Five hosts with two items each are not ten hosts.
        let five = group(5, &[Some("a"), Some("b")]).names(10);
        assert!(five.starts_with("h0 (item=a), h0 (item=b), h1 (item=a)"), "{five}");
        let ten = group(10, &[Some("a"), Some("b")]).names(10);
        assert!(ten.starts_with("h0 (item=a), h0 (item=b)"), "{ten}");
        assert_eq!(group(2, &[None]).names(2), "h0, h1");
    }
}
