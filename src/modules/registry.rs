//! Every module by every name it is known by.

use super::Module;
use std::collections::HashMap;
use std::sync::LazyLock;

/// All modules; each family lists its own.
#[rustfmt::skip] // one a line, so that families can be added side by side
const FAMILIES: &[&[&Module]] = &[
    super::accounts::MODULES,
    super::archives::MODULES,
    super::commands::MODULES,
    super::control::MODULES,
    super::crypto::MODULES,
    super::packages::MODULES,
    super::pki::MODULES,
    super::files::MODULES,
    super::database::MODULES,
    super::galera::MODULES,
    super::network::MODULES,
    super::selinux::MODULES,
    super::services::MODULES,
    super::system::MODULES,
];

static INDEX: LazyLock<HashMap<&'static str, &'static Module>> = LazyLock::new(|| {
    let mut index = HashMap::new();
    for module in FAMILIES.iter().copied().flatten().copied() {
        for name in std::iter::once(&module.name).chain(module.aliases) {
            index.insert(*name, module);
        }
    }
    index
});

/// The module of this name, short or fully qualified.
pub fn find(name: &str) -> Option<&'static Module> {
    INDEX.get(name).copied()
}

/// Every name of every module, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = INDEX.keys().copied().collect();
    names.sort_unstable();
    names
}
