//! What can be known by reading: template syntax in tasks and in template files that are named literally. A filter or
//! test that does not exist is a mistake where the task runs for certain; behind a condition it may never be needed.

use crate::playbook::{Block, Play, Playbook, Step, Task};
use crate::source::{Diag, Diags, Node};
use crate::template::{Templar, TemplateError, TemplateErrorKind};
use std::path::PathBuf;

/// Checks the templates of all plays without evaluating any.
pub fn check(playbooks: &[Playbook], templar: &Templar, diags: &mut Diags) {
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        for (_, node) in &play.keywords.vars {
            values(node, templar, diags);
        }
        if let Some(rolling) = &play.rolling {
            let nodes =
                [&rolling.order, &rolling.max_unavailable, &rolling.group, &rolling.window, &rolling.datacenter];
            nodes.into_iter().flatten().chain(&rolling.soak).for_each(|node| values(node, templar, diags));
            rolling.when.iter().for_each(|node| condition(node, templar, diags));
            rolling.gate.iter().for_each(|gate| walk(&gate.steps, play, true, templar, diags));
        }
        for steps in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
            walk(steps, play, true, templar, diags);
        }
    }
}

/// `certain`: no condition above decides whether these steps are taken.
fn walk(steps: &[Step], play: &Play, certain: bool, templar: &Templar, diags: &mut Diags) {
    for step in steps {
        match step {
            Step::Task(task) => check_task(task, play, certain, templar, diags),
            Step::Block(block) => check_block(block, play, certain, templar, diags),
        }
    }
}

fn check_block(block: &Block, play: &Play, certain: bool, templar: &Templar, diags: &mut Diags) {
    keywords(&block.keywords, templar, diags);
    let certain = certain && block.keywords.when.is_empty();
    for steps in [&block.block, &block.rescue, &block.always] {
        walk(steps, play, certain, templar, diags);
    }
}

fn keywords(keywords: &crate::playbook::Keywords, templar: &Templar, diags: &mut Diags) {
    for (_, node) in &keywords.vars {
        values(node, templar, diags);
    }
    for node in &keywords.when {
        condition(node, templar, diags);
    }
}

fn check_task(task: &Task, play: &Play, certain: bool, templar: &Templar, diags: &mut Diags) {
    let certain = certain && task.keywords.when.is_empty();
    keywords(&task.keywords, templar, diags);
    let results = task.changed_when.iter().chain(&task.failed_when).flatten();
    for node in task.until.iter().chain(results) {
        condition(node, templar, diags);
    }
    let written = task.action.args.iter().map(|(_, node)| node).chain(&task.action.free_form);
    for node in written.chain(task.loop_.as_ref().map(|spec| &spec.expr)) {
        let counts = |error: &TemplateError| certain || error.kind != TemplateErrorKind::UnknownName;
        templar.check_node(node).into_iter().filter(counts).for_each(|error| diags.push(error.into_diag()));
    }
    if task.action.is("ansible.builtin.template")
        && let Some(source) = task.action.arg("src").filter(|node| !node.has_template())
    {
        template_file(task, play, certain, source, templar, diags);
    }
}

/// The file of a `template` task, if it is named literally: missing files are the task's affair when it may not run.
fn template_file(task: &Task, play: &Play, certain: bool, source: &Node, templar: &Templar, diags: &mut Diags) {
    let name = source.scalar_text().unwrap_or_default();
    let mut roots: Vec<PathBuf> = Vec::new();
    roots.extend(task.role.as_ref().map(|role| role.path.clone()));
    roots.push(task.directory.clone());
    roots.push(play.directory.clone());
    let candidates = roots.iter().flat_map(|root| [root.join("templates").join(&name), root.join(&name)]);
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else { return };
    // A file with other markers than the usual ones cannot be checked with them.
    if task.action.args.iter().any(|(key, _)| key.as_str().is_some_and(|key| key.ends_with("_string"))) {
        return;
    }
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    if let Err(error) = templar.check_file(&path, &text)
        && (certain || error.kind != TemplateErrorKind::UnknownName)
    {
        let user = match task.name.as_ref().and_then(Node::scalar_text) {
            Some(name) => format!("used by the task `{name}`"),
            None => "used here".to_string(),
        };
        diags.push(error.into_diag().label(&source.span, user));
    }
}

fn values(node: &Node, templar: &Templar, diags: &mut Diags) {
    for error in templar.check_node(node) {
        diags.push(error.into_diag());
    }
}

fn condition(node: &Node, templar: &Templar, diags: &mut Diags) {
    let Some(text) = node.as_str() else { return };
    let checked =
        if crate::template::is_template(text) { templar.check_template(text) } else { templar.check_expression(text) };
    if let Err(error) = checked {
        diags.push(Diag { ..error.at(&node.span).into_diag() });
    }
}
