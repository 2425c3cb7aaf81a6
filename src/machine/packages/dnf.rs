//! dnf: how it is called, and what it says it would do.

use super::transaction::Report;
use super::{Specification, apt::Step};
use crate::machine::process::Watch;
use crate::machine::{Command, Machine, MachineError, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// How dnf chooses packages.
#[derive(Clone, Debug, Default)]
pub struct DnfOptions {
    /// Repositories to use besides those enabled.
    pub enablerepo: Vec<String>,
    /// Repositories not to use.
    pub disablerepo: Vec<String>,
    /// Packages to leave out.
    pub exclude: Vec<String>,
    /// Do not check signatures.
    pub disable_gpg_check: bool,
    /// Remove what nothing needs any more.
    pub autoremove: bool,
    /// Remove what is in the way.
    pub allowerasing: bool,
    /// Take older versions where the newest cannot be installed.
    pub nobest: Option<bool>,
    /// Whether weak dependencies come along.
    pub install_weak_deps: Option<bool>,
    /// Leave out what cannot be installed.
    pub skip_broken: bool,
    /// Refresh the metadata first.
    pub refresh: bool,
    /// `$releasever`
    pub releasever: Option<String>,
}

impl DnfOptions {
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.disablerepo.iter().map(|r| format!("--disablerepo={r}")));
        words.extend(self.enablerepo.iter().map(|r| format!("--enablerepo={r}")));
        words.extend(self.exclude.iter().map(|r| format!("--exclude={r}")));
        words.extend(self.releasever.iter().map(|r| format!("--releasever={r}")));
        for (flag, word) in [
            (self.disable_gpg_check, "--nogpgcheck"),
            (self.allowerasing, "--allowerasing"),
            (self.nobest == Some(true), "--nobest"),
            (self.nobest == Some(false), "--best"),
            (self.skip_broken, "--skip-broken"),
            (self.refresh, "--refresh"),
        ] {
            if flag {
                words.push(word.into());
            }
        }
        if let Some(weak) = self.install_weak_deps {
            words.push(format!("--setopt=install_weak_deps={}", if weak { "True" } else { "False" }));
        }
        words
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnfAction {
    /// Installed in whatever version.
    Install,
    /// Installed in the newest version.
    Latest,
    /// Removed.
    Remove,
    /// Everything up to date.
    UpgradeAll,
    /// Nothing that is not needed.
    Autoremove,
}

/// `name.arch` to version, from `rpm -qa`.
type Packages = BTreeMap<String, String>;

impl Machine {
    /// Installed packages of rpm.
    fn rpm_packages(&self) -> Result<Packages> {
        let format = "%{NAME}\\t%{EPOCH}:%{VERSION}-%{RELEASE}\\n";
        let output = self.run_process(&Command::new(["rpm", "-qa", "--queryformat", format]))?;
        if !output.success() {
            return Err(MachineError::failed(format!(
                "rpm could not list the packages: {}",
                output.stderr_text().trim()
            )));
        }
        Ok(parse_rpm(&output.stdout_text()))
    }

    /// Whether something installed is, or provides, what a name means.
    fn rpm_provides(&self, name: &str) -> Result<bool> {
        let known = matches!(self.predictions.packages.rpm.get(name), Some(true));
        Ok(known || self.run_process(&Command::new(["rpm", "-q", "--whatprovides", "--", name]))?.success())
    }

    /// Installs, upgrades or removes packages with dnf.
    pub fn dnf(
        &mut self,
        action: DnfAction,
        names: &[Specification],
        options: &DnfOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Report> {
        let mut words = Vec::new();
        for name in names {
            // dnf writes versions after a dash.
            let word = match &name.version {
                Some(("=", version)) => format!("{}-{version}", name.name),
                Some((operator, version)) => format!("{} {operator} {version}", name.name),
                None => name.text.clone(),
            };
            let there = self.rpm_provides(&word)?;
            let foreseen_gone = matches!(self.predictions.packages.rpm.get(&word), Some(false));
            match action {
                DnfAction::Install if there && !foreseen_gone => {}
                DnfAction::Remove if !there || foreseen_gone => {}
                _ => words.push(word),
            }
        }
        if words.is_empty() && !names.is_empty() {
            return Ok(Report::default());
        }
        self.require_root("install or remove packages")?;
        let verbs: &[&str] = match action {
            DnfAction::Install => &["install"],
            // `upgrade` alone does not install; `install` alone does not upgrade everything that is named by a pattern.
            DnfAction::Latest => &["install"],
            DnfAction::Remove => &["remove"],
            DnfAction::UpgradeAll => &["upgrade"],
            DnfAction::Autoremove => &["autoremove"],
        };
        let mut argv: Vec<String> = vec!["dnf".into(), "-q".into()];
        argv.extend(options.words());
        if action == DnfAction::Remove && !options.autoremove {
            argv.push("--noautoremove".into());
        }
        if self.predicted() {
            argv.push("--assumeno".into());
            argv.extend(verbs.iter().map(|v| v.to_string()));
            argv.extend(words.iter().cloned());
            let output = self.run_process(&command(argv))?;
            let text = output.stdout_text();
            let steps = parse_transaction(&text);
            let complaint = output.stderr_text();
            // With --assumeno dnf always ends with a failure when there is something to do.
            if steps.is_empty() && !output.success() && !complaint.contains("Operation aborted") {
                return Err(MachineError::failed(format!("dnf: {}", complaint.trim())));
            }
            self.record_steps(&steps);
            for word in &words {
                self.predictions.packages.rpm.insert(word.clone(), action != DnfAction::Remove);
            }
            self.predictions.packages.opaque |= !steps.is_empty();
            return Ok(Report { changed: !steps.is_empty(), ..Report::default() });
        }
        let before = self.rpm_packages()?;
        argv.push("-y".into());
        argv.extend(verbs.iter().map(|v| v.to_string()));
        argv.extend(words);
        let mut tick = |passed: Duration, line: &str| progress(&format!("{line} ({} s)", passed.as_secs()));
        let result = self.run_watched(&command(argv), Watch { timeout: None, progress: &mut tick });
        let steps = differences(&before, &self.rpm_packages()?);
        self.record_steps(&steps);
        let output = result?;
        if !output.success() {
            return Err(MachineError::failed(format!(
                "dnf {} failed: {}",
                verbs.join(" "),
                output.stderr_text().trim()
            )));
        }
        Ok(Report { stdout: output.stdout_text(), stderr: output.stderr_text(), changed: !steps.is_empty() })
    }

    /// Packages are foreseen that nobody looks into (`--no-fetch`).
    pub(super) fn leave_unread(&mut self, names: &str) {
        self.predictions.packages.opaque = true;
        let why = format!(
            "it may come with packages that earlier tasks install ({names} …), and --no-fetch forbids to look into them"
        );
        self.predictions.files.leave_unread(why);
    }

    /// Why what packages bring is not known, where `--no-fetch` forbade to look.
    pub fn unread_packages(&self) -> Option<&str> {
        self.predictions.files.unread().filter(|_| self.predicted())
    }

    /// Whether packages are foreseen of which it is not known what they bring.
    pub fn foresees_opaque_packages(&self) -> bool {
        self.predicted() && self.predictions.packages.opaque
    }
}

fn command(argv: Vec<String>) -> Command {
    let mut command = Command::new(argv);
    command.environment.push(("LC_ALL".into(), "C.UTF-8".into()));
    command.environment.push(("COLUMNS".into(), "400".into()));
    command
}

fn parse_rpm(text: &str) -> Packages {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, version)| (name.to_string(), version.strip_prefix("(none):").unwrap_or(version).to_string()))
        .collect()
}

fn differences(before: &Packages, after: &Packages) -> Vec<Step> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Step {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
            arch: String::new(),
            purge: false,
        })
        .collect()
}

/// The table that dnf shows before it asks: sections `Installing:`, `Upgrading:`, `Removing:` … of lines
/// ` name  arch  version  repository  size`.
fn parse_transaction(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut section = None;
    for line in text.lines() {
        let bare = line.trim();
        if bare.starts_with("Transaction Summary") {
            break;
        }
        if let Some(title) = bare.strip_suffix(':').filter(|_| !line.starts_with("  ")) {
            section = match title {
                t if t.starts_with("Installing") || t.starts_with("Reinstalling") => Some(true),
                t if t.starts_with("Upgrading") || t.starts_with("Downgrading") => Some(true),
                t if t.starts_with("Removing") => Some(false),
                _ => None,
            };
            continue;
        }
        let words: Vec<&str> = bare.split_whitespace().collect();
        let (Some(installs), true, [name, arch, version, _, ..]) = (section, line.starts_with(' '), words.as_slice())
        else {
            continue;
        };
        if *name == "replacing" {
            continue;
        }
        let version = version.strip_prefix("0:").unwrap_or(version).to_string();
        steps.push(Step {
            name: name.to_string(),
            before: (!installs).then(|| version.clone()),
            after: installs.then_some(version),
            arch: arch.to_string(),
            purge: false,
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_transaction_is_read() {
        let text = "\
================================================================================
 Package            Architecture    Version               Repository       Size
================================================================================
Installing:
 mariadb-server     x86_64          3:10.5.22-1.el9_2     appstream       9.6 M
Installing dependencies:
 mariadb            x86_64          3:10.5.22-1.el9_2     appstream       1.6 M
Removing:
 nano               x86_64          5.6.1-5.el9           @baseos         2.7 M

Transaction Summary
================================================================================
Install  2 Packages
";
        let steps: Vec<_> = parse_transaction(text).into_iter().map(|s| (s.name, s.before, s.after)).collect();
        let v = |t: &str| Some(t.to_string());
        assert_eq!(
            steps,
            [
                ("mariadb-server".to_string(), None, v("3:10.5.22-1.el9_2")),
                ("mariadb".to_string(), None, v("3:10.5.22-1.el9_2")),
                ("nano".to_string(), v("5.6.1-5.el9"), None),
            ]
        );
    }

    #[test]
    fn options_become_words() {
        let options = DnfOptions {
            enablerepo: vec!["crb".into()],
            disable_gpg_check: true,
            install_weak_deps: Some(false),
            nobest: Some(true),
            ..DnfOptions::default()
        };
        assert_eq!(
            options.words().join(" "),
            "--enablerepo=crb --nogpgcheck --nobest --setopt=install_weak_deps=False"
        );
    }

    #[test]
    fn rpm_lists_are_read_and_compared() {
        let before = parse_rpm("bash\t(none):5.1-2\nnano\t(none):5.6-1\n");
        let after = parse_rpm("bash\t(none):5.1-3\nmariadb\t3:10.5-1\n");
        let steps: Vec<_> =
            differences(&before, &after).into_iter().map(|s| (s.name, s.before.is_some(), s.after)).collect();
        assert_eq!(
            steps,
            [
                ("bash".to_string(), true, Some("5.1-3".to_string())),
                ("mariadb".to_string(), false, Some("3:10.5-1".to_string())),
                ("nano".to_string(), true, None),
            ]
        );
    }
}
