//! `dnf`: packages of Fedora, RHEL and their like.

use crate::machine::Machine;
use crate::machine::packages::{DnfAction, DnfOptions, Specification};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.builtin.dnf`
pub const DNF: Module = Module {
    name: "ansible.builtin.dnf",
    aliases: &[
        "dnf",
        "yum",
        "dnf5",
        "ansible.builtin.yum",
        "ansible.builtin.dnf5",
        "ansible.legacy.dnf",
        "ansible.legacy.yum",
    ],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Dnf::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What packages are brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Installed, in whatever version is there.
    #[serde(alias = "installed")]
    Present,
    /// Installed in the newest version.
    Latest,
    /// Removed.
    #[serde(alias = "removed")]
    Absent,
}

crate::arguments! {
    /// Installs, upgrades and removes packages with dnf.
    ///
    /// UNVERIFIED: this module was written from dnf's documentation and tested with samples of its output, not yet
    /// against a real host of the RedHat family. In a check the set of packages is resolved by dnf itself, but not
    /// what they bring: services and files of a package that is not installed yet are unknown. With `--no-fetch` dnf is
    /// asked for what it has kept of its repositories alone (`--cacheonly`).
    pub struct Dnf {
        /// Packages, package files or URLs.
        #[serde(default, alias = "pkg")]
        pub name: TextList,
        /// `present`, `latest` or `absent`; `absent` is the default with `autoremove`.
        pub state: Option<State>,
        /// Repositories to use besides those enabled.
        #[serde(default)]
        pub enablerepo: TextList,
        /// Repositories not to use.
        #[serde(default)]
        pub disablerepo: TextList,
        /// Packages to leave out.
        #[serde(default)]
        pub exclude: TextList,
        /// Do not check signatures.
        #[serde(default)]
        pub disable_gpg_check: Flag,
        /// Refresh the metadata first.
        #[serde(default, alias = "expire-cache")]
        pub update_cache: Flag,
        /// Remove what nothing needs any more.
        #[serde(default)]
        pub autoremove: Flag,
        /// Remove what is in the way.
        #[serde(default)]
        pub allowerasing: Flag,
        /// Take older versions where the newest cannot be installed.
        pub nobest: Option<Flag>,
        /// Take the newest version or fail.
        pub best: Option<Flag>,
        /// Whether weak dependencies come along.
        pub install_weak_deps: Option<Flag>,
        /// Leave out what cannot be installed.
        #[serde(default)]
        pub skip_broken: Flag,
        /// The release of the distribution.
        pub releasever: Option<Text>,
        /// Accepted for old playbooks: dnf waits for its own lock.
        pub lock_timeout: Option<Int>,
        /// Accepted for old playbooks.
        pub use_backend: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Dnf = decode(arguments)?;
    if !machine.has_program("dnf") {
        return Err(ModuleError::Failed(
            "this host has no dnf: use `package`, which takes what the host has, or `apt`".into(),
        ));
    }
    let mut names = Vec::new();
    let mut all = false;
    for name in &arguments.name.0 {
        match name.as_str() {
            "*" => all = true,
            name if name.starts_with('@') => {
                return Err(ModuleError::argument(
                    "name",
                    format!("`{name}`: groups of packages are not supported yet"),
                ));
            }
            // Files and addresses are taken as they are.
            name if name.contains('/') => {
                names.push(Specification { text: name.into(), name: name.into(), version: None, release: None });
            }
            name => names.push(Specification::parse(name).map_err(|why| ModuleError::argument("name", why))?),
        }
    }
    let options = DnfOptions {
        enablerepo: arguments.enablerepo.0,
        disablerepo: arguments.disablerepo.0,
        exclude: arguments.exclude.0,
        disable_gpg_check: arguments.disable_gpg_check.0,
        autoremove: arguments.autoremove.0,
        allowerasing: arguments.allowerasing.0,
        nobest: arguments.nobest.map(|f| f.0).or(arguments.best.map(|f| !f.0)),
        install_weak_deps: arguments.install_weak_deps.map(|f| f.0),
        skip_broken: arguments.skip_broken.0,
        refresh: arguments.update_cache.0,
        releasever: arguments.releasever.map(|r| r.0),
    };
    let action = match arguments.state {
        _ if names.is_empty() && !all && arguments.autoremove.0 => DnfAction::Autoremove,
        Some(State::Latest) if all => DnfAction::UpgradeAll,
        _ if all => return Err(ModuleError::argument("name", "`*` needs `state: latest`")),
        _ if names.is_empty() => return Ok(Outcome::ok()),
        Some(State::Latest) => DnfAction::Latest,
        Some(State::Absent) => DnfAction::Remove,
        None if arguments.autoremove.0 => DnfAction::Remove,
        Some(State::Present) | None => DnfAction::Install,
    };
    let controller = &mut *context.controller;
    let mut progress = |text: &str| controller.progress(text, None, None);
    let report = machine.dnf(action, &names, &options, &mut progress)?;
    let mut outcome = Outcome::ok().with("rc", 0);
    if report.changed {
        outcome = outcome.with("results", crate::modules::commands::lines(&report.stdout));
        if machine.predicted() {
            outcome.unknown_fields.push("results".into());
        }
    }
    Ok(outcome)
}
