//! Rolling a host's turn back, for `on_failure: rollback`.

use super::ask::Respondent;
use super::fleet::Link;
use super::play::PlayRun;
use crate::connection::agent::Blobs;
use crate::machine::history::{Rollback, UnitLeft};
use crate::machine::units::UnitAction;
use crate::machine::{Change, Domain, Mode};
use crate::modules::{Outcome, Status};
use crate::wire::{Become, OnFailure, Reply, TaskRequest};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Which changes are undone.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Name of the run.
    pub run: String,
    /// The host's turn; 0 for everything.
    pub turn: u32,
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

/// Undoes what this run changed on a host of the play in that turn. Units are left to the caller, which decides by
/// [`crate::galera::rollback::after_rollback`].
pub async fn roll_back_turn(play: &Arc<PlayRun>, host: &str, turn: u32) -> Result<Report, String> {
    let respondent = Respondent::reach(play, host).await?;
    let wish = Wish {
        run: play.run.id.clone(),
        turn,
        become_user: respondent.become_user(),
        diff: play.run.options.diff,
        ..Wish::default()
    };
    roll_back(respondent.link(), &wish).await
}

/// Undoes on one host what `wish` says. An error is why the host could not be asked; then nothing is known.
pub async fn roll_back(link: &Link, wish: &Wish) -> Result<Report, String> {
    let mut arguments = Map::new();
    arguments.insert("run".into(), json!(wish.run));
    if wish.turn > 0 {
        arguments.insert("turn".into(), json!(wish.turn));
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
    };
    let answer = link.submit(request, Arc::<Blobs>::default(), None).await.await?;
    match answer.reply {
        Reply::Done(outcome) => Ok(report(outcome)),
        Reply::NotRun => Err("the host did not run the rollback".to_string()),
        Reply::BecomeFailed(why) => Err(why),
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
