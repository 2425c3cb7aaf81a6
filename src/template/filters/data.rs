//! Filters that build and take apart lists and dictionaries.

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, State};

use crate::template::args::{Args, R, fail, is_list, items, pairs};
use crate::template::py;

fn dict_of(pairs: Vec<(Value, Value)>) -> Value {
    Value::from_pairs(pairs)
}

fn tuple_of(values: Vec<Value>) -> Value {
    Value::from(Tuple::from(values))
}

fn put(pairs: &mut Vec<(Value, Value)>, key: Value, value: Value) {
    match pairs.iter_mut().find(|(k, _)| *k == key) {
        Some((_, v)) => *v = value,
        None => pairs.push((key, value)),
    }
}

/// Merges `high` over `low` as Ansible's `combine` does.
pub(super) fn merge(low: &Value, high: &Value, recursive: bool, lists: &str) -> R {
    let not_dict = |v: &Value| fail(format!("combine: expected dictionaries, got '{}'", py::type_name(v)));
    let (Some(a), Some(b)) = (pairs(low), pairs(high)) else {
        return Err(not_dict(if pairs(low).is_none() { low } else { high }));
    };
    let mut index: indexmap::IndexMap<Value, Value> = a.into_iter().collect();
    for (key, value) in b {
        let merged = match index.get(&key) {
            Some(old) if recursive && old.kind() == ValueKind::Map && value.kind() == ValueKind::Map => {
                merge(old, &value, recursive, lists)?
            }
            Some(old) if is_list(old) && is_list(&value) => merge_lists(old, &value, lists)?,
            _ => value,
        };
        index.insert(key, merged);
    }
    Ok(Value::from_pairs(index))
}

fn merge_lists(low: &Value, high: &Value, how: &str) -> R {
    let (low, high) = (items(low, "combine")?, items(high, "combine")?);
    let without =
        |from: &[Value], what: &[Value]| -> Vec<Value> { from.iter().filter(|v| !what.contains(v)).cloned().collect() };
    Ok(Value::from(match how {
        "keep" => low,
        "append" => [low, high].concat(),
        "prepend" => [high, low].concat(),
        "append_rp" => [without(&low, &high), high].concat(),
        "prepend_rp" => {
            let rest = without(&low, &high);
            [high, rest].concat()
        }
        _ => high,
    }))
}

/// `a | combine(b, …, recursive=, list_merge=)`
pub(super) fn combine(args: &Args) -> R {
    args.only(usize::MAX, &["recursive", "list_merge"])?;
    let recursive = args.flag(usize::MAX, "recursive", false);
    let lists = args.text(usize::MAX, "list_merge").unwrap_or_else(|| "replace".to_owned());
    if !["replace", "keep", "append", "prepend", "append_rp", "prepend_rp"].contains(&lists.as_str()) {
        return Err(fail(format!("combine: list_merge cannot be '{lists}'")));
    }
    let terms = flat(args.rest(0), Some(1), true)?;
    let mut terms = terms.into_iter();
    let Some(mut result) = terms.next() else { return Ok(dict_of(Vec::new())) };
    for term in terms {
        result = merge(&result, &term, recursive, &lists)?;
    }
    Ok(result)
}

fn flat(list: &[Value], levels: Option<i64>, skip_nulls: bool) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for item in list {
        if skip_nulls && (item.is_none() || matches!(item.as_str(), Some("None" | "null"))) {
            continue;
        }
        if is_list(item) && levels.is_none_or(|l| l >= 1) {
            out.extend(flat(&items(item, "flatten")?, levels.map(|l| l - 1), skip_nulls)?);
        } else {
            out.push(item.clone());
        }
    }
    Ok(out)
}

/// `flatten(levels, skip_nulls)`
pub(super) fn flatten(args: &Args) -> R {
    args.only(3, &["levels", "skip_nulls"])?;
    flat(&args.items()?, args.int(1, "levels")?, args.flag(2, "skip_nulls", true)).map(Value::from)
}

/// Flattens completely, for lookups.
pub(crate) fn flatten_all(list: &[Value]) -> Result<Vec<Value>, Error> {
    flat(list, None, false)
}

/// `dict2items(key_name, value_name)`
pub(super) fn dict2items(args: &Args) -> R {
    let value = args.value();
    let pairs = pairs(&value)
        .ok_or_else(|| fail(format!("dict2items requires a dictionary, got '{}' instead", py::type_name(&value))))?;
    let key = args.text(1, "key_name").unwrap_or_else(|| "key".to_owned());
    let name = args.text(2, "value_name").unwrap_or_else(|| "value".to_owned());
    Ok(Value::from(
        pairs
            .into_iter()
            .map(|(k, v)| dict_of(vec![(Value::from(key.as_str()), k), (Value::from(name.as_str()), v)]))
            .collect::<Vec<_>>(),
    ))
}

/// `items2dict(key_name, value_name)`
pub(super) fn items2dict(args: &Args) -> R {
    if !is_list(&args.value()) {
        return Err(fail(format!("items2dict requires a list, got '{}' instead", py::type_name(&args.value()))));
    }
    let key = args.get(1, "key_name").unwrap_or_else(|| Value::from("key"));
    let name = args.get(2, "value_name").unwrap_or_else(|| Value::from("value"));
    let mut out = indexmap::IndexMap::new();
    for item in args.items()? {
        if !matches!(item.kind(), ValueKind::Map | ValueKind::Seq) {
            return Err(fail("items2dict requires a list of dictionaries"));
        }
        let (k, v) = (super::items::item(&item, &key)?, super::items::item(&item, &name)?);
        if k.is_undefined() || v.is_undefined() {
            let (key, name) = (py::str(&key), py::str(&name));
            return Err(fail(format!("items2dict requires each dictionary to contain the keys '{key}' and '{name}'")));
        }
        out.insert(k, v);
    }
    Ok(Value::from_pairs(out))
}

/// `key | extract(container, morekeys)`
pub(super) fn extract(_: &mut State<'_, '_>, args: &Args) -> R {
    let mut keys = vec![args.value()];
    match args.some(2, "morekeys") {
        Some(more) if is_list(&more) => keys.extend(items(&more, "extract")?),
        Some(more) => keys.push(more),
        None => {}
    }
    let mut value = args.need(1, "container")?;
    for key in keys {
        value = super::items::item(&value, &key)?;
    }
    Ok(value)
}

/// Pairs of an element and each item of the list inside it; the element goes through `left` first.
pub(crate) fn subelement_pairs(
    list: &Value,
    path: &[String],
    skip_missing: bool,
    left: impl Fn(&Value) -> Value,
) -> Result<Vec<Value>, Error> {
    let elements = match pairs(list) {
        Some(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
        None if is_list(list) => items(list, "subelements")?,
        None => return Err(fail("subelements: obj must be a list of dicts or a nested dict")),
    };
    let mut out = Vec::new();
    for element in elements {
        let mut found = element.clone();
        for key in path {
            if found.kind() != ValueKind::Map {
                return Err(fail(format!("subelements: the key {key} should point to a dictionary")));
            }
            let next = found.get_attr(key)?;
            if next.is_undefined() {
                if skip_missing {
                    found = Value::from(Vec::<Value>::new());
                    break;
                }
                return Err(fail(format!("subelements: could not find '{key}' key in iterated item")));
            }
            found = next;
        }
        if !is_list(&found) {
            return Err(fail(format!("subelements: the key '{}' should point to a list", path.join("."))));
        }
        let element = left(&element);
        for item in items(&found, "subelements")? {
            out.push(tuple_of(vec![element.clone(), item]));
        }
    }
    Ok(out)
}

/// `subelements(path, skip_missing)`
pub(super) fn subelements(args: &Args) -> R {
    args.only(3, &["subelements", "skip_missing"])?;
    let by = args.need(1, "subelements")?;
    let path: Vec<String> = match by.as_str() {
        Some(text) => text.split('.').map(str::to_owned).collect(),
        None if is_list(&by) => items(&by, "subelements")?.iter().map(py::str).collect(),
        None => return Err(fail("subelements must be a list or a string")),
    };
    subelement_pairs(&args.value(), &path, args.flag(2, "skip_missing", false), Value::clone).map(Value::from)
}

/// `rekey_on_member(key, duplicates)`
pub(super) fn rekey_on_member(args: &Args) -> R {
    let key = args.need_text(1, "key")?;
    let duplicates = args.text(2, "duplicates").unwrap_or_else(|| "error".to_owned());
    if !matches!(duplicates.as_str(), "error" | "overwrite") {
        return Err(fail(format!("rekey_on_member: duplicates has the unknown value '{duplicates}'")));
    }
    let value = args.value();
    let list = match pairs(&value) {
        Some(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
        None if is_list(&value) => args.items()?,
        None => return Err(fail("rekey_on_member: type is not a valid list, set, or dict")),
    };
    let mut out = indexmap::IndexMap::new();
    for item in list {
        if item.kind() != ValueKind::Map {
            return Err(fail("rekey_on_member: list item is not a valid dict"));
        }
        let k = item.get_attr(&key)?;
        if k.is_undefined() {
            return Err(fail(format!("rekey_on_member: key '{key}' was not found")));
        }
        if out.contains_key(&k) && duplicates == "error" {
            return Err(fail("rekey_on_member: a key is not unique, cannot convert to dict"));
        }
        out.insert(k, item);
    }
    Ok(Value::from_pairs(out))
}

fn all_lists(args: &Args) -> Result<Vec<Vec<Value>>, Error> {
    args.rest(0).iter().map(|v| items(v, args.name())).collect()
}

pub(super) fn zip(args: &Args) -> R {
    let lists = all_lists(args)?;
    let n = lists.iter().map(Vec::len).min().unwrap_or(0);
    let row = |i: usize| tuple_of(lists.iter().filter_map(|l| l.get(i).cloned()).collect());
    Ok(Value::from((0..n).map(row).collect::<Vec<_>>()))
}

pub(super) fn zip_longest(args: &Args) -> R {
    let fill = args.get(usize::MAX, "fillvalue").unwrap_or(Value::from(()));
    let lists = all_lists(args)?;
    let n = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row = |i: usize| tuple_of(lists.iter().map(|l| l.get(i).cloned().unwrap_or_else(|| fill.clone())).collect());
    Ok(Value::from((0..n).map(row).collect::<Vec<_>>()))
}

/// Every way to take one item of each list, the last list varying fastest.
pub(crate) fn cartesian(lists: &[Vec<Value>]) -> Result<Vec<Vec<Value>>, Error> {
    let size = lists.iter().try_fold(1usize, |n, l| n.checked_mul(l.len())).filter(|n| *n <= 1_000_000);
    size.ok_or_else(|| fail("product: more than a million combinations"))?;
    let mut out = vec![Vec::new()];
    for list in lists {
        out = out
            .iter()
            .flat_map(|row| {
                list.iter().map(|v| {
                    let mut row = row.clone();
                    row.push(v.clone());
                    row
                })
            })
            .collect();
    }
    Ok(out)
}

pub(super) fn product(args: &Args) -> R {
    let mut lists = all_lists(args)?;
    let repeat = usize::try_from(args.int(usize::MAX, "repeat")?.unwrap_or(1)).unwrap_or(1).min(20);
    lists = std::iter::repeat_n(lists, repeat).flatten().collect();
    Ok(Value::from(cartesian(&lists)?.into_iter().map(tuple_of).collect::<Vec<_>>()))
}

fn choose(args: &Args, ordered: bool) -> R {
    let list = args.items()?;
    let n = args.int(1, "r")?.map_or(list.len(), |n| usize::try_from(n).unwrap_or(0));
    let mut out = Vec::new();
    let mut row = Vec::new();
    walk(&list, n, ordered, 0, &mut row, &mut out)?;
    let pick = |row: Vec<usize>| tuple_of(row.into_iter().filter_map(|i| list.get(i).cloned()).collect());
    Ok(Value::from(out.into_iter().map(pick).collect::<Vec<_>>()))
}

fn walk(
    list: &[Value],
    n: usize,
    ordered: bool,
    from: usize,
    row: &mut Vec<usize>,
    out: &mut Vec<Vec<usize>>,
) -> Result<(), Error> {
    if row.len() == n {
        if out.len() >= 1_000_000 {
            return Err(fail("more than a million combinations"));
        }
        out.push(row.clone());
        return Ok(());
    }
    for i in from..list.len() {
        if !row.contains(&i) {
            row.push(i);
            walk(list, n, ordered, if ordered { 0 } else { i + 1 }, row, out)?;
            row.pop();
        }
    }
    Ok(())
}

pub(super) fn permutations(args: &Args) -> R {
    choose(args, true)
}

pub(super) fn combinations(args: &Args) -> R {
    choose(args, false)
}

pub(super) fn dict(args: &Args) -> R {
    let mut out = Vec::new();
    for pair in args.items()? {
        match items(&pair, "dict")?.as_slice() {
            [k, v] => put(&mut out, k.clone(), v.clone()),
            _ => return Err(fail("dict: an item is not a pair")),
        }
    }
    Ok(dict_of(out))
}

pub(super) fn dict_kv(args: &Args) -> R {
    Ok(dict_of(vec![(args.need(1, "key")?, args.value())]))
}

pub(super) fn groupby_as_dict(args: &Args) -> R {
    let by = args.need_text(1, "attribute")?;
    let mut out = Vec::new();
    for item in args.items()? {
        let key = item.get_attr(&by)?;
        if key.is_undefined() {
            return Err(fail(format!("groupby_as_dict: an item has no attribute '{by}'")));
        }
        if out.iter().any(|(k, _)| *k == key) {
            return Err(fail(format!("groupby_as_dict: several items have the same '{by}'")));
        }
        out.push((key, item));
    }
    Ok(dict_of(out))
}

pub(super) fn counter(args: &Args) -> R {
    let mut out: indexmap::IndexMap<Value, i64> = indexmap::IndexMap::new();
    for item in args.items()? {
        *out.entry(item).or_default() += 1;
    }
    Ok(Value::from_pairs(out))
}
