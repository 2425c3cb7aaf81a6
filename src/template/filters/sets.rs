//! Lists as sets. The order of the result is that of the arguments.

use std::collections::HashSet;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, R, items, to_float};

/// What Python takes an item for in a set: true is one, and one is 1.0.
fn key(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if !value.is_integer() => match to_float(value) {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

pub(super) fn distinct(list: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    list.into_iter().filter(|value| seen.insert(key(value))).collect()
}

fn keys(list: &[Value]) -> HashSet<Value> {
    list.iter().map(key).collect()
}

fn both(args: &Args) -> Result<(Vec<Value>, Vec<Value>), Error> {
    Ok((args.items()?, items(&args.need(1, "b")?, args.name())?))
}

/// `unique(case_sensitive, attribute)`
pub(super) fn unique(args: &Args) -> R {
    args.only(3, &["case_sensitive", "attribute"])?;
    let sensitive = args.flag(1, "case_sensitive", false);
    let by = args.some(2, "attribute");
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for item in args.items()? {
        let key = match &by {
            Some(by) => super::items::attribute(&item, by)?,
            None => item.clone(),
        };
        let key = match key.as_str() {
            Some(text) if !sensitive => Value::from(text.to_lowercase()),
            _ => self::key(&key),
        };
        if seen.insert(key) {
            out.push(item);
        }
    }
    Ok(Value::from(out))
}

pub(super) fn difference(args: &Args) -> R {
    let (a, b) = both(args)?;
    let b = keys(&b);
    Ok(Value::from(distinct(a.into_iter().filter(|v| !b.contains(&key(v))))))
}

pub(super) fn intersect(args: &Args) -> R {
    let (a, b) = both(args)?;
    let b = keys(&b);
    Ok(Value::from(distinct(a.into_iter().filter(|v| b.contains(&key(v))))))
}

pub(super) fn union(args: &Args) -> R {
    let (a, b) = both(args)?;
    Ok(Value::from(distinct(a.into_iter().chain(b))))
}

pub(super) fn symmetric_difference(args: &Args) -> R {
    let (a, b) = both(args)?;
    let (of_a, of_b) = (keys(&a), keys(&b));
    let left = a.into_iter().filter(|v| !of_b.contains(&key(v)));
    let right = b.into_iter().filter(|v| !of_a.contains(&key(v)));
    Ok(Value::from(distinct(left.chain(right))))
}
