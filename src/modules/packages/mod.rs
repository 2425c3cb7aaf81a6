//! Packages: apt and dnf by name, `package`, which asks the host what it has, and where packages come from.

mod apt;
mod apt_key;
mod apt_repository;
mod deb822_repository;
mod dnf;
mod dpkg_selections;
mod openpgp;
mod package;
mod pip;
mod pip_names;
mod rpm_key;
mod yum_repository;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &apt::APT,
    &apt_key::APT_KEY,
    &apt_repository::APT_REPOSITORY,
    &deb822_repository::DEB822_REPOSITORY,
    &dnf::DNF,
    &dpkg_selections::DPKG_SELECTIONS,
    &package::PACKAGE,
    &pip::PIP,
    &rpm_key::RPM_KEY,
    &yum_repository::YUM_REPOSITORY,
];
