//! From an answer to a result: changed, failed, registered, notified, counted, shown.

use super::call::{Call, Known, Trouble};
use super::control;
use super::event::{Event, TaskStatus};
use super::frame::Frame;
use super::host::{Gone, Kind};
use super::notify::Notified;
use super::registered_diff;
use super::task::{self, Finished};
use super::unknown::{self, Because};

use crate::machine::Change;
use crate::modules::{Outcome, Status, no_output};
use crate::playbook::Keywords;
use crate::source::Node;
use crate::template::{Layer, Raw, UnknownTouch, Value, from_json, result_with_unknown, unknown_value};
use crate::wire::Reply;
use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What came back.
pub enum Answer {
    /// The module's outcome.
    Outcome(Outcome),
    /// The host was lost, or never reached.
    Unreachable(String),
}

impl Answer {
    /// The answer in a reply; nothing when it was not run.
    pub fn of(reply: Reply) -> Option<Answer> {
        match reply {
            Reply::Done(outcome) => Some(Answer::Outcome(outcome)),
            Reply::NotRun => None,
            Reply::BecomeFailed { why, rc } => {
                let outcome = Outcome::failed(why);
                Some(Answer::Outcome(match rc {
                    Some(rc) => outcome.with("rc", rc),
                    None => outcome,
                }))
            }
        }
    }
}

/// Whether diffs are shown for this task.
pub async fn shows_diff(call: &Call) -> Result<bool, Trouble> {
    Ok(call.flag(|k| k.diff.as_ref()).await?.unwrap_or(call.on.play.run.options.diff))
}

/// The name under which the result is registered.
fn register_name(call: &Call) -> Option<String> {
    call.task.register.as_ref().map(|name| name.to_string())
}

/// The result of an outcome that nothing further is asked about: skips, failures before sending.
pub fn quick(call: &Call, outcome: Outcome) -> Finished {
    let changes = outcome.changes.clone();
    of_outcome(call, outcome, changes, 0.0)
}

fn of_outcome(call: &Call, mut outcome: Outcome, changes: Vec<Change>, seconds: f64) -> Finished {
    // What changes the play itself (`add_host`, `group_by`) changes no host, and says so in words.
    let said = outcome.data.get("changed") == Some(&json!(true));
    let status = match outcome.status {
        Status::Ok if changes.is_empty() && !said => TaskStatus::Ok,
        Status::Ok => TaskStatus::Changed,
        Status::Failed => TaskStatus::Failed,
        Status::Skipped => TaskStatus::Skipped,
        Status::Unknown => TaskStatus::Unknown,
    };
    // Why it is not known may name what is hidden; what others left unknown names what is not.
    if status == TaskStatus::Unknown && outcome.depends.is_empty() && hides(call) {
        outcome.msg = Some("why a check cannot tell is hidden (no_log)".into());
    }
    let because = match status {
        TaskStatus::Unknown => Some(unknown::because(call, &outcome)),
        _ if outcome.unknown_fields.is_empty() => None,
        _ => Some(Because { reason: "a check does not know it".into(), chain: Vec::new() }),
    };
    let mut json = outcome.data;
    json.insert(
        "changed".into(),
        json!(status == TaskStatus::Changed || (status == TaskStatus::Failed && !changes.is_empty())),
    );
    if status == TaskStatus::Failed {
        json.insert("failed".into(), json!(true));
    } else if status != TaskStatus::Unknown {
        json.entry("failed").or_insert(json!(false));
    }
    if status == TaskStatus::Skipped {
        json.insert("skipped".into(), json!(true));
    }
    if let Some(msg) = &outcome.msg {
        json.entry("msg").or_insert(json!(msg));
    }
    if !outcome.facts.is_empty() {
        json.insert("ansible_facts".into(), serde_json::Value::Object(outcome.facts.clone()));
    }
    if !outcome.warnings.is_empty() {
        json.insert("warnings".into(), json!(outcome.warnings));
        outcome.warnings.iter().for_each(|warning| {
            let message = format!("[{}] {warning}", call.on.host.name);
            call.on.batch.board.emit(call.position(), Event::Warning { message });
        });
    }
    if matches!(status, TaskStatus::Ok | TaskStatus::Changed)
        && !json.contains_key("diff")
        && let Some(diff) = registered_diff::of(call, &json, &changes)
    {
        json.insert("diff".into(), diff);
    }
    let name = register_name(call).unwrap_or_else(|| "result".into());
    let value = if let (TaskStatus::Unknown, Some(because)) = (status, &because) {
        json.insert("unknown".into(), json!(true));
        unknown_value(&name, &because.reason)
    } else if !outcome.unknown_fields.is_empty() {
        let known = json.iter().map(|(k, v)| (Arc::<str>::from(k.as_str()), from_json(v)));
        result_with_unknown(&name, known, outcome.unknown_fields.iter().map(String::as_str), "a check does not know it")
    } else {
        from_json(&serde_json::Value::Object(json.clone()))
    };
    Finished {
        task: call.info.clone(),
        status,
        value,
        json,
        facts: outcome.facts,
        unknown_facts: outcome.unknown_facts,
        changes,
        observed: outcome.observed,
        msg: outcome.msg,
        because,
        problem: outcome.problem.map(|problem| Arc::new(*problem)),
        ignored: false,
        hidden: Vec::new(),
        seconds,
        delegated_to: None,
        given: call.given.clone(),
        missing: None,
    }
}

/// The result of an answer, `failed_when` and `changed_when` applied.
pub async fn finish(call: &Call, answer: Answer, extra: Option<Vec<Change>>, seconds: f64) -> Finished {
    let outcome = match answer {
        Answer::Outcome(outcome) => outcome,
        Answer::Unreachable(why) => {
            let mut finished = of_outcome(call, Outcome::failed(why), Vec::new(), seconds);
            finished.status = TaskStatus::Unreachable;
            remember(&mut finished, "unreachable", true.into());
            remember(&mut finished, "failed", false.into());
            return finished;
        }
    };
    let mut changes = extra.unwrap_or_default();
    changes.extend(outcome.changes.iter().cloned());
    let mut finished = of_outcome(call, outcome, changes, seconds);
    if matches!(finished.status, TaskStatus::Skipped | TaskStatus::Unknown) {
        return finished;
    }
    if call.task.async_.is_some() && !finished.json.contains_key("finished") {
        // It was waited for (`poll`), so whoever reads the result of a job finds one that has ended.
        remember(&mut finished, "started", true.into());
        remember(&mut finished, "finished", true.into());
        if finished.json.contains_key("timedout") {
            no_output().into_iter().for_each(|(name, none)| remember(&mut finished, name, none));
        }
    }
    match decide(call, &finished, call.task.changed_when.as_deref()).await {
        Ok(None) => {}
        Ok(Some(Known::Value(changed))) => {
            if finished.status != TaskStatus::Failed {
                finished.status = if changed { TaskStatus::Changed } else { TaskStatus::Ok };
            }
            remember(&mut finished, "changed", changed.into());
        }
        Ok(Some(Known::Unknown(touches))) => return doubtful(call, finished, "changed_when depends on", &touches),
        Err(trouble) => fail(call, &mut finished, trouble),
    }
    match decide(call, &finished, call.task.failed_when.as_deref()).await {
        Ok(None) => {}
        Ok(Some(Known::Value(failed))) => {
            let changed = finished.json.get("changed") == Some(&json!(true));
            finished.status = match (failed, changed) {
                (true, _) => TaskStatus::Failed,
                (false, true) => TaskStatus::Changed,
                (false, false) => TaskStatus::Ok,
            };
            remember(&mut finished, "failed", failed.into());
            remember(&mut finished, "failed_when_result", failed.into());
            if failed && finished.msg.is_none() {
                finished.msg = Some("the condition of `failed_when` is true".into());
                // What is done on the controller and has no word of its own gets one, as in Ansible; a module's result not.
                if call.module.is_some_and(|module| module.run.is_none()) && !finished.json.contains_key("msg") {
                    remember(&mut finished, "msg", "the condition of `failed_when` is true".into());
                }
            }
        }
        Ok(Some(Known::Unknown(touches))) => return doubtful(call, finished, "failed_when depends on", &touches),
        Err(trouble) => fail(call, &mut finished, trouble),
    }
    finished
}

fn doubtful(call: &Call, finished: Finished, how: &str, touches: &[UnknownTouch]) -> Finished {
    let outcome = unknown::depends(how, touches);
    Finished { seconds: finished.seconds, ..quick(call, outcome) }
}

fn fail(call: &Call, finished: &mut Finished, trouble: Trouble) {
    finished.status = TaskStatus::Failed;
    let failed = super::prepare::failed(call, trouble);
    remember(finished, "failed", true.into());
    remember(finished, "msg", failed.msg.clone().unwrap_or_default().into());
    finished.msg = failed.msg;
    finished.problem = failed.problem.map(|problem| Arc::new(*problem));
}

/// Evaluates conditions that see the result; nothing where there are none.
async fn decide(call: &Call, finished: &Finished, conditions: Option<&[Node]>) -> Result<Option<Known<bool>>, Trouble> {
    let Some(conditions) = conditions else { return Ok(None) };
    let conditions: Vec<&Node> = conditions.iter().collect();
    call_with_result(call, finished).conditions(&conditions).await.map(Some)
}

/// The call with the result under the registered name.
pub fn call_with_result(call: &Call, finished: &Finished) -> Call {
    let mut layer: Layer = call.locals.as_deref().cloned().unwrap_or_default();
    if let Some(name) = register_name(call) {
        layer.insert(name.as_str().into(), Raw::Value(finished.value.clone()));
    }
    call.with_locals(layer)
}

/// Whether `until` is satisfied; without `until` a success is.
pub async fn until(call: &Call, finished: &Finished) -> Result<bool, Trouble> {
    if call.task.until.is_empty() {
        return Ok(finished.status != TaskStatus::Failed);
    }
    let conditions: Vec<&Node> = call.task.until.iter().collect();
    match call_with_result(call, finished).conditions(&conditions).await? {
        Known::Value(done) => Ok(done),
        Known::Unknown(_) => Ok(true),
    }
}

/// Adds a key to the result.
pub fn remember(finished: &mut Finished, key: &str, value: serde_json::Value) {
    let partly = crate::template::with_entry(&finished.value, key, from_json(&value));
    finished.json.insert(key.into(), value);
    if let Some(value) = partly {
        finished.value = value;
    } else if finished.status != TaskStatus::Unknown && crate::template::unknowns_in(&finished.value).is_empty() {
        finished.value = from_json(&serde_json::Value::Object(finished.json.clone()));
    }
}

/// Adds the item to the result of one item.
pub fn with_item(mut finished: Finished, call: &Call, item: &Value) -> Finished {
    let local = |name: &str| match call.locals.as_ref()?.get(name)? {
        Raw::Value(value) => Some(crate::template::to_json(value)),
        _ => None,
    };
    let name = local("ansible_loop_var").and_then(|name| name.as_str().map(str::to_string));
    let name = name.unwrap_or_else(|| "item".into());
    let shown = crate::template::to_shown(item);
    // Keys that are no texts are texts in what is told, and themselves to who reads the result.
    let exact = shown == crate::template::to_json(item);
    remember(&mut finished, &name, shown);
    remember(&mut finished, "ansible_loop_var", name.clone().into());
    if let Some(index_var) = local("ansible_index_var").and_then(|name| name.as_str().map(str::to_string)) {
        remember(&mut finished, "ansible_index_var", index_var.clone().into());
        if let Some(index) = local(&index_var) {
            remember(&mut finished, &index_var, index);
        }
    }
    if call.task.loop_control.extended.is_some()
        && let Some(about) = local("ansible_loop")
    {
        remember(&mut finished, "ansible_loop", about);
    }
    if finished.status != TaskStatus::Unknown && (!exact || !crate::template::unknowns_in(item).is_empty()) {
        // What a check does not know of the item stays unknown to who reads it from the result.
        let mut entries: Vec<(Value, Value)> =
            finished.json.iter().map(|(key, value)| (Value::from(key.as_str()), from_json(value))).collect();
        entries.retain(|(key, _)| key.as_str() != Some(&name));
        entries.push((Value::from(name.as_str()), item.clone()));
        finished.value = crate::template::with_entry(&finished.value, &name, item.clone())
            .unwrap_or_else(|| Value::from_pairs(entries));
    }
    finished
}

/// The result of a loop out of those of its items.
pub fn of_loop(call: &Call, results: Vec<Finished>) -> Finished {
    let any = |status: TaskStatus| results.iter().any(|result| result.status == status);
    let all_skipped = results.iter().all(|result| result.status == TaskStatus::Skipped);
    let status = if any(TaskStatus::Unreachable) {
        TaskStatus::Unreachable
    } else if any(TaskStatus::Failed) {
        TaskStatus::Failed
    } else if any(TaskStatus::Changed) {
        TaskStatus::Changed
    } else if any(TaskStatus::Unknown) {
        TaskStatus::Unknown
    } else if all_skipped {
        TaskStatus::Skipped
    } else {
        TaskStatus::Ok
    };
    let msg = match status {
        TaskStatus::Failed => "One or more items failed",
        TaskStatus::Unreachable => "the host was lost at one of the items",
        TaskStatus::Skipped => "All items skipped",
        TaskStatus::Unknown => "one or more items cannot be predicted",
        _ => "All items completed",
    };
    let mut json = Map::new();
    // Also where the item that has changed something has failed.
    let changed = |result: &Finished| result.json.get("changed") == Some(&json!(true));
    json.insert("changed".into(), json!(any(TaskStatus::Changed) || results.iter().any(changed)));
    if status == TaskStatus::Failed {
        json.insert("failed".into(), json!(true));
    }
    json.insert("skipped".into(), json!(status == TaskStatus::Skipped));
    json.insert("msg".into(), json!(msg));
    json.insert("results".into(), results.iter().map(|r| serde_json::Value::Object(r.json.clone())).collect());
    let mut entries: Vec<(Value, Value)> = json
        .iter()
        .filter(|(key, _)| *key != "results")
        .map(|(k, v)| (Value::from(k.as_str()), from_json(v)))
        .collect();
    entries.push((Value::from("results"), results.iter().map(|result| result.value.clone()).collect()));
    let mut facts = Map::new();
    results.iter().for_each(|result| facts.extend(result.facts.clone()));
    // Each item says for itself whether its failure counts, and one that counts is enough.
    let ignored = results.iter().filter(|result| result.status == status).all(|result| result.ignored);
    Finished {
        task: call.info.clone(),
        status,
        value: Value::from_pairs(entries),
        json,
        facts,
        unknown_facts: results.iter().flat_map(|result| result.unknown_facts.clone()).collect(),
        changes: results.iter().flat_map(|result| result.changes.clone()).collect(),
        // Its items have told what they looked at.
        observed: Default::default(),
        msg: Some(msg.into()),
        because: results.iter().find_map(|result| result.because.clone()),
        problem: None,
        hidden: results.iter().map(|result| result.hidden.contains(&true)).collect(),
        ignored: ignored && matches!(status, TaskStatus::Failed | TaskStatus::Unreachable),
        seconds: results.iter().map(|result| result.seconds).sum(),
        delegated_to: results.first().and_then(|result| result.delegated_to.clone()),
        given: Arc::default(),
        missing: results.iter().find_map(|result| result.missing.clone()),
    }
}

/// Marks the registered variable as awaited.
pub fn register_pending(call: &Call, number: u64) {
    if let Some(name) = register_name(call) {
        let stamp = call.on.stamp(call.position());
        call.on.host.set(&stamp, Kind::Assigned, &name, Raw::Pending(number));
    }
}

/// The task was not run: nobody may wait for its result.
pub fn forget_pending(call: &Call) {
    if let Some(name) = register_name(call) {
        call.on.host.forget_pending(&call.on.stamp(call.position()), Kind::Assigned, &name);
    }
}

/// Makes a result known: registers, sets facts, notifies, counts, shows.
pub fn publish(call: &Call, finished: Arc<Finished>) {
    let (finished, names) = notify(call, finished);
    take_over(call, finished, names);
}

/// Notifies the handlers that a task names; the names come back as they are told. Who names one that nobody has has failed.
pub fn notify(call: &Call, finished: Arc<Finished>) -> (Arc<Finished>, Vec<String>) {
    let looped = call.task.loop_.is_some() && finished.json.contains_key("results");
    let Notified { names, missing } = match looped {
        // Its items have notified, each for itself.
        true => Notified { names: Vec::new(), missing: finished.missing.clone() },
        false => Notified::by(call, &finished),
    };
    let Some(name) = missing else { return (finished, names) };
    let msg = format!(
        "The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers list"
    );
    let mut failed = Finished { status: TaskStatus::Failed, missing: Some(name), ..(*finished).clone() };
    remember(&mut failed, "failed", json!(true));
    remember(&mut failed, "msg", json!(msg));
    failed.msg = Some(msg);
    (Arc::new(failed), names)
}

/// Takes over the result of a `run_once` task that another host ran.
pub fn adopt(call: &Call, finished: &Arc<Finished>) {
    let own =
        Finished { task: call.info.clone(), changes: Vec::new(), observed: Default::default(), ..(**finished).clone() };
    let stamp = call.on.stamp(call.position());
    register(call, &own, &stamp);
    control::adopt_facts(call, &own);
    if own.status == TaskStatus::Failed && !own.ignored && !is_ignored(call, &own) {
        call.on.fail(Arc::new(own), call);
    }
}

/// Whether a task may give its facts to another host.
pub fn gives_facts(frame: &Frame, own: &Keywords) -> bool {
    frame.keyword(own, |k| k.delegate_facts.as_ref()).is_some_and(|node| node.as_bool() != Some(false))
}

/// Whose facts a task has found: with `delegate_facts` those of the host it ran on.
fn facts_of(call: &Call, finished: &Finished, delegated: Option<bool>) -> Arc<super::host::Host> {
    match (&finished.delegated_to, delegated) {
        (Some(other), Some(true)) => call.on.play.run.host(other),
        _ => call.on.host.clone(),
    }
}

fn register(call: &Call, finished: &Finished, stamp: &super::host::Stamp) {
    if let Some(name) = register_name(call) {
        unknown::remember(call, &name, finished);
        call.on.host.set(stamp, Kind::Assigned, &name, Raw::Value(finished.value.clone()));
    }
    let delegated = literal(call, |k| k.delegate_facts.as_ref());
    if !finished.facts.is_empty() && finished.status != TaskStatus::Failed {
        let host = facts_of(call, finished, delegated);
        host.set_facts(stamp, &finished.facts);
        // One that is a template may hide it: then nothing is kept.
        let hides = call.frame.keyword(&call.task.keywords, |k| k.no_log.as_ref());
        if hides.is_none_or(|node| node.as_bool() == Some(false)) {
            call.on.play.run.keep_facts(&host.name, &finished.facts);
        }
    }
    if !finished.unknown_facts.is_empty() {
        let reason = finished.msg.as_deref().unwrap_or("a check does not know it");
        facts_of(call, finished, delegated).set_unknown_facts(stamp, &finished.unknown_facts, reason);
    }
}

/// The rest of [`publish`].
pub fn take_over(call: &Call, mut finished: Arc<Finished>, notified: Vec<String>) {
    if !finished.changes.is_empty() {
        let run = &call.on.play.run;
        run.note_changes(finished.delegated_to.as_ref().unwrap_or(&call.on.host.name), &finished.changes);
    }
    *call.on.concluded.lock().unwrap_or_else(|p| p.into_inner()) = Some(call.position().clone());
    let ignored = is_ignored(call, &finished);
    if ignored != finished.ignored {
        finished = Arc::new(Finished { ignored, ..(*finished).clone() });
    }
    let on = &call.on;
    let stamp = on.stamp(call.position());
    // What a task hides is not kept for the end, either; one whose `no_log` is a template may hide it.
    let hides = call.frame.keyword(&call.task.keywords, |k| k.no_log.as_ref());
    if finished.status != TaskStatus::Failed && hides.is_none_or(|node| node.as_bool() == Some(false)) {
        on.play.run.stats.gather(&on.host.name, &finished.json);
    }
    register(call, &finished, &stamp);
    // A `meta` that its condition leaves out is shown, and counted as nothing.
    if !(finished.status == TaskStatus::Skipped && call.module.is_some_and(|m| m.name == "ansible.builtin.meta")) {
        on.host.count(finished.status, finished.json.get("changed") == Some(&json!(true)), ignored);
    }
    let looped = call.task.loop_.is_some() && finished.json.contains_key("results");
    if let (TaskStatus::Unknown, Some(because), false) = (finished.status, &finished.because, looped) {
        on.play.run.unknowns.note(&on.host.name, &call.info, because);
    }
    // The items have said it for themselves, where it is theirs to say.
    let hidden = match of_items(call, &finished) {
        true => literal(call, |k| k.no_log.as_ref()).unwrap_or(false),
        false => self::hides(call),
    };
    let diff = shown_diff(call);
    let event = task::event(call, &finished, notified, None, hidden, diff);
    on.batch.board.emit(call.position(), Event::TaskDone(event));
    match finished.status {
        TaskStatus::Failed if !ignored => {
            let once = literal(call, |k| k.run_once.as_ref()).unwrap_or(false);
            on.fail(finished, call);
            if fatal(call) && !once {
                share(call);
            }
        }
        TaskStatus::Unreachable if !ignored => {
            on.host.leave(Gone::Unreachable);
            on.batch.left(on.index, call.position());
            on.lost.store(true, Ordering::SeqCst);
            if fatal(call) {
                share(call);
            }
            on.batch.board.nudge();
        }
        _ => {}
    }
}

/// Whether a failure of this task is everybody's.
pub fn fatal(call: &Call) -> bool {
    literal(call, |k| k.any_errors_fatal.as_ref()).unwrap_or(call.on.play.any_errors_fatal)
}

/// Makes a failure everybody's. Hosts that wait for nobody (`strategy: free`) stop where they are.
fn share(call: &Call) {
    match call.on.play.free {
        true => call.on.batch.end(super::play::Ending::Fatal),
        false => call.on.batch.is_fatal(call.on.index, call.position()),
    }
}

/// A keyword of a task that is over, as far as it can be evaluated.
pub fn literal(call: &Call, of: impl Fn(&crate::playbook::Keywords) -> Option<&Node>) -> Option<bool> {
    for node in call.frame.values(&call.task.keywords, of) {
        if let Some(literal) = node.as_bool() {
            return Some(literal);
        }
        let scope = call.scope();
        let evaluated = scope.templar().template_node(node, &scope).ok()?;
        if !crate::template::is_omit(&evaluated.value) {
            return crate::modules::scalars::Flag::parse(&crate::template::to_json(&evaluated.value));
        }
    }
    None
}

/// Whether a failure lets the host go on: `ignore_errors`, `ignore_unreachable`. The items of a loop have said it for
/// themselves.
pub fn is_ignored(call: &Call, finished: &Finished) -> bool {
    match finished.status {
        // A mistake of the playbook, which Ansible ends the play for.
        _ if finished.missing.is_some() => false,
        TaskStatus::Failed | TaskStatus::Unreachable if of_items(call, finished) => finished.ignored,
        TaskStatus::Failed => holds(call, |k| k.ignore_errors.as_ref(), false),
        TaskStatus::Unreachable => holds(call, |k| k.ignore_unreachable.as_ref(), false),
        _ => false,
    }
}

/// Whether the result is the whole of a loop, made of those of its items.
fn of_items(call: &Call, finished: &Finished) -> bool {
    call.locals.is_none() && call.task.loop_.is_some() && finished.json.contains_key("results")
}

/// Whether the result is hidden (`no_log`).
pub fn hides(call: &Call) -> bool {
    holds(call, |k| k.no_log.as_ref(), true)
}

/// Whether the diff of a task that is over is shown.
pub fn shown_diff(call: &Call) -> bool {
    literal(call, |k| k.diff.as_ref()).unwrap_or(call.on.play.run.options.diff)
}

/// A keyword of a task that is over. What cannot be evaluated, or is no boolean, holds: it is what the task has failed
/// for, and Ansible takes the text as it is written for true. What a check does not know is `unknown`.
fn holds(call: &Call, of: impl Fn(&crate::playbook::Keywords) -> Option<&Node>, unknown: bool) -> bool {
    for node in call.frame.values(&call.task.keywords, of) {
        if let Some(literal) = node.as_bool() {
            return literal;
        }
        let scope = call.scope();
        let Ok(evaluated) = scope.templar().template_node(node, &scope) else { return true };
        if !evaluated.is_known() {
            return unknown;
        }
        if !crate::template::is_omit(&evaluated.value) {
            let json = crate::template::to_json(&evaluated.value);
            return crate::modules::scalars::Flag::parse(&json).unwrap_or(!json.is_null());
        }
    }
    false
}
