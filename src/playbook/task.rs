//! One task: its keywords, its loop, and which of its keys is the module.

use std::sync::Arc;

use super::action::Candidate;
use super::keywords::{Keywords, Place, check_literal, conditions, listed};
use super::load::{Loader, TaskContext};
use super::model::{LoopControl, LoopKind, LoopSpec, Task};
use super::steps::directory_of;
use crate::source::{Diag, Node, SourceFile, did_you_mean, is_variable_name};

/// The keywords that a dynamic include may have; what its tasks shall inherit goes under `apply`.
const INCLUDE_KEYWORDS: [&str; 17] = [
    "action",
    "args",
    "collections",
    "debugger",
    "ignore_errors",
    "listen",
    "loop",
    "loop_control",
    "local_action",
    "name",
    "no_log",
    "register",
    "run_once",
    "tags",
    "timeout",
    "vars",
    "when",
];

/// What `loop_control` has.
pub const LOOP_CONTROL: [&str; 7] =
    ["loop_var", "index_var", "label", "pause", "extended", "extended_allitems", "break_when"];

impl Loader<'_> {
    /// Reads a task. `None` if it is so wrong that nothing can be made of it.
    pub(super) fn task(&mut self, node: &Node, file: &Arc<SourceFile>, context: &TaskContext) -> Option<Task> {
        let map = node.as_map()?;
        let place = if context.handler { Place::Handler } else { Place::Task };
        let mut kw = Keywords::default();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut args: Option<&Node> = None;
        let mut name = None;
        let mut loops: Vec<LoopSpec> = Vec::new();
        let mut loop_control = LoopControl::default();
        let mut register = None;
        let (mut until, mut retries, mut delay) = (Vec::new(), None, None);
        let (mut changed_when, mut failed_when) = (None, None);
        let (mut notify, mut listen) = (Vec::new(), Vec::new());
        let (mut async_, mut poll) = (None, None);
        for (key, value) in map.iter() {
            if kw.take(key, value, self.diags) {
                continue;
            }
            let Some(word) = key.as_str() else {
                self.error(place.unknown(key));
                continue;
            };
            let mut checked = || {
                check_literal(word, value, self.diags);
                Some(value.clone()).filter(|value| !value.is_null())
            };
            match word {
                "name" => name = Some(value.clone()).filter(|value| !value.is_null()),
                "args" => args = Some(value),
                // Left empty: as if it were not written.
                "loop" | "register" | "retries" | "poll" if value.is_null() => {}
                "loop" => loops.push(LoopSpec { kind: LoopKind::Loop, expr: value.clone(), span: key.span.clone() }),
                "loop_control" => loop_control = self.loop_control(value),
                "register" => register = self.register(value),
                "until" => until = conditions(value, word, self.diags),
                "retries" => retries = checked(),
                "delay" => delay = checked(),
                // An empty list is no condition.
                "changed_when" | "failed_when" if value.as_seq().is_some_and(<[Node]>::is_empty) => {}
                "changed_when" => changed_when = Some(conditions(value, word, self.diags)),
                "failed_when" => failed_when = Some(conditions(value, word, self.diags)),
                "notify" => notify = self.names(word, value),
                "listen" if context.handler => listen = self.names(word, value),
                "async" => async_ = checked(),
                "poll" => poll = checked(),
                "action" | "local_action" => {
                    if word == "local_action" && kw.delegate_to.is_none() {
                        kw.delegate_to = Some(Node::string(key.span.clone(), "localhost"));
                    }
                    candidates.push(Candidate { key: key.clone(), value: value.clone(), spelled_out: true });
                }
                _ => match word.strip_prefix("with_") {
                    Some(lookup) if !lookup.is_empty() && value.is_null() => {
                        let diag = Diag::error(format!("`{word}` needs a value")).at(&key.span);
                        self.error(diag.with_help("`[]` is a loop over nothing"));
                    }
                    Some(lookup) if !lookup.is_empty() => loops.push(LoopSpec {
                        kind: LoopKind::With(Arc::from(lookup)),
                        expr: value.clone(),
                        span: key.span.clone(),
                    }),
                    _ => candidates.push(Candidate { key: key.clone(), value: value.clone(), spelled_out: false }),
                },
            }
        }
        if let [first, second, ..] = loops.as_slice() {
            self.error(
                Diag::error("a task has one loop")
                    .label(&second.span, "this is the second")
                    .label(&first.span, "the first"),
            );
        }
        let conditional = context.conditional || !kw.when.is_empty();
        let defaults = context.defaults || !kw.module_defaults.is_empty();
        let (action, late_error) = self.action(node, candidates, args, place, conditional, context, defaults)?;
        if matches!(action.canonical, Some("ansible.builtin.include_tasks" | "ansible.builtin.include_role")) {
            for key in map.keys() {
                let word = key.as_str().unwrap_or_default();
                let fine = INCLUDE_KEYWORDS.contains(&word)
                    || word.starts_with("with_")
                    || key.span == action.span
                    || !place.has(word);
                if !fine {
                    self.error(
                        Diag::error(format!("`{word}` has no meaning at a dynamic include"))
                            .coded("unknown-keyword")
                            .at(&key.span)
                            .with_help(format!(
                                "write `apply: {{{word}: …}}` among its arguments, or import instead of including"
                            )),
                    );
                }
            }
        }
        Some(Task {
            span: node.span.clone(),
            file: file.clone(),
            directory: directory_of(file),
            role: context.role.clone(),
            name,
            action,
            keywords: Arc::new(kw),
            loop_: loops.into_iter().next(),
            loop_control,
            register,
            until,
            retries,
            delay,
            changed_when,
            failed_when,
            notify,
            listen,
            async_,
            poll,
            handler: context.handler,
            late_error,
        })
    }

    fn loop_control(&mut self, value: &Node) -> LoopControl {
        let mut control = LoopControl::default();
        let Some(map) = value.as_map() else {
            if !value.is_null() {
                self.error(
                    Diag::error(format!("`loop_control` must be a dictionary, and this is {}", value.kind()))
                        .at(&value.span),
                );
            }
            return control;
        };
        for (key, value) in map.iter() {
            let word = key.scalar_text().unwrap_or_default();
            let slot = match word.as_str() {
                "loop_var" => &mut control.loop_var,
                "index_var" => &mut control.index_var,
                "label" => &mut control.label,
                "pause" => &mut control.pause,
                "extended" => &mut control.extended,
                "extended_allitems" => &mut control.extended_allitems,
                "break_when" => {
                    control.break_when = conditions(value, "break_when", self.diags);
                    continue;
                }
                _ => {
                    self.error(
                        Diag::error(format!("`{word}` is no keyword of loop_control"))
                            .coded("unknown-keyword")
                            .at(&key.span)
                            .suggest(did_you_mean(&word, &LOOP_CONTROL)),
                    );
                    continue;
                }
            };
            *slot = Some(value.clone());
            if word == "label" && !value.is_scalar() {
                self.error(
                    Diag::error(format!("`label` must be a string, and this is {}", value.kind()))
                        .coded("wrong-value")
                        .at(&value.span)
                        .with_help("a mapping in quotes is one: \"{{ {'name': item.name} }}\""),
                );
            }
            if word.ends_with("_var") && !value.is_template() && !value.as_str().is_some_and(is_variable_name) {
                self.error(
                    Diag::error(format!("`{}` cannot be the name of a variable", value.raw()))
                        .coded("variable-name")
                        .at(&value.span),
                );
            }
        }
        control
    }

    fn register(&mut self, value: &Node) -> Option<Arc<str>> {
        match value.as_arc_str().filter(|name| is_variable_name(name)) {
            Some(name) => Some(name),
            None => {
                self.error(
                    Diag::error(format!("`{}` cannot be the name of a variable", value.raw()))
                        .coded("variable-name")
                        .at(&value.span)
                        .with_note("names are made of letters, digits and underscores, and do not begin with a digit"),
                );
                None
            }
        }
    }

    /// Names of handlers or topics.
    fn names(&mut self, word: &str, value: &Node) -> Vec<Node> {
        let mut found = Vec::new();
        for item in listed(value) {
            match item.is_scalar() && !item.is_null() {
                true => found.push(item),
                false => self
                    .error(Diag::error(format!("`{word}` must be names, and this is {}", item.kind())).at(&item.span)),
            }
        }
        found
    }
}
