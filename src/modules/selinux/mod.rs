//! SELinux: its mode, and what `semanage` adds to its policy: booleans, ports, the labels of files.

mod fcontext;
mod mode;
mod seboolean;
mod sefcontext;
mod selinux_config;
mod semanage;
mod seport;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&seboolean::SEBOOLEAN, &sefcontext::SEFCONTEXT, &mode::SELINUX, &seport::SEPORT];
