//! Values as Python prints and names them.

use minijinja::value::{Value, ValueKind};

/// Python's `str()`.
pub(super) fn str(value: &Value) -> String {
    if let Some(s) = value.as_str() {
        return s.to_owned();
    }
    let mut out = String::new();
    write(value, &mut out, 0);
    out
}

/// The same of a value as a template prints it: bytes are no text.
pub(super) fn printed(value: &Value) -> String {
    match value.kind() {
        ValueKind::Bytes => repr(value),
        _ => str(value),
    }
}

/// Python's `repr()`.
pub(super) fn repr(value: &Value) -> String {
    if let Some(text) = super::time::repr(value) {
        return text;
    }
    let mut out = String::new();
    write(value, &mut out, 0);
    out
}

/// Python's `ascii()`: its `repr` with other characters by their numbers.
pub(super) fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in repr(value).chars() {
        match u32::from(c) {
            ..=0x7f => out.push(c),
            n @ ..=0xff => out.push_str(&format!("\\x{n:02x}")),
            n @ ..=0xffff => out.push_str(&format!("\\u{n:04x}")),
            n => out.push_str(&format!("\\U{n:08x}")),
        }
    }
    out
}

/// The text of a sequence that Python does not print as a list or tuple.
pub(super) fn own_text(value: &Value) -> Option<String> {
    super::range::text(value).or_else(|| super::time::named(value)).or_else(|| super::filters::group_text(value))
}

/// A float as Python prints it.
pub(super) fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = f.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{f:e}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            return format!("{mantissa}e{sign}{digits:0>2}");
        }
        return text;
    }
    let text = f.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn write(value: &Value, out: &mut String, depth: usize) {
    if depth > 200 {
        out.push_str("...");
        return;
    }
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&float(f64::try_from(value.clone()).unwrap_or(f64::NAN)));
        }
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Bytes => {
            out.push_str("b'");
            for b in value.as_bytes().unwrap_or_default() {
                out.push_str(&b.escape_ascii().to_string());
            }
            out.push('\'');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            if let Some(text) = own_text(value) {
                out.push_str(&text);
                return;
            }
            let tuple = value.is_tuple();
            out.push(if tuple { '(' } else { '[' });
            let mut n = 0;
            for item in value.try_iter().into_iter().flatten() {
                if n > 0 {
                    out.push_str(", ");
                }
                write(&item, out, depth + 1);
                n += 1;
            }
            if tuple && n == 1 {
                out.push(',');
            }
            out.push(if tuple { ')' } else { ']' });
        }
        ValueKind::Map => {
            out.push('{');
            if let Some(object) = value.as_object() {
                for (i, (k, v)) in object.try_iter_pairs().into_iter().flatten().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    write(&k, out, depth + 1);
                    out.push_str(": ");
                    write(&v, out, depth + 1);
                }
            }
            out.push('}');
        }
        ValueKind::Undefined => out.push_str("Undefined"),
        _ => match super::time::repr(value) {
            Some(text) if depth > 0 => out.push_str(&text),
            _ => out.push_str(&value.to_string()),
        },
    }
}

fn quote(text: &str, out: &mut String) {
    let q = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(q);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == q => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}') => {
                let n = c as u32;
                if n <= 0xff {
                    out.push_str(&format!("\\x{n:02x}"));
                } else {
                    out.push_str(&format!("\\u{n:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push(q);
}

/// The name of a value's type, as `type_debug` and error messages print it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "UndefinedMarker",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number => {
            if value.is_integer() {
                "int"
            } else {
                "float"
            }
        }
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq if super::range::text(value).is_some() => "range",
        ValueKind::Seq if super::filters::group_text(value).is_some() => "GroupTuple",
        ValueKind::Seq | ValueKind::Iterable => super::time::type_name(value).unwrap_or("list"),
        ValueKind::Map => "dict",
        _ => super::time::type_name(value).unwrap_or("object"),
    }
}

/// A mapping key as `json.dumps` writes it.
pub(super) fn json_key(key: &Value) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
        _ => str(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python() {
        let list = Value::from(vec![
            Value::from("it's"),
            Value::from(1.0),
            Value::from(true),
            Value::from(()),
            Value::from("a\"'\n"),
            Value::from(1e16),
        ]);
        assert_eq!(str(&list), r#"["it's", 1.0, True, None, 'a"\'\n', 1e+16]"#);
        let map = Value::from_pairs([(Value::from("a"), Value::from(1)), (Value::from(2), Value::from("b"))]);
        assert_eq!(repr(&map), "{'a': 1, 2: 'b'}");
        assert_eq!(repr(&Value::from(minijinja::value::Tuple::from([Value::from(1)]))), "(1,)");
        assert_eq!(float(0.0001), "0.0001");
        assert_eq!(float(0.00001), "1e-05");
        assert_eq!(float(-2.5), "-2.5");
        assert_eq!(float(123456789.0), "123456789.0");
    }
}
