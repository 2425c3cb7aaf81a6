//! Commands, and the module that only answers.

mod ping;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&ping::PING];
