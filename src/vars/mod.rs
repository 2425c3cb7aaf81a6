//! Variable precedence, magic variables and vault.

pub mod magic;
pub mod precedence;
pub mod vault;
