//! Packages: apt and dnf by name, `package`, which asks the host what it has, and where packages come from.

mod apt;
mod apt_repository;
mod deb822_repository;
mod dnf;
mod package;
mod yum_repository;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &apt::APT,
    &apt_repository::APT_REPOSITORY,
    &deb822_repository::DEB822_REPOSITORY,
    &dnf::DNF,
    &package::PACKAGE,
    &yum_repository::YUM_REPOSITORY,
];
