//! `hash_behaviour = merge`: dictionaries of one name are merged from one step of precedence to the next.

use crate::source::{Node, Span};
use crate::template::{Layer, Raw, Value, to_json, unknowns_in};
use minijinja::value::ValueKind;
use std::collections::HashMap;
use std::sync::Arc;

/// What a variable is for whom both layers count: one dictionary out of two, or nothing where the higher one simply stands.
/// What is written as a template is no dictionary, whatever comes of it.
pub fn merge(lower: &Raw, higher: &Raw) -> Option<Raw> {
    let above = dictionary(higher)?;
    match lower {
        // What is to be merged with is not known yet, or never will be.
        Raw::Pending(_) | Raw::Unknown(_) => Some(lower.clone()),
        _ => Some(Raw::Node(dictionary(lower)?.merged(&above))),
    }
}

/// Adds variables to those of the same step.
pub fn extend(layer: &mut Layer, vars: impl IntoIterator<Item = (Arc<str>, Raw)>, merges: bool) {
    for (name, raw) in vars {
        let merged = layer.get(&name).filter(|_| merges).and_then(|known| merge(known, &raw));
        layer.insert(name, merged.unwrap_or(raw));
    }
}

/// A layer to stand above all others: the names to which more than one of them gives a dictionary. Layers of one step replace
/// each other. Results of tasks, which are `results`' values, are no dictionaries to be merged.
pub fn merged(steps: &[&[Arc<Layer>]], results: Option<&Arc<Layer>>) -> Option<Arc<Layer>> {
    let stands = |layer: &Arc<Layer>, raw: &Raw| {
        matches!(raw, Raw::Value(_) | Raw::Pending(_)) && results.is_some_and(|results| Arc::ptr_eq(results, layer))
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        for (layer, name, raw) in step.iter().flat_map(|layer| layer.iter().map(move |(name, raw)| (layer, name, raw)))
        {
            if is_dictionary(raw) && !stands(layer, raw) {
                *seen.entry(name).or_default() += 1;
            }
        }
    }
    let mut above = Layer::new();
    for (name, _) in seen.into_iter().filter(|(_, count)| *count > 1) {
        let of =
            |step: &&[Arc<Layer>]| step.iter().rev().find_map(|layer| Some((layer.clone(), layer.get(name)?.clone())));
        let (mut whole, mut changed): (Option<Raw>, bool) = (None, false);
        for (layer, raw) in steps.iter().filter_map(of) {
            let merged = match stands(&layer, &raw) {
                true => None,
                false => whole.as_ref().and_then(|lower| merge(lower, &raw)),
            };
            changed = merged.is_some();
            // Nothing is merged into a result: the next that is a dictionary replaces it.
            whole = Some(merged.unwrap_or(raw)).filter(|raw| !stands(&layer, raw));
        }
        if let Some(raw) = whole.filter(|_| changed) {
            above.insert(name.into(), raw);
        }
    }
    (!above.is_empty()).then(|| Arc::new(above))
}

fn is_dictionary(raw: &Raw) -> bool {
    match raw {
        Raw::Node(node) => node.as_map().is_some(),
        Raw::Value(value) => value.kind() == ValueKind::Map,
        Raw::Pending(_) | Raw::Unknown(_) => false,
    }
}

fn dictionary(raw: &Raw) -> Option<Node> {
    match raw {
        Raw::Node(node) => node.as_map().is_some().then(|| node.clone()),
        Raw::Value(value) => mergeable(value).then(|| written(value)),
        _ => None,
    }
}

/// Whether a value is a dictionary of which everything is known: one that holds what a check does not know stays as it is.
pub fn mergeable(value: &Value) -> bool {
    value.kind() == ValueKind::Map && unknowns_in(value).is_empty()
}

/// A value as if it had been written, its texts no templates.
pub fn written(value: &Value) -> Node {
    Node::from_json(&Span::generated(), &to_json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Diags, SourceFile, load_yaml};

    fn layer(text: &str) -> Arc<Layer> {
        let node = load_yaml(&SourceFile::new("vars.yml", text), &mut Diags::new()).unwrap();
        let vars = node.as_map().unwrap().iter();
        Arc::new(vars.map(|(key, value)| (key.as_str().unwrap().into(), Raw::Node(value.clone()))).collect())
    }

    /// What becomes of `d` when these steps are merged.
    fn show(steps: &[Vec<Arc<Layer>>], results: Option<&Arc<Layer>>) -> Option<String> {
        let steps: Vec<&[Arc<Layer>]> = steps.iter().map(Vec::as_slice).collect();
        match merged(&steps, results)?.get("d")? {
            Raw::Node(node) => Some(format!("{} {}", node.to_json(), node.has_template())),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn from_step_to_step() {
        let low = || layer("d: {a: {x: 1}, b: [1]}");
        let middle = || layer("d: {a: {y: 2}}");
        let high = || layer("d: {b: [2], c: '{{ z }}'}");
        let text = || layer("d: '{{ {} }}'");
        let whole = show(&[vec![low()], vec![middle()], vec![high()]], None).unwrap();
        assert_eq!(whole, r#"{"a":{"x":1,"y":2},"b":[2],"c":"{{ z }}"} true"#);
        // Within one step the later replaces.
        let one = show(&[vec![low()], vec![middle(), high()]], None).unwrap();
        assert_eq!(one, r#"{"a":{"x":1},"b":[2],"c":"{{ z }}"} true"#);
        // What is no dictionary replaces, and is replaced.
        assert_eq!(show(&[vec![low()], vec![text()], vec![high()]], None), None);
        assert_eq!(show(&[vec![low()], vec![text()]], None), None);
        // Values are no templates; what is still under way is waited for.
        let value = crate::template::from_json(&serde_json::json!({"t": "{{ x }}"}));
        let found = Arc::new(Layer::from_iter([("d".into(), Raw::Value(value))]));
        let with = [vec![middle()], vec![found.clone()]];
        assert_eq!(show(&with, None).unwrap(), r#"{"a":{"y":2},"t":"{{ x }}"} false"#);
        let pending = Arc::new(Layer::from_iter([("d".into(), Raw::Pending(7))]));
        assert_eq!(show(&[vec![low()], vec![pending], vec![high()]], None).unwrap(), "Pending(7)");
        // Results replace, and are replaced.
        assert_eq!(show(&with, Some(&found)), None);
    }
}
