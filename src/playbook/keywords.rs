//! Keywords that plays, roles, blocks and tasks have in common, and the lists of all keywords of each place.

use std::sync::Arc;

use super::model::Variables;
use crate::source::{Diag, Diags, Node, NodeValue, did_you_mean, is_variable_name, parse_bool};

/// The inheritable keywords of one place, as written.
///
/// The engine walks outwards to find the innermost value of one that is an `Option`; lists add up, outermost first.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // each is the keyword of its name
pub struct Keywords {
    pub any_errors_fatal: Option<Node>,
    pub become_: Option<Node>,
    pub become_exe: Option<Node>,
    pub become_flags: Option<Node>,
    pub become_method: Option<Node>,
    pub become_user: Option<Node>,
    pub check_mode: Option<Node>,
    pub collections: Option<Node>,
    pub connection: Option<Node>,
    pub debugger: Option<Node>,
    pub delegate_facts: Option<Node>,
    pub delegate_to: Option<Node>,
    pub diff: Option<Node>,
    pub ignore_errors: Option<Node>,
    pub ignore_unreachable: Option<Node>,
    pub no_log: Option<Node>,
    pub port: Option<Node>,
    pub remote_user: Option<Node>,
    pub run_once: Option<Node>,
    pub throttle: Option<Node>,
    pub timeout: Option<Node>,
    /// Dictionaries, or templates of them.
    pub environment: Vec<Node>,
    /// Dictionaries from module or `group/…` to arguments.
    pub module_defaults: Vec<Node>,
    /// Single tags; a template may still become several.
    pub tags: Vec<Node>,
    pub vars: Variables,
    /// Conditions, all of which must hold.
    pub when: Vec<Node>,
}

/// Where keywords are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A play.
    Play,
    /// An entry of `roles:` or of a role's dependencies.
    Role,
    /// A block.
    Block,
    /// A task.
    Task,
    /// A handler.
    Handler,
    /// `import_playbook`
    Import,
}

/// Keywords of every place.
const BASE: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "check_mode",
    "collections",
    "connection",
    "debugger",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "module_defaults",
    "name",
    "no_log",
    "port",
    "remote_user",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "vars",
];
const CONDITIONAL: &[&str] = &["when", "delegate_to", "delegate_facts"];
const PLAY: &[&str] = &[
    "fact_path",
    "force_handlers",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "handlers",
    "hosts",
    "max_fail_percentage",
    "order",
    "post_tasks",
    "pre_tasks",
    "roles",
    "rolling",
    "serial",
    "strategy",
    "tasks",
    "user",
    "vars_files",
    "vars_prompt",
];
const BLOCK: &[&str] = &["always", "block", "notify", "rescue"];
const TASK: &[&str] = &[
    "action",
    "args",
    "async",
    "changed_when",
    "delay",
    "failed_when",
    "local_action",
    "loop",
    "loop_control",
    "notify",
    "poll",
    "register",
    "retries",
    "until",
];

impl Place {
    /// All keywords of this place; `with_…` of tasks is not among them.
    pub fn keywords(self) -> impl Iterator<Item = &'static str> {
        let (conditional, own): (&[&str], &[&str]) = match self {
            Place::Play => (&[], PLAY),
            Place::Role => (CONDITIONAL, &["role"]),
            Place::Block => (CONDITIONAL, BLOCK),
            Place::Task | Place::Handler => (CONDITIONAL, TASK),
            Place::Import => (&["when"], &["import_playbook", "ansible.builtin.import_playbook"]),
        };
        let listen: &[&str] = if self == Place::Handler { &["listen"] } else { &[] };
        [BASE, conditional, own, listen].into_iter().flatten().copied()
    }

    /// Whether `word` is a keyword here.
    pub fn has(self, word: &str) -> bool {
        self.keywords().any(|keyword| keyword == word)
    }

    /// The error for a word that is none.
    pub(super) fn unknown(self, key: &Node) -> Diag {
        let word = key.as_str().unwrap_or(key.raw()).to_owned();
        let what = match self {
            Place::Play => "a play",
            Place::Role => "a role",
            Place::Block => "a block",
            Place::Task => "a task",
            Place::Handler => "a handler",
            Place::Import => "an import_playbook",
        };
        let diag = Diag::error(format!("`{word}` is no keyword of {what}")).coded("unknown-keyword").at(&key.span);
        let all: Vec<&str> = self.keywords().collect();
        match did_you_mean(&word, all) {
            Some(near) => diag.with_help(format!("did you mean `{near}`?")),
            None => match word.as_str() {
                "sudo" | "su" => diag.with_help("use `become: true`"),
                "sudo_user" | "su_user" => diag.with_help("use `become_user`"),
                "include" | "import_tasks" | "include_tasks" if self == Place::Play => {
                    diag.with_help("put it under `tasks:`, or use `import_playbook` for whole plays")
                }
                "when" if self == Place::Play => {
                    diag.with_help("put the condition on the play's tasks, or on a block around them")
                }
                "listen" => diag.with_help("only handlers listen"),
                _ => diag,
            },
        }
    }
}

impl Keywords {
    /// Reads a mapping that holds nothing but keywords of a block (`apply` of a dynamic include), `notify` for itself.
    pub fn read(node: &Node, diags: &mut Diags) -> (Keywords, Vec<Node>) {
        let (mut keywords, mut notify) = (Keywords::default(), Vec::new());
        match node.as_map() {
            Some(map) => {
                for (key, value) in map.iter() {
                    if key.as_str() == Some("notify") {
                        notify = listed(value);
                    } else if !keywords.take(key, value, diags) {
                        diags.push(Place::Block.unknown(key));
                    }
                }
            }
            None => diags.push(Diag::error("this must be a mapping of keywords").at(&node.span)),
        }
        (keywords, notify)
    }

    /// Takes a keyword if it is one of the inheritable ones, and checks its literal value.
    pub(super) fn take(&mut self, key: &Node, value: &Node, diags: &mut Diags) -> bool {
        let Some(word) = key.as_str() else { return false };
        let slot = match word {
            "any_errors_fatal" => &mut self.any_errors_fatal,
            "become" => &mut self.become_,
            "become_exe" => &mut self.become_exe,
            "become_flags" => &mut self.become_flags,
            "become_method" => &mut self.become_method,
            "become_user" => &mut self.become_user,
            "check_mode" => &mut self.check_mode,
            "collections" => &mut self.collections,
            "connection" => &mut self.connection,
            "debugger" => &mut self.debugger,
            "delegate_facts" => &mut self.delegate_facts,
            "delegate_to" => &mut self.delegate_to,
            "diff" => &mut self.diff,
            "ignore_errors" => &mut self.ignore_errors,
            "ignore_unreachable" => &mut self.ignore_unreachable,
            "no_log" => &mut self.no_log,
            "port" => &mut self.port,
            "remote_user" => &mut self.remote_user,
            "run_once" => &mut self.run_once,
            "throttle" => &mut self.throttle,
            "timeout" => &mut self.timeout,
            "environment" | "module_defaults" => {
                let list = if word == "environment" { &mut self.environment } else { &mut self.module_defaults };
                for item in listed(value) {
                    match item.value {
                        NodeValue::Map(_) => list.push(item),
                        NodeValue::Str(_) if item.is_template() => list.push(item),
                        NodeValue::Null => {}
                        _ => diags.push(
                            Diag::error(format!("`{word}` must be a dictionary, and this is {}", item.kind()))
                                .at(&item.span),
                        ),
                    }
                }
                return true;
            }
            "tags" => {
                if matches!(value.value, NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Bool(_)) {
                    diags.push(
                        Diag::error(format!(
                            "`tags` must be a list of names, or names in one string, and this is {}",
                            shown(value)
                        ))
                        .coded("wrong-value")
                        .at(&value.span)
                        .with_help(format!("put it into a list: [{}]", value.raw())),
                    );
                    return true;
                }
                self.tags.extend(tags(value, diags));
                return true;
            }
            "vars" => {
                self.vars.extend(variables(value, "vars", diags));
                return true;
            }
            "when" => {
                self.when.extend(conditions(value, "when", diags));
                return true;
            }
            _ => return false,
        };
        if !value.is_null() {
            check_literal(word, value, diags);
            *slot = Some(value.clone());
            if let Some(what) = without_meaning(word, value)
                && !diags.warnings().any(|said| said.message == what)
            {
                diags.push(Diag::warning(what).at(&key.span));
            }
        }
        true
    }
}

/// What is said, once, of a keyword that Ansible has and that has no effect here.
fn without_meaning(word: &str, value: &Node) -> Option<String> {
    match word {
        "debugger" if value.as_str() != Some("never") => {
            Some("there is no task debugger here: `debugger` has no effect, a failed task fails".into())
        }
        "collections" => {
            let own = |node: &Node| matches!(node.as_str(), Some("ansible.builtin" | "ansible.legacy"));
            let all = listed(value);
            (!all.iter().all(own)).then(|| {
                "`collections` has no effect: modules are those of this program (`deploy doc --list`), and roles are \
                 found in the folders of --roles-path"
                    .into()
            })
        }
        _ => None,
    }
}

/// What a keyword takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A boolean.
    Truth,
    /// A number without a fraction.
    Whole,
    /// A number, perhaps a percentage.
    Number,
    /// A string.
    Text,
    /// Something that is looked at elsewhere.
    Other,
}

/// What the keyword takes, as far as that is one scalar.
pub fn takes(word: &str) -> Takes {
    match word {
        "any_errors_fatal" | "become" | "check_mode" | "delegate_facts" | "diff" | "ignore_errors"
        | "ignore_unreachable" | "no_log" | "run_once" | "gather_facts" | "force_handlers" => Takes::Truth,
        "port" | "throttle" | "timeout" | "retries" | "async" | "poll" | "gather_timeout" => Takes::Whole,
        "delay" | "max_fail_percentage" => Takes::Number,
        "become_user" | "become_method" | "become_exe" | "become_flags" | "connection" | "delegate_to"
        | "remote_user" | "user" | "debugger" | "strategy" | "order" | "fact_path" => Takes::Text,
        _ => Takes::Other,
    }
}

/// Booleans and numbers that are written out are checked here; templates are checked when they are known.
pub(super) fn check_literal(word: &str, value: &Node, diags: &mut Diags) {
    if value.has_template() {
        return;
    }
    let expected = match takes(word) {
        Takes::Truth => {
            let good = match &value.value {
                NodeValue::Bool(_) => true,
                NodeValue::Int(int) => matches!(int, 0 | 1),
                NodeValue::Str(text) => parse_bool(text).is_some(),
                _ => false,
            };
            (!good).then_some("true or false")
        }
        Takes::Whole => {
            let good = match &value.value {
                NodeValue::Int(int) => *int >= 0,
                NodeValue::Str(text) => text.trim().parse::<u32>().is_ok(),
                NodeValue::Float(_) => matches!(word, "poll"),
                _ => false,
            };
            (!good).then_some("a whole number")
        }
        Takes::Number => {
            let good = match &value.value {
                NodeValue::Int(_) | NodeValue::Float(_) => true,
                NodeValue::Str(text) => text.trim().trim_end_matches('%').parse::<f64>().is_ok(),
                _ => false,
            };
            (!good).then_some("a number")
        }
        Takes::Text => (!value.is_scalar()).then_some("a string"),
        Takes::Other => None,
    };
    if let Some(expected) = expected {
        diags.push(
            Diag::error(format!("`{word}` must be {expected}, and this is {}", shown(value)))
                .coded("wrong-value")
                .at(&value.span),
        );
    }
}

fn shown(value: &Node) -> String {
    match value.scalar_text() {
        Some(text) if !text.is_empty() => format!("`{text}`"),
        _ => value.kind().to_owned(),
    }
}

/// The items of a list, or the one thing that stands instead of a list.
pub(super) fn listed(value: &Node) -> Vec<Node> {
    match &value.value {
        NodeValue::Null => Vec::new(),
        NodeValue::Seq(items) => items.to_vec(),
        _ => vec![value.clone()],
    }
}

/// Names in a list, or behind commas in a string.
pub(super) fn tags(value: &Node, diags: &mut Diags) -> Vec<Node> {
    let mut found = Vec::new();
    for item in listed(value) {
        match &item.value {
            NodeValue::Str(text) if !item.is_template() && text.contains(',') => {
                found.extend(
                    text.split(',')
                        .map(str::trim)
                        .filter(|tag| !tag.is_empty())
                        .map(|tag| Node::string(item.span.clone(), tag)),
                );
            }
            NodeValue::Str(_) => found.push(item),
            NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Bool(_) => {
                found.push(Node::string(item.span.clone(), item.scalar_text().unwrap_or_default()));
            }
            NodeValue::Null => {}
            _ => diags.push(Diag::error(format!("`tags` must be names, and this is {}", item.kind())).at(&item.span)),
        }
    }
    found
}

/// Conditions: expressions, booleans, or lists of them.
pub(super) fn conditions(value: &Node, word: &str, diags: &mut Diags) -> Vec<Node> {
    let mut found = Vec::new();
    for item in listed(value) {
        match &item.value {
            NodeValue::Seq(_) | NodeValue::Map(_) => {
                let diag =
                    Diag::error(format!("`{word}` must be an expression, and this is {}", item.kind())).at(&item.span);
                diags.push(match item.as_map() {
                    Some(_) => diag.with_help("an expression that contains `: ` or begins with `{` must be in quotes"),
                    None => diag,
                });
            }
            NodeValue::Null => {}
            _ => found.push(item),
        }
    }
    found
}

/// A dictionary of variables (or, as older Ansible allowed, a list of such).
pub(super) fn variables(value: &Node, word: &str, diags: &mut Diags) -> Variables {
    let mut found = Variables::new();
    for item in listed(value) {
        let Some(map) = item.as_map() else {
            diags.push(
                Diag::error(format!("`{word}` must be a dictionary, and this is {}", item.kind())).at(&item.span),
            );
            continue;
        };
        for (key, value) in map.iter() {
            let name = key.as_arc_str().or_else(|| key.scalar_text().map(Arc::from)).unwrap_or_else(|| Arc::from(""));
            if !is_variable_name(&name) || key.as_str().is_none() {
                diags.push(
                    Diag::error(format!("`{}` cannot be the name of a variable", key.raw()))
                        .coded("variable-name")
                        .at(&key.span)
                        .with_note("names are made of letters, digits and underscores, and do not begin with a digit"),
                );
                continue;
            }
            found.push((name, value.clone()));
        }
    }
    found
}
