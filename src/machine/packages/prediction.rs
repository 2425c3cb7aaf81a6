//! What a check foresees of packages.

use super::Installed;
use super::apt::Step;
use crate::machine::{Machine, MachineError, Mode, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Packages as they would be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Packages {
    packages: BTreeMap<String, Foreseen>,
    /// The package lists would have been brought up to date.
    pub(super) lists_fresh: bool,
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

    /// Simulates a transaction on the host as earlier tasks would have left it.
    pub(super) fn simulate_steps(&mut self, words: &[String], _progress: &mut dyn FnMut(&str)) -> Result<Vec<Step>> {
        // What is foreseen already is no step any more; apt does not know it.
        let known: Vec<String> = self.foreseen_installed();
        let steps = super::apt::simulate(self, words, &super::apt::PrivateState::default())?;
        Ok(steps.into_iter().filter(|s| s.after.is_none() || !known.contains(&s.name)).collect())
    }

    /// What an update of the package lists would change.
    pub(super) fn foresee_update(&mut self, _counts: bool, _progress: &mut dyn FnMut(&str)) -> Result<bool> {
        Err(MachineError::unknown("an update of the package lists is not predicted yet"))
    }

    /// What the installed packages bring.
    pub(super) fn foresee_contents(
        &mut self,
        _steps: &[Step],
        _options: &super::AptOptions,
        _progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        Ok(())
    }

    /// Names of packages that a check foresees to be installed.
    pub(super) fn foreseen_installed(&self) -> Vec<String> {
        self.predictions
            .packages
            .packages
            .iter()
            .filter(|(_, f)| matches!(f, Foreseen::Installed { .. }))
            .map(|(name, _)| name.clone())
            .collect()
    }
}
