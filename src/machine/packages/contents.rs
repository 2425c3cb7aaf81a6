//! What packages would bring: their files, units, accounts and directories, laid into a check's prediction.

use super::apt::{self, AptOptions, Step};
use super::archive::{self, Archive, EntryKind};
use super::dpkg;
use super::rules;
use super::scripts::{self, Brought};
use crate::machine::accounts::{Group, User};
use crate::machine::files::{Attributes, Foreseen};
use crate::machine::{Command, Machine, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Sections whose libraries (`lib…`) bring nothing that a task looks at: their archives are not read.
const DULL: [&str; 8] = ["libs", "oldlibs", "libdevel", "perl", "doc", "localization", "fonts", "debug"];

/// Directories that no task looks into.
const UNSEEN: [&str; 7] = [
    "/usr/share/perl/",
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/locale/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/bug/",
];

impl Machine {
    /// Lays what a simulated transaction would bring and take into the prediction.
    pub(super) fn foresee_contents(
        &mut self,
        steps: &[Step],
        options: &AptOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        for step in steps.iter().filter(|s| s.after.is_none()) {
            self.foresee_removal(&step.name, step.purge)?;
        }
        if self.no_fetch {
            let names: Vec<&str> =
                steps.iter().filter(|s| s.after.is_some()).map(|s| s.name.as_str()).take(4).collect();
            if !names.is_empty() {
                self.leave_unread(&names.join(", "));
            }
            return Ok(());
        }
        let wanted = self.worth_reading(steps)?;
        let archives = self.private_apt()?.archives(self, &wanted, progress)?;
        let mut read: Vec<(String, Archive, Brought)> = Vec::new();
        for (name, path) in archives {
            progress(&format!("reading what {name} brings"));
            let archive = archive::read(&path)?;
            let mut brought = scripts::read(&archive);
            rules::complete(&name, &mut brought);
            read.push((name, archive, brought));
        }
        // Accounts first: files and directories belong to them.
        for (_, _, brought) in &read {
            self.foresee_accounts(brought)?;
        }
        for (name, archive, _) in &read {
            self.foresee_entries(archive)?;
            let files = archive.entries.iter().filter(|entry| !matches!(entry.kind, EntryKind::Directory));
            self.foresee_brought(name, files.map(|entry| entry.path.clone()).collect());
        }
        let mut alternatives: BTreeMap<&str, Vec<(&str, &str, i64)>> = BTreeMap::new();
        for (_, _, brought) in &read {
            for (link, name, path, priority) in &brought.alternatives {
                alternatives.entry(name).or_default().push((link, path, *priority));
            }
            for (path, mode, owner, group) in &brought.directories {
                self.foresee_directory(path, *mode, owner, group)?;
            }
        }
        for (name, mut choices) in alternatives {
            choices.sort_by_key(|(_, _, priority)| -priority);
            self.foresee_alternative(name, &choices)?;
        }
        // An answer of policy-rc.d keeps services from being started.
        let starts = options.policy_rc_d.unwrap_or(0) == 0 && !Path::new("/usr/sbin/policy-rc.d").exists();
        for (name, archive, brought) in &read {
            let fresh = steps.iter().any(|s| &s.name == name && s.before.is_none());
            self.foresee_units(brought, starts, fresh)?;
            for (path, mode, owner, group) in rules::files(name) {
                // A file that was on the disk before stays as it is.
                if fresh && std::fs::symlink_metadata(path).is_err() {
                    let contents = archive.entries.iter().find(|e| e.path == path).and_then(|e| e.body.clone());
                    let attributes = self.attributes(mode, owner, group)?;
                    self.foresee_file(path, Foreseen::File { contents, attributes })?;
                }
            }
        }
        Ok(())
    }

    /// Name, version and architecture of those packages whose archives are worth reading.
    fn worth_reading(&mut self, steps: &[Step]) -> Result<Vec<(String, String, String)>> {
        let new: Vec<&Step> = steps.iter().filter(|s| s.after.is_some()).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let private = self.private_apt()?.state();
        let mut command = apt::command(&["show".into()], &private);
        command.argv[0] = "apt-cache".into();
        command.argv.extend(new.iter().map(|s| format!("{}={}", s.name, s.after.as_deref().unwrap_or_default())));
        let output = self.run_process(&command)?;
        let mut sections: BTreeMap<String, String> = BTreeMap::new();
        for paragraph in output.stdout_text().split("\n\n") {
            let get = |key: &str| paragraph.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
            if let (Some(name), Some(section)) = (get("Package"), get("Section")) {
                sections.insert(name.into(), section.rsplit('/').next().unwrap_or(section).into());
            }
        }
        Ok(new
            .into_iter()
            .filter(|s| {
                let dull = sections.get(&s.name).is_some_and(|section| DULL.contains(&section.as_str()));
                !(dull && (s.name.starts_with("lib") || s.name.starts_with("perl-modules")))
            })
            .map(|s| (s.name.clone(), s.after.clone().unwrap_or_default(), s.arch.clone()))
            .collect())
    }

    fn foresee_accounts(&mut self, brought: &Brought) -> Result<()> {
        for (name, gid) in &brought.groups {
            if self.group(name)?.is_none() {
                self.foresee_group(Group { name: name.clone(), gid: gid.unwrap_or(u32::MAX), members: Vec::new() });
            }
        }
        for user in &brought.users {
            if self.user(&user.name)?.is_none() {
                let gid = self.resolve_group(&user.group)?.unwrap_or(u32::MAX);
                self.foresee_user(User {
                    name: user.name.clone(),
                    uid: user.uid.unwrap_or(u32::MAX),
                    gid,
                    gecos: user.gecos.clone(),
                    home: user.home.clone(),
                    shell: user.shell.clone(),
                });
            }
        }
        Ok(())
    }

    fn attributes(&self, mode: u32, owner: &str, group: &str) -> Result<Attributes> {
        Ok(Attributes {
            mode: Some(mode),
            owner: Some(self.resolve_user(owner)?.unwrap_or(0)),
            group: Some(self.resolve_group(group)?.unwrap_or(0)),
        })
    }

    fn foresee_entries(&mut self, archive: &Archive) -> Result<()> {
        for entry in &archive.entries {
            if entry.path == "/" || UNSEEN.iter().any(|d| entry.path.starts_with(d)) {
                continue;
            }
            let there = self.lstat(&entry.path)?;
            // A changed configuration file is kept, as dpkg is told; a directory stays as it is.
            let kept = match entry.kind {
                EntryKind::Directory => self.stat(&entry.path)?.is_some(),
                _ => archive.conffiles.contains(&entry.path) && there.is_some(),
            };
            if kept {
                continue;
            }
            let attributes = self.attributes(entry.mode, &entry.owner, &entry.group)?;
            let foreseen = match entry.kind {
                EntryKind::Directory => Foreseen::Directory(attributes),
                EntryKind::Link => Foreseen::Link(entry.target.clone().into()),
                EntryKind::File => Foreseen::File { contents: entry.body.clone(), attributes },
                EntryKind::HardLink | EntryKind::Other => Foreseen::File { contents: None, attributes },
            };
            self.foresee_file(&entry.path, foreseen)?;
        }
        Ok(())
    }

    fn foresee_directory(&mut self, path: &str, mode: u32, owner: &str, group: &str) -> Result<()> {
        // One that is on the disk already keeps its owner; those below /run are put right each time.
        if !path.starts_with("/run/") && Path::new(path).is_dir() {
            return Ok(());
        }
        let attributes = self.attributes(mode, owner, group)?;
        self.foresee_file(path, Foreseen::Directory(attributes))
    }

    fn foresee_alternative(&mut self, name: &str, choices: &[(&str, &str, i64)]) -> Result<()> {
        let Some((link, path, _)) = choices.iter().find(|(_, path, _)| self.exists(path).unwrap_or(false)) else {
            return Ok(());
        };
        let middle = format!("/etc/alternatives/{name}");
        if self.lstat(&middle)?.is_some() {
            return Ok(()); // the administrator or an older package has chosen
        }
        self.foresee_file(&middle, Foreseen::Link((*path).into()))?;
        self.foresee_file(link, Foreseen::Link(middle.into()))
    }

    fn foresee_units(&mut self, brought: &Brought, starts: bool, fresh: bool) -> Result<()> {
        for unit in &brought.units {
            if unit.contains('@') {
                self.foresee_unit(unit, None, None);
                continue;
            }
            let enabled = brought.enabled.contains(unit);
            let mut started = starts && brought.started.contains(unit);
            for (_, path, must) in brought.conditions.iter().filter(|(u, _, _)| u == unit) {
                started &= self.exists(path)? == *must;
            }
            // An upgrade leaves the administrator's choice alone.
            self.foresee_unit(unit, (fresh).then_some(started), fresh.then_some(enabled));
        }
        Ok(())
    }

    /// A package goes: its files, without configuration unless it is purged, and its units.
    fn foresee_removal(&mut self, name: &str, purge: bool) -> Result<()> {
        let info = Path::new("/var/lib/dpkg/info");
        let list = [format!("{name}.list"), format!("{name}:{}.list", native_architecture(self))];
        let text = list.iter().find_map(|file| std::fs::read_to_string(info.join(file)).ok());
        // A package that is only foreseen takes with it what it would have brought.
        let text = text.unwrap_or_else(|| self.take_brought(name).join("\n"));
        for path in text.lines().filter(|p| p.starts_with('/') && *p != "/.") {
            if UNSEEN.iter().any(|d| path.starts_with(d)) || (!purge && path.starts_with("/etc/")) {
                continue;
            }
            if self.lstat(path)?.is_some_and(|s| !s.is_dir()) {
                self.foresee_file(path, Foreseen::Absent)?;
                if let Some(unit) = path.trim_start_matches("/usr").strip_prefix("/lib/systemd/system/")
                    && !unit.contains('/')
                {
                    self.foresee_unit_gone(unit);
                }
            }
        }
        Ok(())
    }
}

/// The architecture of dpkg itself.
fn native_architecture(machine: &Machine) -> String {
    let status = std::fs::read(dpkg::STATUS).unwrap_or_default();
    dpkg::parse_status(&String::from_utf8_lossy(&status))
        .get("dpkg")
        .map(|p| p.arch.clone())
        .or_else(|| {
            let output = machine.run_process(&Command::new(["dpkg", "--print-architecture"])).ok()?;
            Some(output.stdout_text().trim().to_string())
        })
        .unwrap_or_default()
}
