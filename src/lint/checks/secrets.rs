//! Secrets that are shown, or that stand in the tree for everybody to read.

use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::YamlFile;
use crate::lint::rules;
use crate::lint::walk::Visit;
use crate::redact::is_secret_name;
use crate::source::{Node, NodeValue};

/// Modules whose arguments are shown as they are: command lines, contents, messages, requests.
const SHOWING: [&str; 12] = [
    "command",
    "shell",
    "raw",
    "script",
    "expect",
    "uri",
    "get_url",
    "debug",
    "copy",
    "lineinfile",
    "blockinfile",
    "ini_file",
];

pub fn task(visit: &Visit<'_>, findings: &mut Findings) {
    let task = visit.task;
    let arguments = task.action.canonical.and_then(crate::modules::find).map(|module| module.taken());
    let of_secret_type = |name: &str| {
        let known = arguments.iter().flatten().find(|a| a.name == name || a.aliases.iter().any(|alias| alias == name));
        known.is_some_and(|argument| argument.kind.contains("Secret") || argument.kind.contains("Password"))
    };
    for (key, value) in &task.action.args {
        let Some(name) = key.as_str() else { continue };
        if is_secret_name(name) {
            plain(name, value, findings);
        }
    }
    for (name, value) in &task.keywords.vars {
        variable(name, value, findings);
    }
    if visit.is_on(|keywords| keywords.no_log.as_ref()) {
        return;
    }
    if let Some(name) = task.register.as_deref().filter(|name| is_secret_name(name)) {
        let message = format!("the result is registered as `{name}`, and nothing hides it");
        findings.add(&rules::SECRET_NO_LOG, rules::SECRET_NO_LOG.breach(message).at(&task.action.span));
    }
    if SHOWING.contains(&visit.short()) {
        let shown = visit.texts().into_iter().find_map(|node| secret_in(node).map(|name| (node, name)));
        if let Some((node, name)) = shown {
            let message = format!("`{name}` stands in what `{}` shows", task.action.name);
            findings.add(&rules::SECRET_NO_LOG, rules::SECRET_NO_LOG.breach(message).at(&node.span));
        }
    }
    // The items of a loop are shown as they are, unless a label stands for them.
    if task.loop_.is_some() && task.loop_control.label.is_none() {
        let item = task.loop_control.loop_var.as_ref().and_then(Node::as_str).unwrap_or("item");
        let secret = task.action.args.iter().find(|(key, value)| {
            let name = key.as_str().unwrap_or_default();
            let of_item = value.as_str().is_some_and(|text| names_in(text).any(|word| word == item));
            (is_secret_name(name) || of_secret_type(name)) && of_item
        });
        if let Some((key, value)) = secret {
            let message = format!("`{}` comes from the item, and items are shown", key.raw());
            let diag = rules::SECRET_NO_LOG.breach(message).at(&value.span);
            findings.add(&rules::SECRET_NO_LOG, diag.with_help("add `no_log: true`, or a `label` in loop_control"));
        }
    }
}

/// Variables of a file.
pub fn file(file: &YamlFile, findings: &mut Findings) {
    match file.kind {
        Kind::Vars => {
            for (key, value) in file.root.as_map().into_iter().flat_map(|map| map.iter()) {
                variable(key.as_str().unwrap_or_default(), value, findings);
            }
        }
        // Those of plays; tasks bring their own.
        _ if file.playbook => {
            let plays = file.root.as_seq().unwrap_or_default().iter().filter_map(Node::as_map);
            let vars = plays.filter_map(|play| play.get("vars")?.as_map());
            for (key, value) in vars.flat_map(|map| map.iter()) {
                variable(key.as_str().unwrap_or_default(), value, findings);
            }
        }
        _ => {}
    }
}

/// A variable, and what stands below it.
pub fn variable(name: &str, value: &Node, findings: &mut Findings) {
    match &value.value {
        NodeValue::Map(map) if !value.is_vault() => {
            for (key, value) in map.iter() {
                variable(key.as_str().unwrap_or_default(), value, findings);
            }
        }
        NodeValue::Seq(items) => items.iter().for_each(|item| variable(name, item, findings)),
        _ if is_secret_name(name) => plain(name, value, findings),
        _ => {}
    }
}

/// A secret that is written out.
fn plain(name: &str, value: &Node, findings: &mut Findings) {
    let Some(text) = value.as_str() else { return };
    let encrypted = value.is_vault() || value.span.file.sensitive;
    // Hashes can be read by whoever may log in as the user only, and `*` or `!` say that there is none.
    let none = text.trim().is_empty() || ["*", "!", "!!", "omit"].contains(&text) || text.starts_with('$');
    let path = text.starts_with('/') || text.starts_with("~/");
    if encrypted || none || path || is_switch(text) || value.has_template() {
        return;
    }
    // A word of lint's own that is missing would say more than one that is there: `password`, or the variable's name.
    if !rules::speak_of(text) && !name.contains(text) {
        findings.secrets.push(text.to_owned());
    }
    let message = format!("`{name}` is written out");
    findings.add(&rules::PLAIN_SECRET, rules::PLAIN_SECRET.breach(message).at(&value.span));
}

/// Whether a value says yes or no, or counts: `permit_empty_password: "no"`.
fn is_switch(text: &str) -> bool {
    let words = ["yes", "no", "true", "false", "on", "off", "y", "n"];
    words.contains(&text.to_ascii_lowercase().as_str()) || text.len() == 1 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The name of a secret that a template in it mentions.
fn secret_in(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::Seq(items) => items.iter().find_map(secret_in),
        NodeValue::Map(map) => map.values().find_map(secret_in),
        NodeValue::Str(text) if node.is_template() => {
            let mut names = names_in(text);
            names.find(|name| is_secret_name(name)).map(str::to_owned)
        }
        _ => None,
    }
}

/// The words inside `{{ }}` that are no texts in quotes and no options.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).flat_map(|part| {
        let inside = part.split("}}").next().unwrap_or_default();
        let mut words = Vec::new();
        let mut rest = inside;
        while let Some(c) = rest.chars().next() {
            let length = match c {
                '\'' | '"' => rest.get(1..).and_then(|after| after.find(c)).map_or(rest.len(), |at| at + 2),
                c if c.is_alphabetic() || c == '_' => {
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
                }
                c => c.len_utf8(),
            };
            let (word, after) = rest.split_at(length);
            let option = after.trim_start().starts_with('=') && !after.trim_start().starts_with("==");
            // What a test or a length says of a secret is none.
            let told = after.trim_start();
            let judged = told.starts_with("is ") || told.starts_with("| length") || told.starts_with("|length");
            if (c.is_alphabetic() || c == '_') && !option && !judged {
                words.push(word);
            }
            rest = after;
        }
        words
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_of_a_template_are_names_and_no_texts() {
        let words: Vec<&str> =
            super::names_in("a {{ db_password | default('my_secret') }} {{ x(token=1) }} {{ p is defined }}").collect();
        assert_eq!(words, ["db_password", "default", "x", "is", "defined"]);
    }
}
