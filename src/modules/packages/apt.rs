//! `apt`: packages of Debian and Ubuntu.

use crate::machine::packages::{AptOptions, Report, Specification, Upgrade};
use crate::machine::{Command, Machine};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `ansible.builtin.apt`
pub const APT: Module = Module {
    name: "ansible.builtin.apt",
    aliases: &["apt", "ansible.legacy.apt"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Apt::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What packages are brought to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Installed, in whatever version is there.
    #[default]
    #[serde(alias = "installed")]
    Present,
    /// Installed in the newest version.
    Latest,
    /// Removed.
    #[serde(alias = "removed")]
    Absent,
    /// What is needed to build them is installed.
    BuildDep,
    /// Broken dependencies are repaired.
    Fixed,
}

crate::arguments! {
    /// Installs, upgrades and removes packages with apt.
    ///
    /// In a check the set of packages is resolved by apt's own simulation, and what they bring (files, units,
    /// users) is read from their archives in a private directory on the host, which is removed afterwards. Package
    /// lists that are missing or too old are downloaded into that directory too.
    pub struct Apt {
        /// Packages: `hello`, `hello=2.10*`, `hello>=2.10`, or a list of them.
        #[serde(default, alias = "package", alias = "pkg")]
        pub name: TextList,
        /// `present`, `latest`, `absent`, `build-dep` or `fixed`.
        #[serde(default)]
        pub state: State,
        /// Bring the package lists up to date first. It counts as a change only when nothing else is asked for.
        #[serde(alias = "update-cache")]
        pub update_cache: Option<Flag>,
        /// Seconds for which package lists are good enough; implies `update_cache`.
        #[serde(default)]
        pub cache_valid_time: Int,
        /// How often an update of the lists is tried again.
        pub update_cache_retries: Option<Int>,
        /// The longest pause between two tries, in seconds.
        pub update_cache_retry_max_delay: Option<Int>,
        /// Remove configuration files too.
        #[serde(default)]
        pub purge: Flag,
        /// The release that packages are taken from.
        #[serde(alias = "default-release")]
        pub default_release: Option<Text>,
        /// Whether recommended packages come along.
        #[serde(alias = "install-recommends")]
        pub install_recommends: Option<Flag>,
        /// Do what apt refuses otherwise: downgrades, packages without signature, removal of essential packages.
        #[serde(default)]
        pub force: Flag,
        /// Take packages without a valid signature.
        #[serde(default, alias = "allow-unauthenticated")]
        pub allow_unauthenticated: Flag,
        /// Install older versions than those installed.
        #[serde(default, alias = "allow-downgrade", alias = "allow_downgrades", alias = "allow-downgrades")]
        pub allow_downgrade: Flag,
        /// Change packages that are held.
        #[serde(default)]
        pub allow_change_held_packages: Flag,
        /// Upgrade everything: `yes` or `safe`, `full` or `dist`.
        pub upgrade: Option<Text>,
        /// Options for dpkg, separated by commas.
        #[serde(default = "default_dpkg_options")]
        pub dpkg_options: TextList,
        /// A package file: a path on the host or an URL.
        pub deb: Option<Text>,
        /// Remove what nothing needs any more.
        #[serde(default)]
        pub autoremove: Flag,
        /// Remove downloaded packages that cannot be downloaded any more.
        #[serde(default)]
        pub autoclean: Flag,
        /// Remove all downloaded packages.
        #[serde(default)]
        pub clean: Flag,
        /// What `policy-rc.d` answers meanwhile: 101 keeps services from being started.
        pub policy_rc_d: Option<Int>,
        /// Upgrade what is installed, install nothing new.
        #[serde(default)]
        pub only_upgrade: Flag,
        /// Fail instead of removing any package.
        #[serde(default)]
        pub fail_on_autoremove: Flag,
        /// Accepted for old playbooks; apt-get is always used.
        pub force_apt_get: Option<Flag>,
        /// Accepted for old playbooks; nothing has to be installed for this module.
        pub auto_install_module_deps: Option<Flag>,
        /// Seconds to wait for another process that works with packages.
        #[serde(default = "default_lock_timeout")]
        pub lock_timeout: Int,
    }
}

fn default_dpkg_options() -> TextList {
    TextList(vec!["force-confdef".into(), "force-confold".into()])
}

fn default_lock_timeout() -> Int {
    Int(60)
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Apt = decode(arguments)?;
    if !machine.has_program("apt-get") {
        return Err(ModuleError::Failed(
            "this host has no apt-get: use `package`, which takes what the host has, or `dnf`".into(),
        ));
    }
    let asked = [arguments.deb.is_some(), !arguments.name.0.is_empty(), arguments.upgrade.is_some()];
    if asked.into_iter().filter(|given| *given).count() > 1 {
        return Err(ModuleError::Failed("parameters are mutually exclusive: deb|package|upgrade".into()));
    }
    let mut names = Vec::new();
    let mut all = false;
    for name in &arguments.name.0 {
        match name.as_str() {
            "*" => all = true,
            name => names.push(Specification::parse(name).map_err(|why| ModuleError::argument("name", why))?),
        }
    }
    if all && arguments.state != State::Latest {
        return Err(ModuleError::argument("name", "`*` needs `state: latest`"));
    }
    let upgrade = match arguments.upgrade.as_ref().map(|u| u.0.to_ascii_lowercase()) {
        _ if all => Some(Upgrade::Safe),
        None => None,
        Some(word) => match word.as_str() {
            "no" | "false" => None,
            "yes" | "true" | "safe" => Some(Upgrade::Safe),
            "full" | "dist" => Some(Upgrade::Full),
            other => {
                return Err(ModuleError::argument(
                    "upgrade",
                    format!("`{other}` is not known: write yes, safe, full or dist"),
                ));
            }
        },
    };
    let options = AptOptions {
        allow_unauthenticated: arguments.allow_unauthenticated.0,
        allow_downgrade: arguments.allow_downgrade.0,
        allow_change_held_packages: arguments.allow_change_held_packages.0,
        force: arguments.force.0,
        install_recommends: arguments.install_recommends.map(|f| f.0),
        default_release: arguments.default_release.as_ref().map(|t| t.0.clone()),
        dpkg_options: arguments.dpkg_options.0.clone(),
        only_upgrade: arguments.only_upgrade.0,
        autoremove: arguments.autoremove.0,
        purge: arguments.purge.0,
        fail_on_autoremove: arguments.fail_on_autoremove.0,
        lock_timeout: u64::try_from(arguments.lock_timeout.0).unwrap_or(0),
        policy_rc_d: arguments.policy_rc_d.and_then(|i| i32::try_from(i.0).ok()),
    };
    let controller = &mut *context.controller;
    let mut progress = |text: &str| controller.progress(text, None, None);

    let alone = names.is_empty() && upgrade.is_none() && arguments.deb.is_none();
    let housekeeping = arguments.autoremove.0 || arguments.autoclean.0 || arguments.clean.0;
    let wants_update = arguments.update_cache.map_or(arguments.cache_valid_time.0 > 0, |f| f.0);
    if alone && !wants_update && !housekeeping && arguments.state != State::Fixed {
        // An empty list (a variable with nothing in it) is nothing to do, as in Ansible.
        return Ok(Outcome::ok());
    }
    let updated = wants_update && lists_are_old(machine, arguments.cache_valid_time.0);
    if updated {
        update(&arguments, machine, alone && !housekeeping, &mut progress)?;
    }

    let mut reports: Vec<Report> = Vec::new();
    if arguments.clean.0 || arguments.autoclean.0 {
        reports.push(machine.apt_clean(arguments.autoclean.0 && !arguments.clean.0, &mut progress)?);
    }
    if let Some(upgrade) = upgrade {
        reports.push(machine.apt_upgrade(upgrade, &options, &mut progress)?);
    }
    if let Some(deb) = &arguments.deb {
        if arguments.state != State::Present {
            return Err(ModuleError::argument("deb", "a package file can only be installed (`state: present`)"));
        }
        reports.push(install_deb(&deb.0, machine, &options, &mut progress)?);
    }
    if !names.is_empty() || arguments.state == State::Fixed {
        reports.push(match arguments.state {
            State::Present => machine.apt_install(&names, false, &options, &mut progress)?,
            State::Latest => machine.apt_install(&names, true, &options, &mut progress)?,
            State::Absent => machine.apt_remove(&names, &options, &mut progress)?,
            State::BuildDep => machine.apt_build_dep(&names, &options, &mut progress)?,
            State::Fixed => machine.apt_fix(&names, &options, &mut progress)?,
        });
    } else if alone && arguments.autoremove.0 {
        reports.push(machine.apt_autoremove(&options, &mut progress)?);
    }
    let mut outcome = Outcome::ok().with("cache_updated", updated);
    let time = machine.apt_lists_time().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
    outcome = outcome.with("cache_update_time", time);
    let join =
        |part: fn(&Report) -> &str| reports.iter().map(part).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n");
    let (stdout, stderr) = (join(|r| &r.stdout), join(|r| &r.stderr));
    if reports.iter().any(|r| r.changed) {
        outcome = outcome
            .with("stdout_lines", crate::modules::commands::lines(&stdout))
            .with("stderr_lines", crate::modules::commands::lines(&stderr))
            .with("stdout", stdout)
            .with("stderr", stderr);
        if machine.predicted() {
            outcome.unknown_fields = ["stdout", "stderr", "stdout_lines", "stderr_lines"].map(String::from).to_vec();
        }
    }
    Ok(outcome)
}

/// Whether the package lists are older than what is good enough.
fn lists_are_old(machine: &Machine, valid: i64) -> bool {
    let Some(time) = machine.apt_lists_time() else {
        return true;
    };
    let valid = Duration::from_secs(u64::try_from(valid).unwrap_or(0));
    SystemTime::now().duration_since(time).is_ok_and(|age| age >= valid)
}

/// An update of the lists, tried again after growing pauses.
fn update(
    arguments: &Apt,
    machine: &mut Machine,
    counts: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<(), ModuleError> {
    let retries = arguments.update_cache_retries.map_or(5, |i| i.0.max(0));
    let longest = u64::try_from(arguments.update_cache_retry_max_delay.map_or(12, |i| i.0)).unwrap_or(12);
    let lock = u64::try_from(arguments.lock_timeout.0).unwrap_or(0);
    let mut attempt = 0;
    loop {
        match machine.apt_update(lock, counts, progress) {
            Ok(()) => return Ok(()),
            Err(error @ crate::machine::MachineError::Unknown { .. }) => return Err(error.into()),
            Err(error) if attempt >= retries => return Err(error.into()),
            Err(error) => {
                let pause = (1u64 << attempt.min(16)).min(longest);
                progress(&format!("{error}; trying again in {pause} s"));
                std::thread::sleep(Duration::from_secs(pause));
                attempt += 1;
            }
        }
    }
}

/// Installs a package file, downloading it first with apt's own helper when it is an URL.
fn install_deb(
    deb: &str,
    machine: &mut Machine,
    options: &AptOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, ModuleError> {
    if !deb.contains("://") {
        return Ok(machine.apt_install_file(deb, options, progress)?);
    }
    if machine.predicted() && machine.no_fetch {
        let why = format!("{deb} would have to be downloaded to be looked into, and --no-fetch forbids it");
        return Err(crate::machine::MachineError::unknown(why).into());
    }
    let directory = crate::machine::Scratch::new("apt-deb")?;
    let path = directory.path().join("package.deb").to_string_lossy().into_owned();
    let output = machine.probe(&Command::new(["/usr/lib/apt/apt-helper", "download-file", deb, &path]))?;
    if !output.success() {
        return Err(ModuleError::Failed(format!("cannot download {deb}: {}", output.stderr_text().trim())));
    }
    Ok(machine.apt_install_file(&path, options, progress)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::NoController;
    use serde_json::json;

    fn call(mode: Mode, arguments: Value) -> Result<(Outcome, usize), ModuleError> {
        let mut machine = Machine::new(mode);
        let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
        let outcome = run(arguments.as_object().unwrap().clone(), &mut machine, &mut context)?;
        Ok((outcome, machine.take_changes().len()))
    }

    #[test]
    fn what_is_installed_is_left_alone_without_asking_apt() {
        for mode in [Mode::Live, Mode::Predicted] {
            for name in [json!("dpkg"), json!(["dpkg", "apt"]), json!("dpkg=1*"), json!("dpkg>=1.0"), json!([])] {
                assert_eq!(call(mode, json!({"name": name})).unwrap().1, 0, "{name}");
            }
            assert_eq!(call(mode, json!({"name": "no-such-package-here", "state": "absent"})).unwrap().1, 0);
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for arguments in [
            json!({"name": "a b"}),
            json!({"name": "*"}),
            json!({"upgrade": "maybe"}),
            json!({"name": "dpkg", "state": "gone"}),
            json!({"nam": "dpkg"}),
            json!({"deb": "/x.deb", "state": "absent"}),
        ] {
            assert!(call(Mode::Live, arguments.clone()).is_err(), "{arguments}");
        }
    }

    #[test]
    fn a_package_that_does_not_exist_is_named() {
        let error = call(Mode::Predicted, json!({"name": "no-such-package-here"})).unwrap_err();
        assert!(error.to_string().contains("no-such-package-here"), "{error}");
    }
}
