//! Filters of Jinja's own that are seldom used with Ansible.

use minijinja::value::{Tuple, Value, ValueKind};

use super::items::{fold, sort_by};
use crate::template::args::{Args, R, fail, pairs};

/// `attr(name)`: an attribute, where an item of the same name does not count.
pub(super) fn attr(args: &Args) -> R {
    let value = args.value();
    let plain =
        matches!(value.kind(), ValueKind::Map) && value.as_object().is_none_or(|o| o.type_name().contains("Map"));
    if plain { Ok(Value::UNDEFINED) } else { value.get_attr(&args.need_text(1, "name")?) }
}

/// `dictsort(case_sensitive, by, reverse)`
pub(super) fn dictsort(args: &Args) -> R {
    args.only(4, &["case_sensitive", "by", "reverse"])?;
    let sensitive = args.flag(1, "case_sensitive", false);
    let by_value = match args.text(2, "by").as_deref() {
        None | Some("key") => false,
        Some("value") => true,
        Some(other) => return Err(fail(format!("dictsort: you can only sort by key or value, not '{other}'"))),
    };
    let pairs = pairs(&args.value()).ok_or_else(|| fail("dictsort needs a dictionary"))?;
    let mut list = Vec::new();
    for (k, v) in pairs {
        let by = fold(if by_value { v.clone() } else { k.clone() }, sensitive);
        list.push((by, Value::from(Tuple::from([k, v]))));
    }
    let reverse = args.flag(3, "reverse", false);
    if reverse {
        list.reverse();
    }
    let mut list: Vec<Value> = sort_by(list)?.into_iter().map(|(_, pair)| pair).collect();
    if reverse {
        list.reverse();
    }
    Ok(Value::from(list))
}

/// `batch(linecount, fill_with)`: rows of so many items, the last one filled up.
pub(super) fn batch(args: &Args) -> R {
    args.only(3, &["linecount", "fill_with"])?;
    let (items, count) = (args.items()?, number_of(args, "linecount")?);
    let fill = args.get(2, "fill_with").filter(|fill| !fill.is_none());
    let rows = items.chunks(count).map(|row| {
        let missing = fill.iter().flat_map(|fill| std::iter::repeat_n(fill, count - row.len()));
        Value::from_iter(row.iter().chain(missing).cloned())
    });
    Ok(rows.collect())
}

/// `slice(slices, fill_with)`: so many columns, the first ones longer where it does not come out even.
pub(super) fn slice(args: &Args) -> R {
    args.only(3, &["slices", "fill_with"])?;
    let (items, count) = (args.items()?, number_of(args, "slices")?);
    let fill = args.get(2, "fill_with").filter(|fill| !fill.is_none());
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut rest = items.as_slice();
    let mut columns = Vec::with_capacity(count);
    for column in 0..count {
        let (own, behind) = rest.split_at(each + usize::from(column < longer));
        rest = behind;
        let filler = fill.iter().filter(|_| column >= longer);
        columns.push(Value::from_iter(own.iter().chain(filler).cloned()));
    }
    Ok(Value::from(columns))
}

/// How many rows or columns: at most as many as a template may make.
fn number_of(args: &Args, name: &str) -> Result<usize, minijinja::Error> {
    let given = args.int(1, name)?.ok_or_else(|| fail(format!("{} needs `{name}`", args.name())))?;
    let fits = usize::try_from(given).ok().filter(|count| (1..=100_000).contains(count));
    fits.ok_or_else(|| fail(format!("{}: `{name}` is a number from 1 to 100000", args.name())))
}
