//! Accounts: users, groups, and who may log in with which key.

mod authorized_key;
mod group;
mod known_hosts;
mod openssh_keypair;
mod user;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &authorized_key::AUTHORIZED_KEY,
    &group::GROUP,
    &known_hosts::KNOWN_HOSTS,
    &openssh_keypair::OPENSSH_KEYPAIR,
    &user::USER,
];
