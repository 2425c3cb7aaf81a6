//! `service_facts`: services as facts.

use crate::machine::Machine;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};

/// `ansible.builtin.service_facts`
pub const SERVICE_FACTS: Module = Module {
    name: "ansible.builtin.service_facts",
    aliases: &["service_facts", "ansible.legacy.service_facts"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: ServiceFacts::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Lists the services with their states in the fact `ansible_facts.services`.
    pub struct ServiceFacts {}
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let _: ServiceFacts = decode(arguments)?;
    let mut services: Map<String, Value> = Map::new();
    for unit in machine.list_services()? {
        // Ansible's words: what runs, what does not, and what is known by its file only.
        let state = match unit.active.as_str() {
            "active" if unit.properties.get("SubState").is_some_and(|s| s != "running") => "stopped",
            "active" | "activating" | "reloading" => "running",
            "failed" => "failed",
            _ if unit.load == "not-found" => "unknown",
            "" => "inactive",
            _ => "stopped",
        };
        let status = if unit.file_state.is_empty() { unit.load.clone() } else { unit.file_state.clone() };
        let status = if status.is_empty() { "unknown".into() } else { status };
        services.insert(
            unit.name.clone(),
            json!({"name": unit.name, "state": state, "status": status, "source": "systemd"}),
        );
    }
    let mut outcome = Outcome::ok();
    outcome.facts.insert("services".into(), Value::Object(services));
    Ok(outcome)
}
