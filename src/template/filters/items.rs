//! Filters on any value, and Jinja's on sequences.

use std::cmp::Ordering;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, State};

use crate::template::args::{Args, R, fail, is_list, items, pairs};
use crate::template::{held, py, time};

/// An attribute or item of something; undefined of what is undefined.
pub(super) fn get(_: &mut State<'_, '_>, args: &Args) -> R {
    let (base, key) = (args.value(), args.get(1, "key").unwrap_or_default());
    item(&base, &key)
}

/// An attribute that a dictionary has as a method.
pub(super) fn method(args: &Args) -> R {
    let (base, key) = (args.value(), args.get(1, "key").unwrap_or_default());
    match crate::template::methods::bound(&base, &key) {
        Some(method) => Ok(method),
        None => item(&base, &key),
    }
}

/// An attribute or item, tolerating an undefined base. Negative indexes count from the end.
pub(super) fn item(base: &Value, key: &Value) -> R {
    if base.is_undefined() || key.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    let found = base.get_item(key)?;
    if found.is_undefined()
        && base.kind() == ValueKind::String
        && let (Some(text), Some(i)) = (base.as_str(), key.as_i64())
    {
        let chars: Vec<char> = text.chars().collect();
        let i = if i < 0 { i + i64::try_from(chars.len()).unwrap_or(0) } else { i };
        let c = usize::try_from(i).ok().and_then(|i| chars.get(i));
        return Ok(c.map_or(Value::UNDEFINED, |c| Value::from(c.to_string())));
    }
    if found.kind() == ValueKind::Invalid {
        return Err(crate::template::lazy::error_in(&found));
    }
    Ok(found)
}

/// `a.b.c` or `0` inside something, for `attribute=`.
pub(super) fn attribute(base: &Value, path: &Value) -> R {
    let Some(text) = path.as_str() else { return item(base, path) };
    let mut value = base.clone();
    for part in text.split('.') {
        let key = match part.parse::<u64>() {
            Ok(i) if value.kind() != ValueKind::Map || value.get_attr(part).is_ok_and(|v| v.is_undefined()) => {
                Value::from(i)
            }
            _ => Value::from(part),
        };
        value = item(&value, &key)?;
    }
    Ok(value)
}

/// A method call whose object or arguments may be undefined.
pub(super) fn call_method(state: &mut State<'_, '_>, args: &Args) -> R {
    if args.has_undefined() {
        return Ok(Value::UNDEFINED);
    }
    let name = py::str(&args.get(1, "name").unwrap_or_default());
    let mut values = args.rest(2).to_vec();
    if !args.named().is_empty() {
        let named = args.named().iter().map(|(k, v)| (k.clone(), v.clone()));
        values.push(Value::from(named.collect::<minijinja::value::Kwargs>()));
    }
    args.value().call_method(state, &name, &values)
}

/// `default(value, boolean)`
pub(super) fn default(args: &Args) -> R {
    args.only(3, &["default_value", "boolean"])?;
    let value = args.value();
    let boolean = args.flag(2, "boolean", false);
    if value.is_undefined() || (boolean && !value.is_true()) {
        return held::taken(args.get(1, "default_value").unwrap_or_else(|| Value::from("")));
    }
    Ok(value)
}

/// `mandatory(msg)`
pub(super) fn mandatory(args: &Args) -> R {
    let value = args.value();
    if value.is_undefined() {
        return Err(fail(args.text(1, "msg").unwrap_or_else(|| "Mandatory variable not defined.".to_owned())));
    }
    Ok(value)
}

/// `ternary(true, false, none)`
pub(super) fn ternary(args: &Args) -> R {
    args.only(4, &["true_val", "false_val", "none_val"])?;
    let value = args.value();
    if value.is_undefined() {
        return Ok(value);
    }
    if value.is_none()
        && let Some(none) = args.some(3, "none_val")
    {
        return held::taken(none);
    }
    held::taken(if value.is_true() { args.need(1, "true_val")? } else { args.need(2, "false_val")? })
}

pub(super) fn type_debug(args: &Args) -> R {
    Ok(Value::from(py::type_name(&args.value())))
}

/// `bool`: yes, on, true and 1 are true, whatever their case; everything else is false.
pub(super) fn bool(args: &Args) -> R {
    let value = args.value();
    Ok(Value::from(match value.kind() {
        ValueKind::Bool => value.is_true(),
        ValueKind::String => {
            matches!(value.as_str().unwrap_or_default().to_lowercase().as_str(), "yes" | "on" | "true" | "1")
        }
        ValueKind::Number => value == Value::from(1),
        _ => false,
    }))
}

pub(super) fn list(args: &Args) -> R {
    args.items().map(Value::from)
}

pub(super) fn length(args: &Args) -> R {
    let value = args.value();
    match value.kind() {
        ValueKind::Bytes => Ok(Value::from(value.as_bytes().unwrap_or_default().len())),
        ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            Ok(Value::from(match value.len() {
                Some(n) => n,
                None => args.items()?.len(),
            }))
        }
        _ => Err(fail(format!("object of type '{}' has no len()", py::type_name(&value)))),
    }
}

pub(super) fn first(args: &Args) -> R {
    Ok(args.items()?.into_iter().next().unwrap_or_default())
}

pub(super) fn last(args: &Args) -> R {
    Ok(args.items()?.pop().unwrap_or_default())
}

pub(super) fn reverse(args: &Args) -> R {
    let value = args.value();
    if let Some(text) = value.as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut items = args.items()?;
    items.reverse();
    Ok(Value::from(items))
}

/// A dictionary's pairs as tuples.
pub(super) fn items_pairs(args: &Args) -> R {
    let value = args.value();
    let pairs = pairs(&value).ok_or_else(|| fail("items: can only get item pairs from a mapping"))?;
    Ok(Value::from(pairs.into_iter().map(|(k, v)| Value::from(Tuple::from([k, v]))).collect::<Vec<_>>()))
}

/// Compares as Python does, or says that it cannot.
pub(crate) fn compare(a: &Value, b: &Value) -> Result<Ordering, Error> {
    let numeric = |v: &Value| v.is_number() || v.kind() == ValueKind::Bool;
    if numeric(a) && numeric(b) {
        let number =
            |v: &Value| if v.kind() == ValueKind::Bool { Value::from(i64::from(v.is_true())) } else { v.clone() };
        return Ok(number(a).cmp(&number(b)));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(a.cmp(b));
    }
    if is_list(a) && is_list(b) && a.is_tuple() == b.is_tuple() {
        let (a, b) = (items(a, "comparison")?, items(b, "comparison")?);
        for (x, y) in a.iter().zip(&b) {
            if x != y {
                return compare(x, y);
            }
        }
        return Ok(a.len().cmp(&b.len()));
    }
    if a.kind() == ValueKind::Plain && b.kind() == ValueKind::Plain {
        if let Some(why) = time::incomparable(a, b) {
            return Err(why);
        }
        return Ok(a.cmp(b));
    }
    Err(fail(format!("'<' not supported between instances of '{}' and '{}'", py::type_name(a), py::type_name(b))))
}

/// Text without its case, for sorting and grouping.
pub(super) fn fold(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    }
}

pub(super) fn sort_by<T>(mut list: Vec<(Value, T)>) -> Result<Vec<(Value, T)>, Error> {
    let mut error = None;
    list.sort_by(|(a, _), (b, _)| {
        compare(a, b).unwrap_or_else(|e| {
            error.get_or_insert(e);
            Ordering::Equal
        })
    });
    match error {
        Some(e) => Err(e),
        None => Ok(list),
    }
}

fn keyed(args: &Args, at: usize, case_sensitive: bool) -> Result<Vec<(Value, Value)>, Error> {
    let by = args.some(at, "attribute");
    let mut out = Vec::new();
    for item in args.items()? {
        let key = match &by {
            None => fold(item.clone(), case_sensitive),
            Some(by) => {
                let mut keys = Vec::new();
                match by.as_str() {
                    Some(text) => {
                        for one in text.split(',') {
                            keys.push(fold(attribute(&item, &Value::from(one.trim()))?, case_sensitive));
                        }
                    }
                    None => keys.push(fold(attribute(&item, by)?, case_sensitive)),
                }
                if keys.iter().any(Value::is_undefined) {
                    return Err(Error::new(
                        minijinja::ErrorKind::UndefinedError,
                        format!("an item has no attribute '{}'", py::str(by)),
                    ));
                }
                if let [_] = keys.as_slice() { keys.remove(0) } else { Value::from(keys) }
            }
        };
        out.push((key, item));
    }
    Ok(out)
}

/// `sort(reverse, case_sensitive, attribute)`
pub(super) fn sort(args: &Args) -> R {
    args.only(4, &["reverse", "case_sensitive", "attribute"])?;
    let list = keyed(args, 3, args.flag(2, "case_sensitive", false))?;
    let reverse = args.flag(1, "reverse", false);
    // A reversed sort keeps equal items in their order, as Python's does.
    let list = if reverse { list.into_iter().rev().collect() } else { list };
    let mut list = sort_by(list)?;
    if reverse {
        list.reverse();
    }
    Ok(Value::from(list.into_iter().map(|(_, v)| v).collect::<Vec<_>>()))
}

pub(super) fn version_sort(args: &Args) -> R {
    let mut list: Vec<Value> = args.items()?;
    if args.flag(1, "reverse", false) {
        list.reverse();
    }
    list.sort_by(|a, b| crate::template::tests::version::loose(&py::str(a), &py::str(b)).unwrap_or(Ordering::Equal));
    if args.flag(1, "reverse", false) {
        list.reverse();
    }
    Ok(Value::from(list))
}

fn extreme(args: &Args, want: Ordering) -> R {
    let mut best: Option<(Value, Value)> = None;
    for (key, item) in keyed(args, 2, args.flag(1, "case_sensitive", false))? {
        match &best {
            Some((k, _)) if compare(&key, k)? != want => {}
            _ => best = Some((key, item)),
        }
    }
    Ok(best.map(|(_, v)| v).unwrap_or_default())
}

pub(super) fn min(args: &Args) -> R {
    extreme(args, Ordering::Less)
}

pub(super) fn max(args: &Args) -> R {
    extreme(args, Ordering::Greater)
}

/// `sum(attribute, start)`
pub(super) fn sum(args: &Args) -> R {
    let by = args.some(1, "attribute");
    let mut total = args.get(2, "start").unwrap_or(Value::from(0));
    for item in args.items()? {
        let value = match &by {
            Some(by) => attribute(&item, by)?,
            None => item,
        };
        total = super::math::add(&total, &value)?;
    }
    Ok(total)
}

/// `groupby(attribute, default, case_sensitive)`: pairs of the value and the items that have it.
pub(super) fn groupby(args: &Args) -> R {
    let by = args.need(1, "attribute")?;
    let default = args.get(2, "default");
    let sensitive = args.flag(3, "case_sensitive", false);
    let mut list = Vec::new();
    for item in args.items()? {
        let mut key = attribute(&item, &by)?;
        if key.is_undefined() {
            key = default.clone().unwrap_or_default();
        }
        if key.is_undefined() {
            return Err(fail(format!("groupby: an item has no attribute '{}'", py::str(&by))));
        }
        list.push((fold(key.clone(), sensitive), (key, item)));
    }
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (folded, (key, item)) in sort_by(list)? {
        match groups.last_mut() {
            Some((last, _, group)) if *last == folded => group.push(item),
            _ => groups.push((folded, key, vec![item])),
        }
    }
    Ok(Value::from(
        groups
            .into_iter()
            .map(|(_, key, group)| Value::from_object(Group(key, Value::from(group))))
            .collect::<Vec<_>>(),
    ))
}

/// A group: a pair whose parts are also called `grouper` and `list`.
#[derive(Debug)]
struct Group(Value, Value);

/// The text of a group, which Python prints as a pair.
pub(crate) fn group_text(value: &Value) -> Option<String> {
    let Group(key, list) = value.downcast_object_ref::<Group>()?;
    Some(format!("({}, {})", py::repr(key), py::repr(list)))
}

impl minijinja::value::Object for Group {
    fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Seq
    }

    fn get_value(self: &std::sync::Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_i64()) {
            (Some("grouper"), _) | (_, Some(0 | -2)) => Some(self.0.clone()),
            (Some("list"), _) | (_, Some(1 | -1)) => Some(self.1.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &std::sync::Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Seq(2)
    }
}

/// `map('filter', …)` and `map(attribute=…, default=…)`
pub(super) fn map(state: &mut State<'_, '_>, args: &Args) -> R {
    let mut out = Vec::new();
    // With the name of a filter `attribute` is an argument of that one.
    if let Some((_, by)) = args.named().iter().find(|(k, _)| k == "attribute" && args.rest(1).is_empty()) {
        let default = args.named().iter().find(|(k, _)| k == "default").map(|(_, v)| v.clone());
        for item in args.items()? {
            let found = attribute(&item, by)?;
            out.push(match &default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
        return Ok(Value::from(out));
    }
    let filter = py::str(&args.need(1, "filter")?);
    if !super::is_known(&filter) {
        return Err(fail(format!("map: there is no filter named '{filter}'")));
    }
    let mut values = vec![Value::UNDEFINED];
    values.extend_from_slice(args.rest(2));
    if !args.named().is_empty() {
        let named = args.named().iter().map(|(k, v)| (k.clone(), v.clone()));
        values.push(Value::from(named.collect::<minijinja::value::Kwargs>()));
    }
    for item in args.items()? {
        if let Some(first) = values.first_mut() {
            *first = item;
        }
        out.push(state.apply_filter(&filter, &values)?);
    }
    Ok(Value::from(out))
}

fn chosen(state: &mut State<'_, '_>, args: &Args, by: Option<&Value>, at: usize, keep: bool) -> R {
    let test = args.get(at, "test").map(|t| py::str(&t));
    if let Some(test) = &test
        && !crate::template::tests::is_known(test)
    {
        return Err(fail(format!("{}: there is no test named '{test}'", args.name())));
    }
    let mut values = vec![Value::UNDEFINED];
    values.extend_from_slice(args.rest(at + 1));
    if !args.named().is_empty() {
        let named = args.named().iter().map(|(k, v)| (k.clone(), v.clone()));
        values.push(Value::from(named.collect::<minijinja::value::Kwargs>()));
    }
    let mut out = Vec::new();
    for item in args.items()? {
        let subject = match by {
            Some(by) => attribute(&item, by)?,
            None => item.clone(),
        };
        let passed = match &test {
            None if subject.is_undefined() => return Ok(Value::UNDEFINED),
            None => subject.is_true(),
            Some(test) => {
                if let Some(first) = values.first_mut() {
                    *first = subject;
                }
                state.perform_test(test, &values)?
            }
        };
        if passed == keep {
            out.push(item);
        }
    }
    Ok(Value::from(out))
}

pub(super) fn select(state: &mut State<'_, '_>, args: &Args) -> R {
    chosen(state, args, None, 1, true)
}

pub(super) fn reject(state: &mut State<'_, '_>, args: &Args) -> R {
    chosen(state, args, None, 1, false)
}

pub(super) fn selectattr(state: &mut State<'_, '_>, args: &Args) -> R {
    let by = args.need(1, "attribute")?;
    chosen(state, args, Some(&by), 2, true)
}

pub(super) fn rejectattr(state: &mut State<'_, '_>, args: &Args) -> R {
    let by = args.need(1, "attribute")?;
    chosen(state, args, Some(&by), 2, false)
}

/// A test used as a filter.
pub(super) fn as_test(state: &mut State<'_, '_>, args: &Args) -> R {
    let mut values = args.rest(0).to_vec();
    if !args.named().is_empty() {
        let named = args.named().iter().map(|(k, v)| (k.clone(), v.clone()));
        values.push(Value::from(named.collect::<minijinja::value::Kwargs>()));
    }
    state.perform_test(args.name(), &values).map(Value::from)
}
