//! `set_stats`: numbers and texts of the run itself.

use super::control;
use crate::modules::scalars::Flag;
use crate::modules::{FreeForm, Module};
use serde_json::Value;

crate::arguments! {
    /// Keeps values for the end of the run, where reports and whoever reads `--format json` find them; the terminal
    /// shows them with `show_custom_stats` of the configuration, as Ansible's does.
    ///
    /// Any module of the user's own that returns `ansible_stats` does the same.
    pub struct SetStats {
        /// Names and values.
        pub data: Option<Value>,
        /// For each host by itself; otherwise for the run.
        pub per_host: Option<Flag>,
        /// What is there already is added to: numbers are summed, lists and texts joined, mappings merged. Otherwise it is
        /// replaced.
        pub aggregate: Option<Flag>,
    }
}

/// The module.
pub static MODULE: Module = control(
    "ansible.builtin.set_stats",
    &["set_stats", "ansible.legacy.set_stats"],
    FreeForm::KeyValue,
    SetStats::ARGUMENTS,
);
