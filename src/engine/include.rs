//! What is brought into a play while it runs: `include_tasks`, `include_role`, `include_vars`.

use super::call::{Call, Known, Trouble};
use super::event::TaskStatus;
use super::frame::{Frame, layer_of};
use super::host::Kind;
use super::loops;
use super::merging;
use super::prepare;
use super::task;
use super::walker::{Flow, Walker};
use crate::inventory::Inventory;
use crate::modules::control::{HashBehaviour, IncludeRole, IncludeTasks, IncludeVars};
use crate::modules::{Module, Outcome, decode};
use crate::playbook::{
    Keywords, LoadOptions, RegisteredModules, RoleFrom, RoleRequest, Step, TaskContext, Variables, find_tasks_file,
    load_role, load_tasks,
};
use crate::source::{Diag, Diags, Node, SourceFile, VaultHook, load_yaml, read_maybe_vaulted};
use crate::template::{Layer, Raw};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What loads files while a run is under way.
pub struct Loader {
    /// Where roles are looked for.
    pub roles_path: Vec<PathBuf>,
    /// Decrypts.
    pub vault: Box<dyn Fn(&[u8], &Path) -> Result<Vec<u8>, String> + Send + Sync>,
    /// Templates names of static imports.
    pub template: Box<dyn Fn(&str, &Variables) -> Result<String, String> + Send + Sync>,
    /// Reads the inventory's sources again (`meta: refresh_inventory`).
    pub inventory: Box<dyn Fn(&mut Diags) -> Inventory + Send + Sync>,
}

impl Loader {
    pub(super) fn with<T>(&self, work: impl FnOnce(&LoadOptions<'_>, &mut Diags) -> Option<T>) -> Result<T, Diag> {
        let mut diags = Diags::new();
        let vault: &VaultHook<'_> = &|bytes, path| (self.vault)(bytes, path);
        let options = LoadOptions {
            modules: &RegisteredModules,
            vault,
            roles_path: self.roles_path.clone(),
            template: &|text, vars| (self.template)(text, vars),
        };
        let loaded = work(&options, &mut diags);
        match (loaded, diags.into_iter().find(Diag::is_error)) {
            (_, Some(error)) => Err(error),
            (Some(loaded), None) => Ok(loaded),
            (None, None) => Err(Diag::error("nothing could be loaded")),
        }
    }

    /// The inventory as its sources are now.
    pub fn reload_inventory(&self) -> Result<Inventory, Diag> {
        let mut diags = Diags::new();
        let inventory = (self.inventory)(&mut diags);
        diags.into_iter().find(Diag::is_error).map_or(Ok(inventory), Err)
    }

    /// Reads `group_vars` and `host_vars` beside the inventory and in `directory`, for the hosts and groups there are.
    pub fn load_inventory_vars(&self, inventory: &mut Inventory, directory: &Path) -> Result<Vec<Diag>, Diag> {
        let mut diags = Diags::new();
        let vault: &VaultHook<'_> = &|bytes, path| (self.vault)(bytes, path);
        inventory.load_vars(Some(directory), vault, &mut diags);
        let all: Vec<Diag> = diags.into_iter().collect();
        match all.iter().position(Diag::is_error) {
            Some(index) => Err(all[index].clone()),
            None => Ok(all),
        }
    }

    /// Variables of a YAML file, in order.
    pub fn load_vars(&self, path: &Path) -> Result<Variables, Diag> {
        self.with(|options, diags| {
            let file = match read_maybe_vaulted(path, options.vault) {
                Ok(file) => file,
                Err(diag) => {
                    diags.push(diag);
                    return None;
                }
            };
            variables(&file, diags)
        })
    }
}

fn variables(file: &Arc<SourceFile>, diags: &mut Diags) -> Option<Variables> {
    let Some(node) = load_yaml(file, diags) else { return Some(Variables::new()) };
    if node.is_null() {
        return Some(Variables::new());
    }
    let Some(map) = node.as_map() else {
        diags.push(Diag::error("a file of variables must be a mapping of names to values").at(&node.span));
        return None;
    };
    Some(map.iter().map(|(key, value)| (key.scalar_text().unwrap_or_default().into(), value.clone())).collect())
}

fn typed<T: serde::de::DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Trouble> {
    decode(arguments).map_err(|error| Trouble::Failed(error.to_string()))
}

/// What one item of an include brings into the play.
struct Brought {
    steps: Vec<Step>,
    frame: Frame,
    position: super::position::Position,
}

impl Walker {
    /// An include: conditions, loop, then the steps it brings, once an item.
    pub async fn include(&self, call: &Call) -> Result<Flow, Trouble> {
        let items = match loops::items(call).await? {
            Ok(items) if call.task.loop_.is_none() => {
                debug_assert!(items.is_empty());
                vec![(call.clone(), None)]
            }
            Ok(items) => items.into_iter().map(|item| (item.call, Some(item.value))).collect::<Vec<_>>(),
            Err(outcome) => return Ok(self.conclude(call, super::finish::quick(call, outcome))),
        };
        // What all items bring is known before the first of it runs, and told as the result of one task.
        let mut brought = Vec::new();
        let mut results = Vec::new();
        for (index, (item, value)) in items.iter().enumerate() {
            let told = match task::condition(item).await? {
                Ok(()) => match self.load_include(item, index).await? {
                    Ok((steps, outcome)) => {
                        brought.push(steps);
                        super::finish::quick(item, outcome)
                    }
                    Err(unknown) => super::finish::quick(item, unknown),
                },
                Err(outcome) => super::finish::quick(item, outcome),
            };
            results.push(match value {
                Some(value) => {
                    let told = super::finish::with_item(told, item, value);
                    super::task::Finished { hidden: vec![super::finish::hides(item)], ..told }
                }
                None => told,
            });
        }
        let told = match (call.task.loop_.is_some(), results.pop()) {
            (false, Some(only)) => only,
            (_, last) => {
                results.extend(last);
                super::finish::of_loop(call, results)
            }
        };
        let flow = self.conclude(call, told);
        if flow != Flow::GoOn {
            return Ok(flow);
        }
        // Ansible shows one result, and counts each inclusion.
        (1..brought.len()).for_each(|_| self.this.host.count(TaskStatus::Ok, false, false));
        for Brought { steps, frame, position } in brought {
            let flow = self.steps(&steps, &frame, &position).await;
            if flow != Flow::GoOn {
                return Ok(flow);
            }
        }
        Ok(Flow::GoOn)
    }

    /// Reads what an include names. What a check does not know of it is the inner outcome.
    async fn load_include(&self, call: &Call, index: usize) -> Result<Result<(Brought, Outcome), Outcome>, Trouble> {
        let module: &'static Module = call.module.ok_or_else(|| Trouble::Failed("the module is not known".into()))?;
        let mut arguments = match prepare::arguments(call, module).await? {
            Known::Value(arguments) => arguments,
            Known::Unknown(touches) => {
                return Ok(Err(super::unknown::depends("what is included depends on", &touches)));
            }
        };
        // Keywords of `apply` are the included tasks' own; they are read from the source, not from values.
        arguments.remove("apply");
        let mut shown = arguments.clone();
        // A role's name is returned among the arguments.
        let role = shown.get("name").or(shown.get("role")).or(shown.get("_raw_params")).cloned();
        let written =
            ["_raw_params", "file", "name", "role"].iter().find_map(|key| shown.remove(*key)).unwrap_or_default();
        let apply = call.task.action.arg("apply").cloned();
        let mut frame = self.surroundings(call, apply.as_ref())?;
        let position = call.position().child(index);
        let (steps, handlers) = if module.name.ends_with("_tasks") {
            let include: IncludeTasks = typed(arguments)?;
            let role = call.task.role.as_ref();
            let directory = call.frame.directories.first().cloned().unwrap_or_else(|| call.task.directory.clone());
            let playbook_dir = &self.this.play.play.directory;
            let path = find_tasks_file(&include.file.0, &directory, role.map(|role| &**role), playbook_dir).map_err(
                |tried| {
                    let tried: Vec<String> = tried.iter().map(|path| format!("  {}", path.display())).collect();
                    let text = format!("could not find `{}`; searched:\n{}", include.file.0, tried.join("\n"));
                    Trouble::from(Diag::error(text).at(&call.task.action.span))
                },
            )?;
            let context = TaskContext {
                role: call.task.role.clone(),
                handler: call.frame.handler,
                included: true,
                playbook_dir: playbook_dir.clone(),
                ..TaskContext::default()
            };
            self.this.play.run.templar.reads().note(&path);
            let steps = self.this.play.run.loader.with(|options, diags| load_tasks(&path, &context, options, diags));
            if let Some(parent) = path.parent() {
                frame.directories.insert(0, parent.to_path_buf());
            }
            (steps.map_err(Trouble::from)?, Vec::new())
        } else {
            let include: IncludeRole = typed(arguments)?;
            let request = RoleRequest {
                name: include.name.0.clone(),
                span: call.task.action.span.clone(),
                from: RoleFrom {
                    tasks: include.tasks_from.map(|t| t.0),
                    vars: include.vars_from.map(|t| t.0),
                    defaults: include.defaults_from.map(|t| t.0),
                    handlers: include.handlers_from.map(|t| t.0),
                },
                params: Variables::new(),
                parents: call.task.role.iter().flat_map(|role| role.parents.iter().chain([role]).cloned()).collect(),
                allow_duplicates: Some(include.allow_duplicates.0),
                rolespec_validate: include.rolespec_validate.0,
                keywords: call.task.keywords.clone(),
            };
            let context = TaskContext {
                role: call.task.role.clone(),
                handler: call.frame.handler,
                included: true,
                playbook_dir: self.this.play.play.directory.clone(),
                ..TaskContext::default()
            };
            let loaded = self.this.play.run.loader.with(|options, diags| load_role(&request, &context, options, diags));
            let loaded = loaded.map_err(Trouble::from)?;
            self.this.play.add_roles(&loaded.all_roles);
            for role in &loaded.all_roles {
                self.this.play.run.templar.reads().note(&role.path);
                let layers = (layer_of(&role.defaults), layer_of(&role.vars));
                if include.public.0 {
                    self.this.play.base(&self.this.host.name).show_role(layers.clone());
                }
                frame.included_roles.push(layers);
            }
            frame.directories.clear();
            (loaded.steps, loaded.handlers)
        };
        if !handlers.is_empty() {
            let handlers = super::handlers::collect(&handlers, &Frame { handler: true, ..frame.clone() });
            self.this.batch.included.add(&position, self.this.index, handlers);
        }
        let mut args = shown;
        if let Some(apply) = &apply {
            args.insert("apply".into(), apply.to_json());
        }
        let outcome = match role.filter(|_| super::control::is_role(module)) {
            Some(role) => {
                args.insert("name".into(), role);
                Outcome::ok()
            }
            None => Outcome::ok().with("include", written),
        };
        let outcome = outcome.with("include_args", Value::Object(args));
        Ok(Ok((Brought { steps, frame, position }, outcome)))
    }

    /// What surrounds the included steps: that of the include, its `vars`, and `apply`.
    fn surroundings(&self, call: &Call, apply: Option<&Node>) -> Result<Frame, Trouble> {
        let mut frame = call.frame.clone();
        // An include's own tags and conditions are about the include alone, and so is what becomes of its failure, and when;
        // `apply` is for what it brings. What it hides (`no_log`) stays hidden in there, too, where Ansible would show it.
        let own = &call.task.keywords;
        frame.keywords.push(Arc::new(Keywords {
            when: Vec::new(),
            tags: Vec::new(),
            vars: Vec::new(),
            ignore_errors: None,
            ignore_unreachable: None,
            timeout: None,
            debugger: None,
            ..(**own).clone()
        }));
        let role = call.task.role.as_ref().or(call.frame.role.as_ref());
        let params = super::variables::include_params(&self.this.play, &call.task, role, call.locals.as_ref());
        frame.include_params.extend(params);
        frame.notify.extend(call.task.notify.iter().cloned());
        if let Some(apply) = apply {
            let mut diags = Diags::new();
            let (keywords, notify) = Keywords::read(apply, &mut diags);
            if let Some(error) = diags.into_iter().find(Diag::is_error) {
                return Err(error.into());
            }
            frame.keywords.push(Arc::new(keywords));
            frame.notify.extend(notify);
        }
        Ok(frame)
    }
}

/// `include_vars`
pub async fn vars(call: &Call, arguments: IncludeVars) -> Result<Outcome, Trouble> {
    let scope = call.scope();
    let mut files: Vec<PathBuf> = Vec::new();
    match (&arguments.file, &arguments.dir) {
        (Some(file), None) => {
            let Some(found) = scope.paths().find("vars", file) else {
                let tried = scope.paths().candidates("vars", file);
                let tried: Vec<String> = tried.iter().map(|path| format!("  {}", path.display())).collect();
                let text = format!("could not find `{}`; searched:\n{}", file.0, tried.join("\n"));
                let wrong = Trouble::from(Diag::error(text.clone()).at(&call.task.action.span));
                // Ansible returns the same fields with it as with a success, and `message`.
                return Ok(prepare::failed(call, wrong)
                    .with("message", text)
                    .with("ansible_facts", Value::Object(Map::new()))
                    .with("ansible_included_var_files", serde_json::json!([])));
            };
            files.push(found);
        }
        (None, Some(dir)) => {
            let found = scope.paths().find("vars", dir).filter(|path| path.is_dir());
            let dir = found.ok_or_else(|| Trouble::Failed(format!("`{}` is no directory", dir.0)))?;
            let depth = usize::try_from(arguments.depth.0).unwrap_or(0);
            collect(&dir, if depth == 0 { usize::MAX } else { depth }, &mut files);
            let extensions = match &arguments.extensions {
                Some(list) => list.0.clone(),
                None => ["yaml", "yml", "json"].map(str::to_string).to_vec(),
            };
            let matching = match &arguments.files_matching {
                Some(text) => Some(
                    fancy_regex::Regex::new(&text.0).map_err(|e| Trouble::Failed(format!("files_matching: {e}")))?,
                ),
                None => None,
            };
            let mut ignored = Vec::new();
            for text in &arguments.ignore_files.0 {
                let pattern = fancy_regex::Regex::new(&format!("(?:{text})$"));
                ignored.push(pattern.map_err(|e| Trouble::Failed(format!("ignore_files: {e}")))?);
            }
            files.retain(|path| {
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                !ignored.iter().any(|pattern| pattern.is_match(&name).unwrap_or(false))
                    && matching.as_ref().is_none_or(|regex| regex.is_match(&name).unwrap_or(false))
            });
            let known = |path: &PathBuf| {
                let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
                extensions.iter().any(|known| known.trim_start_matches('.') == extension)
            };
            if let Some(place) =
                files.iter().position(|path| !known(path)).filter(|_| !arguments.ignore_unknown_extensions.0)
                && let (before, [other, ..]) = files.split_at(place)
            {
                let before: Vec<String> = before.iter().map(|path| crate::template::absolute(path)).collect();
                let text = format!("{} does not have a valid extension: {}", other.display(), extensions.join(", "));
                return Ok(Outcome::failed(text.clone())
                    .with("message", text)
                    .with("ansible_facts", Value::Object(Map::new()))
                    .with("ansible_included_var_files", serde_json::json!(before)));
            }
            files.retain(known);
        }
        _ => return Err(Trouble::Failed("include_vars needs either a file or `dir`".into())),
    }
    let stamp = call.on.stamp(call.position());
    let mut layer = Layer::new();
    let mut shown = Map::new();
    // What came out of a vault is nobody's to see, whatever its names.
    let mut hidden = false;
    for file in &files {
        call.on.play.run.templar.reads().note(file);
        let vars = call.on.play.run.loader.load_vars(file).map_err(Trouble::from)?;
        for (name, node) in vars {
            hidden |= node.span.file.sensitive;
            let known = || scope.raw(&name).and_then(|known| merging::merge(known, &Raw::Node(node.clone())));
            let node =
                match arguments.hash_behaviour.is_some_and(|how| how == HashBehaviour::Merge).then(known).flatten() {
                    Some(Raw::Node(merged)) => merged,
                    _ => node,
                };
            let json = node.to_json();
            call.on.play.run.redactor.learn(Some(&name), &json);
            shown.insert(name.to_string(), json);
            layer.insert(name, Raw::Node(node));
        }
    }
    match &arguments.name {
        Some(name) => {
            let span = &call.task.span;
            let entries = layer.iter().filter_map(|(name, raw)| match raw {
                Raw::Node(node) => Some((Node::string(span.clone(), &**name), node.clone())),
                _ => None,
            });
            let map = Node::map(span.clone(), entries.collect());
            call.on.host.set(&stamp, Kind::Included, name, Raw::Node(map));
        }
        None => {
            let mut known = Layer::new();
            if call.on.play.run.options.merge_hashes {
                known.extend(call.on.host.layers().included.iter().map(|(name, raw)| (name.clone(), raw.clone())));
            }
            for (name, raw) in layer {
                let merged = known.get(&name).and_then(|known| merging::merge(known, &raw));
                call.on.host.set(&stamp, Kind::Included, &name, merged.unwrap_or(raw));
            }
        }
    }
    let names: Vec<String> = files.iter().map(|path| crate::template::absolute(path)).collect();
    let outcome = Outcome::ok().with("ansible_included_var_files", serde_json::json!(names));
    Ok(match &arguments.name {
        _ if hidden => outcome,
        Some(name) => outcome.with("ansible_facts", serde_json::json!({ &*name.0: shown })),
        None => outcome.with("ansible_facts", Value::Object(shown)),
    })
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    if depth == 0 {
        return;
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, depth - 1, files);
        } else {
            files.push(entry);
        }
    }
}
