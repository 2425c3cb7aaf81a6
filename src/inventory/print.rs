//! `deploy inventory --list | --host | --graph`, as `ansible-inventory` prints them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{HostName, Inventory, Vars};
use crate::source::{Node, NodeValue};

/// Everything, in the form that an executable inventory prints. With `export`, variables of groups too.
pub fn list_json(inventory: &Inventory, playbook_dir: Option<&Path>, export: bool) -> String {
    let hosts = inventory.group_hosts("all");
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    let mut seen = HashSet::new();
    format_group(inventory, "all", export, &mut seen, &mut out);
    let mut hostvars = BTreeMap::new();
    for host in &hosts {
        let vars = inventory.merged_vars(host.as_str(), playbook_dir);
        if !vars.is_empty() {
            hostvars.insert(host.to_string(), vars_json(&vars));
        }
    }
    out.insert("_meta".into(), json!({ "hostvars": hostvars }));
    pretty(&json!(out))
}

/// The variables of one host.
pub fn host_json(inventory: &Inventory, host: &str, playbook_dir: Option<&Path>) -> String {
    pretty(&vars_json(&inventory.merged_vars(host, playbook_dir)))
}

/// The tree of groups below `top`. With `vars`, variables of hosts and groups too.
pub fn graph(inventory: &Inventory, top: &str, playbook_dir: Option<&Path>, vars: bool) -> String {
    let mut lines = Vec::new();
    graph_group(inventory, top, 0, playbook_dir, vars, &mut lines);
    lines.join("\n")
}

fn format_group(
    inventory: &Inventory,
    name: &str,
    export: bool,
    seen: &mut HashSet<String>,
    out: &mut BTreeMap<String, Value>,
) {
    let Some(group) = inventory.groups.get(name) else { return };
    let mut entry = Map::new();
    if name != "all" && !group.hosts.is_empty() {
        entry.insert("hosts".into(), group.hosts.iter().map(HostName::as_str).collect());
    }
    if !group.children.is_empty() {
        entry.insert("children".into(), group.children.iter().map(AsRef::as_ref).collect());
    }
    for child in &group.children {
        if seen.insert(child.to_string()) {
            format_group(inventory, child, export, seen, out);
        }
    }
    if export {
        let vars = inventory.merged_group_vars(name);
        if !vars.is_empty() {
            entry.insert("vars".into(), vars_json(&vars));
        }
    }
    if !entry.is_empty() {
        out.insert(name.to_owned(), Value::Object(entry));
    }
}

fn line(text: &str, depth: usize) -> String {
    if depth == 0 { text.to_owned() } else { format!("{}--{text}", "  |".repeat(depth)) }
}

fn graph_group(
    inventory: &Inventory,
    name: &str,
    depth: usize,
    playbook_dir: Option<&Path>,
    with_vars: bool,
    lines: &mut Vec<String>,
) {
    let Some(group) = inventory.groups.get(name) else { return };
    lines.push(line(&format!("@{name}:"), depth));
    for child in &group.children {
        graph_group(inventory, child, depth + 1, playbook_dir, with_vars, lines);
    }
    if name != "all" {
        for host in &group.hosts {
            lines.push(line(host.as_str(), depth + 1));
            if with_vars {
                show_vars(&inventory.merged_vars(host.as_str(), playbook_dir), depth + 2, lines);
            }
        }
    }
    if with_vars {
        show_vars(&inventory.merged_group_vars(name), depth + 1, lines);
    }
}

fn show_vars(vars: &Vars, depth: usize, lines: &mut Vec<String>) {
    let sorted: BTreeMap<_, _> = vars.iter().collect();
    for (key, value) in sorted {
        let text = value.scalar_text().unwrap_or_else(|| node_json(value).to_string());
        lines.push(line(&format!("{{{key} = {text}}}"), depth));
    }
}

fn vars_json(vars: &Vars) -> Value {
    vars.iter().map(|(key, value)| (key.to_string(), node_json(value))).collect()
}

/// As `to_json`, but encrypted and unsafe values are marked as Ansible marks them.
fn node_json(node: &Node) -> Value {
    match &node.value {
        NodeValue::Seq(items) => items.iter().map(node_json).collect(),
        NodeValue::Map(map) => {
            map.iter().map(|(key, value)| (key.scalar_text().unwrap_or_default(), node_json(value))).collect()
        }
        NodeValue::Str(text) if node.is_vault() => json!({ "__ansible_vault": text }),
        NodeValue::Str(text) if node.is_unsafe() => json!({ "__ansible_unsafe": text }),
        _ => node.to_json(),
    }
}

/// Four spaces and sorted keys, as Python's `json.dumps(…, indent=4, sort_keys=True)`.
fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing JSON values into memory cannot fail.
    let _ = sorted(value).serialize(&mut serializer);
    String::from_utf8_lossy(&out).into_owned()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.iter().collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
