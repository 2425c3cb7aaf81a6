//! INI inventories, by the rules of Ansible's `ini` plugin.

use std::sync::Arc;

use indexmap::IndexMap;

use super::literal::python_literal;
use super::yaml::populate;
use super::{Inventory, Vars};
use crate::source::{Diag, Diags, Node, SourceFile, Span};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Section {
    Hosts,
    Children,
    Vars,
}

/// Adds what an INI file says to the inventory.
pub(super) fn parse(inventory: &mut Inventory, file: &Arc<SourceFile>, diags: &mut Diags) {
    // Groups that were used before their own section; they must appear somewhere.
    let mut pending: IndexMap<Arc<str>, (Section, Span)> = IndexMap::new();
    let mut children: Vec<(Arc<str>, Arc<str>, Span)> = Vec::new();
    let mut variables: Vec<(Arc<str>, Arc<str>, Node)> = Vec::new();
    let mut declared: Vec<Arc<str>> = vec![Arc::from("all"), Arc::from("ungrouped")];
    let mut group: Arc<str> = Arc::from("ungrouped");
    let mut section = Section::Hosts;
    let mut offset = 0;
    for raw in file.text.split_inclusive('\n') {
        let line = raw.trim();
        let start = offset + (raw.len() - raw.trim_start().len());
        offset += raw.len();
        let span = Span::new(file, start, start + line.len());
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        match section_header(line) {
            Some(Ok((name, kind))) => {
                group = Arc::from(name);
                section = kind;
                let name_span = span.part(1, 1 + name.len());
                if kind != Section::Vars || inventory.groups.contains_key(&group) {
                    if !inventory.groups.contains_key(&group) {
                        super::yaml::check_group_name(name, &name_span, diags);
                    }
                    inventory.add_group(name, &name_span);
                    declared.push(group.clone());
                } else {
                    pending.entry(group.clone()).or_insert((Section::Vars, name_span));
                }
                continue;
            }
            Some(Err(kind)) => {
                diags.push(
                    Diag::error(format!("a section is of `hosts`, `children` or `vars`, not of `{kind}`")).at(&span),
                );
                continue;
            }
            None if line.starts_with('[') && line.ends_with(']') && !line.contains(['=', ' '])
                || line.starts_with('[') && line.ends_with(']') && line.contains(' ') =>
            {
                diags.push(
                    Diag::error(format!("`{line}` is no section"))
                        .at(&span)
                        .with_help("write it without spaces, as [group], [group:children] or [group:vars]"),
                );
                continue;
            }
            None => {}
        }
        match section {
            Section::Hosts => host_line(inventory, &group, &span, diags),
            Section::Vars => {
                let Some((key, value)) = line.split_once('=') else {
                    diags.push(Diag::error(format!("a variable is written `name=value`, not `{line}`")).at(&span));
                    continue;
                };
                let shift = key.len() + 1 + (value.len() - value.trim_start().len());
                let value_span = span.part(shift, line.len());
                let node = parse_value(&value_span, value.trim());
                variables.push((group.clone(), Arc::from(key.trim()), node));
            }
            Section::Children => {
                let name = line.split(['#', ';']).next().unwrap_or_default().trim();
                if name.is_empty() || name.contains(char::is_whitespace) {
                    diags.push(Diag::error(format!("`{line}` is no group name")).at(&span));
                    continue;
                }
                let child: Arc<str> = Arc::from(name);
                let span = span.part(0, name.len());
                if !inventory.groups.contains_key(&child) {
                    pending.entry(child.clone()).or_insert((Section::Children, span.clone()));
                }
                children.push((group.clone(), child, span));
            }
        }
    }
    for (name, (kind, span)) in pending {
        if inventory.groups.contains_key(&name) {
            continue;
        }
        let message = match kind {
            Section::Vars => format!("variables for a group that is not defined: `{name}`"),
            _ => format!("a child that is not defined: `{name}`"),
        };
        let near = crate::source::did_you_mean(&name, declared.iter());
        diags.push(Diag::error(message).at(&span).suggest(near));
    }
    for (parent, child, span) in children {
        if inventory.groups.contains_key(&child)
            && let Err(diag) = inventory.add_child(&parent, &child, &span)
        {
            diags.push(diag);
        }
    }
    for (group, key, value) in variables {
        inventory.set_group_var(&group, &key, value, diags);
    }
}

/// `[name]` or `[name:kind]`, perhaps with a comment behind it.
fn section_header(line: &str) -> Option<Result<(&str, Section), &str>> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    let after = after.trim_start();
    if !(after.is_empty() || after.starts_with('#')) || inside.contains(char::is_whitespace) {
        return None;
    }
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => (name, kind),
        None => (inside, "hosts"),
    };
    if name.is_empty() || kind.is_empty() || !kind.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    Some(match kind {
        "hosts" => Ok((name, Section::Hosts)),
        "children" => Ok((name, Section::Children)),
        "vars" => Ok((name, Section::Vars)),
        other => Err(other),
    })
}

fn host_line(inventory: &mut Inventory, group: &str, span: &Span, diags: &mut Diags) {
    let tokens = match shell_words(span.text()) {
        Ok(tokens) => tokens,
        Err(why) => {
            diags.push(Diag::error(why).at(span));
            return;
        }
    };
    let mut tokens = tokens.into_iter();
    let Some((name, from, to)) = tokens.next() else { return };
    let name_span = span.part(from, to);
    if name == "---" {
        diags.push(
            Diag::error("`---` is no host: this looks like YAML")
                .at(&name_span)
                .with_help("give the file the ending .yml"),
        );
        return;
    }
    let mut vars = Vars::new();
    let mut told = false;
    for (token, from, to) in tokens {
        let span = span.part(from, to);
        let Some((key, value)) = token.split_once('=') else {
            // One for a line: each shows it whole, and where the first is wrong the others seldom say more.
            if !std::mem::replace(&mut told, true) {
                diags.push(Diag::error(format!("behind a host stand `name=value` pairs, not `{token}`")).at(&span));
            }
            continue;
        };
        let shift = span.text().find('=').map_or(0, |at| at + 1);
        vars.insert(Arc::from(key), parse_value(&span.part(shift, to - from), value));
    }
    populate(inventory, &name, &name_span, vars, group, diags);
}

/// A Python literal if it is one, otherwise the text.
fn parse_value(span: &Span, text: &str) -> Node {
    python_literal(span, text).unwrap_or_else(|| Node::string(span.clone(), text))
}

/// Words as Python's `shlex.split(line, comments=True)` finds them, with their places.
pub(super) fn shell_words(line: &str) -> Result<Vec<(String, usize, usize)>, String> {
    let mut words = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let mut chars = line.char_indices();
    let mut end = line.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '#' => {
                end = at;
                break;
            }
            c if c.is_whitespace() => {
                if let Some((text, start)) = word.take() {
                    words.push((text, start, at));
                }
            }
            '\\' => {
                let (text, _) = word.get_or_insert_with(|| (String::new(), at));
                match chars.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => return Err("a backslash at the end of the line escapes nothing".into()),
                }
            }
            '"' | '\'' => {
                let (text, _) = word.get_or_insert_with(|| (String::new(), at));
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed")),
                        Some((_, q)) if q == c => break,
                        Some((_, '\\')) if c == '"' => match chars.next() {
                            Some((_, e @ ('"' | '\\'))) => text.push(e),
                            Some((_, e)) => {
                                text.push('\\');
                                text.push(e);
                            }
                            None => return Err(format!("the quote {c} is not closed")),
                        },
                        Some((_, other)) => text.push(other),
                    }
                }
            }
            c => word.get_or_insert_with(|| (String::new(), at)).0.push(c),
        }
    }
    if let Some((text, start)) = word {
        words.push((text, start, end));
    }
    Ok(words)
}
