//! The handlers that a task names.
//!
//! Its names are keywords: they are evaluated once, before it runs, and kept beside what its module is given. What they are
//! made of may be another thing by the time the answer comes.

use super::call::{Call, Known, Trouble};
use super::event::TaskStatus;
use super::task::Finished;
use super::unknown;
use crate::source::Node;
use crate::template::{UnknownTouch, Value, display, is_omit};

/// What a task notifies where it changes something.
#[derive(Debug, Default)]
pub struct Named {
    names: Vec<String>,
    /// What the other names depend on, which a check does not know.
    unknown: Vec<UnknownTouch>,
}

/// What a task has notified.
#[derive(Default)]
pub struct Notified {
    /// The names, as they are told.
    pub names: Vec<String>,
    /// One that no handler has: the task has failed.
    pub missing: Option<String>,
}

impl Notified {
    /// Notifies the handlers that the task names, where it has changed something, or a check cannot tell that.
    pub fn by(call: &Call, finished: &Finished) -> Notified {
        let certainly = finished.status == TaskStatus::Changed;
        let mut notified = Notified::default();
        if !(certainly || finished.status == TaskStatus::Unknown) {
            return notified;
        }
        let written;
        let (named, all) = match call.given.handlers.get() {
            Some(named) => (named, !named.unknown.is_empty()),
            // A check has not come so far as to evaluate them.
            None => {
                let (templates, texts): (Vec<_>, Vec<_>) = nodes(call).partition(|node| node.has_template());
                let names = texts.into_iter().filter_map(Node::scalar_text).collect();
                written = Named { names, unknown: Vec::new() };
                (&written, !templates.is_empty())
            }
        };
        if all {
            call.on.perhaps_notifies_any(call.position());
        }
        for name in &named.names {
            match call.on.notify(name, certainly, call.position(), call.frame.handler) {
                false if certainly => notified.missing = notified.missing.or_else(|| Some(name.clone())),
                _ => notified.names.push(name.clone()),
            }
        }
        if certainly && !named.unknown.is_empty() {
            let outcome = unknown::depends("which handlers it notifies depends on", &named.unknown);
            let mut because = unknown::because(call, &outcome);
            // The task itself is known; what is not is said.
            because.reason = outcome.msg.unwrap_or(because.reason);
            call.on.play.run.unknowns.note(&call.on.host.name, &call.info, &because);
        }
        notified
    }
}

fn nodes(call: &Call) -> impl Iterator<Item = &Node> {
    call.frame.notify.iter().chain(&call.task.notify)
}

/// The names that a value is: one, several or none.
fn names_in(value: &Value) -> Vec<String> {
    match value.as_str() {
        _ if is_omit(value) => Vec::new(),
        Some(text) => vec![text.to_string()],
        None => value.try_iter().into_iter().flatten().map(|name| display(&name)).collect(),
    }
}

/// Evaluates the names before the task runs: one that cannot be told fails it, as in Ansible, and what they are made of is
/// awaited here, since nobody does once it has changed something.
pub async fn evaluate(call: &Call) -> Result<(), Trouble> {
    if call.given.handlers.get().is_some() {
        return Ok(()); // those of its first attempt
    }
    let mut named = Named::default();
    for node in nodes(call) {
        match call.value(node).await? {
            Known::Value(value) => named.names.extend(names_in(&value)),
            Known::Unknown(touches) => named.unknown.extend(touches),
        }
    }
    let _ = call.given.handlers.set(named);
    Ok(())
}

/// Whether the task may notify a handler that the play does not have yet, so that a host that is behind may still bring it.
/// What a name is made of may not have come yet, and may be of each item another.
pub fn may_miss_handlers(call: &Call) -> bool {
    let missed = |name: &str| !call.on.finds(name, call.position());
    nodes(call).any(|node| {
        if !node.has_template() {
            return node.scalar_text().is_some_and(|name| missed(&name));
        }
        let scope = call.scope();
        call.task.loop_.is_some()
            || match scope.templar().template_node(node, &scope) {
                Ok(evaluated) if evaluated.touched.is_empty() => {
                    names_in(&evaluated.value).iter().any(|name| missed(name))
                }
                _ => true,
            }
    })
}
