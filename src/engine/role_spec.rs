//! A role's argument specification (`meta/argument_specs.yml`), checked before its first task.

use super::call::{Call, Known};
use super::frame::Frame;
use super::position::Position;
use super::walker::{Flow, HostRun};
use crate::modules::Outcome;
use crate::playbook::Role;
use crate::source::Node;
use crate::template::to_json;
use serde_json::{Value, json};
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
    let task = super::synthetic::task(play, &role.span, &name, "ansible.builtin.assert", Vec::new(), &["always"]);
    let call = Call::new(this, &task, frame, position);
    let mut problems = Vec::new();
    for (name, spec) in options.as_map().into_iter().flat_map(|map| map.iter()) {
        let name = name.scalar_text().unwrap_or_default();
        let field = |key: &str| spec.as_map().and_then(|map| map.get(key));
        let required = field("required").and_then(Node::as_bool).unwrap_or(false);
        if !call.scope().contains(&name) {
            if required {
                problems.push(format!("missing required argument `{name}`"));
            }
            continue;
        }
        let templar = &this.play.run.templar;
        let value = match call.evaluate(|scope| templar.expression(&name, scope)).await {
            Ok(Known::Value(value)) => to_json(&value),
            Ok(Known::Unknown(_)) => continue,
            Err(trouble) => {
                problems.push(format!("`{name}`: {}", super::prepare::explain(&call, trouble)));
                continue;
            }
        };
        let kind = field("type").and_then(Node::as_str).unwrap_or("str");
        if !fits(kind, &value) {
            problems.push(format!("argument `{name}` is not of the type {kind}"));
        }
        let choices: Vec<Value> =
            field("choices").and_then(Node::as_seq).unwrap_or_default().iter().map(Node::to_json).collect();
        if !choices.is_empty() && !choices.contains(&value) {
            let allowed: Vec<String> = choices.iter().map(Value::to_string).collect();
            problems.push(format!("argument `{name}` must be one of {}", allowed.join(", ")));
        }
    }
    let context = json!({
        "type": "role",
        "name": &*role.name,
        "argument_spec_name": &*role.entry,
        "path": crate::template::absolute(&role.path),
    });
    let outcome = if problems.is_empty() {
        Outcome::ok().with("msg", "The arg spec validation passed")
    } else {
        let data = role.argument_spec.as_ref().and_then(|spec| spec.as_map()?.get("options")).map(Node::to_json);
        Outcome::failed(format!("Validation of arguments failed: {}", problems.join("; ")))
            .with("argument_errors", problems)
            .with("argument_spec_data", data)
    };
    let outcome = outcome.with("validate_args_context", context);
    super::finish::publish(&call, Arc::new(super::finish::quick(&call, outcome)));
    this.state()
}

/// Whether a value has the type of a specification, in the spellings that Ansible converts.
fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "bool" => crate::modules::scalars::Flag::parse(value).is_some(),
        "int" => value.is_i64() || value.is_u64() || value.as_str().is_some_and(|s| s.trim().parse::<i64>().is_ok()),
        "float" => value.is_number() || value.as_str().is_some_and(|s| s.trim().parse::<f64>().is_ok()),
        "list" => value.is_array() || value.is_string() || value.is_number(),
        "dict" => value.is_object() || value.is_string(),
        "str" | "path" | "raw" | "json" | "jsonarg" | "bytes" | "bits" => {
            kind == "raw" || kind == "json" || !(value.is_object() || value.is_array())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;
    use serde_json::json;

    #[test]
    fn types_as_ansible_converts_them() {
        for (kind, value, expected) in [
            ("bool", json!("yes"), true),
            ("bool", json!("maybe"), false),
            ("int", json!("12"), true),
            ("int", json!("x"), false),
            ("list", json!("a,b"), true),
            ("list", json!({}), false),
            ("dict", json!({}), true),
            ("str", json!([]), false),
            ("str", json!(1), true),
        ] {
            assert_eq!(fits(kind, &value), expected, "{kind} {value}");
        }
    }
}
