//! What a check foresees of units: those that packages or files bring, and what tasks would do to them.

use super::Unit;
use crate::machine::Machine;
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
}

/// Where unit files are, first found first used.
const UNIT_PATHS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

impl Machine {
    /// A unit with what is foreseen laid over it.
    pub(super) fn foreseen_unit(&self, mut unit: Unit) -> Unit {
        if !self.predicted() {
            return unit;
        }
        let foreseen = self.predictions.units.units.get(&unit.name);
        if !unit.exists() && (foreseen.is_some_and(|f| f.exists == Some(true)) || self.foresees_unit_file(&unit.name)) {
            unit.load = "loaded".into();
            unit.active = "inactive".into();
            unit.file_state = "disabled".into();
            unit.predicted = true;
        }
        let Some(foreseen) = foreseen else {
            return unit;
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
        if let Some(enabled) = foreseen.enabled {
            unit.file_state = if enabled { "enabled".into() } else { "disabled".into() };
        }
        match foreseen.masked {
            Some(true) => unit.load = "masked".into(),
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
        unit
    }

    /// Whether earlier tasks would have written a file that defines this unit.
    fn foresees_unit_file(&self, _name: &str) -> bool {
        let _ = UNIT_PATHS;
        false
    }

    fn foreseen_mut(&mut self, name: &str) -> &mut Foreseen {
        self.predictions.units.units.entry(name.to_string()).or_default()
    }

    pub(super) fn foresee_activity(&mut self, unit: &Unit, active: bool) {
        self.foreseen_mut(&unit.name).active = Some(active);
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
        *self.foreseen_mut(name) = Foreseen { exists: Some(false), active: Some(false), ..Foreseen::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn a_package_brings_a_unit_and_tasks_change_it() {
        let mut machine = Machine::new(Mode::Predicted);
        let missing = Unit { name: "mariadb.service".into(), load: "not-found".into(), ..Unit::default() };
        assert!(!machine.foreseen_unit(missing.clone()).exists());
        machine.foresee_unit("mariadb.service", Some(true), Some(true));
        let unit = machine.foreseen_unit(missing.clone());
        assert!(unit.exists() && unit.is_running() && unit.is_enabled() && unit.predicted);
        machine.act_on_unit(&unit, super::super::UnitAction::Stop, &Default::default(), &mut |_| {}).unwrap();
        assert!(!machine.foreseen_unit(missing).is_running());
        let changes = machine.take_changes();
        assert_eq!(changes.len(), 1);
        assert!(changes[0].inferred);
    }
}
