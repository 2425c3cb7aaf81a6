//! `validate_argument_spec`: arguments held against a specification.

use super::control;
use crate::modules::{FreeForm, Module};
use serde_json::{Map, Value};

crate::arguments! {
    /// Holds variables, and arguments that are given, against a specification as roles have it in `meta/argument_specs.yml`.
    ///
    /// Returned on failure are `argument_errors`, a sentence each, and `argument_spec_data`.
    pub struct ValidateArgumentSpec {
        /// Names of arguments, each with `type`, `required`, `choices`, `elements`, `options` and so on.
        pub argument_spec: Map<String, Value>,
        /// Values. Of what is not among them, the variable of the name counts.
        #[serde(default)]
        pub provided_arguments: Map<String, Value>,
        /// Returned as it is.
        #[serde(default)]
        pub validate_args_context: Option<Map<String, Value>>,
    }
}

/// The module.
pub static MODULE: Module = control(
    "ansible.builtin.validate_argument_spec",
    &["validate_argument_spec", "ansible.legacy.validate_argument_spec"],
    FreeForm::KeyValue,
    ValidateArgumentSpec::ARGUMENTS,
);
