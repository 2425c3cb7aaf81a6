//! What a job has to say about a run: collected while it runs, told afterwards, or not at all.

use crate::engine::event::{Event, HostResult, TaskStatus};
use crate::pki::{State, date, short};
use crate::report::Reporter;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// How a job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Nothing was to be done.
    #[default]
    Quiet,
    /// Something was done.
    Changed,
    /// Another run had what it needs; it is not to wait.
    Left,
    /// The run went well, and certificates are late nevertheless, or worse.
    Late,
    /// It failed.
    Failed,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// For whom.
    pub host: String,
    /// The set.
    pub set: String,
    /// Why.
    pub reason: String,
    /// Its serial number.
    pub serial: String,
    /// Its end, in seconds since 1970.
    pub not_after: i64,
}

/// A task that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where.
    pub host: String,
    /// Which.
    pub task: String,
    /// Why.
    pub why: String,
}

/// Something that is to be said about a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// How bad it is.
    pub state: State,
    /// `galera1, cluster, 4567`
    pub of: String,
    /// What.
    pub why: String,
}

/// Everything about a run of a job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The job.
    pub job: String,
    /// How it ended.
    pub result: Ended,
    /// `alice@control`
    pub by: String,
    /// The project.
    pub directory: String,
    /// What was run.
    pub playbooks: Vec<String>,
    /// The run's name: `deploy runs RUN` shows it.
    pub run: String,
    /// When it began, in seconds since 1970.
    pub began: i64,
    /// How long it took.
    pub seconds: f64,
    /// The exit code.
    pub exit_code: u8,
    /// Certificates that were issued.
    pub renewed: Vec<Renewed>,
    /// Other tasks that changed something, by host.
    pub changed: BTreeMap<String, Vec<String>>,
    /// Tasks that failed.
    pub failures: Vec<Failure>,
    /// Why plays stopped, and what else went wrong.
    pub troubles: Vec<String>,
    /// Remarks of the run.
    pub warnings: Vec<String>,
    /// Certificates that are late, or worse.
    pub late: Vec<Lateness>,
    /// Who had what the run needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
}

impl Summary {
    /// For people, in a few lines; nothing when there is nothing to say.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let heading = match self.result {
            Ended::Quiet => String::new(),
            Ended::Changed => format!("{}: done in {:.0} s", self.job, self.seconds),
            Ended::Left => format!("{}: left, nothing was done", self.job),
            Ended::Late => format!("{}: certificates are late, or worse, after a run without a failure", self.job),
            Ended::Failed => format!("{}: FAILED with {} after {:.0} s", self.job, self.exit_code, self.seconds),
        };
        if !heading.is_empty() {
            text += &heading;
            if !self.run.is_empty() && self.result != Ended::Left {
                let _ = write!(text, " (`deploy runs {}`)", self.run);
            }
            text.push('\n');
        }
        let mut line = |who: &str, what: &str| {
            let _ = writeln!(text, "  {who}: {}", what.trim_end().replace('\n', "\n    "));
        };
        self.locked.iter().for_each(|why| line("locked", why));
        for one in &self.late {
            let said = one.why.starts_with(&format!("{}: ", one.of));
            line(one.state.word(), &if said { one.why.clone() } else { format!("{}: {}", one.of, one.why) });
        }
        self.troubles.iter().for_each(|why| line("trouble", why));
        for failure in &self.failures {
            line(&failure.host, &format!("`{}` failed: {}", failure.task, failure.why));
        }
        for one in &self.renewed {
            let (serial, end) = (short(&one.serial), date(one.not_after));
            line(&one.host, &format!("renewed {} ({}): {serial}, until {end}", one.set, one.reason));
        }
        for (host, tasks) in &self.changed {
            line(host, &format!("changed by {}", tasks.join(", ")));
        }
        self.warnings.iter().for_each(|warning| line("warning", warning));
        text
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStarted { playbooks, .. } => self.playbooks = playbooks.clone(),
            Event::ItemDone(result) => {
                self.certificate(result);
                if matches!(result.status, TaskStatus::Failed | TaskStatus::Unreachable) {
                    self.result_of(result);
                }
            }
            Event::TaskDone(result) => {
                self.certificate(result);
                self.result_of(result);
            }
            // A site need not have hosts of every kind that the playbook knows.
            Event::Warning { message } if message.starts_with("Could not match supplied host pattern") => {}
            Event::Warning { message } if self.warnings.contains(message) => {}
            Event::Warning { message } => self.warnings.push(message.clone()),
            Event::Diagnostic { text, .. } => self.troubles.push(text.trim().to_string()),
            Event::PlayStopped { reason } => self.troubles.push(reason.clone()),
            Event::RolledBack { host, sentence, .. } => {
                self.troubles.push(format!("{host} was rolled back: {sentence}"))
            }
            Event::Recap { owed, .. } => {
                let owed = owed.iter().map(|(host, handlers)| format!("{host} is owed {}", handlers.join(", ")));
                self.troubles.extend(owed);
            }
            _ => {}
        }
    }

    fn certificate(&mut self, result: &HostResult) {
        let text = |name: &str| result.result.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let issued = result.task.action.ends_with("pki_certificate")
            && result.status == TaskStatus::Changed
            && result.result.get("issued").and_then(Value::as_bool) == Some(true);
        let serial = text("serial");
        if !issued || serial.is_empty() || self.renewed.iter().any(|one| one.serial == serial) {
            return;
        }
        let not_after = result.result.get("not_after").and_then(Value::as_i64).unwrap_or_default();
        let cert = text("cert");
        let set = result.item.clone().unwrap_or_else(|| cert.trim_end_matches("/current/cert.pem").to_string());
        self.renewed.push(Renewed { host: result.host.to_string(), set, reason: text("reason"), serial, not_after });
    }

    fn result_of(&mut self, result: &HostResult) {
        let host = result.host.to_string();
        match result.status {
            TaskStatus::Changed if !result.task.action.ends_with("pki_certificate") => {
                let tasks = self.changed.entry(host).or_default();
                if !tasks.contains(&result.task.name) {
                    tasks.push(result.task.name.clone());
                }
            }
            TaskStatus::Failed | TaskStatus::Unreachable if !result.ignored => {
                let why = result.problem.as_ref().map(|problem| problem.one_line()).or_else(|| result.msg.clone());
                let why = why.unwrap_or_else(|| "it does not say why".into());
                let task = result.task.name.clone();
                // A loop has said it of its item.
                if !self.failures.iter().any(|failure| failure.host == host && failure.task == task) {
                    self.failures.push(Failure { host, task, why });
                }
            }
            _ => {}
        }
    }
}

/// Takes events down.
pub struct Collector {
    /// What is known so far.
    pub summary: Arc<Mutex<Summary>>,
    /// Shows them, too, to somebody who wants to see it.
    pub also: Option<Box<dyn Reporter>>,
}

impl Reporter for Collector {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        self.summary.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(event);
        if self.also.as_mut().is_some_and(|also| also.report(event).is_err()) {
            self.also = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::TaskInfo;
    use serde_json::json;

    fn result(action: &str, status: TaskStatus, result: Value) -> HostResult {
        let task = TaskInfo {
            position: Default::default(),
            name: "A task".into(),
            action: action.into(),
            place: "x.yml:1:1".into(),
            handler: false,
            role: None,
        };
        HostResult {
            task: Arc::new(task),
            host: "galera1".into(),
            delegated_to: None,
            status,
            ignored: false,
            item: None,
            msg: Some("no".into()),
            problem: None,
            because: None,
            result,
            changes: Vec::new(),
            notified: Vec::new(),
            diff: false,
            seconds: 0.1,
            beneath: Default::default(),
        }
    }

    fn of(events: &[Event], ended: Ended) -> Summary {
        let mut summary = Summary { job: "rotate-certs".into(), result: ended, ..Summary::default() };
        events.iter().for_each(|event| summary.take(event));
        summary
    }

    #[test]
    fn a_run_that_did_nothing_has_nothing_to_say() {
        let judged = json!({"issued": false, "serial": "aa", "due": false});
        let events = [
            Event::RunStarted { playbooks: vec!["p.yml".into()], check: false },
            Event::TaskDone(result("deploy.builtin.pki_certificate", TaskStatus::Ok, judged)),
            Event::TaskDone(result("debug", TaskStatus::Skipped, json!({}))),
            Event::Recap { hosts: Vec::new(), owed: Vec::new(), stats: Default::default(), show_stats: false },
        ];
        assert_eq!(of(&events, Ended::Quiet).text(), "");
    }

    #[test]
    fn renewals_and_other_changes_are_told_once() {
        let issued = json!({"issued": true, "serial": "3f0c0011223344", "not_after": 0, "reason": "its renewal is due",
                            "cert": "/etc/mysql/ssl/server/current/cert.pem"});
        let one = result("deploy.builtin.pki_certificate", TaskStatus::Changed, issued);
        let item = HostResult { item: Some("server".into()), ..one.clone() };
        let events = [
            Event::ItemDone(item),
            Event::TaskDone(one),
            Event::TaskDone(result("service", TaskStatus::Changed, json!({}))),
            Event::TaskDone(result("service", TaskStatus::Changed, json!({}))),
        ];
        let text = of(&events, Ended::Changed).text();
        assert_eq!(
            text,
            "rotate-certs: done in 0 s\n  galera1: renewed server (its renewal is due): 3f0c00112233, until 1970-01-01 00:00 \
             UTC\n  galera1: changed by A task\n"
        );
    }

    #[test]
    fn what_failed_and_what_is_late_is_told_with_its_reason() {
        let ignored = HostResult { ignored: true, ..result("command", TaskStatus::Failed, json!({})) };
        let events = [
            Event::TaskDone(result("command", TaskStatus::Failed, json!({}))),
            Event::TaskDone(ignored),
            Event::PlayStopped { reason: "the gate did not open".into() },
        ];
        let mut summary = of(&events, Ended::Failed);
        summary.exit_code = 2;
        summary.late.push(Lateness { state: State::Warning, of: "galera1, server".into(), why: "late".into() });
        let text = summary.text();
        assert_eq!(
            text,
            "rotate-certs: FAILED with 2 after 0 s\n  WARNING: galera1, server: late\n  trouble: the gate did not open\n  \
             galera1: `A task` failed: no\n"
        );
    }
}
