//! `set_fact`: variables of a host for the rest of the run.

use super::control;
use crate::modules::scalars::Flag;
use crate::modules::{Arguments, FreeForm, Module, RawField};

/// The arguments of `set_fact`: any names, and `cacheable`.
#[derive(Debug)]
pub struct SetFact {
    /// Also keep them as facts (`ansible_facts`).
    pub cacheable: Flag,
    /// The variables, in order.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl SetFact {
    /// Documentation; every other name is a variable.
    pub const ARGUMENTS: Arguments = Arguments {
        attributes: &[
            "doc = \" Set host variables, for the rest of the run. Every argument but `cacheable` is a variable.\"",
        ],
        fields: &[RawField {
            name: "cacheable",
            kind: "Option<Flag>",
            attributes: &["doc = \" Also keep them among `ansible_facts`.\""],
            check: |_| Ok(()),
        }],
    };
}

/// The module.
pub static MODULE: Module = control(
    "ansible.builtin.set_fact",
    &["set_fact", "ansible.legacy.set_fact"],
    FreeForm::KeyValue,
    SetFact::ARGUMENTS,
);

#[cfg(test)]
mod tests {
    use super::SetFact;

    #[test]
    fn nothing_is_required() {
        let documented: Vec<crate::modules::Argument> = SetFact::ARGUMENTS.list();
        assert!(!documented[0].required);
    }
}
