//! What the domains remember of a check: one typed field a domain, and the overlay they travel in.

use super::{Machine, MachineError, Overlay, Result};
use serde::{Deserialize, Serialize};

/// The predicted state of every domain. A domain reads and writes its own field; others only read it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Predictions {
    /// A task of this check would have changed something.
    pub anything: bool,
    /// A command was not run: anything may be different when it is.
    pub commands: bool,
    /// Users and groups.
    pub accounts: super::accounts::Accounts,
    /// Crontabs.
    pub cron: super::cron::Cron,
    /// Kernel parameters and the host's name.
    pub kernel: super::kernel::Kernel,
    /// What is mounted.
    pub mounts: super::mounts::Mounts,
    /// Packages.
    pub packages: super::packages::Packages,
    /// Units.
    pub units: super::units::Units,
    /// The firewall.
    pub firewall: super::firewall::Firewall,
    /// The membership in a Galera cluster.
    pub cluster: super::cluster::Cluster,
    /// What programs of the host keep.
    pub settings: super::settings::Settings,
    /// The database server.
    pub sql: super::sql::Sql,
    /// Files, directories and links.
    pub files: super::files::Files,
}

impl Machine {
    /// Whether earlier tasks of this check would have changed anything.
    pub fn foresees_anything(&self) -> bool {
        self.predicted() && self.predictions.anything
    }

    /// The same, also for a task that is carried out within the check (`check_mode: false`).
    pub fn follows_foreseen(&self) -> bool {
        self.foresees_anything() || self.behind_foreseen
    }

    /// Whether a command was not run in this check.
    pub fn foresees_commands(&self) -> bool {
        self.predicted() && self.predictions.commands
    }

    /// The overlay of this machine, to be handed to a child of another identity.
    pub fn overlay(&self) -> Result<Overlay> {
        let value = serde_json::to_value(&self.predictions)
            .map_err(|e| MachineError::failed(format!("cannot write down the predicted state: {e}")))?;
        match value {
            serde_json::Value::Object(domains) => Ok(Overlay { domains: domains.into_iter().collect() }),
            _ => Ok(Overlay::default()),
        }
    }

    /// Takes over the overlay of another child of the same run.
    pub fn load_overlay(&mut self, overlay: Overlay) -> Result<()> {
        let value = serde_json::Value::Object(overlay.domains.into_iter().collect());
        let mut predictions: Predictions = serde_json::from_value(value)
            .map_err(|e| MachineError::failed(format!("cannot read the predicted state: {e}")))?;
        // A private directory is of this process.
        std::mem::swap(&mut predictions.packages, &mut self.predictions.packages);
        let loaded = std::mem::replace(&mut self.predictions, predictions);
        self.predictions.packages.replace(loaded.packages);
        Ok(())
    }
}
