//! `systemd`: everything about a unit.

use super::manage::{State, Wanted, manage};
use crate::machine::Machine;
use crate::machine::units::{Scope, UnitOptions};
use crate::modules::scalars::Flag;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.systemd_service`
pub const SYSTEMD: Module = Module {
    name: "ansible.builtin.systemd_service",
    aliases: &[
        "systemd",
        "systemd_service",
        "ansible.builtin.systemd",
        "ansible.legacy.systemd",
        "ansible.legacy.systemd_service",
    ],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Systemd::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Starts, stops, enables or masks a unit of systemd, and makes systemd read its files again.
    ///
    /// `daemon_reload` comes first, then `masked`, `enabled` and `state`. Reading files again is no change.
    pub struct Systemd {
        /// Name of the unit; a name without a kind is a service.
        #[serde(alias = "service", alias = "unit")]
        pub name: Option<String>,
        /// `started`, `stopped`, `restarted` or `reloaded`.
        pub state: Option<State>,
        /// Whether it is started at boot.
        pub enabled: Option<Flag>,
        /// Whether it is masked, so that nothing can start it.
        pub masked: Option<Flag>,
        /// Make systemd read all unit files again first.
        #[serde(default, alias = "daemon-reload")]
        pub daemon_reload: Flag,
        /// Start systemd itself anew first.
        #[serde(default, alias = "daemon-reexec")]
        pub daemon_reexec: Flag,
        /// `system`, `user` or `global`.
        #[serde(default)]
        pub scope: Scope,
        /// Do not wait until the unit is started or stopped.
        #[serde(default)]
        pub no_block: Flag,
        /// Override links that exist.
        #[serde(default)]
        pub force: Flag,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Systemd = decode(arguments)?;
    let options = UnitOptions { scope: arguments.scope, no_block: arguments.no_block.0, force: arguments.force.0 };
    if arguments.daemon_reexec.0 {
        machine.reload_units(true, &options)?;
    }
    if arguments.daemon_reload.0 {
        machine.reload_units(false, &options)?;
    }
    let Some(name) = &arguments.name else {
        if arguments.state.is_some() || arguments.enabled.is_some() || arguments.masked.is_some() {
            return Err(ModuleError::argument("name", "it is required with `state`, `enabled` and `masked`"));
        }
        if !arguments.daemon_reload.0 && !arguments.daemon_reexec.0 {
            return Err(ModuleError::Failed(
                "one of the following is required: state, enabled, masked, daemon_reload, daemon_reexec".into(),
            ));
        }
        return Ok(Outcome::ok().with("name", Value::Null).with("status", Map::new()));
    };
    if let Some(letter) = name.chars().find(|letter| matches!(letter, '*' | '?' | '[')) {
        let why = format!("patterns are not taken, and `{letter}` in `{name}` makes it one");
        return Err(ModuleError::argument("name", why));
    }
    let wanted = Wanted {
        name,
        state: arguments.state,
        enabled: arguments.enabled.map(|f| f.0),
        masked: arguments.masked.map(|f| f.0),
        options,
    };
    manage(&wanted, machine, context)
}
