//! What `service` and `systemd` have in common: bringing one unit to a wanted state.

use crate::machine::Machine;
use crate::machine::units::{UnitAction, UnitOptions};
use crate::modules::{Context, ModuleError, Outcome};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The state a service is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Started unless it runs.
    #[serde(alias = "running")]
    Started,
    /// Stopped if it runs.
    Stopped,
    /// Stopped and started, whatever it was.
    Restarted,
    /// Reads its configuration again; started if it does not run.
    Reloaded,
}

/// What is wanted of a unit.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub state: Option<State>,
    pub enabled: Option<bool>,
    pub masked: Option<bool>,
    pub options: UnitOptions,
}

/// Brings the unit there: masked first, then enabled, then its state, as Ansible does.
pub fn manage(wanted: &Wanted<'_>, machine: &mut Machine, context: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let mut unit = machine.unit(wanted.name, &wanted.options)?;
    let missing = !unit.exists();
    // A unit that is not there can be masked, and is not; nothing else makes sense.
    if missing && (wanted.state.is_some() || wanted.enabled.is_some()) {
        if machine.foresees_opaque_packages() {
            let why = machine.unread_packages().unwrap_or("what packages of earlier tasks bring is not known");
            return Ok(Outcome::unknown(format!("whether {} exists is not known: {why}", wanted.name)));
        }
        let hint = if machine.predicted() { "; no earlier task of this check would bring it" } else { "" };
        return Err(ModuleError::Failed(format!("Could not find the requested service {}: host{hint}", wanted.name)));
    }
    let mut outcome = Outcome::ok().with("name", wanted.name);
    if let Some(masked) = wanted.masked
        && machine.set_unit_masked(&unit, masked, &wanted.options)?
    {
        unit = machine.unit(wanted.name, &wanted.options)?;
    }
    if let Some(enabled) = wanted.enabled {
        if enabled && unit.is_masked() {
            return Err(ModuleError::Failed(format!(
                "cannot enable {}: it is masked (set `masked: false`)",
                unit.name
            )));
        }
        machine.set_unit_enabled(&unit, enabled, &wanted.options)?;
        outcome = outcome.with("enabled", enabled);
    }
    if let Some(state) = wanted.state {
        let (action, name) = match state {
            State::Started => (UnitAction::Start, "started"),
            State::Stopped => (UnitAction::Stop, "stopped"),
            State::Restarted => (UnitAction::Restart, "started"),
            State::Reloaded => (UnitAction::Reload, "started"),
        };
        let controller = &mut *context.controller;
        let mut progress = |text: &str| controller.progress(text, None, None);
        machine.act_on_unit(&unit, action, &wanted.options, &mut progress)?;
        outcome = outcome.with("state", name);
    }
    if unit.properties.get("NeedDaemonReload").is_some_and(|v| v == "yes") && wanted.state.is_some() {
        outcome.warnings.push(format!(
            "{}: its unit file changed on disk, but systemd still works with the old one (set `daemon_reload: true`)",
            unit.name
        ));
    }
    let status: Map<String, Value> = unit.properties.into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    Ok(outcome.with("status", status))
}
