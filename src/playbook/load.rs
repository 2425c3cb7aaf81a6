//! Entry points and what the loader carries along.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::ModuleIndex;
use super::model::{Playbook, Role, Step, Variables};
use crate::source::{Diag, Diags, Node, SourceFile, Span, VaultHook, load_yaml, read_maybe_vaulted};

/// What the loader needs from outside.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// Which words are modules.
    pub modules: &'a dyn ModuleIndex,
    /// Decrypts encrypted files.
    pub vault: &'a VaultHook<'a>,
    /// Where roles are looked for beside the playbook's own folder.
    pub roles_path: Vec<PathBuf>,
    /// Templates the name of a static import; it is given the variables written around the import, the weakest
    /// first, and knows the extra variables itself.
    pub template: &'a dyn Fn(&str, &Variables) -> Result<String, String>,
}

/// For where no template engine is at hand: every template in a static name is an error.
pub fn no_templates(_text: &str, _vars: &Variables) -> Result<String, String> {
    Err("templates are not available here".to_owned())
}

/// What surrounds a list of tasks.
#[derive(Clone, Debug, Default)]
pub struct TaskContext {
    /// The role they belong to.
    pub role: Option<Arc<Role>>,
    /// They are handlers.
    pub handler: bool,
    /// They are included while the play runs: what a handler includes is no list of handlers.
    pub included: bool,
    /// A `when` stands before them: they may never run, so what is wrong with them is not an error yet.
    pub conditional: bool,
    /// `module_defaults` around them may bring arguments.
    pub defaults: bool,
    /// Variables written around them, the weakest first: static imports may use them in names.
    pub vars: Variables,
    /// The playbook's folder.
    pub playbook_dir: PathBuf,
}

/// Loads a playbook and all it imports. Everything that is wrong goes to `diags`; `None` if nothing could be read.
pub fn load_playbook(path: &Path, options: &LoadOptions, diags: &mut Diags) -> Option<Playbook> {
    let mut loader = Loader::new(options, diags);
    let directory = parent(path);
    let plays = loader.playbook_file(path, None)?;
    Some(Playbook { path: path.to_owned(), directory, plays })
}

/// Loads a file of tasks that is included while the play runs.
pub fn load_tasks(path: &Path, context: &TaskContext, options: &LoadOptions, diags: &mut Diags) -> Option<Vec<Step>> {
    Loader::new(options, diags).tasks_file(path, context, None)
}

/// The file of tasks of this name: beside the file that names it, in the role's `tasks`, in the role, beside the
/// playbook. The places looked at if there is none.
pub fn find_tasks_file(
    name: &str,
    directory: &Path,
    role: Option<&Role>,
    playbook_dir: &Path,
) -> Result<PathBuf, Vec<PathBuf>> {
    let mut places = vec![directory.to_owned()];
    if let Some(role) = role {
        places.push(role.join("tasks"));
        places.push(role.path.clone());
    }
    places.push(playbook_dir.join("tasks"));
    places.push(playbook_dir.to_owned());
    let mut searched: Vec<PathBuf> = Vec::new();
    for place in places {
        let path = place.join(name);
        if path.is_file() {
            return Ok(path);
        }
        if !searched.contains(&path) {
            searched.push(path);
        }
    }
    Err(searched)
}

/// The state of one loading.
pub(super) struct Loader<'a> {
    pub(super) options: &'a LoadOptions<'a>,
    pub(super) diags: &'a mut Diags,
    /// Files that are being imported, to see loops.
    pub(super) importing: Vec<PathBuf>,
    /// Roles found in the play at hand, in order.
    pub(super) roles: Vec<Arc<Role>>,
    /// What the folders of modules hold, by folder; read once.
    pub(super) libraries: super::own::Libraries,
    /// Handlers of these roles.
    pub(super) role_handlers: Vec<Step>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(options: &'a LoadOptions<'a>, diags: &'a mut Diags) -> Self {
        Loader {
            options,
            diags,
            importing: Vec::new(),
            roles: Vec::new(),
            libraries: Default::default(),
            role_handlers: Vec::new(),
        }
    }

    pub(super) fn error(&mut self, diag: Diag) {
        self.diags.push(diag);
    }

    /// Reads a YAML file; `asked` is the place that named it.
    pub(super) fn read(&mut self, path: &Path, asked: Option<&Span>) -> Option<(Arc<SourceFile>, Node)> {
        let file = match read_maybe_vaulted(path, self.options.vault) {
            Ok(file) => file,
            Err(diag) => {
                self.error(match asked {
                    Some(span) => diag.at(span),
                    None => diag,
                });
                return None;
            }
        };
        let node = load_yaml(&file, self.diags)?;
        Some((file, node))
    }

    /// A file of tasks, unless it is being imported already.
    pub(super) fn tasks_file(&mut self, path: &Path, context: &TaskContext, asked: Option<&Span>) -> Option<Vec<Step>> {
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.importing.contains(&identity) || self.importing.len() > 60 {
            let diag = Diag::error(format!("{} imports itself", path.display()));
            self.error(match asked {
                Some(span) => diag.at(span).with_help("include_tasks with a `when` can end a recursion"),
                None => diag,
            });
            return None;
        }
        let (file, node) = self.read(path, asked)?;
        self.importing.push(identity);
        let steps = self.steps(&node, &file, context);
        self.importing.pop();
        Some(steps)
    }

    /// A name in a static place: as it is, or templated by what is known before the play runs.
    pub(super) fn static_name(&mut self, node: &Node, vars: &Variables, what: &str) -> Option<String> {
        let text = match node.scalar_text().filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => {
                self.error(Diag::error(format!("{what} needs a name, and this is {}", node.kind())).at(&node.span));
                return None;
            }
        };
        if !node.is_template() {
            return Some(text);
        }
        match (self.options.template)(&text, vars) {
            Ok(name) => Some(name),
            Err(why) => {
                let diag = Diag::error(format!("the name of a static import must be known before the play runs: {why}")).coded("static-name")
                    .at(&node.span)
                    .with_note("extra variables and the variables of the play and its roles are known by then; facts and inventory variables are not");
                self.error(match what {
                    "import_tasks" => diag.with_help("use include_tasks"),
                    "import_role" => diag.with_help("use include_role"),
                    _ => diag,
                });
                None
            }
        }
    }
}

/// The folder of a file, `.` for a bare name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
