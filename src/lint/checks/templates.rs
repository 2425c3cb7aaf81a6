//! Templates that cannot be parsed, and names in them that nobody knows.

use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::{Tree, YamlFile};
use crate::lint::rules;
use crate::lint::walk::{self, Visit};
use crate::playbook::LoopKind;
use crate::source::{Node, NodeValue, SourceFile, Span, did_you_mean};
use crate::template::{Templar, is_template, lookup_names};
use regex_lite::Regex;
use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

/// A lookup by a name that is written out.
#[allow(clippy::unwrap_used)] // written out, and tested
static LOOKUP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\b(?:lookup|query|q)\(\s*(?:'([\w.]+)'|"([\w.]+)")"#).unwrap());

/// Everything of the tree that is a template.
pub fn all(tree: &Tree, templar: &Templar, findings: &mut Findings) {
    let mut other_marks = HashSet::new();
    walk::tasks(tree, &mut |visit| {
        conditions(visit, templar, findings);
        loops(visit, findings);
        other_marks.extend(own_marks(visit));
    });
    for file in &tree.files {
        yaml(file, templar, findings);
    }
    for (path, text) in &tree.templates {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A file with other marks than the usual ones cannot be read with these.
        if path.extension().is_some_and(|end| end == "j2") && !other_marks.contains(&name) {
            file(path, text, templar, findings);
        }
    }
}

fn yaml(file: &YamlFile, templar: &Templar, findings: &mut Findings) {
    if file.kind == Kind::Meta && !file.file.text.contains("{{") {
        return;
    }
    for error in templar.check_node(&file.root) {
        findings.add_diag(error.into_diag(), &rules::JINJA_SYNTAX);
    }
    texts(&file.root, findings);
}

fn texts(node: &Node, findings: &mut Findings) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| texts(item, findings)),
        NodeValue::Map(map) => map.values().for_each(|value| texts(value, findings)),
        NodeValue::Str(text) if text.contains('(') && !node.is_unsafe() && !node.is_vault() => {
            lookups(text, &node.span, findings);
        }
        _ => {}
    }
}

fn file(path: &Path, text: &str, templar: &Templar, findings: &mut Findings) {
    if let Err(error) = templar.check_file(path, text) {
        findings.add_diag(error.into_diag(), &rules::JINJA_SYNTAX);
    }
    if is_template(text) {
        let source = SourceFile::new(path, text);
        for found in LOOKUP.captures_iter(text) {
            let Some(name) = found.get(1).or_else(|| found.get(2)) else { continue };
            unknown(name.as_str(), &Span::new(&source, name.start(), name.end()), findings);
        }
    }
}

fn lookups(text: &str, span: &Span, findings: &mut Findings) {
    for found in LOOKUP.captures_iter(text) {
        let Some(name) = found.get(1).or_else(|| found.get(2)) else { continue };
        // Quotes of YAML may have been taken away: the place is looked for in what was written.
        let place = match span.text().find(found.get(0).map_or("", |all| all.as_str())) {
            Some(at) => {
                let from = at + name.start() - found.get(0).map_or(0, |all| all.start());
                span.part(from, from + name.as_str().len())
            }
            None => span.clone(),
        };
        unknown(name.as_str(), &place, findings);
    }
}

fn unknown(name: &str, span: &Span, findings: &mut Findings) {
    let short = ["ansible.builtin.", "ansible.legacy.", "community.general."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let names = lookup_names();
    if names.contains(&short) {
        return;
    }
    let diag = rules::UNKNOWN_LOOKUP.breach(format!("there is no lookup named `{name}`")).at(span);
    findings.add(&rules::UNKNOWN_LOOKUP, diag.suggest(did_you_mean(short, names.iter().copied())));
}

fn loops(visit: &Visit<'_>, findings: &mut Findings) {
    if let Some(spec) = &visit.task.loop_
        && let LoopKind::With(name) = &spec.kind
    {
        unknown(name, &spec.span, findings);
    }
}

/// Conditions are expressions without braces, which the look at all values passes over.
fn conditions(visit: &Visit<'_>, templar: &Templar, findings: &mut Findings) {
    let task = visit.task;
    let results = task.changed_when.iter().chain(&task.failed_when).flatten();
    let around = visit.around.iter().flat_map(|keywords| &keywords.when);
    let asserted = task.action.arg("that").filter(|_| visit.short() == "assert");
    let asserted: Vec<&Node> = match asserted.map(|node| (node, node.as_seq())) {
        Some((_, Some(items))) => items.iter().collect(),
        Some((node, None)) => vec![node],
        None => Vec::new(),
    };
    let all = task.until.iter().chain(results).chain(around).chain(&task.loop_control.break_when).chain(asserted);
    for node in all {
        let Some(text) = node.as_str() else { continue };
        let checked = if is_template(text) { templar.check_template(text) } else { templar.check_expression(text) };
        if let Err(error) = checked {
            findings.add_diag(error.at(&node.span).into_diag(), &rules::JINJA_SYNTAX);
        }
    }
}

/// The template of a task that gives it marks of its own.
fn own_marks(visit: &Visit<'_>) -> Option<String> {
    let action = &visit.task.action;
    let own = action.args.iter().any(|(key, _)| key.as_str().is_some_and(|key| key.ends_with("_string")));
    let source = action.arg("src").filter(|_| own && visit.short() == "template")?;
    source.as_str()?.rsplit('/').next().map(str::to_owned)
}
