//! The system itself: facts, host name, kernel parameters, crontabs, databases of names.

mod facts;
mod setup;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&setup::SETUP];
