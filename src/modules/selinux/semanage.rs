//! `semanage`, as one task uses it: what it lists, and what it is told. It works on the store of the policy, with and without
//! a kernel that has SELinux.

use crate::machine::Domain;
use crate::machine::settings::Setting;
use crate::machine::{Command, Facet, Machine, SelinuxMode, Subject};
use crate::modules::files::common::Step;
use crate::modules::programs::required;
use crate::modules::{ModuleError, Outcome};

/// Of which package it is.
const PACKAGE: &str = "policycoreutils-python-utils";

/// The program, and whether it has the kernel load what it changed.
pub struct Semanage {
    program: String,
    reload: bool,
}

impl Semanage {
    /// The program; an error where the host has none, or does not run SELinux and the task asks for that.
    pub fn find(machine: &Machine, ignore_state: bool, reload: bool) -> Step<Semanage> {
        demand_enabled(machine, ignore_state)?;
        Ok(Semanage { program: required(machine, "semanage", PACKAGE)?, reload })
    }

    fn command(&self, words: &[&str]) -> Command {
        // In English, to be understood.
        let environment = vec![("LC_ALL".to_string(), "C".to_string())];
        let argv = std::iter::once(self.program.as_str()).chain(words.iter().copied());
        Command { environment, ..Command::new(argv) }
    }

    /// What there is of a kind (`port`, `fcontext`, `boolean`): all, or what was added on this host.
    pub fn list(&self, machine: &Machine, kind: &str, local: bool) -> Step<String> {
        let mut words = vec![kind, "-l"];
        words.extend(local.then_some("-C"));
        let command = self.command(&words);
        let output = machine.probe(&command)?;
        match output.success() {
            true => Ok(output.stdout_text()),
            false => Err(refused(&output.stderr_text(), output.rc)),
        }
    }

    /// Has it change one thing, which goes from one side to the other.
    pub fn change(
        &self,
        machine: &mut Machine,
        about: &Setting,
        (before, after): (Option<&str>, Option<&str>),
        words: &[&str],
    ) -> Step<()> {
        let side = |value: Option<&str>| value.map_or(Facet::Absent, |value| Facet::Value(value.into()));
        let mut all = words.to_vec();
        if let Some(at) = (!self.reload).then_some(1) {
            all.insert(at.min(all.len()), "-N");
        }
        let step = self.command(&all);
        let foreseen = after.unwrap_or(GONE);
        match machine.change_setting(about, (side(before), side(after)), foreseen, std::slice::from_ref(&step))? {
            Some(output) if !output.success() => Err(refused(&output.stderr_text(), output.rc)),
            _ => Ok(()),
        }
    }
}

/// What a check remembers of something that an earlier task would take away.
const GONE: &str = "";

/// What an earlier task of a check would have made of something; nothing where it left it alone.
pub fn foreseen(machine: &Machine, about: &Setting) -> Step<Option<Option<String>>> {
    Ok(machine.foreseen_setting(about)?.map(|value| (value != GONE).then_some(value)))
}

/// A part of SELinux that a change is about.
pub fn setting(name: impl std::fmt::Display, aspect: &'static str) -> Setting {
    Setting::new(Subject::new(Domain::Setting, format!("selinux {name}")), aspect)
}

/// Fails where the kernel has no SELinux, unless the task does not mind.
pub fn demand_enabled(machine: &Machine, ignore_state: bool) -> Step<()> {
    if ignore_state || machine.selinux_mode() != SelinuxMode::Disabled {
        return Ok(());
    }
    Err(failed("SELinux is disabled on this host."))
}

/// The module failed, with this sentence.
pub fn failed(why: impl Into<String>) -> ModuleError {
    ModuleError::Failed(why.into())
}

/// What semanage says last is what went wrong: `ValueError: Type x_t is invalid, must be a port type`. Before it its library
/// tells more.
fn refused(stderr: &str, rc: i32) -> ModuleError {
    let last = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let msg = last.map_or_else(|| format!("semanage ended with status {rc}"), str::to_string);
    let outcome = Outcome::failed(msg).with("rc", rc).with("stderr", stderr);
    ModuleError::Ended(Box::new(outcome))
}

/// What tests of this family share: a `semanage` that prints what it is given to print, and writes down what it is told.
#[cfg(test)]
pub mod fake {
    use crate::machine::{Machine, Mode};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Puts the program into a directory, which a machine then finds first. `listings` are lines of a shell's `case`.
    pub fn machine(mode: Mode, directory: &Path, listings: &str) -> Machine {
        let script =
            format!("#!/bin/sh\ncase \"$*\" in\n{listings}\n*) echo \"$*\" >> {}/log;;\nesac\n", directory.display());
        let program = directory.join("semanage");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut machine = Machine::new(mode);
        machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", directory.display()));
        machine
    }

    /// What it was told, and forgets it.
    pub fn told(directory: &Path) -> Vec<String> {
        let path = directory.join("log");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        text.lines().map(str::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn its_last_word_is_the_reason() {
        for (stderr, expected) in [
            ("libsemanage: x\nValueError: Invalid Port\n", "ValueError: Invalid Port"),
            ("", "semanage ended with status 1"),
        ] {
            assert_eq!(refused(stderr, 1).to_string(), expected);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut machine = Machine::new(Mode::Live);
        if machine.selinux_mode() == SelinuxMode::Disabled {
            let error = Semanage::find(&machine, false, true).err().unwrap().to_string();
            assert_eq!(error, "SELinux is disabled on this host.");
        }
        if !machine.has_program("semanage") {
            machine.environment.insert("PATH".into(), "/nowhere".into());
            let error = Semanage::find(&machine, true, true).err().unwrap().to_string();
            assert!(error.contains(PACKAGE), "{error}");
        }
    }

    #[test]
    fn it_is_told_not_to_load() {
        let directory = tempfile::tempdir().unwrap();
        let mut machine =
            fake::machine(Mode::Live, directory.path(), "port\\ -l) echo listed;;\nx\\ -l\\ -C) exit 3;;");
        for (reload, expected) in [(true, "port -d 1"), (false, "port -N -d 1")] {
            let semanage = Semanage::find(&machine, true, reload).unwrap();
            assert_eq!(semanage.list(&machine, "port", false).unwrap(), "listed\n");
            assert!(semanage.list(&machine, "x", true).is_err());
            let about = setting("port 1", "state");
            semanage.change(&mut machine, &about, (Some("a"), None), &["port", "-d", "1"]).unwrap();
            assert_eq!(fake::told(directory.path()), [expected]);
            assert_eq!(machine.take_changes().len(), 1);
        }
    }
}
