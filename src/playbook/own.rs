//! Modules of the user's own: files in `library/`, beside the playbook and in roles, and in the folders that the
//! configuration names.

use super::index::{ModuleInfo, OWN_MODULE};
use super::load::{Loader, TaskContext};
use crate::modules::OwnStyle;
use crate::source::{Diag, Span};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The argument that carries the file.
pub(super) const OWN_ARGUMENT: &str = "_own_module";

/// Modules of a folder, by their names.
pub(super) type Libraries = HashMap<PathBuf, Arc<HashMap<String, PathBuf>>>;

/// Endings that no module has.
const NO_MODULES: [&str; 12] = ["pyo", "pyc", "swp", "bak", "rpm", "md", "txt", "rst", "yaml", "yml", "ini", "json"];

static CONFIGURED: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Sets the folders of `ANSIBLE_LIBRARY`, once for the process.
pub fn library_path(folders: Vec<PathBuf>) {
    let _ = CONFIGURED.set(folders);
}

impl Loader<'_> {
    /// The module of this name. As with Ansible, a file of the user's own comes before what is built in, unless the task
    /// names a collection.
    pub(super) fn resolve(&mut self, name: &str, context: &TaskContext) -> Option<Arc<ModuleInfo>> {
        match self.own_module(name, context) {
            Some(_) => self.options.modules.resolve(OWN_MODULE),
            None => self.options.modules.resolve(name),
        }
    }

    /// The file of a module of the user's own.
    pub(super) fn own_module(&mut self, name: &str, context: &TaskContext) -> Option<PathBuf> {
        let name = name.strip_prefix("ansible.legacy.").unwrap_or(name);
        if name.contains(['.', '/']) || name.is_empty() {
            return None;
        }
        let mut folders = vec![context.playbook_dir.join("library")];
        let role = context.role.iter().flat_map(|role| [role].into_iter().chain(role.parents.iter().rev()));
        folders.extend(role.chain(&self.roles).map(|role| role.path.join("library")));
        folders.extend(CONFIGURED.get().into_iter().flatten().cloned());
        folders.into_iter().find_map(|folder| self.library(folder).get(name).cloned())
    }

    fn library(&mut self, folder: PathBuf) -> Arc<HashMap<String, PathBuf>> {
        self.libraries
            .entry(folder)
            .or_insert_with_key(|folder| {
                let mut found = HashMap::new();
                read(folder, 0, &mut found);
                Arc::new(found)
            })
            .clone()
    }

    /// Why a file cannot be run although it is there.
    pub(super) fn foreign(&self, name: &str, path: &Path, span: &Span) -> Option<Diag> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = crate::source::io_reason(&error);
                return Some(Diag::error(format!("cannot read the module {}: {why}", path.display())).at(span));
            }
        };
        let kind = match OwnStyle::of(&bytes) {
            OwnStyle::AnsiblePython => "needs Ansible's Python library, which hosts do not get from here",
            OwnStyle::PowerShell => "is for Windows",
            _ => return None,
        };
        let diag = Diag::error(format!("the module {} {kind}", path.display())).coded("unknown-module").at(span);
        let short = name.rsplit('.').next().unwrap_or(name);
        Some(match self.options.modules.resolve(short) {
            Some(built_in) => diag
                .with_note(format!("there is `{}`, built in", built_in.canonical))
                .with_help(format!("write `{}` in the task, or take the file away", built_in.canonical)),
            None => diag.with_help(
                "make it a program that reads its arguments as JSON from the file that is its first argument \
                 (docs/own-modules.md says how, and how little of a Python module has to be changed)",
            ),
        })
    }
}

/// Files of a folder and its folders; the first of a name counts.
fn read(folder: &Path, depth: usize, found: &mut HashMap<String, PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with(['.', '_']) || name.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            if depth < 5 {
                read(&path, depth + 1, found);
            }
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !NO_MODULES.contains(&ending) {
            let stem = name.split('.').next().unwrap_or(name).to_owned();
            found.entry(stem).or_insert(path);
        }
    }
}
