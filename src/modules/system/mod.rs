//! The system itself: facts, host name, kernel parameters, mounts, crontabs, databases of names.

mod cron;
mod crontab;
mod facts;
mod getent;
mod hostname;
mod mount;
mod package_facts;
mod rollback;
mod service_facts;
mod setup;
mod sysctl;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &setup::SETUP,
    &hostname::HOSTNAME,
    &mount::MOUNT,
    &sysctl::SYSCTL,
    &cron::CRON,
    &getent::GETENT,
    &package_facts::PACKAGE_FACTS,
    &rollback::ROLLBACK,
    &service_facts::SERVICE_FACTS,
];
