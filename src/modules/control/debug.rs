//! `debug`: show a message or a variable.

use super::control;
use crate::modules::scalars::Int;
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Print statements during execution.
    pub struct Debug {
        /// The message; `Hello world!` when neither this nor `var` is given.
        pub msg: Option<serde_json::Value>,
        /// An expression to show, without braces.
        pub var: Option<serde_json::Value>,
        /// Show it only from this verbosity (`-v` count) on.
        #[serde(default)]
        pub verbosity: Int,
    }
}

/// The module.
pub static MODULE: Module =
    control("ansible.builtin.debug", &["debug", "ansible.legacy.debug"], FreeForm::KeyValue, Debug::ARGUMENTS);
