//! Packages: apt and dnf by name, and `package`, which asks the host what it has.

mod apt;
mod dnf;
mod package;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&apt::APT, &dnf::DNF, &package::PACKAGE];
