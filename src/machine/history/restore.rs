//! Undoing what a run changed: look at everything first, then put back, backwards.

use super::entry::Entry;
use super::image::{self, Image};
use super::plan::{FilePast, Past, Plan, UnitPast};
use super::store;
use crate::machine::files::{Attributes, Kind, NewContent, TimeSpec, WriteOptions};
use crate::machine::sql::{Login, quote};
use crate::machine::units::{Scope, UnitAction, UnitOptions};
use crate::machine::{Domain, Machine, MachineError, Result, before};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which units are not started, stopped or restarted by the rollback itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// Database servers: when a cluster's member is restarted is for its cluster to say.
    #[default]
    Servers,
    /// All.
    All,
    /// None.
    Nothing,
}

/// What of a run is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTurn {
    /// The run.
    pub run: String,
    /// The turn's number in it; 0 for everything.
    #[serde(default)]
    pub turn: u32,
}

/// Something that could not be undone, or only by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUndone {
    /// Part of the host.
    pub domain: Domain,
    /// Which.
    pub name: String,
    /// What had happened to it.
    pub what: String,
    /// Why it is not undone.
    pub why: String,
    /// The change is of a kind that can be undone, and it failed.
    #[serde(default)]
    pub failed: bool,
}

/// Something that somebody else has changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Part of the host.
    pub domain: Domain,
    /// Which.
    pub name: String,
    /// What is different from what the run left.
    pub why: String,
}

/// A unit that the run had started, stopped, restarted or reloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLeft {
    /// Full name.
    pub unit: String,
    /// Whether it ran before the run touched it.
    pub ran_before: bool,
    /// Whether it ran when the rollback looked.
    pub runs: bool,
    /// What the run had done to it, in order.
    pub actions: Vec<UnitAction>,
    /// What the rollback did with it; nothing where it left it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<UnitAction>,
    /// It works with state that was put back only when it is restarted, which is left to somebody else.
    #[serde(default)]
    pub owed: bool,
}

/// What became of a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// This host has a log of the run.
    pub known: bool,
    /// Earlier changes of the run were rolled back already: when the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<i64>,
    /// Subjects that somebody else has changed: unless it is forced, nothing is touched then.
    pub refused: Vec<Refused>,
    /// What cannot be undone, and what failed.
    pub not_undone: Vec<NotUndone>,
    /// Units that the run acted on.
    pub units: Vec<UnitLeft>,
}

/// What a step's kind says of why it cannot be undone.
fn reason(domain: Domain) -> &'static str {
    match domain {
        Domain::Package => "packages are never rolled back: data may have been written by the newer version",
        Domain::Command => "what a command did is not known",
        Domain::User | Domain::Group => "files and processes may belong to the account by now",
        Domain::Database | Domain::DatabaseAccount => "the database is not the host's alone",
        Domain::Cluster => "the cluster is not the host's alone",
        Domain::Mount => "what is mounted may be in use by now",
        _ => "its state before was not kept",
    }
}

impl Machine {
    /// Undoes what runs changed on this host, the oldest given first: all together as if they were one. Unless `force` is
    /// set nothing is touched when somebody else has changed one of the subjects since.
    pub fn roll_back(
        &mut self,
        runs: &[RunTurn],
        force: bool,
        leave: Leave,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Rollback> {
        let mut plan = Plan::default();
        let mut logs = Vec::new();
        for RunTurn { run, turn } in runs {
            let directory =
                store::directory_of(run).ok_or_else(|| MachineError::failed(format!("`{run}` is no name of a run")))?;
            let lines = store::read(&directory)
                .map_err(|e| MachineError::io(format!("cannot read the log in {}", directory.display()), e))?;
            if let Some(lines) = lines {
                plan.add(&lines, Some(*turn).filter(|turn| *turn > 0));
                logs.push((directory, *turn));
            }
        }
        if logs.is_empty() {
            return Ok(Rollback::default());
        }
        let plan = plan.finished();
        let mut report = Rollback { known: true, settled: plan.settled, ..Rollback::default() };
        if plan.is_empty() {
            return Ok(report);
        }
        report.refused = self.find_moved(&plan)?;
        if !report.refused.is_empty() && !force {
            return Ok(report);
        }
        for step in &plan.steps {
            report.not_undone.push(NotUndone {
                domain: step.domain,
                name: step.name.clone(),
                what: step.what.clone(),
                why: reason(step.domain).to_string(),
                failed: false,
            });
        }
        self.restore(&plan, leave, &mut report, progress);
        let complete = report.not_undone.iter().all(|step| !step.failed);
        if complete && !self.predicted() {
            // Into the logs of the runs that were rolled back, whoever asks.
            for (directory, turn) in logs {
                store::History::new(directory, turn, "rollback").append(Entry::RolledBack);
            }
        }
        Ok(report)
    }

    /// What is neither as the run found it nor as the run left it.
    fn find_moved(&self, plan: &Plan) -> Result<Vec<Refused>> {
        let mut moved = Vec::new();
        let mut refuse = |domain, name: &str, why: String| moved.push(Refused { domain, name: name.to_string(), why });
        for (domain, name) in &plan.moved {
            refuse(
                *domain,
                name,
                "it was changed between the runs, by somebody or by an earlier play of the later one".into(),
            );
        }
        for (path, past) in plan.files.iter().filter(|(_, past)| !past.only_times) {
            let known: Vec<&Image> = past.known.iter().collect();
            if let Some(why) = Image::read(self, Path::new(path))?.strange_to(&known) {
                refuse(Domain::File, path, why);
            }
        }
        for (name, past) in &plan.parameters {
            if let Some(present) = self.kernel_parameter(name)?
                && !past.known.iter().any(|known| known.split_whitespace().eq(present.split_whitespace()))
            {
                refuse(Domain::Sysctl, name, format!("it is {present} now"));
            }
        }
        if let Some(past) = &plan.hostname
            && !past.known.contains(&self.hostname())
        {
            refuse(Domain::Hostname, "hostname", format!("it is {} now", self.hostname()));
        }
        for (user, past) in &plan.crontabs {
            // A host without cron has nothing to lose.
            if let Ok(present) = self.crontab(user)
                && !past.known.contains(&present)
            {
                refuse(Domain::Cron, user, "the crontab was edited".into());
            }
        }
        for (table, past) in &plan.firewall {
            if let Ok(present) = self.firewall_listing(table)
                && !past.known.contains(&present)
            {
                refuse(Domain::Firewall, &format!("inet {table}"), "its rules were changed".into());
            }
        }
        Ok(moved)
    }

    fn restore(&mut self, plan: &Plan, leave: Leave, report: &mut Rollback, progress: &mut dyn FnMut(&str)) {
        let mut failed: Vec<NotUndone> = Vec::new();
        let mut attempt = |domain: Domain, name: &str, what: &str, result: Result<()>| {
            if let Err(error) = result {
                failed.push(NotUndone {
                    domain,
                    name: name.to_string(),
                    what: what.to_string(),
                    why: error.to_string(),
                    failed: true,
                });
            }
        };
        // While the files of new units are still there.
        for ((unit, scope), past) in &plan.units {
            let result = self.unit_before_files(unit, *scope, past, leave, report, progress);
            attempt(Domain::Unit, unit, "started or enabled", result);
        }
        let changes = self.changes_so_far();
        for (path, past) in plan.files.iter().rev() {
            let result = self.restore_file(Path::new(path), past);
            attempt(Domain::File, path, "changed", result);
        }
        for (path, past) in plan.files.iter().rev() {
            if let Some((atime, mtime)) = past.times {
                let at = |time| TimeSpec::At(time);
                let result = match self.lstat(path) {
                    Ok(Some(_)) => self.set_times(path, at(atime), at(mtime), false).map(drop),
                    other => other.map(drop),
                };
                attempt(Domain::File, path, "its times were set", result);
            }
        }
        let unit_files = plan.files.iter().any(|(path, _)| is_unit_file(path));
        if unit_files && self.changes_so_far() > changes {
            let result = self.reload_units(false, &UnitOptions::default());
            attempt(Domain::Unit, "systemd", "unit files changed", result);
        }
        for (name, past) in &plan.parameters {
            attempt(Domain::Sysctl, name, "set", self.set_kernel_parameter(name, &past.first).map(drop));
        }
        if let Some(past) = &plan.hostname {
            attempt(Domain::Hostname, "hostname", "set", self.set_kernel_hostname(&past.first).map(drop));
        }
        for (user, past) in &plan.crontabs {
            attempt(Domain::Cron, user, "edited", self.restore_crontab(user, &past.first));
        }
        for (table, past) in &plan.firewall {
            let result = self.restore_firewall(table, past.first.as_deref());
            attempt(Domain::Firewall, &format!("inet {table}"), "changed", result.map(drop));
        }
        for (name, past) in &plan.variables {
            attempt(Domain::DatabaseVariable, name, "set", self.restore_variable(name, past));
        }
        for ((unit, scope), past) in &plan.units {
            let result = self.unit_after_files(unit, *scope, past, leave, report, progress);
            attempt(Domain::Unit, unit, "stopped or restarted", result);
        }
        report.not_undone.extend(failed);
    }

    fn restore_file(&mut self, path: &Path, past: &FilePast) -> Result<()> {
        if past.only_times {
            return Ok(());
        }
        let wanted = &past.first;
        let present = Image::read(self, path)?;
        if present.same(wanted) {
            return Ok(());
        }
        let Some(kind) = wanted.kind else {
            if present.kind == Some(Kind::Directory) && !self.list_directory(path)?.is_empty() {
                return Err(MachineError::failed("the directory was made by the run and holds something else by now"));
            }
            return self.remove(path).map(drop);
        };
        let attributes = Attributes { mode: Some(wanted.mode), owner: Some(wanted.uid), group: Some(wanted.gid) };
        match kind {
            Kind::File if present.kind == Some(Kind::File) && present.holds == wanted.holds => {
                self.set_attributes(path, &attributes, false)?;
            }
            Kind::File => {
                let kept = wanted.holds.as_deref().filter(|_| wanted.kept).and_then(before::image);
                let contents = kept.ok_or_else(|| {
                    MachineError::failed(
                        "its contents before were not kept: they were too large, or it is too long ago",
                    )
                })?;
                self.make_way(path, &present)?;
                let options = WriteOptions { attributes, sensitive: past.secret, ..WriteOptions::default() };
                self.write(path, NewContent::Bytes(&contents), &options, None)?;
            }
            Kind::Directory => {
                let was_full = |pair: &[Image]| match pair {
                    [before, after] => after.kind.is_none() && before.kind == Some(Kind::Directory) && !before.kept,
                    _ => false,
                };
                if present.kind != Some(Kind::Directory) {
                    if past.known.chunks(2).any(was_full) {
                        return Err(MachineError::failed("the directory was removed with what was in it"));
                    }
                    if present.kind.is_some() {
                        self.remove(path)?;
                    }
                    self.make_directory(path, &attributes)?;
                }
                self.set_attributes(path, &attributes, false)?;
            }
            Kind::Link => {
                self.make_way(path, &present)?;
                self.make_link(path, wanted.holds.as_deref().unwrap_or_default())?;
                self.set_attributes(path, &Attributes { mode: None, ..attributes }, false)?;
            }
            other => return Err(MachineError::failed(format!("a {} is not brought back", other.word()))),
        }
        if !self.predicted() {
            image::set_attributes(path, &wanted.attributes);
        }
        Ok(())
    }

    /// Removes an empty directory that is in the way of a file or link.
    fn make_way(&mut self, path: &Path, present: &Image) -> Result<()> {
        if present.kind == Some(Kind::Directory) {
            if !self.list_directory(path)?.is_empty() {
                return Err(MachineError::failed("there is a directory now, and it is not empty"));
            }
            self.remove(path)?;
        }
        Ok(())
    }

    fn restore_crontab(&mut self, user: &str, wanted: &str) -> Result<()> {
        let present = self.crontab(user)?;
        if present == wanted {
            return Ok(());
        }
        let only = |one: &str, other: &str| {
            let lines: Vec<&str> = one.lines().filter(|line| other.lines().all(|o| o != *line)).collect();
            (!lines.is_empty()).then(|| lines.join("; "))
        };
        let (gone, back) = (only(&present, wanted), only(wanted, &present));
        self.put_crontab(user, wanted, "as before", (gone.as_deref(), back.as_deref()), true)
    }

    fn restore_variable(&mut self, name: &str, past: &Past<String>) -> Result<()> {
        let mut server = self.sql(&Login::default()).map_err(|error| {
            MachineError::failed(format!("{error} (a global variable lasts until the server is restarted)"))
        })?;
        let present = self.database_variable(&mut server, name)?;
        let present = present.ok_or_else(|| MachineError::failed("the server has no such variable now"))?;
        let first = &past.first;
        if present == *first {
            return Ok(());
        }
        if !past.known.contains(&present) {
            return Err(MachineError::failed(format!("somebody else has set it to {present}, so it is left alone")));
        }
        let plain = first.parse::<f64>().is_ok_and(f64::is_finite) && !first.to_ascii_lowercase().contains("inf");
        let literal = if plain { first.clone() } else { quote(first) };
        self.set_database_variable(&mut server, name, &present, first, &literal)
    }

    fn unit_before_files(
        &mut self,
        name: &str,
        scope: Scope,
        past: &UnitPast,
        leave: Leave,
        report: &mut Rollback,
        progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let options = UnitOptions { scope, ..UnitOptions::default() };
        let unit = self.unit(name, &options)?;
        let left = leaves(leave, name);
        let stop = past.running == Some(false) && unit.is_stoppable() && !left;
        if let Some(ran_before) = past.running {
            report.units.push(UnitLeft {
                unit: name.to_string(),
                ran_before,
                runs: unit.is_running(),
                actions: past.actions.clone(),
                done: stop.then_some(UnitAction::Stop),
                owed: left && unit.is_running() && ran_before && restart_of(past).is_some(),
            });
        }
        if !unit.exists() {
            return Ok(());
        }
        if past.enabled == Some(false) {
            self.set_unit_enabled(&unit, false, &options)?;
        }
        if stop {
            self.act_on_unit(&unit, UnitAction::Stop, &options, progress)?;
        }
        Ok(())
    }

    fn unit_after_files(
        &mut self,
        name: &str,
        scope: Scope,
        past: &UnitPast,
        leave: Leave,
        report: &mut Rollback,
        progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let options = UnitOptions { scope, ..UnitOptions::default() };
        let mut unit = self.unit(name, &options)?;
        if let Some(masked) = past.masked
            && self.set_unit_masked(&unit, masked, &options)?
        {
            unit = self.unit(name, &options)?;
        }
        if past.enabled == Some(true) && unit.exists() {
            self.set_unit_enabled(&unit, true, &options)?;
        }
        if past.running != Some(true) || leaves(leave, name) || !unit.exists() {
            return Ok(());
        }
        let action = match unit.is_running() {
            false => Some(UnitAction::Start),
            true => restart_of(past),
        };
        let Some(action) = action else { return Ok(()) };
        self.act_on_unit(&unit, action, &options, progress)?;
        if let Some(told) = report.units.iter_mut().find(|told| told.unit == name) {
            told.done = Some(action);
        }
        Ok(())
    }
}

/// What makes a unit that was running all the time work with the state that was put back.
fn restart_of(past: &UnitPast) -> Option<UnitAction> {
    let did = |action| past.actions.contains(&action);
    match () {
        () if did(UnitAction::Restart) || did(UnitAction::Start) => Some(UnitAction::Restart),
        () if did(UnitAction::Reload) => Some(UnitAction::Reload),
        () => None,
    }
}

/// Whether the rollback leaves a unit's process alone.
fn leaves(leave: Leave, unit: &str) -> bool {
    let server = ["mariadb", "mysql", "mysqld", "garb", "garbd"]
        .iter()
        .any(|name| unit.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '@'])));
    match leave {
        Leave::All => true,
        Leave::Servers => server,
        Leave::Nothing => false,
    }
}

/// Whether systemd reads a file.
fn is_unit_file(path: &str) -> bool {
    ["/etc/systemd/", "/usr/lib/systemd/", "/lib/systemd/", "/run/systemd/", "/usr/local/lib/systemd/"]
        .iter()
        .any(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_left_to_their_cluster() {
        for (unit, expected) in [
            ("mariadb.service", true),
            ("mariadb@b.service", true),
            ("garb.service", true),
            ("mysql.service", true),
            ("mariadb-exporter.service", false),
            ("haproxy.service", false),
        ] {
            assert_eq!(leaves(Leave::Servers, unit), expected, "{unit}");
            assert!(leaves(Leave::All, unit) && !leaves(Leave::Nothing, unit));
        }
    }

    #[test]
    fn what_a_unit_needs_follows_from_what_was_done_to_it() {
        use UnitAction::*;
        for (actions, expected) in [
            (vec![Restart], Some(Restart)),
            (vec![Stop, Start], Some(Restart)),
            (vec![Reload], Some(Reload)),
            (vec![Reload, Restart], Some(Restart)),
            (vec![Stop], None),
            (vec![], None),
        ] {
            let past = UnitPast { actions: actions.clone(), ..UnitPast::default() };
            assert_eq!(restart_of(&past), expected, "{actions:?}");
        }
    }
}
