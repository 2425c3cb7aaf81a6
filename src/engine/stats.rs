//! What tasks keep for the end of a run (`set_stats`, and every result with `ansible_stats`), as Ansible gathers it.

use super::call::{Call, Trouble};
use crate::modules::Outcome;
use crate::modules::control::SetStats;
use crate::source::is_variable_name;
use serde_json::{Map, Value, json};
use std::sync::Mutex;

/// Under this name stands what is no single host's.
const RUN: &str = "_run";

/// The values of a run: by host, or for the run itself.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Map<String, Value>>);

impl Stats {
    /// Takes up what a result, or the results of a loop's items, say.
    pub fn gather(&self, host: &str, result: &Map<String, Value>) {
        let items = result.get("results").and_then(Value::as_array);
        let several = items.into_iter().flatten().filter_map(Value::as_object);
        for said in std::iter::once(result).chain(several).filter_map(|result| result.get("ansible_stats")) {
            let Some(data) = said.get("data").and_then(Value::as_object) else { continue };
            let flag = |name: &str| said.get(name).and_then(Value::as_bool);
            // A module that does not say is taken for each host, as Ansible does.
            let whose = if flag("per_host").unwrap_or(true) { host } else { RUN };
            let mut all = self.0.lock().unwrap_or_else(|p| p.into_inner());
            let Some(own) = all.entry(whose).or_insert_with(|| json!({})).as_object_mut() else { continue };
            for (name, value) in data {
                match own.get_mut(name).filter(|_| flag("aggregate").unwrap_or(false)) {
                    Some(known) => add(known, value),
                    None => drop(own.insert(name.clone(), value.clone())),
                }
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> Map<String, Value> {
        self.0.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }
}

/// Adds as Python's `+=` does, and merges mappings; what is of another type changes nothing.
fn add(known: &mut Value, more: &Value) {
    match (&mut *known, more) {
        (Value::Object(known), Value::Object(more)) => more.iter().for_each(|(name, value)| {
            known.insert(name.clone(), value.clone());
        }),
        (Value::Array(known), Value::Array(more)) => known.extend(more.iter().cloned()),
        (Value::String(known), Value::String(more)) => known.push_str(more),
        (Value::Number(one), Value::Number(two)) => match (one.as_i64(), two.as_i64()) {
            (Some(a), Some(b)) => *known = json!(a.saturating_add(b)),
            (None, None) => *known = json!(one.as_f64().unwrap_or(0.0) + two.as_f64().unwrap_or(0.0)),
            _ => {}
        },
        (Value::Bool(one), Value::Bool(two)) => *known = json!(i64::from(*one) + i64::from(*two)),
        _ => {}
    }
}

/// Carries out `set_stats`.
pub fn set(_: &Call, arguments: SetStats) -> Result<Outcome, Trouble> {
    let data = match arguments.data {
        None => Map::new(),
        Some(Value::Object(data)) => data,
        Some(_) => return Err(Trouble::Failed("The 'data' option needs to be a dictionary/hash".into())),
    };
    if let Some(name) = data.keys().find(|name| !is_variable_name(name)) {
        return Err(Trouble::Failed(format!("The variable name '{name}' is not valid")));
    }
    let per_host = arguments.per_host.is_some_and(|flag| flag.0);
    let aggregate = arguments.aggregate.is_none_or(|flag| flag.0);
    let stats = json!({"data": data, "per_host": per_host, "aggregate": aggregate});
    Ok(Outcome::ok().with("ansible_stats", stats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_added_as_python_adds() {
        let stats = Stats::default();
        let say = |host: &str, data: Value, per_host: bool, aggregate: bool| {
            let result = json!({"ansible_stats": {"data": data, "per_host": per_host, "aggregate": aggregate}});
            stats.gather(host, result.as_object().unwrap());
        };
        say("a", json!({"n": 1, "l": [1], "s": "x", "d": {"a": 1, "b": 1}, "f": 0.5}), false, true);
        say("b", json!({"n": 2, "l": [2], "s": "y", "d": {"b": 2}, "f": 0.25}), false, true);
        say("b", json!({"n": "two"}), false, true);
        say("a", json!({"own": 1}), true, false);
        say("a", json!({"own": 5}), true, false);
        let expected =
            json!({"_run": {"n": 3, "l": [1, 2], "s": "xy", "d": {"a": 1, "b": 2}, "f": 0.75}, "a": {"own": 5}});
        assert_eq!(Value::Object(stats.all()), expected);
        let items =
            json!({"results": [{"ansible_stats": {"data": {"n": 1}, "per_host": false, "aggregate": true}}, {}]});
        stats.gather("a", items.as_object().unwrap());
        assert_eq!(stats.all()["_run"]["n"], 4);
    }
}
