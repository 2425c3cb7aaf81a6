//! `pause`: wait for a time or for a person.

use super::control;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Pause the run for a time, or until a key is pressed.
    ///
    /// Without a terminal a pause for a person is skipped with a warning, as in Ansible.
    pub struct Pause {
        /// So many seconds.
        pub seconds: Option<serde_json::Value>,
        /// So many minutes.
        pub minutes: Option<serde_json::Value>,
        /// The question to a person.
        pub prompt: Option<Text>,
        /// Whether what is typed is shown.
        #[serde(default = "Flag::yes")]
        pub echo: Flag,
    }
}

/// The module.
pub static MODULE: Module =
    control("ansible.builtin.pause", &["pause", "ansible.legacy.pause"], FreeForm::KeyValue, Pause::ARGUMENTS);
