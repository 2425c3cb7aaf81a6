//! The spans of a run: run → play → task → result on a host, as OTLP writes them in JSON.

use super::super::story::{Chapter, Mood, Outcome, Story};
use super::settings::Parent;
use crate::engine::event::TaskStatus;
use crate::machine::ChangeKind;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// An error, in OTLP.
const ERROR: u32 = 2;

/// What all spans have in common.
struct Trace {
    id: String,
    state: String,
    /// Nanoseconds since 1970 at which the run began.
    began: u128,
}

/// All of them, the run first.
pub fn spans(story: &Story, run: &str, parent: Option<&Parent>) -> Vec<Value> {
    let since = story.moment.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or_default();
    let trace = Trace {
        id: parent.map_or_else(|| id(16), |parent| parent.trace.clone()),
        state: parent.map(|parent| parent.state.clone()).unwrap_or_default(),
        began: since.as_nanos(),
    };
    let totals = story.totals();
    let name = if story.check { "check" } else { "run" };
    let above = parent.map_or("", |parent| parent.span.as_str());
    let mut attributes = Attributes::default();
    attributes.text("deploy.run", run);
    attributes.list("deploy.playbooks", &story.playbooks);
    attributes.put("deploy.check", json!({"boolValue": story.check}));
    for (name, count) in [
        ("ok", totals.ok),
        ("changed", totals.changed),
        ("failed", totals.failed),
        ("unreachable", totals.unreachable),
        ("skipped", totals.skipped),
        ("unknown", totals.unknown),
    ] {
        attributes.number(&format!("deploy.{name}"), count as usize);
    }
    attributes.number("deploy.hosts", story.recap.len());
    let failed =
        (totals.failed + totals.unreachable > 0).then(|| "a task failed, or a host was not reached".to_string());
    let (root, root_id) = trace.span(&format!("deploy {name}"), above, (0.0, story.seconds), attributes, failed);
    let mut found = vec![root];
    for play in &story.plays {
        trace.play(play, &root_id, &mut found);
    }
    found
}

impl Trace {
    fn play(&self, play: &Chapter, above: &str, found: &mut Vec<Value>) {
        let mut attributes = Attributes::default();
        attributes.text("deploy.play", &play.name);
        attributes.number("deploy.hosts", play.hosts.len());
        let bad = play.tasks.iter().flat_map(|task| &task.outcomes).any(is_bad);
        let failed = bad.then(|| "a task failed".to_string());
        let times = (play.began, play.ended);
        let (mut span, id) = self.span(&format!("play {}", play.name), above, times, attributes, failed);
        // Turns, gates, waits, rollbacks.
        let events: Vec<Value> = play
            .steps
            .iter()
            .map(|(at, mood, text)| {
                let mut attributes = Attributes::default();
                attributes.put("deploy.bad", json!({"boolValue": *mood == Mood::Bad}));
                json!({"timeUnixNano": self.moment(*at), "name": text, "attributes": attributes.0})
            })
            .collect();
        span["events"] = Value::Array(events);
        found.push(span);
        for scene in &play.tasks {
            let hosts = || scene.outcomes.iter().flat_map(|outcome| &outcome.hosts);
            let began = hosts().map(|(_, ended, seconds)| ended - seconds).fold(play.ended, f64::min).max(play.began);
            let ended = hosts().map(|(_, ended, _)| *ended).fold(began, f64::max);
            let mut attributes = Attributes::default();
            attributes.text("deploy.task", &scene.task.name);
            attributes.text("deploy.module", &scene.task.action);
            attributes.text("deploy.place", &scene.task.place);
            attributes.put("deploy.handler", json!({"boolValue": scene.task.handler}));
            let failed = scene.outcomes.iter().any(is_bad).then(|| "it failed".to_string());
            let name = format!("task {}", scene.task.name);
            let (span, task) = self.span(&name, &id, (began, ended), attributes, failed);
            found.push(span);
            for outcome in &scene.outcomes {
                self.results(outcome, &task, play.began, found);
            }
        }
    }

    fn results(&self, outcome: &Outcome, above: &str, earliest: f64, found: &mut Vec<Value>) {
        for (host, ended, seconds) in &outcome.hosts {
            let mut attributes = Attributes::default();
            attributes.text("host.name", host);
            attributes.text("deploy.status", outcome.status.word());
            if outcome.ignored {
                attributes.put("deploy.ignored", json!({"boolValue": true}));
            }
            if let Some(item) = &outcome.item {
                attributes.text("deploy.item", item);
            }
            if let Some(msg) = &outcome.msg {
                attributes.text("deploy.msg", msg);
            }
            // What was changed, not how: contents do not belong into traces.
            let changes: Vec<String> = outcome
                .changes
                .iter()
                .map(|change| match &change.kind {
                    ChangeKind::Set { aspect, .. } => format!("{} ({aspect})", change.subject.name),
                    ChangeKind::Effect { .. } | ChangeKind::Opaque => change.subject.name.clone(),
                })
                .collect();
            if !changes.is_empty() {
                attributes.list("deploy.changes", &changes);
            }
            if !outcome.notified.is_empty() {
                attributes.list("deploy.notified", &outcome.notified);
            }
            let failed = is_bad(outcome).then(|| outcome.msg.clone().unwrap_or_default());
            let times = ((ended - seconds).max(earliest), *ended);
            found.push(self.span(host, above, times, attributes, failed).0);
        }
    }

    fn span(
        &self,
        name: &str,
        above: &str,
        times: (f64, f64),
        attributes: Attributes,
        failed: Option<String>,
    ) -> (Value, String) {
        let own = id(8);
        let status = failed.map_or_else(|| json!({}), |message| json!({"code": ERROR, "message": message}));
        let mut span = json!({
            "traceId": self.id,
            "spanId": own,
            "name": name,
            "kind": 1,
            "startTimeUnixNano": self.moment(times.0),
            "endTimeUnixNano": self.moment(times.1.max(times.0)),
            "attributes": attributes.0,
            "status": status,
        });
        if !above.is_empty() {
            span["parentSpanId"] = above.into();
        }
        if !self.state.is_empty() {
            span["traceState"] = self.state.as_str().into();
        }
        (span, own)
    }

    /// A moment of the run: 64 bits are text in JSON.
    fn moment(&self, at: f64) -> String {
        (self.began + (at.max(0.0) * 1e9) as u128).to_string()
    }
}

fn is_bad(outcome: &Outcome) -> bool {
    matches!(outcome.status, TaskStatus::Failed | TaskStatus::Unreachable) && !outcome.ignored
}

/// Random, never only zeros.
fn id(bytes: usize) -> String {
    let mut text: String = (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
    if text.bytes().all(|b| b == b'0') {
        text.replace_range(..1, "1");
    }
    text
}

/// Attributes of a span.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn put(&mut self, name: &str, value: Value) {
        self.0.push(Value::Object(Map::from_iter([("key".into(), name.into()), ("value".into(), value)])));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.put(name, json!({"stringValue": text}));
    }

    fn number(&mut self, name: &str, number: usize) {
        self.put(name, json!({"intValue": number.to_string()}));
    }

    fn list(&mut self, name: &str, items: &[String]) {
        let values: Vec<Value> = items.iter().map(|item| json!({"stringValue": item})).collect();
        self.put(name, json!({"arrayValue": {"values": values}}));
    }
}
