//! Text for HTML and XML: escaped, stripped of tags, with links.

use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::value::Value;

use crate::template::args::{Args, R, fail, items, pairs};
use crate::template::py;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// Escapes what is not escaped yet.
pub(super) fn escape(args: &Args) -> R {
    let value = args.value();
    if value.is_safe() {
        return Ok(value);
    }
    forceescape(args)
}

pub(super) fn forceescape(args: &Args) -> R {
    Ok(Value::from_safe_string(escaped(&py::str(&args.value()))))
}

/// Comments and tags are taken out, white space becomes one blank, and entities are read.
pub(super) fn striptags(args: &Args) -> R {
    static TAGS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?s)<!--.*?-->|<[^>]*>").ok());
    let text = py::str(&args.value());
    let text = match &*TAGS {
        Some(tags) => tags.replace_all(&text, "").into_owned(),
        None => text,
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&nbsp;", "\u{a0}")];
    let text = entities.iter().fold(text, |text, (entity, plain)| text.replace(entity, plain));
    Ok(Value::from(text.replace("&amp;", "&")))
}

/// The attributes of a tag.
pub(super) fn xmlattr(args: &Args) -> R {
    let pairs = pairs(&args.value()).ok_or_else(|| fail("xmlattr needs a dictionary"))?;
    let mut out = String::new();
    for (k, v) in pairs {
        if v.is_none() || v.is_undefined() {
            continue;
        }
        let name = py::str(&k);
        if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
            return Err(fail(format!("xmlattr: invalid character in the attribute name '{name}'")));
        }
        out.push_str(&format!(" {}=\"{}\"", escaped(&name), escaped(&py::str(&v))));
    }
    let out = if args.flag(1, "autospace", true) { out } else { out.trim_start().to_owned() };
    Ok(Value::from(out))
}

/// `urlize(trim_url_limit, nofollow, target, rel, extra_schemes)`: addresses in a text become links.
pub(super) fn urlize(args: &Args) -> R {
    const DOMAIN: &str = r"([\w%-]+\.)+(com|net|int|edu|gov|org|info|mil)";
    const HOST: &str =
        r"([\w%-]+\.)+[a-z]{2,63}|([0-9]{1,3}\.){3}[0-9]{1,3}|\[([0-9a-f]{0,4}:){2}([0-9a-f]{0,4}:?){1,6}\]";
    static HTTP: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let rest = r"(:[0-9]{1,5})?(?:[/?#]\S*)?";
        Regex::new(&format!(r"(?i)^((https?://|www\.)(({HOST})|localhost)(?:{rest})|{DOMAIN}{rest})$")).ok()
    });
    static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\S+@\w[\w.-]*\.\w+$").ok());
    let is = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_some_and(|p| p.is_match(text).unwrap_or(false));
    args.only(6, &["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"])?;
    let limit = args.int(1, "trim_url_limit")?.and_then(|n| usize::try_from(n).ok());
    let mut rel: Vec<String> = args.text(4, "rel").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    rel.push("noopener".to_owned());
    if args.flag(2, "nofollow", false) {
        rel.push("nofollow".to_owned());
    }
    rel.sort();
    rel.dedup();
    let target = args.text(3, "target").map(|t| format!(" target=\"{}\"", escaped(&t))).unwrap_or_default();
    let attributes = format!(" rel=\"{}\"{target}", escaped(&rel.join(" ")));
    let extra: Vec<String> = match args.some(5, "extra_schemes") {
        Some(list) => items(&list, "urlize")?.iter().map(py::str).collect(),
        None => Vec::new(),
    };
    static SCHEME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\w.+-]{2,}:/{0,2}$").ok());
    if let Some(bad) = extra.iter().find(|scheme| !is(&SCHEME, scheme)) {
        return Err(fail(format!("urlize: '{bad}' is not a valid URI scheme prefix")));
    }
    let shown = |text: &str| match limit {
        Some(limit) if text.chars().count() > limit => format!("{}...", text.chars().take(limit).collect::<String>()),
        _ => text.to_owned(),
    };
    let text = escaped(&py::str(&args.value()));
    let mut out = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // White space and words by turns.
        let blank = rest.starts_with(char::is_whitespace);
        let end = rest.find(|c: char| c.is_whitespace() != blank).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if blank {
            out.push_str(word);
            continue;
        }
        let (head, middle, tail) = trimmed(word);
        let address = middle.strip_prefix("mailto:").unwrap_or(middle);
        out.push_str(head);
        if is(&HTTP, middle) {
            let to = if middle.starts_with("http://") || middle.starts_with("https://") { "" } else { "https://" };
            out.push_str(&format!("<a href=\"{to}{middle}\"{attributes}>{}</a>", shown(middle)));
        } else if middle.starts_with("mailto:") && is(&MAIL, address) {
            out.push_str(&format!("<a href=\"{middle}\">{address}</a>"));
        } else if middle.contains('@') && !middle.starts_with("www.") && !middle.contains(':') && is(&MAIL, middle) {
            out.push_str(&format!("<a href=\"mailto:{middle}\">{middle}</a>"));
        } else if extra.iter().any(|scheme| middle.starts_with(scheme.as_str()) && middle != scheme) {
            out.push_str(&format!("<a href=\"{middle}\"{attributes}>{middle}</a>"));
        } else {
            out.push_str(middle);
        }
        out.push_str(tail);
    }
    Ok(Value::from(out))
}

/// A word without the brackets before it and the punctuation behind it.
fn trimmed(word: &str) -> (&str, &str, &str) {
    let opening = |w: &str| ["(", "<", "&lt;"].iter().find(|o| w.starts_with(**o)).map(|o| o.len());
    let closing = |w: &str| [")", ">", ".", ",", "\n", "&gt;"].iter().find(|c| w.ends_with(**c)).map(|c| c.len());
    let (mut start, mut end) = (0, word.len());
    while let Some(n) = word.get(start..end).and_then(opening) {
        start += n;
    }
    while let Some(n) = word.get(start..end).and_then(closing) {
        end -= n;
    }
    // A closing bracket whose opening one is inside the address belongs to it.
    for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
        let middle = word.get(start..end).unwrap_or_default();
        let missing = middle.matches(open).count().saturating_sub(middle.matches(close).count());
        for _ in 0..missing {
            match word.get(end..).and_then(|tail| tail.find(close)) {
                Some(at) => end += at + close.len(),
                None => break,
            }
        }
    }
    (
        word.get(..start).unwrap_or_default(),
        word.get(start..end).unwrap_or_default(),
        word.get(end..).unwrap_or_default(),
    )
}
