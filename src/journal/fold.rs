//! What the steps of a run come to: turns, and what is owed.

use super::debts::Due;
use super::record::{HandlerId, Step, Timed, TurnOutcome};
use serde::Serialize;
use std::collections::BTreeSet;

/// A host's turn in a rolling play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// The play's number in the run.
    pub play: usize,
    /// The host.
    pub host: String,
    /// The run; empty where its journal is of an older version.
    pub run: String,
    /// Its number in the run, that hosts log its changes under; 0 where its journal is of an older version.
    pub turn: u32,
    /// When it began, seconds since 1970.
    pub began: i64,
    /// When it ended; nothing when the run ended before it.
    pub ended: Option<i64>,
    /// How it ended.
    pub outcome: Option<TurnOutcome>,
    /// What the gate said behind it.
    pub gate: String,
}

/// What the steps of a run come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The turns of its rolling plays, in the order in which they began.
    pub turns: Vec<Turn>,
    /// What it owes: host, what, since when.
    pub owed: Vec<(String, Due, i64)>,
    /// What it paid, its own debts or those of runs before it.
    pub paid: Vec<(String, Due)>,
    /// The runs whose steps these are, the newest first: only where a later run resumes them.
    #[serde(skip)]
    pub runs: Vec<String>,
}

impl Progress {
    /// The turn of `host` in play number `play`, if it came to its good end.
    pub fn finished(&self, play: usize, host: &str) -> Option<&Turn> {
        let mut turns = self.turns.iter().rev();
        turns.find(|turn| turn.play == play && turn.host == host).filter(|t| t.outcome == Some(TurnOutcome::Done))
    }

    /// When the turn of `host` in play number `play` first began, if it was cut off or failed since, however often it was taken
    /// again. What it did by then still stands.
    pub fn broken_off(&self, play: usize, host: &str) -> Option<i64> {
        self.tries(play, host).last().map(|turn| turn.began)
    }

    /// The turns of `host` in play number `play` of which the changes still stand, though none came to its good end: the newest
    /// first.
    pub fn tries<'a>(&'a self, play: usize, host: &'a str) -> impl Iterator<Item = &'a Turn> {
        let turns = self.turns.iter().rev().filter(move |turn| turn.play == play && turn.host == host);
        turns.take_while(|turn| matches!(turn.outcome, None | Some(TurnOutcome::Failed)))
    }
}

/// Adds up steps.
pub fn fold(steps: &[Timed]) -> Progress {
    let mut progress = Progress::default();
    for (index, Timed { time, step }) in steps.iter().enumerate() {
        match step {
            Step::TurnBegan { play, host, run, turn } => progress.turns.push(Turn {
                play: *play,
                host: host.clone(),
                run: run.clone(),
                turn: *turn,
                began: *time,
                ended: None,
                outcome: None,
                gate: String::new(),
            }),
            Step::TurnEnded { play, host, outcome, gate } => {
                let open = |turn: &&mut Turn| turn.play == *play && turn.host == *host && turn.ended.is_none();
                if let Some(turn) = progress.turns.iter_mut().rev().find(open) {
                    (turn.ended, turn.outcome, turn.gate) = (Some(*time), Some(*outcome), gate.clone());
                }
            }
            Step::Notified { host, handler, .. } => owe(&mut progress, host, Due::Handler(handler.clone()), *time),
            Step::Ran { host, handler } => pay(&mut progress, host, Due::Handler(handler.clone())),
            Step::Withdrawn { host, handler, .. } => {
                let due = Due::Handler(handler.clone());
                match left_of(steps.get(..=index).unwrap_or_default(), host, handler) {
                    Left::Owed => {}
                    // What it ran before it was notified again is paid all the same.
                    Left::Paid => pay(&mut progress, host, due),
                    Left::Nothing => progress.owed.retain(|(other, owed, _)| !(other == host && owed.same(&due))),
                }
            }
            Step::OwesRestart { host, unit, reason } => {
                owe(&mut progress, host, Due::Restart { unit: unit.clone(), reason: reason.clone() }, *time);
            }
            Step::Restarted { host, unit } => {
                pay(&mut progress, host, Due::Restart { unit: unit.clone(), reason: String::new() });
            }
        }
    }
    progress
}

/// What is left of a handler of which a notification was withdrawn.
enum Left {
    /// Another play of the run has notified it, too.
    Owed,
    /// It ran in this run, and nobody has notified it since.
    Paid,
    /// As if it had never been notified.
    Nothing,
}

fn left_of(steps: &[Timed], host: &str, handler: &HandlerId) -> Left {
    let (mut plays, mut ran) = (BTreeSet::new(), false);
    for Timed { step, .. } in steps {
        match step {
            Step::Notified { play, host: of, handler: which } if of == host && which == handler => {
                plays.insert(*play);
            }
            Step::Withdrawn { play, host: of, handler: which } if of == host && which == handler => {
                plays.remove(play);
            }
            Step::Ran { host: of, handler: which } if of == host && which == handler => {
                plays.clear();
                ran = true;
            }
            _ => {}
        }
    }
    match (plays.is_empty(), ran) {
        (false, _) => Left::Owed,
        (true, true) => Left::Paid,
        (true, false) => Left::Nothing,
    }
}

fn owe(progress: &mut Progress, host: &str, due: Due, time: i64) {
    progress.paid.retain(|(other, paid)| !(other == host && paid.same(&due)));
    if !progress.owed.iter().any(|(other, owed, _)| other == host && owed.same(&due)) {
        progress.owed.push((host.to_string(), due, time));
    }
}

fn pay(progress: &mut Progress, host: &str, due: Due) {
    progress.owed.retain(|(other, owed, _)| !(other == host && owed.same(&due)));
    if !progress.paid.iter().any(|(other, paid)| other == host && paid.same(&due)) {
        progress.paid.push((host.to_string(), due));
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn handler(name: &str) -> HandlerId {
        HandlerId { file: "/p/handlers/main.yml".into(), role: "db".into(), name: name.into() }
    }

    fn steps(list: &[Step]) -> Vec<Timed> {
        list.iter().enumerate().map(|(time, step)| Timed { time: time as i64, step: step.clone() }).collect()
    }

    fn notified(host: &str, name: &str) -> Step {
        notified_in(1, host, name)
    }

    fn notified_in(play: usize, host: &str, name: &str) -> Step {
        Step::Notified { play, host: host.into(), handler: handler(name) }
    }

    fn ran(host: &str, name: &str) -> Step {
        Step::Ran { host: host.into(), handler: handler(name) }
    }

    fn withdrawn(host: &str, name: &str) -> Step {
        Step::Withdrawn { play: 1, host: host.into(), handler: handler(name) }
    }

    #[test]
    fn what_was_notified_and_did_not_run_is_owed() {
        for (list, owed, paid) in [
            (vec![notified("a", "x")], vec!["a x"], vec![]),
            (vec![notified("a", "x"), ran("a", "x")], vec![], vec!["a x"]),
            (vec![notified("a", "x"), ran("b", "x")], vec!["a x"], vec!["b x"]),
            (vec![notified("a", "x"), ran("a", "y")], vec!["a x"], vec!["a y"]),
            (vec![notified("a", "x"), ran("a", "x"), notified("a", "x")], vec!["a x"], vec![]),
            (vec![notified("a", "x"), notified("a", "x")], vec!["a x"], vec![]),
            (vec![ran("a", "x")], vec![], vec!["a x"]), // a debt of a run before
            (vec![notified("a", "x"), withdrawn("a", "x")], vec![], vec![]),
            (vec![notified("a", "x"), withdrawn("b", "x")], vec!["a x"], vec![]),
            (vec![notified("a", "x"), withdrawn("a", "x"), notified("a", "x")], vec!["a x"], vec![]),
            (vec![ran("a", "x"), notified("a", "x"), withdrawn("a", "x")], vec![], vec!["a x"]),
            // What an earlier play of the run has left is still owed; what ran since is not.
            (vec![notified_in(0, "a", "x"), notified("a", "x"), withdrawn("a", "x")], vec!["a x"], vec![]),
            (
                vec![notified_in(0, "a", "x"), ran("a", "x"), notified("a", "x"), withdrawn("a", "x")],
                vec![],
                vec!["a x"],
            ),
        ] {
            let progress = fold(&steps(&list));
            let name = |due: &Due| match due {
                Due::Handler(handler) => handler.name.clone(),
                Due::Restart { unit, .. } => unit.clone(),
            };
            let found: Vec<_> = progress.owed.iter().map(|(host, due, _)| format!("{host} {}", name(due))).collect();
            assert_eq!(found, owed, "{list:?}");
            let found: Vec<_> = progress.paid.iter().map(|(host, due)| format!("{host} {}", name(due))).collect();
            assert_eq!(found, paid, "{list:?}");
        }
    }

    #[test]
    fn restarts_are_owed_by_unit_whatever_the_reason() {
        let owes = |reason: &str| Step::OwesRestart { host: "a".into(), unit: "m".into(), reason: reason.into() };
        let progress = fold(&steps(&[owes("one"), owes("two")]));
        assert_eq!(progress.owed.len(), 1);
        let progress = fold(&steps(&[owes("one"), Step::Restarted { host: "a".into(), unit: "m".into() }]));
        assert!(progress.owed.is_empty());
    }

    #[test]
    fn only_a_turn_that_came_to_its_good_end_counts() {
        let began = |host: &str| Step::TurnBegan { play: 1, host: host.into(), run: String::new(), turn: 0 };
        let ended = |host: &str, outcome| Step::TurnEnded { play: 1, host: host.into(), outcome, gate: "open".into() };
        let progress = fold(&steps(&[
            began("a"),
            ended("a", TurnOutcome::Done),
            began("b"),
            ended("b", TurnOutcome::RolledBack),
            began("c"),
        ]));
        assert_eq!(progress.finished(1, "a").map(|turn| (turn.began, turn.ended)), Some((0, Some(1))));
        for (play, host) in [(2, "a"), (1, "b"), (1, "c"), (1, "d")] {
            assert_eq!(progress.finished(play, host), None, "{play} {host}");
        }
        // A turn begun again is open again.
        let again = fold(&steps(&[began("a"), ended("a", TurnOutcome::Done), began("a")]));
        assert_eq!(again.finished(1, "a"), None);
    }

    #[test]
    fn what_a_broken_off_turn_did_counts_from_its_first_try() {
        let began = |host: &str| Step::TurnBegan { play: 1, host: host.into(), run: String::new(), turn: 0 };
        let ended = |host: &str, outcome| Step::TurnEnded { play: 1, host: host.into(), outcome, gate: "x".into() };
        let progress = fold(&steps(&[
            began("done"),
            ended("done", TurnOutcome::Done),
            began("cut"),
            began("cut"),
            ended("cut", TurnOutcome::Failed),
            began("cut"),
            began("back"),
            ended("back", TurnOutcome::RolledBack),
            began("anew"),
            ended("anew", TurnOutcome::RolledBack),
            began("anew"),
        ]));
        for (host, expected) in [("done", None), ("cut", Some(2)), ("back", None), ("anew", Some(10)), ("none", None)] {
            assert_eq!(progress.broken_off(1, host), expected, "{host}");
        }
        assert_eq!(progress.broken_off(2, "cut"), None);
    }

    #[test]
    fn the_tries_of_a_turn_are_known_by_run_and_number() {
        let began = |run: &str, play, turn| Step::TurnBegan { play, host: "a".into(), run: run.into(), turn };
        let ended = |play, outcome| Step::TurnEnded { play, host: "a".into(), outcome, gate: "x".into() };
        let progress = fold(&steps(&[
            began("r1", 1, 2),
            ended(1, TurnOutcome::Done),
            began("r1", 2, 5), // cut off
            began("r2", 2, 1),
            ended(2, TurnOutcome::Failed),
        ]));
        let tries = |play| progress.tries(play, "a").map(|turn| (turn.run.as_str(), turn.turn)).collect::<Vec<_>>();
        assert_eq!(tries(1), []);
        assert_eq!(tries(2), [("r2", 1), ("r1", 5)]);
    }
}
