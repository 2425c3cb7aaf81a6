//! A tree, read by the loaders that a run reads with; what they find is kept.

use super::discover::{Found, Kind};
use super::finding::Findings;
use super::rules::{self, Rule};
use crate::inventory::Inventory;
use crate::playbook::{
    LoadOptions, Playbook, RegisteredModules, Role, RoleFrom, RoleRequest, Step, TaskContext, Variables, load_playbook,
    load_role, load_tasks,
};
use crate::source::{Diag, Diags, Node, SourceFile, Span, VAULT_HEADER, VaultHook, load_yaml, read_maybe_vaulted};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A YAML file as it was written.
pub struct YamlFile {
    /// The text.
    pub file: Arc<SourceFile>,
    /// Its contents.
    pub root: Node,
    /// What it is: never [`Kind::Yaml`] where the contents say more.
    pub kind: Kind,
    /// It is a playbook.
    pub playbook: bool,
}

/// Tasks that no play of the tree reaches statically: of roles, or in files that are included.
pub struct Loose {
    /// The tasks.
    pub steps: Vec<Step>,
    /// Handlers of the role.
    pub handlers: Vec<Step>,
}

/// Everything that was read.
#[derive(Default)]
pub struct Tree {
    /// Files of YAML.
    pub files: Vec<YamlFile>,
    /// Templates.
    pub templates: Vec<(PathBuf, String)>,
    /// Playbooks.
    pub playbooks: Vec<Playbook>,
    /// What no playbook reaches.
    pub loose: Vec<Loose>,
    /// An inventory was not read: a program, or an encrypted file.
    pub uncertain_hosts: bool,
    /// Inventories, each by itself.
    pub inventories: Vec<Inventory>,
}

/// Reads a tree with what a run would read it with.
pub struct Reader<'a> {
    /// Decrypts.
    pub vault: &'a VaultHook<'a>,
    /// Where roles are looked for.
    pub roles_path: Vec<PathBuf>,
    /// Templates names of static imports.
    pub template: &'a dyn Fn(&str, &Variables) -> Result<String, String>,
}

impl Reader<'_> {
    /// Reads all these files.
    pub fn read(&self, found: &[Found], findings: &mut Findings) -> Tree {
        let mut tree = Tree::default();
        for found in found {
            match found.kind {
                Kind::Template => {
                    if let Ok(text) = std::fs::read_to_string(&found.path) {
                        tree.templates.push((found.path.clone(), text));
                    }
                }
                Kind::Inventory => self.inventory(found, &mut tree, findings),
                _ => tree.files.extend(self.yaml(found, findings)),
            }
        }
        let options = self.options(found);
        let files: Vec<(PathBuf, bool, Kind, Option<PathBuf>)> = tree
            .files
            .iter()
            .map(|file| {
                let role = found.iter().find(|found| found.path == file.file.path).and_then(|found| found.role.clone());
                (file.file.path.clone(), file.playbook, file.kind, role)
            })
            .collect();
        for (path, _, _, _) in files.iter().filter(|(_, playbook, _, _)| *playbook) {
            let mut diags = Diags::new();
            tree.playbooks.extend(load_playbook(path, &options, &mut diags));
            keep(diags, &rules::PLAYBOOK, findings);
        }
        let mut reached = reached(&tree);
        let mut roles: HashMap<PathBuf, Arc<Role>> = HashMap::new();
        let library = with_library(found);
        for path in roles_of(found) {
            let mut diags = Diags::new();
            let (request, context) = role_request(&path, library.as_deref());
            if let Some(loaded) = load_role(&request, &context, &options, &mut diags) {
                roles.insert(path, loaded.role.clone());
                note(&loaded.steps, &mut reached);
                note(&loaded.handlers, &mut reached);
                tree.loose.push(Loose { steps: loaded.steps, handlers: loaded.handlers });
            }
            keep(diags, &rules::PLAYBOOK, findings);
        }
        for (path, _, kind, role) in &files {
            let handler = *kind == Kind::Handlers;
            if !matches!(kind, Kind::Tasks | Kind::Handlers) || !reached.insert(canonical(path)) {
                continue;
            }
            let playbook_dir = library.clone().or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
            let role = role.as_ref().and_then(|role| roles.get(role).cloned());
            let context = TaskContext { role, handler, playbook_dir, ..TaskContext::default() };
            let mut diags = Diags::new();
            if let Some(steps) = load_tasks(path, &context, &options, &mut diags) {
                note(&steps, &mut reached);
                let (steps, handlers) = if handler { (Vec::new(), steps) } else { (steps, Vec::new()) };
                tree.loose.push(Loose { steps, handlers });
            }
            keep(diags, &rules::PLAYBOOK, findings);
        }
        tree
    }

    fn options<'b>(&'b self, found: &[Found]) -> LoadOptions<'b> {
        let mut roles_path = self.roles_path.clone();
        for role in found.iter().filter_map(|found| found.role.as_ref()) {
            if let Some(parent) = role.parent().map(Path::to_owned).filter(|parent| !roles_path.contains(parent)) {
                roles_path.push(parent);
            }
        }
        LoadOptions { modules: &RegisteredModules, vault: self.vault, roles_path, template: self.template }
    }

    fn yaml(&self, found: &Found, findings: &mut Findings) -> Option<YamlFile> {
        let file = match read_maybe_vaulted(&found.path, self.vault) {
            Ok(file) => file,
            Err(diag) => {
                let nowhere = SourceFile::new(found.path.clone(), "");
                findings.add_diag(diag.at(&Span::new(&nowhere, 0, 0)), &rules::YAML_SYNTAX);
                return None;
            }
        };
        let mut diags = Diags::new();
        let root = load_yaml(&file, &mut diags);
        keep(diags, &rules::YAML_SYNTAX, findings);
        let root = root?;
        let (kind, playbook) = match found.kind {
            Kind::Yaml => by_contents(&root),
            kind => (kind, false),
        };
        if kind == Kind::Vars && !root.is_null() && root.as_map().is_none() {
            let message = format!("a file of variables is a dictionary, and this is {}", root.kind());
            findings.add(&rules::PLAYBOOK, Diag::error(message).at(&root.span));
        }
        Some(YamlFile { file, root, kind, playbook })
    }

    /// An inventory that is a text. A program is never run for a look at the tree.
    fn inventory(&self, found: &Found, tree: &mut Tree, findings: &mut Findings) {
        let executable = std::fs::metadata(&found.path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
        let Ok(bytes) = std::fs::read(&found.path) else { return };
        if executable && bytes.starts_with(b"#!") || bytes.starts_with(VAULT_HEADER) {
            tree.uncertain_hosts = true;
            return;
        }
        let Ok(file) = SourceFile::from_bytes(&found.path, bytes) else { return };
        let mut diags = Diags::new();
        tree.inventories.push(Inventory::from_text(&found.path.to_string_lossy(), &file.text, &mut diags));
        keep(diags, &rules::INVENTORY, findings);
        let yaml = found.path.extension().is_some_and(|end| end == "yml" || end == "yaml" || end == "json");
        if yaml && let Some(root) = load_yaml(&file, &mut Diags::new()) {
            // `plugin: …` makes groups out of what it finds.
            tree.uncertain_hosts |= root.as_map().is_some_and(|map| map.get("plugin").is_some());
            tree.files.push(YamlFile { file, root, kind: Kind::Inventory, playbook: false });
        }
    }
}

/// What a YAML file is, when only its contents can say: a playbook has plays, a file of tasks has tasks.
fn by_contents(root: &Node) -> (Kind, bool) {
    let Some(items) = root.as_seq() else { return (Kind::Yaml, false) };
    let has = |words: &[&str]| {
        items.iter().any(|item| item.as_map().is_some_and(|map| words.iter().any(|word| map.get(word).is_some())))
    };
    if has(&["hosts", "import_playbook", "ansible.builtin.import_playbook"]) {
        return (Kind::Yaml, true);
    }
    let module = |item: &Node| {
        let keys = item.as_map().into_iter().flat_map(|map| map.keys());
        keys.filter_map(Node::as_str).any(|key| crate::modules::find(key).is_some())
    };
    match has(&["block", "action", "local_action"]) || items.iter().any(module) {
        true => (Kind::Tasks, false),
        false => (Kind::Yaml, false),
    }
}

fn keep(mut diags: Diags, otherwise: &'static Rule, findings: &mut Findings) {
    for diag in diags.take() {
        // A keyword without effect is the only warning of the loader of playbooks.
        let no_effect = std::ptr::eq(otherwise, &rules::PLAYBOOK) && !diag.is_error();
        findings.add_diag(diag, if no_effect { &rules::NO_EFFECT } else { otherwise });
    }
}

/// Roles of the tree. Also those that a playbook uses are loaded by themselves: the playbook may give conditions that hide
/// what is wrong.
fn roles_of(found: &[Found]) -> Vec<PathBuf> {
    let mut roles: Vec<PathBuf> = Vec::new();
    for role in found.iter().filter_map(|found| found.role.as_ref()) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

/// The folder of a playbook that has modules of its own: what no playbook reaches may use them, too.
fn with_library(found: &[Found]) -> Option<PathBuf> {
    let folders = found.iter().filter(|found| found.kind == Kind::Yaml).filter_map(|found| found.path.parent());
    folders.map(Path::to_owned).find(|folder| folder.join("library").is_dir())
}

fn role_request(path: &Path, library: Option<&Path>) -> (RoleRequest, TaskContext) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let request = RoleRequest {
        name,
        span: Span::start_of(&SourceFile::new(path, "")),
        from: RoleFrom::default(),
        params: Vec::new(),
        parents: Vec::new(),
        allow_duplicates: None,
        rolespec_validate: true,
        keywords: Arc::default(),
    };
    (request, TaskContext { playbook_dir: library.map_or(folder, Path::to_owned), ..TaskContext::default() })
}

fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn reached(tree: &Tree) -> HashSet<PathBuf> {
    let mut reached = HashSet::new();
    for play in tree.playbooks.iter().flat_map(|playbook| &playbook.plays) {
        for steps in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
            note(steps, &mut reached);
        }
    }
    reached
}

/// The files that these tasks stand in.
fn note(steps: &[Step], reached: &mut HashSet<PathBuf>) {
    for step in steps {
        match step {
            Step::Task(task) => {
                reached.insert(canonical(&task.file.path));
            }
            Step::Block(block) => [&block.block, &block.rescue, &block.always].into_iter().for_each(|steps| {
                note(steps, reached);
            }),
        }
    }
}
