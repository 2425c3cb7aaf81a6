//! Accounts: users and groups.

mod group;
mod user;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&group::GROUP, &user::USER];
