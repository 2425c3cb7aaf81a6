//! A role's argument specification (`meta/argument_specs.yml`), checked before its first task.

use super::call::{Call, Known};
use super::frame::Frame;
use super::position::Position;
use super::walker::{Flow, HostRun};
use crate::modules::Outcome;
use crate::modules::control::ValidateArgumentSpec;
use crate::playbook::Role;
use crate::template::to_json;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Checks what a role was given against its specification of its entry point.
pub async fn check(this: &Arc<HostRun>, role: &Role, frame: &Frame, position: &Position) -> Flow {
    let Some(options) = role.argument_spec.as_ref().and_then(|spec| spec.as_map()?.get("options")) else {
        return Flow::GoOn;
    };
    this.batch.board.arrive(this.index, position);
    let short = role.argument_spec.as_ref().and_then(|spec| spec.as_map()?.get("short_description")?.scalar_text());
    let short = short.map(|text| format!(" - {text}")).unwrap_or_default();
    let name = format!("Validating arguments against arg spec '{}'{short}", role.entry);
    let play = &this.play.play;
    let task = super::synthetic::task(
        play,
        &role.span,
        &name,
        "ansible.builtin.validate_argument_spec",
        Vec::new(),
        &["always"],
    );
    let call = Call::new(this, &task, frame, position);
    let context = json!({
        "type": "role",
        "name": &*role.name,
        "argument_spec_name": &*role.entry,
        "path": crate::template::absolute(&role.path),
    });
    let spec = options.to_json();
    let outcome = match spec.as_object() {
        Some(spec) => judge(&call, spec, Map::new()).await,
        None => Outcome::failed(format!("the specification of the role `{}` is no mapping of arguments", role.name)),
    };
    let outcome = outcome.with("validate_args_context", context);
    super::finish::publish(&call, Arc::new(super::finish::quick(&call, outcome)));
    this.state()
}

/// Carries out `validate_argument_spec`.
pub async fn task(call: &Call, arguments: ValidateArgumentSpec) -> Outcome {
    let outcome = judge(call, &arguments.argument_spec, arguments.provided_arguments).await;
    outcome.with("validate_args_context", arguments.validate_args_context.unwrap_or_default())
}

/// Holds what is given, and beside it the variables of the specification's names, against the specification.
async fn judge(call: &Call, spec: &Map<String, Value>, mut given: Map<String, Value>) -> Outcome {
    let mut problems = Vec::new();
    let mut unknown = None;
    let mut spec = spec.clone();
    let names: Vec<String> = spec.keys().cloned().collect();
    for name in &names {
        if given.contains_key(name) || !call.scope().contains(name) {
            continue;
        }
        let templar = &call.on.play.run.templar;
        match call.evaluate(|scope| templar.expression(name, scope)).await {
            Ok(Known::Value(value)) => drop(given.insert(name.clone(), to_json(&value))),
            // What else is wrong is wrong whatever it will be.
            Ok(Known::Unknown(touches)) => {
                unknown = Some(super::unknown::depends("the arguments depend on", &touches));
                spec.shift_remove(name);
            }
            Err(trouble) => problems.push(format!("`{name}`: {}", super::prepare::explain(call, trouble))),
        }
    }
    if problems.is_empty() {
        problems = crate::playbook::violations(&spec, &given);
    }
    if problems.is_empty() {
        return unknown.unwrap_or_else(|| Outcome::ok().with("msg", "The arg spec validation passed"));
    }
    Outcome::failed(format!("Validation of arguments failed:\n{}", problems.join("\n")))
        .with("argument_errors", problems)
        .with("argument_spec_data", spec)
}
