//! `seboolean`: a switch of SELinux's policy.

use super::selinux_config::value_of;
use super::semanage::{Semanage, demand_enabled, failed, foreseen, setting};
use crate::machine::{Command, Facet, Machine, SelinuxMode};
use crate::modules::files::common::Step;
use crate::modules::programs::{failed as program_failed, required};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.posix.seboolean`
pub const SEBOOLEAN: Module = Module {
    name: "ansible.posix.seboolean",
    aliases: &["seboolean"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Seboolean::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Sets a boolean of SELinux's policy until the next start, or for good.
    ///
    /// For good it is done by `semanage` (package policycoreutils-python-utils), which sets it at once, too; until the next
    /// start by `setsebool`.
    ///
    /// Unverified: a kernel that has SELinux. `persistent` was tried, with `ignore_selinux_state`, on hosts whose kernel has
    /// none.
    pub struct Seboolean {
        /// Its name: `httpd_can_network_connect`.
        pub name: Text,
        /// Whether it is on.
        pub state: Flag,
        /// For good.
        #[serde(default)]
        pub persistent: Flag,
        /// Change the policy also where the kernel has no SELinux; without `persistent` nothing is done there.
        #[serde(default)]
        pub ignore_selinux_state: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Seboolean = decode(arguments)?;
    demand_enabled(machine, arguments.ignore_selinux_state.0)?;
    let name = renamed(machine, &arguments.name)?;
    if arguments.persistent.0 {
        keep(machine, &name, arguments.state.0)?;
    } else if machine.selinux_mode() != SelinuxMode::Disabled {
        set(machine, &name, arguments.state.0)?;
    }
    let outcome = Outcome::ok().with("name", arguments.name.0).with("persistent", arguments.persistent.0);
    Ok(outcome.with("state", arguments.state.0))
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// For good; where there is a kernel with SELinux, at once, too.
fn keep(machine: &mut Machine, name: &str, wanted: bool) -> Step<()> {
    // As Ansible: the policy is not loaded anew for it, the running one is switched besides.
    let semanage = Semanage::find(machine, true, false)?;
    let about = setting(format_args!("boolean {name}"), "persistent value");
    let present = match foreseen(machine, &about)?.flatten() {
        Some(value) => value == "on",
        None => persistent(&semanage.list(machine, "boolean", false)?, name)
            .ok_or_else(|| failed(format!("SELinux boolean {name} is not defined in persistent policy")))?,
    };
    machine.observe_setting(&about, word(present));
    if present != wanted {
        let switch = if wanted { "--on" } else { "--off" };
        let sides = (Some(word(present)), Some(word(wanted)));
        semanage.change(machine, &about, sides, &["boolean", "-m", switch, name])?;
        machine.foresee_setting(&running(name), word(wanted));
    }
    Ok(())
}

fn running(name: &str) -> crate::machine::settings::Setting {
    setting(format_args!("boolean {name}"), "value")
}

/// Until the next start.
fn set(machine: &mut Machine, name: &str, wanted: bool) -> Step<()> {
    let about = running(name);
    let present = match foreseen(machine, &about)?.flatten() {
        Some(value) => value == "on",
        None => machine
            .selinux_boolean(name)
            .ok_or_else(|| failed(format!("Failed to determine current state for boolean {name}")))?,
    };
    machine.observe_setting(&about, word(present));
    if present == wanted {
        return Ok(());
    }
    let setsebool = required(machine, "setsebool", "policycoreutils")?;
    let command = Command::new([setsebool.as_str(), name, if wanted { "1" } else { "0" }]);
    let sides = (Facet::Value(word(present).into()), Facet::Value(word(wanted).into()));
    match machine.change_setting(&about, sides, word(wanted), std::slice::from_ref(&command))? {
        Some(output) if !output.success() => Err(program_failed(&command, &output)),
        _ => Ok(()),
    }
}

/// A policy may have given a boolean another name; then the old one still means it.
fn renamed(machine: &Machine, name: &str) -> Step<String> {
    let config = machine.read_file_if_exists(super::selinux_config::FILE, 1 << 20)?.unwrap_or_default();
    let policy = value_of(&String::from_utf8_lossy(&config), "SELINUXTYPE").unwrap_or_else(|| "targeted".into());
    let path = format!("/etc/selinux/{policy}/booleans.subs_dist");
    let names = machine.read_file_if_exists(path, 1 << 20)?.unwrap_or_default();
    Ok(new_name(&String::from_utf8_lossy(&names), name))
}

/// `old new`
fn new_name(names: &str, name: &str) -> String {
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next().map(str::to_string)).flatten()
    };
    names.lines().find_map(pair).unwrap_or_else(|| name.to_string())
}

/// What is kept of a boolean: `mysql_connect_any   (on   ,  off)  Allow mysql to connect any`, where the first is what is in
/// force.
fn persistent(listing: &str, name: &str) -> Option<bool> {
    let values = listing.lines().find_map(|line| {
        let (found, rest) = line.split_once('(')?;
        (found.trim() == name).then(|| rest.split_once(')')).flatten()
    })?;
    match values.0.split_once(',')?.1.trim() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::Status;
    use crate::modules::selinux::semanage::fake;
    use crate::modules::testing::{TestController, run_on};
    use serde_json::json;

    const LISTINGS: &str = "'boolean -l') printf '%s\\n' 'SELinux boolean  State  Default Description' '' \
        'my_connect  (on   ,  off)  Allow (my) to connect' 'ftp_home (off,on) x';;";

    #[test]
    fn names_and_values() {
        for (name, expected) in [("a", "b"), ("b", "b"), ("c", "c")] {
            assert_eq!(new_name("# old new\na b\nc\n", name), expected);
        }
        let listing =
            "SELinux boolean State Default Description\n\nx  (on   ,  off)  text (on, on)\ny (off  ,   on) z\n";
        for (name, expected) in [("x", Some(false)), ("y", Some(true)), ("z", None), ("", None)] {
            assert_eq!(persistent(listing, name), expected, "{name}");
        }
    }

    #[test]
    fn for_good() {
        let directory = tempfile::tempdir().unwrap();
        for (name, state, told) in [
            ("my_connect", "yes", &["boolean -N -m --on my_connect"][..]),
            ("my_connect", "no", &[]),
            ("ftp_home", "no", &["boolean -N -m --off ftp_home"]),
        ] {
            let arguments = json!({"name": name, "state": state, "persistent": true, "ignore_selinux_state": true});
            for mode in [Mode::Predicted, Mode::Live] {
                let mut machine = fake::machine(mode, directory.path(), LISTINGS);
                let outcome = run_on(&mut machine, &mut TestController::default(), "seboolean", &arguments);
                assert_eq!(outcome.status, Status::Ok, "{arguments}: {:?}", outcome.msg);
                assert_eq!(outcome.changes.len(), told.len(), "{arguments}");
                let expected: &[&str] = if mode == Mode::Live { told } else { &[] };
                assert_eq!(fake::told(directory.path()), expected, "{arguments}");
            }
        }
        let arguments = json!({"name": "none", "state": 1, "persistent": 1, "ignore_selinux_state": 1});
        let mut machine = fake::machine(Mode::Predicted, directory.path(), LISTINGS);
        let outcome = run_on(&mut machine, &mut TestController::default(), "seboolean", &arguments);
        assert_eq!(outcome.msg.as_deref(), Some("SELinux boolean none is not defined in persistent policy"));
    }
}
