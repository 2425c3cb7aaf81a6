//! A run's log, folded: for each subject the state before the first change and every state that was ours.

use super::entry::{Entry, Line};
use super::image::Image;
use crate::machine::Domain;
use crate::machine::files::Time;
use crate::machine::units::{Scope, UnitAction};
use std::collections::BTreeMap;

/// A path and what became of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FilePast {
    /// Before everything.
    pub first: Image,
    /// Every state that our changes may have left, the first one included.
    pub known: Vec<Image>,
    /// Its contents are not to be shown.
    pub secret: bool,
    /// Access and modification before.
    pub times: Option<(Time, Time)>,
    /// Only times were changed.
    pub only_times: bool,
}

/// A value and what became of it.
#[derive(Debug, PartialEq)]
pub(super) struct Past<T> {
    /// Before everything.
    pub first: T,
    /// Every value that our changes may have left, the first one included.
    pub known: Vec<T>,
}

/// A unit and what was done to it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct UnitPast {
    /// Whether it ran, before the first thing that was done to it.
    pub running: Option<bool>,
    /// Whether it was enabled.
    pub enabled: Option<bool>,
    /// Whether it was masked.
    pub masked: Option<bool>,
    /// What was done to it, in order.
    pub actions: Vec<UnitAction>,
}

/// Something that cannot be undone.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub domain: Domain,
    pub name: String,
    pub what: String,
    pub task: String,
}

/// What one rollback is about.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// By path, in the order in which they were first touched.
    pub files: Vec<(String, FilePast)>,
    pub units: Vec<((String, Scope), UnitPast)>,
    pub parameters: BTreeMap<String, Past<String>>,
    pub hostname: Option<Past<String>>,
    pub crontabs: BTreeMap<String, Past<String>>,
    pub firewall: BTreeMap<String, Past<Option<String>>>,
    pub variables: BTreeMap<String, Past<String>>,
    pub steps: Vec<Step>,
    /// There were changes, and they were rolled back: when, in seconds since 1970.
    pub settled: Option<i64>,
}

impl Plan {
    /// Folds the lines of `turn`, or of all turns. What a rollback has settled is left out.
    pub fn of(lines: &[Line], turn: Option<u32>) -> Plan {
        let settles = |line: &Line| {
            line.entry == Entry::RolledBack && (line.turn == 0 || turn.is_none() || turn == Some(line.turn))
        };
        let mut plan = Plan::default();
        for (index, line) in lines.iter().enumerate() {
            let later = lines.get(index + 1..).unwrap_or_default();
            let mine = turn.is_none_or(|turn| turn == line.turn);
            if !mine || line.entry == Entry::RolledBack {
                continue;
            }
            // A turn's own rollback settles that turn, a rollback of everything settles all.
            let settled = later.iter().find(|l| settles(l) && (l.turn == 0 || l.turn == line.turn));
            match settled {
                Some(mark) => plan.settled = Some(mark.time),
                None => plan.take(line),
            }
        }
        // What cannot be undone of a file is told with the file.
        let files: Vec<&String> = plan.files.iter().map(|(path, _)| path).collect();
        plan.steps.retain(|step| step.domain != Domain::File || !files.contains(&&step.name));
        plan
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let values = self.parameters.len() + self.crontabs.len() + self.firewall.len() + self.variables.len();
        self.files.is_empty()
            && self.units.is_empty()
            && values == 0
            && self.hostname.is_none()
            && self.steps.is_empty()
    }

    fn take(&mut self, line: &Line) {
        match &line.entry {
            Entry::File { path, before, after, secret } => {
                let past = entry(&mut self.files, path.clone());
                if past.known.is_empty() {
                    past.first = before.clone();
                }
                past.only_times = false;
                past.secret |= secret;
                past.known.extend([before.clone(), after.clone()]);
            }
            Entry::Times { path, before } => {
                let past = entry(&mut self.files, path.clone());
                past.times.get_or_insert(*before);
                past.only_times = past.known.is_empty();
            }
            Entry::Unit { unit, scope, action, running } => {
                let past = entry(&mut self.units, (unit.clone(), *scope));
                past.running.get_or_insert(*running);
                past.actions.push(*action);
            }
            Entry::Enabled { unit, scope, before } => {
                entry(&mut self.units, (unit.clone(), *scope)).enabled.get_or_insert(*before);
            }
            Entry::Masked { unit, scope, before } => {
                entry(&mut self.units, (unit.clone(), *scope)).masked.get_or_insert(*before);
            }
            Entry::Parameter { name, before, after } => add(&mut self.parameters, name, before, after),
            Entry::Crontab { user, before, after } => add(&mut self.crontabs, user, before, after),
            Entry::Variable { name, before, after } => add(&mut self.variables, name, before, after),
            Entry::Hostname { before, after } => {
                let past = self.hostname.get_or_insert(Past { first: before.clone(), known: Vec::new() });
                past.known.extend([before.clone(), after.clone()]);
            }
            Entry::Firewall { table, before } => {
                let past = self.firewall.entry(table.clone());
                past.or_insert(Past { first: before.clone(), known: Vec::new() }).known.push(before.clone());
            }
            Entry::FirewallIs { table, after } => {
                if let Some(past) = self.firewall.get_mut(table) {
                    past.known.push(after.clone());
                }
            }
            Entry::Step { domain, name, what } => {
                let step = Step { domain: *domain, name: name.clone(), what: what.clone(), task: line.task.clone() };
                if !self.steps.contains(&step) {
                    self.steps.push(step);
                }
            }
            Entry::RolledBack => {}
        }
    }
}

fn entry<K: PartialEq, V: Default>(list: &mut Vec<(K, V)>, key: K) -> &mut V {
    let index = list.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
        list.push((key, V::default()));
        list.len() - 1
    });
    &mut list[index].1
}

fn add(map: &mut BTreeMap<String, Past<String>>, name: &str, before: &str, after: &str) {
    let past = map.entry(name.to_string()).or_insert_with(|| Past { first: before.to_string(), known: Vec::new() });
    past.known.extend([before.to_string(), after.to_string()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: i64, turn: u32, entry: Entry) -> Line {
        Line { time, turn, task: "t".into(), entry }
    }

    fn parameter(before: &str, after: &str) -> Entry {
        Entry::Parameter { name: "net.x".into(), before: before.into(), after: after.into() }
    }

    #[test]
    fn the_first_state_counts_and_turns_are_told_apart() {
        let back = Entry::RolledBack;
        let (one, two, three) = (parameter("1", "2"), parameter("2", "3"), parameter("3", "4"));
        // lines; which turn is rolled back; to which value; whether something was settled before
        let table: &[(&[Line], Option<u32>, Option<&str>, bool)] = &[
            (&[line(1, 0, one.clone()), line(2, 0, two.clone())], None, Some("1"), false),
            (&[line(1, 1, one.clone()), line(2, 2, two.clone())], Some(2), Some("2"), false),
            (&[line(1, 1, one.clone()), line(2, 2, two.clone())], None, Some("1"), false),
            (&[line(1, 1, one.clone())], Some(3), None, false),
            (&[line(1, 1, one.clone()), line(2, 1, back.clone())], Some(1), None, true),
            (&[line(1, 1, one.clone()), line(2, 1, back.clone())], None, None, true),
            (&[line(1, 1, one.clone()), line(2, 0, back.clone())], Some(1), None, true),
            // A turn was rolled back, another one was not.
            (&[line(1, 1, one.clone()), line(2, 2, two.clone()), line(3, 2, back.clone())], None, Some("1"), true),
            // Something was changed after the rollback.
            (&[line(1, 1, one.clone()), line(2, 1, back.clone()), line(3, 1, three)], None, Some("3"), true),
        ];
        for (index, (lines, turn, expected, settled)) in table.iter().enumerate() {
            let plan = Plan::of(lines, *turn);
            let first = plan.parameters.get("net.x").map(|past| past.first.as_str());
            assert_eq!((first, plan.settled.is_some()), (*expected, *settled), "case {index}");
        }
    }

    #[test]
    fn several_changes_of_a_path_are_one() {
        let image = |text: &str| Image { kind: Some(crate::machine::files::Kind::File), ..image_of(text) };
        fn image_of(text: &str) -> Image {
            Image { holds: Some(text.into()), ..Image::default() }
        }
        let file = |before: Image, after: Image| Entry::File { path: "/x".into(), before, after, secret: false };
        let step = Entry::Step { domain: Domain::File, name: "/x".into(), what: "content".into() };
        let lines =
            [line(1, 0, file(Image::absent(), image("a"))), line(2, 0, step), line(3, 0, file(image("a"), image("b")))];
        let plan = Plan::of(&lines, None);
        assert_eq!(plan.files.len(), 1);
        assert_eq!(plan.files[0].1.first, Image::absent());
        assert_eq!(plan.files[0].1.known.len(), 4);
        assert!(plan.steps.is_empty(), "told with the file");
    }
}
