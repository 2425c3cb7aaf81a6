//! Lists of tasks, blocks, and static imports.

use std::sync::Arc;

use super::keywords::{Keywords, Place};
use super::load::{Loader, TaskContext, find_tasks_file, parent};
use super::model::{Block, BlockKind, Step, Task};
use super::role::{RoleFrom, RoleRequest};
use crate::source::{Diag, Node, NodeValue, SourceFile, parse_bool};

impl Loader<'_> {
    /// The steps of a list.
    pub(super) fn steps(&mut self, node: &Node, file: &Arc<SourceFile>, context: &TaskContext) -> Vec<Step> {
        let items = match &node.value {
            NodeValue::Null => return Vec::new(),
            NodeValue::Seq(items) => items,
            _ => {
                let diag = Diag::error(format!("tasks are a list, and this is {}", node.kind())).at(&node.span);
                self.error(match node.as_map() {
                    Some(_) => diag.with_help("begin each task with `- `"),
                    None => diag,
                });
                return Vec::new();
            }
        };
        items.iter().filter_map(|item| self.step(item, file, context)).collect()
    }

    fn step(&mut self, node: &Node, file: &Arc<SourceFile>, context: &TaskContext) -> Option<Step> {
        let Some(map) = node.as_map() else {
            let what = if context.handler { "a handler" } else { "a task" };
            self.error(Diag::error(format!("{what} is a dictionary, and this is {}", node.kind())).at(&node.span));
            return None;
        };
        if ["block", "rescue", "always"].iter().any(|key| map.get(key).is_some()) {
            // Each task of a block is a handler of its own; there is no order in which the rest of it would have a meaning.
            let section = map.keys().find(|key| matches!(key.as_str(), Some("rescue" | "always")));
            if let Some(section) = section.filter(|_| context.handler && !context.included) {
                let diag = Diag::error(format!("a block among handlers has no `{}`", section.raw())).at(&section.span);
                self.error(diag.with_help("use `include_tasks` in the handler, and the block in its file"));
                return None;
            }
            return self.block(node, file, context).map(|block| Step::Block(Arc::new(block)));
        }
        let task = self.task(node, file, context)?;
        if let Some(name @ ("ansible.builtin.include_role" | "ansible.builtin.import_role")) = task.action.canonical
            && context.handler
            && !context.included
        {
            let short = name.trim_start_matches("ansible.builtin.");
            let diag = Diag::error(format!("`{short}` cannot be a handler")).at(&task.action.span);
            self.error(diag.with_help("use `include_tasks` in the handler, and the role in its file"));
            return None;
        }
        match task.action.canonical {
            Some("ansible.builtin.import_tasks") => self.import_tasks(task, context),
            Some("ansible.builtin.import_role") => self.import_role(task, context),
            _ => Some(Step::Task(Arc::new(task))),
        }
    }

    fn block(&mut self, node: &Node, file: &Arc<SourceFile>, context: &TaskContext) -> Option<Block> {
        let map = node.as_map()?;
        let mut keywords = Keywords::default();
        let mut name = None;
        let mut notify = Vec::new();
        for (key, value) in map.iter() {
            if keywords.take(key, value, self.diags) {
                continue;
            }
            match key.as_str() {
                Some("block" | "rescue" | "always") => {}
                Some("name") => name = Some(value.clone()),
                Some("notify") => notify = super::keywords::listed(value),
                _ => self.error(Place::Block.unknown(key)),
            }
        }
        let inner = context.inside(&keywords);
        let mut section = |name: &str| match map.get(name) {
            Some(node) => self.steps(node, file, &inner),
            None => Vec::new(),
        };
        let (block, rescue, always) = (section("block"), section("rescue"), section("always"));
        if map.get("block").is_none() {
            let key = map.keys().find(|key| matches!(key.as_str(), Some("rescue" | "always")));
            let span = key.map_or(&node.span, |key| &key.span);
            self.error(Diag::error("`rescue` and `always` need a `block` beside them").at(span));
        }
        Some(Block {
            span: node.span.clone(),
            name,
            keywords: Arc::new(keywords),
            kind: BlockKind::Block,
            role: context.role.clone(),
            block,
            rescue,
            always,
            notify,
        })
    }

    fn import_tasks(&mut self, task: Task, context: &TaskContext) -> Option<Step> {
        let name = match task.action.free_form.as_ref().or_else(|| task.action.arg("file")) {
            Some(node) => node.clone(),
            None => {
                self.error(Diag::error("import_tasks needs the name of a file").at(&task.action.span));
                return None;
            }
        };
        self.no_loop(&task, "import_tasks", "include_tasks")?;
        let inner = context.inside(&task.keywords);
        let text = self.static_name(&name, &inner.vars, "import_tasks")?;
        let found = find_tasks_file(&text, &task.directory, context.role.as_deref(), &context.playbook_dir);
        let path = match found {
            Ok(path) => path,
            Err(searched) => {
                let diag = Diag::error(format!("no file of tasks `{text}`")).coded("missing-file").at(&name.span);
                self.error(
                    searched.iter().fold(diag, |diag, path| diag.with_note(format!("searched: {}", path.display()))),
                );
                return None;
            }
        };
        let block = self.tasks_file(&path, &inner, Some(&name.span))?;
        Some(Step::Block(Arc::new(import_block(&task, context, block))))
    }

    fn import_role(&mut self, task: Task, context: &TaskContext) -> Option<Step> {
        self.no_loop(&task, "import_role", "include_role")?;
        let inner = context.inside(&task.keywords);
        let Some(name) = task.action.arg("name").or_else(|| task.action.arg("role")).or(task.action.free_form.as_ref())
        else {
            self.error(Diag::error("import_role needs the `name` of a role").at(&task.action.span));
            return None;
        };
        let name = name.clone();
        let text = self.static_name(&name, &inner.vars, "import_role")?;
        let mut from = RoleFrom::default();
        for (slot, key) in [
            (&mut from.tasks, "tasks_from"),
            (&mut from.vars, "vars_from"),
            (&mut from.defaults, "defaults_from"),
            (&mut from.handlers, "handlers_from"),
        ] {
            if let Some(node) = task.action.arg(key) {
                *slot = self.static_name(node, &inner.vars, "import_role");
            }
        }
        // Unlike in `roles:`, importing a role twice is meant.
        let duplicates = task
            .action
            .arg("allow_duplicates")
            .map(|node| node.as_bool().or_else(|| node.as_str().and_then(parse_bool)).unwrap_or(true));
        let validate = task.action.arg("rolespec_validate");
        let validate = validate.and_then(|node| node.as_bool().or_else(|| node.as_str().and_then(parse_bool)));
        let request = RoleRequest {
            name: text,
            span: name.span.clone(),
            from,
            params: Vec::new(),
            parents: context.role.iter().flat_map(|role| role.parents.iter().cloned().chain([role.clone()])).collect(),
            allow_duplicates: Some(duplicates.unwrap_or(true)),
            rolespec_validate: validate.unwrap_or(true),
            keywords: task.keywords.clone(),
        };
        let known = self.role_handlers.len();
        let loaded = self.role(&request, &inner)?;
        self.roles.extend(loaded.all_roles);
        // Those of roles that its tasks import, and its own.
        let mut handlers = self.role_handlers.split_off(known);
        handlers.extend(loaded.handlers);
        if !handlers.is_empty() {
            // They inherit what stands at the import, as its tasks do: its `vars` above all.
            let block = import_block(&task, context, handlers);
            self.role_handlers.push(Step::Block(Arc::new(Block { name: None, notify: Vec::new(), ..block })));
        }
        Some(Step::Block(Arc::new(import_block(&task, context, loaded.steps))))
    }

    fn no_loop(&mut self, task: &Task, what: &str, instead: &str) -> Option<()> {
        let Some(spec) = &task.loop_ else { return Some(()) };
        self.error(
            Diag::error(format!("{what} cannot be looped: it is done once, before the play runs"))
                .at(&spec.span)
                .with_help(format!("use {instead}")),
        );
        None
    }
}

/// The tasks of a static import, inheriting what stands at the import.
fn import_block(task: &Task, context: &TaskContext, block: Vec<Step>) -> Block {
    Block {
        span: task.span.clone(),
        name: task.name.clone(),
        keywords: task.keywords.clone(),
        kind: BlockKind::Import,
        role: context.role.clone(),
        block,
        rescue: Vec::new(),
        always: Vec::new(),
        notify: task.notify.clone(),
    }
}

impl TaskContext {
    /// What surrounds the steps inside something with these keywords.
    pub fn inside(&self, keywords: &Keywords) -> TaskContext {
        let mut inner = self.clone();
        inner.conditional |= !keywords.when.is_empty();
        inner.defaults |= !keywords.module_defaults.is_empty();
        inner.vars.extend(keywords.vars.iter().cloned());
        inner
    }
}

/// The folder in which the names of a file's tasks are looked up.
pub(super) fn directory_of(file: &SourceFile) -> std::path::PathBuf {
    parent(&file.path)
}
