//! Files: written, read, edited, found.

#[cfg(all(test, feature = "controller"))]
mod action_tests;
mod blockinfile;
pub(super) mod common;
mod copy;
#[cfg(feature = "controller")]
pub(super) mod copy_action;
pub(super) mod delivery;
pub(super) mod edit;
mod fetch;
mod file;
mod file_time;
mod find;
mod ini_file;
pub(super) mod lineinfile;
mod place;
mod replace;
mod slurp;
mod stat;
mod tempfile;
mod template;
#[cfg(test)]
mod tests;
mod validate;

pub(super) use common::describe;
pub(super) use copy::python_json;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &blockinfile::BLOCKINFILE,
    &copy::COPY,
    &fetch::FETCH,
    &file::FILE,
    &find::FIND,
    &ini_file::INI_FILE,
    &lineinfile::LINEINFILE,
    &replace::REPLACE,
    &slurp::SLURP,
    &stat::STAT,
    &tempfile::TEMPFILE,
    &template::TEMPLATE,
];
