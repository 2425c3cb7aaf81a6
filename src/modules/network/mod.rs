//! The network: the firewall.

mod firewall;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&firewall::FIREWALL];
