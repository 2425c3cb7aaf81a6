//! Which variable wins: the sources of variables, from lowest to highest precedence.

use std::sync::Arc;

use crate::template::Layer;

/// A source of variables. The order of the variants is Ansible's documented precedence, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `defaults/` of roles, in the order of their use.
    RoleDefaults,
    /// Variables of groups, in the inventory's own files.
    InventoryGroups,
    /// `group_vars/all` beside the inventory.
    InventoryGroupVarsAll,
    /// `group_vars/all` beside the playbook.
    PlaybookGroupVarsAll,
    /// `group_vars/*` beside the inventory.
    InventoryGroupVars,
    /// `group_vars/*` beside the playbook.
    PlaybookGroupVars,
    /// Variables of the host, in the inventory's own files.
    InventoryHost,
    /// `host_vars/*` beside the inventory.
    InventoryHostVars,
    /// `host_vars/*` beside the playbook.
    PlaybookHostVars,
    /// Facts, and facts that `set_fact` stored with `cacheable`.
    Facts,
    /// `vars` of the play.
    PlayVars,
    /// `vars_prompt` of the play.
    PlayPrompts,
    /// `vars_files` of the play.
    PlayVarsFiles,
    /// `vars/` of roles.
    RoleVars,
    /// `vars` of blocks, the innermost last.
    BlockVars,
    /// `vars` of the task.
    TaskVars,
    /// What `include_vars` read.
    IncludeVars,
    /// What `set_fact` set and `register` kept.
    SetFacts,
    /// Parameters of roles: other keys beside `role:`.
    RoleParams,
    /// Parameters of includes.
    IncludeParams,
    /// `-e` on the command line: always wins.
    ExtraVars,
    /// What Ansible itself provides: `inventory_hostname`, `groups`, `item` … No file can set these.
    Magic,
}

impl Source {
    /// All sources, lowest precedence first.
    pub const ALL: [Source; 22] = [
        Source::RoleDefaults,
        Source::InventoryGroups,
        Source::InventoryGroupVarsAll,
        Source::PlaybookGroupVarsAll,
        Source::InventoryGroupVars,
        Source::PlaybookGroupVars,
        Source::InventoryHost,
        Source::InventoryHostVars,
        Source::PlaybookHostVars,
        Source::Facts,
        Source::PlayVars,
        Source::PlayPrompts,
        Source::PlayVarsFiles,
        Source::RoleVars,
        Source::BlockVars,
        Source::TaskVars,
        Source::IncludeVars,
        Source::SetFacts,
        Source::RoleParams,
        Source::IncludeParams,
        Source::ExtraVars,
        Source::Magic,
    ];
}

/// Layers by source, handed over in any order; several of one source keep the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    layers: Vec<(Source, Arc<Layer>)>,
}

impl Stack {
    /// No layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer above those of the same source.
    pub fn push(&mut self, source: Source, layer: impl Into<Arc<Layer>>) -> &mut Self {
        let layer = layer.into();
        if !layer.is_empty() {
            let at = self.layers.partition_point(|(s, _)| *s <= source);
            self.layers.insert(at, (source, layer));
        }
        self
    }

    /// The layers, lowest precedence first: what a scope is made of.
    pub fn layers(&self) -> Vec<Arc<Layer>> {
        self.layers.iter().map(|(_, layer)| layer.clone()).collect()
    }

    /// The source that a variable comes from.
    pub fn source_of(&self, name: &str) -> Option<Source> {
        self.layers.iter().rev().find(|(_, layer)| layer.contains_key(name)).map(|(source, _)| *source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Raw, Scope, Templar, Value};

    fn layer(value: &str) -> Layer {
        [(Arc::from("v"), Raw::Value(Value::from(value)))].into_iter().collect()
    }

    #[test]
    fn the_variants_are_in_order() {
        assert!(Source::ALL.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn every_source_beats_those_before_it() {
        let templar = Templar::default();
        for (i, high) in Source::ALL.iter().enumerate() {
            for low in Source::ALL.iter().take(i) {
                // In whatever order they are handed over.
                for (first, second) in [(low, high), (high, low)] {
                    let mut stack = Stack::new();
                    stack.push(*first, layer(&format!("{first:?}"))).push(*second, layer(&format!("{second:?}")));
                    let scope = Scope::from_layers(&templar, stack.layers());
                    let value = templar.template_str("{{ v }}", &scope).expect("a value").value;
                    assert_eq!(value.to_string(), format!("{high:?}"), "{low:?} and {high:?}");
                    assert_eq!(stack.source_of("v"), Some(*high));
                }
            }
        }
    }

    #[test]
    fn later_layers_of_one_source_win() {
        let mut stack = Stack::new();
        stack.push(Source::RoleVars, layer("first")).push(Source::RoleVars, layer("second"));
        let scope = Scope::from_layers(&Templar::default(), stack.layers());
        let value = scope.templar().template_str("{{ v }}", &scope).expect("a value").value;
        assert_eq!(value.to_string(), "second");
    }
}
