//! `dpkg_selections`: what dpkg is to do with a package: install it, hold it where it is, remove it.

use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::files::common::Step;
use crate::modules::programs::{failed, required};
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.builtin.dpkg_selections`
pub const DPKG_SELECTIONS: Module = Module {
    name: "ansible.builtin.dpkg_selections",
    aliases: &["dpkg_selections", "ansible.legacy.dpkg_selections"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: DpkgSelections::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What dpkg is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Install it, and newer ones.
    Install,
    /// Leave it at the version that it has.
    Hold,
    /// Remove it, all but its configuration.
    Deinstall,
    /// Remove it with its configuration.
    Purge,
}

impl Selection {
    fn word(self) -> &'static str {
        match self {
            Selection::Install => "install",
            Selection::Hold => "hold",
            Selection::Deinstall => "deinstall",
            Selection::Purge => "purge",
        }
    }
}

crate::arguments! {
    /// Says what dpkg is to do with a package: `hold` keeps it from being upgraded. Nothing is installed or removed by it.
    pub struct DpkgSelections {
        /// The package.
        pub name: Text,
        /// `install`, `hold`, `deinstall` or `purge`.
        pub selection: Selection,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: DpkgSelections = decode(arguments)?;
    let (name, wanted) = (arguments.name.0.as_str(), arguments.selection.word());
    let dpkg = required(machine, "dpkg", "dpkg")?;
    let about = Setting::new(Subject::new(Domain::Setting, format!("dpkg selection of {name}")), "value");
    let present = match machine.foreseen_setting(&about)? {
        Some(selection) => selection,
        None => present(machine, &dpkg, name, wanted)?,
    };
    machine.observe_setting(&about, &present);
    if present != wanted {
        let line = format!("{name} {wanted}\n").into_bytes();
        let command = Command { stdin: Some(line), ..Command::new([dpkg.as_str(), "--set-selections"]) };
        let sides = (Facet::Value(present.as_str().into()), Facet::Value(wanted.into()));
        if let Some(output) = machine.change_setting(&about, sides, wanted, std::slice::from_ref(&command))?
            && !output.success()
        {
            return Err(failed(&command, &output));
        }
    }
    Ok(Outcome::ok().with("before", present).with("after", wanted))
}

fn present(machine: &Machine, dpkg: &str, name: &str, wanted: &str) -> Step<String> {
    let environment = vec![("LC_ALL".to_string(), "C".to_string())];
    let command = Command { environment, ..Command::new([dpkg, "--get-selections", name]) };
    let output = machine.probe(&command)?;
    let said = output.stdout_text();
    if let Some(selection) = said.split_whitespace().nth(1) {
        return Ok(selection.to_string());
    }
    // In a check an earlier task may install it.
    if machine.predicted() && machine.dpkg_packages()?.get(name).is_some_and(|package| package.is_installed()) {
        return Ok("install".to_string());
    }
    if output.stderr_text().contains("no packages found matching") {
        let why = format!("Failed to find package '{name}' to perform selection '{wanted}'.");
        return Err(ModuleError::Failed(why));
    }
    match output.success() {
        true => Ok("not present".to_string()),
        false => Err(failed(&command, &output)),
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::{Machine, Mode};
    use crate::modules::Status;
    use crate::modules::testing::{TestController, run_on};
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_package_is_held() {
        let scratch = tempfile::tempdir().unwrap();
        let (program, log) = (scratch.path().join("dpkg"), scratch.path().join("log"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n'--get-selections held') echo 'held:amd64   hold';;\n'--get-selections x') echo 'x install';;\n\
             --get*) echo 'dpkg: no packages found matching y' >&2;;\n*) cat >> {};;\nesac\n",
            log.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (name, before, told) in [("held", "hold", ""), ("x", "install", "x hold\n")] {
            for mode in [Mode::Predicted, Mode::Live] {
                let mut machine = Machine::new(mode);
                machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", scratch.path().display()));
                let arguments = json!({"name": name, "selection": "hold"});
                let outcome = run_on(&mut machine, &mut TestController::default(), "dpkg_selections", &arguments);
                assert_eq!((outcome.status, outcome.changed()), (Status::Ok, !told.is_empty()), "{:?}", outcome.msg);
                assert_eq!((&outcome.data["before"], &outcome.data["after"]), (&json!(before), &json!("hold")));
                let written = std::fs::read_to_string(&log).unwrap_or_default();
                assert_eq!(written, if mode == Mode::Live { told } else { "" });
                if mode == Mode::Predicted {
                    let outcome = run_on(&mut machine, &mut TestController::default(), "dpkg_selections", &arguments);
                    assert!(!outcome.changed());
                }
            }
        }
        let mut machine = Machine::new(Mode::Live);
        machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", scratch.path().display()));
        let arguments = json!({"name": "y", "selection": "hold"});
        let outcome = run_on(&mut machine, &mut TestController::default(), "dpkg_selections", &arguments);
        assert_eq!(outcome.msg.as_deref(), Some("Failed to find package 'y' to perform selection 'hold'."));
    }
}
