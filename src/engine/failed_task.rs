//! `ansible_failed_task`: a task that failed, as its rescue sees it: all of its keywords, under Ansible's names.
//!
//! Its arguments and environment are what the module was given, and are not evaluated again; what was never given (as
//! to `debug`, or to a loop as a whole) is told as it is written. Under `no_log` what may hold a secret is left out (`HIDDEN`).

use super::call::{Call, Given};
use super::event::TaskInfo;
use super::finish;
use super::frame::Frame;
use super::task::Finished;
use super::walker::HostRun;
use crate::modules::scalars::Flag;
use crate::playbook::{Action, Keywords, LoopKind, Task};
use crate::source::Node;
use crate::template::{Layer, is_omit, to_json};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What may hold a secret, and is not told under `no_log`.
const HIDDEN: [&str; 5] = ["args", "environment", "vars", "loop", "module_defaults"];

/// A task that failed, until a rescue asks for it: most failures are described to nobody.
#[derive(Clone)]
pub struct FailedTask {
    task: Arc<Task>,
    frame: Frame,
    info: Arc<TaskInfo>,
    locals: Option<Arc<Layer>>,
}

impl FailedTask {
    /// What is remembered of `call`: not the host, in which it is kept.
    pub fn of(call: &Call) -> FailedTask {
        let (task, frame) = (call.task.clone(), call.frame.clone());
        FailedTask { task, frame, info: call.info.clone(), locals: call.locals.clone() }
    }

    /// `ansible_failed_task`.
    pub fn described(&self, on: &Arc<HostRun>, finished: &Finished) -> Value {
        let mut call = Call::new(on, &self.task, &self.frame, &self.info.position);
        (call.info, call.locals, call.given) = (self.info.clone(), self.locals.clone(), finished.given.clone());
        described(&call)
    }
}

/// The keywords of a task, evaluated as far as that goes: what has made it fail is told as it is written.
fn described(call: &Call) -> Value {
    let (task, own) = (&call.task, &call.task.keywords);
    let text = |of: fn(&Keywords) -> Option<&Node>| inherited(call, of).unwrap_or(Value::Null);
    let number = |node: &Option<Node>, usual: Value| match node.as_ref().and_then(|node| evaluated(call, node)) {
        Some(Value::String(text)) => number(&text),
        Some(value) if !value.is_null() => value,
        _ => usual,
    };
    let flag = |of: fn(&Keywords) -> Option<&Node>, usual: Value| match inherited(call, of) {
        Some(value) => Flag::parse(&value).map_or(value, Value::Bool),
        None => usual,
    };
    let limit = |of: fn(&Keywords) -> Option<&Node>| match inherited(call, of) {
        Some(Value::String(text)) => text.trim().parse::<u64>().map_or(Value::String(text), |number| json!(number)),
        Some(value) if !value.is_null() => value,
        _ => json!(0),
    };
    let written = |nodes: &[Node]| Value::Array(nodes.iter().map(Node::to_json).collect());
    let options = &call.on.play.run.options;
    let usual = call.on.play.run.fleet.usual();
    let (looped, with) = match &task.loop_ {
        None => (Value::Null, Value::Null),
        Some(spec) => match &spec.kind {
            LoopKind::Loop => (spec.expr.to_json(), Value::Null),
            LoopKind::With(lookup) => (spec.expr.to_json(), json!(&**lookup)),
        },
    };
    let delay = number(&task.delay, json!(5.0));
    let limit_async = number(&task.async_, json!(0));
    // A task without a name is shown by its action, and has none for who asks.
    let shown = &call.info.name;
    let role = call.info.role.as_ref().map(|role| format!("{role} : "));
    let name = role.and_then(|role| shown.strip_prefix(&role)).unwrap_or(shown);
    let unnamed = name.strip_prefix(&*call.info.action).is_some_and(|rest| rest.is_empty() || rest.starts_with(" : "));
    let notify: Vec<Value> = call.frame.notify.iter().chain(&task.notify).map(|node| best(call, node)).collect();
    let mut all = json!({
        "name": if unnamed { "" } else { name },
        "action": call.info.action,
        "_resolved_action": call.module.map(|module| module.name),
        "args": arguments(&task.action, &call.given),
        "tags": tags(call),
        "when": written(&call.frame.gathered(own, |k| &k.when).into_iter().cloned().collect::<Vec<_>>()),
        "vars": own.vars.iter().map(|(name, node)| (name.to_string(), node.to_json())).collect::<Map<_, _>>(),
        "environment": [environment(call)],
        "notify": if notify.is_empty() { Value::Null } else { Value::Array(notify) },
        "register": task.register.as_deref(),
        "loop": looped,
        "loop_with": with,
        "until": written(&task.until),
        "retries": number(&task.retries, Value::Null),
        "delay": delay.as_f64().map_or(delay, |seconds| json!(seconds)),
        "changed_when": written(task.changed_when.as_deref().unwrap_or_default()),
        "failed_when": written(task.failed_when.as_deref().unwrap_or_default()),
        "async": limit_async,
        "async_val": limit_async,
        "poll": number(&task.poll, json!(15)),
        "loop_control": loop_control(call),
        "uuid": call.info.place,
        "finalized": true,
        "squashed": true,
    });
    let around = json!({
        "any_errors_fatal": flag(|k| k.any_errors_fatal.as_ref(), json!(options.any_errors_fatal)),
        "become": flag(|k| k.become_.as_ref(), json!(options.become_.become_)),
        "become_user": inherited(call, |k| k.become_user.as_ref()).or(options.become_.user.clone().map(Value::String)),
        "become_method": inherited(call, |k| k.become_method.as_ref()).or(options.become_.method.clone().map(Value::String)),
        "become_exe": text(|k| k.become_exe.as_ref()),
        "become_flags": text(|k| k.become_flags.as_ref()),
        "check_mode": flag(|k| k.check_mode.as_ref(), json!(options.check)),
        "collections": inherited(call, |k| k.collections.as_ref()).unwrap_or_else(|| json!([])),
        "connection": inherited(call, |k| k.connection.as_ref()).unwrap_or_else(|| json!(usual.connection.as_deref().unwrap_or("ssh"))),
        "debugger": text(|k| k.debugger.as_ref()),
        "delegate_facts": flag(|k| k.delegate_facts.as_ref(), Value::Null),
        "delegate_to": text(|k| k.delegate_to.as_ref()),
        "diff": flag(|k| k.diff.as_ref(), json!(options.diff)),
        "ignore_errors": flag(|k| k.ignore_errors.as_ref(), Value::Null),
        "ignore_unreachable": flag(|k| k.ignore_unreachable.as_ref(), Value::Null),
        "no_log": flag(|k| k.no_log.as_ref(), json!(false)),
        "port": text(|k| k.port.as_ref()),
        "remote_user": inherited(call, |k| k.remote_user.as_ref()).or(usual.user.clone().map(Value::String)),
        "run_once": flag(|k| k.run_once.as_ref(), Value::Null),
        "module_defaults": written(&call.frame.gathered(own, |k| &k.module_defaults).into_iter().cloned().collect::<Vec<_>>()),
        "throttle": limit(|k| k.throttle.as_ref()),
        "timeout": limit(|k| k.timeout.as_ref()),
    });
    if let (Value::Object(all), Value::Object(around)) = (&mut all, around) {
        all.extend(around);
        if finish::hides(call) {
            HIDDEN.iter().for_each(|hidden| drop(all.remove(*hidden)));
        }
    }
    all
}

/// A number as it is written, whole where it is.
fn number(text: &str) -> Value {
    let whole = text.trim().parse::<i64>().map(Value::from);
    whole.or_else(|_| text.trim().parse::<f64>().map(Value::from)).unwrap_or_else(|_| text.into())
}

/// A value as far as it can be known; nothing where it is `omit` or no value.
fn evaluated(call: &Call, node: &Node) -> Option<Value> {
    let scope = call.scope();
    let evaluated = scope.templar().template_node(node, &scope).ok().filter(|evaluated| evaluated.is_known())?;
    (!is_omit(&evaluated.value)).then(|| to_json(&evaluated.value))
}

/// The same, or what is written.
fn best(call: &Call, node: &Node) -> Value {
    evaluated(call, node).unwrap_or_else(|| node.to_json())
}

/// A keyword's innermost value that is not `omit`.
fn inherited(call: &Call, of: fn(&Keywords) -> Option<&Node>) -> Option<Value> {
    let scope = call.scope();
    for node in call.frame.values(&call.task.keywords, of) {
        match scope.templar().template_node(node, &scope) {
            Ok(evaluated) if is_omit(&evaluated.value) => {}
            Ok(evaluated) if evaluated.is_known() => return Some(to_json(&evaluated.value)),
            _ => return Some(node.to_json()),
        }
    }
    None
}

/// The arguments as the module was given them, or as they are written.
fn arguments(action: &Action, given: &Given) -> Value {
    // What the engine adds for its own modules is nobody's argument.
    let own = |name: &str| name.starts_with('_') && name != "_raw_params";
    if let Some(arguments) = given.arguments.get() {
        let told = arguments.iter().filter(|(name, _)| !own(name));
        return Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect());
    }
    let written = action.args.iter().map(|(key, node)| (key.scalar_text().unwrap_or_default(), node.to_json()));
    let free = action.free_form.iter().map(|text| ("_raw_params".to_string(), text.to_json()));
    Value::Object(written.filter(|(name, _)| !own(name)).chain(free).collect())
}

/// Its own tags, then those of what is around it, from the inside out.
fn tags(call: &Call) -> Vec<Value> {
    let around = call.frame.keywords.iter().rev().map(|keywords| &**keywords);
    let nodes = std::iter::once(&*call.task.keywords).chain(around).flat_map(|keywords| &keywords.tags);
    let mut tags: Vec<Value> = Vec::new();
    for node in nodes {
        match best(call, node) {
            Value::Array(items) => tags.extend(items),
            Value::String(text) => tags.extend(text.split(',').map(|tag| json!(tag.trim()))),
            other => tags.push(other),
        }
    }
    tags.dedup();
    tags
}

fn loop_control(call: &Call) -> Value {
    let control = &call.task.loop_control;
    let said = |node: &Option<Node>, usual: Value| node.as_ref().map_or(usual, Node::to_json);
    json!({
        "loop_var": said(&control.loop_var, json!("item")),
        "index_var": said(&control.index_var, Value::Null),
        "label": said(&control.label, Value::Null),
        "pause": said(&control.pause, json!(0)),
        "extended": said(&control.extended, Value::Null),
        "extended_allitems": said(&control.extended_allitems, json!(true)),
        "break_when": control.break_when.iter().map(Node::to_json).collect::<Vec<_>>(),
    })
}

/// All of the environment in one mapping, what is nearer to the task before what is further away: as it was sent, or as
/// it is written.
fn environment(call: &Call) -> Value {
    if let Some(environment) = call.given.environment.get() {
        return json!(environment);
    }
    let mut all = Map::new();
    for node in call.frame.gathered(&call.task.keywords, |k| &k.environment) {
        if let Value::Object(map) = node.to_json() {
            all.extend(map);
        }
    }
    Value::Object(all)
}
