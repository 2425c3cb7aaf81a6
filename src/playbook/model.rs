//! What a playbook is, after loading and before running: typed, spanned, not yet templated.
//!
//! The loader of this room fills these types; the engine runs them. Values that may hold templates stay [`Node`]s.

use crate::source::{Node, Span};
use std::path::PathBuf;
use std::sync::Arc;

/// A playbook file, its imports expanded.
#[derive(Debug)]
pub struct Playbook {
    /// As the user named it.
    pub path: PathBuf,
    /// Its plays, in order.
    pub plays: Vec<Arc<Play>>,
}

/// A play.
#[derive(Debug)]
pub struct Play {
    /// Where it stands.
    pub span: Span,
    /// `name`.
    pub name: Option<Node>,
    /// `hosts`: text or a list of texts.
    pub hosts: Node,
    /// The folder of the playbook file that this play stands in (`playbook_dir`).
    pub directory: PathBuf,
    /// What its tasks inherit.
    pub keywords: Arc<Keywords>,
    /// `gather_facts`.
    pub gather_facts: Option<Node>,
    /// `gather_subset`.
    pub gather_subset: Option<Node>,
    /// `gather_timeout`.
    pub gather_timeout: Option<Node>,
    /// `fact_path`.
    pub fact_path: Option<Node>,
    /// `serial`: a number, a percentage, or a list of them.
    pub serial: Option<Node>,
    /// `strategy`.
    pub strategy: Option<Node>,
    /// `order`.
    pub order: Option<Node>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<Node>,
    /// `force_handlers`.
    pub force_handlers: Option<Node>,
    /// `vars_files`: each a text or a list of alternatives.
    pub vars_files: Vec<Node>,
    /// `vars_prompt`.
    pub vars_prompt: Vec<VarsPrompt>,
    /// `rolling`, our own.
    pub rolling: Option<Node>,
    /// `pre_tasks`.
    pub pre_tasks: Vec<Step>,
    /// `roles`, dependencies before the roles that need them, each with its tasks.
    pub roles: Vec<RoleUse>,
    /// `tasks`.
    pub tasks: Vec<Step>,
    /// `post_tasks`.
    pub post_tasks: Vec<Step>,
    /// `handlers` of the play; those of roles are in the roles.
    pub handlers: Vec<Step>,
}

/// One entry of `vars_prompt`.
#[derive(Debug)]
pub struct VarsPrompt {
    /// The variable.
    pub name: Node,
    /// The question; the name when missing.
    pub prompt: Option<Node>,
    /// The answer when nothing is typed.
    pub default: Option<Node>,
    /// Whether what is typed stays hidden; it does by default.
    pub private: bool,
    /// Whether it is asked for twice.
    pub confirm: bool,
}

/// A use of a role in a play: by `roles:`, as a dependency, or by import or include.
#[derive(Clone, Debug)]
pub struct RoleUse {
    /// The role.
    pub role: Arc<Role>,
    /// Keywords beside the role's name, over those of the play.
    pub keywords: Arc<Keywords>,
    /// Role parameters: what stands beside the name and is no keyword.
    pub params: Vec<(Arc<str>, Node)>,
    /// The tasks of this use (`tasks/main.yml` or `tasks_from`), each knowing `role`.
    pub tasks: Vec<Step>,
    /// Where it is named.
    pub span: Span,
}

/// A role on disk.
#[derive(Debug)]
pub struct Role {
    /// Its name, as other roles and handlers call it.
    pub name: Arc<str>,
    /// Its folder.
    pub path: PathBuf,
    /// `defaults/main` (or `defaults_from`), in order.
    pub defaults: Vec<(Arc<str>, Node)>,
    /// `vars/main` (or `vars_from`), in order.
    pub vars: Vec<(Arc<str>, Node)>,
    /// `handlers/main` (or `handlers_from`).
    pub handlers: Vec<Step>,
    /// Roles it depends on, in order (`meta/main.yml`).
    pub dependencies: Vec<RoleUse>,
    /// `allow_duplicates` of its meta file.
    pub allow_duplicates: bool,
    /// `argument_specs` of `meta/argument_specs.yml` or `meta/main.yml`.
    pub argument_specs: Option<Node>,
}

/// A task or a block.
#[derive(Clone, Debug)]
pub enum Step {
    /// A task.
    Task(Arc<Task>),
    /// A block.
    Block(Arc<Block>),
}

/// A block.
#[derive(Debug)]
pub struct Block {
    /// Where it stands.
    pub span: Span,
    /// `name`.
    pub name: Option<Node>,
    /// What its tasks inherit.
    pub keywords: Arc<Keywords>,
    /// `block`.
    pub block: Vec<Step>,
    /// `rescue`.
    pub rescue: Vec<Step>,
    /// `always`.
    pub always: Vec<Step>,
    /// `notify`, given to each of its tasks.
    pub notify: Vec<Node>,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// A static import (`import_tasks`, `import_role`) that was expanded here: vars and tags of the import are the
    /// block's keywords; role parameters of an `import_role` are its `vars`.
    pub imported: bool,
}

/// What plays, roles, blocks and tasks may say and what is inside inherits; untemplated.
#[derive(Debug, Default)]
pub struct Keywords {
    /// `become`
    pub become_: Option<Node>,
    /// `become_user`
    pub become_user: Option<Node>,
    /// `become_method`
    pub become_method: Option<Node>,
    /// `become_flags`
    pub become_flags: Option<Node>,
    /// `become_exe`
    pub become_exe: Option<Node>,
    /// `environment`: a mapping or a list of mappings; merged over what is inherited.
    pub environment: Option<Node>,
    /// `vars`
    pub vars: Vec<(Arc<str>, Node)>,
    /// `tags`; added to what is inherited.
    pub tags: Vec<Node>,
    /// `when`; all of them and those inherited must hold.
    pub when: Vec<Node>,
    /// `no_log`
    pub no_log: Option<Node>,
    /// `ignore_errors`
    pub ignore_errors: Option<Node>,
    /// `ignore_unreachable`
    pub ignore_unreachable: Option<Node>,
    /// `any_errors_fatal`
    pub any_errors_fatal: Option<Node>,
    /// `check_mode`
    pub check_mode: Option<Node>,
    /// `diff`
    pub diff: Option<Node>,
    /// `delegate_to`
    pub delegate_to: Option<Node>,
    /// `delegate_facts`
    pub delegate_facts: Option<Node>,
    /// `run_once`
    pub run_once: Option<Node>,
    /// `connection`
    pub connection: Option<Node>,
    /// `remote_user`
    pub remote_user: Option<Node>,
    /// `port`
    pub port: Option<Node>,
    /// `throttle`
    pub throttle: Option<Node>,
    /// `timeout`
    pub timeout: Option<Node>,
    /// `module_defaults`
    pub module_defaults: Option<Node>,
    /// `collections`
    pub collections: Option<Node>,
    /// `debugger`
    pub debugger: Option<Node>,
}

/// A task.
#[derive(Debug)]
pub struct Task {
    /// Where it stands.
    pub span: Span,
    /// `name`.
    pub name: Option<Node>,
    /// What it does.
    pub action: ActionCall,
    /// Its own keywords.
    pub keywords: Arc<Keywords>,
    /// `loop` or `with_*`.
    pub looping: Option<LoopSpec>,
    /// `register`
    pub register: Option<Node>,
    /// `until`
    pub until: Vec<Node>,
    /// `retries`
    pub retries: Option<Node>,
    /// `delay`, seconds.
    pub delay: Option<Node>,
    /// `changed_when`
    pub changed_when: Vec<Node>,
    /// `failed_when`
    pub failed_when: Vec<Node>,
    /// `notify`
    pub notify: Vec<Node>,
    /// `listen`, for handlers.
    pub listen: Vec<Node>,
    /// `async`, seconds.
    pub async_: Option<Node>,
    /// `poll`, seconds.
    pub poll: Option<Node>,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// The file it stands in.
    pub file: PathBuf,
}

/// A module call as written.
#[derive(Debug)]
pub struct ActionCall {
    /// The module, as written: `copy`, `ansible.builtin.copy`.
    pub name: Arc<str>,
    /// Where the module's name stands.
    pub span: Span,
    /// Arguments in order; keys are literal texts. `k=v` words are already taken apart.
    pub arguments: Vec<(Node, Node)>,
    /// The free text of `command: ls -l`, `meta: flush_handlers`, `include_tasks: x.yml` (`_raw_params`).
    pub free_form: Option<Node>,
    /// `args: "{{ variable }}"`: a whole mapping out of a template.
    pub template_arguments: Option<Node>,
}

/// A loop.
#[derive(Debug)]
pub struct LoopSpec {
    /// `loop`, or the lookup of `with_X`: `items`, `dict`, `first_found` …
    pub kind: Arc<str>,
    /// What is looped over.
    pub expression: Node,
    /// `loop_control`.
    pub control: LoopControl,
}

/// `loop_control`.
#[derive(Debug, Default)]
pub struct LoopControl {
    /// `loop_var`, `item` when missing.
    pub loop_var: Option<Node>,
    /// `index_var`
    pub index_var: Option<Node>,
    /// `label`
    pub label: Option<Node>,
    /// `pause`, seconds.
    pub pause: Option<Node>,
    /// `extended`
    pub extended: Option<Node>,
    /// `extended_allitems`
    pub extended_allitems: Option<Node>,
    /// `break_when`
    pub break_when: Vec<Node>,
}
