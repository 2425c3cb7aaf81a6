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
