//! URLs.

use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, R, fail, items, pairs};
use crate::template::py;

fn percent(text: &str, safe: &str, plus: bool) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        let c = char::from(b);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || (b.is_ascii() && safe.contains(c)) {
            out.push(c);
        } else if plus && c == ' ' {
            out.push('+');
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Text is quoted, keeping `/`; pairs become a query string.
pub(super) fn urlencode(args: &Args) -> R {
    let value = args.value();
    let list: Vec<(String, String)> = match value.kind() {
        ValueKind::Map => pairs(&value).unwrap_or_default().iter().map(|(k, v)| (py::str(k), py::str(v))).collect(),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut out = Vec::new();
            for pair in items(&value, "urlencode")? {
                out.push((py::str(&pair.get_item_by_index(0)?), py::str(&pair.get_item_by_index(1)?)));
            }
            out
        }
        _ => return Ok(Value::from(percent(&py::str(&value), "/", false))),
    };
    let parts: Vec<String> =
        list.iter().map(|(k, v)| format!("{}={}", percent(k, "", true), percent(v, "", true))).collect();
    Ok(Value::from(parts.join("&")))
}

pub(super) fn urldecode(args: &Args) -> R {
    let text = py::str(&args.value());
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        let hex = (*b == b'%').then(|| text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok())).flatten();
        match (b, hex) {
            (_, Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (b, _) => out.push(*b),
        }
        i += 1;
    }
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}

/// `urlsplit(component)`
pub(super) fn urlsplit(args: &Args) -> R {
    let text = py::str(&args.value());
    let (rest, fragment) = text.split_once('#').unwrap_or((&text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |s: &str| {
        s.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = match rest.split_once(':') {
        Some((s, r)) if is_scheme(s) => (s.to_lowercase(), r),
        _ => (String::new(), rest),
    };
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(r) => r.split_at(r.find('/').unwrap_or(r.len())),
        None => ("", rest),
    };
    let (user, host) = match netloc.rsplit_once('@') {
        Some((u, h)) => (Some(u), h),
        None => (None, netloc),
    };
    let (username, password) = match user.map(|u| u.split_once(':').map_or((u, None), |(u, p)| (u, Some(p)))) {
        Some((u, p)) => (Some(u), p),
        None => (None, None),
    };
    let (hostname, port) = if let Some(r) = host.strip_prefix('[') {
        let (h, p) = r.split_once(']').unwrap_or((r, ""));
        (h, p.strip_prefix(':'))
    } else {
        host.rsplit_once(':').map_or((host, None), |(h, p)| (h, Some(p)))
    };
    let port = match port.filter(|p| !p.is_empty()) {
        Some(p) => Value::from(p.parse::<u16>().map_err(|_| fail("urlsplit: the port is not a number"))?),
        None => Value::from(()),
    };
    let text = |t: Option<&str>| t.map_or(Value::from(()), Value::from);
    let result = Value::from_pairs([
        ("fragment", Value::from(fragment)),
        ("hostname", if hostname.is_empty() { Value::from(()) } else { Value::from(hostname.to_lowercase()) }),
        ("netloc", Value::from(netloc)),
        ("password", text(password)),
        ("path", Value::from(path)),
        ("port", port),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme)),
        ("username", text(username)),
    ]);
    match args.text(1, "query").filter(|q| !q.is_empty()) {
        None => Ok(result),
        Some(part) => {
            let found = result.get_attr(&part)?;
            if found.is_undefined() {
                return Err(fail(format!("urlsplit: unknown URL component: {part}")));
            }
            Ok(found)
        }
    }
}
