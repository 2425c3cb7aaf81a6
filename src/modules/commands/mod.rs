//! Commands, and the module that only answers.

mod async_status;
pub(super) mod clock;
mod command;
mod expect;
mod own_module;
mod own_style;
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
pub(crate) use words::split;

#[cfg(feature = "controller")]
pub(crate) use async_status::no_output;
pub(crate) use async_status::without_output;
pub use own_style::OwnStyle;
pub(super) use run::{glob, glob_pattern};

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &ping::PING,
    &async_status::ASYNC_STATUS,
    &command::COMMAND,
    &expect::EXPECT,
    &shell::SHELL,
    &raw::RAW,
    &script::SCRIPT,
    &own_module::OWN_MODULE,
    &wait_for::WAIT_FOR,
];
