//! Services and other systemd units: what they are, and starting, stopping, enabling and masking them.

mod prediction;
mod systemctl;

pub(crate) use prediction::Units;
pub use systemctl::Scope;

use super::history::Entry;
use super::{Change, Domain, Facet, Machine, MachineError, Result, Subject, Undo};
use std::collections::BTreeMap;

/// A unit as systemd shows it, or as a check predicts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Full name: `mariadb.service`.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error` …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` …
    pub active: String,
    /// `enabled`, `disabled`, `static`, `masked`, `generated` …
    pub file_state: String,
    /// The main process, 0 without one.
    pub main_pid: u32,
    /// All properties (`systemctl show`); few for a unit that does not exist yet.
    pub properties: BTreeMap<String, String>,
    /// A check foresees something about it that is not so yet.
    pub predicted: bool,
}

impl Unit {
    /// Whether there is such a unit (a masked one is there).
    pub fn exists(&self) -> bool {
        self.load != "not-found" && !self.load.is_empty()
    }

    /// Running, or on its way to.
    pub fn is_running(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading" | "refreshing")
    }

    /// Running, or still ending.
    pub fn is_stoppable(&self) -> bool {
        self.is_running() || self.active == "deactivating"
    }

    /// Whether it counts as enabled, in Ansible's reading: static units do, aliases and runtime links do not.
    pub fn is_enabled(&self) -> bool {
        match self.file_state.as_str() {
            "enabled" | "static" | "transient" => true,
            "generated" | "" => systemctl::sysv_is_enabled(&self.name),
            _ => false,
        }
    }

    /// Whether it is masked.
    pub fn is_masked(&self) -> bool {
        self.load == "masked" || matches!(self.file_state.as_str(), "masked" | "masked-runtime")
    }

    fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

/// How the service manager is spoken to.
#[derive(Clone, Debug, Default)]
pub struct UnitOptions {
    /// The system's manager, or a user's.
    pub scope: Scope,
    /// Do not wait for the end of the operation.
    pub no_block: bool,
    /// Override existing links.
    pub force: bool,
}

/// The full name of a unit: `.service` is what a name without a kind means.
pub fn unit_name(name: &str) -> String {
    const KINDS: [&str; 11] =
        ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];
    match name.rsplit_once('.') {
        Some((_, kind)) if KINDS.contains(&kind) => name.to_string(),
        _ => format!("{name}.service"),
    }
}

/// What happens to a running unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitAction {
    /// Start it unless it runs.
    Start,
    /// Stop it if it runs.
    Stop,
    /// Stop and start it, or start it.
    Restart,
    /// Make it read its configuration again; start it if it does not run.
    Reload,
}

impl UnitAction {
    fn verb(self) -> &'static str {
        match self {
            UnitAction::Start => "start",
            UnitAction::Stop => "stop",
            UnitAction::Restart => "restart",
            UnitAction::Reload => "reload",
        }
    }
}

impl Machine {
    /// A unit's state. A name that nothing on the host knows gives a unit that does not [exist](Unit::exists).
    pub fn unit(&self, name: &str, options: &UnitOptions) -> Result<Unit> {
        let name = unit_name(name);
        let real = match systemctl::manager_runs() {
            true => systemctl::show(self, &name, options)?,
            false if self.predicted() => Unit { name: name.clone(), load: "not-found".into(), ..Unit::default() },
            false => return Err(systemctl::no_manager()),
        };
        self.foreseen_unit(real)
    }

    /// Every service that is loaded or has a file, with what a check foresees.
    pub fn list_services(&self) -> Result<Vec<Unit>> {
        let mut units = match systemctl::manager_runs() {
            true => systemctl::list_services(self)?,
            false if self.predicted() => Vec::new(),
            false => return Err(systemctl::no_manager()),
        };
        for name in self.foreseen_services() {
            if units.iter().all(|u| u.name != name) {
                units.push(Unit { name, load: "not-found".into(), ..Unit::default() });
            }
        }
        units.into_iter().map(|unit| self.foreseen_unit(unit)).collect()
    }

    /// Starts, stops, restarts or reloads a unit, where its state asks for it. Says whether anything was done.
    pub fn act_on_unit(
        &mut self,
        unit: &Unit,
        action: UnitAction,
        options: &UnitOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<bool> {
        let action = match action {
            UnitAction::Start if unit.is_running() => return Ok(false),
            UnitAction::Stop if !unit.is_stoppable() => return Ok(false),
            UnitAction::Restart | UnitAction::Reload if !unit.is_running() => UnitAction::Start,
            other => other,
        };
        if unit.is_masked() && action != UnitAction::Stop {
            return Err(MachineError::failed(format!(
                "cannot {} {}: it is masked; unmask it first (`masked: false`)",
                action.verb(),
                unit.name
            )));
        }
        let subject = Subject::new(Domain::Unit, unit.name.clone());
        let after = if self.predicted() {
            self.foresee_activity(unit, action != UnitAction::Stop)?;
            None
        } else {
            let (name, scope, running) = (unit.name.clone(), options.scope, unit.is_running());
            self.log(Entry::Unit { unit: name, scope, action, running });
            systemctl::act(self, unit, action, options, progress)?;
            Some(systemctl::show(self, &unit.name, options)?)
        };
        let state = |text: &str| Facet::Value(text.to_string().into());
        let mut change = match action {
            UnitAction::Start => Change::set(subject, "state", state("stopped"), state("started")),
            UnitAction::Stop => Change::set(subject, "state", state("started"), state("stopped")),
            UnitAction::Restart => {
                let pids = after
                    .filter(|a| a.main_pid != 0 && unit.main_pid != 0)
                    .map_or(String::new(), |a| format!(" (pid {} → {})", unit.main_pid, a.main_pid));
                Change::effect(subject, format!("restarted{pids}"), Undo::Compensating)
            }
            UnitAction::Reload => Change::effect(subject, "reloaded its configuration", Undo::Compensating),
        };
        // Stopped what was started, and once more restarted on the state before.
        change.undo = Undo::Compensating;
        change.inferred = unit.predicted;
        self.record(change);
        Ok(true)
    }

    /// Kills a unit's main process: for one that was told to stop and waits for what will not come.
    pub fn kill_unit(&mut self, unit: &Unit) -> Result<()> {
        if !self.predicted() {
            systemctl::kill(self, unit)?;
        }
        self.record(Change::effect(Subject::new(Domain::Unit, unit.name.clone()), "killed", Undo::None));
        Ok(())
    }

    /// Enables or disables a unit. Says whether anything was done.
    pub fn set_unit_enabled(&mut self, unit: &Unit, enabled: bool, options: &UnitOptions) -> Result<bool> {
        if unit.is_enabled() == enabled {
            return Ok(false);
        }
        // systemctl refuses it in a run, and a check must say so.
        if enabled && unit.is_masked() {
            return Err(MachineError::failed(format!(
                "Unable to enable service {}: it is masked; unmask it first (`masked: false`)",
                unit.name
            )));
        }
        if self.predicted() {
            self.foresee_enabled(unit, enabled);
        } else {
            self.log(Entry::Enabled { unit: unit.name.clone(), scope: options.scope, before: !enabled });
            systemctl::set_enabled(self, unit, enabled, options)?;
        }
        self.record_unit_flag(unit, "enabled", enabled);
        Ok(true)
    }

    /// Masks or unmasks a unit. Says whether anything was done.
    pub fn set_unit_masked(&mut self, unit: &Unit, masked: bool, options: &UnitOptions) -> Result<bool> {
        if unit.is_masked() == masked {
            return Ok(false);
        }
        // A mask is a link in this place; systemd replaces no file there.
        let place = format!("/etc/systemd/system/{}", unit.name);
        if masked && options.scope == Scope::System && self.lstat(&place)?.is_some_and(|s| s.is_file()) {
            return Err(MachineError::failed(format!(
                "Unable to mask service {}: its file is {place}, where the mask would be; remove or move it first",
                unit.name
            )));
        }
        if self.predicted() {
            self.foresee_masked(unit, masked);
        } else {
            self.log(Entry::Masked { unit: unit.name.clone(), scope: options.scope, before: !masked });
            systemctl::set_masked(self, unit, masked, options)?;
        }
        self.record_unit_flag(unit, "masked", masked);
        Ok(true)
    }

    /// Makes the manager read all unit files again. This is no change of the host.
    pub fn reload_units(&mut self, reexec: bool, options: &UnitOptions) -> Result<()> {
        if self.predicted() {
            return Ok(());
        }
        systemctl::reload_manager(self, reexec, options)
    }

    fn record_unit_flag(&mut self, unit: &Unit, aspect: &str, value: bool) {
        let subject = Subject::new(Domain::Unit, unit.name.clone());
        let mut change = Change::set(subject, aspect, Facet::Value((!value).into()), Facet::Value(value.into()));
        change.inferred = unit.predicted;
        self.record(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_kind_is_a_service() {
        for (given, full) in [
            ("mariadb", "mariadb.service"),
            ("mariadb.service", "mariadb.service"),
            ("logrotate.timer", "logrotate.timer"),
            ("postgresql@15-main", "postgresql@15-main.service"),
            ("dotted.name", "dotted.name.service"),
        ] {
            assert_eq!(unit_name(given), full);
        }
    }

    #[test]
    fn enabled_in_ansibles_reading() {
        for (state, expected) in [
            ("enabled", true),
            ("static", true),
            ("disabled", false),
            ("indirect", false),
            ("enabled-runtime", false),
            ("alias", false),
            ("masked", false),
            ("generated", false),
        ] {
            let unit = Unit { name: "no-such.service".into(), file_state: state.into(), ..Unit::default() };
            assert_eq!(unit.is_enabled(), expected, "{state}");
        }
    }
}
