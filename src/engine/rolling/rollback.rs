//! After a failed turn: what it changed on its host is put back, and the node's server is restarted only if it does not
//! serve. Then the gate is looked at again, so that the user knows where the cluster stands.

use super::{Roll, Turn};
use crate::engine::ask::Respondent;
use crate::engine::event::Event;
use crate::engine::host::{Gone, Host};
use crate::engine::rollback::{Report, Wish, roll_back};
use crate::engine::synthetic;
use crate::engine::walker::Part;
use crate::galera::rollback::{Decision, Situation, after_rollback};
use crate::journal::Due;
use crate::machine::Domain;
use crate::playbook::Step;
use crate::source::Node;
use serde_json::{Map, json};
use std::sync::Arc;

/// The unit of the server, unless the gate's arguments name another.
const UNIT: &str = "mariadb.service";

impl Roll<'_> {
    /// Puts back what a turn changed on a host, and what earlier runs did in the same turn that this one took up again. Says whether all of it is as before.
    pub(super) async fn roll_back(&mut self, turn: Turn, host: &Arc<Host>) -> bool {
        let name = host.name.clone();
        let run = &self.play.run;
        if host.gone() == Some(Gone::Unreachable) {
            run.fleet.reset(&name).await; // perhaps it answers again
        }
        let reached = Respondent::reach(self.play, &name).await;
        let (report, serving) = match &reached {
            Err(why) => (Err(why.clone()), false),
            Ok(respondent) => {
                let wish = Wish {
                    run: run.id.clone(),
                    turn: turn.number,
                    earlier: self.play.earlier_tries(&name),
                    become_user: respondent.become_user(),
                    diff: run.options.diff,
                    // A cluster's node is decided upon here; other units come back with their files.
                    units: !self.is_cluster(),
                    ..Wish::default()
                };
                (roll_back(respondent.link(), &wish).await, self.serves(respondent).await)
            }
        };
        let mut report = match report {
            Ok(report) => report,
            Err(why) => {
                let decision = after_rollback(Situation::default());
                self.tell(turn, host, &Report::default(), format!("{} ({why})", decision.sentence(&name)));
                return false;
            }
        };
        report.warnings.drain(..).for_each(|warning| run.warn(format!("[{name}] {warning}")));
        if !self.is_cluster() {
            let sentence = match &report.failure {
                None => format!("{name} is as before this turn"),
                Some(why) => format!("{name}: not everything could be put back: {why}"),
            };
            self.tell(turn, host, &report, sentence);
            if report.is_complete() {
                self.forgive(&name);
            }
            return report.is_complete();
        }
        let unit = self.unit();
        let upgraded =
            report.packages().iter().any(|package| package.starts_with("mariadb") || package.starts_with("galera"));
        let touched = report.touched(&unit);
        let decision = after_rollback(Situation {
            serving,
            touched,
            put_back: !report.changes.is_empty(),
            upgraded,
            // The package's own scripts may have started it.
            newer_started: upgraded,
            complete: report.is_complete(),
            reachable: true,
        });
        self.tell(turn, host, &report, decision.sentence(&name));
        if report.is_complete() {
            self.forgive(&name);
        }
        match decision {
            Decision::Restart => self.restart(host, &unit).await && report.is_complete(),
            Decision::Keep { owed } => {
                if let Some(journal) = run.journal.as_ref().filter(|_| owed) {
                    journal.owes_restart(&name, &unit, "its turn was rolled back while it served");
                }
                report.is_complete()
            }
            Decision::StayOut(_) => false,
        }
    }

    /// Handlers that the turn owed would have brought into effect what is gone now.
    fn forgive(&self, name: &str) {
        let Some(journal) = &self.play.run.journal else { return };
        for (host, due, _) in journal.progress().owed {
            if let Due::Handler(handler) = due
                && host == name
            {
                journal.ran(&host, handler);
            }
        }
    }

    /// The play's gate is that of a Galera cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.rolling.gate.as_ref().is_some_and(|gate| gate.name == Some("galera"))
    }

    fn unit(&self) -> String {
        let gate = self.rolling.gate.as_ref();
        let written = gate.and_then(|gate| gate.arguments.iter().find(|(key, _)| key.as_str() == Some("unit")));
        let name = written.and_then(|(_, node)| node.scalar_text()).unwrap_or_else(|| UNIT.into());
        if name.contains('.') { name } else { format!("{name}.service") }
    }

    /// Whether the node itself is Synced in a component with quorum.
    async fn serves(&self, respondent: &Respondent) -> bool {
        if !self.is_cluster() {
            return false;
        }
        let arguments = Map::from_iter([("host".to_string(), json!(&*respondent.host))]);
        let answer = respondent.ask(&self.play.run, "deploy.builtin.galera_status", arguments).await;
        answer.is_ok_and(|outcome| outcome.data.get("synced").and_then(|v| v.as_bool()) == Some(true))
    }

    /// Starts the server on the state before, waits for it and looks at the gate again.
    async fn restart(&mut self, host: &Arc<Host>, unit: &str) -> bool {
        let span = &self.rolling.span;
        let text = |key: &str, value: &str| (Node::string(span.clone(), key), Node::string(span.clone(), value));
        // It is out already: whatever it needs to come back is better than a cluster with one node less.
        let arguments = vec![
            text("unit", unit),
            text("force", "true"),
            text("allow_sst", "true"),
            // As long as the shipped playbooks' own restart waits.
            text("timeout", "{{ galera_restart_timeout | default(omit) }}"),
        ];
        let play = &self.play.play;
        let name = "Rollback: the server starts on the state before";
        let task = synthetic::task(play, span, name, "deploy.builtin.galera_restart", arguments, &["always"]);
        let steps = vec![Step::Task(task)];
        let failures = host.counters().failed;
        self.walk(vec![host.clone()], Part::Steps(steps.into()), 0).await;
        if host.counters().failed > failures {
            // Whatever it runs with now, it is not known to be what its files say.
            if let Some(journal) = &self.play.run.journal {
                journal.owes_restart(&host.name, unit, "it was not brought back after its turn was rolled back");
            }
            self.play.run.warn(format!(
                "[{}] its server does not come up on the state before either, for the reason above; its restart is owed",
                host.name
            ));
            return false;
        }
        self.pass_gate(host).await.is_ok()
    }

    fn tell(&self, turn: Turn, host: &Arc<Host>, report: &Report, sentence: String) {
        let skipped = |domain: &Domain| matches!(domain, Domain::Unit);
        self.play.run.sink.emit(Event::RolledBack {
            turn: turn.place,
            host: host.name.clone(),
            changes: report.changes.clone(),
            not_undone: report
                .host
                .not_undone
                .iter()
                .filter(|step| !skipped(&step.domain))
                .map(|step| format!("{}: {} ({})", step.name, step.what, step.why))
                .chain(report.failure.clone())
                .collect(),
            sentence,
        });
    }
}
