//! YAML inventories: groups of `hosts`, `vars` and `children`.

use std::sync::Arc;

use super::range::expand_host_pattern;
use super::{Inventory, Vars};
use crate::source::{Diag, Diags, Node, NodeValue, Span, did_you_mean};

const SECTIONS: [&str; 3] = ["hosts", "vars", "children"];

/// Adds what a YAML inventory says.
pub(super) fn parse(inventory: &mut Inventory, root: &Node, diags: &mut Diags) {
    if root.is_null() {
        diags.push(Diag::warning("this inventory is empty").at(&root.span));
        return;
    }
    let Some(map) = root.as_map() else {
        diags.push(
            Diag::error(format!("an inventory is a dictionary of groups, and this is {}", root.kind())).at(&root.span),
        );
        return;
    };
    if let Some((key, plugin)) = map.get_entry("plugin") {
        diags.push(
            Diag::error(format!(
                "the inventory plugin `{}` is not available",
                plugin.scalar_text().unwrap_or_default()
            ))
            .at(&key.span)
            .with_help("an executable that prints JSON for `--list` works as an inventory"),
        );
        return;
    }
    for (name, data) in map.iter() {
        group(inventory, name, data, diags);
    }
}

fn group(inventory: &mut Inventory, name: &Node, data: &Node, diags: &mut Diags) -> Option<Arc<str>> {
    let Some(text) = name.scalar_text().filter(|text| !text.is_empty()) else {
        diags.push(Diag::error("a group needs a name").at(&name.span));
        return None;
    };
    let map = match &data.value {
        NodeValue::Null => None,
        NodeValue::Map(map) => Some(map.clone()),
        _ => {
            diags.push(
                Diag::warning(format!(
                    "`{text}` is no group: {} stands where a dictionary of hosts, vars and children should",
                    data.kind()
                ))
                .at(&data.span),
            );
            return None;
        }
    };
    if !inventory.groups.contains_key(text.as_str()) {
        check_group_name(&text, &name.span, diags);
    }
    let this = inventory.add_group(&text, &name.span).name.clone();
    for (key, section) in map.iter().flat_map(|map| map.iter()) {
        let word = key.scalar_text().unwrap_or_default();
        if !SECTIONS.contains(&word.as_str()) {
            if section.is_null() {
                continue;
            }
            // Ansible skips it; what is below it is lost, so say so.
            diags.push(
                Diag::warning(format!(
                    "`{word}` in group `{text}` is skipped: a group has `hosts`, `vars` and `children`"
                ))
                .at(&key.span)
                .suggest(did_you_mean(&word, &SECTIONS)),
            );
            continue;
        }
        // A single name may stand alone.
        let alone = section.as_str().map(|_| {
            Node::map(section.span.clone(), vec![(section.clone(), Node::new(section.span.clone(), NodeValue::Null))])
        });
        let section = alone.as_ref().unwrap_or(section);
        let entries = match &section.value {
            NodeValue::Null => continue,
            NodeValue::Map(entries) => entries,
            _ => {
                let diag = Diag::error(format!("`{word}` must be a dictionary, and this is {}", section.kind()))
                    .label(&section.span, format!("of group `{text}`"));
                diags.push(match section.as_seq() {
                    Some(_) if word != "vars" => diag.with_help("write `name:` instead of `- name`"),
                    _ => diag,
                });
                continue;
            }
        };
        match word.as_str() {
            "vars" => {
                for (key, value) in entries.iter() {
                    if let Some(name) = variable_name(key, diags) {
                        inventory.set_group_var(&this, &name, value.clone(), diags);
                    }
                }
            }
            "children" => {
                for (key, data) in entries.iter() {
                    if let Some(child) = group(inventory, key, data, diags)
                        && let Err(diag) = inventory.add_child(&this, &child, &key.span)
                    {
                        diags.push(diag);
                    }
                }
            }
            _ => {
                for (key, data) in entries.iter() {
                    let vars = match &data.value {
                        NodeValue::Null => Vars::new(),
                        NodeValue::Map(map) => map
                            .iter()
                            .filter_map(|(key, value)| Some((variable_name(key, diags)?, value.clone())))
                            .collect(),
                        _ => {
                            diags.push(
                                Diag::error(format!(
                                    "the variables of a host are a dictionary, and this is {}",
                                    data.kind()
                                ))
                                .at(&data.span),
                            );
                            continue;
                        }
                    };
                    // A number keeps its own spelling: host `010` is not host `8`.
                    let name = if key.as_str().is_some() {
                        key.scalar_text().unwrap_or_default()
                    } else {
                        key.raw().to_owned()
                    };
                    populate(inventory, &name, &key.span, vars, &this, diags);
                }
            }
        }
    }
    Some(this)
}

/// Adds the hosts of an entry, ranges expanded, with their variables.
pub(super) fn populate(
    inventory: &mut Inventory,
    pattern: &str,
    span: &Span,
    vars: Vars,
    group: &str,
    diags: &mut Diags,
) {
    let (names, port) = match expand_host_pattern(pattern) {
        Ok(expanded) => expanded,
        Err(why) => {
            diags.push(Diag::error(why).at(span));
            return;
        }
    };
    let merges = inventory.merge_hashes;
    for name in names {
        let host = inventory.add_host(&name, Some(group), span);
        if port.is_none() && vars.is_empty() {
            continue;
        }
        let all = Arc::make_mut(&mut host.vars);
        if let Some(port) = port {
            all.insert(Arc::from("ansible_port"), Node::new(span.clone(), NodeValue::Int(port.into())));
        }
        for (key, value) in &vars {
            super::set_var(all, key, value, merges);
        }
    }
}

/// The key of a variable; one that no expression can name draws a warning.
pub(super) fn variable_name(key: &Node, diags: &mut Diags) -> Option<Arc<str>> {
    let name = key.as_arc_str().or_else(|| key.scalar_text().map(Arc::from))?;
    let valid = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !valid || key.as_str().is_none() {
        diags.push(
            Diag::warning(format!("`{}` is no name of a variable: no expression can use it", key.raw()))
                .coded("variable-name")
                .at(&key.span)
                .with_note("names are made of letters, digits and underscores, and do not begin with a digit"),
        );
    }
    Some(name)
}

/// Ansible warns of group names that are no identifiers, because `groups.a-b` means a subtraction.
pub(super) fn check_group_name(name: &str, span: &Span, diags: &mut Diags) {
    if name.chars().any(|c| !(c.is_alphanumeric() || c == '_')) || name.starts_with(|c: char| c.is_ascii_digit()) {
        diags.push(
            Diag::warning(format!("group name `{name}` has characters that no variable name can have"))
                .at(span)
                .with_note(format!("expressions must write groups['{name}']")),
        );
    }
}
