//! Variable precedence, magic variables and vault.

pub mod vault;
