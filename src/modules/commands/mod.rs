//! Commands, and the module that only answers.

mod async_status;
pub(super) mod clock;
mod command;
mod ping;
mod raw;
#[cfg(feature = "controller")]
mod reading;
mod run;
mod script;
mod shell;
mod wait_for;
pub(crate) mod words;

#[cfg(feature = "controller")]
pub(crate) use reading::{reads, shell_reads};
pub(super) use run::lines;
#[cfg(feature = "controller")]
pub(crate) use words::split;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &ping::PING,
    &async_status::ASYNC_STATUS,
    &command::COMMAND,
    &shell::SHELL,
    &raw::RAW,
    &script::SCRIPT,
    &wait_for::WAIT_FOR,
];
