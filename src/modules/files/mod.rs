//! Files: written, read, edited, found.

mod common;
mod copy;
#[cfg(feature = "controller")]
mod copy_action;
mod delivery;
mod file;
mod file_time;
mod place;
mod stat;
mod template;
#[cfg(test)]
mod tests;
mod validate;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&copy::COPY, &file::FILE, &stat::STAT, &template::TEMPLATE];
