//! `group_vars/` and `host_vars/` beside an inventory or a playbook.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::yaml::variable_name;
use super::{Inventory, Vars};
use crate::source::{Diag, Diags, VaultHook, load_yaml_file};

/// The endings of variable files, in the order in which they are looked for.
const ENDINGS: [&str; 3] = ["yml", "yaml", "json"];

/// What a directory's `group_vars/` and `host_vars/` say about the groups and hosts that exist.
#[derive(Debug)]
pub(super) struct VarsDir {
    dir: PathBuf,
    /// `inventory` or `playbook`, for the names of layers.
    pub(super) whose: &'static str,
    groups: Listing,
    hosts: Listing,
}

#[derive(Debug)]
struct Listing {
    dir: PathBuf,
    /// Names of the entries; `None` until the directory was read.
    names: Option<BTreeMap<String, PathBuf>>,
    loaded: HashMap<Arc<str>, Arc<Vars>>,
}

impl VarsDir {
    pub(super) fn new(dir: &Path, whose: &'static str) -> Self {
        let listing = |name: &str| Listing { dir: dir.join(name), names: None, loaded: HashMap::new() };
        VarsDir { dir: dir.to_owned(), whose, groups: listing("group_vars"), hosts: listing("host_vars") }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn group(&self, name: &str) -> Option<&Arc<Vars>> {
        self.groups.loaded.get(name)
    }

    pub(super) fn host(&self, name: &str) -> Option<&Arc<Vars>> {
        self.hosts.loaded.get(name)
    }
}

impl Inventory {
    /// Loads the variable files of all groups and hosts that have none loaded yet, beside the inventories and in
    /// `playbook_dir`. To be called after [`Inventory::load`], and again after hosts or groups were added.
    pub fn load_vars(&mut self, playbook_dir: Option<&Path>, vault: &VaultHook, diags: &mut Diags) {
        if let Some(dir) = playbook_dir
            && self.playbook_dir.as_ref().is_none_or(|known| known.dir() != dir)
        {
            self.playbook_dir = Some(VarsDir::new(dir, "playbook"));
        }
        let merges = self.merge_hashes;
        for dir in self.inventory_dirs.iter_mut().chain(self.playbook_dir.as_mut()) {
            dir.groups.load(self.groups.keys().map(AsRef::as_ref), merges, vault, diags);
            dir.hosts.load(self.hosts.keys().map(super::HostName::as_str), merges, vault, diags);
        }
    }
}

impl Listing {
    fn load<'a>(&mut self, names: impl Iterator<Item = &'a str>, merges: bool, vault: &VaultHook, diags: &mut Diags) {
        let present = self.names.get_or_insert_with(|| list(&self.dir));
        if present.is_empty() {
            return;
        }
        for name in names {
            if self.loaded.contains_key(name) || name.contains('/') {
                continue;
            }
            // The first that exists is taken: the bare name (file or directory), then the endings.
            let candidates =
                std::iter::once(name.to_owned()).chain(ENDINGS.iter().map(|ending| format!("{name}.{ending}")));
            let mut found = candidates.filter_map(|candidate| present.get(&candidate));
            let Some(path) = found.next() else { continue };
            for ignored in found {
                diags.push(
                    Diag::warning(format!("{} is ignored", ignored.display()))
                        .with_note(format!("{} exists, and only one of them is read", path.display())),
                );
            }
            let mut vars = Vars::new();
            for file in files(path) {
                read_vars_file(&file, vault, &mut vars, merges, diags);
            }
            self.loaded.insert(Arc::from(name), Arc::new(vars));
        }
    }
}

/// Adds the variables of a file to `vars`, overriding or merging.
fn read_vars_file(path: &Path, vault: &VaultHook, vars: &mut Vars, merges: bool, diags: &mut Diags) {
    let Some(root) = load_yaml_file(path, vault, diags) else { return };
    if root.is_null() {
        return;
    }
    match root.as_map() {
        Some(map) => {
            for (key, value) in map.iter() {
                if let Some(name) = variable_name(key, diags) {
                    super::set_var(vars, &name, value, merges);
                }
            }
        }
        None => diags.push(
            Diag::error(format!("a file of variables is a dictionary, and this is {}", root.kind())).at(&root.span),
        ),
    }
}

fn list(dir: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.path()))
        })
        .collect()
}

/// The file itself, or the files of a directory, sorted, hidden ones and backups left out.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    let mut depth_first = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = depth_first.pop() {
        if !path.is_dir() {
            found.push(path);
            continue;
        }
        if depth > 20 {
            continue;
        }
        for (name, entry) in list(&path).into_iter().rev() {
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let ending = Path::new(&name).extension().and_then(|ending| ending.to_str());
            let wanted = match ending {
                None => true,
                Some(ending) => ENDINGS.contains(&ending) && !entry.is_dir(),
            };
            if wanted {
                depth_first.push((entry, depth + 1));
            }
        }
    }
    found
}
