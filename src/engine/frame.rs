//! What a step inherits from the play, roles, blocks and includes around it.

use crate::playbook::{Keywords, Role, Variables};
use crate::source::Node;
use crate::template::{Layer, Raw};
use std::path::PathBuf;
use std::sync::Arc;

/// The surroundings of a step. Cheap to clone and to extend.
#[derive(Clone, Default)]
pub struct Frame {
    /// Keywords, outermost (the play's) first.
    pub keywords: Vec<Arc<Keywords>>,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// `vars` of the dynamic includes around it.
    pub include_params: Vec<Arc<Layer>>,
    /// Defaults and vars of roles that were included dynamically: `(defaults, vars)`.
    pub included_roles: Vec<(Arc<Layer>, Arc<Layer>)>,
    /// `notify` of blocks and includes around it.
    pub notify: Vec<Node>,
    /// Whether it is (inside) a handler.
    pub handler: bool,
    /// Folders of the task files around it, innermost first: relative files are looked for there.
    pub directories: Vec<PathBuf>,
}

impl Frame {
    /// The surroundings of what stands inside something with `keywords`.
    pub fn inside(&self, keywords: &Arc<Keywords>) -> Frame {
        let mut inner = self.clone();
        inner.keywords.push(keywords.clone());
        inner
    }

    /// The innermost value of a keyword, asking `own` first.
    pub fn keyword<'a>(&'a self, own: &'a Keywords, of: impl Fn(&'a Keywords) -> Option<&'a Node>) -> Option<&'a Node> {
        self.values(own, of).next()
    }

    /// All that is said of a keyword, `own` first and then from the inside out: what comes out as `omit` was not said.
    pub fn values<'a>(
        &'a self,
        own: &'a Keywords,
        of: impl Fn(&'a Keywords) -> Option<&'a Node>,
    ) -> impl Iterator<Item = &'a Node> {
        std::iter::once(own).chain(self.keywords.iter().rev().map(|keywords| &**keywords)).filter_map(of)
    }

    /// All values of a keyword that adds up (`tags`, `when`, `environment`), outermost first.
    pub fn gathered<'a>(&'a self, own: &'a Keywords, of: impl Fn(&'a Keywords) -> &'a [Node]) -> Vec<&'a Node> {
        self.keywords.iter().map(|k| &**k).chain([own]).flat_map(of).collect()
    }
}

/// A layer out of written variables.
pub fn layer_of(vars: &Variables) -> Arc<Layer> {
    Arc::new(vars.iter().map(|(name, node)| (name.clone(), Raw::Node(node.clone()))).collect())
}
