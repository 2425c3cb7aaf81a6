//! Keywords of a task, looked at before it runs: as in Ansible one that cannot be what it is to be fails the task, also
//! where the module has no use for it.

use super::call::{Call, Known, Trouble};
use super::{notify, prepare};
use crate::modules::scalars::Flag;
use crate::playbook::{Keywords, Takes, takes};
use crate::source::{Diag, Node};
use crate::template::{Value, display, is_omit, to_json};

/// How a keyword is found.
type Of = for<'a> fn(&'a Keywords) -> Option<&'a Node>;

/// Keywords that come from the task or from what is around it.
const INHERITED: [(&str, Of); 19] = [
    ("any_errors_fatal", |k| k.any_errors_fatal.as_ref()),
    ("become", |k| k.become_.as_ref()),
    ("become_exe", |k| k.become_exe.as_ref()),
    ("become_flags", |k| k.become_flags.as_ref()),
    ("become_method", |k| k.become_method.as_ref()),
    ("become_user", |k| k.become_user.as_ref()),
    ("check_mode", |k| k.check_mode.as_ref()),
    ("connection", |k| k.connection.as_ref()),
    ("delegate_facts", |k| k.delegate_facts.as_ref()),
    ("delegate_to", |k| k.delegate_to.as_ref()),
    ("diff", |k| k.diff.as_ref()),
    ("ignore_errors", |k| k.ignore_errors.as_ref()),
    ("ignore_unreachable", |k| k.ignore_unreachable.as_ref()),
    ("no_log", |k| k.no_log.as_ref()),
    ("port", |k| k.port.as_ref()),
    ("remote_user", |k| k.remote_user.as_ref()),
    ("run_once", |k| k.run_once.as_ref()),
    ("throttle", |k| k.throttle.as_ref()),
    ("timeout", |k| k.timeout.as_ref()),
];

/// Looks at all of them. What a check does not know is not looked at, nor what was written out: the loader has done so.
pub async fn keywords(call: &Call) -> Result<(), Trouble> {
    for (word, of) in INHERITED {
        for node in call.frame.values(&call.task.keywords, of) {
            if !node.has_template() || !omitted(call, word, node).await? {
                break;
            }
        }
    }
    let task = &call.task;
    for (word, node) in
        [("retries", &task.retries), ("delay", &task.delay), ("async", &task.async_), ("poll", &task.poll)]
    {
        if let Some(node) = node.as_ref().filter(|node| node.has_template()) {
            omitted(call, word, node).await?;
        }
    }
    notify::evaluate(call).await?;
    // Of what runs on a host it is asked anyway.
    if call.module.is_some_and(|module| module.run.is_none()) {
        prepare::environment(call).await?;
    }
    Ok(())
}

/// Whether a keyword comes out as `omit`; an error where it cannot be what it is to be.
async fn omitted(call: &Call, word: &str, node: &Node) -> Result<bool, Trouble> {
    let Known::Value(value) = call.value(node).await? else { return Ok(false) };
    if is_omit(&value) {
        return Ok(true);
    }
    if word == "delegate_to" && display(&value).is_empty() {
        return Err(prepare::no_host());
    }
    match expected(word, &value) {
        Some(expected) => {
            let wrong = format!("`{word}` must be {expected}, and this is `{}`", display(&value));
            Err(Diag::error(wrong).at(&node.span).into())
        }
        None => Ok(false),
    }
}

/// What a keyword takes, where the value is nothing of the kind.
fn expected(word: &str, value: &Value) -> Option<&'static str> {
    let number = || display(value).trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let (good, expected) = match takes(word) {
        Takes::Text | Takes::Other => return None,
        Takes::Truth => (Flag::parse(&to_json(value)).is_some(), "true or false"),
        Takes::Whole => (number().is_some_and(|number| number.fract() == 0.0), "a whole number"),
        Takes::Number => (number().is_some(), "a number"),
    };
    (!good && !value.is_none()).then_some(expected)
}
