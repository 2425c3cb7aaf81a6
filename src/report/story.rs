//! A run as a whole, gathered from its events, for what is written at its end: pages, tickets, test reports, traces.
//!
//! Every text is masked as it comes in, so that whoever writes a page may escape it in any way.

use super::diff::masked_changes;
use super::{Mask, Reporter};
use crate::engine::event::{Counters, Event, GateState, HostResult, TaskInfo, TaskStatus};
use crate::engine::unknown::UnknownTask;
use crate::machine::Change;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Playbooks, as named by the user.
    pub playbooks: Vec<String>,
    /// Whether it was a check.
    pub check: bool,
    /// Its plays.
    pub plays: Vec<Chapter>,
    /// Warnings and diagnostics.
    pub remarks: Vec<String>,
    /// Tasks that a check could not tell of, each in lines: where, the way it came there, why.
    pub unknowns: Vec<Vec<String>>,
    /// Each host's counters, at the end.
    pub recap: Vec<(String, Counters)>,
    /// Handlers that were notified and not run, by host.
    pub owed: Vec<(String, Vec<String>)>,
    /// What failed turns were put back to.
    pub rollbacks: Vec<Rollback>,
    /// Seconds it took.
    pub seconds: f64,
    /// When it began.
    pub moment: Option<SystemTime>,
}

/// What was put back on a host.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// When, in seconds of the run.
    pub at: f64,
    /// Of which turn.
    pub turn: u32,
    /// The host.
    pub host: String,
    /// What was put back.
    pub changes: Vec<Change>,
    /// What could not be.
    pub not_undone: Vec<String>,
    /// What becomes of the host.
    pub sentence: String,
}

/// Hosts that were at work together: a batch, or a turn of a rolling play.
#[derive(Clone, Debug)]
pub struct Portion {
    /// `batch 2 of 5`.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// When it began, in seconds of the run.
    pub began: f64,
    /// When it ended.
    pub ended: Option<f64>,
    /// Whether all went well, where that is said.
    pub ok: Option<bool>,
}

/// What a gate said.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// When, in seconds of the run.
    pub at: f64,
    /// The gate.
    pub gate: String,
    /// Open, closed, waiting.
    pub state: GateState,
    /// Why.
    pub sentence: String,
    /// Seconds since it began to look.
    pub seconds: u64,
}

/// A play.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// Its name.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// When it began, in seconds of the run.
    pub began: f64,
    /// When the next one began, or the run was over.
    pub ended: f64,
    /// Its batches or turns, if it has several.
    pub portions: Vec<Portion>,
    /// What its gates said.
    pub gates: Vec<Verdict>,
    /// Its tasks, in the order in which they were begun.
    pub tasks: Vec<Scene>,
    /// Turns, gates, waits, rollbacks, the reason of an early end: each with its second.
    pub steps: Vec<(f64, Mood, String)>,
    /// Why it ended before its end.
    pub stopped: Option<String>,
}

/// How a step of a play is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Good,
    /// To know.
    Plain,
    /// Not as it should be.
    Bad,
}

impl Chapter {
    /// The last word of each gate.
    pub fn verdicts(&self) -> Vec<&Verdict> {
        let mut last: Vec<&Verdict> = Vec::new();
        for verdict in &self.gates {
            match last.iter_mut().find(|other| other.gate == verdict.gate) {
                Some(other) => *other = verdict,
                None => last.push(verdict),
            }
        }
        last
    }
}

/// A task.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The task.
    pub task: Arc<TaskInfo>,
    /// What it came to: hosts with the same outcome stand together.
    pub outcomes: Vec<Outcome>,
}

/// What a task, or one item of its loop, came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub status: TaskStatus,
    /// A failure that was ignored.
    pub ignored: bool,
    /// The item.
    pub item: Option<String>,
    /// Why.
    pub msg: Option<String>,
    /// What was changed.
    pub changes: Vec<Change>,
    /// Handlers that were notified.
    pub notified: Vec<String>,
    /// The hosts, each with when it ended and how long it took, in seconds.
    pub hosts: Vec<(String, f64, f64)>,
}

impl Outcome {
    fn is_like(&self, other: &Outcome) -> bool {
        (self.status, self.ignored, &self.item, &self.msg, &self.changes, &self.notified)
            == (other.status, other.ignored, &other.item, &other.msg, &other.changes, &other.notified)
    }
}

impl Story {
    /// Sums of all hosts' counters.
    pub fn totals(&self) -> Counters {
        let mut sum = Counters::default();
        for (_, host) in &self.recap {
            sum.ok += host.ok;
            sum.changed += host.changed;
            sum.unreachable += host.unreachable;
            sum.failed += host.failed;
            sum.skipped += host.skipped;
            sum.rescued += host.rescued;
            sum.ignored += host.ignored;
            sum.unknown += host.unknown;
        }
        sum
    }

    /// Whether a play ended before its end.
    pub fn stopped(&self) -> bool {
        self.plays.iter().any(|play| play.stopped.is_some())
    }

    fn chapter(&mut self) -> &mut Chapter {
        if self.plays.is_empty() {
            self.plays.push(Chapter::default());
        }
        let last = self.plays.len() - 1;
        &mut self.plays[last]
    }
}

/// Gathers a story. Its clones gather the same one.
#[derive(Clone)]
pub struct Teller {
    story: Arc<Mutex<Story>>,
    clock: Clock,
    mask: Mask,
}

/// Seconds since a run began.
pub type Clock = Arc<dyn Fn() -> f64 + Send + Sync>;

impl Teller {
    /// A story that begins now.
    pub fn new(mask: Mask) -> Teller {
        let story = Story { moment: Some(SystemTime::now()), ..Story::default() };
        let began = Instant::now();
        Teller { story: Arc::new(Mutex::new(story)), clock: Arc::new(move || began.elapsed().as_secs_f64()), mask }
    }

    /// A story whose moments are told by another clock.
    pub fn with_clock(self, clock: Clock) -> Teller {
        Teller { clock, ..self }
    }

    /// What was told so far; hosts by name, whoever was quicker.
    pub fn story(&self) -> Story {
        let mut story = self.story.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for outcome in story.plays.iter_mut().flat_map(|play| &mut play.tasks).flat_map(|task| &mut task.outcomes) {
            outcome.hosts.sort_by(|one, other| one.0.cmp(&other.0));
        }
        story
    }

    fn text(&self, text: &str) -> String {
        (self.mask)(text)
    }

    fn outcome(&self, result: &HostResult, now: f64) -> Outcome {
        Outcome {
            status: result.status,
            ignored: result.ignored,
            item: result.item.as_deref().map(|item| self.text(item)),
            msg: result.msg.as_deref().map(|msg| self.text(msg)),
            changes: masked_changes(&result.changes, &self.mask),
            notified: result.notified.iter().map(|name| self.text(name)).collect(),
            hosts: vec![(result.host.to_string(), now, result.seconds)],
        }
    }
}

/// Hosts begin together; those before them have ended.
fn portion(story: &mut Story, name: String, hosts: &[Arc<str>], now: f64) {
    let portions = &mut story.chapter().portions;
    if let Some(last) = portions.last_mut() {
        last.ended.get_or_insert(now);
    }
    let hosts = hosts.iter().map(|host| host.to_string()).collect();
    portions.push(Portion { name, hosts, began: now, ended: None, ok: None });
}

impl Reporter for Teller {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        let now = (self.clock)();
        let mut guard = self.story.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let story = &mut *guard;
        story.seconds = now;
        if let Some(play) = story.plays.last_mut() {
            play.ended = now;
        }
        let mut step = |mood: Mood, text: String| {
            let text = self.text(&text);
            story.chapter().steps.push((now, mood, text));
        };
        match event {
            Event::RunStarted { playbooks, check } => {
                story.playbooks = playbooks.iter().map(|name| self.text(name)).collect();
                story.check = *check;
            }
            Event::PlayStarted { name, hosts } => {
                let hosts = hosts.iter().map(|host| host.to_string()).collect();
                story.plays.push(Chapter { name: self.text(name), hosts, began: now, ..Chapter::default() });
            }
            Event::TaskStarted { .. } | Event::StillRunning { .. } | Event::Retrying { .. } => {}
            Event::ItemDone(result) | Event::TaskDone(result) => {
                if result.sums_up_a_loop() && result.status != TaskStatus::Failed {
                    return Ok(());
                }
                let outcome = self.outcome(result, now);
                let scenes = &mut story.chapter().tasks;
                let same = |scene: &Scene| {
                    scene.task.position == result.task.position && scene.task.place == result.task.place
                };
                let at = match scenes.iter().rposition(same) {
                    Some(at) => at,
                    None => {
                        let task = TaskInfo { name: self.text(&result.task.name), ..(*result.task).clone() };
                        scenes.push(Scene { task: Arc::new(task), outcomes: Vec::new() });
                        scenes.len() - 1
                    }
                };
                let outcomes = &mut scenes[at].outcomes;
                match outcomes.iter_mut().find(|other| other.is_like(&outcome)) {
                    Some(other) => other.hosts.extend(outcome.hosts),
                    None => outcomes.push(outcome),
                }
            }
            Event::Rescued { host } => step(Mood::Plain, format!("{host}: a rescue section took the failure")),
            Event::Warning { message } => story.remarks.push(self.text(message)),
            Event::Diagnostic { text, .. } => story.remarks.push(self.text(text)),
            Event::RollingOrder { turns, gate, .. } => {
                let turns: Vec<String> = turns.iter().map(|turn| turn.join(" + ")).collect();
                let gate = gate.as_ref().map(|gate| format!("; gate: {gate}")).unwrap_or_default();
                step(Mood::Plain, format!("order: {}{gate}", turns.join(", then ")));
            }
            Event::BatchStarted { batch, of, hosts } => portion(story, format!("batch {batch} of {of}"), hosts, now),
            Event::TurnStarted { turn, of, hosts } => {
                step(Mood::Plain, format!("turn {turn} of {of}: {}", hosts.join(", ")));
                portion(story, format!("turn {turn} of {of}"), hosts, now);
            }
            Event::TurnDone { turn, hosts, ok, seconds } => {
                if let Some(last) = story.chapter().portions.last_mut() {
                    (last.ended, last.ok) = (Some(now), Some(*ok));
                }
                let mut step = |mood: Mood, text: String| story.chapter().steps.push((now, mood, self.text(&text)));
                let (mood, how) = if *ok { (Mood::Good, "done") } else { (Mood::Bad, "failed") };
                step(mood, format!("turn {turn}: {} {how} after {seconds:.1} s", hosts.join(", ")));
            }
            Event::RolledBack { turn, host, changes, not_undone, sentence } => {
                step(Mood::Bad, format!("{host} was rolled back ({} put back): {sentence}", changes.len()));
                for what in not_undone {
                    step(Mood::Bad, format!("{host}: not put back: {what}"));
                }
                story.rollbacks.push(Rollback {
                    at: now,
                    turn: *turn,
                    host: host.to_string(),
                    changes: masked_changes(changes, &self.mask),
                    not_undone: not_undone.iter().map(|what| self.text(what)).collect(),
                    sentence: self.text(sentence),
                });
            }
            Event::Gate { name, state, sentence, seconds } => {
                let (mood, how) = match state {
                    GateState::Open => (Mood::Good, "open"),
                    GateState::Closed => (Mood::Bad, "closed"),
                    GateState::Waiting => (Mood::Plain, "waiting"),
                    GateState::Unknown => (Mood::Plain, "not known in a check"),
                };
                step(mood, format!("gate {name}: {how} ({seconds} s): {sentence}"));
                let verdict = Verdict {
                    at: now,
                    gate: self.text(name),
                    state: *state,
                    sentence: self.text(sentence),
                    seconds: *seconds,
                };
                story.chapter().gates.push(verdict);
            }
            Event::Waiting { reason, seconds } => step(Mood::Plain, format!("waits {seconds} s: {reason}")),
            Event::PlayStopped { reason } => {
                step(Mood::Bad, reason.clone());
                story.chapter().stopped = Some(self.text(reason));
            }
            Event::Unknowns { tasks } => {
                let lines = |task: &UnknownTask| task.lines().iter().map(|line| self.text(line)).collect();
                story.unknowns = tasks.iter().map(lines).collect();
            }
            Event::Recap { hosts, owed, .. } => {
                story.recap = hosts.iter().map(|(host, counters)| (host.to_string(), *counters)).collect();
                let masked = |names: &Vec<String>| names.iter().map(|name| self.text(name)).collect();
                story.owed = owed.iter().map(|(host, handlers)| (host.to_string(), masked(handlers))).collect();
            }
        }
        Ok(())
    }
}
