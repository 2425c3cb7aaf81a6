//! JSON as Python writes it, JMESPath, INI.

use std::borrow::Cow;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, R, fail, pairs};
use crate::template::{lazy, py, time, touch};

/// How JSON is written.
pub(crate) struct Style {
    pub indent: Option<String>,
    pub sort: bool,
    pub ascii: bool,
    pub item: String,
    pub key: String,
}

impl Default for Style {
    fn default() -> Self {
        Style { indent: None, sort: false, ascii: true, item: ", ".to_owned(), key: ": ".to_owned() }
    }
}

/// `json.dumps`
pub(crate) fn dumps(value: &Value, style: &Style) -> Result<String, Error> {
    let mut out = String::new();
    write(value, style, 0, &mut out)?;
    Ok(out)
}

fn newline(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.push_str(&indent.repeat(depth));
    }
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > 200 {
        return Err(fail("to_json: nested too deeply"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => {
            let f = f64::try_from(value.clone()).unwrap_or(f64::NAN);
            out.push_str(&word(f));
        }
        ValueKind::String => quote(value.as_str().unwrap_or_default(), style.ascii, out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut n = 0;
            for item in value.try_iter()? {
                if n > 0 {
                    out.push_str(&style.item);
                }
                newline(style, depth + 1, out);
                write(&item, style, depth + 1, out)?;
                n += 1;
            }
            if n > 0 {
                newline(style, depth, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            let mut pairs = pairs(value).unwrap_or_default();
            if style.sort {
                pairs.sort_by_key(|(k, _)| py::json_key(k));
            }
            for (i, (k, v)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push_str(&style.item);
                }
                newline(style, depth + 1, out);
                quote(&py::json_key(k), style.ascii, out);
                out.push_str(&style.key);
                write(v, style, depth + 1, out)?;
            }
            if !pairs.is_empty() {
                newline(style, depth, out);
            }
            out.push('}');
        }
        ValueKind::Undefined => return Err(Error::from(minijinja::ErrorKind::UndefinedError)),
        ValueKind::Bytes => return Err(fail("an object of type 'bytes' is not JSON serializable")),
        ValueKind::Plain if time::type_name(value).is_some() && !time::is_moment(value) => {
            let name = py::type_name(value);
            return Err(fail(format!("an object of type '{name}' is not JSON serializable")));
        }
        _ => quote(&time::iso(value).unwrap_or_else(|| value.to_string()), style.ascii, out),
    }
    Ok(())
}

/// A number that is none of the integers.
pub(crate) fn word(number: f64) -> String {
    match py::float(number).as_str() {
        "nan" => "NaN".to_owned(),
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        other => other.to_owned(),
    }
}

fn quote(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    let mut units = [0u16; 2];
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' && ascii => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if c.is_ascii() || !ascii => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

fn style(args: &Args, mut style: Style) -> Result<Style, Error> {
    for (name, value) in args.named() {
        match name.as_str() {
            "indent" => {
                style.indent = match (value.as_str(), value.as_i64()) {
                    (Some(text), _) => Some(text.to_owned()),
                    (None, Some(n)) => Some(" ".repeat(usize::try_from(n).unwrap_or(0).min(100))),
                    _ => None,
                };
                if style.indent.is_some() && style.item == ", " {
                    style.item = ",".to_owned();
                }
            }
            "sort_keys" => style.sort = value.is_true(),
            "ensure_ascii" => style.ascii = value.is_true(),
            "separators" => {
                style.item = py::str(&value.get_item_by_index(0)?);
                style.key = py::str(&value.get_item_by_index(1)?);
            }
            "vault_to_text" | "preprocess_unsafe" | "allow_nan" | "skipkeys" | "profile" | "default" => {}
            other => return Err(fail(format!("{}: unknown argument '{other}'", args.name()))),
        }
    }
    Ok(style)
}

pub(super) fn to_json(args: &Args) -> R {
    let value = lazy::writable(&args.value())?;
    dumps(&value, &style(args, Style::default())?).map(Value::from)
}

pub(super) fn to_nice_json(args: &Args) -> R {
    let value = lazy::writable(&args.value())?;
    let nice = Style { indent: Some("    ".to_owned()), sort: true, item: ",".to_owned(), ..Style::default() };
    let mut style = style(args, nice)?;
    if let Some(n) = args.int(1, "indent")?.and_then(|n| usize::try_from(n).ok()) {
        style.indent = Some(" ".repeat(n.min(100)));
    }
    (style.item, style.key) = (",".to_owned(), ": ".to_owned());
    dumps(&value, &style).map(Value::from)
}

/// Jinja's own: safe inside HTML.
pub(super) fn tojson(args: &Args) -> R {
    let value = lazy::writable(&args.value())?;
    let indent = args.int(1, "indent")?.map(|n| " ".repeat(usize::try_from(n).unwrap_or(0).min(100)));
    let item = if indent.is_some() { "," } else { ", " }.to_owned();
    let text = dumps(&value, &Style { indent, sort: true, item, ..Style::default() })?;
    Ok(Value::from(
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027"),
    ))
}

pub(super) fn from_json(args: &Args) -> R {
    let value = args.value();
    let text = value
        .as_str()
        .ok_or_else(|| fail(format!("from_json: the JSON object must be str, not {}", py::type_name(&value))))?;
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => Ok(touch::from_json(&json)),
        Err(e) => match more_numbers(text) {
            Some(value) => Ok(value),
            None => Err(fail(format!("from_json: invalid JSON at line {} column {}", e.line(), e.column()))),
        },
    }
}

/// The numbers that Python knows in JSON and nobody else.
const MORE_NUMBERS: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY)];
/// What stands for them while the rest is read.
const MARK: &str = "\u{1}deploy:";

/// Reads JSON with such numbers in it. Nothing where there are none, or where something else is wrong.
fn more_numbers(text: &str) -> Option<Value> {
    let (mut out, mut found, mut quoted) = (String::with_capacity(text.len()), false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((word, _)) = MORE_NUMBERS.iter().find(|(word, _)| !quoted && rest.starts_with(word)) {
            out.push_str(&format!("\"\\u0001deploy:{word}\""));
            found = true;
            rest = rest.get(word.len()..)?;
            continue;
        }
        let length = if quoted && c == '\\' { 1 + rest.chars().nth(1)?.len_utf8() } else { c.len_utf8() };
        quoted ^= c == '"';
        out.push_str(rest.get(..length)?);
        rest = rest.get(length..)?;
    }
    let json = serde_json::from_str(&out).ok().filter(|_| found)?;
    Some(marked(&json))
}

fn marked(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => {
            let word = text.strip_prefix(MARK);
            let number = word.and_then(|word| MORE_NUMBERS.iter().find(|(name, _)| *name == word));
            number.map_or_else(|| touch::from_json(json), |(_, number)| Value::from(*number))
        }
        Json::Array(items) => Value::from(items.iter().map(marked).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (Value::from(k.as_str()), marked(v)))),
        other => touch::from_json(other),
    }
}

/// The library follows an expression as deep as it goes, and counts the steps of a slice in 32 bits: what it would break at
/// is refused, since the release build has no second chance.
fn within_reason(text: &str) -> Result<(), minijinja::Error> {
    if text.len() > 2048 || text.chars().filter(|c| matches!(c, '(' | '[' | '{' | '!' | '&')).count() > 256 {
        return Err(fail("json_query: an expression has at most 2048 bytes and 256 brackets, `!` and `&`"));
    }
    let mut digits = 0;
    let mut slices = false;
    let mut last = ' ';
    for c in text.chars() {
        if c.is_ascii_digit() {
            slices = if digits == 0 { matches!(last, '[' | ':' | '-') } else { slices };
            digits += 1;
        } else {
            digits = 0;
        }
        if digits > 9 && slices {
            return Err(fail("json_query: the numbers of an index or a slice have at most nine digits"));
        }
        last = c;
    }
    Ok(())
}

/// Literals between backticks that are no JSON, in quotes: Ansible's library takes them for text.
fn bare_literals(text: &str) -> Cow<'_, str> {
    if !text.contains('`') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2);
    let mut rest = text;
    while let Some(at) = rest.find(['`', '\'', '"']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let mark = from.chars().next().unwrap_or('`');
        let mut escaped = false;
        let end = from.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == mark && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        // What has no end is the parser's to refuse.
        let Some((end, _)) = end else { return Cow::Borrowed(text) };
        let (token, behind) = from.split_at(end + 1);
        // Once each: what is escaped before the last one belongs to the literal.
        let literal = token.strip_prefix('`').and_then(|token| token.strip_suffix('`'));
        match literal {
            Some(literal) if serde_json::from_str::<serde_json::Value>(&literal.replace("\\`", "`")).is_err() => {
                out.push_str(&format!("`\"{}\"`", literal.trim_start()));
            }
            _ => out.push_str(token),
        }
        rest = behind;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// `json_query(expression)`: JMESPath.
pub(super) fn json_query(args: &Args) -> R {
    args.only(2, &["expr"])?;
    let text = args.need_text(1, "expr")?;
    within_reason(&text)?;
    let query = jmespath::compile(&bare_literals(&text)).map_err(|e| fail(format!("json_query: {e}")))?;
    let data =
        jmespath::Variable::try_from(touch::to_json(&args.value())).map_err(|e| fail(format!("json_query: {e}")))?;
    let found = query.search(data).map_err(|e| fail(format!("json_query: {e}")))?;
    let json = serde_json::to_value(&*found).map_err(|e| fail(format!("json_query: {e}")))?;
    Ok(touch::from_json(&json))
}

pub(super) fn from_ini(args: &Args) -> R {
    let mut sections: Vec<(Value, Value)> = Vec::new();
    let mut current: Vec<(Value, Value)> = Vec::new();
    let mut name: Option<String> = None;
    for line in py::str(&args.value()).lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            if let Some(name) = name.replace(section.to_owned()) {
                sections.push((Value::from(name), Value::from_pairs(std::mem::take(&mut current))));
            }
            continue;
        }
        let (key, value) =
            line.split_once(['=', ':']).ok_or_else(|| fail("from_ini: a line is neither a section nor an option"))?;
        current.push((Value::from(key.trim().to_lowercase()), Value::from(value.trim())));
    }
    if let Some(name) = name {
        sections.push((Value::from(name), Value::from_pairs(current)));
    }
    Ok(Value::from_pairs(sections))
}

pub(super) fn to_ini(args: &Args) -> R {
    let sections = pairs(&args.value()).ok_or_else(|| fail("to_ini needs a dictionary"))?;
    let mut out = String::new();
    for (name, options) in sections {
        out.push_str(&format!("[{}]\n", py::str(&name)));
        for (k, v) in pairs(&options).ok_or_else(|| fail("to_ini: a section is not a dictionary"))? {
            out.push_str(&format!("{} = {}\n", py::str(&k), py::str(&v)));
        }
        out.push('\n');
    }
    // What stands behind the last section is taken for a newline of the file's end.
    out.pop();
    Ok(Value::from(out))
}

#[cfg(test)]
mod tests {
    use super::{bare_literals, within_reason};

    #[test]
    fn bare_text_between_backticks_is_text() {
        for (from, to) in [
            ("a[?b==`c`].d", "a[?b==`\"c\"`].d"),
            ("a[?b==`1`] | [?c==`true`]", "a[?b==`1`] | [?c==`true`]"),
            ("join(`,`, a)", "join(`\",\"`, a)"),
            ("a[?b=='`c`']", "a[?b=='`c`']"),
            ("a[?b==`\"c\"`]", "a[?b==`\"c\"`]"),
            ("a[?b==`c", "a[?b==`c"),
            ("`a`", "`\"a\"`"),
            ("``", "`\"\"`"),
            ("[?a==`b\\``]", "[?a==`\"b\\`\"`]"),
            ("[?a==`\\`b`]", "[?a==`\"\\`b\"`]"),
        ] {
            assert_eq!(bare_literals(from), to);
        }
    }

    #[test]
    fn what_the_library_breaks_at_is_refused() {
        let deep = "(".repeat(300);
        let long = "a|".repeat(1100);
        for (expression, taken) in [
            ("server[?cluster=='c1'].port", true),
            ("list[0:10:-1] | length(@)", true),
            ("log[?time > `1790000000000`].text", true),
            ("list[1::2147483647]", false),
            ("list[-9999999999:]", false),
            (&*deep, false),
            (&*long, false),
        ] {
            assert_eq!(within_reason(expression).is_ok(), taken, "{expression:.40}");
        }
    }
}
