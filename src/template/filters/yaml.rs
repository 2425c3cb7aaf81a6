//! YAML as PyYAML writes it, and YAML read by our own loader.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::source::{Diags, NodeValue, load_yaml_str, resolve_plain};
use crate::template::args::{Args, R, fail, pairs};
use crate::template::{lazy, py, time};

/// How YAML is written.
struct Style {
    indent: usize,
    width: usize,
    sort: bool,
    /// `None`: collections of scalars in flow style, as PyYAML decides by itself.
    flow: Option<bool>,
    explicit_start: bool,
}

struct Writer<'a> {
    style: &'a Style,
    out: String,
    in_flow: bool,
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

/// What Python compares with its like: numbers and truth values are one kind.
fn key_kind(key: &Value) -> ValueKind {
    if key.kind() == ValueKind::Bool { ValueKind::Number } else { key.kind() }
}

impl Writer<'_> {
    fn column(&self) -> usize {
        self.out.rsplit('\n').next().map_or(0, |l| l.chars().count())
    }

    fn is_flow(&self, value: &Value) -> bool {
        let empty = value.len() == Some(0);
        let leaf = match value.kind() {
            ValueKind::Map => pairs(value).unwrap_or_default().iter().all(|(k, v)| is_scalar(k) && is_scalar(v)),
            _ => value.try_iter().is_ok_and(|mut i| i.all(|v| is_scalar(&v))),
        };
        empty || self.style.flow.unwrap_or(leaf)
    }

    fn sorted(&self, value: &Value) -> Vec<(Value, Value)> {
        let mut pairs = pairs(value).unwrap_or_default();
        // Python compares no keys of two kinds, and then leaves them as they are.
        if self.style.sort
            && let Some((first, _)) = pairs.first()
            && pairs.iter().all(|(key, _)| key_kind(key) == key_kind(first))
        {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        pairs
    }

    /// Writes a value in block style at `indent`.
    fn block(&mut self, value: &Value, indent: usize) -> Result<(), Error> {
        if indent > 2000 {
            return Err(fail("to_yaml: nested too deeply"));
        }
        match value.kind() {
            ValueKind::Map if !self.is_flow(value) => {
                for (i, (k, v)) in self.sorted(value).into_iter().enumerate() {
                    if i > 0 {
                        self.out.push('\n');
                        self.out.push_str(&" ".repeat(indent));
                    }
                    self.scalar(&k, indent, true)?;
                    self.out.push(':');
                    self.child(&v, indent, true)?;
                }
            }
            ValueKind::Seq | ValueKind::Iterable if !self.is_flow(value) => {
                for (i, v) in value.try_iter()?.enumerate() {
                    if i > 0 {
                        self.out.push('\n');
                        self.out.push_str(&" ".repeat(indent));
                    }
                    self.out.push('-');
                    self.child(&v, indent, false)?;
                }
            }
            ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
                self.in_flow = true;
                self.flow(value, indent)?;
                self.in_flow = false;
            }
            _ => self.scalar(value, indent, false)?,
        }
        Ok(())
    }

    /// A value after `key:` or `-`.
    fn child(&mut self, value: &Value, indent: usize, in_map: bool) -> Result<(), Error> {
        let block = !is_scalar(value) && !self.is_flow(value);
        if !block && !is_scalar(value) {
            self.out.push(' ');
            return self.block(value, indent);
        }
        let list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
        if block && in_map {
            // A list under a key is not indented.
            let inner = if list { indent } else { indent + self.style.indent };
            self.out.push('\n');
            self.out.push_str(&" ".repeat(inner));
            self.block(value, inner)
        } else if block {
            let gap = self.style.indent.max(2) - 1;
            self.out.push_str(&" ".repeat(gap));
            self.block(value, indent + gap + 1)
        } else {
            self.out.push(' ');
            self.block(value, indent + self.style.indent)
        }
    }

    fn flow(&mut self, value: &Value, indent: usize) -> Result<(), Error> {
        let inner = indent + self.style.indent.max(2);
        let wrap = |w: &mut Self| {
            if w.column() > w.style.width {
                w.out.push('\n');
                w.out.push_str(&" ".repeat(inner));
            } else {
                w.out.push(' ');
            }
        };
        if value.kind() == ValueKind::Map {
            self.out.push('{');
            for (i, (k, v)) in self.sorted(value).into_iter().enumerate() {
                if i > 0 {
                    self.out.push(',');
                    wrap(self);
                }
                self.scalar(&k, inner, true)?;
                self.out.push_str(": ");
                if is_scalar(&v) { self.scalar(&v, inner + self.style.indent, false)? } else { self.flow(&v, inner)? }
            }
            self.out.push('}');
        } else {
            self.out.push('[');
            for (i, v) in value.try_iter()?.enumerate() {
                if i > 0 {
                    self.out.push(',');
                    wrap(self);
                }
                if is_scalar(&v) { self.scalar(&v, inner + self.style.indent, false)? } else { self.flow(&v, inner)? }
            }
            self.out.push(']');
        }
        Ok(())
    }

    fn scalar(&mut self, value: &Value, indent: usize, key: bool) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.out.push_str(&value.to_string()),
            ValueKind::Number => {
                let text = py::float(f64::try_from(value.clone()).unwrap_or(f64::NAN));
                self.out.push_str(&match text.as_str() {
                    "nan" => ".nan".to_owned(),
                    "inf" => ".inf".to_owned(),
                    "-inf" => "-.inf".to_owned(),
                    t if t.contains('e') && !t.contains('.') => t.replace('e', ".0e"),
                    t => t.to_owned(),
                });
            }
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), indent, key),
            ValueKind::Undefined => return Err(Error::from(minijinja::ErrorKind::UndefinedError)),
            // Dates are the words that are read as dates again.
            ValueKind::Plain if time::is_date_or_both(value) => self.out.push_str(&value.to_string()),
            _ if time::type_name(value).is_some() => {
                return Err(fail(format!("to_yaml: cannot represent an object of type '{}'", py::type_name(value))));
            }
            _ => self.text(&value.to_string(), indent, key),
        }
        Ok(())
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        let special = text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
        let space_break = text.contains(" \n");
        if special {
            return self.double(text, indent, key);
        }
        if text.contains('\n') {
            let awkward = text.starts_with(' ') && text.contains('\n') || space_break;
            if awkward {
                return self.double(text, indent, key);
            }
            return self.single(text, indent, key);
        }
        if is_plain(text, self.in_flow) {
            self.words(text, indent, key, "");
        } else {
            self.single(text, indent, key);
        }
    }

    /// Text folded at the line width where it has a single space.
    fn words(&mut self, text: &str, indent: usize, key: bool, quote: &str) {
        self.out.push_str(quote);
        let mut rest = text;
        while let Some(at) = rest.find(' ') {
            let (word, after) = rest.split_at(at);
            self.out.push_str(word);
            let spaces = after.len() - after.trim_start_matches(' ').len();
            let more = after.get(spaces..).unwrap_or_default();
            let inside = !more.is_empty() && at > 0;
            if spaces == 1 && !key && inside && self.column() > self.style.width {
                self.out.push('\n');
                self.out.push_str(&" ".repeat(indent));
            } else {
                self.out.push_str(&" ".repeat(spaces));
            }
            rest = more;
        }
        self.out.push_str(rest);
        self.out.push_str(quote);
    }

    fn single(&mut self, text: &str, indent: usize, key: bool) {
        if !text.contains('\n') {
            return self.words(&text.replace('\'', "''"), indent, key, "'");
        }
        self.out.push('\'');
        let lines: Vec<&str> = text.split('\n').collect();
        let mut i = 0;
        while let Some(line) = lines.get(i) {
            if i > 0 {
                // A newline is written as an empty line.
                let mut breaks = 1;
                while line_is_empty(&lines, i + breaks - 1) && i + breaks < lines.len() {
                    breaks += 1;
                }
                self.out.push('\n');
                self.out.push_str(&"\n".repeat(breaks));
                i += breaks - 1;
                let line = lines.get(i).copied().unwrap_or_default();
                self.out.push_str(&" ".repeat(indent));
                self.words(&line.replace('\'', "''"), indent, key, "");
            } else {
                self.words(&line.replace('\'', "''"), indent, key, "");
            }
            i += 1;
        }
        self.out.push('\'');
    }

    fn double(&mut self, text: &str, _indent: usize, _key: bool) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\0' => self.out.push_str("\\0"),
                '\u{7}' => self.out.push_str("\\a"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{1b}' => self.out.push_str("\\e"),
                '\u{feff}' => self.out.push_str("\\uFEFF"),
                '\u{85}' => self.out.push_str("\\N"),
                '\u{2028}' => self.out.push_str("\\L"),
                '\u{2029}' => self.out.push_str("\\P"),
                c if c.is_control() => self.out.push_str(&format!("\\x{:02X}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn line_is_empty(lines: &[&str], at: usize) -> bool {
    lines.get(at).is_some_and(|l| l.is_empty())
}

/// Whether text can stand without quotes, in block or in flow style.
fn is_plain(text: &str, flow: bool) -> bool {
    let edge_space = text.starts_with(' ') || text.ends_with(' ');
    if text.is_empty() || edge_space || text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    if !matches!(resolve_plain(text), NodeValue::Str(_)) || matches!(text, "=" | "<<") || is_timestamp(text) {
        return false;
    }
    let chars: Vec<char> = text.chars().collect();
    chars.iter().enumerate().all(|(i, c)| {
        let first = i == 0;
        let before_space = chars.get(i + 1).is_none_or(|n| n.is_whitespace());
        let after_space = first || chars.get(i - 1).is_some_and(|p| p.is_whitespace());
        let bad = match c {
            '#' => after_space,
            ',' | '[' | ']' | '{' | '}' => first || flow,
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            '?' => (first && before_space) || flow,
            '-' => first && before_space,
            ':' => before_space || flow,
            _ => false,
        };
        !bad
    })
}

fn is_timestamp(text: &str) -> bool {
    let b = text.as_bytes();
    let digits = |from: usize, n: usize| (from..from + n).all(|i| b.get(i).is_some_and(u8::is_ascii_digit));
    digits(0, 4) && b.get(4) == Some(&b'-') && text.len() >= 8 && b.get(5).is_some_and(u8::is_ascii_digit)
}

fn dump(args: &Args, mut style: Style) -> R {
    for (name, value) in args.named() {
        let number = || value.as_i64().and_then(|n| usize::try_from(n).ok());
        match name.as_str() {
            "indent" => style.indent = number().unwrap_or(2).clamp(2, 9),
            "width" => style.width = number().unwrap_or(80),
            "sort_keys" => style.sort = value.is_true(),
            "default_flow_style" => style.flow = (!value.is_none()).then(|| value.is_true()),
            "explicit_start" => style.explicit_start = value.is_true(),
            "allow_unicode" | "line_break" | "encoding" | "vault_to_text" | "preprocess_unsafe" => {}
            other => return Err(fail(format!("{}: the argument '{other}' is not supported", args.name()))),
        }
    }
    let value = lazy::writable(&args.value())?;
    let mut writer = Writer { style: &style, out: String::new(), in_flow: false };
    if style.explicit_start {
        writer.out.push_str("---\n");
    }
    let indent = if is_scalar(&value) { style.indent } else { 0 };
    writer.block(&value, indent)?;
    writer.out.push('\n');
    Ok(Value::from(writer.out))
}

pub(super) fn to_yaml(args: &Args) -> R {
    dump(args, Style { indent: 2, width: 80, sort: true, flow: None, explicit_start: false })
}

pub(super) fn to_nice_yaml(args: &Args) -> R {
    let indent = args.int(1, "indent")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(4).clamp(2, 9);
    dump(args, Style { indent, width: 80, sort: true, flow: Some(false), explicit_start: false })
}

/// Reads YAML text. Templates in it are not evaluated.
pub(crate) fn load(text: &str) -> R {
    let mut diags = Diags::new();
    let node = load_yaml_str("<from_yaml>", text, &mut diags);
    if let Some(diag) = diags.errors().next() {
        // The message names the place in the text, not the text.
        let place = diag.span().map(|s| s.line_col());
        let place = place.map(|(l, c)| format!(" at line {l} column {c}")).unwrap_or_default();
        return Err(fail(format!("from_yaml: invalid YAML{place}: {}", diag.message)));
    }
    Ok(node.map_or(Value::from(()), |n| lazy::plain_value(&n)))
}

pub(super) fn from_yaml(args: &Args) -> R {
    let value = args.value();
    match value.as_str() {
        Some(text) => load(text),
        None => Ok(value),
    }
}

pub(super) fn from_yaml_all(args: &Args) -> R {
    let value = args.value();
    if value.is_none() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    let Some(text) = value.as_str() else { return Ok(value) };
    let mut documents = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") || line == "..." {
            if !current.trim().is_empty() {
                documents.push(load(&current)?);
            }
            current.clear();
            if let Some(rest) = line.strip_prefix("--- ") {
                current.push_str(rest);
                current.push('\n');
            }
        } else {
            current.push_str(line);
            current.push('\n');
        }
    }
    if !current.trim().is_empty() {
        documents.push(load(&current)?);
    }
    Ok(Value::from(documents))
}
