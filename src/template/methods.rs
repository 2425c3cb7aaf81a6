//! Python's methods on strings, lists, dictionaries and times.

use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::args::{Args, R, fail, items, pairs};

/// A method that is not called: `d.items`.
#[derive(Debug)]
struct Method {
    of: Value,
    name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> R {
        self.of.call_method(state, &self.name, args)
    }
}

/// Whether dictionaries have a method of this name.
pub(super) fn of_dictionary(name: &str) -> bool {
    const NAMES: &[&str] =
        &["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];
    NAMES.contains(&name)
}

/// The method of a dictionary; nothing of what is none.
pub(super) fn bound(value: &Value, name: &Value) -> Option<Value> {
    let object = value.as_object().filter(|_| value.kind() == ValueKind::Map)?;
    let known = object.downcast_ref::<super::touch::Unknown>().is_none()
        && object.downcast_ref::<super::touch::Partial>().is_none();
    let name = name.as_str().filter(|_| known && !super::mutable::is_namespace(object))?;
    Some(Value::from_object(Method { of: value.clone(), name: name.to_owned() }))
}

/// Calls a method that the value itself does not have.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, values: &[Value]) -> R {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if values.iter().any(Value::is_undefined) {
        return Ok(Value::UNDEFINED);
    }
    // Ansible's templates may not see what Python keeps for itself.
    if method.starts_with("__") {
        return Ok(Value::UNDEFINED);
    }
    let args = Args::from_values("method", values.to_vec())?;
    let result = match value.kind() {
        ValueKind::String => string(value.as_str().unwrap_or_default(), method, &args)?,
        ValueKind::Seq | ValueKind::Iterable => list(value, method, &args)?,
        ValueKind::Map => dict(value, method, &args)?,
        ValueKind::Number => number(value, method)?,
        ValueKind::Bytes => super::bytes::method(value.as_bytes().unwrap_or_default(), method, &args)?,
        _ => None,
    };
    if let Some(result) = result {
        return Ok(result);
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, values).map_err(|e| {
        let stored = value.get_attr(method).is_ok_and(|v| !v.is_undefined());
        if e.kind() == ErrorKind::UnknownMethod && !stored {
            fail(format!("'{}' object has no method '{method}'", super::py::type_name(value)))
        } else {
            e
        }
    })
}

fn strings(parts: impl IntoIterator<Item = impl AsRef<str>>) -> Value {
    Value::from(parts.into_iter().map(|s| Value::from(s.as_ref())).collect::<Vec<_>>())
}

/// `str.split` and `str.rsplit`.
pub(super) fn split(text: &str, sep: Option<&str>, max: Option<i64>, right: bool) -> Result<Value, Error> {
    let max = max.and_then(|m| usize::try_from(m).ok());
    let Some(sep) = sep else {
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some(max) = max.filter(|m| *m < words.len().saturating_sub(1)) else { return Ok(strings(words)) };
        // The rest keeps its inner spaces.
        let mut out = Vec::new();
        let mut rest = text.trim();
        for _ in 0..max {
            let cut = if right { rest.rsplit_once(char::is_whitespace) } else { rest.split_once(char::is_whitespace) };
            let Some((a, b)) = cut else { break };
            let (word, more) = if right { (b, a.trim_end()) } else { (a, b.trim_start()) };
            out.push(word);
            rest = more;
        }
        out.push(rest);
        if right {
            out.reverse();
        }
        return Ok(strings(out));
    };
    if sep.is_empty() {
        return Err(fail("split: the separator is empty"));
    }
    Ok(match (max, right) {
        (None, _) => strings(text.split(sep)),
        (Some(max), false) => strings(text.splitn(max + 1, sep)),
        (Some(max), true) => {
            let mut parts: Vec<&str> = text.rsplitn(max + 1, sep).collect();
            parts.reverse();
            strings(parts)
        }
    })
}

fn pad(text: &str, args: &Args, side: char) -> Result<Value, Error> {
    let width = args.int(0, "width")?.unwrap_or(0);
    let fill = args.text(1, "fillchar").unwrap_or_else(|| " ".to_owned());
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    if missing > 10_000_000 {
        return Err(fail("the width is too large"));
    }
    let (left, right) = match side {
        'l' => (0, missing),
        'r' => (missing, 0),
        // Python puts the odd one left when the width is odd.
        _ => {
            let left = missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1);
            (left, missing - left)
        }
    };
    Ok(Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(right))))
}

/// The part of a text that the arguments `start` and `end` (the second and third) mean, and the characters before it.
fn within<'t>(text: &'t str, args: &Args) -> Result<(usize, &'t str), Error> {
    let length = text.chars().count();
    let place = |n: Option<i64>, default: usize| match n {
        None => default,
        Some(n) if n < 0 => length.saturating_sub(usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX)),
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX).min(length),
    };
    let (start, end) = (place(args.int(1, "start")?, 0), place(args.int(2, "end")?, length));
    let offset = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    Ok((start, text.get(offset(start)..offset(end)).unwrap_or_default()))
}

fn tuple(parts: [&str; 3]) -> Value {
    Value::from(Tuple::from(parts.map(Value::from)))
}

fn string(text: &str, method: &str, args: &Args) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "split" => split(text, args.text(0, "sep").as_deref(), args.int(1, "maxsplit")?, false)?,
        "rsplit" => split(text, args.text(0, "sep").as_deref(), args.int(1, "maxsplit")?, true)?,
        "ljust" => pad(text, args, 'l')?,
        "rjust" => pad(text, args, 'r')?,
        "center" => pad(text, args, 'c')?,
        "zfill" => {
            let width = usize::try_from(args.int(0, "width")?.unwrap_or(0)).unwrap_or(0).min(10_000_000);
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(rest) => text.split_at(text.len() - rest.len()),
                None => ("", text),
            };
            let missing = width.saturating_sub(text.chars().count());
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "partition" => {
            let sep = args.need_text(0, "sep")?;
            match text.split_once(&sep) {
                Some((a, b)) => tuple([a, &sep, b]),
                None => tuple([text, "", ""]),
            }
        }
        "rpartition" => {
            let sep = args.need_text(0, "sep")?;
            match text.rsplit_once(&sep) {
                Some((a, b)) => tuple([a, &sep, b]),
                None => tuple(["", "", text]),
            }
        }
        "swapcase" => Value::from(
            text.chars()
                .flat_map(|c| {
                    if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() }
                })
                .collect::<String>(),
        ),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "removeprefix" => Value::from(text.strip_prefix(args.need_text(0, "prefix")?.as_str()).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(args.need_text(0, "suffix")?.as_str()).unwrap_or(text)),
        "expandtabs" => {
            let size = usize::try_from(args.int(0, "tabsize")?.unwrap_or(8)).unwrap_or(8).min(1000);
            let mut out = String::new();
            let mut at = 0;
            for c in text.chars() {
                match c {
                    '\t' => {
                        let n = if size == 0 { 0 } else { size - at % size };
                        out.push_str(&" ".repeat(n));
                        at += n;
                    }
                    '\n' | '\r' => {
                        out.push(c);
                        at = 0;
                    }
                    c => {
                        out.push(c);
                        at += 1;
                    }
                }
            }
            Value::from(out)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let what = args.need_text(0, "sub")?;
            let (before, part) = within(text, args)?;
            if method == "count" {
                return Ok(Some(Value::from(match what.is_empty() {
                    true => part.chars().count() + 1,
                    false => part.matches(what.as_str()).count(),
                })));
            }
            let at = if method.starts_with('r') { part.rfind(&what) } else { part.find(&what) };
            match at {
                Some(at) => Value::from(before + part.get(..at).unwrap_or_default().chars().count()),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(fail("substring not found")),
            }
        }
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_numeric())),
        "isidentifier" => Value::from(
            text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_alphanumeric() || c == '_'),
        ),
        "isprintable" => Value::from(!text.chars().any(char::is_control)),
        "istitle" => Value::from(super::filters::text::title(text) == text && text.chars().any(char::is_alphabetic)),
        "title" => Value::from(super::filters::text::python_title(text)),
        "startswith" | "endswith" => {
            let what = args.need(0, "prefix")?;
            let options: Vec<String> = if what.kind() == ValueKind::String {
                vec![super::py::str(&what)]
            } else {
                items(&what, method_name(method))?.iter().map(super::py::str).collect()
            };
            let (_, text) = within(text, args)?;
            let test = |o: &String| {
                if method == "startswith" { text.starts_with(o.as_str()) } else { text.ends_with(o.as_str()) }
            };
            Value::from(options.iter().any(test))
        }
        "encode" => super::bytes::encode(text, args)?,
        "join" => {
            let mut out = Vec::new();
            for item in items(&args.need(0, "iterable")?, "join")? {
                match item.as_str() {
                    Some(s) => out.push(s.to_owned()),
                    None => {
                        return Err(fail(format!(
                            "join: expected str instance, {} found",
                            super::py::type_name(&item)
                        )));
                    }
                }
            }
            Value::from(out.join(text))
        }
        "format" => Value::from(format(text, args)?),
        "translate" => translate(text, &args.need(0, "table")?)?,
        "maketrans" => table(args)?,
        "format_map" => {
            let names = pairs(&args.need(0, "mapping")?).ok_or_else(|| fail("format_map needs a dictionary"))?;
            let names = names.into_iter().map(|(k, v)| (super::py::str(&k), v));
            let named = Value::from(names.collect::<minijinja::value::Kwargs>());
            Value::from(format(text, &Args::from_values("format_map", vec![named])?)?)
        }
        _ => return Ok(None),
    }))
}

/// `str.translate`: characters by their numbers, to numbers, text, or nothing.
fn translate(text: &str, table: &Value) -> R {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let found = table.get_item(&Value::from(u32::from(c)))?;
        if found.is_undefined() {
            out.push(c);
        } else if let Some(code) = found.as_i64().filter(|_| found.is_integer()) {
            let to = u32::try_from(code).ok().and_then(char::from_u32);
            out.push(to.ok_or_else(|| fail("translate: a number is no character"))?);
        } else if !found.is_none() {
            out.push_str(found.as_str().ok_or_else(|| fail("translate: a character becomes a number, text or none"))?);
        }
    }
    Ok(Value::from(out))
}

/// `str.maketrans`: a dictionary by characters, or two texts of one length and one of what is left out.
fn table(args: &Args) -> R {
    let number = |c: char| Value::from(u32::from(c));
    let Some(to) = args.text(1, "y") else {
        let given = pairs(&args.need(0, "x")?).ok_or_else(|| fail("maketrans: a single argument is a dictionary"))?;
        let by_number = given.into_iter().map(|(key, value)| match key.as_str().map(|text| text.chars()) {
            Some(mut text) => match (text.next(), text.next()) {
                (Some(c), None) => Ok((number(c), value)),
                _ => Err(fail("maketrans: a key is one character")),
            },
            None => Ok((key, value)),
        });
        return Ok(Value::from_pairs(by_number.collect::<Result<Vec<_>, Error>>()?));
    };
    let from = args.need_text(0, "x")?;
    if from.chars().count() != to.chars().count() {
        return Err(fail("maketrans: the first two arguments have one length"));
    }
    let mut made: Vec<(Value, Value)> = from.chars().map(number).zip(to.chars().map(number)).collect();
    made.extend(args.text(2, "z").unwrap_or_default().chars().map(|c| (number(c), Value::from(()))));
    Ok(Value::from_pairs(made))
}

fn method_name(method: &str) -> &'static str {
    if method == "startswith" { "startswith" } else { "endswith" }
}

/// `str.format` with positions, names, attributes, items and the common format specifications.
fn format(text: &str, args: &Args) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut auto = 0;
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() == Some(&'{') => {
                chars.next();
                out.push('{');
            }
            '}' => {
                if chars.next() != Some('}') {
                    return Err(fail("format: single '}' encountered"));
                }
                out.push('}');
            }
            '{' => {
                let mut field = String::new();
                let mut depth = 0;
                loop {
                    match chars.next() {
                        Some('}') if depth == 0 => break,
                        Some(c) => {
                            depth += i32::from(c == '{') - i32::from(c == '}');
                            field.push(c);
                        }
                        None => return Err(fail("format: expected '}'")),
                    }
                }
                let (name, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (name, conversion) = match name.split_once('!') {
                    Some((n, c)) => (n, Some(c)),
                    None => (name, None),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (base, mut path) = name.split_at(end);
                let mut value = if base.is_empty() {
                    auto += 1;
                    args.get(auto - 1, "")
                } else if let Ok(at) = base.parse::<usize>() {
                    args.rest(at).first().cloned()
                } else {
                    args.get(usize::MAX, base)
                }
                .ok_or_else(|| fail(format!("format: there is no argument '{base}'")))?;
                while !path.is_empty() {
                    let key;
                    if let Some(rest) = path.strip_prefix('.') {
                        let end = rest.find(['.', '[']).unwrap_or(rest.len());
                        (key, path) = rest.split_at(end);
                    } else {
                        let rest = path.strip_prefix('[').unwrap_or(path);
                        let (k, more) = rest.split_once(']').ok_or_else(|| fail("format: expected ']'"))?;
                        (key, path) = (k, more);
                    }
                    value = match key.parse::<usize>() {
                        Ok(i) => value.get_item(&Value::from(i))?,
                        Err(_) => value.get_attr(key)?,
                    };
                    if value.is_undefined() {
                        return Err(fail(format!("format: there is no '{key}'")));
                    }
                }
                if let Some(c) = conversion {
                    value = Value::from(if c == "r" { super::py::repr(&value) } else { super::py::str(&value) });
                }
                // A specification may have fields of its own: `{:>{width}}`.
                let inner = if spec.contains('{') { Some(nested(spec, args, &mut auto)?) } else { None };
                out.push_str(&format_spec(&value, inner.as_deref().unwrap_or(spec))?);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A specification with its fields filled in: names and positions only.
fn nested(spec: &str, args: &Args, auto: &mut usize) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = spec;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or_else(|| fail("format: expected '}'"))?;
        let value = if name.is_empty() {
            *auto += 1;
            args.get(*auto - 1, "")
        } else if let Ok(at) = name.parse::<usize>() {
            args.rest(at).first().cloned()
        } else {
            args.get(usize::MAX, name)
        };
        out.push_str(before);
        out.push_str(&super::py::str(&value.ok_or_else(|| fail(format!("format: there is no argument '{name}'")))?));
        rest = behind;
    }
    Ok(out + rest)
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`
fn format_spec(value: &Value, spec: &str) -> Result<String, Error> {
    if spec.is_empty() {
        return Ok(super::py::str(value));
    }
    if let Some(text) = super::time::formatted(value, spec) {
        return Ok(text);
    }
    let chars: Vec<char> = spec.chars().collect();
    let mut at = 0;
    let peek = |at: usize| chars.get(at).copied();
    let (mut fill, mut align) = (' ', None);
    if matches!(peek(1), Some('<' | '>' | '^' | '=')) {
        fill = peek(0).unwrap_or(' ');
        align = peek(1);
        at = 2;
    } else if matches!(peek(0), Some('<' | '>' | '^' | '=')) {
        align = peek(0);
        at = 1;
    }
    let mut sign = '-';
    if let Some(c @ ('+' | '-' | ' ')) = peek(at) {
        sign = c;
        at += 1;
    }
    let alternate = peek(at) == Some('#');
    at += usize::from(alternate);
    if peek(at) == Some('0') {
        if align.is_none() {
            (fill, align) = ('0', Some('='));
        }
        at += 1;
    }
    let number = |at: &mut usize| {
        let mut n: Option<usize> = None;
        while let Some(d) = chars.get(*at).and_then(|c| c.to_digit(10)) {
            n = Some((n.unwrap_or(0) * 10 + d as usize).min(1_000_000));
            *at += 1;
        }
        n
    };
    let width = number(&mut at).unwrap_or(0);
    let comma = peek(at).filter(|c| matches!(c, ',' | '_'));
    at += usize::from(comma.is_some());
    let mut precision = None;
    if peek(at) == Some('.') {
        at += 1;
        precision = number(&mut at);
    }
    let kind = peek(at);
    let numeric = value.is_number() || value.kind() == ValueKind::Bool;
    let (negative, mut body) = if numeric && !matches!(kind, Some('s')) {
        let float = super::args::to_float(value).unwrap_or(f64::NAN);
        let int = i128::try_from(value.clone()).unwrap_or(float as i128);
        let magnitude = int.unsigned_abs();
        let body = match kind {
            Some('d' | 'n') => magnitude.to_string(),
            Some('x') => format!("{}{magnitude:x}", if alternate { "0x" } else { "" }),
            Some('X') => format!("{}{magnitude:X}", if alternate { "0X" } else { "" }),
            Some('o') => format!("{}{magnitude:o}", if alternate { "0o" } else { "" }),
            Some('b') => format!("{}{magnitude:b}", if alternate { "0b" } else { "" }),
            Some('f' | 'F') => format!("{:.*}", precision.unwrap_or(6), float.abs()),
            Some('%') => format!("{:.*}%", precision.unwrap_or(6), float.abs() * 100.0),
            Some('e') => super::filters::math::exponent(float.abs(), precision.unwrap_or(6)),
            Some('E') => super::filters::math::exponent(float.abs(), precision.unwrap_or(6)).to_uppercase(),
            Some('G') => super::filters::math::general(float.abs(), precision.unwrap_or(6)).to_uppercase(),
            Some('g') | None if !value.is_integer() && precision.is_some() => {
                super::filters::math::general(float.abs(), precision.unwrap_or(6))
            }
            _ if value.is_integer() => magnitude.to_string(),
            _ => super::py::float(float.abs()),
        };
        (float < 0.0, body)
    } else {
        let text = super::py::str(value);
        (
            false,
            match precision {
                Some(p) => text.chars().take(p).collect(),
                None => text,
            },
        )
    };
    if let Some(separator) = comma {
        let end = body.find('.').unwrap_or(body.len());
        let (whole, rest) = body.split_at(end);
        let mut grouped = String::new();
        for (i, c) in whole.chars().enumerate() {
            if i > 0 && (whole.len() - i) % 3 == 0 {
                grouped.push(separator);
            }
            grouped.push(c);
        }
        body = format!("{grouped}{rest}");
    }
    let prefix = match (negative, sign, numeric) {
        (true, _, _) => "-",
        (false, '+', true) => "+",
        (false, ' ', true) => " ",
        _ => "",
    };
    let missing = width.saturating_sub(prefix.len() + body.chars().count());
    let filling = |n: usize| fill.to_string().repeat(n);
    Ok(match align.unwrap_or(if numeric { '>' } else { '<' }) {
        '<' => format!("{prefix}{body}{}", filling(missing)),
        '^' => format!("{}{prefix}{body}{}", filling(missing / 2), filling(missing - missing / 2)),
        '=' => format!("{prefix}{}{body}", filling(missing)),
        _ => format!("{}{prefix}{body}", filling(missing)),
    })
}

fn list(value: &Value, method: &str, args: &Args) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let what = args.need(0, "value")?;
            let at = items(value, "index")?.iter().position(|v| *v == what);
            Value::from(at.ok_or_else(|| fail("index: the value is not in the list"))?)
        }
        "copy" => value.clone(),
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => {
            return Err(fail(format!(
                "'{method}' cannot change this list: only a list that the template itself made with `set` can change"
            )));
        }
        _ => return Ok(None),
    }))
}

fn dict(value: &Value, method: &str, args: &Args) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "get" => {
            let found = value.get_item(&args.need(0, "key")?)?;
            if found.is_undefined() { args.get(1, "default").unwrap_or(Value::from(())) } else { found }
        }
        "items" => Value::from(
            pairs(value)
                .unwrap_or_default()
                .into_iter()
                .map(|(k, v)| Value::from(Tuple::from([k, v])))
                .collect::<Vec<_>>(),
        ),
        "keys" => Value::from(items(value, "keys")?),
        "values" => Value::from(pairs(value).unwrap_or_default().into_iter().map(|(_, v)| v).collect::<Vec<_>>()),
        "copy" => value.clone(),
        "fromkeys" => {
            let default = args.get(1, "value").unwrap_or(Value::from(()));
            let keys = items(&args.need(0, "iterable")?, "fromkeys")?;
            Value::from_pairs(keys.into_iter().map(|key| (key, default.clone())))
        }
        "update" | "setdefault" | "pop" | "popitem" | "clear" => {
            return Err(fail(format!(
                "'{method}' cannot change this dictionary: only one that the template itself made with `set` can change"
            )));
        }
        _ => return Ok(None),
    }))
}

fn number(value: &Value, method: &str) -> Result<Option<Value>, Error> {
    let float = super::args::to_float(value).unwrap_or(f64::NAN);
    Ok(Some(match method {
        "is_integer" => Value::from(float.fract() == 0.0),
        "bit_length" => {
            let n = i128::try_from(value.clone()).unwrap_or(0).unsigned_abs();
            Value::from(128 - n.leading_zeros())
        }
        _ => return Ok(None),
    }))
}
