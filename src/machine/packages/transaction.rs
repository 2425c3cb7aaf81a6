//! One transaction of apt: decided by dpkg's own records, simulated in a check, carried out otherwise.

use super::apt::{self, AptOptions, PrivateState, Step};
use super::{Installed, dpkg, live_dpkg};
use crate::machine::{Change, Domain, Facet, Machine, MachineError, Mode, Result, Subject, Undo};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

/// A package as a user names it: `hello`, `hello=2.10*`, `hello>=2.10`, `hello:arm64`, `hello/trixie-backports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// The text itself.
    pub text: String,
    /// The name, with the architecture when one is given.
    pub name: String,
    /// `=` or `>=`, and the version, of which `=` takes a pattern.
    pub version: Option<(&'static str, String)>,
    /// The release after a slash.
    pub release: Option<String>,
}

impl Specification {
    /// Reads a package specification.
    pub fn parse(text: &str) -> std::result::Result<Specification, String> {
        let text = text.trim();
        let (name, version, release) = if let Some((name, version)) = text.split_once(">=") {
            (name, Some((">=", version.to_string())), None)
        } else if let Some((name, version)) = text.split_once('=') {
            (name, Some(("=", version.to_string())), None)
        } else if let Some((name, release)) = text.split_once('/') {
            (name, None, Some(release.to_string()))
        } else {
            (text, None, None)
        };
        let good = |c: char| c.is_ascii_alphanumeric() || "+-.:*?[]_^".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(good) {
            return Err(format!("`{text}` is no package name: write for example hello, hello=2.10* or hello>=2.10"));
        }
        if version.as_ref().is_some_and(|(_, v)| v.is_empty()) {
            return Err(format!("`{text}` ends where its version should follow"));
        }
        Ok(Specification { text: text.into(), name: name.into(), version, release })
    }

    /// Whether the name is a pattern.
    fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }

    /// Whether an installed version is what is asked for.
    fn accepts(&self, installed: &str) -> bool {
        match &self.version {
            None => true,
            Some((">=", version)) => dpkg::compare(installed, version) != Ordering::Less,
            Some((_, pattern)) => matches(pattern, installed),
        }
    }

    /// The words for apt-get: a lower bound is left to the check of the candidate.
    fn word(&self) -> String {
        match &self.version {
            Some((">=", _)) => self.name.clone(),
            _ => self.text.clone(),
        }
    }
}

/// Shell patterns, as dpkg and apt use them for names and versions.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut expression = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' | ']' => expression.push(c),
            c => expression.push_str(&regex_lite::escape(&c.to_string())),
        }
    }
    expression.push('$');
    regex_lite::Regex::new(&expression).is_ok_and(|r| r.is_match(text))
}

/// What a transaction said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Standard output of apt-get.
    pub stdout: String,
    /// Standard error of apt-get.
    pub stderr: String,
    /// Whether anything was changed.
    pub changed: bool,
}

/// How everything is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Removes nothing.
    Safe,
    /// Installs and removes what the upgrade needs.
    Full,
}

/// A callback for progress.
type Progress<'a> = &'a mut dyn FnMut(&str);

impl Machine {
    /// Installs packages, or with `latest` brings them up to date.
    pub fn apt_install(
        &mut self,
        specifications: &[Specification],
        latest: bool,
        options: &AptOptions,
        progress: Progress<'_>,
    ) -> Result<Report> {
        let packages = self.dpkg_packages()?;
        let mut words = Vec::new();
        let mut bounds = Vec::new();
        for wanted in specifications {
            self.package_is_known(&wanted.name)?;
            let installed = installed(&packages, &wanted.name);
            let done = match installed {
                Some(package) => wanted.accepts(&package.version) && !latest && wanted.release.is_none(),
                // A name that only others provide is there when one of them is.
                None => {
                    !latest
                        && wanted.version.is_none()
                        && packages.values().any(|p| p.is_installed() && p.provides.contains(&wanted.name))
                }
            };
            if done || (options.only_upgrade && installed.is_none() && !wanted.is_pattern()) {
                continue;
            }
            words.push(wanted.word());
            if let Some((">=", bound)) = &wanted.version {
                bounds.push((wanted.name.clone(), bound.clone()));
            }
        }
        if words.is_empty() {
            return Ok(Report::default());
        }
        let mut all = options.words();
        all.push("install".into());
        all.extend(words);
        let check = move |steps: &[Step]| {
            for (name, bound) in &bounds {
                let candidate = steps.iter().find(|s| &s.name == name).and_then(|s| s.after.as_deref());
                if candidate.is_none_or(|v| dpkg::compare(v, bound) == Ordering::Less) {
                    return Err(MachineError::failed(format!(
                        "no version of {name} that is at least {bound} can be installed (the candidate is {})",
                        candidate.unwrap_or("none")
                    )));
                }
            }
            Ok(())
        };
        self.apt_transaction(&all, options, &check, progress)
    }

    /// Removes packages.
    pub fn apt_remove(
        &mut self,
        specifications: &[Specification],
        options: &AptOptions,
        progress: Progress<'_>,
    ) -> Result<Report> {
        let packages = self.dpkg_packages()?;
        let mut words = Vec::new();
        for wanted in specifications {
            self.package_is_known(&wanted.name)?;
            let there = |p: &&Installed| {
                p.is_installed()
                    || (options.purge && p.status == "config-files")
                    || p.status.starts_with("half")
                    || p.status == "unpacked"
            };
            if wanted.is_pattern() {
                words.extend(
                    packages.iter().filter(|(name, p)| matches(&wanted.name, name) && there(p)).map(|(n, _)| n.clone()),
                );
            } else if let Some(package) = find(&packages, &wanted.name).filter(there)
                && wanted.accepts(&package.version)
            {
                words.push(wanted.name.clone());
            }
        }
        if words.is_empty() {
            // Ansible's autoremove works even when the named packages are gone already.
            return if options.autoremove { self.apt_autoremove(options, progress) } else { Ok(Report::default()) };
        }
        let mut all = options.words();
        all.push("remove".into());
        all.extend(words);
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Upgrades everything.
    pub fn apt_upgrade(&mut self, upgrade: Upgrade, options: &AptOptions, progress: Progress<'_>) -> Result<Report> {
        let mut all = options.words();
        match upgrade {
            Upgrade::Safe => all.extend(["--with-new-pkgs".into(), "upgrade".into()]),
            Upgrade::Full => all.push("dist-upgrade".into()),
        }
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Removes what nothing needs any more.
    pub fn apt_autoremove(&mut self, options: &AptOptions, progress: Progress<'_>) -> Result<Report> {
        let mut all = options.words();
        all.push("autoremove".into());
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Installs what packages need to be built.
    pub fn apt_build_dep(
        &mut self,
        names: &[Specification],
        options: &AptOptions,
        progress: Progress<'_>,
    ) -> Result<Report> {
        let mut all = options.words();
        all.push("build-dep".into());
        all.extend(names.iter().map(|s| s.text.clone()));
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Repairs broken dependencies, with the named packages if there are any.
    pub fn apt_fix(&mut self, names: &[Specification], options: &AptOptions, progress: Progress<'_>) -> Result<Report> {
        let mut all = options.words();
        all.extend(["--fix-broken".into(), "install".into()]);
        all.extend(names.iter().map(|s| s.text.clone()));
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Installs a package file with what it depends on, unless that version is installed.
    pub fn apt_install_file(&mut self, path: &str, options: &AptOptions, progress: Progress<'_>) -> Result<Report> {
        let output = self.run_process(&crate::machine::Command::new([
            "dpkg-deb",
            "--show",
            "--showformat=${Package}\n${Version}\n",
            "--",
            path,
        ]))?;
        if !output.success() {
            return Err(MachineError::failed(format!(
                "cannot read the package {path}: {}",
                output.stderr_text().trim()
            )));
        }
        let text = output.stdout_text();
        let mut lines = text.lines();
        let (name, version) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        self.package_is_known(name)?;
        if installed(&self.dpkg_packages()?, name).is_some_and(|p| p.version == version) {
            return Ok(Report::default());
        }
        let path = std::fs::canonicalize(path).map_err(|e| MachineError::io(format!("cannot find {path}"), e))?;
        let mut all = options.words();
        all.extend(["--allow-downgrades".into(), "install".into(), path.to_string_lossy().into_owned()]);
        self.apt_transaction(&all, options, &|_| Ok(()), progress)
    }

    /// Brings the package lists up to date. `counts` records it as a change when the lists differ afterwards.
    pub fn apt_update(&mut self, lock_timeout: u64, counts: bool, progress: Progress<'_>) -> Result<()> {
        self.require_root("update the package lists")?;
        let subject = || Subject::new(Domain::Package, "package lists");
        if self.predicted() {
            let changed = self.foresee_update(counts, progress)?;
            if counts && changed {
                self.record(Change::effect(subject(), "updated", Undo::None));
            }
            return Ok(());
        }
        let lists = Path::new("/var/lib/apt/lists");
        let before = apt::fingerprint(lists);
        let command = apt::command(
            &["-q".into(), "-o".into(), format!("DPkg::Lock::Timeout={lock_timeout}"), "update".into()],
            &PrivateState::default(),
        );
        let output = apt::run(self, &command, lock_timeout, progress)?;
        let said = output.stderr_text();
        if !output.success() || said.lines().any(|l| l.starts_with("E: ")) {
            return Err(MachineError::failed(format!("Failed to update apt cache: {}", apt::complaint(&output))));
        }
        // apt ends well when a server could not be reached and old lists are used instead.
        if let Some(line) = said
            .lines()
            .find(|l| l.starts_with("W: Failed to fetch") || l.contains("Some index files failed to download"))
        {
            return Err(MachineError::failed(format!(
                "Failed to update apt cache: {}",
                line.trim_start_matches("W: ")
            )));
        }
        if counts && apt::fingerprint(lists) != before {
            self.record(Change::effect(subject(), "updated", Undo::None));
        }
        Ok(())
    }

    /// When the package lists were brought up to date; now, when a check foresees that.
    pub fn apt_lists_time(&self) -> Option<SystemTime> {
        if self.predicted() && self.predictions.packages.lists_fresh {
            Some(SystemTime::now())
        } else {
            apt::lists_time()
        }
    }

    /// Empties the archive of downloaded packages; `outdated` keeps those that can still be downloaded.
    pub fn apt_clean(&mut self, outdated: bool, progress: Progress<'_>) -> Result<Report> {
        self.require_root("clean the archive of packages")?;
        if self.predicted() {
            return Ok(Report::default());
        }
        let command =
            apt::command(&["-q".into(), if outdated { "autoclean" } else { "clean" }.into()], &PrivateState::default());
        let output = apt::run(self, &command, 60, progress)?;
        if !output.success() {
            return Err(MachineError::failed(apt::complaint(&output)));
        }
        Ok(Report { stdout: output.stdout_text(), stderr: output.stderr_text(), changed: false })
    }

    pub(super) fn require_root(&self, what: &str) -> Result<()> {
        match rustix::process::geteuid().is_root() {
            true => Ok(()),
            false => Err(MachineError::failed(format!("only root can {what}: set `become: true`"))),
        }
    }

    fn apt_transaction(
        &mut self,
        words: &[String],
        options: &AptOptions,
        check: &dyn Fn(&[Step]) -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<Report> {
        self.require_root("install or remove packages")?;
        if self.predicted() {
            let steps = self.simulate_steps(words, progress)?;
            check(&steps)?;
            self.record_steps(&steps);
            self.foresee_steps(&steps);
            if self.mode() == Mode::Predicted {
                self.foresee_contents(&steps, options, progress)?;
            } else if !steps.is_empty() {
                // What these packages bring may be there or not.
                self.predictions.packages.opaque = true;
            }
            return Ok(Report { changed: !steps.is_empty(), ..Report::default() });
        }
        if words.iter().any(|w| w == "install") {
            check(&[]).or_else(|_| check(&apt::simulate(self, words, &PrivateState::default())?))?;
        }
        let before = live_dpkg()?;
        let command = apt::command(words, &PrivateState::default());
        let policy = options.policy_rc_d.map(PolicyRcD::install).transpose()?;
        let result = apt::run(self, &command, options.lock_timeout, progress);
        if let Some(policy) = policy {
            policy.restore()?;
        }
        // What was done is recorded even when the whole has failed.
        let steps = differences(&before, &live_dpkg()?);
        self.record_steps(&steps);
        let output = result?;
        if !output.success() {
            return Err(MachineError::failed(format!("apt-get {} failed: {}", verb(words), apt::complaint(&output))));
        }
        Ok(Report { stdout: output.stdout_text(), stderr: output.stderr_text(), changed: !steps.is_empty() })
    }

    pub(super) fn record_steps(&mut self, steps: &[Step]) {
        let facet = |version: &Option<String>| match version {
            Some(version) => Facet::Value(version.clone().into()),
            None => Facet::Absent,
        };
        let mut steps: Vec<&Step> = steps.iter().collect();
        steps.sort_by(|a, b| a.name.cmp(&b.name));
        for step in steps {
            let subject = Subject::new(Domain::Package, step.name.clone());
            let mut change = Change::set(subject, "version", facet(&step.before), facet(&step.after));
            // The newer version may have written data that the older one does not read.
            change.undo = Undo::None;
            self.record(change);
        }
    }
}

/// The word of a command line that says what is to be done.
fn verb(words: &[String]) -> String {
    const VERBS: [&str; 6] = ["install", "remove", "upgrade", "dist-upgrade", "autoremove", "build-dep"];
    let start = words.iter().position(|w| VERBS.contains(&w.as_str())).unwrap_or(0);
    words.get(start..).unwrap_or_default().join(" ")
}

/// An installed package by name; `name:arch` where the architecture is the package's own.
fn find<'a>(packages: &'a BTreeMap<String, Installed>, name: &str) -> Option<&'a Installed> {
    packages.get(name).or_else(|| {
        let (name, arch) = name.split_once(':')?;
        packages.get(name).filter(|p| p.arch == arch || p.arch == "all" || arch == "native" || arch == "any")
    })
}

fn installed<'a>(packages: &'a BTreeMap<String, Installed>, name: &str) -> Option<&'a Installed> {
    find(packages, name).filter(|p| p.is_installed())
}

/// What is different between two looks at dpkg's records.
fn differences(before: &BTreeMap<String, Installed>, after: &BTreeMap<String, Installed>) -> Vec<Step> {
    let version = |packages: &BTreeMap<String, Installed>, name: &str| {
        packages.get(name).filter(|p| p.is_installed()).map(|p| p.version.clone())
    };
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let step = Step {
                name: name.clone(),
                before: version(before, name),
                after: version(after, name),
                arch: String::new(),
                purge: !after.contains_key(name),
            };
            let purged =
                step.before.is_none() && step.after.is_none() && before.contains_key(name) != after.contains_key(name);
            (step.before != step.after || (purged && step.purge)).then_some(step)
        })
        .collect()
}

/// `/usr/sbin/policy-rc.d` for the time of an installation.
struct PolicyRcD {
    saved: Option<std::path::PathBuf>,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl PolicyRcD {
    fn install(answer: i32) -> Result<PolicyRcD> {
        use std::os::unix::fs::PermissionsExt;
        let saved = if Path::new(POLICY).exists() {
            let aside = std::path::PathBuf::from(format!("{POLICY}.deploy-{}", std::process::id()));
            std::fs::rename(POLICY, &aside).map_err(|e| MachineError::io(format!("cannot move {POLICY} aside"), e))?;
            Some(aside)
        } else {
            None
        };
        let policy = PolicyRcD { saved };
        let written = std::fs::write(POLICY, format!("#!/bin/sh\nexit {answer}\n"))
            .and_then(|()| std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)));
        match written {
            Ok(()) => Ok(policy),
            Err(e) => {
                policy.restore()?;
                Err(MachineError::io(format!("cannot write {POLICY}"), e))
            }
        }
    }

    fn restore(self) -> Result<()> {
        let result = match &self.saved {
            Some(aside) => std::fs::rename(aside, POLICY),
            None => match std::fs::remove_file(POLICY) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        result.map_err(|e| MachineError::io(format!("cannot restore {POLICY}"), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read() {
        for (text, name, version, release) in [
            ("hello", "hello", None, None),
            ("hello=2.10*", "hello", Some(("=", "2.10*")), None),
            ("hello>=2.10", "hello", Some((">=", "2.10")), None),
            ("libc6:i386", "libc6:i386", None, None),
            ("hello/trixie-backports", "hello", None, Some("trixie-backports")),
            ("g++", "g++", None, None),
        ] {
            let read = Specification::parse(text).unwrap();
            assert_eq!(read.name, name, "{text}");
            assert_eq!(read.version, version.map(|(o, v)| (o, v.to_string())), "{text}");
            assert_eq!(read.release.as_deref(), release, "{text}");
        }
        for text in ["", "-o", "a b", "x=", "x;y"] {
            assert!(Specification::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_accepted_by_pattern_and_bound() {
        for (text, version, accepted) in [
            ("x=1:11.8*", "1:11.8.6-0+deb13u1", true),
            ("x=1:11.4*", "1:11.8.6-0+deb13u1", false),
            ("x=2.10", "2.10", true),
            ("x>=2.10", "2.9", false),
            ("x>=2.10", "2.10-1", true),
            ("x", "anything", true),
        ] {
            assert_eq!(Specification::parse(text).unwrap().accepts(version), accepted, "{text} {version}");
        }
    }

    #[test]
    fn differences_between_two_looks() {
        let status = |text: &str| dpkg::parse_status(text);
        let before = status(
            "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n\nPackage: c\nStatus: deinstall ok config-files\nVersion: 1\n",
        );
        let after = status(
            "Package: a\nStatus: install ok installed\nVersion: 2\n\nPackage: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: d\nStatus: install ok installed\nVersion: 4\n",
        );
        let steps: Vec<_> =
            differences(&before, &after).into_iter().map(|s| (s.name, s.before, s.after, s.purge)).collect();
        let text = |t: &str| Some(t.to_string());
        assert_eq!(
            steps,
            [
                ("a".to_string(), text("1"), text("2"), false),
                ("b".to_string(), text("1"), None, false),
                ("c".to_string(), None, None, true),
                ("d".to_string(), None, text("4"), false),
            ]
        );
    }
}
