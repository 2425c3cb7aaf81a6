//! Which key of a task is its module, and the module's arguments.

use std::sync::Arc;

use super::free_form::parse_kv;
use super::index::{ModuleInfo, OWN_MODULE};
use super::keywords::Place;
use super::load::{LoadOptions, Loader, TaskContext};
use super::model::{Action, Task};
use super::own::OWN_ARGUMENT;
use crate::modules::WrongValue;
use crate::source::{Diag, Diags, Node, NodeValue, Span, did_you_mean};

/// A key of a task that is no keyword, so it may be its module; or `action:`.
pub(super) struct Candidate {
    pub(super) key: Node,
    pub(super) value: Node,
    /// It is `action` or `local_action`, and the module's name is in the value.
    pub(super) spelled_out: bool,
}

/// Arguments as they were written.
#[derive(Default)]
struct Written {
    args: Vec<(Node, Node)>,
    free_form: Option<Node>,
    template: Option<Node>,
}

/// Modules whose text is a command line: only the options of commands are taken out of it.
const COMMANDS: [&str; 6] = ["command", "shell", "script", "raw", "win_command", "win_shell"];

/// Modules whose arguments are names of the user's own.
const NAMED: [&str; 2] = ["set_fact", "add_host"];

/// Modules that take a text even if the index does not say so.
const RAW: [&str; 9] = [
    "include_vars",
    "include_tasks",
    "include_role",
    "import_tasks",
    "import_role",
    "add_host",
    "group_by",
    "set_fact",
    "meta",
];

const META_ACTIONS: [&str; 11] = [
    "clear_facts",
    "clear_host_errors",
    "end_batch",
    "end_host",
    "end_play",
    "end_role",
    "flush_handlers",
    "noop",
    "refresh_inventory",
    "reset_connection",
    "role_complete",
];

impl Loader<'_> {
    /// The action of a task, and what is wrong with it but matters only if it runs.
    #[allow(clippy::too_many_arguments, reason = "each is a thing of its own that the task's reader knows")]
    pub(super) fn action(
        &mut self,
        task: &Node,
        candidates: Vec<Candidate>,
        args: Option<&Node>,
        place: Place,
        conditional: bool,
        context: &TaskContext,
        defaults: bool,
    ) -> Option<(Action, Option<Box<Diag>>)> {
        let (chosen, info) = self.choose(task, candidates, place, context)?;
        let (name, name_span, value) = match chosen.spelled_out {
            false => (chosen.key.as_arc_str()?, chosen.key.span.clone(), chosen.value),
            true => self.spelled_out(&chosen)?,
        };
        let info = info.or_else(|| self.resolve(&name, context));
        let mut late = None;
        // A template names a module behind `action:` alone, as in Ansible.
        if info.is_none() && !(chosen.spelled_out && is_template(&name)) {
            let diag = self.unknown_module(&name, &name_span, place);
            match conditional {
                true => late = Some(Box::new(diag)),
                false => self.error(diag),
            }
        }
        let mut written = self.arguments(&name, info.as_deref(), &value);
        if let Some(more) = args {
            self.add_args(&mut written, more);
        }
        if info.as_ref().is_some_and(|info| info.canonical == OWN_MODULE)
            && let Some(path) = self.own_module(&name, context)
        {
            if let Some(diag) = self.foreign(&name, &path, &name_span) {
                match conditional {
                    true => late = Some(Box::new(diag)),
                    false => self.error(diag),
                }
            }
            let file = |text: &str| Node::string(name_span.clone(), text);
            written.args.push((file(OWN_ARGUMENT), file(&path.to_string_lossy())));
        }
        let action = Action {
            name,
            canonical: info.as_ref().map(|info| info.canonical),
            span: name_span,
            args: written.args,
            free_form: written.free_form,
            args_template: written.template,
        };
        if let Some(info) = &info {
            let values = check_values(&action, info, |name, value| {
                self.options.modules.wrong_value(info.canonical, name, value)
            });
            for diag in check_arguments(&action, info, defaults).into_iter().chain(values) {
                match conditional {
                    true => late = late.or_else(|| Some(Box::new(diag))),
                    false => self.error(diag),
                }
            }
        }
        Some((action, late))
    }

    fn choose(
        &mut self,
        task: &Node,
        candidates: Vec<Candidate>,
        place: Place,
        context: &TaskContext,
    ) -> Option<(Candidate, Option<Arc<ModuleInfo>>)> {
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for candidate in candidates {
            let info = candidate.key.as_str().and_then(|word| self.resolve(word, context));
            match info.is_some() || candidate.spelled_out {
                true => known.push((candidate, info)),
                false => unknown.push(candidate),
            }
        }
        if let [(first, _), (second, _), ..] = known.as_slice() {
            self.error(
                Diag::error(format!(
                    "a task has one module, and this has `{}` and `{}`",
                    first.key.raw(),
                    second.key.raw()
                ))
                .label(&second.key.span, "the second")
                .label(&first.key.span, "the first")
                .with_help("make two tasks of it"),
            );
        }
        if !known.is_empty() {
            for candidate in unknown {
                self.error(place.unknown(&candidate.key));
            }
            return known.into_iter().next();
        }
        // No module is known: the most likely one stands for it, the others are misspelt keywords.
        let keywords: Vec<&str> = place.keywords().collect();
        let misspelt = |candidate: &Candidate| {
            let word = candidate.key.as_str().unwrap_or_default();
            !word.contains('.') && did_you_mean(word, keywords.iter().copied()).is_some()
        };
        let names = self.options.modules.names();
        let near = |c: &Candidate| did_you_mean(c.key.as_str().unwrap_or_default(), names.iter().copied()).is_some();
        let at = unknown
            .iter()
            .position(|candidate| candidate.key.as_str().is_some_and(|word| word.contains('.')))
            .or_else(|| unknown.iter().position(|c| near(c) && !misspelt(c)))
            .or_else(|| unknown.iter().position(|candidate| !misspelt(candidate)))
            // One word alone, near to a keyword and to a module, or with a module's arguments: the module's absence is the error.
            .or_else(|| {
                let alone = unknown.len() == 1;
                (alone && unknown.iter().any(|c| near(c) || c.value.as_map().is_some())).then_some(0)
            });
        let chosen = at.map(|at| unknown.remove(at));
        for candidate in &unknown {
            self.error(place.unknown(&candidate.key));
        }
        if chosen.is_none() && unknown.is_empty() {
            let what = if place == Place::Handler { "handler" } else { "task" };
            self.error(Diag::error(format!("this {what} has no module")).at(&task.span));
        }
        chosen.map(|candidate| (candidate, None))
    }

    fn unknown_module(&self, name: &str, span: &Span, place: Place) -> Diag {
        let diag = Diag::error(format!("unknown module `{name}`")).coded("unknown-module").at(span);
        if let Some(instead) = crate::modules::instead(name) {
            return diag.with_help(instead);
        }
        let names = self.options.modules.names();
        if let Some(near) = did_you_mean(name, names.iter().copied()) {
            return diag.with_help(format!("did you mean `{near}`?"));
        }
        // The same module in another collection.
        let last = name.rsplit('.').next().unwrap_or(name);
        if let (true, Some(info)) = (last != name, self.options.modules.resolve(last)) {
            return diag.with_help(format!("there is `{}`", info.canonical));
        }
        let keywords: Vec<&str> = place.keywords().collect();
        diag.suggest(did_you_mean(name, keywords))
    }

    /// `action: module k=v` or `action: {module: name, k: v}`.
    fn spelled_out(&mut self, candidate: &Candidate) -> Option<(Arc<str>, Span, Node)> {
        let value = &candidate.value;
        match &value.value {
            NodeValue::Str(text) => {
                let trimmed = text.trim_start();
                let (name, rest) = trimmed.split_at(end_of_name(trimmed));
                let (name, rest) = (Some(name).filter(|name| !name.is_empty())?, rest.trim_start());
                let span = find_in(&value.span, name);
                let rest_span = if rest.is_empty() { value.span.clone() } else { find_in(&value.span, rest) };
                let rest = match rest.is_empty() {
                    true => Node::new(rest_span, NodeValue::Null),
                    false => Node::string(rest_span, rest),
                };
                Some((Arc::from(name), span, rest))
            }
            NodeValue::Map(map) => {
                let Some((_, module)) = map.get_entry("module") else {
                    self.error(Diag::error("`action` needs a `module`").at(&value.span));
                    return None;
                };
                let name = module.as_arc_str()?;
                let mut entries: Vec<(Node, Node)> = Vec::new();
                // A string behind the module's name holds more arguments.
                let (first, rest) = name.split_at(end_of_name(&name));
                let (name, rest): (Arc<str>, _) = (Arc::from(first), rest.trim().to_owned());
                if !rest.is_empty() {
                    let written = self.arguments(&name, None, &Node::string(module.span.clone(), rest));
                    entries.extend(written.args);
                    if let Some(text) = written.free_form {
                        entries.push((Node::string(text.span.clone(), "_raw_params"), text));
                    }
                }
                entries.extend(
                    map.iter()
                        .filter(|(key, _)| key.as_str() != Some("module"))
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
                Some((name, module.span.clone(), Node::map(value.span.clone(), entries)))
            }
            _ => {
                self.error(
                    Diag::error(format!("`{}` takes a module and its arguments", candidate.key.raw()))
                        .at(&candidate.key.span),
                );
                None
            }
        }
    }

    fn arguments(&mut self, name: &str, info: Option<&ModuleInfo>, value: &Node) -> Written {
        let mut written = Written::default();
        let short = name.rsplit('.').next().unwrap_or(name);
        let text = match &value.value {
            NodeValue::Null => return written,
            NodeValue::Map(map) => {
                for (key, value) in map.iter() {
                    self.add_arg(&mut written, key, value);
                }
                return written;
            }
            NodeValue::Seq(_) => {
                self.error(
                    Diag::error(format!("the arguments of `{name}` are a dictionary or a string, and this is a list"))
                        .at(&value.span),
                );
                return written;
            }
            NodeValue::Str(text) => text.clone(),
            // `pause: 5`: as it was written.
            _ => Arc::from(value.raw()),
        };
        let command = COMMANDS.contains(&short);
        let (pairs, rest) = match parse_kv(&text, command) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.error(
                    Diag::error(why)
                        .at(&value.span)
                        .with_help(format!("write the arguments of `{name}` as a dictionary")),
                );
                return written;
            }
        };
        for (key, value_text) in pairs {
            let span = find_in(&value.span, &format!("{key}="));
            let key_span = span.part(0, key.len());
            let value_span = find_in(&Span::new(&span.file, span.end, value.span.end), &value_text);
            let node = Node::from_data(crate::source::NodeData {
                span: value_span,
                tag: value.tag.clone(),
                value: NodeValue::Str(Arc::from(value_text)),
                style: crate::source::ScalarStyle::Quoted,
            });
            written.args.push((Node::string(key_span, key), node));
        }
        if let Some(rest) = rest {
            let raw = info.is_none_or(|info| info.free_form) || command || RAW.contains(&short);
            let node = Node::from_data(crate::source::NodeData {
                span: find_in(&value.span, &rest),
                tag: value.tag.clone(),
                // A command is kept to its last line end, which is part of what it returns as `cmd`.
                value: NodeValue::Str(Arc::from(if command { &*rest } else { rest.trim_end_matches('\n') })),
                style: crate::source::ScalarStyle::Quoted,
            });
            // What takes names of the user's own takes them out of one template, too.
            let named = NAMED.contains(&short) && written.args.is_empty() && node.is_template();
            if raw && !named {
                written.free_form = Some(node);
            } else if written.args.is_empty() && node.is_template() {
                written.template = Some(node);
            } else {
                self.error(
                    Diag::error(format!("`{name}` takes `key=value` arguments, and `{}` is none", rest.trim()))
                        .at(&node.span)
                        .with_help("a value with blanks must be in quotes"),
                );
            }
        }
        written
    }

    fn add_arg(&mut self, written: &mut Written, key: &Node, value: &Node) {
        match key.as_str() {
            Some("_raw_params") => written.free_form = Some(value.clone()),
            Some(_) => written.args.push((key.clone(), value.clone())),
            None => self.error(
                Diag::error(format!("the name of an argument is a string, and `{}` is {}", key.raw(), key.kind()))
                    .at(&key.span)
                    .with_help(format!("put it in quotes: '{}'", key.raw())),
            ),
        }
    }

    /// `args:`; what the module's own value says wins.
    fn add_args(&mut self, written: &mut Written, args: &Node) {
        match &args.value {
            NodeValue::Null => {}
            NodeValue::Map(map) => {
                for (key, value) in map.iter() {
                    let known = written.args.iter().any(|(own, _)| own.key_id() == key.key_id());
                    let same_text = key.as_str() == Some("_raw_params") && written.free_form.is_some();
                    if !known && !same_text {
                        self.add_arg(written, key, value);
                    }
                }
            }
            NodeValue::Str(_) if args.is_template() => written.template = Some(args.clone()),
            _ => self
                .error(Diag::error(format!("`args` must be a dictionary, and this is {}", args.kind())).at(&args.span)),
        }
    }
}

/// Whether the name of a module is a template: which one it is, is known when the task runs.
pub(super) fn is_template(name: &str) -> bool {
    name.contains("{{") || name.contains("{%")
}

/// Where the first word ends; blanks in a template are part of it.
fn end_of_name(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            // Those of a mapping in the template come in pairs as its own do.
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && letter.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// The task whose module's name was a template, with the name that came of it. What is wrong with it is its late error.
pub fn named_task(task: &Task, name: &str, context: &TaskContext, options: &LoadOptions, diags: &mut Diags) -> Task {
    let mut loader = Loader::new(options, diags);
    let (action, wrong) = loader.named(&task.action, name, context);
    Task { action, late_error: task.late_error.clone().or(wrong.map(Box::new)), ..task.clone() }
}

impl Loader<'_> {
    fn named(&mut self, written: &Action, name: &str, context: &TaskContext) -> (Action, Option<Diag>) {
        let mut action = Action { name: Arc::from(name), ..written.clone() };
        let Some(info) = self.resolve(name, context).filter(|_| !is_template(name)) else {
            let wrong = self.unknown_module(name, &action.span, Place::Task);
            return (action, Some(wrong));
        };
        action.canonical = Some(info.canonical);
        let mut wrong = None;
        if info.canonical == OWN_MODULE
            && let Some(path) = self.own_module(name, context)
        {
            wrong = self.foreign(name, &path, &action.span);
            let file = |text: &str| Node::string(action.span.clone(), text);
            action.args.push((file(OWN_ARGUMENT), file(&path.to_string_lossy())));
        }
        // What stands behind the name was read without knowing who takes it.
        let short = name.rsplit('.').next().unwrap_or(name);
        let takes_text =
            (info.free_form || COMMANDS.contains(&short) || RAW.contains(&short)) && !NAMED.contains(&short);
        if let Some(text) = action.free_form.take_if(|_| !takes_text) {
            match action.args.is_empty() && text.is_template() {
                true => action.args_template = Some(text),
                false => {
                    let what = format!("`{name}` takes arguments by name, not plain text");
                    wrong = wrong.or_else(|| Some(Diag::error(what).at(&text.span)));
                }
            }
        }
        let values =
            check_values(&action, &info, |name, value| self.options.modules.wrong_value(info.canonical, name, value));
        let more = check_arguments(&action, &info, context.defaults).into_iter().chain(values).next();
        (action, wrong.or(more))
    }
}

/// Unknown and missing arguments, as far as they are written out.
fn check_arguments(action: &Action, info: &ModuleInfo, defaults: bool) -> Vec<Diag> {
    let mut found = Vec::new();
    if info.canonical == "ansible.builtin.meta"
        && let Some(word) = action.free_form.as_ref().filter(|node| !node.is_template())
        && let Some(text) = word.as_str()
        && !META_ACTIONS.contains(&text.trim())
    {
        found.push(
            Diag::error(format!("`{}` is nothing that meta can do", text.trim()))
                .coded("wrong-value")
                .at(&word.span)
                .suggest(did_you_mean(text.trim(), &META_ACTIONS)),
        );
    }
    let Some(known) = &info.args else { return found };
    let names = || known.iter().flat_map(|arg| std::iter::once(&arg.name).chain(&arg.aliases));
    let mut meant: Vec<&str> = Vec::new();
    for (key, _) in &action.args {
        let Some(word) = key.as_str() else { continue };
        // Names that begin with an underscore are the machinery's own.
        if names().any(|name| name == word) || word.starts_with("_ansible") {
            continue;
        }
        let mut diag =
            Diag::error(format!("`{}` has no argument `{word}`", action.name)).coded("unknown-argument").at(&key.span);
        match did_you_mean(word, names()) {
            Some(near) => {
                diag = diag.with_help(format!("did you mean `{near}`?"));
                meant.push(near);
            }
            None if Place::Task.has(word) => {
                diag = diag.with_help(format!("`{word}` is a keyword of the task: indent it as `{}` is", action.name));
            }
            None => {
                let list: Vec<&str> =
                    known.iter().map(|arg| arg.name.as_str()).filter(|name| *name != "_raw_params").collect();
                diag = diag.with_note(format!("it takes {}", list.join(", ")));
            }
        }
        found.push(diag);
    }
    if action.args_template.is_some() || defaults {
        return found;
    }
    for arg in known.iter().filter(|arg| arg.required) {
        let given = |name: &str| {
            action.arg(name).is_some() || meant.contains(&name) || name == "_raw_params" && action.free_form.is_some()
        };
        let by_text = info.free_form && action.free_form.is_some();
        if !given(&arg.name) && !arg.aliases.iter().any(|alias| given(alias)) && !by_text {
            let name = if arg.name == "_raw_params" { "its text" } else { arg.name.as_str() };
            found.push(
                Diag::error(format!("`{}` needs the argument `{name}`", action.name))
                    .coded("missing-argument")
                    .at(&action.span),
            );
        }
    }
    found
}

/// Values that are written out and are not what the argument takes.
fn check_values(
    action: &Action,
    info: &ModuleInfo,
    wrong: impl Fn(&str, &serde_json::Value) -> Option<WrongValue>,
) -> Vec<Diag> {
    if info.args.is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (key, node) in &action.args {
        // `args:` that come out of a template may still replace it.
        if node.is_null() || !is_literal(node) || action.args_template.is_some() {
            continue;
        }
        let Some(name) = key.as_str() else { continue };
        if let Some(wrong) = wrong(name, &node.to_json()) {
            found.push(wrong_value(&wrong, node));
        }
    }
    found
}

/// The mistake that a value is, at its place, with the nearest right one.
pub fn wrong_value(wrong: &WrongValue, node: &Node) -> Diag {
    let diag = Diag::error(wrong.message.as_str()).coded("wrong-value").at(&node.span);
    if wrong.choices.is_empty() {
        return diag;
    }
    let diag = diag.with_note(format!("it takes {}", wrong.choices.join(", ")));
    let Some(word) = node.as_str().filter(|_| is_literal(node)) else { return diag };
    let longer = wrong.choices.iter().find(|choice| word.len() > 1 && choice.starts_with(&word.to_lowercase()));
    let near = did_you_mean(word, &wrong.choices).or(longer.map(String::as_str));
    diag.suggest(near)
}

/// Whether what is written is the value: no template and nothing encrypted in it.
fn is_literal(node: &Node) -> bool {
    match &node.value {
        NodeValue::Seq(items) => items.iter().all(is_literal),
        NodeValue::Map(map) => map.iter().all(|(key, value)| is_literal(key) && is_literal(value)),
        _ => !node.is_template() && !node.is_vault(),
    }
}

/// The place of a text inside a span, or the span itself if it is not found there as it is.
fn find_in(span: &Span, text: &str) -> Span {
    let first = text.lines().next().unwrap_or_default().trim_end();
    match span.text().find(first) {
        Some(at) if !first.is_empty() => span.part(at, at + first.len()),
        _ => span.clone(),
    }
}
