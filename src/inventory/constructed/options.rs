//! What a constructed source says.

use std::sync::Arc;

use crate::inventory::Vars;
use crate::source::{Diag, Diags, Mapping, Node, NodeValue, did_you_mean, parse_bool};

const OPTIONS: [&str; 8] = [
    "plugin",
    "strict",
    "compose",
    "groups",
    "keyed_groups",
    "use_vars_plugins",
    "use_extra_vars",
    "leading_separator",
];

const KEYED: [&str; 6] = ["key", "prefix", "separator", "parent_group", "default_value", "trailing_separator"];

/// The options of a source.
pub(super) struct Options {
    /// An expression that fails is an error.
    pub strict: bool,
    /// Variables and their expressions.
    pub compose: Vars,
    /// Groups and their conditions.
    pub groups: Vars,
    /// Groups named by values.
    pub keyed_groups: Vec<Keyed>,
    /// `group_vars/` and `host_vars/` beside earlier sources are seen.
    pub use_vars_plugins: bool,
    /// `--extra-vars` are seen.
    pub use_extra_vars: bool,
    /// A group without a prefix begins with its separator.
    pub leading_separator: bool,
}

/// An entry of `keyed_groups`.
pub(super) struct Keyed {
    /// The expression that gives the names.
    pub key: Node,
    /// What they begin with.
    pub prefix: String,
    /// What stands behind the prefix, and between key and value of a dictionary.
    pub separator: String,
    /// The group above them: a template.
    pub parent_group: Option<Node>,
    /// What an empty value is called.
    pub default_value: Option<String>,
    /// Whether the separator stays where a dictionary's value is empty.
    pub trailing_separator: bool,
}

impl Options {
    /// Reads a source; nothing if it cannot be used.
    pub fn read(root: &Node, diags: &mut Diags) -> Option<Options> {
        let map = root.as_map()?;
        warn_of_unknown(map, &OPTIONS, diags);
        let before = diags.errors().count();
        let options = Options {
            strict: flag(map, "strict", false, diags),
            compose: dictionary(map, "compose", diags),
            groups: dictionary(map, "groups", diags),
            keyed_groups: entries(map, diags),
            use_vars_plugins: flag(map, "use_vars_plugins", false, diags),
            use_extra_vars: flag(map, "use_extra_vars", false, diags),
            leading_separator: flag(map, "leading_separator", true, diags),
        };
        (diags.errors().count() == before).then_some(options)
    }
}

fn warn_of_unknown(map: &Mapping, known: &[&str], diags: &mut Diags) {
    for key in map.keys() {
        let name = key.scalar_text().unwrap_or_default();
        if !known.contains(&name.as_str()) {
            let near = did_you_mean(&name, known);
            diags.push(
                Diag::warning(format!("constructed inventories have no option `{name}`")).at(&key.span).suggest(near),
            );
        }
    }
}

fn given<'m>(map: &'m Mapping, name: &str) -> Option<&'m Node> {
    map.get(name).filter(|node| !node.is_null())
}

fn wrong(node: &Node, name: &str, expected: &str) -> Diag {
    Diag::error(format!("`{name}` must be {expected}, and this is {}", node.kind())).at(&node.span)
}

fn flag(map: &Mapping, name: &str, default: bool, diags: &mut Diags) -> bool {
    let Some(node) = given(map, name) else { return default };
    let read = node.as_bool().or_else(|| parse_bool(&node.scalar_text()?));
    if read.is_none() {
        diags.push(wrong(node, name, "true or false"));
    }
    read.unwrap_or(default)
}

fn dictionary(map: &Mapping, name: &str, diags: &mut Diags) -> Vars {
    let Some(node) = given(map, name) else { return Vars::new() };
    let NodeValue::Map(entries) = &node.value else {
        diags.push(wrong(node, name, "a dictionary"));
        return Vars::new();
    };
    let text = |key: &Node| key.as_arc_str().or_else(|| key.scalar_text().map(Arc::from));
    entries.iter().filter_map(|(key, value)| Some((text(key)?, value.clone()))).collect()
}

fn entries(map: &Mapping, diags: &mut Diags) -> Vec<Keyed> {
    let Some(node) = given(map, "keyed_groups") else { return Vec::new() };
    let Some(items) = node.as_seq() else {
        diags.push(wrong(node, "keyed_groups", "a list"));
        return Vec::new();
    };
    items.iter().filter_map(|item| entry(item, diags)).collect()
}

fn entry(item: &Node, diags: &mut Diags) -> Option<Keyed> {
    let Some(map) = item.as_map().filter(|map| !map.is_empty()) else {
        diags.push(wrong(item, "an entry of keyed_groups", "a dictionary with `key`"));
        return None;
    };
    warn_of_unknown(map, &KEYED, diags);
    if let (Some(_), Some((key, _))) = (given(map, "default_value"), map.get_entry("trailing_separator")) {
        diags.push(Diag::error("`default_value` and `trailing_separator` exclude each other").at(&key.span));
        return None;
    }
    let mut text = |name: &str| {
        let node = given(map, name)?;
        let text = node.scalar_text();
        if text.is_none() {
            diags.push(wrong(node, name, "a text"));
        }
        text
    };
    let (prefix, separator, default_value) = (text("prefix"), text("separator"), text("default_value"));
    let Some(key) = given(map, "key") else {
        diags.push(Diag::error("an entry of keyed_groups needs `key`, an expression").at(&item.span));
        return None;
    };
    Some(Keyed {
        key: key.clone(),
        prefix: prefix.unwrap_or_default(),
        separator: separator.unwrap_or_else(|| "_".to_owned()),
        parent_group: given(map, "parent_group").cloned(),
        default_value,
        trailing_separator: flag(map, "trailing_separator", true, diags),
    })
}
