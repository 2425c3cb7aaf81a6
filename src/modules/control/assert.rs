//! `assert`: conditions that must hold.

use super::control;
use crate::modules::scalars::Flag;
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Assert that given expressions are true, with an optional message of your own.
    pub struct Assert {
        /// A condition or a list of them, of the form that `when` takes; they are evaluated one after the other.
        pub that: serde_json::Value,
        /// The message for a condition that is false.
        #[serde(alias = "msg")]
        pub fail_msg: Option<serde_json::Value>,
        /// The message when all conditions hold.
        pub success_msg: Option<serde_json::Value>,
        /// Say nothing when all conditions hold.
        #[serde(default)]
        pub quiet: Flag,
    }
}

/// The module.
pub static MODULE: Module =
    control("ansible.builtin.assert", &["assert", "ansible.legacy.assert"], FreeForm::KeyValue, Assert::ARGUMENTS);
