//! YAML written as libyaml writes it, which is what PyYAML uses.

use std::cmp::Ordering;

use base64::Engine;
use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::scalar::{self, Style};
use crate::template::args::{fail, pairs};
use crate::template::filters::compare;
use crate::template::{py, time};

/// How deep lists and dictionaries may nest.
const DEEPEST: usize = 400;
/// A longer key stands behind a `?`.
const LONGEST_KEY: usize = 128;

/// How YAML is written.
pub(super) struct Options {
    pub indent: usize,
    pub width: usize,
    pub sort: bool,
    /// `None`: collections of scalars in flow style, as PyYAML decides by itself.
    pub flow: Option<bool>,
    /// The style that all scalars have, as far as they allow it.
    pub style: Option<Style>,
    pub explicit_start: bool,
    pub explicit_end: bool,
    /// Everything with its tag, in flow style, each part on its line.
    pub canonical: bool,
    pub line_break: &'static str,
}

/// A scalar, and what its text alone would say of it.
struct Scalar {
    text: String,
    tag: &'static str,
    /// Plain, it is read as what it is.
    plain: bool,
    /// In quotes, it is read as what it is.
    quoted: bool,
    style: Style,
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Item,
    Value,
    SimpleKey,
}

pub(super) struct Emitter<'a> {
    options: &'a Options,
    out: String,
    column: usize,
    /// The last character is a blank, or none.
    whitespace: bool,
    /// Nothing but blanks and signs is on the line.
    indention: bool,
    /// The end of the last scalar is only known by what is behind it.
    open_ended: bool,
    /// The indent of the innermost collection.
    indent: Option<usize>,
    flow_level: usize,
    depth: usize,
}

pub(super) fn is_scalar(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

/// What Python compares with its like: numbers and truth values are one kind.
fn key_kind(key: &Value) -> ValueKind {
    if key.kind() == ValueKind::Bool { ValueKind::Number } else { key.kind() }
}

/// Writes a document.
pub(super) fn document(value: &Value, options: &Options) -> Result<String, Error> {
    let mut emitter = Emitter {
        options,
        out: String::new(),
        column: 0,
        whitespace: true,
        indention: true,
        open_ended: false,
        indent: None,
        flow_level: 0,
        depth: 0,
    };
    if options.explicit_start || options.canonical {
        emitter.write_indent();
        emitter.sign("---", true, false, false);
        if options.canonical {
            emitter.write_indent();
        }
    }
    emitter.node(value, Place::Root)?;
    emitter.write_indent();
    if options.explicit_end || emitter.open_ended {
        emitter.sign("...", true, false, false);
        emitter.write_indent();
    }
    Ok(emitter.out)
}

impl Emitter<'_> {
    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn line_break(&mut self) {
        self.out.push_str(self.options.line_break);
        self.column = 0;
    }

    /// A line break of the text itself.
    fn write_break(&mut self, c: char) {
        match c {
            '\n' => self.line_break(),
            other => {
                self.out.push(other);
                self.column = 0;
            }
        }
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        (self.whitespace, self.indention) = (true, true);
    }

    fn sign(&mut self, sign: &str, apart: bool, whitespace: bool, indention: bool) {
        if apart && !self.whitespace {
            self.put(' ');
        }
        sign.chars().for_each(|c| self.put(c));
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
    }

    fn increase_indent(&mut self, flow: bool, indentless: bool) -> Option<usize> {
        let before = self.indent;
        self.indent = Some(match before {
            None if flow => self.options.indent,
            None => 0,
            Some(indent) if indentless => indent,
            Some(indent) => indent + self.options.indent,
        });
        before
    }

    fn items(value: &Value) -> Result<Vec<Value>, Error> {
        value.try_iter()?.checked().collect()
    }

    fn pairs(&self, value: &Value) -> Vec<(Value, Value)> {
        let mut pairs = pairs(value).unwrap_or_default();
        // Python compares no keys of two kinds, and then leaves them as they are.
        if self.options.sort
            && let Some((first, _)) = pairs.first()
            && pairs.iter().all(|(key, _)| key_kind(key) == key_kind(first))
        {
            pairs.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
        }
        pairs
    }

    fn is_flow(&self, value: &Value) -> bool {
        let bare = |value: &Value| is_scalar(value) && self.options.style.is_none() && value.kind() != ValueKind::Bytes;
        let leaf = || match value.kind() {
            ValueKind::Map => pairs(value).unwrap_or_default().iter().all(|(k, v)| bare(k) && bare(v)),
            _ => value.try_iter().is_ok_and(|mut items| items.all(|item| bare(&item))),
        };
        let flowing = self.flow_level > 0 || self.options.canonical || value.len() == Some(0);
        flowing || self.options.flow.unwrap_or_else(leaf)
    }

    fn node(&mut self, value: &Value, place: Place) -> Result<(), Error> {
        if is_scalar(value) {
            let scalar = self.scalar(value)?;
            return self.write_scalar(&scalar, place);
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(fail("to_yaml: nested too deeply"));
        }
        let map = value.kind() == ValueKind::Map;
        if self.options.canonical {
            self.tag(if map { "!!map" } else { "!!seq" });
        }
        match (self.is_flow(value), map) {
            (true, true) => self.flow_map(value)?,
            (true, false) => self.flow_list(value)?,
            (false, true) => self.block_map(value)?,
            (false, false) => self.block_list(value, place)?,
        }
        self.depth -= 1;
        Ok(())
    }

    /// Breaks the line inside of a flow collection where it is long.
    fn flow_break(&mut self) {
        if self.options.canonical || self.column > self.options.width {
            self.write_indent();
        }
    }

    fn flow_begins(&mut self, sign: &str) -> Option<usize> {
        self.sign(sign, true, true, false);
        self.flow_level += 1;
        self.increase_indent(true, false)
    }

    fn flow_ends(&mut self, sign: &str, before: Option<usize>, empty: bool) {
        self.flow_level -= 1;
        self.indent = before;
        if self.options.canonical && !empty {
            self.sign(",", false, false, false);
            self.write_indent();
        }
        self.sign(sign, false, false, false);
    }

    fn flow_list(&mut self, value: &Value) -> Result<(), Error> {
        let before = self.flow_begins("[");
        let items = Self::items(value)?;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.sign(",", false, false, false);
            }
            self.flow_break();
            self.node(item, Place::Item)?;
        }
        self.flow_ends("]", before, items.is_empty());
        Ok(())
    }

    fn flow_map(&mut self, value: &Value) -> Result<(), Error> {
        let before = self.flow_begins("{");
        let pairs = self.pairs(value);
        for (i, (key, value)) in pairs.iter().enumerate() {
            if i > 0 {
                self.sign(",", false, false, false);
            }
            self.flow_break();
            if !self.options.canonical && self.is_simple(key)? {
                self.node(key, Place::SimpleKey)?;
                self.sign(":", false, false, false);
            } else {
                self.sign("?", true, false, false);
                self.node(key, Place::Value)?;
                self.flow_break();
                self.sign(":", true, false, false);
            }
            self.node(value, Place::Value)?;
        }
        self.flow_ends("}", before, pairs.is_empty());
        Ok(())
    }

    fn block_list(&mut self, value: &Value, place: Place) -> Result<(), Error> {
        // A list under a key is not indented.
        let indentless = matches!(place, Place::Value | Place::SimpleKey) && !self.indention;
        let before = self.increase_indent(false, indentless);
        for item in Self::items(value)? {
            self.write_indent();
            self.sign("-", true, false, true);
            self.node(&item, Place::Item)?;
        }
        self.indent = before;
        Ok(())
    }

    fn block_map(&mut self, value: &Value) -> Result<(), Error> {
        let before = self.increase_indent(false, false);
        for (key, value) in self.pairs(value) {
            self.write_indent();
            if self.is_simple(&key)? {
                self.node(&key, Place::SimpleKey)?;
                self.sign(":", false, false, false);
            } else {
                self.sign("?", true, false, true);
                self.node(&key, Place::Value)?;
                self.write_indent();
                self.sign(":", true, false, true);
            }
            self.node(&value, Place::Value)?;
        }
        self.indent = before;
        Ok(())
    }

    /// Whether a key can stand before its colon without a `?`.
    fn is_simple(&self, key: &Value) -> Result<bool, Error> {
        if !is_scalar(key) {
            return Ok(key.len() == Some(0));
        }
        let scalar = self.scalar(key)?;
        let tag = if scalar.plain || scalar.quoted { 0 } else { scalar.tag.len() };
        Ok(!scalar.text.contains(scalar::is_break) && scalar.text.len() + tag <= LONGEST_KEY)
    }

    fn scalar(&self, value: &Value) -> Result<Scalar, Error> {
        let (tag, text) = match value.kind() {
            ValueKind::None => ("!!null", "null".to_owned()),
            ValueKind::Bool => ("!!bool", if value.is_true() { "true" } else { "false" }.to_owned()),
            ValueKind::Number if value.is_integer() => ("!!int", value.to_string()),
            ValueKind::Number => ("!!float", float(value)),
            ValueKind::String => ("!!str", value.as_str().unwrap_or_default().to_owned()),
            ValueKind::Bytes => ("!!binary", binary(value.as_bytes().unwrap_or_default())),
            ValueKind::Undefined => return Err(Error::from(minijinja::ErrorKind::UndefinedError)),
            // Dates are the words that are read as dates again.
            ValueKind::Plain if time::is_date_or_both(value) => ("!!timestamp", value.to_string()),
            _ if time::type_name(value).is_some() => {
                return Err(fail(format!("to_yaml: cannot represent an object of type '{}'", py::type_name(value))));
            }
            _ => ("!!str", value.to_string()),
        };
        let style = self.options.style.unwrap_or(Style::Plain);
        let (plain, quoted, style) = match tag {
            "!!str" => (!scalar::means_else(&text), true, style),
            "!!binary" => (false, false, Style::Literal),
            _ => (scalar::means_else(&text), false, style),
        };
        Ok(Scalar { text, tag, plain, quoted, style })
    }

    fn tag(&mut self, tag: &str) {
        if !self.whitespace {
            self.put(' ');
        }
        tag.chars().for_each(|c| self.put(c));
        (self.whitespace, self.indention) = (false, false);
    }

    fn write_scalar(&mut self, scalar: &Scalar, place: Place) -> Result<(), Error> {
        let allowed = scalar::allowed(&scalar.text);
        let (key, flow) = (place == Place::SimpleKey, self.flow_level > 0);
        let tagged = self.options.canonical || !(scalar.plain || scalar.quoted);
        let mut style = scalar.style;
        if self.options.canonical || (key && allowed.multiline) {
            style = Style::Double;
        }
        let unfit = if flow { !allowed.flow_plain } else { !allowed.block_plain };
        let nothing = scalar.text.is_empty() && (flow || key);
        if style == Style::Plain && (unfit || nothing || (!tagged && !scalar.plain)) {
            style = Style::Single;
        }
        if style == Style::Single && !allowed.single {
            style = Style::Double;
        }
        if matches!(style, Style::Literal | Style::Folded) && (!allowed.block || flow || key) {
            style = Style::Double;
        }
        if tagged {
            self.tag(scalar.tag);
        } else if !scalar.quoted && style != Style::Plain {
            self.tag("!");
        }
        let before = self.increase_indent(true, false);
        let chars: Vec<char> = scalar.text.chars().collect();
        match style {
            Style::Plain => self.plain(&chars, !key),
            Style::Single => self.single(&chars, !key),
            Style::Double => self.double(&chars, !key),
            Style::Literal => self.literal(&chars),
            Style::Folded => self.folded(&chars),
        }
        self.indent = before;
        Ok(())
    }

    fn plain(&mut self, text: &[char], breaks: bool) {
        if !self.whitespace && (!text.is_empty() || self.flow_level > 0) {
            self.put(' ');
        }
        let mut spaces = false;
        for (i, c) in text.iter().enumerate() {
            let alone = *c == ' ' && !spaces && text.get(i + 1) != Some(&' ');
            spaces = *c == ' ';
            if alone && breaks && self.column > self.options.width {
                self.write_indent();
                continue;
            }
            self.put(*c);
            self.indention = *c == ' ' && self.indention;
        }
        (self.whitespace, self.indention) = (false, false);
    }

    fn single(&mut self, text: &[char], may_break: bool) {
        self.sign("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        for (i, c) in text.iter().enumerate() {
            let inside = i > 0 && i + 1 < text.len();
            if *c == ' ' {
                let alone = !spaces && text.get(i + 1) != Some(&' ');
                if alone && inside && may_break && self.column > self.options.width {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if scalar::is_break(*c) {
                if !breaks && *c == '\n' {
                    self.line_break();
                }
                self.write_break(*c);
                (self.indention, breaks) = (true, true);
            } else {
                if breaks {
                    self.write_indent();
                }
                if *c == '\'' {
                    self.put('\'');
                }
                self.put(*c);
                (self.indention, spaces, breaks) = (false, false, false);
            }
        }
        if breaks {
            self.write_indent();
        }
        self.sign("'", false, false, false);
    }

    fn double(&mut self, text: &[char], may_break: bool) {
        self.sign("\"", true, false, false);
        let mut spaces = false;
        for (i, c) in text.iter().enumerate() {
            if !scalar::is_printable(*c) || scalar::is_break(*c) || matches!(c, '"' | '\\') {
                scalar::escaped(*c).chars().for_each(|c| self.put(c));
                spaces = false;
                continue;
            }
            let inside = i > 0 && i + 1 < text.len();
            if *c == ' ' && may_break && !spaces && inside && self.column > self.options.width {
                self.write_indent();
                if text.get(i + 1) == Some(&' ') {
                    self.put('\\');
                }
            } else {
                self.put(*c);
            }
            spaces = *c == ' ';
        }
        self.sign("\"", false, false, false);
    }

    /// The sign of a block scalar, with what its text alone does not say: its indent and its last line breaks.
    fn block_begins(&mut self, sign: &str, text: &[char]) {
        let mut sign = sign.to_owned();
        if text.first().is_some_and(|c| *c == ' ' || scalar::is_break(*c)) {
            sign.push_str(&self.options.indent.to_string());
        }
        let is_break = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| scalar::is_break(*c));
        self.open_ended = false;
        if !is_break(text.len().checked_sub(1)) {
            sign.push('-');
        } else if text.len() == 1 || is_break(text.len().checked_sub(2)) {
            sign.push('+');
            self.open_ended = true;
        }
        self.sign(&sign, true, false, false);
        self.line_break();
        (self.whitespace, self.indention) = (true, true);
    }

    fn literal(&mut self, text: &[char]) {
        self.block_begins("|", text);
        let mut breaks = true;
        for c in text {
            if scalar::is_break(*c) {
                self.write_break(*c);
                (self.indention, breaks) = (true, true);
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(*c);
                (self.indention, breaks) = (false, false);
            }
        }
    }

    fn folded(&mut self, text: &[char]) {
        self.block_begins(">", text);
        let (mut breaks, mut leading) = (true, true);
        for (i, c) in text.iter().enumerate() {
            if scalar::is_break(*c) {
                if !breaks && !leading && *c == '\n' {
                    let behind = text.iter().skip(i).find(|c| !scalar::is_break(**c));
                    if behind.is_some_and(|c| !matches!(c, ' ' | '\t' | '\0')) {
                        self.line_break();
                    }
                }
                self.write_break(*c);
                (self.indention, breaks) = (true, true);
                continue;
            }
            if breaks {
                self.write_indent();
                leading = matches!(c, ' ' | '\t');
            }
            let alone = *c == ' ' && text.get(i + 1) != Some(&' ');
            if !breaks && alone && self.column > self.options.width {
                self.write_indent();
            } else {
                self.put(*c);
            }
            (self.indention, breaks) = (false, false);
        }
    }
}

fn float(value: &Value) -> String {
    let text = py::float(f64::try_from(value.clone()).unwrap_or(f64::NAN));
    match text.as_str() {
        "nan" => ".nan".to_owned(),
        "inf" => ".inf".to_owned(),
        "-inf" => "-.inf".to_owned(),
        t if t.contains('e') && !t.contains('.') => t.replace('e', ".0e"),
        t => t.to_owned(),
    }
}

/// Base64 in lines of 76 letters.
fn binary(bytes: &[u8]) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    bytes.chunks(57).map(|chunk| engine.encode(chunk) + "\n").collect()
}
