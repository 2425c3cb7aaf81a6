//! Filters of community.general on lists, most of them on several.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::data::merge;
use super::sets::distinct;
use crate::template::args::{Args, R, fail, is_list, items};

/// Lists, of which one that holds nothing but lists stands for these.
fn opened(args: &Args, lists: &[Value]) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for list in lists {
        if !is_list(list) {
            return Err(fail(format!("{}: all arguments must be lists", args.name())));
        }
        let inner = items(list, args.name())?;
        if inner.iter().all(is_list) {
            out.extend(inner);
        } else {
            out.push(list.clone());
        }
    }
    Ok(out)
}

/// Puts lists together, the first two of them and then each next. There is nothing to do to one alone.
fn folded(args: &Args, all: fn(Vec<Value>, Vec<Value>) -> Vec<Value>) -> R {
    args.only(usize::MAX, &["flatten"])?;
    let lists = args.rest(0);
    let lists = if args.flag(usize::MAX, "flatten", false) { opened(args, lists)? } else { lists.to_vec() };
    let (first, rest) = match lists.as_slice() {
        [] => return Ok(Value::from(Vec::<Value>::new())),
        [one] => return Ok(one.clone()),
        [first, rest @ ..] => (first, rest),
    };
    let mut found = items(first, args.name())?;
    for list in rest {
        found = all(found, items(list, args.name())?);
    }
    Ok(Value::from(found))
}

pub(super) fn lists_union(args: &Args) -> R {
    folded(args, |a, b| distinct(a.into_iter().chain(b)))
}

pub(super) fn lists_intersect(args: &Args) -> R {
    folded(args, |a, b| distinct(a.into_iter().filter(|v| b.contains(v))))
}

pub(super) fn lists_difference(args: &Args) -> R {
    folded(args, |a, b| distinct(a.into_iter().filter(|v| !b.contains(v))))
}

pub(super) fn lists_symmetric_difference(args: &Args) -> R {
    folded(args, |a, b| {
        let both: Vec<Value> = a.iter().filter(|v| b.contains(v)).cloned().collect();
        distinct(a.into_iter().chain(b).filter(|v| !both.contains(v)))
    })
}

/// How much all sums of `accumulate` hold.
const LARGEST: usize = 1_000_000;

/// The sums of the first items, one more each time.
pub(super) fn accumulate(args: &Args) -> R {
    args.only(1, &[])?;
    let value = args.value();
    if !is_list(&value) && value.as_str().is_none() {
        return Err(fail("accumulate: the value is neither a list nor text"));
    }
    let mut sums: Vec<Value> = Vec::new();
    let mut size = 0;
    for item in args.items()? {
        let sum = match sums.last() {
            Some(sum) => super::math::add(sum, &item)?,
            None => item,
        };
        // Each holds all before it once more.
        size += sum.len().unwrap_or(1);
        if size > LARGEST {
            return Err(fail(format!("accumulate: the sums have more than {LARGEST} items or letters together")));
        }
        sums.push(sum);
    }
    Ok(Value::from(sums))
}

/// `[list, list] | lists_mergeby('name', recursive=, list_merge=)`
pub(super) fn lists_mergeby(args: &Args) -> R {
    args.only(usize::MAX, &["recursive", "list_merge"])?;
    let recursive = args.flag(usize::MAX, "recursive", false);
    let merge_lists = args.text(usize::MAX, "list_merge").unwrap_or_else(|| "replace".to_owned());
    let (by, terms) = args.rest(0).split_last().ok_or_else(|| fail("lists_mergeby: missing index"))?;
    if terms.is_empty() {
        return Err(fail("lists_mergeby: missing index"));
    }
    let lists = opened(args, terms)?;
    match lists.as_slice() {
        [] => return Ok(Value::from(Vec::<Value>::new())),
        [one] => return Ok(one.clone()),
        _ => {}
    }
    let by = by.as_str().ok_or_else(|| fail("lists_mergeby: the last argument is the key to merge by"))?;
    let mut merged: indexmap::IndexMap<Value, Value> = indexmap::IndexMap::new();
    for list in &lists {
        for item in items(list, args.name())? {
            if item.kind() != ValueKind::Map {
                return Err(fail("lists_mergeby: the lists must hold dictionaries"));
            }
            let key = item.get_attr(by)?;
            if key.is_undefined() {
                continue;
            }
            let next = match merged.get(&key) {
                Some(old) => merge(old, &item, recursive, &merge_lists)?,
                None => item,
            };
            merged.insert(key, next);
        }
    }
    merged.sort_keys();
    Ok(Value::from(merged.into_values().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(filter: fn(&Args) -> R, lists: &[&str], flatten: bool) -> String {
        let value = |text: &&str| crate::template::touch::from_json(&serde_json::from_str(text).unwrap());
        let mut values: Vec<Value> = lists.iter().map(value).collect();
        if flatten {
            let named: minijinja::value::Kwargs = [("flatten", Value::from(true))].into_iter().collect();
            values.push(Value::from(named));
        }
        let found = filter(&Args::from_values("filter", values).unwrap());
        found.map_or_else(|_| "error".to_owned(), |v| serde_json::to_string(&v).unwrap())
    }

    #[test]
    fn several_lists() {
        for (filter, lists, flatten, answer) in [
            (lists_union as fn(&Args) -> R, &["[1, 2, 2]", "[3, 1]"][..], false, "[1,2,3]"),
            (lists_union, &["[[1, 2], [3, 1]]"], true, "[1,2,3]"),
            (lists_union, &["[[1, 2], [3, 1]]", "[5]"], true, "[1,2,3,5]"),
            (lists_union, &["[1, 1]"], false, "[1,1]"),
            (lists_union, &["[1]", "5"], true, "error"),
            (lists_intersect, &["[1, 2, 2]", "[2]"], false, "[2]"),
            (lists_difference, &["[1, 2, 3]", "[2]", "[3]"], false, "[1]"),
            (lists_symmetric_difference, &[r#"["a", "b"]"#, r#"["b", "c"]"#], false, r#"["a","c"]"#),
            (lists_symmetric_difference, &["[1, 2]", "[2, 3]", "[3, 4]"], false, "[1,4]"),
            (lists_symmetric_difference, &["[1]", "[]"], true, "[1]"),
            (accumulate, &["[1, 2.5, 3]"], false, "[1,3.5,6.5]"),
            (accumulate, &[r#""abc""#], false, r#"["a","ab","abc"]"#),
            (accumulate, &[r#"[1, "a"]"#], false, "error"),
            (accumulate, &["{}"], false, "error"),
            (lists_mergeby, &[r#"[{"n": 2}, {"n": 1}]"#, r#""n""#], false, r#"[{"n":2},{"n":1}]"#),
            (
                lists_mergeby,
                &[r#"[{"n": 2, "a": 1}]"#, r#"[{"n": 1}, {"n": 2, "b": 2}]"#, r#""n""#],
                false,
                r#"[{"n":1},{"n":2,"a":1,"b":2}]"#,
            ),
        ] {
            assert_eq!(run(filter, lists, flatten), answer, "{lists:?}");
        }
    }
}
