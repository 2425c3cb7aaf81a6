//! Handlers that nobody has, and handlers that nobody notifies.

use crate::lint::finding::Findings;
use crate::lint::load::Tree;
use crate::lint::rules;
use crate::lint::walk;
use crate::playbook::{Play, Step, Task};
use crate::source::{Node, NodeValue, Severity, did_you_mean};
use std::collections::BTreeSet;

/// Names that handlers answer to.
#[derive(Default)]
struct Names {
    known: BTreeSet<String>,
    /// Not all can be known by reading: a name is a template, or a file of handlers is included.
    uncertain: bool,
}

impl Names {
    fn add(&mut self, steps: &[Step]) {
        walk::steps(steps, None, &[], &mut |visit| {
            let task = visit.task;
            for node in task.name.iter().chain(&task.listen) {
                let Some(name) = node.scalar_text() else { continue };
                self.uncertain |= node.is_template();
                if let Some(role) = &task.role {
                    self.known.insert(format!("{} : {name}", role.name));
                }
                self.known.insert(name);
            }
            self.uncertain |= visit.short().starts_with("include_");
        });
    }
}

pub fn all(tree: &Tree, findings: &mut Findings) {
    let mut everywhere = Names::default();
    let plays: Vec<&Play> = tree.playbooks.iter().flat_map(|book| book.plays.iter().map(|play| &**play)).collect();
    plays.iter().for_each(|play| everywhere.add(&play.handlers));
    tree.loose.iter().for_each(|loose| everywhere.add(&loose.handlers));
    for play in &plays {
        let mut names = Names::default();
        names.add(&play.handlers);
        let mut dynamic = false;
        walk::of_play(play, &mut |visit| dynamic |= visit.short().starts_with("include_"));
        // What an included role, or a role that included tasks include, brings along is looked for in the whole tree.
        let (names, severity) = match dynamic {
            true => (&everywhere, Severity::Warning),
            false => (&names, Severity::Error),
        };
        walk::of_play(play, &mut |visit| missing(visit.task, names, severity, findings));
    }
    for loose in &tree.loose {
        for steps in [&loose.steps, &loose.handlers] {
            walk::steps(steps, None, &[], &mut |visit| missing(visit.task, &everywhere, Severity::Warning, findings));
        }
    }
    unused(tree, findings);
}

fn missing(task: &Task, names: &Names, severity: Severity, findings: &mut Findings) {
    if names.uncertain {
        return;
    }
    for node in &task.notify {
        let Some(name) = node.scalar_text().filter(|_| !node.is_template()) else { continue };
        if names.known.contains(&name) {
            continue;
        }
        let mut diag = rules::HANDLER_MISSING.breach(format!("there is no handler `{name}`")).at(&node.span);
        diag.severity = severity;
        findings.add(&rules::HANDLER_MISSING, diag.suggest(did_you_mean(&name, &names.known)));
    }
}

fn unused(tree: &Tree, findings: &mut Findings) {
    let mut notified = BTreeSet::new();
    let mut uncertain = false;
    for file in &tree.files {
        collect(&file.root, &mut notified, &mut uncertain);
    }
    if uncertain {
        return;
    }
    walk::tasks(tree, &mut |visit| {
        let task = visit.task;
        let Some(name) = task.name.as_ref().filter(|name| task.handler && !name.is_template()) else { return };
        let role = task.role.as_ref().map(|role| format!("{} : ", role.name)).unwrap_or_default();
        let answers = |node: &Node| {
            let text = node.scalar_text().unwrap_or_default();
            node.is_template() || notified.contains(&text) || notified.contains(&format!("{role}{text}"))
        };
        if !std::iter::once(name).chain(&task.listen).any(answers) {
            let message = format!("nothing notifies the handler `{}`", name.scalar_text().unwrap_or_default());
            findings.add(&rules::HANDLER_UNUSED, rules::HANDLER_UNUSED.breach(message).at(&name.span));
        }
    });
}

/// What is notified anywhere, also in files that no play reaches by reading.
fn collect(node: &Node, notified: &mut BTreeSet<String>, uncertain: &mut bool) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| collect(item, notified, uncertain)),
        NodeValue::Map(map) => {
            for (key, value) in map.iter() {
                if key.as_str() != Some("notify") {
                    collect(value, notified, uncertain);
                    continue;
                }
                let one = std::slice::from_ref(value);
                for name in value.as_seq().unwrap_or(one) {
                    *uncertain |= name.is_template();
                    notified.extend(name.scalar_text());
                }
            }
        }
        _ => {}
    }
}
