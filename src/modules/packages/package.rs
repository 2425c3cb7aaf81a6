//! `package`: packages, by whatever manager the host has.

use super::{apt, dnf};
use crate::machine::Machine;
use crate::machine::packages::PackageManager;
use crate::modules::scalars::{Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach};
use serde_json::{Map, Value};

/// `ansible.builtin.package`
pub const PACKAGE: Module = Module {
    name: "ansible.builtin.package",
    aliases: &["package", "ansible.legacy.package"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Package::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Installs, upgrades and removes packages with the host's package manager.
    ///
    /// Names of packages differ between distributions; this module does not translate them. Arguments beyond these
    /// are those of the manager's own module, which says what is missing or wrong.
    pub struct Package {
        /// Packages, or a list of them.
        pub name: Option<TextList>,
        /// `present`, `latest` or `absent`.
        pub state: Option<Text>,
        /// The package manager: `auto`, `apt` or `dnf`.
        #[serde(rename = "use")]
        pub manager: Option<Text>,
    }
}

fn run(
    mut arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let chosen = arguments.shift_remove("use").and_then(|v| v.as_str().map(str::to_string));
    let manager = match chosen.as_deref() {
        None | Some("auto") => machine.package_manager(),
        Some("apt" | "ansible.builtin.apt") => Some(PackageManager::Apt),
        Some("dnf" | "yum" | "dnf5" | "ansible.builtin.dnf") => Some(PackageManager::Dnf),
        Some(other) => {
            return Err(ModuleError::argument("use", format!("`{other}` is not supported: write auto, apt or dnf")));
        }
    };
    match manager {
        Some(PackageManager::Apt) => (apt::APT.run.ok_or_else(missing)?)(arguments, machine, context),
        Some(PackageManager::Dnf) => (dnf::DNF.run.ok_or_else(missing)?)(arguments, machine, context),
        None => Err(missing()),
    }
}

fn missing() -> ModuleError {
    ModuleError::Failed("this host has no package manager that is known here (apt, dnf)".into())
}
