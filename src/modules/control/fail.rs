//! `fail`: fail with a message.

use super::control;
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Fail with a custom message, usually behind a `when`.
    pub struct Fail {
        /// The message; `Failed as requested from task` when missing.
        pub msg: Option<serde_json::Value>,
    }
}

/// The module.
pub static MODULE: Module =
    control("ansible.builtin.fail", &["fail", "ansible.legacy.fail"], FreeForm::KeyValue, Fail::ARGUMENTS);
