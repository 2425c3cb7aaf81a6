//! `add_host`: a host made known during the run.

use super::control;
use crate::modules::{FreeForm, Module};

/// The arguments of `add_host`: `name`, `groups`, and any variables.
#[derive(Debug)]
pub struct AddHost;

impl AddHost {
    /// Documentation; every other name is a variable of the host.
    pub const ARGUMENTS: crate::modules::Arguments = crate::modules::Arguments {
        attributes: &["doc = \" Add a host (and its groups) to the inventory of this run.\""],
        fields: &[
            crate::modules::RawField {
                name: "name",
                kind: "Text",
                attributes: &[
                    "doc = \" The host's name, with `:port` if it needs one.\"",
                    "serde(alias = \"host\", alias = \"hostname\")",
                ],
                check: |_| Ok(()),
            },
            crate::modules::RawField {
                name: "groups",
                kind: "Option<TextList>",
                attributes: &["doc = \" Groups it joins.\"", "serde(alias = \"group\", alias = \"groupname\")"],
                check: |_| Ok(()),
            },
        ],
    };
}

/// The module.
pub static MODULE: Module = control(
    "ansible.builtin.add_host",
    &["add_host", "ansible.legacy.add_host"],
    FreeForm::KeyValue,
    AddHost::ARGUMENTS,
);
