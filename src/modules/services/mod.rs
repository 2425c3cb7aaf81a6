//! Services: units of systemd, by Ansible's two modules.

mod manage;
mod service;
mod systemd;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&service::SERVICE, &systemd::SYSTEMD];
