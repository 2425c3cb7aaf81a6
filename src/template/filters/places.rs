//! Where something is: the paths of a nested value, the value at a path, the index of an item.

use minijinja::State;
use minijinja::value::{Value, ValueKind};

use super::spec;
use crate::template::args::{Args, R, fail, is_list, items, pairs};
use crate::template::compile::{self, Compiled};
use crate::template::{py, tests, trust};

type Dict = indexmap::IndexMap<Value, Value>;

fn listed(found: Value, wanted: bool) -> Value {
    if wanted { Value::from(vec![found]) } else { found }
}

/// The path to what a dictionary has under a key.
fn below(path: &Value, key: &Value) -> R {
    if !path.is_true() {
        return Ok(key.clone());
    }
    let (Some(path), Some(key)) = (path.as_str(), key.as_str()) else {
        return Err(fail("to_paths: a key is not text"));
    };
    let start = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = start && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    Ok(Value::from(if plain { format!("{path}.{key}") } else { format!("{path}['{key}']") }))
}

/// Puts every value that holds no others under its path.
fn walk(data: &Value, path: &Value, out: &mut Dict) -> Result<(), minijinja::Error> {
    let dict = pairs(data);
    let count = if dict.is_some() || is_list(data) { data.len() } else { None };
    if count == Some(0) {
        if path.is_true() {
            out.insert(path.clone(), data.clone());
        }
    } else if let Some(dict) = dict {
        for (key, value) in dict {
            walk(&value, &below(path, &key)?, out)?;
        }
    } else if is_list(data) {
        for (index, value) in items(data, "to_paths")?.iter().enumerate() {
            walk(value, &Value::from(format!("{}[{index}]", py::str(path))), out)?;
        }
    } else {
        out.insert(path.clone(), data.clone());
    }
    Ok(())
}

/// `to_paths(prepend, wantlist)`
pub(super) fn to_paths(args: &Args) -> R {
    spec::declared(args, &["var", "prepend", "wantlist"])?;
    let mut data = args.need(0, "var")?;
    spec::shallow(args, &data)?;
    if let Some(first) = args.text(1, "prepend").filter(|first| !first.is_empty()) {
        data = Value::from_pairs([(Value::from(first), data)]);
    }
    let wanted = spec::flag(args, 2, "wantlist")?;
    if is_list(&data) && data.len() == Some(0) {
        return Ok(listed(data, wanted));
    }
    let mut out = Dict::new();
    walk(&data, &Value::from(""), &mut out)?;
    Ok(listed(Value::from_pairs(out), wanted))
}

/// `get_path(path)`: what an expression gives to which the keys of the value are the variables.
pub(super) fn get_path(args: &Args) -> R {
    spec::declared(args, &["var", "path", "wantlist"])?;
    let data = args.need(0, "var")?;
    let dict = pairs(&data).ok_or_else(|| fail("get_path: the value is no dictionary"))?;
    if dict.iter().any(|(key, _)| key.as_str().is_none()) {
        return Err(fail("get_path: a key of the dictionary is not text"));
    }
    let path = spec::text(args, 1, "path")?;
    let wanted = spec::flag(args, usize::MAX, "wantlist")?;
    // The path may be another's text.
    if !trust::calls_nothing(&path) {
        return Err(fail("get_path: the path calls something; it is made of keys and numbers"));
    }
    let expression = compile::expression(&path, false).map_err(|_| fail("get_path: the path is no expression"))?;
    let Compiled::Expression { run, .. } = &expression else {
        return Err(fail("get_path: the path is no expression"));
    };
    run.eval(data).map(|found| listed(found, wanted))
}

/// One test of an item. `!` or `not ` in front of its name inverts it.
fn passes(state: &mut State<'_, '_>, item: &Value, test: &str, by: Option<&Value>) -> Result<bool, minijinja::Error> {
    let (name, invert) = match (test.strip_prefix('!'), test.starts_with("not ")) {
        (Some(_), _) => (Some(test.trim_start_matches('!')).filter(|t| *t != "=").unwrap_or("=="), true),
        // As Ansible does it: each of these letters, not the word.
        (None, true) => (test.trim_start_matches(['n', 'o', 't', ' ']), true),
        (None, false) => (test, false),
    };
    if !tests::is_known(name) {
        return Err(fail(format!("index_of: there is no test named '{name}'")));
    }
    let mut values = vec![item.clone()];
    match by {
        Some(one) if name == "in" && !is_list(one) => values.push(Value::from(vec![one.clone()])),
        None if name == "in" => values.push(Value::from(vec![Value::from(())])),
        Some(by) => values.push(by.clone()),
        None => {}
    }
    Ok(state.perform_test(name, &values)? != invert)
}

/// `index_of(test, value, key, fail_on_missing, wantlist)`
pub(super) fn index_of(state: &mut State<'_, '_>, args: &Args) -> R {
    spec::declared(args, &["data", "test", "value", "key", "fail_on_missing", "wantlist"])?;
    let data = spec::list(args, 0, "data")?;
    let test = spec::text(args, 1, "test")?;
    let by = args.some(2, "value");
    let key = args.text(3, "key").map(Value::from);
    let strict = spec::flag(args, 4, "fail_on_missing")?;
    let wanted = spec::flag(args, 5, "wantlist")?;
    if key.is_some() && data.iter().any(|item| item.kind() != ValueKind::Map) {
        return Err(fail("index_of: with a key all items must be dictionaries"));
    }
    let mut found = Vec::new();
    for (index, item) in data.iter().enumerate() {
        let subject = match &key {
            None => item.clone(),
            Some(key) => {
                let inner = item.get_item(key)?;
                if inner.is_undefined() {
                    if strict {
                        return Err(fail(format!("index_of: item {index} has no key '{}'", py::str(key))));
                    }
                    continue;
                }
                inner
            }
        };
        if passes(state, &subject, &test, by.as_ref())? {
            found.push(Value::from(index));
        }
    }
    Ok(match found.as_slice() {
        [one] if !wanted => one.clone(),
        _ => Value::from(found),
    })
}

#[cfg(test)]
mod tests_of_places {
    use super::*;

    fn value(text: &str) -> Value {
        crate::template::touch::from_json(&serde_json::from_str(text).unwrap())
    }

    fn run(filter: fn(&Args) -> R, values: Vec<Value>) -> String {
        let found = filter(&Args::from_values("filter", values).unwrap());
        found.map_or_else(|_| "error".to_owned(), |v| serde_json::to_string(&v).unwrap())
    }

    #[test]
    fn paths_of_values() {
        for (data, answer) in [
            (r#"{"a": {"b": [1, 2]}}"#, r#"{"a.b[0]":1,"a.b[1]":2}"#),
            (r#"{"a": {"b c": 1, "d": {}, "e": []}}"#, r#"{"a['b c']":1,"a.d":{},"a.e":[]}"#),
            ("[1, [2]]", r#"{"[0]":1,"[1][0]":2}"#),
            ("[]", "[]"),
            ("{}", "{}"),
            ("5", r#"{"":5}"#),
        ] {
            assert_eq!(run(to_paths, vec![value(data)]), answer, "{data}");
        }
        assert_eq!(run(to_paths, vec![value(r#"{"a": 1}"#), Value::from("x"), Value::from(true)]), r#"[{"x.a":1}]"#);
    }

    #[test]
    fn values_of_paths() {
        let data = || value(r#"{"a": {"b": [1, {"c": "x"}]}}"#);
        for (path, answer) in [("a.b[1].c", r#""x""#), ("a['b'] | length", "2"), ("a.b[", "error"), ("", "error")] {
            assert_eq!(run(get_path, vec![data(), Value::from(path)]), answer, "{path}");
        }
        assert_eq!(run(get_path, vec![value("[1]"), Value::from("a")]), "error");
        for path in ["lookup('env', 'HOME')", "a.keys()", r"a['\u007b\u007b 1 }}']"] {
            assert_eq!(run(get_path, vec![data(), Value::from(path)]), "error", "{path}");
        }
    }
}
