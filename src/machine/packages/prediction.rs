//! What a check foresees of packages.

use super::Installed;
use super::apt::Step;
use super::private::Private;
use crate::machine::{Machine, MachineError, Mode, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Packages as they would be.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Packages {
    packages: BTreeMap<String, Foreseen>,
    /// The package lists would have been brought up to date.
    pub(super) lists_fresh: bool,
    /// Names that dnf would have installed or removed.
    pub(super) rpm: BTreeMap<String, bool>,
    /// The files that foreseen packages would bring.
    brought: BTreeMap<String, Vec<String>>,
    /// Packages are foreseen of which it is not known what they bring.
    pub(super) opaque: bool,
    /// Whether the lists of the private copy differ from the host's; nothing before they were downloaded.
    #[serde(skip)]
    updated: Option<bool>,
    #[serde(skip)]
    private: Option<std::sync::Arc<Private>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Foreseen {
    Installed {
        version: String,
        arch: String,
    },
    Removed,
    /// A task that may or may not run would install or remove it.
    Unknown,
}

/// The steps of a transaction where earlier tasks have left the host. apt was asked on the host as it is, so it neither
/// knows what was foreseen to be installed nor what was foreseen to be gone.
fn as_foreseen(
    steps: Vec<Step>,
    words: &[String],
    foreseen: &BTreeMap<String, Foreseen>,
    live: &BTreeMap<String, Installed>,
) -> Vec<Step> {
    let installs = |name: &str| matches!(foreseen.get(name), Some(Foreseen::Installed { .. }));
    let gone = |name: &str| matches!(foreseen.get(name), Some(Foreseen::Removed));
    let mut steps: Vec<Step> = steps
        .into_iter()
        .filter(|step| if step.after.is_some() { !installs(&step.name) } else { !gone(&step.name) })
        .collect();
    let Some(verb) = words.iter().position(|word| word == "install" || word == "remove") else { return steps };
    let purge = words.iter().any(|word| word == "--purge");
    let (verb, named) = (&words[verb], &words[verb + 1..]);
    for word in named {
        let name = word.split(['=', '/', ':']).next().unwrap_or_default();
        if steps.iter().any(|step| step.name == name) {
            continue;
        }
        match (foreseen.get(name), verb.as_str()) {
            (Some(Foreseen::Installed { version, arch }), "remove") => steps.push(Step {
                name: name.into(),
                before: Some(version.clone()),
                after: None,
                arch: arch.clone(),
                purge,
            }),
            (Some(Foreseen::Removed), "install") => {
                let Some(package) = live.get(name).filter(|package| package.is_installed()) else { continue };
                steps.push(Step {
                    name: name.into(),
                    before: None,
                    after: Some(package.version.clone()),
                    arch: package.arch.clone(),
                    purge: false,
                });
            }
            _ => {}
        }
    }
    steps
}

impl Packages {
    /// Takes over the prediction of another child; the private directory stays this one's.
    pub(crate) fn replace(&mut self, other: Packages) {
        let (updated, private) = (self.updated.take(), self.private.take());
        *self = Packages { updated, private, ..other };
    }
}

impl Machine {
    /// Lays what is foreseen over what dpkg says.
    pub(super) fn lay_foreseen_packages(&self, packages: &mut BTreeMap<String, Installed>) {
        for (name, foreseen) in &self.predictions.packages.packages {
            match foreseen {
                Foreseen::Installed { version, arch } => {
                    let package = packages
                        .entry(name.clone())
                        .or_insert_with(|| Installed { name: name.clone(), ..Installed::default() });
                    package.version = version.clone();
                    package.arch = arch.clone();
                    package.status = "installed".into();
                }
                Foreseen::Removed => {
                    packages.remove(name);
                }
                Foreseen::Unknown => {}
            }
        }
    }

    /// Fails as unknown when a task that may not have run decides whether this package is installed.
    pub(super) fn package_is_known(&self, name: &str) -> Result<()> {
        match self.predictions.packages.packages.get(name) {
            Some(Foreseen::Unknown) if self.predicted() => Err(MachineError::unknown(format!(
                "whether {name} is installed depends on an earlier task of which it is not known whether it runs"
            ))),
            _ => Ok(()),
        }
    }

    /// Remembers the steps of a simulated transaction.
    pub(super) fn foresee_steps(&mut self, steps: &[Step]) {
        let tainted = self.mode() == Mode::Tainted;
        for step in steps {
            let foreseen = match &step.after {
                _ if tainted => Foreseen::Unknown,
                Some(version) => Foreseen::Installed { version: version.clone(), arch: step.arch.clone() },
                None => Foreseen::Removed,
            };
            self.predictions.packages.packages.insert(step.name.clone(), foreseen);
        }
    }

    /// The private copy of apt's state, made when it is first needed.
    pub(super) fn private_apt(&mut self) -> Result<std::sync::Arc<Private>> {
        match &self.predictions.packages.private {
            Some(private) => Ok(private.clone()),
            None => {
                let private = std::sync::Arc::new(Private::new()?);
                self.predictions.packages.private = Some(private.clone());
                Ok(private)
            }
        }
    }

    /// Simulates a transaction on the host as earlier tasks would have left it.
    pub(super) fn simulate_steps(&mut self, words: &[String], progress: &mut dyn FnMut(&str)) -> Result<Vec<Step>> {
        if self.predictions.packages.lists_fresh || !super::has_lists() {
            self.update_privately(progress)?;
        }
        let state = self.private_apt()?.state();
        let steps = match super::apt::simulate(self, words, &state) {
            Err(MachineError::Failed { what }) if self.foresees_sources()? => {
                return Err(MachineError::unknown(format!(
                    "{what}; an earlier task of this check would change where packages come from"
                )));
            }
            other => other?,
        };
        Ok(as_foreseen(steps, words, &self.predictions.packages.packages, &super::live_dpkg()?))
    }

    /// Remembers which files a package would bring.
    pub(super) fn foresee_brought(&mut self, name: &str, files: Vec<String>) {
        self.predictions.packages.brought.insert(name.into(), files);
    }

    /// The files that a package would have brought, which is to go again.
    pub(super) fn take_brought(&mut self, name: &str) -> Vec<String> {
        self.predictions.packages.brought.remove(name).unwrap_or_default()
    }

    /// Whether an earlier task would change the sources of packages.
    fn foresees_sources(&self) -> Result<bool> {
        let own = |path: &std::path::Path| -> Vec<(std::ffi::OsString, Option<Vec<u8>>)> {
            let mut entries: Vec<_> = std::fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| (e.file_name(), std::fs::read(e.path()).ok()))
                .collect();
            entries.sort();
            entries
        };
        for directory in ["/etc/apt/sources.list.d", "/etc/apt/preferences.d", "/etc/apt/apt.conf.d"] {
            let directory = std::path::Path::new(directory);
            if self.stat(directory)?.is_none() {
                continue;
            }
            let mut foreseen = Vec::new();
            for name in self.list_directory(directory)? {
                let contents = self.read_file(directory.join(&name), 1 << 20).ok();
                foreseen.push((name, contents));
            }
            foreseen.sort();
            if foreseen != own(directory) {
                return Ok(true);
            }
        }
        let list = "/etc/apt/sources.list";
        Ok(self.read_file_if_exists(list, 1 << 20).ok().flatten() != std::fs::read(list).ok())
    }

    /// Downloads the lists into the private directory, once a check. Where that fails the host's own lists must do.
    fn update_privately(&mut self, progress: &mut dyn FnMut(&str)) -> Result<bool> {
        if let Some(differs) = self.predictions.packages.updated {
            return Ok(differs);
        }
        if self.no_fetch {
            return Err(MachineError::unknown(
                "the package lists would be brought up to date first, and --no-fetch forbids to download them",
            ));
        }
        self.predictions.packages.private = None;
        let mut private = Private::new()?;
        progress("downloading package lists into a private directory");
        let differs = match private.update(self, progress) {
            Ok(differs) => differs,
            Err(e) if super::has_lists() => {
                progress(&format!("{e}; the host's own package lists are used"));
                false
            }
            Err(e) => return Err(MachineError::unknown(format!("{e}, and the host has no package lists"))),
        };
        self.predictions.packages.private = Some(std::sync::Arc::new(private));
        self.predictions.packages.updated = Some(differs);
        Ok(differs)
    }

    /// What an update of the package lists would change. Unless it counts, they are only downloaded when a later
    /// step needs them.
    pub(super) fn foresee_update(&mut self, counts: bool, progress: &mut dyn FnMut(&str)) -> Result<bool> {
        self.predictions.packages.lists_fresh = true;
        if !counts {
            return Ok(false);
        }
        if !super::has_lists() {
            return Ok(true);
        }
        self.update_privately(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, before: Option<&str>, after: Option<&str>) -> Step {
        let text = |version: Option<&str>| version.map(str::to_string);
        Step { name: name.into(), before: text(before), after: text(after), arch: "amd64".into(), purge: false }
    }

    #[test]
    fn a_package_comes_and_goes_within_one_check() {
        let new = Foreseen::Installed { version: "2".into(), arch: "amd64".into() };
        let foreseen: BTreeMap<String, Foreseen> =
            [("new".to_string(), new), ("old".to_string(), Foreseen::Removed)].into();
        let live = super::super::dpkg::parse_status(
            "Package: old\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n",
        );
        for (words, apt, expected) in [
            ("-q remove new", vec![], vec![step("new", Some("2"), None)]),
            (
                "-q remove new:amd64 other",
                vec![step("other", Some("1"), None)],
                vec![step("other", Some("1"), None), step("new", Some("2"), None)],
            ),
            ("-q install new", vec![step("new", None, Some("2"))], vec![]),
            ("-q install old", vec![], vec![step("old", None, Some("1"))]),
            ("-q autoremove", vec![step("old", Some("1"), None)], vec![]),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_string).collect();
            assert_eq!(as_foreseen(apt, &words, &foreseen, &live), expected, "{words:?}");
        }
    }
}
