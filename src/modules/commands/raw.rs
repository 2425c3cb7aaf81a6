//! `raw`: runs text in a shell, with nothing around it.

use super::run;
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.raw`
pub const RAW: Module = Module {
    name: "ansible.builtin.raw",
    aliases: &["raw", "ansible.legacy.raw"],
    reach: Reach::World,
    free_form: FreeForm::Raw,
    arguments: Raw::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Runs text in the host's shell.
    ///
    /// With Ansible this is how a host without Python is reached. Here no host needs Python, so it is `shell`
    /// without `creates` and `chdir`. In a check it is not run and its task is unknown, unless the task says that
    /// it only reads.
    pub struct Raw {
        /// The text.
        #[serde(rename = "_raw_params")]
        pub raw: Text,
        /// Path of the shell.
        pub executable: Option<String>,
        /// Set by the engine for tasks that are declared to change nothing.
        #[serde(default, rename = "_probe")]
        pub probe: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Raw = decode(arguments)?;
    let shell = arguments.executable.unwrap_or_else(|| "/bin/sh".into());
    let wanted = run::Wanted {
        shown: Value::from(arguments.raw.0.clone()),
        argv: vec![shell, "-c".into(), arguments.raw.0],
        probe: arguments.probe.0,
        ..run::Wanted::default()
    };
    let mut outcome = run::run(&wanted, machine)?;
    // Ansible's raw tells these only.
    outcome
        .data
        .retain(|name, _| matches!(name.as_str(), "rc" | "stdout" | "stderr" | "stdout_lines" | "stderr_lines"));
    Ok(outcome)
}
