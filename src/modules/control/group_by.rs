//! `group_by`: groups out of facts.

use super::control;
use crate::modules::scalars::{Text, TextList};
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Create groups based on variables; each host joins the group that its `key` names.
    pub struct GroupBy {
        /// The group's name, usually a template.
        pub key: Text,
        /// Groups that the new group becomes a child of.
        pub parents: Option<TextList>,
    }
}

/// The module.
pub static MODULE: Module = control(
    "ansible.builtin.group_by",
    &["group_by", "ansible.legacy.group_by"],
    FreeForm::KeyValue,
    GroupBy::ARGUMENTS,
);
