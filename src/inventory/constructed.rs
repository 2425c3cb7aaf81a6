//! `plugin: constructed`: variables and groups made out of what earlier sources say of the hosts.

mod options;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value as Json;

use self::options::{Keyed, Options};
use super::{Group, HostName, Inventory};
use crate::source::{Diag, Diags, Node, Span, VaultHook};
use crate::template::{Layer, Raw, Scope, Templar, TemplateError, Value, display, from_json, is_omit, to_json};

/// What earlier runs found out about a host.
pub type KnownFacts = dyn Fn(&str) -> Layer + Send + Sync;

/// What the expressions of constructed sources are evaluated with.
#[derive(Clone, Default)]
pub struct Constructing {
    /// Evaluates them.
    pub templar: Templar,
    /// `--extra-vars`, for sources with `use_extra_vars`.
    pub extra: Arc<Layer>,
    /// The facts that are kept between runs, if there are any.
    pub facts: Option<Arc<KnownFacts>>,
    /// Dictionaries of one name are merged, not replaced (`hash_behaviour`).
    pub merge_hashes: bool,
}

/// Whether a source is one of this plugin.
pub(super) fn is_constructed(plugin: &Node) -> bool {
    matches!(plugin.as_str(), Some("constructed" | "ansible.builtin.constructed"))
}

/// Adds what a constructed source makes of the hosts that are there. The first error ends it.
pub(super) fn apply(inventory: &mut Inventory, root: &Node, with: &Constructing, vault: &VaultHook, diags: &mut Diags) {
    let Some(options) = Options::read(root, diags) else { return };
    inventory.set_depths();
    if options.use_vars_plugins {
        inventory.load_vars(None, vault, diags);
    }
    let hosts: Vec<HostName> = inventory.hosts.keys().cloned().collect();
    for host in &hosts {
        if let Err(diag) = construct(inventory, host, &options, with) {
            diags.push(*diag);
            return;
        }
    }
}

type Made<T = ()> = Result<T, Box<Diag>>;

fn construct(inventory: &mut Inventory, host: &HostName, options: &Options, with: &Constructing) -> Made {
    let extended = |scope: &Scope| match options.use_extra_vars {
        true => scope.with(with.extra.clone()),
        false => scope.clone(),
    };
    // No variable of `compose` sees another of the same source; the groups see all of them.
    let scope = extended(&scope(inventory, host, options, with));
    for (name, expression) in &options.compose {
        let found = evaluate(with, expression, &scope);
        if let Some(value) = kept(found, options, || format!("`{name}` of host {host} cannot be made"))? {
            let node = Node::from_json(&expression.span, &to_json(&value));
            let this = inventory.add_host(host.as_str(), None, &expression.span);
            Arc::make_mut(&mut this.vars).insert(name.clone(), node);
        }
    }
    let plain = self::scope(inventory, host, options, with);
    for (name, condition) in &options.groups {
        let found = holds(with, condition, &plain);
        let wanted = kept(found, options, || format!("whether host {host} is in group `{name}` cannot be said"))?;
        if wanted == Some(true) {
            inventory.add_host(host.as_str(), Some(&safe_name(name)), &condition.span);
        }
    }
    let scope = extended(&plain);
    for keyed in &options.keyed_groups {
        add_keyed(inventory, host, keyed, options, with, &scope)?;
    }
    Ok(())
}

/// What an expression gave. A failure is an error in a strict source, and nothing in another.
fn kept<T>(found: Made<T>, options: &Options, what: impl Fn() -> String) -> Made<Option<T>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(mut diag) if options.strict => {
            diag.message = format!("{}: {}", what(), diag.message);
            Err(diag)
        }
        Err(_) => Ok(None),
    }
}

fn evaluate(with: &Constructing, node: &Node, scope: &Scope) -> Made<Value> {
    let Some(text) = node.as_str() else {
        let diag = Diag::error(format!("an expression is a text, and this is {}", node.kind())).at(&node.span);
        return Err(Box::new(diag.with_help("put it in quotes")));
    };
    let evaluated = with.templar.expression_at(text, &node.span, scope);
    settled(evaluated.map(|found| (found.is_known(), found.value)), &node.span)
}

fn holds(with: &Constructing, node: &Node, scope: &Scope) -> Made<bool> {
    let found = with.templar.condition(node, scope);
    let value = settled(found.map(|found| (found.is_known(), Value::from(found.value))), &node.span)?;
    Ok(value.is_true())
}

fn settled(found: Result<(bool, Value), TemplateError>, span: &Span) -> Made<Value> {
    match found {
        Ok((true, value)) if !is_omit(&value) => Ok(value),
        Ok((true, _)) => Err(Box::new(Diag::error("it is omitted").at(span))),
        Ok((false, _)) => Err(Box::new(Diag::error("it depends on what only a run knows").at(span))),
        Err(error) => {
            let diag = error.into_diag();
            Err(Box::new(if diag.span().is_some() { diag } else { diag.at(span) }))
        }
    }
}

/// What expressions see of a host: its variables and its names, as far as the sources up to now say them.
fn scope(inventory: &Inventory, host: &HostName, options: &Options, with: &Constructing) -> Scope {
    let layer = |vars: &super::Vars| -> Arc<Layer> {
        Arc::new(vars.iter().map(|(name, node)| (name.clone(), Raw::Node(node.clone()))).collect())
    };
    let groups = groups_of(inventory, host);
    let mut layers: Vec<Arc<Layer>> = groups.iter().map(|group| layer(&group.vars)).collect();
    let dirs = || inventory.inventory_dirs.iter().filter(|_| options.use_vars_plugins);
    for dir in dirs() {
        layers.extend(groups.iter().filter_map(|group| dir.group(&group.name)).map(|vars| layer(vars)));
    }
    let mut magic = Layer::new();
    if let Some(this) = inventory.hosts.get(host) {
        let path = std::path::absolute(&this.span.file.path).ok().filter(|path| path.exists());
        let text = |path: Option<&std::path::Path>| {
            Raw::Value(path.map_or(Value::from(()), |path| Value::from(path.to_string_lossy().into_owned())))
        };
        magic.insert("inventory_file".into(), text(path.as_deref()));
        magic.insert("inventory_dir".into(), text(path.as_deref().and_then(std::path::Path::parent)));
        layers.push(Arc::new(std::mem::take(&mut magic)));
        layers.push(layer(&this.vars));
    }
    let name = host.as_str();
    let short = match name.parse::<std::net::IpAddr>() {
        Ok(_) => name,
        Err(_) => name.split('.').next().unwrap_or(name),
    };
    let mut names: Vec<&str> = groups.iter().map(|group| &*group.name).filter(|group| *group != "all").collect();
    names.sort_unstable();
    magic.insert("inventory_hostname".into(), Raw::Value(Value::from(name)));
    magic.insert("inventory_hostname_short".into(), Raw::Value(Value::from(short)));
    magic.insert("group_names".into(), Raw::Value(names.into_iter().map(Value::from).collect()));
    layers.push(Arc::new(magic));
    layers.extend(dirs().filter_map(|dir| dir.host(name)).map(|vars| layer(vars)));
    layers.extend(with.facts.iter().map(|facts| Arc::new(facts(name))));
    Scope::from_layers(&with.templar, layers)
}

/// The groups of a host, the weakest first. That every group is below `all` is settled after the last source: until then
/// `all` counts only where a source says so.
fn groups_of<'i>(inventory: &'i Inventory, host: &HostName) -> Vec<&'i Group> {
    let mut names: indexmap::IndexSet<Arc<str>> = indexmap::IndexSet::new();
    for group in inventory.hosts.get(host).iter().flat_map(|host| &host.groups) {
        names.extend(inventory.ancestors(group));
        names.insert(group.clone());
    }
    let mut groups: Vec<&Group> = names.iter().filter_map(|name| inventory.groups.get(name)).collect();
    groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
    groups
}

fn add_keyed(
    inventory: &mut Inventory,
    host: &HostName,
    keyed: &Keyed,
    options: &Options,
    with: &Constructing,
    scope: &Scope,
) -> Made {
    let found = evaluate(with, &keyed.key, scope);
    let Some(value) = kept(found, options, || format!("host {host} has no key to be grouped by"))? else {
        return Ok(());
    };
    let value = to_json(&value);
    let Some(names) = keyed_names(keyed, &value).map_err(|why| Box::new(Diag::error(why).at(&keyed.key.span)))? else {
        let empty_list = matches!(&value, Json::Array(_) | Json::Object(_));
        return match options.strict && !empty_list {
            true => Err(Box::new(Diag::error(format!("the key of host {host} is empty")).at(&keyed.key.span))),
            false => Ok(()),
        };
    };
    let parent = match &keyed.parent_group {
        None => None,
        Some(node) => match parent_name(with, node, scope) {
            Ok(name) => name,
            Err(diag) => {
                kept::<()>(Err(diag), options, || format!("the parent of the group of host {host} cannot be named"))?;
                return Ok(());
            }
        },
    };
    let separator = match keyed.prefix.is_empty() && !options.leading_separator {
        true => "",
        false => &keyed.separator,
    };
    let span = &keyed.key.span;
    for name in names {
        let group = safe_name(&format!("{}{separator}{name}", keyed.prefix));
        inventory.add_host(host.as_str(), Some(&group), span);
        if let Some(parent) = &parent {
            let parent = safe_name(parent);
            inventory.add_group(&parent, span);
            inventory.add_child(&parent, &group, span).map_err(Box::new)?;
        }
    }
    Ok(())
}

fn parent_name(with: &Constructing, node: &Node, scope: &Scope) -> Made<Option<String>> {
    let found = with.templar.template_node(node, scope).map(|found| (found.is_known(), found.value));
    if let Ok((true, value)) = &found
        && is_omit(value)
    {
        return Ok(None);
    }
    Ok(Some(display(&settled(found, &node.span)?)).filter(|name| !name.is_empty()))
}

/// The names of the groups that a key gives, without the prefix; nothing for an empty key.
fn keyed_names(keyed: &Keyed, key: &Json) -> Result<Option<Vec<String>>, String> {
    let empty = |value: &Json| value.is_null() || value.as_str() == Some("");
    if let (true, Some(name)) = (empty(key), &keyed.default_value) {
        return Ok(Some(vec![name.clone()]));
    }
    let or_default = |value: &Json| match (&keyed.default_value, empty(value)) {
        (Some(name), true) => name.clone(),
        _ => text_of(value),
    };
    Ok(Some(match key {
        Json::Null | Json::Bool(false) => return Ok(None),
        Json::Number(number) if number.as_f64() == Some(0.0) => return Ok(None),
        Json::String(text) if text.is_empty() => return Ok(None),
        Json::Array(items) if items.is_empty() => return Ok(None),
        Json::Object(map) if map.is_empty() => return Ok(None),
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => items.iter().map(or_default).collect(),
        Json::Object(map) => map
            .iter()
            .map(|(name, value)| match empty(value) && keyed.default_value.is_none() && !keyed.trailing_separator {
                true => name.clone(),
                false => format!("{name}{}{}", keyed.separator, or_default(value)),
            })
            .collect(),
        Json::Bool(_) | Json::Number(_) => {
            return Err(format!("a key of groups is a text, a list or a dictionary, and not `{}`", text_of(key)));
        }
    }))
}

/// As Python's `str()` prints it.
fn text_of(value: &Json) -> String {
    if value.is_null() { "None".to_owned() } else { display(&from_json(value)) }
}

/// A group's name as Ansible makes it of any text: what no name of a variable may have becomes `_`.
pub(super) fn safe_name(name: &str) -> String {
    let fits = |(at, c): (usize, char)| c == '_' || if at == 0 { c.is_alphabetic() } else { c.is_alphanumeric() };
    name.chars().enumerate().map(|(at, c)| if fits((at, c)) { c } else { '_' }).collect()
}
