//! From the `-i` options to an inventory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::vars_files::VarsDir;
use super::{Constructing, Inventory, constructed, ini, script, yaml};
use crate::source::{Diag, Diags, SourceFile, VAULT_HEADER, VaultHook, load_yaml, no_vault, read_maybe_vaulted};

/// Endings that are never inventories inside a directory of them.
pub(crate) const IGNORED_ENDINGS: [&str; 13] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry", ".ini"];

/// What sources are read with.
struct Hooks<'a> {
    vault: &'a VaultHook<'a>,
    with: &'a Constructing,
}

impl Inventory {
    /// Loads all sources, in order; what several of them say is merged, the later one wins.
    ///
    /// A source is a file (YAML, INI or JSON), an executable, a directory of them, or a list `host1,host2,`.
    /// Problems go to `diags`; the inventory holds what could be read. `with` evaluates what constructed sources say.
    pub fn load(sources: &[String], vault: &VaultHook, with: &Constructing, diags: &mut Diags) -> Inventory {
        let hooks = Hooks { vault, with };
        let mut inventory = Inventory::new();
        inventory.merge_hashes = with.merge_hashes;
        for source in sources {
            let path = Path::new(source);
            if source.contains(',') && !path.exists() {
                host_list(&mut inventory, source, diags);
            } else {
                // A constructed source in a directory sees the variables beside it, but a file only those of earlier sources.
                let (dir, is_dir) = match path.is_dir() {
                    true => (path, true),
                    false => (path.parent().unwrap_or(Path::new("")), false),
                };
                if is_dir {
                    inventory.add_vars_dir(dir);
                }
                load_path(&mut inventory, path, &hooks, diags);
                if !is_dir {
                    inventory.add_vars_dir(dir);
                }
            }
            inventory.sources.push(source.clone());
        }
        inventory.reconcile();
        inventory.warn_of_namesakes(diags);
        inventory
    }

    /// Loads an inventory from a text, as if it stood in a file of that name.
    pub fn from_text(name: &str, text: &str, diags: &mut Diags) -> Inventory {
        let mut inventory = Inventory::new();
        let hooks = Hooks { vault: &no_vault, with: &Constructing::default() };
        load_text(&mut inventory, &SourceFile::new(name, text), &hooks, diags);
        inventory.sources.push(name.to_owned());
        inventory.reconcile();
        inventory.warn_of_namesakes(diags);
        inventory
    }

    fn add_vars_dir(&mut self, dir: &Path) {
        self.inventory_dirs.retain(|known| known.dir() != dir);
        self.inventory_dirs.push(VarsDir::new(dir, "inventory"));
    }

    /// A name that is both a group and a host is the host in patterns; few people mean that.
    fn warn_of_namesakes(&self, diags: &mut Diags) {
        for name in self.groups.keys().filter(|name| self.hosts.contains_key(name.as_ref())) {
            let diag = Diag::warning(format!("`{name}` is both a group and a host"));
            let spans =
                [self.groups.get(name).map(|group| &group.span), self.hosts.get(name.as_ref()).map(|host| &host.span)];
            diags.push(spans.into_iter().flatten().fold(diag, |diag, span| diag.at(span)));
        }
    }
}

/// `-i host1,host2,`
fn host_list(inventory: &mut Inventory, source: &str, diags: &mut Diags) {
    let file = SourceFile::new("<-i>", source);
    let mut at = 0;
    for entry in source.split(',') {
        let start = at + entry.len() - entry.trim_start().len();
        let name = entry.trim();
        at += entry.len() + 1;
        if !name.is_empty() {
            let span = crate::source::Span::new(&file, start, start + name.len());
            yaml::populate(inventory, name, &span, Default::default(), "ungrouped", diags);
        }
    }
}

fn load_path(inventory: &mut Inventory, path: &Path, hooks: &Hooks, diags: &mut Diags) {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let diag = Diag::error(format!(
                "cannot read the inventory {}: {}",
                path.display(),
                crate::source::io_reason(&error)
            ));
            diags.push(diag.with_help("a list of hosts ends with a comma: -i host1,"));
            return;
        }
    };
    if metadata.is_dir() {
        load_directory(inventory, path, hooks, diags);
        return;
    }
    if metadata.permissions().mode() & 0o111 != 0 && script::is_program(path) {
        script::run(inventory, path, diags);
        return;
    }
    match read_maybe_vaulted(path, hooks.vault) {
        Ok(file) => load_text(inventory, &file, hooks, diags),
        Err(diag) => diags.push(diag),
    }
}

fn load_directory(inventory: &mut Inventory, path: &Path, hooks: &Hooks, diags: &mut Diags) {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            diags.push(Diag::error(format!("cannot list {}: {}", path.display(), crate::source::io_reason(&error))));
            return;
        }
    };
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    for name in names {
        let text = name.to_string_lossy();
        let skip = text.starts_with('.')
            || matches!(&*text, "group_vars" | "host_vars" | "vars_plugins")
            || IGNORED_ENDINGS.iter().any(|ending| text.ends_with(ending));
        if !skip {
            load_path(inventory, &path.join(&name), hooks, diags);
        }
    }
}

/// YAML or INI, by the ending, otherwise by the look of it.
fn load_text(inventory: &mut Inventory, file: &std::sync::Arc<SourceFile>, hooks: &Hooks, diags: &mut Diags) {
    let ending = file.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_yaml = match ending {
        "yml" | "yaml" | "json" => true,
        "ini" => false,
        _ => looks_like_yaml(&file.text),
    };
    if file.text.as_bytes().starts_with(VAULT_HEADER) {
        diags.push(Diag::error(format!("{} is encrypted", file.path.display())));
    } else if is_yaml {
        if let Some(root) = load_yaml(file, diags) {
            if root.as_map().is_some_and(|map| map.get("_meta").is_some()) {
                script::parse(inventory, &root, None, diags);
            } else if root.as_map().and_then(|map| map.get("plugin")).is_some_and(constructed::is_constructed) {
                constructed::apply(inventory, &root, hooks.with, hooks.vault, diags);
            } else {
                yaml::parse(inventory, &root, diags);
            }
        }
    } else {
        ini::parse(inventory, file, diags);
    }
}

/// The first line that says anything: `---`, `{`, `key:` or the name of a plugin is YAML.
fn looks_like_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    match first {
        None => false,
        Some(line) => {
            let code = line.split(" #").next().unwrap_or_default().trim_end();
            line.starts_with("---")
                || line.starts_with('{')
                || line.starts_with("plugin:")
                || code.ends_with(':') && !code.starts_with('[')
        }
    }
}
