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
        if self.predicted() && self.no_fetch {
            refuse_downloads(&words, options)?;
        }
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
            if self.no_fetch {
                argv.push("--cacheonly".into());
            }
            argv.extend(verbs.iter().map(|v| v.to_string()));
            argv.extend(words.iter().cloned());
            let output = self.run_process(&command(argv))?;
            let text = output.stdout_text();
            let steps = parse_transaction(&text);
            let complaint = output.stderr_text();
            // With --assumeno dnf always ends with a failure when there is something to do.
            if steps.is_empty() && !output.success() && !complaint.contains("Operation aborted") {
                if self.no_fetch {
                    return Err(MachineError::unknown(format!(
                        "dnf could not tell by what it has kept of its repositories, and --no-fetch forbids to download them: {}",
                        complaint.trim()
                    )));
                }
                return Err(MachineError::failed(format!("dnf: {}", complaint.trim())));
            }
            self.record_steps(&steps);
            for word in &words {
                self.predictions.packages.rpm.insert(word.clone(), action != DnfAction::Remove);
            }
            self.predictions.packages.opaque |= !steps.is_empty();
            let brought: Vec<&str> =
                steps.iter().filter(|s| s.after.is_some()).map(|s| s.name.as_str()).take(4).collect();
            if self.no_fetch && !brought.is_empty() {
                self.leave_unread(&brought.join(", "));
            }
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

/// Under `--no-fetch`, what could only be told after a download is unknown.
fn refuse_downloads(words: &[String], options: &DnfOptions) -> Result<()> {
    if let Some(word) = words.iter().find(|word| word.contains("://")) {
        let why = format!("{word} would have to be downloaded to be looked into, and --no-fetch forbids it");
        return Err(MachineError::unknown(why));
    }
    if options.refresh {
        let why = "the repositories' metadata would be brought up to date first, and --no-fetch forbids to download it";
        return Err(MachineError::unknown(why));
    }
    Ok(())
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

    #[test]
    fn no_fetch_asks_the_cache_alone_and_downloads_nothing() {
        use crate::machine::Mode;
        use std::os::unix::fs::PermissionsExt;
        if !rustix::process::geteuid().is_root() {
            return; // whoever is not root is told so before anything else
        }
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let stub = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        stub("rpm", "exit 1");
        stub(
            "dnf",
            &format!(
                "echo \"$*\" >> {}\necho 'Installing:'\necho ' nano x86_64 5.6.1-5.el9 baseos 1 M'\nexit 1",
                asked.display()
            ),
        );
        let dnf = |no_fetch: bool, name: &str, refresh: bool| {
            let _ = std::fs::remove_file(&asked);
            let mut machine = Machine::new(Mode::Predicted);
            machine.no_fetch = no_fetch;
            machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", folder.path().display()));
            let options = DnfOptions { refresh, ..DnfOptions::default() };
            let name = Specification { text: name.into(), name: name.into(), version: None, release: None };
            let said = machine.dnf(DnfAction::Install, &[name], &options, &mut |_| {}).map(|report| report.changed);
            let unknown = matches!(&said, Err(MachineError::Unknown { why }) if why.contains("--no-fetch"));
            (said.ok(), unknown, std::fs::read_to_string(&asked).unwrap_or_default().trim().to_string())
        };
        let words = |text: &str| text.to_string();
        assert_eq!(dnf(false, "nano", false), (Some(true), false, words("-q --assumeno install nano")));
        assert_eq!(dnf(true, "nano", false), (Some(true), false, words("-q --assumeno --cacheonly install nano")));
        assert_eq!(dnf(false, "nano", true).2, "-q --refresh --assumeno install nano");
        assert_eq!(dnf(true, "nano", true), (None, true, words("")), "nothing is refreshed");
        assert_eq!(dnf(true, "https://example.com/x.rpm", false), (None, true, words("")));
        stub("dnf", "echo 'Error: Cache-only enabled but no cache for baseos' >&2; exit 1");
        assert_eq!(dnf(true, "nano", false), (None, true, words("")));
        assert_eq!(dnf(false, "nano", false), (None, false, words("")), "without it, that is a failure");
    }
}
