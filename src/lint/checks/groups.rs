//! Groups and hosts that no inventory of the tree has.

use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::Tree;
use crate::lint::rules;
use crate::lint::walk;
use crate::source::{Span, did_you_mean};
use std::collections::BTreeSet;
use std::path::Component;

/// Patterns of plays, and files of `group_vars` and `host_vars`.
pub fn all(tree: &Tree, findings: &mut Findings) {
    let mut made = tree.uncertain_hosts || tree.inventories.is_empty();
    walk::tasks(tree, &mut |visit| made |= matches!(visit.short(), "add_host" | "group_by"));
    // Where programs or tasks make groups, nobody can tell by reading.
    if made {
        return;
    }
    let mut names: BTreeSet<String> = ["all", "ungrouped"].map(str::to_owned).into();
    names.extend(crate::inventory::LOCALHOST.iter().map(|name| (*name).to_owned()));
    for inventory in &tree.inventories {
        names.extend(inventory.groups.keys().map(|name| name.to_string()));
        names.extend(inventory.hosts.keys().map(|name| name.to_string()));
    }
    for play in tree.playbooks.iter().flat_map(|playbook| &playbook.plays) {
        if play.hosts.has_template() {
            continue;
        }
        for pattern in play.host_patterns() {
            for name in pattern.split([',', ':']).map(|part| part.trim().trim_start_matches(['!', '&'])) {
                let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
                if plain && !name.is_empty() && !name.contains('.') {
                    missing(name, &names, &play.hosts.span, "a play is for", findings);
                }
            }
        }
    }
    for file in tree.files.iter().filter(|file| file.kind == Kind::Vars) {
        let mut parts = file.file.path.components().filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        let Some(folder) = parts.by_ref().find(|part| matches!(*part, "group_vars" | "host_vars")) else { continue };
        let Some(entry) = parts.next() else { continue };
        let name = [".yml", ".yaml", ".json"].iter().find_map(|end| entry.strip_suffix(end)).unwrap_or(entry);
        let what =
            if folder == "group_vars" { "these variables are of the group" } else { "these variables are of the host" };
        missing(name, &names, &Span::start_of(&file.file), what, findings);
    }
}

fn missing(name: &str, names: &BTreeSet<String>, span: &Span, what: &str, findings: &mut Findings) {
    if names.contains(name) {
        return;
    }
    let diag = rules::UNKNOWN_GROUP.breach(format!("{what} `{name}`, which no inventory here has")).at(span);
    findings.add(&rules::UNKNOWN_GROUP, diag.suggest(did_you_mean(name, names)));
}
