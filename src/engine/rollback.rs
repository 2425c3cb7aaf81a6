//! Rolling a host's turn back, for `on_failure: rollback`.

use super::fleet::Link;
use crate::connection::agent::Blobs;
use crate::machine::history::{Rollback, RunTurn, UnitLeft};
use crate::machine::units::UnitAction;
use crate::machine::{Change, Domain, Mode};
use crate::modules::{self, Outcome, Status};
use crate::playbook::{Play, Step};
use crate::source::Node;
use crate::wire::{Become, OnFailure, Reply, TaskRequest};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Which changes are undone.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Name of the run.
    pub run: String,
    /// The turn's number in the run; 0 for everything.
    pub turn: u32,
    /// The same turn in earlier runs that this one resumes: of these nothing may stay either.
    pub earlier: Vec<RunTurn>,
    /// As whom: root's changes are undone by root. Those of other users are their own.
    pub become_user: Option<Become>,
    /// Only say what would be undone.
    pub check: bool,
    /// Keep contents for diffs.
    pub diff: bool,
    /// Bring units back too, but for database servers; without it all are left to the caller.
    pub units: bool,
}

/// What became of it on one host.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The host's own word.
    pub host: Rollback,
    /// What was put back, to be shown as any task's changes.
    pub changes: Vec<Change>,
    /// Why it is not complete: nothing was touched, or something failed.
    pub failure: Option<String>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether everything that can be undone was.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none()
    }

    /// What was done to a unit in that turn.
    pub fn unit(&self, name: &str) -> Option<&UnitLeft> {
        self.host.units.iter().find(|unit| unit.unit == name)
    }

    /// Whether the process of a unit was started, stopped or restarted in that turn.
    pub fn touched(&self, name: &str) -> bool {
        let actions = self.unit(name).map(|unit| unit.actions.as_slice()).unwrap_or_default();
        actions.iter().any(|action| *action != UnitAction::Reload)
    }

    /// Packages that were changed in that turn, as `name: before → after`.
    pub fn packages(&self) -> Vec<String> {
        let packages = self.host.not_undone.iter().filter(|step| step.domain == Domain::Package);
        packages.map(|step| format!("{}: {}", step.name, step.what)).collect()
    }
}

/// Undoes on one host what `wish` says. An error is why the host could not be asked; then nothing is known.
pub async fn roll_back(link: &Link, wish: &Wish) -> Result<Report, String> {
    let mut arguments = Map::new();
    arguments.insert("run".into(), json!(wish.run));
    if wish.turn > 0 {
        arguments.insert("turn".into(), json!(wish.turn));
    }
    if !wish.earlier.is_empty() {
        arguments.insert("earlier".into(), json!(wish.earlier));
    }
    arguments.insert("units".into(), json!(if wish.units { "restore" } else { "leave" }));
    let request = TaskRequest {
        module: "deploy.builtin.rollback".into(),
        arguments,
        become_user: wish.become_user.clone(),
        mode: if wish.check { Mode::Predicted } else { Mode::Live },
        diff: wish.diff,
        no_log: false,
        environment: Default::default(),
        // Whatever failed before does not drop this.
        epoch: u32::MAX,
        on_failure: OnFailure::Continue,
        group: 0,
        timeout: 0,
        detach: None,
        label: "Roll back".into(),
        run: wish.run.clone(),
        turn: wish.turn,
        unlocked: false,
        no_fetch: false,
        within_check: false,
    };
    let answer = link.submit(request, Arc::<Blobs>::default(), None).await.await?;
    match answer.reply {
        Reply::Done(outcome) => Ok(report(outcome)),
        Reply::NotRun => Err("the host did not run the rollback".to_string()),
        Reply::BecomeFailed { why, .. } => Err(why),
    }
}

fn report(outcome: Outcome) -> Report {
    let failure = match outcome.status {
        Status::Ok | Status::Skipped => None,
        Status::Failed | Status::Unknown => Some(outcome.msg.clone().unwrap_or_default()),
    };
    let host = serde_json::from_value(Value::Object(outcome.data)).unwrap_or_default();
    Report { host, changes: outcome.changes, failure, warnings: outcome.warnings }
}

/// A step of a play that no rollback undoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingStep {
    /// The task's name as written, or its module.
    pub name: String,
    /// Its module.
    pub module: &'static str,
    /// Where it stands.
    pub place: String,
    /// Why it cannot be undone.
    pub why: &'static str,
}

impl LastingStep {
    /// A line for the user.
    pub fn sentence(&self) -> String {
        format!("`{}` ({}, {}) cannot be rolled back: {}", self.name, self.module, self.place, self.why)
    }
}

/// The steps of a play that cannot be undone, in its order, as far as reading tells: what is included while it runs is
/// not known before. Tasks that say `changed_when: false` or `check_mode: true` change nothing.
pub fn lasting_steps(play: &Play) -> Vec<LastingStep> {
    let mut found = Vec::new();
    for steps in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
        collect(steps, &mut found);
    }
    found
}

fn collect(steps: &[Step], found: &mut Vec<LastingStep>) {
    for step in steps {
        let task = match step {
            Step::Task(task) => task,
            Step::Block(block) => {
                [&block.block, &block.rescue, &block.always].into_iter().for_each(|steps| collect(steps, found));
                continue;
            }
        };
        if task.action.is_template() {
            let why = "which module it is, is known when it runs";
            let step =
                LastingStep { name: task.action.name.to_string(), module: "action", place: task.span.to_string(), why };
            found.push(step);
            continue;
        }
        let Some(module) = modules::find(&task.action.name) else { continue };
        let known = |node: &Node| node.scalar_text().or_else(|| Some(node.raw().to_string()));
        let mut arguments: Map<String, Value> = Map::new();
        for (key, value) in &task.action.args {
            if let (Some(key), Some(value)) = (key.scalar_text(), known(value)) {
                arguments.insert(key, Value::String(value));
            }
        }
        let never =
            task.changed_when.as_ref().is_some_and(|nodes| nodes.iter().any(|node| node.as_bool() == Some(false)));
        let looks = task.keywords.check_mode.as_ref().and_then(Node::as_bool) == Some(true);
        let Some(why) = modules::lasting(module, &arguments).filter(|_| !never && !looks) else { continue };
        let name = task.name.as_ref().and_then(known).unwrap_or_else(|| task.action.name.to_string());
        let step = LastingStep { name, module: module.name, place: task.span.to_string(), why };
        if !found.contains(&step) {
            found.push(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_word_is_read() {
        let outcome = Outcome::failed("not everything")
            .with("run", "r1")
            .with("known", true)
            .with("refused", json!([]))
            .with(
                "not_undone",
                json!([{"domain": "package", "name": "mariadb-server", "what": "version: 1 → 2", "why": "never"}]),
            )
            .with(
                "units",
                json!([{"unit": "mariadb.service", "ran_before": true, "runs": false, "actions": ["stop", "start"]}]),
            );
        let report = report(outcome);
        assert!(report.host.known && !report.is_complete());
        assert_eq!(report.packages(), ["mariadb-server: version: 1 → 2"]);
        assert!(report.touched("mariadb.service") && !report.touched("haproxy.service"));
    }
}
