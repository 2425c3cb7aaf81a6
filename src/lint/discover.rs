//! Which files a tree has, and what each is.

use crate::inventory::load::IGNORED_ENDINGS;
use std::path::{Component, Path, PathBuf};

/// What a file is, as far as its place says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// YAML whose place says nothing: a playbook, or a file of tasks, by its contents.
    Yaml,
    /// Tasks of a role, or in a folder of that name.
    Tasks,
    /// Handlers of a role.
    Handlers,
    /// Variables: defaults, vars, group_vars, host_vars.
    Vars,
    /// Meta of a role.
    Meta,
    /// An inventory.
    Inventory,
    /// A template.
    Template,
}

/// A file to look at.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The role it belongs to.
    pub role: Option<PathBuf>,
}

/// The parts of a tree that are looked at where no path is named: those of the usual layout.
const USUAL: [&str; 8] =
    ["playbooks", "roles", "inventory", "inventories", "group_vars", "host_vars", "tasks", "handlers"];

/// Folders of a role.
const OF_ROLE: [(&str, Kind); 6] = [
    ("tasks", Kind::Tasks),
    ("handlers", Kind::Handlers),
    ("defaults", Kind::Vars),
    ("vars", Kind::Vars),
    ("meta", Kind::Meta),
    ("templates", Kind::Template),
];

/// The files below these paths; what cannot be read is named in the error.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    if paths.is_empty() {
        for path in usual() {
            match path.is_dir() {
                true => walk(&path, Path::new(""), 0, &mut found)?,
                false => found.push(file(path, Path::new(""))),
            }
        }
    }
    for path in paths {
        let meta = std::fs::metadata(path)
            .map_err(|error| format!("cannot read {}: {}", path.display(), crate::source::io_reason(&error)))?;
        match meta.is_dir() {
            true => walk(path, path, 0, &mut found)?,
            false => found.push(file(path.clone(), path)),
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

fn usual() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = USUAL.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect();
    let Ok(entries) = std::fs::read_dir(".") else { return paths };
    let top = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file() && is_yaml(path));
    paths.extend(top.map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)));
    if paths.is_empty() {
        paths.push(PathBuf::from("."));
    }
    paths
}

/// The files below `directory`, a part of the tree that begins at `tree`.
fn walk(directory: &Path, tree: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("cannot list {}: {}", directory.display(), crate::source::io_reason(&error)))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let path = directory.join(&*name);
        let path = path.strip_prefix("./").map(Path::to_owned).unwrap_or(path);
        // Links to folders would lead in circles, and what they lead to is looked at where it is.
        if kind.is_dir() && depth < 30 {
            // What is copied as it is, is of any program.
            if !matches!(
                &*name,
                "node_modules" | "target" | "venv" | "__pycache__" | "collections" | "files" | "molecule"
            ) {
                walk(&path, tree, depth + 1, found)?;
            }
        } else if path.is_file() {
            let file = file(path, tree);
            let looked_at = match file.kind {
                Kind::Template => true,
                Kind::Inventory => {
                    // What a directory of inventories passes over, a run does not read.
                    let ignored = IGNORED_ENDINGS.iter().any(|end| name.ends_with(end)) && ending(&file.path) != "ini";
                    !ignored && !matches!(ending(&file.path), "py" | "sh")
                }
                _ => is_yaml(&file.path) || (file.kind == Kind::Vars && ending(&file.path).is_empty()),
            };
            if looked_at {
                found.push(file);
            }
        }
    }
    Ok(())
}

/// The names of which a path is made.
fn names(path: &Path) -> Vec<String> {
    let name = |part| match part {
        Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

/// A file, and what its place in the tree that begins at `tree` says of it. Where the tree itself stands says something only
/// where it is part of a role: a whole project may lie in a folder named `handlers`.
fn file(path: PathBuf, tree: &Path) -> Found {
    let parts = names(&path);
    let beneath = match names(tree).as_slice() {
        [above @ .., _] if path == tree => above.len(),
        whole => whole.len(),
    };
    let folders = parts.get(..parts.len().saturating_sub(1)).unwrap_or_default();
    let name = parts.last().map(String::as_str).unwrap_or_default();
    if folders.iter().any(|part| part == "group_vars" || part == "host_vars") {
        return Found { path, kind: Kind::Vars, role: None };
    }
    // The innermost folder of a role's layout: `templates` inside `files` is nobody's affair.
    for (at, part) in folders.iter().enumerate().rev() {
        let Some((_, kind)) = OF_ROLE.iter().find(|(folder, _)| folder == part) else { continue };
        if folders.get(beneath.min(at)..at).unwrap_or_default().iter().any(|part| part == "files") {
            break;
        }
        let up = folders.len() - at;
        let base = path.ancestors().nth(up + 1).map(Path::to_owned).unwrap_or_default();
        let beside = |folder: &str| base.join(folder).join("main.yml").is_file();
        let in_roles = at >= 2 && folders.get(at - 2).is_some_and(|part| part == "roles");
        let role = (in_roles || beside("tasks") || beside("meta") || beside("defaults")).then_some(base);
        // Contents say which files are tasks; that they are variables or a template only the folder says that was named.
        let told = at >= beneath || (at + 1 == beneath && !matches!(kind, Kind::Tasks | Kind::Handlers));
        if role.is_none() && !told {
            break;
        }
        // Without a role only the names of these folders that say enough count.
        let kind = match (role.is_some(), kind) {
            (false, Kind::Meta) => Kind::Yaml,
            (_, kind) => *kind,
        };
        return Found { path, kind, role };
    }
    if folders.iter().any(|part| part == "files" || part == "library" || part == "molecule") {
        // Contents that are copied as they are may be YAML of another program.
        return Found { path, kind: Kind::Yaml, role: None };
    }
    // `ansible-galaxy init` makes `tests/inventory` in each role.
    let of_tests = folders.iter().any(|part| part == "tests" || part == "molecule");
    let inventory = !of_tests
        && (folders.iter().any(|part| part == "inventory" || part == "inventories")
            || matches!(name, "hosts" | "hosts.yml" | "hosts.yaml" | "hosts.ini" | "inventory" | "inventory.yml")
            || name == "inventory.ini");
    Found { path, kind: if inventory { Kind::Inventory } else { Kind::Yaml }, role: None }
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn is_yaml(path: &Path) -> bool {
    matches!(ending(path), "yml" | "yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_file_says_what_it_is() {
        for (path, kind, role) in [
            ("site.yml", Kind::Yaml, None),
            ("playbooks/group_vars/all/x.yml", Kind::Vars, None),
            ("roles/web/tasks/main.yml", Kind::Tasks, Some("roles/web")),
            ("a/roles/web/tasks/sub/x.yml", Kind::Tasks, Some("a/roles/web")),
            ("roles/web/handlers/main.yml", Kind::Handlers, Some("roles/web")),
            ("roles/web/defaults/main/a.yml", Kind::Vars, Some("roles/web")),
            ("roles/web/templates/etc/x.j2", Kind::Template, Some("roles/web")),
            ("roles/web/files/tasks/x.yml", Kind::Yaml, None),
            ("inventory/hosts.yml", Kind::Inventory, None),
            ("inventory/host_vars/a/b.yml", Kind::Vars, None),
            ("tasks/x.yml", Kind::Tasks, None),
            ("meta/x.yml", Kind::Yaml, None),
        ] {
            let found = file(PathBuf::from(path), Path::new(""));
            assert_eq!((found.kind, found.role), (kind, role.map(PathBuf::from)), "{path}");
        }
    }

    #[test]
    fn where_the_tree_itself_stands_says_nothing() {
        for (tree, path, kind, role) in [
            ("/srv/handlers", "site.yml", Kind::Yaml, None),
            ("/srv/handlers", "vars/x.yml", Kind::Vars, None),
            ("/srv/handlers", "tasks/x.yml", Kind::Tasks, None),
            ("/srv/tasks/project", "playbooks/site.yml", Kind::Yaml, None),
            ("/srv/templates/project", "site.yml", Kind::Yaml, None),
            ("../handlers", "roles/web/tasks/main.yml", Kind::Tasks, Some("../handlers/roles/web")),
            ("/srv/files/project", "roles/web/tasks/main.yml", Kind::Tasks, Some("/srv/files/project/roles/web")),
            // Part of a role is named.
            ("/srv/roles/web/tasks", "sub/x.yml", Kind::Tasks, Some("/srv/roles/web")),
            ("roles/web", "handlers/main.yml", Kind::Handlers, Some("roles/web")),
            ("roles/web/handlers/main.yml", "", Kind::Handlers, Some("roles/web")),
            ("templates", "x.j2", Kind::Template, None),
            ("handlers/site.yml", "", Kind::Yaml, None),
        ] {
            let whole = if path.is_empty() { PathBuf::from(tree) } else { Path::new(tree).join(path) };
            let found = file(whole, Path::new(tree));
            assert_eq!((found.kind, found.role), (kind, role.map(PathBuf::from)), "{tree} {path}");
        }
    }
}
