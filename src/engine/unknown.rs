//! Why a check could not tell of a task: what was not known first, and how the task came to depend on it.

use super::call::{Call, touched};
use super::event::{Event, TaskInfo};
use super::task::Finished;
use crate::modules::{Dependency, Outcome};
use crate::template::UnknownTouch;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Why a check could not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// What was not known first, in a sentence without a full stop.
    pub reason: String,
    /// The way from there to this task: each task that left something unknown, and the variable it left it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Link>,
}

/// A task that left something unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name; nothing where the value came from no task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// `file:line:column`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What was read of it: `probe.stdout`.
    pub variable: String,
}

impl Because {
    /// The way in one line: `a probe` → `now.stdout` → `its answer`.
    pub fn way(&self, task: &str) -> String {
        let links = self.chain.iter().flat_map(|link| [link.task.as_deref(), Some(link.variable.as_str())]);
        let all = links.flatten().chain([task]).map(|name| format!("`{name}`"));
        all.collect::<Vec<_>>().join(" → ")
    }
}

/// One task that a check could not tell of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnknownTask {
    /// The task.
    pub task: Arc<TaskInfo>,
    /// Its hosts, by name.
    pub hosts: Vec<Arc<str>>,
    /// Why.
    #[serde(flatten)]
    pub because: Because,
}

impl UnknownTask {
    /// For people: why, and the way, each a line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} ({}) on {}", self.task.name, self.task.place, self.hosts.join(", "))];
        if !self.because.chain.is_empty() {
            lines.push(format!("  {}", self.because.way(&self.task.name)));
        }
        lines.push(format!("  {}", self.because.reason));
        lines
    }
}

/// What became unknown in a run: where each variable has it from, and which tasks it reached.
#[derive(Default)]
pub struct Unknowns {
    origins: Mutex<HashMap<(Arc<str>, String), Because>>,
    tasks: Mutex<Vec<UnknownTask>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The variable that something is a part of.
fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

impl Unknowns {
    /// Why an outcome is not known, when it was made of these.
    pub fn because(&self, host: &Arc<str>, depends: &[Dependency], own: &str) -> Because {
        let Some(first) = depends.first() else { return Because { reason: own.into(), chain: Vec::new() } };
        let origins = lock(&self.origins);
        let name = root(&first.path).to_string();
        let mut known = origins.get(&(host.clone(), name.clone())).cloned();
        if known.is_none() {
            // Of another host (`hostvars`).
            let same = |because: &&Because| because.reason == first.reason;
            known = origins.iter().filter(|((_, of), _)| *of == name).map(|(_, found)| found).find(same).cloned();
        }
        let mut because = known.unwrap_or_else(|| Because {
            reason: first.reason.clone(),
            chain: vec![Link { task: None, place: None, variable: String::new() }],
        });
        if let Some(last) = because.chain.last_mut() {
            last.variable.clone_from(&first.path);
        }
        because
    }

    /// A task left this variable with something unknown in it, or has made it known.
    pub fn left(&self, host: &Arc<str>, variable: &str, by: Option<(&TaskInfo, &Because)>) {
        let mut origins = lock(&self.origins);
        let key = (host.clone(), variable.to_string());
        let Some((task, because)) = by else {
            origins.remove(&key);
            return;
        };
        let mut because = because.clone();
        because.chain.push(Link {
            task: Some(task.name.clone()),
            place: Some(task.place.clone()),
            variable: variable.into(),
        });
        origins.insert(key, because);
    }

    /// A task could not be told.
    pub fn note(&self, host: &Arc<str>, task: &Arc<TaskInfo>, because: &Because) {
        let mut tasks = lock(&self.tasks);
        let same = |known: &&mut UnknownTask| {
            known.task.place == task.place && known.because == *because && known.task == *task
        };
        match tasks.iter_mut().find(same) {
            Some(known) if known.hosts.contains(host) => {}
            Some(known) => known.hosts.push(host.clone()),
            None => tasks.push(UnknownTask { task: task.clone(), hosts: vec![host.clone()], because: because.clone() }),
        }
    }

    /// All of them, in the order of the tasks; nothing where there are none.
    pub fn event(&self) -> Option<Event> {
        let mut tasks = lock(&self.tasks).clone();
        tasks.iter_mut().for_each(|task| task.hosts.sort());
        (!tasks.is_empty()).then_some(Event::Unknowns { tasks })
    }
}

/// The outcome of a task that depends on what is not known: `its arguments depend on`, and what.
pub fn depends(how: &str, touches: &[UnknownTouch]) -> Outcome {
    let what = touched(touches);
    let why = if how.is_empty() { what } else { format!("{how} {what}") };
    let depends = touches.iter().map(|touch| Dependency { path: touch.path.clone(), reason: touch.reason.clone() });
    Outcome { depends: depends.collect(), ..Outcome::unknown(why) }
}

/// Why the result of a call is not known, from its outcome.
pub fn because(call: &Call, outcome: &Outcome) -> Because {
    let own = outcome.msg.as_deref().unwrap_or("it is not run in a check");
    call.on.play.run.unknowns.because(&call.on.host.name, &outcome.depends, own)
}

/// Remembers what a finished task leaves unknown in the variable it registers.
pub fn remember(call: &Call, variable: &str, finished: &Finished) {
    let by = finished.because.as_ref().map(|because| (&*finished.task, because));
    call.on.play.run.unknowns.left(&call.on.host.name, variable, by);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str) -> Arc<TaskInfo> {
        let (position, action, place) = (Default::default(), "command".into(), "site.yml:1:1".into());
        Arc::new(TaskInfo { position, name: name.into(), action, place, handler: false, role: None })
    }

    fn on(path: &str, reason: &str) -> Vec<Dependency> {
        vec![Dependency { path: path.into(), reason: reason.into() }]
    }

    #[test]
    fn the_way_is_told_from_its_beginning() {
        let unknowns = Unknowns::default();
        let host: Arc<str> = "a".into();
        let first = unknowns.because(&host, &[], "`date` is not run in a check");
        unknowns.left(&host, "now", Some((&task("a probe"), &first)));
        let second = unknowns.because(&host, &on("now.stdout_lines[0]", &first.reason), "");
        assert_eq!(second.way("its answer"), "`a probe` → `now.stdout_lines[0]` → `its answer`");
        unknowns.left(&host, "answer", Some((&task("its answer"), &second)));
        for (reader, path) in [(host.clone(), "answer.dest"), (Arc::from("b"), "answer.dest")] {
            let third = unknowns.because(&reader, &on(path, &second.reason), "");
            assert_eq!(third.reason, "`date` is not run in a check");
            assert_eq!(third.way("last"), "`a probe` → `now.stdout_lines[0]` → `its answer` → `answer.dest` → `last`");
        }
        // What is known again is no origin any more.
        unknowns.left(&host, "answer", None);
        let other = unknowns.because(&host, &on("answer.dest", "nobody knows"), "");
        assert_eq!((other.reason.as_str(), other.way("last").as_str()), ("nobody knows", "`answer.dest` → `last`"));
    }

    #[test]
    fn hosts_of_one_reason_stand_together() {
        let unknowns = Unknowns::default();
        let because = Because { reason: "why".into(), chain: Vec::new() };
        assert!(unknowns.event().is_none());
        for host in ["b", "a", "b"] {
            unknowns.note(&host.into(), &task("t"), &because);
        }
        let Some(Event::Unknowns { tasks }) = unknowns.event() else { panic!() };
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].lines(), ["t (site.yml:1:1) on a, b", "  why"]);
    }
}
