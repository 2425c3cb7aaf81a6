//! Holds a run against its plan while it happens, and stops it where it does something that the plan does not say.

use super::mark::{Counter, Mark, Place, changes_something};
use super::{Key, Plan};
use crate::engine::event::{Event, HostResult, TaskStatus};
use crate::report::Reporter;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

type Stop = Box<dyn Fn() + Send + Sync>;

/// The guard of a run. Its clones are the same guard.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    key: Key,
    /// Tasks that a check could not tell of, and that may do what they will.
    allowed: BTreeSet<String>,
    stop: OnceLock<Stop>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counter: Counter,
    /// What is planned and did not happen yet.
    planned: HashMap<Place, (TaskStatus, Mark)>,
    deviations: Vec<String>,
}

impl Guard {
    /// A guard over what `plan` says of all hosts but `refused`.
    pub fn new(plan: &Plan, key: Key, allowed: BTreeSet<String>, refused: &BTreeSet<String>) -> Guard {
        let recording = plan.recording();
        let planned = recording
            .results()
            .into_iter()
            .filter(|(place, ..)| !refused.contains(&place.host))
            .map(|(place, result, mark)| (place, (result.status, mark.clone())))
            .collect();
        let state = Mutex::new(State { planned, ..State::default() });
        Guard(Arc::new(Inner { key, allowed, stop: OnceLock::new(), state }))
    }

    /// What is called at the first deviation.
    pub fn arm(&self, stop: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.stop.set(Box::new(stop));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What was done otherwise than planned, each in a sentence.
    pub fn deviations(&self) -> Vec<String> {
        self.state().deviations.clone()
    }

    /// Changes that the plan says and that did not happen.
    pub fn left_undone(&self) -> Vec<Place> {
        let state = self.state();
        let undone = state.planned.iter().filter(|(_, (status, _))| *status == TaskStatus::Changed);
        let mut places: Vec<Place> = undone.map(|(place, _)| place.clone()).collect();
        places.sort_by(|a, b| (&a.host, a.play, &a.place, &a.item).cmp(&(&b.host, b.play, &b.place, &b.item)));
        places
    }

    fn judge(&self, result: &HostResult) -> Option<String> {
        let mut state = self.state();
        let mark = Mark::of(result, &self.0.key);
        let place = state.counter.place(result, &mark);
        let planned = state.planned.remove(&place);
        if !changes_something(result) {
            return None;
        }
        let allowed = self.0.allowed.contains(&result.task.name);
        let why = match planned {
            Some((TaskStatus::Unknown, _)) if allowed => return None,
            // Items of a list that the check did not know.
            None if allowed && result.item.is_some() => return None,
            Some((TaskStatus::Changed, planned)) if planned.allows(&mark) => return None,
            Some((TaskStatus::Changed, _)) => "changed something else than the plan says",
            Some(_) => "changed something, and the plan says that it does not",
            None => "changed something, and is not in the plan",
        };
        let on = place.on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
        let sentence = format!("[{}] {} ({}) {why}{on}", place.host, place.task, place.place);
        state.deviations.push(sentence.clone());
        Some(sentence)
    }
}

impl Reporter for Guard {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::PlayStarted { .. } => self.state().counter.play(),
            Event::ItemDone(result) | Event::TaskDone(result) => {
                let stop = self.judge(result).and_then(|_| self.0.stop.get());
                stop.iter().for_each(|stop| stop());
            }
            _ => {}
        }
        Ok(())
    }
}
