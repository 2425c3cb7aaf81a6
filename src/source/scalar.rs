//! The type of a plain scalar, by the rules of PyYAML (YAML 1.1), which are Ansible's.

use std::sync::Arc;

use super::node::NodeValue;

/// The value of a scalar written without quotes.
///
/// As PyYAML: `yes` is true, `0644` is 420, `0o644` and `1e3` are strings, `1_000` is a thousand, `1:30` is 90.
/// Dates stay strings, and so do integers beyond 64 bits: who makes values of them looks at these once more.
pub fn resolve_plain(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return NodeValue::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return NodeValue::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return NodeValue::Float(f64::NAN),
        _ => {}
    }
    if let Some(bool) = yaml_bool(text) {
        return NodeValue::Bool(bool);
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        if let Some(int) = integer(text).and_then(|int| i64::try_from(int).ok()) {
            return NodeValue::Int(int);
        }
        if let Some(float) = float(text) {
            return NodeValue::Float(float);
        }
    }
    NodeValue::Str(Arc::from(text))
}

/// Whether a plain scalar is a number in base 60, which few people mean.
pub(super) fn is_sexagesimal(text: &str) -> bool {
    text.contains(':') && !matches!(resolve_plain(text), NodeValue::Str(_))
}

fn yaml_bool(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Ansible's conversion of text to a boolean, as for keywords and module arguments: `yes`, `on`, `1`, `true`,
/// `t`, `y` and their opposites, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
        "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
        _ => None,
    }
}

/// The integer beyond 64 bits that a plain scalar means, which [`resolve_plain`] leaves a string.
pub fn large_integer(text: &str) -> Option<i128> {
    integer(text).filter(|int| i64::try_from(*int).is_err())
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, body) = if let Some(body) = digits.strip_prefix("0b") {
        (2, body)
    } else if let Some(body) = digits.strip_prefix("0x") {
        (16, body)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits.get(1..)?)
    } else if digits.contains(':') {
        return sexagesimal_int(negative, digits).map(i128::from);
    } else {
        (10, digits)
    };
    if radix == 10 && !body.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if body.is_empty() || !body.chars().all(|c| c == '_' || c.is_digit(radix)) {
        return None;
    }
    let clean: String = body.chars().filter(|c| *c != '_').collect();
    if clean.is_empty() {
        // `0_` is zero to PyYAML; `0x_` is an error to it, and a string to us.
        return (radix == 8).then_some(0);
    }
    let signed = if negative { format!("-{clean}") } else { clean };
    i128::from_str_radix(&signed, radix).ok()
}

fn sexagesimal_int(negative: bool, digits: &str) -> Option<i64> {
    let mut parts = digits.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| matches!(c, '1'..='9')) || !digits_or_underscore(first) {
        return None;
    }
    let mut value: i64 = first.replace('_', "").parse().ok()?;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(sixty(part)?)?;
    }
    Some(if negative { -value } else { value })
}

/// `[0-5]?[0-9]`
fn sixty(part: &str) -> Option<i64> {
    let valid = match part.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    };
    if valid { part.parse().ok() } else { None }
}

fn digits_or_underscore(text: &str) -> bool {
    text.bytes().all(|b| b == b'_' || b.is_ascii_digit())
}

fn float(text: &str) -> Option<f64> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    let (whole, rest) = body.split_once('.')?;
    if let Some((first, _)) = whole.split_once(':') {
        if !first.starts_with(|c: char| c.is_ascii_digit())
            || !digits_or_underscore(first)
            || !digits_or_underscore(rest)
        {
            return None;
        }
        let mut value = 0.0;
        for (at, part) in whole.split(':').enumerate() {
            let part = if at == 0 { part.replace('_', "").parse::<f64>().ok()? } else { sixty(part)? as f64 };
            value = value * 60.0 + part;
        }
        let fraction: f64 = format!("0.{}0", rest.replace('_', "")).parse().ok()?;
        return Some(sign * (value + fraction));
    }
    if whole.is_empty() {
        // `.5` has no sign in PyYAML's rule, and needs a digit.
        if !rest.starts_with(|c: char| c.is_ascii_digit()) || body.len() != text.len() {
            return None;
        }
    } else if !whole.starts_with(|c: char| c.is_ascii_digit()) || !digits_or_underscore(whole) {
        return None;
    }
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
        None => (rest, None),
    };
    if !digits_or_underscore(fraction) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-'])?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    let clean = body.replace('_', "");
    let clean = clean.trim_end_matches('.');
    clean.parse::<f64>().ok().map(|value| sign * value)
}
