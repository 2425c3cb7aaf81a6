//! Lists as sets. The order of the result is that of the arguments.

use minijinja::Error;
use minijinja::value::Value;

use crate::template::args::{Args, R, items};

pub(super) fn distinct(list: impl IntoIterator<Item = Value>) -> Vec<Value> {
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
