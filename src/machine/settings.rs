//! What programs of the host keep and change for us: ufw, iptables, firewalld, debconf, SELinux, the time zone …
//!
//! Such a program is asked what is, told what should be, and the state before and after makes the change. A check
//! remembers what it would have been told, by the name of the setting.

use super::{Change, Command, Facet, Machine, MachineError, Mode, Output, Result, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a check foresees of settings.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Values by name; nothing where it depends on a task that may not run.
    values: BTreeMap<String, Option<String>>,
}

/// One setting that a program keeps.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is part of, and its name there.
    pub subject: Subject,
    /// The aspect that changes: `state`, `value`, `rules`.
    pub aspect: &'static str,
}

impl Setting {
    /// A setting.
    pub fn new(subject: Subject, aspect: &'static str) -> Self {
        Setting { subject, aspect }
    }

    fn key(&self) -> String {
        format!("{:?} {} {}", self.subject.domain, self.subject.name, self.aspect)
    }
}

impl Machine {
    /// What earlier tasks of this check would have made of a setting; nothing where they left it alone.
    pub fn foreseen_setting(&self, setting: &Setting) -> Result<Option<String>> {
        if !self.predicted() {
            return Ok(None);
        }
        match self.predictions.settings.values.get(&setting.key()) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value.clone())),
            Some(None) => Err(MachineError::unknown(format!(
                "the {} of {} depends on a task of which it is not known whether it will run",
                setting.aspect, setting.subject.name
            ))),
        }
    }

    /// Brings a setting from `before` to `after` by programs, one after the other, until one of them fails. Answers what the
    /// last one said; nothing in a check, which only remembers `value`.
    pub fn change_setting(
        &mut self,
        setting: &Setting,
        (before, after): (Facet, Facet),
        value: &str,
        steps: &[Command],
    ) -> Result<Option<Output>> {
        let mut last = None;
        if self.predicted() {
            self.foresee_setting(setting, value);
        } else {
            for (index, step) in steps.iter().enumerate() {
                let output = self.run_process(step)?;
                let failed = !output.success();
                last = Some(output);
                if failed {
                    if index > 0 {
                        let what = format!("{}: a later step failed", setting.aspect);
                        self.record(Change::effect(setting.subject.clone(), what, super::Undo::None));
                    }
                    return Ok(last);
                }
            }
        }
        self.record(Change::set(setting.subject.clone(), setting.aspect, before, after).lasting());
        Ok(last)
    }

    /// Remembers, in a check, what a setting would be: for a part of what one change is about.
    pub fn foresee_setting(&mut self, setting: &Setting, value: &str) {
        if self.predicted() {
            let value = (self.mode() == Mode::Predicted).then(|| value.to_string());
            self.predictions.settings.values.insert(setting.key(), value);
        }
    }

    /// Runs programs that find out themselves what there is to do, and records what is different after them, as `read`
    /// tells; `before` is what it told before. They end at the first that fails. In a check they are not run, and what is
    /// different is left open.
    pub fn change_and_compare(
        &mut self,
        setting: &Setting,
        before: &str,
        steps: &[Command],
        read: &dyn Fn(&Machine) -> Result<String>,
    ) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        let old = Facet::Text(before.to_string());
        if self.predicted() {
            let after = Facet::AtApply("what the program makes of it".to_string());
            self.record(Change::set(setting.subject.clone(), setting.aspect, old, after).lasting());
            return Ok(outputs);
        }
        for step in steps {
            let output = self.run_process(step)?;
            let failed = !output.success();
            outputs.push(output);
            if failed {
                break;
            }
        }
        let after = read(self)?;
        if before != after {
            self.record(Change::set(setting.subject.clone(), setting.aspect, old, Facet::Text(after)).lasting());
        }
        Ok(outputs)
    }

    /// Notes that a program did something which leaves no trace in what it tells.
    pub fn note_setting(&mut self, setting: &Setting, what: &str) {
        self.record(Change::effect(setting.subject.clone(), what, super::Undo::None));
    }

    /// Notes, in a check, what a program was asked about a setting: a plan is held against it.
    pub fn observe_setting(&self, setting: &Setting, state: &str) {
        self.observe(setting.subject.domain, &format!("{} {}", setting.subject.name, setting.aspect), state);
    }

    /// The full path of a program, where the host has it.
    pub fn program(&self, name: &str) -> Option<String> {
        super::process::find_program(name, &super::process::search_path(&self.environment))
    }

    /// Whether a program is only there after earlier tasks of this check: they would install it.
    pub fn foresees_program(&self, name: &str) -> bool {
        self.predicted()
            && self.program(name).is_none()
            && ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .iter()
                .any(|directory| self.exists(format!("{directory}/{name}")).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Domain;

    fn setting() -> Setting {
        Setting::new(Subject::new(Domain::Setting, "test: one"), "value")
    }

    fn sides() -> (Facet, Facet) {
        (Facet::Value("a".into()), Facet::Value("b".into()))
    }

    #[test]
    fn a_check_remembers_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made");
        let step = Command::new(["touch", made.to_str().unwrap()]);
        let mut machine = Machine::new(Mode::Predicted);
        assert!(machine.change_setting(&setting(), sides(), "b", std::slice::from_ref(&step)).unwrap().is_none());
        assert_eq!(machine.foreseen_setting(&setting()).unwrap().as_deref(), Some("b"));
        assert!(!made.exists());
        assert_eq!(machine.take_changes().len(), 1);
        assert!(
            machine
                .change_and_compare(&setting(), "", std::slice::from_ref(&step), &|_| Ok(String::new()))
                .unwrap()
                .is_empty()
        );
        assert!(!made.exists());

        let mut machine = Machine::new(Mode::Live);
        machine.change_setting(&setting(), sides(), "b", &[step]).unwrap();
        assert!(made.exists());
        assert_eq!(machine.foreseen_setting(&setting()).unwrap(), None);
    }

    #[test]
    fn a_task_that_may_not_run_makes_it_unknown() {
        let mut machine = Machine::new(Mode::Tainted);
        machine.change_setting(&setting(), sides(), "b", &[]).unwrap();
        machine.set_mode(Mode::Predicted);
        assert!(matches!(machine.foreseen_setting(&setting()), Err(MachineError::Unknown { .. })));
    }

    #[test]
    fn what_failed_changed_nothing_and_only_differences_are_changes() {
        let mut machine = Machine::new(Mode::Live);
        let said = machine.change_setting(&setting(), sides(), "b", &[Command::new(["false"])]).unwrap();
        assert_eq!(said.unwrap().rc, 1);
        assert!(machine.take_changes().is_empty());
        // The first step has done something that nobody knows of.
        let steps = [Command::new(["true"]), Command::new(["false"])];
        machine.change_setting(&setting(), sides(), "b", &steps).unwrap();
        assert_eq!(machine.take_changes().len(), 1);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x").to_str().unwrap().to_string();
        let read = |_: &Machine| Ok(std::fs::read_to_string(&path).unwrap_or_default());
        let write = [Command::new(["sh", "-c", &format!("echo x > {path}")]), Command::new(["false"])];
        let said = machine.change_and_compare(&setting(), "", &write, &read).unwrap();
        assert_eq!((said.len(), machine.take_changes().len()), (2, 1));
        machine.change_and_compare(&setting(), "x\n", &write, &read).unwrap();
        assert!(machine.take_changes().is_empty());
    }
}
