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

    /// Whether `name` may be a variable's.
    pub fn is_variable_name(name: &str) -> bool {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
    }
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
    fn variables_have_names() {
        for (name, good) in [("a", true), ("_b1", true), ("1b", false), ("a-b", false), ("", false)] {
            assert_eq!(SetFact::is_variable_name(name), good, "{name}");
        }
        let documented: Vec<crate::modules::Argument> = SetFact::ARGUMENTS.list();
        assert!(!documented[0].required);
    }
}
