//! Packages of the system's package manager: what is installed, installing, upgrading, removing.

mod apt;
mod archive;
mod contents;
mod dnf;
mod dpkg;
mod prediction;
mod private;
mod rules;
mod scripts;
mod transaction;

pub use apt::{AptOptions, has_lists, lists_time};
pub use dnf::{DnfAction, DnfOptions};
pub use dpkg::{Installed, compare as compare_versions};
pub(crate) use prediction::Packages;
pub use transaction::{Report, Specification, Upgrade};

use super::{Machine, MachineError, Result};
use std::collections::BTreeMap;

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, RHEL and their like.
    Dnf,
}

impl PackageManager {
    /// Ansible's name for it.
    pub fn name(self) -> &'static str {
        match self {
            PackageManager::Apt => "apt",
            PackageManager::Dnf => "dnf",
        }
    }
}

impl Machine {
    /// The host's package manager.
    pub fn package_manager(&self) -> Option<PackageManager> {
        if self.has_program("apt-get") && self.has_program("dpkg") {
            return Some(PackageManager::Apt);
        }
        self.has_program("dnf").then_some(PackageManager::Dnf)
    }

    /// Everything that dpkg knows, with what a check foresees laid over it. Removed packages whose configuration
    /// is left are in it too.
    pub fn dpkg_packages(&self) -> Result<BTreeMap<String, Installed>> {
        let mut packages = live_dpkg()?;
        self.lay_foreseen_packages(&mut packages);
        Ok(packages)
    }
}

/// Everything that dpkg itself knows.
fn live_dpkg() -> Result<BTreeMap<String, Installed>> {
    match std::fs::read(dpkg::STATUS) {
        Ok(bytes) => Ok(dpkg::parse_status(&String::from_utf8_lossy(&bytes))),
        Err(e) => Err(MachineError::io(format!("cannot read {}", dpkg::STATUS), e)),
    }
}
