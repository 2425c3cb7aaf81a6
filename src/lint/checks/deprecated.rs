//! Words that Ansible has given up, or will.

use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::YamlFile;
use crate::lint::rules;
use crate::lint::walk::Visit;
use crate::source::{Node, Span};

/// Modules, and what replaces them.
const MODULES: [(&str, &str); 3] = [
    ("apt_key", "deb822_repository with `signed_by`: apt-key is gone from Debian 13"),
    ("include", "include_tasks or import_tasks"),
    ("yum", "dnf: Ansible's own yum module is gone"),
];

/// Variables, and what they are called now.
const VARIABLES: [(&str, &str); 14] = [
    ("ansible_ssh_user", "ansible_user"),
    ("ansible_ssh_host", "ansible_host"),
    ("ansible_ssh_port", "ansible_port"),
    ("ansible_ssh_pass", "ansible_password"),
    ("ansible_ssh_password", "ansible_password"),
    ("ansible_sudo", "ansible_become"),
    ("ansible_sudo_user", "ansible_become_user"),
    ("ansible_sudo_pass", "ansible_become_password"),
    ("ansible_sudo_password", "ansible_become_password"),
    ("ansible_sudo_exe", "ansible_become_exe"),
    ("ansible_su", "ansible_become"),
    ("ansible_su_user", "ansible_become_user"),
    ("ansible_su_pass", "ansible_become_password"),
    ("ansible_su_exe", "ansible_become_exe"),
];

pub fn task(visit: &Visit<'_>, findings: &mut Findings) {
    let action = &visit.task.action;
    let written = action.name.rsplit('.').next().unwrap_or_default();
    let instead = MODULES.iter().find(|(name, _)| written == *name).map(|(_, instead)| *instead);
    if let Some(instead) = instead {
        said(&format!("`{}` is deprecated", action.name), instead, &action.span, findings);
    }
    if matches!(visit.short(), "command" | "shell")
        && let Some((key, _)) = action.args.iter().find(|(key, _)| key.as_str() == Some("warn"))
    {
        said("`warn` was removed from command and shell", "nothing: leave it out", &key.span, findings);
    }
    for (name, value) in &visit.task.keywords.vars {
        variable(name, value, findings);
    }
}

/// Keywords of plays, variables of files.
pub fn file(file: &YamlFile, findings: &mut Findings) {
    if file.kind == Kind::Vars {
        for (key, value) in file.root.as_map().into_iter().flat_map(|map| map.iter()) {
            variable(key.as_str().unwrap_or_default(), value, findings);
        }
    }
    if file.playbook {
        for play in file.root.as_seq().unwrap_or_default().iter().filter_map(Node::as_map) {
            if let Some((key, _)) = play.get_entry("user") {
                said("`user` of a play is deprecated", "remote_user", &key.span, findings);
            }
            for (key, value) in play.get("vars").and_then(Node::as_map).into_iter().flat_map(|map| map.iter()) {
                variable(key.as_str().unwrap_or_default(), value, findings);
            }
        }
    }
}

/// A variable.
pub fn variable(name: &str, value: &Node, findings: &mut Findings) {
    if let Some((_, instead)) = VARIABLES.iter().find(|(old, _)| *old == name) {
        said(&format!("`{name}` is an old name"), instead, &value.span, findings);
    }
}

fn said(what: &str, instead: &str, span: &Span, findings: &mut Findings) {
    let diag = rules::DEPRECATED.breach(what).at(span).with_help(format!("use {instead}"));
    findings.add(&rules::DEPRECATED, diag);
}
