//! Filters on text.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, R, fail, items};
use crate::template::{lazy, py};

fn value(args: &Args) -> String {
    py::str(&args.value())
}

/// `a ~ b`
pub(super) fn concat(args: &Args) -> R {
    let one = |v: &Value| -> Result<String, Error> { lazy::printed(v) };
    Ok(Value::from(one(&args.value())? + &one(&args.need(1, "right")?)?))
}

pub(super) fn string(args: &Args) -> R {
    let value = args.value();
    if value.kind() == ValueKind::String {
        return Ok(value);
    }
    Ok(Value::from(lazy::printed(&value)?))
}

/// What Python's `repr` says: that is what Ansible's values print as here, too.
pub(super) fn pprint(args: &Args) -> R {
    Ok(Value::from(py::repr(&lazy::printable(&args.value())?)))
}

pub(super) fn upper(args: &Args) -> R {
    Ok(Value::from(value(args).to_uppercase()))
}

pub(super) fn lower(args: &Args) -> R {
    Ok(Value::from(value(args).to_lowercase()))
}

pub(super) fn capitalize(args: &Args) -> R {
    let text = value(args);
    let mut chars = text.chars();
    Ok(Value::from(match chars.next() {
        Some(first) => first.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase(),
        None => String::new(),
    }))
}

/// Jinja's `title`: a word begins after a space, a hyphen or an opening bracket.
pub(crate) fn title(text: &str) -> String {
    cased(text, |c| c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<'))
}

/// Python's `str.title`: a word begins after anything that is no letter.
pub(crate) fn python_title(text: &str) -> String {
    cased(text, |c| !c.is_alphabetic())
}

fn cased(text: &str, begins: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut at_start = true;
    for c in text.chars() {
        if at_start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        at_start = begins(c);
    }
    out
}

pub(super) fn title_filter(args: &Args) -> R {
    Ok(Value::from(title(&value(args))))
}

pub(super) fn trim(args: &Args) -> R {
    let text = value(args);
    Ok(Value::from(match args.text(1, "chars") {
        Some(chars) => text.trim_matches(|c| chars.contains(c)),
        None => text.trim(),
    }))
}

/// `replace(old, new, count)`
pub(super) fn replace(args: &Args) -> R {
    let (text, old, new) = (value(args), args.need_text(1, "old")?, args.need_text(2, "new")?);
    Ok(Value::from(match args.int(3, "count")? {
        Some(n) if n >= 0 => text.replacen(&old, &new, usize::try_from(n).unwrap_or(usize::MAX)),
        _ => text.replace(&old, &new),
    }))
}

/// `indent(width, first, blank)`
pub(super) fn indent(args: &Args) -> R {
    args.only(4, &["width", "first", "blank"])?;
    let mark = match args.get(1, "width") {
        Some(w) if w.kind() == ValueKind::String => py::str(&w),
        _ => " ".repeat(usize::try_from(args.int(1, "width")?.unwrap_or(4)).unwrap_or(0).min(10_000)),
    };
    let (first, blank) = (args.flag(2, "first", false), args.flag(3, "blank", false));
    let text = value(args);
    let mut out = String::new();
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&mark);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

pub(super) fn center(args: &Args) -> R {
    let text = value(args);
    let width = usize::try_from(args.int(1, "width")?.unwrap_or(80)).unwrap_or(0).min(1_000_000);
    let missing = width.saturating_sub(text.chars().count());
    let left = missing / 2 + (missing & width & 1);
    Ok(Value::from(format!("{}{text}{}", " ".repeat(left), " ".repeat(missing - left))))
}

/// `join(separator, attribute)`
pub(super) fn join(args: &Args) -> R {
    let by = args.some(2, "attribute");
    let separator = args.text(1, "d").unwrap_or_default();
    let mut out = String::new();
    for (i, item) in args.items()?.into_iter().enumerate() {
        let item = match &by {
            Some(by) => super::items::attribute(&item, by)?,
            None => item,
        };
        if i > 0 {
            out.push_str(&separator);
        }
        match item.as_str().filter(|_| item.kind() == ValueKind::String) {
            Some(text) => out.push_str(text),
            None => out.push_str(&lazy::printed(&item)?),
        }
    }
    Ok(Value::from(out))
}

pub(super) fn wordcount(args: &Args) -> R {
    let text = value(args);
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).count();
    Ok(Value::from(words))
}

/// `truncate(length, killwords, end, leeway)`
pub(super) fn truncate(args: &Args) -> R {
    let text: Vec<char> = value(args).chars().collect();
    let length = usize::try_from(args.int(1, "length")?.unwrap_or(255)).unwrap_or(0);
    let end = args.text(3, "end").unwrap_or_else(|| "...".to_owned());
    let leeway = usize::try_from(args.int(4, "leeway")?.unwrap_or(5)).unwrap_or(0);
    if text.len() <= length + leeway {
        return Ok(Value::from(text.into_iter().collect::<String>()));
    }
    let keep = length.saturating_sub(end.chars().count());
    let mut cut: String = text.iter().take(keep).collect();
    if !args.flag(2, "killwords", false)
        && let Some((words, _)) = cut.rsplit_once(' ')
    {
        cut = words.to_owned();
    }
    Ok(Value::from(cut + &end))
}

/// `split(separator, maxsplit)`
pub(super) fn split(args: &Args) -> R {
    let max = args.int(2, "maxsplit")?;
    if args.value().kind() != ValueKind::String {
        return Err(fail(format!("split: needs text, not '{}'", py::type_name(&args.value()))));
    }
    crate::template::methods::split(&value(args), args.text(1, "sep").as_deref(), max, false)
}

/// A word as the shell reads it back.
pub(super) fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_-+=:,./".contains(c);
    if text.is_empty() {
        "''".to_owned()
    } else if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

pub(super) fn quote(args: &Args) -> R {
    let value = args.value();
    Ok(Value::from(shell_quote(&if value.is_none() { String::new() } else { py::str(&value) })))
}

/// `comment(style, decoration=…, …)`
pub(super) fn comment(args: &Args) -> R {
    let style = args.text(1, "style").unwrap_or_else(|| "plain".to_owned());
    let (beginning, decoration, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        _ => return Err(fail(format!("comment: invalid style '{style}'; there are plain, erlang, c, cblock and xml"))),
    };
    let known =
        ["style", "decoration", "newline", "beginning", "prefix", "prefix_count", "postfix", "postfix_count", "end"];
    args.only(2, &known)?;
    let get = |name: &str, default: &str| args.text(usize::MAX, name).unwrap_or_else(|| default.to_owned());
    let decoration = get("decoration", decoration);
    let newline = get("newline", "\n");
    let beginning = get("beginning", beginning);
    let end = get("end", end);
    let prefix = get("prefix", decoration.trim_end());
    let postfix = get("postfix", decoration.trim_end());
    let count = |name: &str| -> Result<usize, Error> {
        Ok(usize::try_from(args.int(usize::MAX, name)?.unwrap_or(1)).unwrap_or(0).min(10_000))
    };
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&beginning);
        out.push_str(&newline);
    }
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out.push_str(&line.repeat(count("prefix_count")?));
    }
    let text = value(args).replace(&newline, &format!("{newline}{decoration}"));
    let text = format!("{decoration}{text}");
    out.push_str(&text.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end())));
    for _ in 0..count("postfix_count")? {
        out.push_str(&newline);
        out.push_str(&postfix);
    }
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    Ok(Value::from(out))
}

/// `'%s-%03d' | format(a, b)`
pub(super) fn format(args: &Args) -> R {
    let values = args.rest(1);
    let named = args.named();
    if !values.is_empty() && !named.is_empty() {
        return Err(fail("format: takes positional or named arguments, not both"));
    }
    if named.is_empty() {
        printf(&value(args), values, None).map(Value::from)
    } else {
        let map = Value::from_pairs(named.iter().map(|(k, v)| (Value::from(k.as_str()), v.clone())));
        printf(&value(args), &[], Some(&map)).map(Value::from)
    }
}

/// Python's `%` on a string.
pub(super) fn percent(text: &str, right: &Value) -> R {
    if right.is_tuple() {
        return printf(text, &items(right, "%")?, None).map(Value::from);
    }
    let map = (right.kind() == ValueKind::Map).then_some(right);
    printf(text, std::slice::from_ref(right), map).map(Value::from)
}

fn printf(text: &str, values: &[Value], map: Option<&Value>) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut next = 0;
    let mut take = |named: Option<Value>| -> Result<Value, Error> {
        if let Some(value) = named {
            return Ok(value);
        }
        next += 1;
        values.get(next - 1).cloned().ok_or_else(|| fail("not enough arguments for format string"))
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut named = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let key: String = chars.by_ref().take_while(|c| *c != ')').collect();
            let map = map.ok_or_else(|| fail("format requires a mapping"))?;
            let value = map.get_attr(&key)?;
            if value.is_undefined() {
                return Err(fail(format!("format: there is no key '{key}'")));
            }
            named = Some(value);
        }
        let (mut left, mut plus, mut space, mut zero, mut alternate) = (false, false, false, false, false);
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => left = true,
                '+' => plus = true,
                ' ' => space = true,
                '0' => zero = true,
                '#' => alternate = true,
                _ => break,
            }
            chars.next();
        }
        // A star takes its number from the values.
        let mut star = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<Option<i64>, Error> {
            if chars.next_if_eq(&'*').is_none() {
                return Ok(None);
            }
            let value = take(None)?;
            Ok(Some(value.as_i64().filter(|n| n.abs() <= 1_000_000).ok_or_else(|| fail("* wants int"))?))
        };
        let mut width = 0usize;
        if let Some(n) = star(&mut chars)? {
            left |= n < 0;
            width = usize::try_from(n.unsigned_abs()).unwrap_or(0);
        }
        while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
            width = (width * 10 + d as usize).min(1_000_000);
            chars.next();
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut p = usize::try_from(star(&mut chars)?.unwrap_or(0)).unwrap_or(0);
            while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
                p = (p * 10 + d as usize).min(1_000_000);
                chars.next();
            }
            precision = Some(p);
        }
        while matches!(chars.peek(), Some('l' | 'h' | 'L')) {
            chars.next();
        }
        let kind = chars.next().ok_or_else(|| fail("incomplete format"))?;
        let value = take(named)?;
        let number = || {
            crate::template::args::to_float(&value)
                .filter(|_| value.is_number() || value.kind() == ValueKind::Bool)
                .ok_or_else(|| fail(format!("%{kind} format: a number is required, not {}", py::type_name(&value))))
        };
        let (sign, body) = match kind {
            's' | 'r' | 'a' => {
                let text = match kind {
                    's' => lazy::printed(&value)?,
                    'r' => py::repr(&value),
                    _ => py::ascii(&value),
                };
                (String::new(), precision.map_or(text.clone(), |p| text.chars().take(p).collect()))
            }
            'c' => (
                String::new(),
                match to_char(&value) {
                    Some(c) => c.to_string(),
                    None => py::str(&value),
                },
            ),
            _ => {
                let float = number()?;
                let int = i128::try_from(value.clone()).unwrap_or(float as i128);
                let magnitude = int.unsigned_abs();
                let digits = |text: String| match precision {
                    Some(p) if text.len() < p => "0".repeat(p - text.len()) + &text,
                    _ => text,
                };
                let body = match kind {
                    'd' | 'i' | 'u' => digits(magnitude.to_string()),
                    'x' => (if alternate { "0x" } else { "" }).to_owned() + &digits(format!("{magnitude:x}")),
                    'X' => (if alternate { "0X" } else { "" }).to_owned() + &digits(format!("{magnitude:X}")),
                    'o' => (if alternate { "0o" } else { "" }).to_owned() + &digits(format!("{magnitude:o}")),
                    'f' | 'F' => format!("{:.*}", precision.unwrap_or(6), float.abs()),
                    'e' => super::math::exponent(float.abs(), precision.unwrap_or(6)),
                    'E' => super::math::exponent(float.abs(), precision.unwrap_or(6)).to_uppercase(),
                    'g' => super::math::general(float.abs(), precision.unwrap_or(6)),
                    'G' => super::math::general(float.abs(), precision.unwrap_or(6)).to_uppercase(),
                    _ => return Err(fail(format!("unsupported format character '{kind}'"))),
                };
                let negative = if matches!(kind, 'd' | 'i' | 'u' | 'x' | 'X' | 'o') { int < 0 } else { float < 0.0 };
                let sign = if negative {
                    "-"
                } else if plus {
                    "+"
                } else if space {
                    " "
                } else {
                    ""
                };
                (sign.to_owned(), body)
            }
        };
        let missing = width.saturating_sub(sign.len() + body.chars().count());
        if left {
            out.push_str(&format!("{sign}{body}{}", " ".repeat(missing)));
        } else if zero && !matches!(kind, 's' | 'r' | 'a' | 'c') {
            out.push_str(&format!("{sign}{}{body}", "0".repeat(missing)));
        } else {
            out.push_str(&format!("{}{sign}{body}", " ".repeat(missing)));
        }
    }
    if next < values.len() && map.is_none() {
        return Err(fail("not all arguments converted during string formatting"));
    }
    Ok(out)
}

fn to_char(value: &Value) -> Option<char> {
    u32::try_from(value.as_i64()?).ok().and_then(char::from_u32)
}
