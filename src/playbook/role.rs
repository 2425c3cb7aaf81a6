//! Roles: where they are, what their folders hold, what they depend on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keywords::{Keywords, Place, variables};
use super::load::{LoadOptions, Loader, TaskContext, parent};
use super::model::{Block, BlockKind, LoadedRole, Role, Step, Variables};
use crate::source::{Diag, Diags, Node, NodeValue, Span, parse_bool};

/// Other files than `main.yml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleFrom {
    /// `tasks_from`
    pub tasks: Option<String>,
    /// `vars_from`
    pub vars: Option<String>,
    /// `defaults_from`
    pub defaults: Option<String>,
    /// `handlers_from`
    pub handlers: Option<String>,
}

/// A role that is asked for.
#[derive(Clone, Debug)]
pub struct RoleRequest {
    /// Its name, or a path.
    pub name: String,
    /// Where it is asked for.
    pub span: Span,
    /// Other files than `main.yml`.
    pub from: RoleFrom,
    /// Parameters.
    pub params: Variables,
    /// The roles because of which it is asked for, outermost first.
    pub parents: Vec<Arc<Role>>,
    /// Overrides what the role says of itself.
    pub allow_duplicates: Option<bool>,
    /// Whether what it is given is held against its specification.
    pub rolespec_validate: bool,
    /// Keywords where it is asked for; they only tell uses of the role apart.
    pub keywords: Arc<Keywords>,
}

/// The folder of a role, or the places looked at.
pub fn find_role(
    name: &str,
    playbook_dir: &Path,
    roles_path: &[PathBuf],
    beside: Option<&Path>,
) -> Result<PathBuf, Vec<PathBuf>> {
    let mut places = vec![playbook_dir.join("roles")];
    places.extend(roles_path.iter().cloned());
    places.extend(beside.map(Path::to_owned));
    places.push(playbook_dir.to_owned());
    let mut names = vec![name];
    // The role of a collection, unpacked under its last name.
    if let (2, Some(last)) = (name.matches('.').count(), name.rsplit('.').next())
        && !name.contains('/')
    {
        names.push(last);
    }
    let mut searched: Vec<PathBuf> = Vec::new();
    for name in names {
        for place in &places {
            let path = place.join(name);
            if path.is_dir() {
                return Ok(path);
            }
            // `./roles/x` and `roles/x` are one folder.
            let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
            if !searched.contains(&path) {
                searched.push(path);
            }
        }
    }
    Err(searched)
}

/// Loads a role that is included while the play runs.
pub fn load_role(
    request: &RoleRequest,
    context: &TaskContext,
    options: &LoadOptions,
    diags: &mut Diags,
) -> Option<LoadedRole> {
    let mut loader = Loader::new(options, diags);
    let mut loaded = loader.role(request, context)?;
    // What its tasks imported in turn.
    loaded.all_roles.splice(0..0, std::mem::take(&mut loader.roles));
    loaded.handlers.splice(0..0, std::mem::take(&mut loader.role_handlers));
    Some(loaded)
}

impl Loader<'_> {
    /// The roles of a `roles:` or `dependencies:` list, each a block.
    pub(super) fn role_list(
        &mut self,
        node: &Node,
        what: &str,
        parents: &[Arc<Role>],
        context: &TaskContext,
    ) -> Vec<LoadedRole> {
        let items = match &node.value {
            NodeValue::Null => return Vec::new(),
            NodeValue::Seq(items) => items,
            _ => {
                self.error(Diag::error(format!("`{what}` must be a list, and this is {}", node.kind())).at(&node.span));
                return Vec::new();
            }
        };
        items.iter().filter_map(|item| self.role_entry(item, parents, context)).collect()
    }

    fn role_entry(&mut self, node: &Node, parents: &[Arc<Role>], context: &TaskContext) -> Option<LoadedRole> {
        let mut keywords = Keywords::default();
        let mut params = Variables::new();
        let mut name = None;
        match &node.value {
            NodeValue::Map(map) => {
                for (key, value) in map.iter() {
                    if keywords.take(key, value, self.diags) {
                        continue;
                    }
                    match key.as_str() {
                        Some("role" | "name") => name = name.or_else(|| Some(value.clone())),
                        Some(word) if Place::Role.has(word) => {}
                        _ => {
                            let single = Node::map(key.span.clone(), vec![(key.clone(), value.clone())]);
                            params.extend(variables(&single, "a role's parameters", self.diags));
                        }
                    }
                }
                if let (Some(role), Some(_)) = (map.get("role"), map.get("name")) {
                    name = Some(role.clone());
                }
            }
            _ if node.is_scalar() && !node.is_null() => name = Some(node.clone()),
            _ => {}
        }
        let Some(name) = name else {
            self.error(Diag::error("a role needs its name: `role: name`").at(&node.span));
            return None;
        };
        let keywords = Arc::new(keywords);
        let inner = context.inside(&keywords);
        let text = self.static_name(&name, &inner.vars, "a role")?;
        let request = RoleRequest {
            name: text,
            span: name.span.clone(),
            from: RoleFrom::default(),
            params,
            parents: parents.to_vec(),
            allow_duplicates: None,
            rolespec_validate: true,
            keywords: keywords.clone(),
        };
        let mut loaded = self.role(&request, &inner)?;
        // Its handlers inherit what stands at the entry, as its tasks do.
        for steps in [&mut loaded.steps, &mut loaded.handlers] {
            let block = Block {
                span: node.span.clone(),
                name: None,
                keywords: keywords.clone(),
                kind: BlockKind::Import,
                role: None,
                block: std::mem::take(steps),
                rescue: Vec::new(),
                always: Vec::new(),
                notify: Vec::new(),
            };
            steps.extend((!block.block.is_empty()).then(|| Step::Block(Arc::new(block))));
        }
        Some(loaded)
    }

    /// A role with its dependencies.
    pub(super) fn role(&mut self, request: &RoleRequest, context: &TaskContext) -> Option<LoadedRole> {
        let beside = request.parents.last().map(|role| parent(&role.path));
        let found = find_role(&request.name, &context.playbook_dir, &self.options.roles_path, beside.as_deref());
        let path = match found {
            // A role that is a link is what it leads to, also in its `role_path`.
            Ok(path) if path.is_symlink() => path.canonicalize().unwrap_or(path),
            Ok(path) => path,
            Err(searched) => {
                let diag = Diag::error(format!("no role `{}`", request.name)).coded("missing-file").at(&request.span);
                let diag =
                    searched.iter().fold(diag, |diag, path| diag.with_note(format!("searched: {}", path.display())));
                let near = self.near_roles(&request.name, context);
                self.error(diag.suggest(near.as_deref()));
                return None;
            }
        };
        let identity = identity(request, &path);
        if request.parents.iter().any(|role| role.identity == identity) || request.parents.len() > 40 {
            let names: Vec<&str> = request.parents.iter().map(|role| &*role.name).collect();
            self.error(
                Diag::error(format!("the role `{}` needs itself", request.name))
                    .at(&request.span)
                    .with_note(format!("through {}", names.join(" → "))),
            );
            return None;
        }
        let meta = self.role_file(&path, "meta", None, &request.span);
        let meta = meta.first().map(|(_, node)| node.clone());
        let meta_get = |key: &str| meta.as_ref().and_then(Node::as_map).and_then(|map| map.get(key)).cloned();
        let duplicates = meta_get("allow_duplicates");
        let duplicates = duplicates.and_then(|node| node.as_bool().or_else(|| node.as_str().and_then(parse_bool)));
        let dependencies = meta_get("dependencies");
        // A role has the name by which it was found; one in somebody's home that of its folder.
        let name = match request.name.starts_with('~') {
            true => request.name.trim_end_matches('/').rsplit('/').next().unwrap_or(&request.name),
            false => &request.name,
        };
        let spec = match find_main(&path.join("meta"), "argument_specs") {
            Some(file) => self.read(&file, Some(&request.span)).map(|(_, node)| node),
            None => meta.clone(),
        };
        let entry = request.from.tasks.as_deref().unwrap_or("main");
        let entry = entry.trim_end_matches(".yml").trim_end_matches(".yaml");
        let spec = spec.filter(|_| request.rolespec_validate);
        let argument_spec =
            spec.as_ref().and_then(|node| node.as_map()?.get("argument_specs")?.as_map()?.get(entry).cloned());
        let role = Arc::new(Role {
            name: Arc::from(name),
            path: path.clone(),
            span: request.span.clone(),
            identity,
            allow_duplicates: request.allow_duplicates.or(duplicates).unwrap_or(false),
            defaults: Arc::new(self.role_vars(&path, "defaults", request.from.defaults.as_deref(), &request.span)),
            vars: Arc::new(self.role_vars(&path, "vars", request.from.vars.as_deref(), &request.span)),
            params: Arc::new(request.params.clone()),
            parents: request.parents.clone(),
            dependency_names: dependencies.as_ref().map(dependency_names).unwrap_or_default(),
            entry: Arc::from(entry),
            argument_spec,
        });
        let mut loaded =
            LoadedRole { role: role.clone(), steps: Vec::new(), handlers: Vec::new(), all_roles: Vec::new() };
        if let Some(node) = &dependencies {
            let mut chain = request.parents.clone();
            chain.push(role.clone());
            let mut outer = context.clone();
            outer.vars.extend(role.params.iter().cloned());
            for dependency in self.role_list(node, "dependencies", &chain, &outer) {
                loaded.steps.extend(dependency.steps);
                loaded.handlers.extend(dependency.handlers);
                loaded.all_roles.extend(dependency.all_roles);
            }
        }
        loaded.all_roles.push(role.clone());
        let mut inner = context.clone();
        inner.role = Some(role.clone());
        inner.handler = false;
        let mut vars: Variables = role.defaults.iter().cloned().collect();
        vars.append(&mut inner.vars);
        vars.extend(role.vars.iter().chain(role.params.iter()).cloned());
        inner.vars = vars;
        let mut tasks = Vec::new();
        for (path, node) in self.role_file(&path, "tasks", request.from.tasks.as_deref(), &request.span) {
            tasks.extend(self.role_steps(&path, &node, &inner));
        }
        loaded.steps.push(Step::Block(Arc::new(Block {
            span: request.span.clone(),
            name: None,
            keywords: Arc::default(),
            kind: BlockKind::Role,
            role: Some(role),
            block: tasks,
            rescue: Vec::new(),
            always: Vec::new(),
            notify: Vec::new(),
        })));
        inner.handler = true;
        for (path, node) in self.role_file(&path, "handlers", request.from.handlers.as_deref(), &request.span) {
            let steps = self.role_steps(&path, &node, &inner);
            loaded.handlers.extend(steps);
        }
        Some(loaded)
    }

    fn role_steps(&mut self, path: &Path, node: &Node, context: &TaskContext) -> Vec<Step> {
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.importing.push(identity);
        let file = node.span.file.clone();
        let steps = self.steps(node, &file, context);
        self.importing.pop();
        steps
    }

    /// `<folder>/main.yml`, or another file that was asked for and must then exist.
    fn role_file(&mut self, role: &Path, folder: &str, from: Option<&str>, asked: &Span) -> Vec<(PathBuf, Node)> {
        let directory = role.join(folder);
        let Some(path) = find_main(&directory, from.unwrap_or("main")) else {
            if let Some(from) = from {
                self.error(
                    Diag::error(format!("no file `{from}` in {}", directory.display())).coded("missing-file").at(asked),
                );
            }
            return Vec::new();
        };
        self.read(&path, Some(asked)).map(|(_, node)| (path, node)).into_iter().collect()
    }

    /// `defaults` or `vars`: a file, or a folder of files.
    fn role_vars(&mut self, role: &Path, folder: &str, from: Option<&str>, asked: &Span) -> Variables {
        let name = from.unwrap_or("main");
        let directory = role.join(folder);
        let files = match find_main(&directory, name) {
            Some(file) => vec![file],
            None if directory.join(name).is_dir() => yaml_files(&directory.join(name)),
            None => {
                if let Some(from) = from {
                    self.error(
                        Diag::error(format!("no file `{from}` in {}", directory.display()))
                            .coded("missing-file")
                            .at(asked),
                    );
                }
                Vec::new()
            }
        };
        let mut vars = Variables::new();
        for file in files {
            let Some((_, node)) = self.read(&file, Some(asked)) else { continue };
            for (name, value) in variables(&node, "a file of variables", self.diags) {
                match vars.iter_mut().find(|(known, _)| *known == name) {
                    Some(entry) => entry.1 = value,
                    None => vars.push((name, value)),
                }
            }
        }
        vars
    }

    fn near_roles(&self, name: &str, context: &TaskContext) -> Option<String> {
        let places = std::iter::once(context.playbook_dir.join("roles")).chain(self.options.roles_path.iter().cloned());
        let names: Vec<String> = places
            .filter_map(|place| std::fs::read_dir(place).ok())
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        crate::source::did_you_mean(name, names.iter()).map(str::to_owned)
    }
}

/// A file by its name with or without one of YAML's endings.
fn find_main(directory: &Path, name: &str) -> Option<PathBuf> {
    ["yml", "yaml", "json"]
        .iter()
        .map(|ending| directory.join(format!("{name}.{ending}")))
        .chain([directory.join(name)])
        .find(|path| path.is_file())
}

/// The YAML files of a folder and its folders, sorted.
fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries
        .into_iter()
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            let ending = path.extension().and_then(|ending| ending.to_str());
            path.is_file()
                && !name.starts_with('.')
                && !name.ends_with('~')
                && matches!(ending, None | Some("yml" | "yaml" | "json"))
        })
        .collect()
}

fn dependency_names(node: &Node) -> Vec<Arc<str>> {
    let items = node.as_seq().unwrap_or_default();
    let name = |item: &Node| match item.as_map() {
        Some(map) => map.get("role").or_else(|| map.get("name")).and_then(Node::as_arc_str),
        None => item.as_arc_str(),
    };
    items.iter().filter_map(name).collect()
}

/// What makes two uses of a role the same: the role, its files, its parameters, and the keywords beside it.
fn identity(request: &RoleRequest, path: &Path) -> Arc<str> {
    let mut text = path.display().to_string();
    let from = &request.from;
    for file in [&from.tasks, &from.vars, &from.defaults, &from.handlers] {
        text.push('|');
        text.push_str(file.as_deref().unwrap_or_default());
    }
    let keywords = &request.keywords;
    for (name, value) in request.params.iter().chain(&keywords.vars) {
        text.push_str(&format!("|{name}={value:?}"));
    }
    for node in keywords.when.iter().chain(&keywords.tags) {
        text.push_str(&format!("|{node:?}"));
    }
    if let Some(node) = &keywords.delegate_to {
        text.push_str(&format!("|{node:?}"));
    }
    Arc::from(text)
}
