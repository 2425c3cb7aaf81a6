//! Building the graph of groups and hosts, and Ansible's basic rules for it.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::{Group, Host, HostName, Inventory};
use crate::source::{Diag, Diags, Node, Span};

/// Names under which the controller is known without being in an inventory.
pub const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

impl Default for Inventory {
    fn default() -> Self {
        Inventory::new()
    }
}

impl Inventory {
    /// An inventory with the groups `all` and `ungrouped`, and no host.
    pub fn new() -> Self {
        let mut inventory = Inventory {
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            sources: Vec::new(),
            merge_hashes: false,
            inventory_dirs: Vec::new(),
            playbook_dir: None,
        };
        inventory.add_group("all", &Span::generated());
        inventory.add_group("ungrouped", &Span::generated());
        inventory.link("all", "ungrouped");
        inventory
    }

    /// Adds a group unless it is there.
    pub fn add_group(&mut self, name: &str, span: &Span) -> &mut Group {
        self.groups.entry(Arc::from(name)).or_insert_with_key(|name| Group {
            name: name.clone(),
            span: span.clone(),
            vars: Arc::default(),
            children: IndexSet::new(),
            parents: IndexSet::new(),
            hosts: IndexSet::new(),
            depth: usize::from(&**name != "all"),
            priority: 1,
        })
    }

    /// Adds a host unless it is there, and puts it into a group, which is made if need be.
    pub fn add_host(&mut self, name: &str, group: Option<&str>, span: &Span) -> &mut Host {
        let name = HostName::from(name);
        if let Some(group) = group {
            let group = self.add_group(group, span);
            group.hosts.insert(name.clone());
        }
        let host = self.hosts.entry(name).or_insert_with_key(|name| Host {
            name: name.clone(),
            span: span.clone(),
            vars: Arc::default(),
            groups: IndexSet::new(),
            implicit: false,
        });
        if let Some(group) = group {
            host.groups.insert(Arc::from(group));
        }
        host
    }

    /// Makes one group a child of another. Loops are refused.
    pub fn add_child(&mut self, parent: &str, child: &str, span: &Span) -> Result<(), Diag> {
        if parent == child {
            return Err(Diag::error(format!("group `{parent}` cannot be its own child")).at(span));
        }
        if self.ancestors(parent).contains(child) {
            return Err(Diag::error(format!(
                "group `{child}` as a child of `{parent}` closes a loop: `{parent}` is in `{child}` already"
            ))
            .at(span));
        }
        self.link(parent, child);
        Ok(())
    }

    fn link(&mut self, parent: &str, child: &str) {
        if let Some(group) = self.groups.get_mut(parent) {
            group.children.insert(Arc::from(child));
        }
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.insert(Arc::from(parent));
        }
    }

    /// Sets a group's variable; `ansible_group_priority` is a property, not a variable.
    pub(super) fn set_group_var(&mut self, group: &str, key: &Arc<str>, value: Node, diags: &mut Diags) {
        let merges = self.merge_hashes;
        let Some(group) = self.groups.get_mut(group) else { return };
        if &**key != "ansible_group_priority" {
            super::set_var(Arc::make_mut(&mut group.vars), key, &value, merges);
            return;
        }
        match value.as_int().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok())) {
            Some(priority) => group.priority = priority,
            None => diags.push(Diag::error("`ansible_group_priority` must be an integer").at(&value.span)),
        }
    }

    /// Groups above a group, itself not among them.
    pub fn ancestors(&self, group: &str) -> IndexSet<Arc<str>> {
        let mut found = IndexSet::new();
        let mut next = vec![group];
        while let Some(name) = next.pop() {
            for parent in self.groups.get(name).iter().flat_map(|group| &group.parents) {
                if found.insert(parent.clone()) {
                    next.push(parent);
                }
            }
        }
        found
    }

    /// A group and the groups below it, level by level.
    pub fn descendants(&self, group: &str) -> Vec<&Group> {
        let mut seen: IndexSet<&str> = IndexSet::new();
        let Some(first) = self.groups.get(group) else { return Vec::new() };
        seen.insert(&first.name);
        let mut ordered = vec![first];
        let mut at = 0;
        while let Some(group) = ordered.get(at).copied() {
            at += 1;
            for child in group.children.iter().filter_map(|child| self.groups.get(child)) {
                if seen.insert(&child.name) {
                    ordered.push(child);
                }
            }
        }
        ordered
    }

    /// All hosts of a group and the groups below it, in order. The implicit localhost is not in `all`.
    pub fn group_hosts(&self, group: &str) -> IndexSet<HostName> {
        let mut hosts = IndexSet::new();
        for descendant in self.descendants(group) {
            for host in &descendant.hosts {
                let implicit = self.hosts.get(host).is_some_and(|host| host.implicit);
                if !(implicit && group == "all") {
                    hosts.insert(host.clone());
                }
            }
        }
        hosts
    }

    /// All groups a host is in, in order of rising precedence: depth, priority, name. `all` comes first.
    pub fn host_groups(&self, host: &str) -> Vec<&Group> {
        let mut names: IndexSet<Arc<str>> = IndexSet::new();
        if let Some(host) = self.hosts.get(host) {
            if !host.implicit {
                names.insert(Arc::from("all"));
            }
            for group in &host.groups {
                if !names.contains(group) {
                    names.extend(self.ancestors(group));
                    names.insert(group.clone());
                }
            }
        }
        let mut groups: Vec<&Group> = names.iter().filter_map(|name| self.groups.get(name.as_ref())).collect();
        groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
        groups
    }

    /// The value of `group_names`: the host's groups without `all`, sorted by name.
    pub fn group_names(&self, host: &str) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .host_groups(host)
            .into_iter()
            .filter(|group| &*group.name != "all")
            .map(|group| group.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The value of `groups`: each group with all its hosts.
    pub fn groups_map(&self) -> IndexMap<Arc<str>, Vec<HostName>> {
        self.groups.keys().map(|name| (name.clone(), self.group_hosts(name).into_iter().collect())).collect()
    }

    /// The host of this name; a name of the controller finds the implicit localhost, made on first use.
    pub fn ensure_localhost(&mut self, name: &str) -> Option<HostName> {
        if let Some((name, _)) = self.hosts.get_key_value(name) {
            return Some(name.clone());
        }
        if !LOCALHOST.contains(&name) {
            return None;
        }
        // Another name of the controller that the inventory has serves as well.
        if let Some(other) = LOCALHOST.iter().find_map(|alias| self.hosts.get_key_value(*alias)) {
            return Some(other.0.clone());
        }
        let span = Span::generated();
        let host = self.add_host(name, None, &span);
        host.implicit = true;
        Arc::make_mut(&mut host.vars).insert(Arc::from("ansible_connection"), Node::string(span, "local"));
        Some(host.name.clone())
    }

    /// Ansible's basic rules, to be called after every change: each group is below `all`, each host in a group.
    pub fn reconcile(&mut self) {
        let orphans: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|group| &*group.name != "all" && group.parents.is_empty())
            .map(|group| group.name.clone())
            .collect();
        for orphan in orphans {
            self.link("all", &orphan);
        }
        let plain = |group: &Arc<str>| matches!(&**group, "all" | "ungrouped");
        let mut into = Vec::new();
        let mut out = Vec::new();
        for host in self.hosts.values_mut() {
            let grouped = host.groups.iter().any(|group| !plain(group));
            if grouped && host.groups.shift_remove("ungrouped") {
                out.push(host.name.clone());
            } else if !grouped && !host.implicit && host.groups.insert(Arc::from("ungrouped")) {
                into.push(host.name.clone());
            }
        }
        if let Some(ungrouped) = self.groups.get_mut("ungrouped") {
            for host in out {
                ungrouped.hosts.shift_remove(&host);
            }
            ungrouped.hosts.extend(into);
        }
        self.set_depths();
    }

    pub(super) fn set_depths(&mut self) {
        // The graph has no loops, so walking in an order in which parents come first sets each depth once.
        let mut waiting: HashMap<Arc<str>, usize> =
            self.groups.values().map(|group| (group.name.clone(), group.parents.len())).collect();
        let mut ready: Vec<Arc<str>> = waiting.iter().filter(|(_, n)| **n == 0).map(|(name, _)| name.clone()).collect();
        let mut depths: HashMap<Arc<str>, usize> = HashMap::new();
        while let Some(name) = ready.pop() {
            let depth = depths.get(&name).copied().unwrap_or(0);
            let children = match self.groups.get_mut(&name) {
                Some(group) => {
                    group.depth = depth;
                    group.children.clone()
                }
                None => continue,
            };
            for child in children {
                let below = depths.entry(child.clone()).or_insert(0);
                *below = (*below).max(depth + 1);
                if let Some(left) = waiting.get_mut(&child) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(child);
                    }
                }
            }
        }
    }
}
