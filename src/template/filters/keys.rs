//! Dictionaries with fewer keys, or with others: `keep_keys`, `remove_keys` and `replace_keys`. Both collections have
//! these names. Those of community.general look at the dictionaries of a list, those of ansible.utils at all depths.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::{regex, spec};
use crate::template::args::{Args, R, fail, is_list, items, pairs};
use crate::template::py;

/// How a key is compared with a word.
#[derive(Clone, Copy, PartialEq)]
enum Matching {
    Equal,
    Start,
    End,
    Regex,
}

impl Matching {
    fn of(args: &Args, equal: Option<&str>) -> Result<Self, Error> {
        match args.text(2, "matching_parameter").as_deref() {
            None => Ok(Matching::Equal),
            Some("starts_with") => Ok(Matching::Start),
            Some("ends_with") => Ok(Matching::End),
            Some("regex") => Ok(Matching::Regex),
            Some(other) if equal == Some(other) => Ok(Matching::Equal),
            Some(other) => Err(fail(format!("{}: unknown matching_parameter '{other}'", args.name()))),
        }
    }

    fn fits(self, key: &Value, word: &str) -> Result<bool, Error> {
        if self == Matching::Equal {
            return Ok(key.as_str() == Some(word));
        }
        let key = key.as_str().ok_or_else(|| fail("a key that is not text has no part to compare"))?;
        match self {
            Matching::Equal => Ok(key == word),
            Matching::Start => Ok(key.starts_with(word)),
            Matching::End => Ok(key.ends_with(word)),
            Matching::Regex => regex::is_match(key, word, false, false, "match"),
        }
    }

    fn fits_any(self, key: &Value, words: &[String]) -> Result<bool, Error> {
        for word in words {
            if self.fits(key, word)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Dict = indexmap::IndexMap<Value, Value>;

fn is_container(value: &Value) -> bool {
    is_list(value) || value.kind() == ValueKind::Map
}

fn is_empty(value: &Value) -> bool {
    is_container(value) && value.len() == Some(0)
}

/// What the filters of ansible.utils are given.
fn nested(args: &Args) -> R {
    spec::declared(args, &["data", "target", "matching_parameter"])?;
    let data = args.need(0, "data")?;
    if is_container(&data) {
        spec::shallow(args, &data)?;
        return Ok(data);
    }
    Err(fail(format!("{}: the data is neither a list nor a dictionary", args.name())))
}

fn keep(data: &Value, words: &[String], how: Matching) -> R {
    if is_list(data) {
        return items(data, "keep_keys")?.iter().map(|item| keep(item, words, how)).collect::<Result<_, _>>();
    }
    let Some(pairs) = pairs(data) else { return Ok(data.clone()) };
    let mut kept = Dict::new();
    for (key, value) in pairs {
        let inner = if is_container(&value) { Some(keep(&value, words, how)?) } else { None };
        // Of a list what is empty is left out, where anything else is left.
        let full = match &inner {
            Some(list) if is_list(list) => {
                Some(Value::from_iter(items(list, "keep_keys")?.into_iter().filter(|v| !is_empty(v))))
            }
            other => other.clone(),
        };
        let mut found = false;
        for word in words {
            if key.as_str() == Some(word) {
                kept.insert(key.clone(), value.clone());
                found = true;
            } else if let Some(full) = &full {
                if !is_empty(full) {
                    kept.insert(key.clone(), full.clone());
                    found = true;
                }
            } else if how.fits(&key, word)? {
                kept.insert(key.clone(), value.clone());
                found = true;
            }
        }
        if let Some(inner) = inner.filter(|inner| !found && !is_empty(inner)) {
            kept.insert(key, inner);
        }
    }
    Ok(Value::from_pairs(kept))
}

/// `ansible.utils.keep_keys(target, matching_parameter)`
pub(super) fn keep_nested(args: &Args) -> R {
    let data = nested(args)?;
    keep(&data, &spec::texts(args, 1, "target")?, Matching::of(args, None)?)
}

fn remove(data: &Value, words: &[String], how: Matching) -> R {
    if is_list(data) {
        return items(data, "remove_keys")?.iter().map(|item| remove(item, words, how)).collect::<Result<_, _>>();
    }
    let Some(pairs) = pairs(data) else { return Ok(data.clone()) };
    let mut left = Dict::new();
    for (key, value) in pairs {
        if !how.fits_any(&key, words)? {
            left.insert(key, remove(&value, words, how)?);
        }
    }
    Ok(Value::from_pairs(left))
}

/// Lists without what was or became empty, or is 0, in them.
fn without_empty(data: &Value) -> R {
    if is_list(data) {
        let list = items(data, "remove_keys")?;
        return list.iter().filter(|item| item.is_true()).map(without_empty).collect::<Result<_, _>>();
    }
    let Some(pairs) = pairs(data) else { return Ok(data.clone()) };
    let left = pairs.into_iter().map(|(key, value)| Ok((key, without_empty(&value)?)));
    Ok(Value::from_pairs(left.collect::<Result<Dict, Error>>()?))
}

/// `ansible.utils.remove_keys(target, matching_parameter)`
pub(super) fn remove_nested(args: &Args) -> R {
    let data = nested(args)?;
    without_empty(&remove(&data, &spec::texts(args, 1, "target")?, Matching::of(args, None)?)?)
}

/// A key to look for, and the one to have instead.
struct Change {
    before: Option<String>,
    after: Value,
}

impl Change {
    fn fits(&self, key: &Value, how: Matching) -> Result<bool, Error> {
        match &self.before {
            Some(before) => how.fits(key, before),
            None if how == Matching::Equal => Ok(false),
            None => Err(fail("replace_keys: an item of the target has no 'before'")),
        }
    }
}

fn replace(data: &Value, changes: &[Change], how: Matching) -> R {
    if is_list(data) {
        return items(data, "replace_keys")?.iter().map(|item| replace(item, changes, how)).collect::<Result<_, _>>();
    }
    let Some(pairs) = pairs(data) else { return Ok(data.clone()) };
    let mut dict: Dict = pairs.into_iter().collect();
    for change in changes {
        // What was renamed stands last, or where its new name was.
        for key in dict.keys().cloned().collect::<Vec<_>>() {
            if change.fits(&key, how)?
                && let Some(value) = dict.shift_remove(&key)
            {
                dict.insert(change.after.clone(), value);
            }
        }
    }
    for value in dict.values_mut() {
        *value = replace(value, changes, how)?;
    }
    Ok(Value::from_pairs(dict))
}

/// The changes of a target, each with both texts where `strict`.
fn changes(args: &Args, target: &[Value], strict: bool) -> Result<Vec<Change>, Error> {
    let word = |change: &Value, name: &str| -> Result<Option<String>, Error> {
        let found = change.get_attr(name)?;
        if strict && found.as_str().is_none() {
            return Err(fail(format!("{}: an item of the target has no text '{name}'", args.name())));
        }
        Ok((!found.is_undefined() && !found.is_none()).then(|| py::str(&found)))
    };
    let change = |change: &Value| {
        if change.kind() != ValueKind::Map {
            return Err(fail(format!("{}: the target is a list of dictionaries", args.name())));
        }
        let after = word(change, "after")?.map_or(Value::from(()), Value::from);
        Ok(Change { before: word(change, "before")?, after })
    };
    target.iter().map(change).collect()
}

/// `ansible.utils.replace_keys(target, matching_parameter)`
pub(super) fn replace_nested(args: &Args) -> R {
    let data = nested(args)?;
    replace(&data, &changes(args, &spec::list(args, 1, "target")?, false)?, Matching::of(args, None)?)
}

/// The dictionaries that the filters of community.general are given.
fn dictionaries(args: &Args) -> Result<Vec<Vec<(Value, Value)>>, Error> {
    args.only(3, &["target", "matching_parameter"])?;
    let data = args.value();
    if !is_list(&data) && data.as_str() != Some("") {
        return Err(fail(format!("{}: the data is no list", args.name())));
    }
    let dictionary = |item: &Value| {
        let found =
            pairs(item).ok_or_else(|| fail(format!("{}: an item of the data is no dictionary", args.name())))?;
        match found.iter().all(|(key, _)| key.as_str().is_some()) {
            true => Ok(found),
            false => Err(fail(format!("{}: a key of the data is not text", args.name()))),
        }
    };
    items(&data, args.name())?.iter().map(dictionary).collect()
}

/// The words of a target: text, or a list of texts, of which there is but one if it is a pattern.
fn words(args: &Args, how: Matching) -> Result<Vec<String>, Error> {
    let wrong = |what: &str| fail(format!("{}: the target {what}", args.name()));
    let target = args.need(1, "target")?;
    let list = match target.as_str() {
        Some("") => Vec::new(),
        Some(_) => vec![target],
        None if is_list(&target) => items(&target, args.name())?,
        None => return Err(wrong("is neither text nor a list")),
    };
    let texts: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
    let texts = texts.ok_or_else(|| wrong("has an item that is not text"))?;
    match texts.as_slice() {
        [] => Err(wrong("is empty")),
        [_, _, ..] if how == Matching::Regex => Err(wrong("has more than one pattern")),
        [first, ..] => {
            if how == Matching::Regex {
                regex::compile(first, false, false)?;
            }
            Ok(texts)
        }
    }
}

/// Those of the keys that fit, or those that do not.
fn chosen(args: &Args, fitting: bool) -> R {
    let data = dictionaries(args)?;
    let how = Matching::of(args, Some("equal"))?;
    let words = words(args, how)?;
    let some = |pairs: Vec<(Value, Value)>| -> R {
        let mut out = Dict::new();
        for (key, value) in pairs {
            if how.fits_any(&key, &words)? == fitting {
                out.insert(key, value);
            }
        }
        Ok(Value::from_pairs(out))
    };
    data.into_iter().map(some).collect()
}

/// `community.general.keep_keys(target, matching_parameter)`
pub(super) fn keep_listed(args: &Args) -> R {
    chosen(args, true)
}

/// `community.general.remove_keys(target, matching_parameter)`
pub(super) fn remove_listed(args: &Args) -> R {
    chosen(args, false)
}

/// `community.general.replace_keys(target, matching_parameter)`
pub(super) fn replace_listed(args: &Args) -> R {
    let data = dictionaries(args)?;
    let how = Matching::of(args, Some("equal"))?;
    let target = args.need(1, "target")?;
    let target = if is_list(&target) { items(&target, args.name())? } else { Vec::new() };
    if target.is_empty() {
        return Err(fail(format!("{}: the target is no list with something in it", args.name())));
    }
    let changes = changes(args, &target, true)?;
    if how == Matching::Regex {
        let patterns = changes.iter().filter_map(|change| change.before.as_deref());
        patterns.map(|pattern| regex::compile(pattern, false, false)).collect::<Result<Vec<_>, _>>()?;
    }
    let renamed = |pairs: Vec<(Value, Value)>| -> R {
        let mut out = Dict::new();
        for (key, value) in pairs {
            let mut name = key.clone();
            for change in &changes {
                if change.fits(&key, how)? {
                    name = change.after.clone();
                    break;
                }
            }
            out.insert(name, value);
        }
        Ok(Value::from_pairs(out))
    };
    data.into_iter().map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(filter: fn(&Args) -> R, data: &str, target: &str, how: Option<&str>) -> String {
        let value = |text: &str| crate::template::touch::from_json(&serde_json::from_str(text).unwrap());
        let mut values = vec![value(data), value(target)];
        values.extend(how.map(Value::from));
        let found = filter(&Args::from_values("filter", values).unwrap());
        found.map_or_else(|_| "error".to_owned(), |v| serde_json::to_string(&v).unwrap())
    }

    #[test]
    fn at_all_depths() {
        let data = r#"{"a": 1, "b": {"a": 2, "c": 3}, "d": [{"c": 1}, {"a": 5}], "e": [{"c": 1}]}"#;
        for (filter, target, how, answer) in [
            (keep_nested as fn(&Args) -> R, r#"["a"]"#, None, r#"{"a":1,"b":{"a":2},"d":[{"a":5}],"e":[{}]}"#),
            (
                keep_nested,
                r#"["a", "d"]"#,
                Some("starts_with"),
                r#"{"a":1,"b":{"a":2},"d":[{"c":1},{"a":5}],"e":[{}]}"#,
            ),
            (keep_nested, r#"["a"]"#, Some("equality"), "error"),
            (remove_nested, r#""a,c""#, None, r#"{"b":{},"d":[],"e":[]}"#),
            (remove_nested, r#"["[ab]"]"#, Some("regex"), r#"{"d":[{"c":1}],"e":[{"c":1}]}"#),
            (
                replace_nested,
                r#"[{"before": "a", "after": "z"}]"#,
                None,
                r#"{"b":{"c":3,"z":2},"d":[{"c":1},{"z":5}],"e":[{"c":1}],"z":1}"#,
            ),
        ] {
            assert_eq!(run(filter, data, target, how), answer, "{target}");
        }
        assert_eq!(run(remove_nested, r#"[0, "", 1, {"a": 2}, [{"a": 1}]]"#, r#"["a"]"#, None), "[1,[]]");
        assert_eq!(run(keep_nested, r#""text""#, r#"["a"]"#, None), "error");
    }

    #[test]
    fn of_a_list_of_dictionaries() {
        let data = r#"[{"k0_x0": 1, "k1_x1": {"k0_x0": 2}, "z": 3}]"#;
        for (filter, target, how, answer) in [
            (keep_listed as fn(&Args) -> R, r#""k0_x0""#, None, r#"[{"k0_x0":1}]"#),
            (keep_listed, r#"["k0", "z"]"#, Some("starts_with"), r#"[{"k0_x0":1,"z":3}]"#),
            (keep_listed, r#"["_x1"]"#, Some("ends_with"), r#"[{"k1_x1":{"k0_x0":2}}]"#),
            (keep_listed, r#"["^k", "z"]"#, Some("regex"), "error"),
            (keep_listed, "[]", None, "error"),
            (keep_listed, "[1]", None, "error"),
            (keep_listed, r#"["a"]"#, Some("nonesuch"), "error"),
            (remove_listed, r#"["z"]"#, Some("equal"), r#"[{"k0_x0":1,"k1_x1":{"k0_x0":2}}]"#),
            (replace_listed, r#"[{"before": "z", "after": "y"}]"#, None, r#"[{"k0_x0":1,"k1_x1":{"k0_x0":2},"y":3}]"#),
            (replace_listed, r#"[{"before": "k", "after": "y"}]"#, Some("regex"), r#"[{"y":{"k0_x0":2},"z":3}]"#),
            (replace_listed, r#"[{"before": "z"}]"#, None, "error"),
        ] {
            assert_eq!(run(filter, data, target, how), answer, "{target}");
        }
        assert_eq!(run(keep_listed, r#"{"a": 1}"#, r#"["a"]"#, None), "error");
    }
}
