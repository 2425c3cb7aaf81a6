//! Names that are taken, conditions with braces, become_user alone.

use crate::inventory::Inventory;
use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::{Tree, YamlFile};
use crate::lint::rules;
use crate::lint::walk::Visit;
use crate::playbook::Place;
use crate::source::{Node, Span};

/// Variables that the run sets itself.
const MAGIC: [&str; 34] = [
    "ansible_check_mode",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_delegated_vars",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_limit",
    "ansible_loop",
    "ansible_parent_role_names",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_name",
    "ansible_play_role_names",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_search_path",
    "ansible_skip_tags",
    "ansible_version",
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_names",
];

/// Whether variables of the tree say `ansible_become`: then who becomes somebody is not for the plays alone to say.
pub fn becomes(tree: &Tree) -> bool {
    let says = |name: &str| name == "ansible_become";
    let inventory = |inventory: &Inventory| {
        let groups = inventory.groups.values().map(|group| &group.vars);
        groups
            .chain(inventory.hosts.values().map(|host| &host.vars))
            .any(|vars| vars.iter().any(|(name, _)| says(name)))
    };
    tree.inventories.iter().any(inventory)
        || tree.files.iter().any(|file| file.root.span.file.text.contains("ansible_become:"))
}

pub fn task(visit: &Visit<'_>, becomes: bool, findings: &mut Findings) {
    let task = visit.task;
    for (name, value) in &task.keywords.vars {
        reserved(name, &value.span, findings);
    }
    if let Some(name) = &task.register {
        reserved(name, &task.action.span, findings);
    }
    for var in [&task.loop_control.loop_var, &task.loop_control.index_var].into_iter().flatten() {
        reserved(var.as_str().unwrap_or_default(), &var.span, findings);
    }
    if visit.short() == "set_fact" {
        for (key, _) in &task.action.args {
            reserved(key.as_str().unwrap_or_default(), &key.span, findings);
        }
    }
    let conditions = [("when", Some(&task.keywords.when)), ("until", Some(&task.until))];
    let results = [("changed_when", task.changed_when.as_ref()), ("failed_when", task.failed_when.as_ref())];
    for (word, nodes) in conditions.into_iter().chain(results) {
        nodes.into_iter().flatten().for_each(|node| braces(word, node, findings));
    }
    for keywords in visit.around {
        keywords.when.iter().for_each(|node| braces("when", node, findings));
    }
    let user = task.keywords.become_user.as_ref();
    // Who is to become somebody may have been told to on the command line: only a play that says nothing at all, nor its
    // inventory, is asked.
    let become_ = visit.keyword(|keywords| keywords.become_.as_ref());
    if let Some(user) = user.filter(|_| visit.play.is_some() && become_.is_none() && !becomes) {
        let message = "`become_user` without `become` changes nothing";
        findings.add(&rules::BECOME_USER, rules::BECOME_USER.breach(message).at(&user.span));
    }
}

/// Variables of a file.
pub fn file(file: &YamlFile, findings: &mut Findings) {
    if file.kind == Kind::Vars {
        for key in file.root.as_map().into_iter().flat_map(|map| map.keys()) {
            reserved(key.as_str().unwrap_or_default(), &key.span, findings);
        }
    }
    if file.playbook {
        let plays = file.root.as_seq().unwrap_or_default().iter().filter_map(Node::as_map);
        for key in plays.filter_map(|play| play.get("vars")?.as_map()).flat_map(|map| map.keys()) {
            reserved(key.as_str().unwrap_or_default(), &key.span, findings);
        }
    }
}

/// A variable of an inventory.
pub fn inventory_variable(name: &str, value: &Node, findings: &mut Findings) {
    reserved(name, &value.span, findings);
}

fn reserved(name: &str, span: &Span, findings: &mut Findings) {
    let magic = MAGIC.contains(&name);
    let keyword = || [Place::Play, Place::Role, Place::Block, Place::Task].iter().any(|place| place.has(name));
    if !magic && !keyword() {
        return;
    }
    let message = match magic {
        true => format!("the run sets `{name}` itself"),
        false => format!("`{name}` is a keyword"),
    };
    findings.add(&rules::RESERVED_NAME, rules::RESERVED_NAME.breach(message).at(span));
}

fn braces(word: &str, node: &Node, findings: &mut Findings) {
    if node.as_str().is_some_and(|text| text.contains("{{") || text.contains("{%")) {
        let message = format!("`{word}` is an expression already, and needs no braces");
        findings.add(&rules::WHEN_BRACES, rules::WHEN_BRACES.breach(message).at(&node.span));
    }
}
