//! Hosts, groups, patterns, and the sources they come from.
//!
//! [`Inventory::load`] reads every `-i`, [`Inventory::load_vars`] the `group_vars/` and `host_vars/` beside them
//! and beside the playbook, [`Inventory::select`] applies host patterns, and [`Inventory::variable_layers`] hands
//! out a host's variables in Ansible's order of precedence, not yet templated.

mod constructed;
mod data;
mod ini;
mod layers;
mod literal;
pub(crate) mod load;
mod pattern;
mod print;
mod range;
mod script;
mod vars_files;
mod yaml;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use crate::source::{Node, Span};

pub use constructed::{Constructing, KnownFacts};
pub use data::LOCALHOST;
pub use layers::NamedLayer;
pub use literal::python_literal;
pub use pattern::{Pattern, Selection, split_patterns};
pub use print::{graph, host_json, list_json};
pub use range::{expand_host_pattern, split_port};

use vars_files::VarsDir;

/// Variables in the order in which they were written, not templated.
pub type Vars = IndexMap<Arc<str>, Node>;

/// Sets a variable; with `merges` a dictionary adds to the one that is there.
pub(crate) fn set_var(vars: &mut Vars, name: &Arc<str>, value: &Node, merges: bool) {
    let merged = vars.get(name).filter(|known| merges && known.as_map().is_some()).map(|known| known.merged(value));
    vars.insert(name.clone(), merged.unwrap_or_else(|| value.clone()));
}

/// The name of a host as the inventory has it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

impl HostName {
    /// A host name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        HostName(name.into())
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        HostName(Arc::from(name))
    }
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Where it was first named.
    pub span: Span,
    /// Variables from the inventory file itself.
    pub vars: Arc<Vars>,
    /// The groups that name it directly.
    pub groups: IndexSet<Arc<str>>,
    /// `localhost`, although no inventory has it: never part of `all`.
    pub implicit: bool,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Where it was first named.
    pub span: Span,
    /// Variables from the inventory file itself.
    pub vars: Arc<Vars>,
    /// Groups directly in it.
    pub children: IndexSet<Arc<str>>,
    /// Groups it is directly in.
    pub parents: IndexSet<Arc<str>>,
    /// Hosts directly in it.
    pub hosts: IndexSet<HostName>,
    /// The longest way down from `all`: variables of deeper groups win.
    pub depth: usize,
    /// `ansible_group_priority`: of groups of one depth, variables of the higher win.
    pub priority: i64,
}

/// All hosts and groups of all sources.
#[derive(Debug)]
pub struct Inventory {
    /// Hosts in the order of their first mention.
    pub hosts: IndexMap<HostName, Host>,
    /// Groups in the order of their first mention, `all` and `ungrouped` first.
    pub groups: IndexMap<Arc<str>, Group>,
    /// The sources as the user named them.
    pub sources: Vec<String>,
    /// Dictionaries of one name are merged, not replaced (`hash_behaviour`).
    pub merge_hashes: bool,
    /// `group_vars/` and `host_vars/` beside the sources, in their order.
    inventory_dirs: Vec<VarsDir>,
    /// The same beside the playbook.
    playbook_dir: Option<VarsDir>,
}

#[cfg(test)]
mod tests;
