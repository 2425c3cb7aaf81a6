//! A host's variables in Ansible's order of precedence.

use std::path::Path;
use std::sync::Arc;

use super::vars_files::VarsDir;
use super::{Inventory, Vars};
use crate::source::Node;

/// Variables of one origin.
#[derive(Clone, Debug)]
pub struct NamedLayer {
    /// The origin, for messages: `inventory group_vars/galera`.
    pub name: String,
    /// The variables, not templated.
    pub vars: Arc<Vars>,
}

impl Inventory {
    /// The layers of a host's variables, the weakest first: inventory file group vars (`all`, then groups by
    /// depth and priority), `group_vars/all` of the inventory, of the playbook, `group_vars/*` of the inventory,
    /// of the playbook, the inventory file's host vars, `host_vars/*` of the inventory, of the playbook.
    ///
    /// Empty layers are left out. [`Inventory::load_vars`] must have been called; `playbook_dir` says whether
    /// the playbook's own files count.
    pub fn variable_layers(&self, host: &str, playbook_dir: Option<&Path>) -> Vec<NamedLayer> {
        let mut layers = Vec::new();
        let mut push = |name: String, vars: Option<&Arc<Vars>>| {
            if let Some(vars) = vars.filter(|vars| !vars.is_empty()) {
                layers.push(NamedLayer { name, vars: vars.clone() });
            }
        };
        let Some(this) = self.hosts.get(host) else { return layers };
        let groups = self.host_groups(host);
        // The implicit localhost gets the variables of `all`, too.
        let all = self.groups.get("all");
        let others: Vec<_> = groups.into_iter().filter(|group| &*group.name != "all").collect();
        for group in all.into_iter().chain(others.iter().copied()) {
            push(format!("inventory group {}", group.name), Some(&group.vars));
        }
        let playbook = self.playbook_dir.as_ref().filter(|_| playbook_dir.is_some());
        let mut files = |dir: &VarsDir, group: &str| {
            push(format!("{} group_vars/{group}", dir.whose), dir.group(group));
        };
        for dir in self.inventory_dirs.iter().chain(playbook) {
            files(dir, "all");
        }
        for dir in self.inventory_dirs.iter().chain(playbook) {
            for group in &others {
                files(dir, &group.name);
            }
        }
        push(format!("inventory host {host}"), Some(&this.vars));
        for dir in self.inventory_dirs.iter().chain(playbook) {
            push(format!("{} host_vars/{host}", dir.whose), dir.host(host));
        }
        layers
    }

    /// All layers of a host as one, the stronger ones winning.
    pub fn merged_vars(&self, host: &str, playbook_dir: Option<&Path>) -> Vars {
        let mut merged = Vars::new();
        for layer in self.variable_layers(host, playbook_dir) {
            for (key, value) in layer.vars.iter() {
                super::set_var(&mut merged, key, value, self.merge_hashes);
            }
        }
        merged
    }

    /// The variables of a group alone, those of the files included.
    pub fn merged_group_vars(&self, group: &str) -> Vars {
        let mut merged = Vars::new();
        if let Some(group) = self.groups.get(group) {
            merged.extend(group.vars.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        for dir in self.inventory_dirs.iter().chain(self.playbook_dir.as_ref()) {
            for (key, value) in dir.group(group).iter().flat_map(|vars| vars.iter()) {
                super::set_var(&mut merged, key, value, self.merge_hashes);
            }
        }
        merged
    }

    /// One variable of a host by the same precedence, without building the rest.
    pub fn variable(&self, host: &str, name: &str, playbook_dir: Option<&Path>) -> Option<Node> {
        let layers = self.variable_layers(host, playbook_dir);
        if self.merge_hashes {
            let mut given = layers.iter().filter_map(|layer| layer.vars.get(name));
            let first = given.next()?.clone();
            return Some(given.fold(first, |lower, higher| lower.merged(higher)));
        }
        layers.iter().rev().find_map(|layer| layer.vars.get(name).cloned())
    }
}
