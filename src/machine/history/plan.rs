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
    /// What a run did not find as the one before it had left it.
    pub moved: Vec<(Domain, String)>,
}

impl Plan {
    /// Folds the lines of `turn`, or of all turns, behind those of earlier runs. What a rollback has settled is left out.
    pub fn add(&mut self, lines: &[Line], turn: Option<u32>) {
        let settles = |line: &Line| {
            line.entry == Entry::RolledBack && (line.turn == 0 || turn.is_none() || turn == Some(line.turn))
        };
        let mut seen = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let later = lines.get(index + 1..).unwrap_or_default();
            let mine = turn.is_none_or(|turn| turn == line.turn);
            if !mine || line.entry == Entry::RolledBack {
                continue;
            }
            // A turn's own rollback settles that turn, a rollback of everything settles all.
            let settled = later.iter().find(|l| settles(l) && (l.turn == 0 || l.turn == line.turn));
            match settled {
                Some(mark) => self.settled = Some(mark.time),
                None => {
                    let moved = subject(&line.entry).filter(|subject| !seen.contains(subject));
                    if let Some(subject) = moved {
                        if self.is_strange(&line.entry) {
                            self.moved.push(subject.clone());
                        }
                        seen.push(subject);
                    }
                    self.take(line);
                }
            }
        }
    }

    /// All runs are in it.
    pub fn finished(mut self) -> Plan {
        // What cannot be undone of a file is told with the file.
        let files: Vec<&String> = self.files.iter().map(|(path, _)| path).collect();
        self.steps.retain(|step| step.domain != Domain::File || !files.contains(&&step.name));
        self
    }

    /// Whether the state before a change is none that was ours, though there are such.
    fn is_strange(&self, entry: &Entry) -> bool {
        let strange = |past: Option<&Past<String>>, before: &String| {
            past.is_some_and(|past| {
                !past.known.iter().any(|known| known.split_whitespace().eq(before.split_whitespace()))
            })
        };
        match entry {
            Entry::File { path, before, .. } => {
                let past = self.files.iter().find(|(other, past)| other == path && !past.known.is_empty());
                past.is_some_and(|(_, past)| before.strange_to(&past.known.iter().collect::<Vec<_>>()).is_some())
            }
            Entry::Parameter { name, before, .. } => strange(self.parameters.get(name), before),
            Entry::Crontab { user, before, .. } => strange(self.crontabs.get(user), before),
            Entry::Hostname { before, .. } => strange(self.hostname.as_ref(), before),
            _ => false,
        }
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

/// What is looked after between runs. Variables of a server are forgotten by its restart, a firewall's listing counts on.
fn subject(entry: &Entry) -> Option<(Domain, String)> {
    match entry {
        Entry::File { path, .. } => Some((Domain::File, path.clone())),
        Entry::Parameter { name, .. } => Some((Domain::Sysctl, name.clone())),
        Entry::Crontab { user, .. } => Some((Domain::Cron, user.clone())),
        Entry::Hostname { .. } => Some((Domain::Hostname, "hostname".to_string())),
        _ => None,
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

    fn of(runs: &[(&[Line], Option<u32>)]) -> Plan {
        let mut plan = Plan::default();
        runs.iter().for_each(|(lines, turn)| plan.add(lines, *turn));
        plan.finished()
    }

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
            let plan = of(&[(lines, *turn)]);
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
        let plan = of(&[(&lines, None)]);
        assert_eq!(plan.files.len(), 1);
        assert_eq!(plan.files[0].1.first, Image::absent());
        assert_eq!(plan.files[0].1.known.len(), 4);
        assert!(plan.steps.is_empty(), "told with the file");
    }

    #[test]
    fn a_turn_that_was_taken_up_again_is_undone_in_all_runs() {
        let back = Entry::RolledBack;
        let (one, two, three) = (parameter("1", "2"), parameter("2", "3"), parameter("9", "4"));
        let (killed, resumed) = (line(1, 5, one.clone()), line(9, 2, two.clone()));
        let first_play = line(1, 2, parameter("0", "1"));
        // lines of the killed run and of the one that resumes it; to which value; whether somebody came between them
        let table: Vec<(Vec<Line>, Vec<Line>, Option<&str>, bool)> = vec![
            (vec![killed.clone()], vec![resumed.clone()], Some("1"), false),
            // The resumed run found everything done, and failed at something else.
            (vec![killed.clone()], vec![], Some("1"), false),
            (vec![], vec![resumed.clone()], Some("2"), false),
            // Another turn of the killed run stays, though it has the number that the resumed turn has.
            (vec![first_play.clone(), killed.clone()], vec![resumed.clone()], Some("1"), false),
            (vec![first_play], vec![resumed.clone()], Some("2"), false),
            (vec![killed.clone(), line(2, 5, back)], vec![resumed.clone()], Some("2"), false),
            (vec![killed.clone()], vec![line(9, 2, three.clone())], Some("1"), true),
            // Within a run the host's present state is what counts.
            (vec![killed], vec![resumed, line(10, 2, three)], Some("1"), false),
        ];
        for (index, (earlier, later, expected, between)) in table.into_iter().enumerate() {
            let plan = of(&[(&earlier, Some(5)), (&later, Some(2))]);
            let first = plan.parameters.get("net.x").map(|past| past.first.as_str());
            assert_eq!((first, !plan.moved.is_empty()), (expected, between), "case {index}");
        }
    }
}
