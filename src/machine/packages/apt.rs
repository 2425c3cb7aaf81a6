//! apt-get: how it is called, and what its simulation says.

use crate::machine::process::Watch;
use crate::machine::{Command, Machine, MachineError, Output, Result};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How packages are chosen and installed.
#[derive(Clone, Debug, Default)]
pub struct AptOptions {
    /// `--allow-unauthenticated`
    pub allow_unauthenticated: bool,
    /// `--allow-downgrades`
    pub allow_downgrade: bool,
    /// `--allow-change-held-packages`
    pub allow_change_held_packages: bool,
    /// Everything that is otherwise refused (`force`).
    pub force: bool,
    /// Whether recommended packages come along; apt's configuration decides when nothing is said.
    pub install_recommends: Option<bool>,
    /// The release that candidates come from (`-t`).
    pub default_release: Option<String>,
    /// Options for dpkg, without the leading dashes.
    pub dpkg_options: Vec<String>,
    /// Upgrade what is installed, install nothing new.
    pub only_upgrade: bool,
    /// Remove what nothing needs any more.
    pub autoremove: bool,
    /// Remove configuration too.
    pub purge: bool,
    /// Fail instead of removing packages.
    pub fail_on_autoremove: bool,
    /// Seconds to wait for another process that works with packages.
    pub lock_timeout: u64,
    /// What `policy-rc.d` answers during the installation: 101 keeps services from being started.
    pub policy_rc_d: Option<i32>,
}

/// One step of a simulated transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub arch: String,
    pub purge: bool,
}

/// Directories of a private copy of apt's state.
#[derive(Clone, Debug, Default)]
pub(super) struct PrivateState {
    pub arguments: Vec<String>,
}

impl AptOptions {
    /// The options as words of a command line.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = vec!["-y".into(), "-q".into()];
        for option in &self.dpkg_options {
            words.push("-o".into());
            words.push(format!("Dpkg::Options::=--{}", option.trim_start_matches("--")));
        }
        words.push("-o".into());
        words.push(format!("DPkg::Lock::Timeout={}", self.lock_timeout));
        match self.install_recommends {
            Some(true) => words.extend(["-o".into(), "APT::Install-Recommends=yes".into()]),
            Some(false) => words.extend(["-o".into(), "APT::Install-Recommends=no".into()]),
            None => {}
        }
        if let Some(release) = &self.default_release {
            words.extend(["-t".into(), release.clone()]);
        }
        for (flag, word) in [
            (self.allow_unauthenticated || self.force, "--allow-unauthenticated"),
            (self.allow_downgrade || self.force, "--allow-downgrades"),
            (self.allow_change_held_packages || self.force, "--allow-change-held-packages"),
            (self.force, "--allow-remove-essential"),
            (self.only_upgrade, "--only-upgrade"),
            (self.autoremove, "--auto-remove"),
            (self.purge, "--purge"),
            (self.fail_on_autoremove, "--no-remove"),
        ] {
            if flag {
                words.push(word.into());
            }
        }
        words
    }
}

/// A call of apt-get that asks nobody anything.
pub(super) fn command(words: &[String], private: &PrivateState) -> Command {
    let mut command = Command::new(["apt-get"]);
    command.argv.extend(private.arguments.iter().cloned());
    command.argv.extend(words.iter().cloned());
    for (name, value) in [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBIAN_PRIORITY", "critical"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("NEEDRESTART_MODE", "l"),
        ("LC_ALL", "C.UTF-8"),
    ] {
        command.environment.push((name.into(), value.into()));
    }
    command
}

/// Runs apt-get, waiting for locks, and finishing what an interrupted run left.
pub(super) fn run(
    machine: &Machine,
    command: &Command,
    lock_timeout: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Output> {
    let started = Instant::now();
    let mut repaired = false;
    loop {
        let mut tick = |passed: Duration, line: &str| progress(&format!("{line} ({} s)", passed.as_secs()));
        let output = machine.run_watched(command, Watch { timeout: None, progress: &mut tick })?;
        let said = output.stderr_text();
        if !output.success() && said.contains("Could not get lock") && started.elapsed().as_secs() < lock_timeout {
            progress("waiting for another process that works with packages");
            std::thread::sleep(Duration::from_secs(1));
            continue;
        }
        if !output.success() && said.contains("dpkg --configure -a") && !repaired {
            repaired = true;
            progress("finishing an interrupted installation (dpkg --configure -a)");
            let mut repair = self::command(&[], &PrivateState::default());
            repair.argv =
                ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"].map(String::from).to_vec();
            machine.run_process(&repair)?;
            continue;
        }
        return Ok(output);
    }
}

/// What apt-get complained about, without the noise.
pub(super) fn complaint(output: &Output) -> String {
    let text = format!("{}\n{}", output.stderr_text(), output.stdout_text());
    let errors: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with("E: ") || l.starts_with("dpkg: error") || l.contains("Depends:"))
        .map(|l| l.trim_start_matches("E: "))
        .collect();
    if errors.is_empty() { format!("apt-get ended with status {}", output.rc) } else { errors.join("; ") }
}

/// Simulates a transaction. Needs no rights and no lock.
pub(super) fn simulate(machine: &Machine, words: &[String], private: &PrivateState) -> Result<Vec<Step>> {
    let mut all = vec!["-s".to_string(), "-o".into(), "Debug::NoLocking=1".into()];
    all.extend(words.iter().cloned());
    let output = machine.run_process(&command(&all, private))?;
    if !output.success() {
        return Err(MachineError::failed(complaint(&output)));
    }
    Ok(parse_simulation(&output.stdout_text()))
}

/// `Inst name [old] (new Origin [arch])`, `Remv name [old]`, `Purg name [old]`; a package that is removed and
/// installed again is one step.
pub(super) fn parse_simulation(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(verb), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let rest = line.splitn(3, ' ').nth(2).unwrap_or_default();
        let bracket = |text: &str| {
            let inner = text.trim_start().strip_prefix('[')?;
            inner.split_once(']').map(|(version, _)| version.to_string())
        };
        match verb {
            "Inst" => {
                let inside = rest.split_once('(').map(|(_, inside)| inside).unwrap_or_default();
                let after = inside.split([' ', ')']).next().unwrap_or_default().to_string();
                let arch = inside
                    .split_once(')')
                    .and_then(|(inside, _)| inside.rsplit_once('['))
                    .map(|(_, arch)| arch.trim_end_matches(']').to_string())
                    .unwrap_or_default();
                let step = Step { name: name.into(), before: bracket(rest), after: Some(after), arch, purge: false };
                match steps.iter_mut().find(|s| s.name == name) {
                    Some(known) => {
                        known.after = step.after;
                        known.arch = step.arch;
                    }
                    None => steps.push(step),
                }
            }
            "Remv" | "Purg" => match steps.iter_mut().find(|s| s.name == name) {
                Some(known) => known.purge |= verb == "Purg",
                None => steps.push(Step {
                    name: name.into(),
                    before: bracket(rest),
                    after: None,
                    arch: String::new(),
                    purge: verb == "Purg",
                }),
            },
            _ => {}
        }
    }
    steps
}

/// When the package lists were last brought up to date: the stamp that an update leaves, or the lists themselves.
pub fn lists_time() -> Option<SystemTime> {
    for path in ["/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"] {
        if path.ends_with("lists") && !has_lists() {
            return None;
        }
        if let Ok(time) = std::fs::metadata(path).and_then(|m| m.modified()) {
            return Some(time);
        }
    }
    None
}

/// Whether there are any package lists.
pub fn has_lists() -> bool {
    !fingerprint(Path::new("/var/lib/apt/lists")).is_empty()
}

/// Names, sizes and times of the lists in a directory: to see whether an update brought anything.
pub(super) fn fingerprint(directory: &Path) -> Vec<(String, u64, SystemTime)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok().filter(|m| m.is_file())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            (name != "lock").then(|| (name, meta.len(), meta.modified().unwrap_or(UNIX_EPOCH)))
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_read() {
        let steps = parse_simulation(
            "Reading package lists...\n\
             Inst galera-4 (26.4.23-0+deb13u1 Debian:13.7/stable [amd64])\n\
             Inst libssl3t64 [3.5.1-1] (3.5.4-1~deb13u2 Debian-Security:13/stable-security [amd64]) []\n\
             Conf galera-4 (26.4.23-0+deb13u1 Debian:13.7/stable [amd64])\n\
             Remv nano [8.4-1]\nPurg vim [2:9.1-1]\n",
        );
        assert_eq!(steps.len(), 4);
        assert_eq!((steps[0].name.as_str(), steps[0].before.as_deref()), ("galera-4", None));
        assert_eq!((steps[0].after.as_deref(), steps[0].arch.as_str()), (Some("26.4.23-0+deb13u1"), "amd64"));
        assert_eq!(steps[1].before.as_deref(), Some("3.5.1-1"));
        assert_eq!((steps[2].after.clone(), steps[2].purge), (None, false));
        assert!(steps[3].purge);
    }

    #[test]
    fn options_become_words() {
        let options = AptOptions {
            install_recommends: Some(false),
            default_release: Some("bookworm-backports".into()),
            dpkg_options: vec!["force-confdef".into(), "force-confold".into()],
            lock_timeout: 60,
            purge: true,
            ..AptOptions::default()
        };
        assert_eq!(
            options.words().join(" "),
            "-y -q -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60 \
             -o APT::Install-Recommends=no -t bookworm-backports --purge"
        );
    }

    #[test]
    fn complaints_are_kept_and_noise_is_not() {
        let output = Output {
            rc: 100,
            stdout: b"Reading package lists...\n".to_vec(),
            stderr: b"E: Unable to locate package nothere\n".to_vec(),
        };
        assert_eq!(complaint(&output), "Unable to locate package nothere");
    }
}
