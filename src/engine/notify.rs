//! The handlers that a task names.

use super::call::{Call, Trouble};
use super::event::TaskStatus;
use super::task::Finished;
use crate::template::display;

/// What a task has notified.
#[derive(Default)]
pub struct Notified {
    /// The names, as they are told.
    pub names: Vec<String>,
    /// One that no handler has, or that cannot be told: the task has failed.
    pub missing: Option<String>,
}

impl Notified {
    /// Notifies the handlers that the task names, where it has changed something.
    pub fn by(call: &Call, finished: &Finished) -> Notified {
        let certainly = finished.status == TaskStatus::Changed;
        let mut notified = Notified::default();
        if !(certainly || finished.status == TaskStatus::Unknown) {
            return notified;
        }
        for name in names(call) {
            match name {
                Ok(name) if call.on.notify(&name, certainly, call.position(), call.frame.handler) || !certainly => {
                    notified.names.push(name);
                }
                Ok(name) | Err(name) => {
                    notified.missing.get_or_insert(name);
                }
            }
        }
        notified
    }
}

/// What the task notifies where it changes something; as it is written where it cannot be told.
fn names(call: &Call) -> Vec<Result<String, String>> {
    if call.frame.notify.is_empty() && call.task.notify.is_empty() {
        return Vec::new();
    }
    let scope = call.scope();
    let mut names = Vec::new();
    for node in call.frame.notify.iter().chain(&call.task.notify) {
        match scope.templar().template_node(node, &scope) {
            Ok(evaluated) => match evaluated.value.as_str() {
                Some(text) => names.push(Ok(text.to_string())),
                None => names.extend(evaluated.value.try_iter().into_iter().flatten().map(|name| Ok(display(&name)))),
            },
            Err(_) => names.push(Err(node.raw().to_string())),
        }
    }
    names
}

/// Looks at the names before the task runs: one that cannot be told fails it, as in Ansible, and what they are made of is
/// awaited here, since nobody does once it has changed something.
pub async fn awaits_names(call: &Call) -> Result<(), Trouble> {
    for node in call.frame.notify.iter().chain(&call.task.notify).filter(|node| node.has_template()) {
        call.value(node).await?;
    }
    Ok(())
}

/// Whether the task may notify a handler that the play does not have (or a name that cannot be told yet): a host that is
/// behind may still bring it.
pub fn may_miss_handlers(call: &Call) -> bool {
    names(call).iter().any(|name| name.as_ref().map_or(true, |name| !call.on.finds(name, call.position())))
}
