//! The system itself: facts, host name, kernel parameters, mounts, crontabs, databases of names.

mod alternatives;
mod alternatives_group;
mod cron;
mod crontab;
mod debconf;
mod facts;
mod getent;
mod hostname;
mod locale_gen;
mod modprobe;
mod modprobe_files;
mod mount;
mod package_facts;
mod pam_limits;
mod pamd;
mod reboot;
mod rollback;
mod service_facts;
mod setup;
mod sysctl;
mod timezone;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &alternatives::ALTERNATIVES,
    &setup::SETUP,
    &hostname::HOSTNAME,
    &locale_gen::LOCALE_GEN,
    &modprobe::MODPROBE,
    &mount::MOUNT,
    &sysctl::SYSCTL,
    &cron::CRON,
    &debconf::DEBCONF,
    &getent::GETENT,
    &package_facts::PACKAGE_FACTS,
    &pam_limits::PAM_LIMITS,
    &pamd::PAMD,
    &reboot::REBOOT,
    &rollback::ROLLBACK,
    &service_facts::SERVICE_FACTS,
    &timezone::TIMEZONE,
];
