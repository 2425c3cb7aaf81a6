//! `service`: starts, stops and enables services.

use super::manage::State;
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach};
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

/// What systemd has no use for.
const UNUSED: [&str; 5] = ["arguments", "args", "pattern", "runlevel", "sleep"];

/// Hands on to `systemd`, as Ansible does where it is the host's manager: what that module takes can be written here, too.
fn run(
    mut arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let manager: Option<Text> = serde_json::from_value(arguments.shift_remove("use").unwrap_or_default())
        .map_err(|error| ModuleError::argument("use", error.to_string()))?;
    if let Some(manager) = manager.filter(|manager| !matches!(manager.0.as_str(), "auto" | "systemd")) {
        return Err(ModuleError::argument("use", format!("`{}` is not supported: write auto or systemd", manager.0)));
    }
    for unused in UNUSED {
        arguments.shift_remove(unused);
    }
    let run = super::systemd::SYSTEMD.run;
    run.ok_or_else(|| ModuleError::Failed("systemd cannot be asked from here".into()))?(arguments, machine, context)
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn another_manager_is_refused_whatever_else_is_said() {
        for arguments in [
            json!({"name": "x", "state": "started", "use": "openrc"}),
            json!({"name": "x", "state": "started", "daemon_reload": true, "use": "openrc"}),
            json!({"daemon_reload": true, "use": "sysvinit", "sleep": 3}),
        ] {
            let outcome = check("service", &arguments);
            assert_eq!(outcome.status, Status::Failed, "{arguments}");
            assert!(outcome.msg.as_ref().is_some_and(|msg| msg.contains("`use`")), "{arguments}: {outcome:?}");
        }
    }

    #[test]
    fn what_systemd_takes_is_taken_and_nothing_else() {
        for (arguments, said) in [
            (json!({"name": "x", "scope": "world"}), "`world`"),
            (json!({"name": "x", "nonsense": 1}), "nonsense"),
            (json!({"name": "x*", "state": "started", "use": "auto", "sleep": "none", "pattern": "y"}), "patterns"),
        ] {
            let outcome = check("service", &arguments);
            assert_eq!(outcome.status, Status::Failed, "{arguments}");
            assert!(outcome.msg.as_ref().is_some_and(|msg| msg.contains(said)), "{arguments}: {outcome:?}");
        }
    }
}
