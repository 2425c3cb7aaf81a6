//! Lookups that rearrange lists: the classic loops.

use minijinja::Error;
use minijinja::value::{Tuple, Value, ValueKind};

use super::{Call, Found};
use crate::template::args::{boolean, fail, is_list, items, pairs};
use crate::template::filters::{RandomSource, cartesian, flatten_all, subelement_pairs};
use crate::template::py;

fn one_level(terms: &[Value]) -> Found {
    let mut out = Vec::new();
    for term in terms {
        if is_list(term) {
            out.extend(items(term, "items")?);
        } else {
            out.push(term.clone());
        }
    }
    Ok(out)
}

pub(super) fn items_lookup(call: &Call<'_>) -> Found {
    one_level(&call.terms)
}

pub(super) fn list(call: &Call<'_>) -> Found {
    Ok(call.terms.clone())
}

pub(super) fn flattened(call: &Call<'_>) -> Found {
    flatten_all(&call.terms)
}

pub(super) fn dict(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    let terms = match call.terms.as_slice() {
        [one] if is_list(one) => items(one, "dict")?,
        many => many.to_vec(),
    };
    for term in terms {
        let pairs =
            pairs(&term).ok_or_else(|| fail(format!("with_dict expects a dict, not '{}'", py::type_name(&term))))?;
        out.extend(pairs.into_iter().map(|(k, v)| Value::from_pairs([("key", k), ("value", v)])));
    }
    Ok(out)
}

pub(super) fn indexed_items(call: &Call<'_>) -> Found {
    let list = one_level(&call.terms)?;
    Ok(list.into_iter().enumerate().map(|(i, v)| Value::from(Tuple::from([Value::from(i), v]))).collect())
}

fn lists_of(call: &Call<'_>) -> Result<Vec<Vec<Value>>, Error> {
    call.terms.iter().map(|t| if is_list(t) { items(t, call.name) } else { Ok(vec![t.clone()]) }).collect()
}

pub(super) fn nested(call: &Call<'_>) -> Found {
    if call.terms.is_empty() {
        return Err(fail(format!("with_{} requires at least one element in the nested list", call.name)));
    }
    // Items that are lists are laid open, as often as Ansible's lookup does it.
    let rows = cartesian(&lists_of(call)?)?.into_iter();
    let open =
        |row: Vec<Value>| one_level(&row).and_then(|row| if call.terms.len() > 1 { one_level(&row) } else { Ok(row) });
    rows.map(|row| open(row).map(Value::from)).collect()
}

pub(super) fn together(call: &Call<'_>) -> Found {
    let lists = lists_of(call)?;
    if lists.is_empty() {
        return Err(fail("with_together requires at least one element in each list"));
    }
    let n = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row = |i: usize| lists.iter().map(|l| l.get(i).cloned().unwrap_or(Value::from(()))).collect::<Vec<_>>();
    (0..n).map(|i| one_level(&row(i)).map(Value::from)).collect()
}

pub(super) fn subelements(call: &Call<'_>) -> Found {
    let terms = match call.terms.as_slice() {
        [one] if is_list(one) => items(one, "subelements")?,
        many => many.to_vec(),
    };
    let (Some(list), Some(path)) = (terms.first(), terms.get(1)) else {
        return Err(fail("subelements lookup expects a list of two or three items"));
    };
    let skip = terms.get(2).and_then(|f| f.get_attr("skip_missing").ok()).is_some_and(|s| boolean(&s).unwrap_or(false));
    let path: Vec<String> = py::str(path).split('.').map(str::to_owned).collect();
    // Items that the loop before this one skipped have nothing inside.
    let skipped = |item: &Value| item.kind() == ValueKind::Map && item.get_attr("skipped").is_ok_and(|s| s.is_true());
    let list = match pairs(list) {
        Some(pairs) => Value::from(pairs.into_iter().map(|(_, v)| v).filter(|v| !skipped(v)).collect::<Vec<_>>()),
        None if is_list(list) => {
            Value::from(items(list, "subelements")?.into_iter().filter(|v| !skipped(v)).collect::<Vec<_>>())
        }
        None => list.clone(),
    };
    subelement_pairs(&list, &path, skip, |element| without(element, &path))
}

/// A mapping without what stands at `path`: Ansible's lookup takes the list out of the element that it gives beside each item.
fn without(map: &Value, path: &[String]) -> Value {
    let (Some((key, rest)), Some(entries)) = (path.split_first(), pairs(map)) else { return map.clone() };
    let inner = |value: Value| if rest.is_empty() { None } else { Some(without(&value, rest)) };
    let is_key = |name: &Value| name.as_str() == Some(key);
    let left = entries.into_iter().filter_map(|(name, value)| match is_key(&name) {
        true => inner(value).map(|value| (name, value)),
        false => Some((name, value)),
    });
    Value::from(left.collect::<indexmap::IndexMap<Value, Value>>())
}

pub(super) fn random_choice(call: &Call<'_>) -> Found {
    let n = u64::try_from(call.terms.len()).unwrap_or(0);
    let at = usize::try_from(RandomSource::new(None).below(n)).unwrap_or(0);
    Ok(call.terms.get(at).cloned().into_iter().collect())
}

/// `start=1 end=5 stride=2 format=x%02d`, `count=3`, or `1-10/2:x%d`.
pub(super) fn sequence(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    let terms = if call.terms.is_empty() { vec![Value::from("")] } else { call.terms.clone() };
    for term in terms {
        let (mut start, mut end, mut count, mut stride) = (None, None, None, None);
        let mut format = "%d".to_owned();
        let number = |text: &str| -> Result<i64, Error> {
            let text = text.trim();
            let (digits, base) = match text {
                t if t.starts_with("0x") => (t.get(2..).unwrap_or_default(), 16),
                t if t.len() > 1 && t.starts_with('0') => (t.get(1..).unwrap_or_default(), 8),
                t => (t, 10),
            };
            i64::from_str_radix(digits, base).map_err(|_| fail("sequence: can't parse a number"))
        };
        let mut set = |key: &str, value: &str| -> Result<(), Error> {
            match key {
                "start" => start = Some(number(value)?),
                "end" => end = Some(number(value)?),
                "count" => count = Some(number(value)?),
                "stride" => stride = Some(number(value)?),
                "format" => format = value.to_owned(),
                other => return Err(fail(format!("sequence: unrecognized argument '{other}'"))),
            }
            Ok(())
        };
        if term.kind() == ValueKind::Map {
            for (k, v) in pairs(&term).unwrap_or_default() {
                set(&py::str(&k), &py::str(&v))?;
            }
        } else {
            let text = py::str(&term);
            if text.contains('=') {
                // Quotes hold a value together, as in a module's `key=value`.
                let pairs = shlex::split(&text).ok_or_else(|| fail("sequence: a quote is not closed"))?;
                for pair in &pairs {
                    let (key, value) =
                        pair.split_once('=').ok_or_else(|| fail("sequence: expected key=value pairs"))?;
                    set(key, value)?;
                }
            } else if !text.trim().is_empty() {
                let (range, f) = text.split_once(':').map_or((text.as_str(), None), |(r, f)| (r, Some(f)));
                let (range, s) = range.split_once('/').map_or((range, None), |(r, s)| (r, Some(s)));
                let (from, to) = range.split_once('-').map_or((None, range), |(a, b)| (Some(a), b));
                if let Some(from) = from {
                    set("start", from)?;
                }
                set("end", to)?;
                if let Some(s) = s {
                    set("stride", s)?;
                }
                if let Some(f) = f {
                    set("format", f)?;
                }
            }
        }
        for (key, value) in call.options {
            set(key, &py::str(value))?;
        }
        let first = start.unwrap_or(1);
        let last = match (end, count) {
            (None, None) => return Err(fail("sequence: must specify count or end")),
            (Some(_), Some(_)) => return Err(fail("sequence: can't specify both count and end")),
            (Some(end), None) => end,
            (None, Some(0)) => continue,
            (None, Some(count)) => first + (count - 1) * stride.unwrap_or(1),
        };
        let step = stride.unwrap_or(1);
        if step == 0 {
            continue;
        }
        if step > 0 && last < first {
            return Err(fail("sequence: to count backwards make stride negative"));
        }
        if step < 0 && last > first {
            return Err(fail("sequence: to count forward don't make stride negative"));
        }
        let mut n = first;
        while (step > 0 && n <= last) || (step < 0 && n >= last) {
            if out.len() >= 1_000_000 {
                return Err(fail("sequence: more than a million items"));
            }
            out.push(crate::template::filters::percent(&format, &Value::from(n))?);
            n += step;
        }
    }
    Ok(out)
}
