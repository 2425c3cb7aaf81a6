//! Arguments held against a specification: of a role (`meta/argument_specs.yml`), or of `validate_argument_spec`.
//!
//! The words of the errors are those of ansible-core 2.19.

use super::parse_kv;
use crate::modules::scalars::Flag;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What is wrong with arguments, a sentence each. `options` maps their names to `type`, `required`, `choices`, `elements`,
/// `options` and the like; `given` is what there is of them.
pub fn violations(options: &Map<String, Value>, given: &Map<String, Value>) -> Vec<String> {
    let mut check = Check::default();
    check.level(options, &mut given.clone(), &Map::new(), &[]);
    if let Some((_, names)) = check.strange.last() {
        let mut strange: Vec<String> = check.strange.iter().map(|(name, _)| name.clone()).collect();
        strange.sort();
        check.errors.push(format!("{}. Supported parameters include: {names}.", strange.join(", ")));
    }
    check.errors
}

/// In the place of a value that the specification keeps from being shown (`no_log`).
const HIDDEN: &str = "the value is hidden (no_log)";

#[derive(Default)]
struct Check {
    errors: Vec<String>,
    /// Arguments that nobody knows, with those that are known at their place.
    strange: Vec<(String, String)>,
}

impl Check {
    /// One level of arguments: those of the role, or the entries of a dictionary below it (`place`). `rules` has what holds
    /// between them (`mutually_exclusive` …).
    fn level(
        &mut self,
        spec: &Map<String, Value>,
        given: &mut Map<String, Value>,
        rules: &Map<String, Value>,
        place: &[String],
    ) {
        let found = if place.is_empty() { String::new() } else { format!(" found in {}", place.join(" -> ")) };
        for (name, one) in spec {
            for alias in texts(one.get("aliases")) {
                if let Some(value) = given.shift_remove(&alias) {
                    given.entry(name.clone()).or_insert(value);
                }
            }
        }
        let unknown: Vec<String> = given.keys().filter(|name| !spec.contains_key(*name)).cloned().collect();
        for name in unknown {
            given.shift_remove(&name);
            let path = place.iter().chain([&name]).cloned().collect::<Vec<_>>().join(".");
            self.strange.push((path, known(spec)));
        }
        let has = |given: &Map<String, Value>, name: &String| given.get(name).is_some_and(|value| !value.is_null());
        for group in groups(rules.get("mutually_exclusive")) {
            if group.iter().filter(|name| has(given, name)).count() > 1 {
                self.errors.push(format!("parameters are mutually exclusive: {}{found}", group.join("|")));
            }
        }
        for (name, one) in spec {
            if let Some(default) = one.get("default").filter(|default| !default.is_null()) {
                given.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
        let missing: Vec<&str> = spec
            .iter()
            .filter(|(name, one)| flag(one.get("required")) && !given.contains_key(*name))
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            self.errors.push(format!("missing required arguments: {}{found}", missing.join(", ")));
        }
        for (name, one) in spec {
            self.kind(name, one, given, place);
        }
        for (name, one) in spec {
            self.choices(name, one, given.get(name), &found);
        }
        for group in groups(rules.get("required_together")) {
            let there = group.iter().filter(|name| has(given, name)).count();
            if there > 0 && there < group.len() {
                self.errors.push(format!("parameters are required together: {}{found}", group.join(", ")));
            }
        }
        for group in groups(rules.get("required_one_of")) {
            if !group.iter().any(|name| has(given, name)) {
                self.errors.push(format!("one of the following is required: {}{found}", group.join(", ")));
            }
        }
        self.conditional(rules, given, &found);
        for (name, one) in spec {
            self.below(name, one, given.get_mut(name), place);
        }
    }

    /// `required_if` and `required_by`.
    fn conditional(&mut self, rules: &Map<String, Value>, given: &Map<String, Value>, found: &str) {
        let has = |name: &String| given.get(name).is_some_and(|value| !value.is_null());
        for rule in rules.get("required_if").and_then(Value::as_array).into_iter().flatten() {
            let Some([Value::String(name), wanted, needed, rest @ ..]) = rule.as_array().map(Vec::as_slice) else {
                continue;
            };
            if given.get(name) != Some(wanted) {
                continue;
            }
            let needed = texts(Some(needed));
            let missing: Vec<&str> = needed.iter().filter(|name| !has(name)).map(String::as_str).collect();
            let any = rest.first().is_some_and(|word| Flag::parse(word).unwrap_or(false));
            if any && missing.len() < needed.len() || missing.is_empty() {
                continue;
            }
            let how = if any { "any" } else { "all" };
            let wanted = plain(wanted);
            let missing = missing.join(", ");
            self.errors.push(format!("{name} is {wanted} but {how} of the following are missing: {missing}{found}"));
        }
        for (name, needed) in rules.get("required_by").and_then(Value::as_object).into_iter().flatten() {
            let missing: Vec<String> = texts(Some(needed)).into_iter().filter(|name| !has(name)).collect();
            if has(name) && !missing.is_empty() {
                self.errors.push(format!("missing parameter(s) required by '{name}': {}{found}", missing.join(", ")));
            }
        }
    }

    /// The type of an argument, which what comes after it goes by.
    fn kind(&mut self, name: &str, spec: &Value, given: &mut Map<String, Value>, place: &[String]) {
        let Some(value) = given.get(name) else { return };
        let is_free = !flag(spec.get("required")) && spec.get("default").is_none_or(Value::is_null);
        if value.is_null() && is_free {
            return;
        }
        let wanted = spec.get("type").and_then(Value::as_str).unwrap_or("str");
        if value.is_null() && matches!(wanted, "str" | "raw") {
            return;
        }
        let within = if place.is_empty() { String::new() } else { format!(" found in '{}'", place.join(" -> ")) };
        let mut value = match convert(wanted, value) {
            Ok(value) => value,
            Err(why) => {
                let why = if flag(spec.get("no_log")) { HIDDEN.to_string() } else { why };
                let is = python_type(value);
                self.errors.push(format!(
                    "argument '{name}'{within} is of type {is} and we were unable to convert to {wanted}: {why}"
                ));
                return;
            }
        };
        if let (Some(elements), Value::Array(items)) = (spec.get("elements").and_then(Value::as_str), &mut value) {
            for item in items.iter_mut() {
                match convert(elements, item) {
                    Ok(converted) => *item = converted,
                    Err(why) => {
                        let why = if flag(spec.get("no_log")) { HIDDEN.to_string() } else { why };
                        let is = python_type(item);
                        self.errors.push(format!(
                            "Elements value for option '{name}'{within} is of type {is} and we were unable to convert to {elements}: {why}"
                        ));
                    }
                }
            }
        }
        given.insert(name.to_string(), value);
    }

    fn choices(&mut self, name: &str, spec: &Value, value: Option<&Value>, found: &str) {
        let (Some(choices), Some(value)) = (spec.get("choices").and_then(Value::as_array), value) else { return };
        let allowed = choices.iter().map(plain).collect::<Vec<_>>().join(", ");
        let plain = |value: &Value| if flag(spec.get("no_log")) { HIDDEN.to_string() } else { plain(value) };
        match value {
            Value::Array(items) if spec.get("type").and_then(Value::as_str) == Some("list") => {
                let strange: Vec<String> = items.iter().filter(|item| !choices.contains(item)).map(plain).collect();
                if !strange.is_empty() {
                    let strange = strange.join(", ");
                    self.errors.push(format!(
                        "value of {name} must be one or more of: {allowed}. Got no match for: {strange}{found}"
                    ));
                }
            }
            // YAML makes booleans of words that were meant as words.
            Value::Bool(flag) if choices.iter().filter(|choice| Flag::parse(choice) == Some(*flag)).count() == 1 => {}
            value if choices.contains(value) => {}
            value => {
                self.errors.push(format!("value of {name} must be one of: {allowed}, got: {}{found}", plain(value)))
            }
        }
    }

    /// The entries of a dictionary, or of a list of dictionaries.
    fn below(&mut self, name: &str, spec: &Value, value: Option<&mut Value>, place: &[String]) {
        let wanted = spec.get("type").and_then(Value::as_str).unwrap_or("str");
        let of_dicts = wanted == "list" && spec.get("elements").and_then(Value::as_str) == Some("dict");
        let (Some(options), Some(value)) = (spec.get("options").and_then(Value::as_object), value) else { return };
        if !(wanted == "dict" || of_dicts) || value.is_null() {
            return;
        }
        let place: Vec<String> = place.iter().cloned().chain([name.to_string()]).collect();
        let rules = spec.as_object().cloned().unwrap_or_default();
        let mut one = |value: &mut Value| match value {
            Value::Object(entries) => self.level(options, entries, &rules, &place),
            _ => self.errors.push(format!("value of '{name}' must be of type dict or list of dicts")),
        };
        match value {
            Value::Array(items) => items.iter_mut().for_each(one),
            other => one(other),
        }
    }
}

/// Arguments that a specification names, with their aliases in brackets.
fn known(spec: &Map<String, Value>) -> String {
    let names: BTreeSet<&str> = spec.keys().map(String::as_str).collect();
    let aliases: BTreeSet<String> = spec.values().flat_map(|one| texts(one.get("aliases"))).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    match aliases.is_empty() {
        true => names,
        false => format!("{names} ({})", aliases.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

fn flag(value: Option<&Value>) -> bool {
    value.and_then(Flag::parse).unwrap_or(false)
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        _ => Vec::new(),
    }
}

/// Lists of names; one list alone is a list of one.
fn groups(value: Option<&Value>) -> Vec<Vec<String>> {
    match value.and_then(Value::as_array) {
        Some(all) if all.iter().all(Value::is_array) => all.iter().map(|group| texts(Some(group))).collect(),
        Some(_) => vec![texts(value)],
        None => Vec::new(),
    }
}

/// What Python calls a value's type.
pub fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// As Python prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => quoted(other),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let inner = text.replace('\\', "\\\\").replace('\n', "\\n");
            let inner = if quote == '\'' { inner.replace('\'', "\\'") } else { inner };
            format!("{quote}{inner}{quote}")
        }
        Value::Array(items) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| format!("'{name}': {}", quoted(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The value as the type, as Ansible converts it, or why it cannot be.
fn convert(wanted: &str, value: &Value) -> Result<Value, String> {
    let class = python_type(value);
    match wanted {
        "bool" => Flag::parse(value).map(Value::from).ok_or_else(|| {
            let value = plain(value);
            format!(
                "The value '{value}' is not a valid boolean. Valid booleans include: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', \
                 't', 'true', 'y', 'yes', 0, 1"
            )
        }),
        "int" => {
            let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
            let found = match value {
                Value::Bool(flag) => Some(i64::from(*flag)),
                Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
                Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(whole)),
                _ => None,
            };
            found.map(Value::from).ok_or_else(|| format!("\"{}\" cannot be converted to an int", quoted(value)))
        }
        "float" => {
            let found = match value {
                Value::Number(_) => return Ok(value.clone()),
                Value::String(text) => text.trim().parse::<f64>().ok(),
                _ => None,
            };
            found.map(Value::from).ok_or_else(|| format!("<class '{class}'> cannot be converted to a float"))
        }
        "list" => match value {
            Value::Array(_) => Ok(value.clone()),
            Value::String(text) => Ok(text.split(',').map(|part| Value::from(part.trim())).collect()),
            Value::Number(_) => Ok(Value::Array(vec![Value::from(value.to_string())])),
            _ => Err(format!("<class '{class}'> cannot be converted to a list")),
        },
        "dict" => match value {
            Value::Object(_) => Ok(value.clone()),
            Value::String(text) => dictionary(text).ok_or_else(|| "dictionary requested, could not parse JSON or key=value".into()),
            _ => Err(format!("<class '{class}'> cannot be converted to a dict")),
        },
        "json" | "jsonarg" => match value {
            Value::String(_) | Value::Array(_) | Value::Object(_) => Ok(value.clone()),
            _ => Err(format!("<class '{class}'> cannot be converted to a json string")),
        },
        "bytes" | "bits" => match value {
            Value::Number(_) => Ok(value.clone()),
            Value::String(text) if size(text) => Ok(value.clone()),
            _ if wanted == "bytes" => Err(format!("<class '{class}'> cannot be converted to a Byte value")),
            _ => Err(format!("<class '{class}'> cannot be converted to a Bit value")),
        },
        // Text, paths, and what is taken as it is: anything can be printed.
        _ => Ok(value.clone()),
    }
}

/// `{"a": 1}` or `a=1, b=2`.
fn dictionary(text: &str) -> Option<Value> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    let (pairs, rest) = parse_kv(&text.replace(',', " "), false).ok()?;
    let map: Map<String, Value> = pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
    (!map.is_empty() && rest.is_none_or(|rest| rest.is_empty())).then_some(Value::Object(map))
}

/// `12`, `1K`, `1.5 MB`.
fn size(text: &str) -> bool {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    digits.parse::<f64>().is_ok()
        && (unit.is_empty()
            || unit.eq_ignore_ascii_case("b")
            || unit.to_uppercase().starts_with(['K', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']))
}

#[cfg(test)]
mod tests {
    use super::violations;
    use serde_json::json;

    /// As ansible-core 2.19.14 answers.
    #[test]
    fn what_ansible_finds_is_found() {
        let spec = json!({
            "n": {"type": "int"}, "b": {"type": "bool"}, "f": {"type": "float"}, "l": {"type": "list", "elements": "int"},
            "d": {
                "type": "dict", "options": {"k": {"required": true}, "j": {"type": "int", "choices": [1, 2]}},
                "mutually_exclusive": [["k", "j"]], "required_together": [["j", "m"]],
            },
            "s": {"type": "str", "choices": ["a", "b"], "aliases": ["t"]}, "r": {"required": true},
            "ll": {"type": "list", "elements": "dict", "options": {"x": {"required": true, "type": "path"}}},
            "lc": {"type": "list", "choices": ["p", "q"]}, "by": {"type": "bytes"}, "dd": {"type": "dict"}, "p": {"type": "path"},
            "js": {"type": "json"}, "pin": {"type": "int", "no_log": true}, "word": {"choices": ["x"], "no_log": true},
            "yn": {"choices": ["yes", "no", "ask"]},
        });
        let int = |is: &str, value: &str| {
            format!(
                "argument 'n' is of type {is} and we were unable to convert to int: \"{value}\" cannot be converted to an int"
            )
        };
        for (given, expected) in [
            (json!({}), vec!["missing required arguments: r".to_string()]),
            (json!({"r": 1, "n": "x"}), vec![int("str", "'x'")]),
            (json!({"r": 1, "n": [1]}), vec![int("list", "[1]")]),
            (json!({"r": 1, "n": 1.5}), vec![int("float", "1.5")]),
            (json!({"r": 1, "n": ""}), vec![int("str", "''")]),
            (json!({"r": 1, "n": "1.0"}), vec![]),
            (json!({"r": 1, "n": true}), vec![]),
            (json!({"r": null}), vec![]),
            (json!({"r": 1, "f": "1"}), vec![]),
            (
                json!({"r": 1, "f": "x"}),
                vec!["argument 'f' is of type str and we were unable to convert to float: <class 'str'> cannot be converted to a float".into()],
            ),
            (
                json!({"r": 1, "l": ["a", 1]}),
                vec!["Elements value for option 'l' is of type str and we were unable to convert to int: \"'a'\" cannot be converted to an int".into()],
            ),
            (
                json!({"r": 1, "l": {"a": 1}}),
                vec!["argument 'l' is of type dict and we were unable to convert to list: <class 'dict'> cannot be converted to a list".into()],
            ),
            (json!({"r": 1, "l": "1,2"}), vec![]),
            (json!({"r": 1, "l": 5}), vec![]),
            (
                json!({"r": 1, "d": {"j": 3}}),
                vec![
                    "missing required arguments: k found in d".into(),
                    "value of j must be one of: 1, 2, got: 3 found in d".into(),
                    "parameters are required together: j, m found in d".into(),
                ],
            ),
            (
                json!({"r": 1, "d": {"k": 1, "j": 1, "z": 1}}),
                vec![
                    "parameters are mutually exclusive: k|j found in d".into(),
                    "parameters are required together: j, m found in d".into(),
                    "d.z. Supported parameters include: j, k.".into(),
                ],
            ),
            (json!({"r": 1, "d": "k=1"}), vec![]),
            (json!({"r": 1, "t": "c"}), vec!["value of s must be one of: a, b, got: c".into()]),
            (json!({"r": 1, "s": ["a"]}), vec!["value of s must be one of: a, b, got: ['a']".into()]),
            (json!({"r": 1, "s": {"a": 1}}), vec!["value of s must be one of: a, b, got: {'a': 1}".into()]),
            (
                json!({"r": 1, "ll": [{"y": 1}, {}]}),
                vec![
                    "missing required arguments: x found in ll".into(),
                    "missing required arguments: x found in ll".into(),
                    "ll.y. Supported parameters include: x.".into(),
                ],
            ),
            (json!({"r": 1, "lc": ["p", "z"]}), vec!["value of lc must be one or more of: p, q. Got no match for: z".into()]),
            (json!({"r": 1, "by": "1K"}), vec![]),
            (
                json!({"r": 1, "by": "xx"}),
                vec!["argument 'by' is of type str and we were unable to convert to bytes: <class 'str'> cannot be converted to a Byte value".into()],
            ),
            (json!({"r": 1, "dd": "{\"a\":1}"}), vec![]),
            (
                json!({"r": 1, "zz": 1, "yy": 2}),
                vec!["yy, zz. Supported parameters include: b, by, d, dd, f, js, l, lc, ll, n, p, pin, r, s, word, yn (t).".into()],
            ),
            (json!({"r": 1, "js": {"a": 1}}), vec![]),
            (
                json!({"r": 1, "js": 5}),
                vec!["argument 'js' is of type int and we were unable to convert to json: <class 'int'> cannot be converted to a json string".into()],
            ),
            (json!({"r": 1, "yn": true}), vec![]),
            // Ours: Ansible shows it.
            (
                json!({"r": 1, "pin": "geheim", "word": "geheim"}),
                vec![
                    "argument 'pin' is of type str and we were unable to convert to int: the value is hidden (no_log)".into(),
                    "value of word must be one of: x, got: the value is hidden (no_log)".into(),
                ],
            ),
        ] {
            let found = violations(spec.as_object().unwrap(), given.as_object().unwrap());
            assert_eq!(found, expected, "{given}");
        }
    }
}
