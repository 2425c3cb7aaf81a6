//! Python literals, as INI inventories hold them (`ast.literal_eval`).

use crate::source::{Node, NodeValue, Span};

/// The value of a Python literal, or `None` if the text is none: then it is a plain string.
pub fn python_literal(span: &Span, text: &str) -> Option<Node> {
    let mut parser = Parser { rest: text, span, depth: 0 };
    // Indentation before an expression is a syntax error to Python, tabs and blanks are stripped by literal_eval.
    parser.rest = parser.rest.trim_start_matches([' ', '\t']);
    let value = parser.tuple_or_value()?;
    parser.skip();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    span: &'a Span,
    depth: usize,
}

impl Parser<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        if self.rest.starts_with('#') {
            self.rest = self.rest.find('\n').and_then(|at| self.rest.get(at..)).unwrap_or_default();
            if !self.rest.is_empty() {
                self.skip();
            }
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn node(&self, value: NodeValue) -> Node {
        match value {
            // In quotes: it is never a date.
            NodeValue::Str(text) => Node::string(self.span.clone(), text),
            value => Node::new(self.span.clone(), value),
        }
    }

    /// `1, 2` at the top is a tuple.
    fn tuple_or_value(&mut self) -> Option<Node> {
        let first = self.value()?;
        if !self.eat(",") {
            return Some(first);
        }
        let mut items = vec![first];
        loop {
            self.skip();
            if self.rest.is_empty() || self.rest.starts_with(')') {
                break;
            }
            items.push(self.value()?);
            if !self.eat(",") {
                break;
            }
        }
        Some(self.node(NodeValue::Seq(items.into())))
    }

    fn value(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > 60 {
            return None;
        }
        let value = self.inner();
        self.depth -= 1;
        value
    }

    fn inner(&mut self) -> Option<Node> {
        self.skip();
        let first = self.rest.chars().next()?;
        match first {
            '[' => {
                self.rest = self.rest.get(1..)?;
                let items = self.items("]")?;
                Some(self.node(NodeValue::Seq(items.into())))
            }
            '(' => {
                self.rest = self.rest.get(1..)?;
                if self.eat(")") {
                    return Some(self.node(NodeValue::Seq(Vec::new().into())));
                }
                let value = self.tuple_or_value()?;
                self.eat(")").then_some(value)
            }
            '{' => self.braces(),
            '-' | '+' => {
                self.rest = self.rest.get(1..)?;
                let value = self.value()?;
                match (first, &value.value) {
                    ('-', NodeValue::Int(int)) => Some(self.node(NodeValue::Int(int.checked_neg()?))),
                    ('-', NodeValue::Float(float)) => Some(self.node(NodeValue::Float(-float))),
                    ('+', NodeValue::Int(_) | NodeValue::Float(_)) => Some(value),
                    _ => None,
                }
            }
            '0'..='9' | '.' => self.number(),
            _ => match self.strings() {
                Some(text) => Some(Node::string(self.span.clone(), text)),
                None => self.word(),
            },
        }
    }

    fn items(&mut self, close: &str) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            if self.eat(close) {
                return Some(items);
            }
            items.push(self.value()?);
            if !self.eat(",") {
                return self.eat(close).then_some(items);
            }
        }
    }

    fn braces(&mut self) -> Option<Node> {
        self.rest = self.rest.get(1..)?;
        if self.eat("}") {
            return Some(Node::map(self.span.clone(), Vec::new()));
        }
        let first = self.value()?;
        if !self.eat(":") {
            // A set.
            let mut items = vec![first];
            if self.eat(",") {
                items.extend(self.items("}")?);
            } else if !self.eat("}") {
                return None;
            }
            return Some(self.node(NodeValue::Seq(items.into())));
        }
        first.key_id()?;
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut key = first;
        loop {
            let value = self.value()?;
            match entries.iter_mut().find(|(other, _)| other.key_id() == key.key_id()) {
                Some(entry) => entry.1 = value,
                None => entries.push((key, value)),
            }
            let comma = self.eat(",");
            if self.eat("}") {
                return Some(Node::map(self.span.clone(), entries));
            }
            if !comma {
                return None;
            }
            key = self.value()?;
            key.key_id()?;
            if !self.eat(":") {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<Node> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            let exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(bytes.get(end.wrapping_sub(1)), Some(b'e' | b'E'))
                && !self.rest.starts_with("0x");
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent_sign) {
                break;
            }
            end += 1;
        }
        let token = self.rest.get(..end)?;
        self.rest = self.rest.get(end..)?;
        if token.starts_with('_') || token.ends_with('_') || token.contains("__") {
            return None;
        }
        let clean = token.replace('_', "").to_ascii_lowercase();
        let radix =
            |prefix: &str, radix: u32| clean.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, radix).ok());
        let int = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
        if let Some(int) = int {
            return int.map(|int| self.node(NodeValue::Int(int)));
        }
        if clean.bytes().all(|b| b.is_ascii_digit()) {
            // `0644` is a syntax error to Python 3, so it stays a string; zeros alone are zero.
            if clean.len() > 1 && clean.starts_with('0') && clean.bytes().any(|b| b != b'0') {
                return None;
            }
            return clean.parse().ok().map(|int| self.node(NodeValue::Int(int)));
        }
        if clean.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'))
            && clean.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        {
            return clean.parse().ok().map(|float| self.node(NodeValue::Float(float)));
        }
        None
    }

    fn word(&mut self) -> Option<Node> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let word = self.rest.get(..end)?;
        let value = match word {
            "True" => NodeValue::Bool(true),
            "False" => NodeValue::Bool(false),
            "None" => NodeValue::Null,
            _ => return None,
        };
        self.rest = self.rest.get(end..)?;
        Some(self.node(value))
    }

    /// One string, or several side by side.
    fn strings(&mut self) -> Option<String> {
        let mut text = self.string()?;
        loop {
            self.skip();
            match self.string() {
                Some(more) => text.push_str(&more),
                None => return Some(text),
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote_at = self.rest.find(['"', '\'']).filter(|at| *at <= 2)?;
        let prefix = self.rest.get(..quote_at)?.to_ascii_lowercase();
        let raw = match prefix.as_str() {
            "" | "u" | "b" => false,
            "r" | "br" | "rb" => true,
            _ => return None,
        };
        let body = self.rest.get(quote_at..)?;
        let quote = body.get(..1)?;
        let triple = quote.repeat(3);
        let (delimiter, mut body) = match body.strip_prefix(triple.as_str()) {
            Some(inner) => (triple.as_str(), inner),
            None => (quote, body.get(1..)?),
        };
        let mut text = String::new();
        loop {
            if let Some(rest) = body.strip_prefix(delimiter) {
                self.rest = rest;
                return Some(text);
            }
            let c = body.chars().next()?;
            body = body.get(c.len_utf8()..)?;
            if c == '\n' && delimiter.len() == 1 {
                return None;
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let escape = body.chars().next()?;
            body = body.get(escape.len_utf8()..)?;
            if raw {
                text.push('\\');
                text.push(escape);
                continue;
            }
            let digits = match escape {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            if digits > 0 {
                let code = u32::from_str_radix(body.get(..digits)?, 16).ok()?;
                text.push(char::from_u32(code)?);
                body = body.get(digits..)?;
                continue;
            }
            if escape.is_digit(8) {
                let mut code = escape.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = body.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    body = body.get(1..)?;
                }
                text.push(char::from_u32(code)?);
                continue;
            }
            match escape {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'a' => text.push('\x07'),
                'b' => text.push('\x08'),
                'f' => text.push('\x0c'),
                'v' => text.push('\x0b'),
                '\n' => {}
                '\\' | '\'' | '"' => text.push(escape),
                other => {
                    text.push('\\');
                    text.push(other);
                }
            }
        }
    }
}
