//! What a check foresees of units: those that packages or files bring, and what tasks would do to them.

use super::Unit;
use crate::machine::{Machine, MachineError, Mode, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Units as they would be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Units {
    units: BTreeMap<String, Foreseen>,
}

/// What is foreseen about one unit; nothing said means as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Foreseen {
    exists: Option<bool>,
    active: Option<bool>,
    enabled: Option<bool>,
    masked: Option<bool>,
    /// A task that may or may not run would change it.
    unknown: bool,
}

/// Where unit files are, first found first used.
const UNIT_PATHS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

impl Machine {
    /// A unit with what is foreseen laid over it.
    pub(super) fn foreseen_unit(&self, mut unit: Unit) -> Result<Unit> {
        if !self.predicted() {
            return Ok(unit);
        }
        let file = self.foreseen_unit_file(&unit.name)?;
        if let Some((name, _)) = &file
            && !unit.exists()
        {
            unit.name = name.clone(); // an alias is the unit that it names
        }
        let foreseen = self.predictions.units.units.get(&unit.name);
        if foreseen.is_some_and(|f| f.unknown) {
            return Err(MachineError::unknown(format!(
                "the state of {} depends on an earlier task of which it is not known whether it runs",
                unit.name
            )));
        }
        if !unit.exists() && (foreseen.is_some_and(|f| f.exists == Some(true)) || file.is_some()) {
            unit.load = "loaded".into();
            unit.active = "inactive".into();
            // Without [Install] there is nothing to enable.
            let fixed = file.is_some_and(|(_, text)| text.is_some_and(|t| !t.lines().any(|l| l.trim() == "[Install]")));
            unit.file_state = if fixed { "static".into() } else { "disabled".into() };
            unit.predicted = true;
        }
        let Some(foreseen) = foreseen else {
            return Ok(unit);
        };
        unit.predicted = true;
        if foreseen.exists == Some(false) {
            unit.load = "not-found".into();
            unit.active = "inactive".into();
            unit.file_state = String::new();
        }
        if let Some(active) = foreseen.active {
            unit.active = if active { "active".into() } else { "inactive".into() };
        }
        match foreseen.enabled {
            Some(true) => unit.file_state = "enabled".into(),
            Some(false) if unit.file_state != "static" => unit.file_state = "disabled".into(),
            _ => {}
        }
        match foreseen.masked {
            Some(true) => {
                unit.load = "masked".into();
                unit.file_state = "masked".into();
            }
            Some(false) if unit.is_masked() => {
                unit.load = "loaded".into();
                unit.file_state = "disabled".into();
            }
            _ => {}
        }
        for (key, value) in
            [("LoadState", &unit.load), ("ActiveState", &unit.active), ("UnitFileState", &unit.file_state)]
        {
            unit.properties.insert(key.into(), value.clone());
        }
        Ok(unit)
    }

    /// The file that defines a unit, as earlier tasks would have left it: the unit's real name and the file's text,
    /// where that is known.
    fn foreseen_unit_file(&self, name: &str) -> Result<Option<(String, Option<String>)>> {
        let mut name = name.to_string();
        for _ in 0..4 {
            // An instance is defined by its template.
            let template = name.split_once('@').map(|(stem, rest)| {
                format!("{stem}@{}", rest.rsplit_once('.').map_or(String::new(), |(_, kind)| format!(".{kind}")))
            });
            let mut found = None;
            for candidate in std::iter::once(name.clone()).chain(template) {
                for directory in UNIT_PATHS {
                    let path = format!("{directory}/{candidate}");
                    if found.is_none() && self.lstat(&path)?.is_some() {
                        found = Some(path);
                    }
                }
            }
            let Some(path) = found else {
                return Ok(None);
            };
            if self.lstat(&path)?.is_some_and(|s| s.is_link()) {
                let target = self.read_link(&path)?;
                let target = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                if target != "null" && target.contains('.') && target != name && !target.contains("@.") {
                    name = target;
                    continue;
                }
            }
            let text = match self.read_file(&path, 1 << 20) {
                Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                Err(_) => None,
            };
            return Ok(Some((name, text)));
        }
        Ok(None)
    }

    /// Names of services about which something is foreseen.
    pub(super) fn foreseen_services(&self) -> Vec<String> {
        let units = &self.predictions.units.units;
        let named = |(name, foreseen): (&String, &Foreseen)| {
            (name.ends_with(".service") && !name.contains("@.") && foreseen.exists != Some(false)).then(|| name.clone())
        };
        if self.predicted() { units.iter().filter_map(named).collect() } else { Vec::new() }
    }

    fn foreseen_mut(&mut self, name: &str) -> &mut Foreseen {
        let tainted = self.mode() == Mode::Tainted;
        let foreseen = self.predictions.units.units.entry(name.to_string()).or_default();
        foreseen.unknown |= tainted;
        foreseen
    }

    pub(super) fn foresee_activity(&mut self, unit: &Unit, active: bool) -> Result<()> {
        // What runs once has run by the time that its start is over.
        let active = active && !self.runs_once(unit)?;
        self.foreseen_mut(&unit.name).active = Some(active);
        Ok(())
    }

    /// Whether a service ends by itself and is not counted as active from then on.
    fn runs_once(&self, unit: &Unit) -> Result<bool> {
        let property = |name: &str| unit.properties.get(name).map(String::as_str);
        if let (Some(kind), Some(remains)) = (property("Type"), property("RemainAfterExit"))
            && !unit.predicted
        {
            return Ok(kind == "oneshot" && remains != "yes");
        }
        let Some((_, Some(text))) = self.foreseen_unit_file(&unit.name)? else { return Ok(false) };
        let last = |name: &str| {
            let mut values =
                text.lines().filter_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='));
            values.next_back().map(str::trim)
        };
        let yes = |word: &str| matches!(word.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1");
        Ok(last("Type") == Some("oneshot") && !last("RemainAfterExit").is_some_and(yes))
    }

    pub(super) fn foresee_enabled(&mut self, unit: &Unit, enabled: bool) {
        self.foreseen_mut(&unit.name).enabled = Some(enabled);
    }

    pub(super) fn foresee_masked(&mut self, unit: &Unit, masked: bool) {
        self.foreseen_mut(&unit.name).masked = Some(masked);
    }

    /// A package brings a unit; what is not known of its state stays as it is (inactive and disabled when new).
    pub(crate) fn foresee_unit(&mut self, name: &str, active: Option<bool>, enabled: Option<bool>) {
        let foreseen = self.foreseen_mut(name);
        foreseen.exists = Some(true);
        foreseen.active = active.or(foreseen.active);
        foreseen.enabled = enabled.or(foreseen.enabled);
    }

    /// The removal of a package takes a unit away.
    pub(crate) fn foresee_unit_gone(&mut self, name: &str) {
        let foreseen = self.foreseen_mut(name);
        *foreseen =
            Foreseen { exists: Some(false), active: Some(false), unknown: foreseen.unknown, ..Foreseen::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::files::{Attributes, Foreseen};

    #[test]
    fn a_package_brings_a_unit_and_tasks_change_it() {
        let mut machine = Machine::new(Mode::Predicted);
        let missing = Unit { name: "mariadb.service".into(), load: "not-found".into(), ..Unit::default() };
        assert!(!machine.foreseen_unit(missing.clone()).unwrap().exists());
        machine.foresee_unit("mariadb.service", Some(true), Some(true));
        let unit = machine.foreseen_unit(missing.clone()).unwrap();
        assert!(unit.exists() && unit.is_running() && unit.is_enabled() && unit.predicted);
        machine.act_on_unit(&unit, super::super::UnitAction::Stop, &Default::default(), &mut |_| {}).unwrap();
        assert!(!machine.foreseen_unit(missing).unwrap().is_running());
        let changes = machine.take_changes();
        assert_eq!(changes.len(), 1);
        assert!(changes[0].inferred);
    }

    #[test]
    fn a_masked_unit_is_neither_enabled_nor_started() {
        let mut machine = Machine::new(Mode::Predicted);
        for state in ["masked", "masked-runtime"] {
            let unit =
                Unit { name: "a.service".into(), load: "masked".into(), file_state: state.into(), ..Unit::default() };
            assert!(machine.set_unit_enabled(&unit, true, &Default::default()).is_err(), "{state}");
            assert!(!machine.set_unit_enabled(&unit, false, &Default::default()).unwrap(), "{state}");
            let start = super::super::UnitAction::Start;
            assert!(machine.act_on_unit(&unit, start, &Default::default(), &mut |_| {}).is_err(), "{state}");
        }
    }

    #[test]
    fn what_runs_once_does_not_run_afterwards() {
        for (text, runs) in [
            ("[Service]\nType=oneshot\nExecStart=/bin/true\n", false),
            ("[Service]\nType = oneshot\nRemainAfterExit=yes\n", true),
            ("[Service]\nType=simple\n", true),
            ("[Service]\nExecStart=/bin/sleep 9\n", true),
        ] {
            let mut machine = Machine::new(Mode::Predicted);
            let file = Foreseen::File { contents: Some(text.into()), attributes: Attributes::default() };
            machine.foresee_file("/etc/systemd/system/job-of-a-test.service", file).unwrap();
            let missing = Unit { name: "job-of-a-test.service".into(), load: "not-found".into(), ..Unit::default() };
            let unit = machine.foreseen_unit(missing.clone()).unwrap();
            machine.act_on_unit(&unit, super::super::UnitAction::Start, &Default::default(), &mut |_| {}).unwrap();
            assert_eq!(machine.foreseen_unit(missing).unwrap().is_running(), runs, "{text}");
            assert_eq!(machine.take_changes().len(), 1);
        }
    }

    #[test]
    fn a_unit_file_that_would_be_written_is_a_unit_and_an_alias_is_its_target() {
        let mut machine = Machine::new(Mode::Predicted);
        let file = |text: &str| Foreseen::File { contents: Some(text.into()), attributes: Attributes::default() };
        machine.foresee_file("/etc/systemd/system/plain.service", file("[Service]\n[Install]\n")).unwrap();
        machine.foresee_file("/etc/systemd/system/static.service", file("[Service]\n")).unwrap();
        machine.foresee_file("/etc/systemd/system/many@.service", file("[Install]\n")).unwrap();
        machine.foresee_file("/etc/systemd/system/alias.service", Foreseen::Link("plain.service".into())).unwrap();
        let unit = |machine: &Machine, name: &str| {
            machine.foreseen_unit(Unit { name: name.into(), load: "not-found".into(), ..Unit::default() }).unwrap()
        };
        assert_eq!(unit(&machine, "plain.service").file_state, "disabled");
        assert!(unit(&machine, "static.service").is_enabled());
        assert!(unit(&machine, "many@one.service").exists());
        assert!(!unit(&machine, "other.service").exists());
        let plain = unit(&machine, "plain.service");
        machine.act_on_unit(&plain, super::super::UnitAction::Start, &Default::default(), &mut |_| {}).unwrap();
        assert!(unit(&machine, "alias.service").is_running());
        machine.set_mode(Mode::Tainted);
        machine.set_unit_enabled(&plain, true, &Default::default()).unwrap();
        let error = machine.foreseen_unit(Unit { name: "plain.service".into(), ..Unit::default() }).unwrap_err();
        assert!(matches!(error, MachineError::Unknown { .. }));
    }
}
