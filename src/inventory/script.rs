//! Executable inventories: JSON from `--list`, and from `--host` where there is no `_meta`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::yaml::variable_name;
use super::{Inventory, Vars};
use crate::source::{Diag, Diags, Mapping, Node, NodeValue, SourceFile, load_yaml};

/// Whether an executable file is a program and not a text that happens to be marked executable.
pub(super) fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0_u8; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = head.get(..read).unwrap_or_default();
    head.starts_with(b"#!") || head.starts_with(b"\x7fELF")
}

/// Runs the program and adds what it prints.
pub(super) fn run(inventory: &mut Inventory, path: &Path, diags: &mut Diags) {
    let Some(root) = call(path, &["--list"], diags) else { return };
    parse(inventory, &root, Some(path), diags);
}

fn call(path: &Path, arguments: &[&str], diags: &mut Diags) -> Option<Node> {
    // A name without a slash would be looked up in PATH.
    let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = format!("{} {}", path.display(), arguments.join(" "));
    let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            diags.push(Diag::error(format!("cannot run the inventory `{shown}`: {error}")));
            return None;
        }
    };
    if !output.status.success() {
        let mut diag = Diag::error(format!("the inventory `{shown}` failed: {}", output.status));
        let stderr = String::from_utf8_lossy(&output.stderr);
        if !stderr.trim().is_empty() {
            diag = diag.with_note(stderr.trim().to_owned());
        }
        diags.push(diag);
        return None;
    }
    match SourceFile::from_bytes(Path::new(&format!("<{shown}>")), output.stdout) {
        Ok(file) => load_yaml(&file, diags),
        Err(diag) => {
            diags.push(diag);
            None
        }
    }
}

/// Adds an inventory in the form of `--list`. With a program, hosts are asked for one by one if need be.
pub(super) fn parse(inventory: &mut Inventory, root: &Node, program: Option<&Path>, diags: &mut Diags) {
    let Some(map) = root.as_map() else {
        diags.push(
            Diag::error(format!("an inventory must print a JSON object, and this is {}", root.kind())).at(&root.span),
        );
        return;
    };
    let mut children: Vec<(Arc<str>, Node)> = Vec::new();
    for (key, data) in map.iter() {
        let Some(name) = key.scalar_text().filter(|name| name != "_meta") else { continue };
        inventory.add_group(&name, &key.span);
        let hosts_of = |node: &Node| node.as_seq().map(<[Node]>::to_vec);
        match &data.value {
            NodeValue::Seq(hosts) => add_hosts(inventory, &name, hosts, diags),
            NodeValue::Map(group) => {
                if !["hosts", "vars", "children"].iter().any(|key| group.get(key).is_some()) {
                    // The short form of a host with variables.
                    let host = key.at(key.span.clone());
                    add_hosts(inventory, &name, &[host], diags);
                    for (key, value) in variables(group, diags) {
                        inventory.set_group_var(&name, &key, value, diags);
                    }
                    continue;
                }
                if let Some(node) = group.get("hosts") {
                    match hosts_of(node) {
                        Some(hosts) => add_hosts(inventory, &name, &hosts, diags),
                        None => diags.push(wrong(node, "hosts", "a list")),
                    }
                }
                if let Some(node) = group.get("vars") {
                    match node.as_map() {
                        Some(vars) => {
                            for (key, value) in variables(vars, diags) {
                                inventory.set_group_var(&name, &key, value, diags);
                            }
                        }
                        None => diags.push(wrong(node, "vars", "an object")),
                    }
                }
                if let Some(node) = group.get("children") {
                    match hosts_of(node) {
                        Some(names) => {
                            children.extend(names.into_iter().map(|child| (Arc::from(name.as_str()), child)));
                        }
                        None => diags.push(wrong(node, "children", "a list")),
                    }
                }
            }
            _ => diags.push(wrong(data, &name, "a list of hosts or an object")),
        }
    }
    for (parent, child) in children {
        let name = child.scalar_text().unwrap_or_default();
        inventory.add_group(&name, &child.span);
        if let Err(diag) = inventory.add_child(&parent, &name, &child.span) {
            diags.push(diag);
        }
    }
    let meta = map.get("_meta").and_then(Node::as_map).and_then(|meta| meta.get("hostvars"));
    match (meta.and_then(Node::as_map), program) {
        (Some(hostvars), _) => {
            for (host, vars) in hostvars.iter() {
                let name = host.scalar_text().unwrap_or_default();
                if let (true, Some(vars)) = (inventory.hosts.contains_key(name.as_str()), vars.as_map()) {
                    let vars = variables(vars, diags);
                    set_all(inventory, &name, &host.span, vars);
                }
            }
        }
        (None, Some(program)) => {
            let names: Vec<String> = inventory.hosts.keys().map(ToString::to_string).collect();
            for name in names {
                let Some(node) = call(program, &["--host", &name], diags) else { return };
                if let Some(vars) = node.as_map() {
                    let vars = variables(vars, diags);
                    set_all(inventory, &name, &node.span, vars);
                }
            }
        }
        (None, None) => {}
    }
}

fn add_hosts(inventory: &mut Inventory, group: &str, hosts: &[Node], diags: &mut Diags) {
    for host in hosts {
        match host.scalar_text().filter(|name| !name.is_empty()) {
            Some(name) => {
                inventory.add_host(&name, Some(group), &host.span);
            }
            None => diags.push(wrong(host, "a host", "a name")),
        }
    }
}

fn set_all(inventory: &mut Inventory, host: &str, span: &crate::source::Span, vars: Vars) {
    let merges = inventory.merge_hashes;
    let all = Arc::make_mut(&mut inventory.add_host(host, None, span).vars);
    vars.iter().for_each(|(name, value)| super::set_var(all, name, value, merges));
}

fn variables(map: &Mapping, diags: &mut Diags) -> Vars {
    map.iter().filter_map(|(key, value)| Some((variable_name(key, diags)?, value.clone()))).collect()
}

fn wrong(node: &Node, what: &str, expected: &str) -> Diag {
    Diag::error(format!("`{what}` must be {expected}, and this is {}", node.kind())).at(&node.span)
}
