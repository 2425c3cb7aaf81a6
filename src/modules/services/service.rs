//! `service`: starts, stops and enables services.

use super::manage::{State, Wanted, manage};
use crate::machine::Machine;
use crate::machine::units::UnitOptions;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.service`
pub const SERVICE: Module = Module {
    name: "ansible.builtin.service",
    aliases: &["service", "ansible.legacy.service"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Service::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Starts, stops, restarts, reloads, enables or disables a service.
    ///
    /// The service manager must be systemd. A service that already is as wanted is left alone; a restart is shown
    /// with its process ids. In a check, services that earlier tasks would install are known.
    pub struct Service {
        /// Name of the service, with or without `.service`.
        pub name: Option<String>,
        /// `started`, `stopped`, `restarted` or `reloaded`.
        pub state: Option<State>,
        /// Whether it is started at boot.
        pub enabled: Option<Flag>,
        /// Further words for an init script; systemd has no use for them.
        #[serde(alias = "args")]
        pub arguments: Option<Text>,
        /// A pattern of processes for init scripts without `status`; systemd has no use for it.
        pub pattern: Option<Text>,
        /// A runlevel of OpenRC; systemd has no use for it.
        pub runlevel: Option<Text>,
        /// Seconds between stop and start of an init script; systemd has no use for it.
        pub sleep: Option<Int>,
        /// The service manager: `auto` or `systemd`.
        #[serde(rename = "use")]
        pub manager: Option<Text>,
    }
}

fn run(
    mut arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let (own, systemd) = (Service::ARGUMENTS.names(), super::systemd::SYSTEMD);
    if arguments.keys().any(|name| !own.contains(name) && systemd.arguments.names().contains(name)) {
        for unused in ["use", "arguments", "args", "pattern", "runlevel", "sleep"] {
            arguments.shift_remove(unused);
        }
        let run = systemd.run.ok_or_else(|| ModuleError::Failed("systemd cannot be asked from here".into()))?;
        return run(arguments, machine, context);
    }
    let arguments: Service = decode(arguments)?;
    if let Some(manager) = &arguments.manager
        && !matches!(manager.0.as_str(), "auto" | "systemd")
    {
        return Err(ModuleError::argument("use", format!("`{}` is not supported: write auto or systemd", manager.0)));
    }
    if arguments.state.is_none() && arguments.enabled.is_none() {
        return Err(ModuleError::Failed("one of the following is required: state, enabled".into()));
    }
    let name = arguments.name.as_ref().ok_or_else(|| ModuleError::argument("name", "it is required"))?;
    let wanted = Wanted {
        name,
        state: arguments.state,
        enabled: arguments.enabled.map(|f| f.0),
        masked: None,
        options: UnitOptions::default(),
    };
    manage(&wanted, machine, context)
}
