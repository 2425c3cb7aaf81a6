//! The shapes of the language: playbook, play, block, task, role.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::keywords::Keywords;
use crate::source::{Diag, Node, SourceFile, Span};

/// Variables in the order in which they were written, not templated.
pub type Variables = Vec<(Arc<str>, Node)>;

/// A playbook file with everything it imports.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The file as the user named it.
    pub path: PathBuf,
    /// Its folder: `playbook_dir`.
    pub directory: PathBuf,
    /// Plays in order, those of imported playbooks in their places.
    pub plays: Vec<Arc<Play>>,
}

/// A play.
#[derive(Clone, Debug)]
pub struct Play {
    /// Where it stands.
    pub span: Span,
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// The folder of that file: relative names in the play are looked up there.
    pub directory: PathBuf,
    /// `name`
    pub name: Option<Node>,
    /// `hosts`: a pattern or a list of patterns, perhaps templates.
    pub hosts: Node,
    /// What everything in it inherits. `when` holds the conditions of an `import_playbook`.
    pub keywords: Arc<Keywords>,
    /// `gather_facts`
    pub gather_facts: Option<Node>,
    /// `gather_subset`
    pub gather_subset: Option<Node>,
    /// `gather_timeout`
    pub gather_timeout: Option<Node>,
    /// `fact_path`
    pub fact_path: Option<Node>,
    /// `vars_files`: each a name or a list of names of which the first that exists counts.
    pub vars_files: Vec<Node>,
    /// `vars_prompt`: dictionaries.
    pub vars_prompt: Vec<Node>,
    /// `serial`: a number, a percentage, or a list of them.
    pub serial: Vec<Node>,
    /// `strategy`
    pub strategy: Option<Node>,
    /// `order`
    pub order: Option<Node>,
    /// `max_fail_percentage`
    pub max_fail_percentage: Option<Node>,
    /// `force_handlers`
    pub force_handlers: Option<Node>,
    /// `rolling`, our own.
    pub rolling: Option<Arc<super::rolling::Rolling>>,
    /// `pre_tasks`
    pub pre_tasks: Vec<Step>,
    /// `roles`: a block for each, dependencies before it.
    pub roles: Vec<Step>,
    /// `tasks`
    pub tasks: Vec<Step>,
    /// `post_tasks`
    pub post_tasks: Vec<Step>,
    /// The handlers of its roles, then the play's own. Of handlers with one name the last wins.
    pub handlers: Vec<Step>,
    /// All roles known before the play runs (`roles`, dependencies, `import_role`), in order: their defaults and
    /// vars are visible in the whole play.
    pub all_roles: Vec<Arc<Role>>,
}

/// An element of a list of tasks.
#[derive(Clone, Debug)]
pub enum Step {
    /// A task.
    Task(Arc<Task>),
    /// A block, a static import, or a role.
    Block(Arc<Block>),
}

/// Steps that share keywords, and what happens when one fails.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where it stands.
    pub span: Span,
    /// `name`
    pub name: Option<Node>,
    /// What everything in it inherits.
    pub keywords: Arc<Keywords>,
    /// What it is.
    pub kind: BlockKind,
    /// The role it belongs to; for [`BlockKind::Role`] the role that it is.
    pub role: Option<Arc<Role>>,
    /// `block`
    pub block: Vec<Step>,
    /// `rescue`
    pub rescue: Vec<Step>,
    /// `always`
    pub always: Vec<Step>,
    /// `notify`, which its tasks inherit.
    pub notify: Vec<Node>,
}

/// What a [`Block`] was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// `block:`
    Block,
    /// `import_tasks`, or what a role's entry and its dependencies have in common.
    Import,
    /// The tasks of one role, without those of its dependencies: the unit of "has run already".
    Role,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Where it stands.
    pub span: Span,
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// The folder of that file: relative names are looked up there.
    pub directory: PathBuf,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// `name`
    pub name: Option<Node>,
    /// What it does.
    pub action: Action,
    /// Keywords that blocks and plays have, too.
    pub keywords: Arc<Keywords>,
    /// `loop` or `with_…`
    pub loop_: Option<LoopSpec>,
    /// `loop_control`
    pub loop_control: LoopControl,
    /// `register`
    pub register: Option<Arc<str>>,
    /// `until`
    pub until: Vec<Node>,
    /// `retries`
    pub retries: Option<Node>,
    /// `delay`
    pub delay: Option<Node>,
    /// `changed_when`; `None` where it was not written.
    pub changed_when: Option<Vec<Node>>,
    /// `failed_when`; `None` where it was not written.
    pub failed_when: Option<Vec<Node>>,
    /// `notify`
    pub notify: Vec<Node>,
    /// `listen`, of a handler.
    pub listen: Vec<Node>,
    /// `async`
    pub async_: Option<Node>,
    /// `poll`
    pub poll: Option<Node>,
    /// It is a handler.
    pub handler: bool,
    /// What is known to be wrong, but only matters if the task runs, because a `when` stands before it. The
    /// engine fails the task with it.
    pub late_error: Option<Box<Diag>>,
}

/// The module of a task and its arguments.
#[derive(Clone, Debug)]
pub struct Action {
    /// As written: `copy`, `ansible.builtin.copy`.
    pub name: Arc<str>,
    /// The module's full name, if it is known.
    pub canonical: Option<&'static str>,
    /// Where the name stands.
    pub span: Span,
    /// Arguments in order, keys and values with their places.
    pub args: Vec<(Node, Node)>,
    /// What a free-form module takes as its text (`_raw_params`): the command line, the file to include.
    pub free_form: Option<Node>,
    /// Arguments that are one template, from `args: "{{ … }}"` or `module: "{{ … }}"`; those in `args` win.
    pub args_template: Option<Node>,
}

/// A loop.
#[derive(Clone, Debug)]
pub struct LoopSpec {
    /// `loop`, or the name behind `with_`.
    pub kind: LoopKind,
    /// What is looped over, not templated.
    pub expr: Node,
    /// Where the keyword stands.
    pub span: Span,
}

/// The keyword of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoopKind {
    /// `loop`
    Loop,
    /// `with_<lookup>`
    With(Arc<str>),
}

/// `loop_control`
#[derive(Clone, Debug, Default)]
pub struct LoopControl {
    /// `loop_var`
    pub loop_var: Option<Node>,
    /// `index_var`
    pub index_var: Option<Node>,
    /// `label`
    pub label: Option<Node>,
    /// `pause`
    pub pause: Option<Node>,
    /// `extended`
    pub extended: Option<Node>,
    /// `extended_allitems`
    pub extended_allitems: Option<Node>,
    /// `break_when`
    pub break_when: Vec<Node>,
}

/// A role as it is used in one place: what its tasks must know about it.
#[derive(Clone)]
pub struct Role {
    /// The name as written, or the last part of its path.
    pub name: Arc<str>,
    /// `role_path`
    pub path: PathBuf,
    /// Where it was asked for.
    pub span: Span,
    /// Roles with equal identities are the same role with the same parameters: a host runs it once, unless
    /// `allow_duplicates`.
    pub identity: Arc<str>,
    /// From `meta/main.yml`, or from `include_role`.
    pub allow_duplicates: bool,
    /// `defaults/main.yml`
    pub defaults: Arc<Variables>,
    /// `vars/main.yml`
    pub vars: Arc<Variables>,
    /// Parameters given where it is used, which are no keywords.
    pub params: Arc<Variables>,
    /// The roles because of which it is here, outermost first: `ansible_parent_role_names` and the parameters of
    /// these come from there.
    pub parents: Vec<Arc<Role>>,
    /// Names of the roles it depends on.
    pub dependency_names: Vec<Arc<str>>,
    /// The entry point: `main`, or what `tasks_from` says.
    pub entry: Arc<str>,
    /// The specification of the entry point's arguments, from `meta/argument_specs.yml`.
    pub argument_spec: Option<Node>,
}

/// A role with its steps.
#[derive(Clone, Debug)]
pub struct LoadedRole {
    /// The role itself.
    pub role: Arc<Role>,
    /// Blocks of its dependencies, then its own.
    pub steps: Vec<Step>,
    /// Handlers of its dependencies, then its own.
    pub handlers: Vec<Step>,
    /// All roles in it, dependencies before those that need them.
    pub all_roles: Vec<Arc<Role>>,
}

impl Role {
    /// A file or folder of the role: `role.join("templates")`.
    pub fn join(&self, relative: impl AsRef<std::path::Path>) -> PathBuf {
        self.path.join(relative)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Role({} in {})", self.name, self.path.display())
    }
}

impl Task {
    /// What the task is called before templating: its name or its module, with the role in front.
    pub fn title(&self) -> String {
        let name = self.name.as_ref().and_then(Node::scalar_text).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| self.action.name.to_string());
        match &self.role {
            Some(role) => format!("{} : {name}", role.name),
            None => name,
        }
    }
}

impl Action {
    /// An argument by its name.
    pub fn arg(&self, name: &str) -> Option<&Node> {
        self.args.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// Whether the module's name is a template: which one it is, is known when the task runs.
    pub fn is_template(&self) -> bool {
        super::action::is_template(&self.name)
    }

    /// Whether the module is the one with this full name.
    pub fn is(&self, canonical: &str) -> bool {
        self.canonical == Some(canonical)
    }
}

impl Step {
    /// Where it stands.
    pub fn span(&self) -> &Span {
        match self {
            Step::Task(task) => &task.span,
            Step::Block(block) => &block.span,
        }
    }

    /// Its keywords.
    pub fn keywords(&self) -> &Arc<Keywords> {
        match self {
            Step::Task(task) => &task.keywords,
            Step::Block(block) => &block.keywords,
        }
    }
}

impl Play {
    /// What the play is called before templating: its name or its hosts.
    pub fn title(&self) -> String {
        let name = self.name.as_ref().and_then(Node::scalar_text).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| self.host_patterns().join(","))
    }

    /// The patterns of `hosts`, not templated.
    pub fn host_patterns(&self) -> Vec<String> {
        match self.hosts.as_seq() {
            Some(items) => items.iter().filter_map(Node::scalar_text).collect(),
            None => self.hosts.scalar_text().into_iter().collect(),
        }
    }
}
