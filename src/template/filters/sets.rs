//! Lists as sets. The order of the result is that of the arguments.

use minijinja::Error;
use minijinja::value::Value;

use crate::template::args::{Args, R, items};

fn distinct(list: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut seen = indexmap::IndexSet::new();
    seen.extend(list);
    seen.into_iter().collect()
}

fn both(args: &Args) -> Result<(Vec<Value>, indexmap::IndexSet<Value>), Error> {
    Ok((args.items()?, items(&args.need(1, "b")?, args.name())?.into_iter().collect()))
}

/// `unique(case_sensitive, attribute)`
pub(super) fn unique(args: &Args) -> R {
    args.only(3, &["case_sensitive", "attribute"])?;
    let sensitive = args.flag(1, "case_sensitive", false);
    let by = args.some(2, "attribute");
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    for item in args.items()? {
        let key = match &by {
            Some(by) => super::items::attribute(&item, by)?,
            None => item.clone(),
        };
        let key = match key.as_str() {
            Some(text) if !sensitive => Value::from(text.to_lowercase()),
            _ => key,
        };
        if seen.insert(key) {
            out.push(item);
        }
    }
    Ok(Value::from(out))
}

pub(super) fn difference(args: &Args) -> R {
    let (a, b) = both(args)?;
    Ok(Value::from(distinct(a.into_iter().filter(|v| !b.contains(v)))))
}

pub(super) fn intersect(args: &Args) -> R {
    let (a, b) = both(args)?;
    Ok(Value::from(distinct(a.into_iter().filter(|v| b.contains(v)))))
}

pub(super) fn union(args: &Args) -> R {
    let (a, b) = both(args)?;
    Ok(Value::from(distinct(a.into_iter().chain(b))))
}

pub(super) fn symmetric_difference(args: &Args) -> R {
    let (a, b) = both(args)?;
    let a: indexmap::IndexSet<Value> = a.into_iter().collect();
    let left = a.iter().filter(|v| !b.contains(*v)).cloned();
    let right = b.iter().filter(|v| !a.contains(*v)).cloned();
    Ok(Value::from(left.chain(right).collect::<Vec<_>>()))
}

fn many(args: &Args) -> Result<Vec<Vec<Value>>, Error> {
    let lists: Result<Vec<_>, _> = args.rest(0).iter().map(|l| items(l, args.name())).collect();
    let lists = lists?;
    let flatten = args.flag(usize::MAX, "flatten", false);
    if flatten {
        return lists.iter().map(|l| super::data::flatten_all(l)).collect();
    }
    Ok(lists)
}

pub(super) fn lists_union(args: &Args) -> R {
    Ok(Value::from(distinct(many(args)?.into_iter().flatten())))
}

pub(super) fn lists_intersect(args: &Args) -> R {
    let mut lists = many(args)?.into_iter();
    let first = lists.next().unwrap_or_default();
    let rest: Vec<Vec<Value>> = lists.collect();
    Ok(Value::from(distinct(first.into_iter().filter(|v| rest.iter().all(|l| l.contains(v))))))
}

pub(super) fn lists_difference(args: &Args) -> R {
    let mut lists = many(args)?.into_iter();
    let first = lists.next().unwrap_or_default();
    let rest: Vec<Vec<Value>> = lists.collect();
    Ok(Value::from(distinct(first.into_iter().filter(|v| !rest.iter().any(|l| l.contains(v))))))
}
