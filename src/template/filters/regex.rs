//! Python's regular expressions over fancy-regex.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use fancy_regex::{Captures, Regex, RegexBuilder};
use minijinja::Error;
use minijinja::value::Value;

use crate::template::args::{Args, R, fail};
use crate::template::py;

/// Compiled patterns by their text and flags.
type Compiled = HashMap<(String, u8), Arc<Regex>>;

static CACHE: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// Compiles a Python pattern.
pub(crate) fn compile(pattern: &str, ignorecase: bool, multiline: bool) -> Result<Arc<Regex>, Error> {
    let key = (pattern.to_owned(), u8::from(ignorecase) | (u8::from(multiline) << 1));
    if let Some(found) = CACHE.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(found.clone());
    }
    let flags = match (ignorecase, multiline) {
        (false, false) => "",
        (true, false) => "(?i)",
        (false, true) => "(?m)",
        (true, true) => "(?im)",
    };
    let text = format!("{flags}{}", translate(pattern, multiline));
    let regex = RegexBuilder::new(&text)
        .backtrack_limit(1_000_000)
        .build()
        .map_err(|e| fail(format!("invalid regular expression '{pattern}': {e}")))?;
    let regex = Arc::new(regex);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() > 2000 {
        cache.clear();
    }
    cache.insert(key, regex.clone());
    Ok(regex)
}

/// Python's syntax to Rust's: `\Z`, `$` before a last newline, `{,n}`, and brackets inside a class.
fn translate(pattern: &str, multiline: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let chars: Vec<char> = pattern.chars().collect();
    let multiline =
        multiline || pattern.starts_with("(?m") || pattern.starts_with("(?im") || pattern.starts_with("(?sm");
    let at = |i: usize| chars.get(i).copied();
    let (mut i, mut class) = (0, false);
    while let Some(c) = at(i) {
        match c {
            '\\' => {
                match at(i + 1) {
                    Some('Z') => out.push_str("\\z"),
                    Some(n @ ('<' | '>')) => out.push(n),
                    Some(n) => {
                        out.push('\\');
                        out.push(n);
                    }
                    None => out.push('\\'),
                }
                i += 1;
            }
            '[' if !class => {
                class = true;
                out.push('[');
                if at(i + 1) == Some('^') {
                    out.push('^');
                    i += 1;
                }
                if at(i + 1) == Some(']') {
                    out.push_str("\\]");
                    i += 1;
                }
            }
            '[' => out.push_str("\\["),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class && at(i + 1) == Some(c) => {
                out.push('\\');
                out.push(c);
            }
            '$' if !class && !multiline => out.push_str("(?=\\n?\\z)"),
            '{' if !class && at(i + 1) == Some(',') && at(i + 2).is_some_and(|d| d.is_ascii_digit()) => {
                out.push_str("{0")
            }
            c => out.push(c),
        }
        i += 1;
    }
    out
}

fn runtime(e: &fancy_regex::Error) -> Error {
    fail(format!("the regular expression failed: {e}"))
}

/// Whether the pattern is found: at the start for `anchored`, and up to the end for `full`.
pub(crate) fn is_match(
    text: &str,
    pattern: &str,
    ignorecase: bool,
    multiline: bool,
    kind: &str,
) -> Result<bool, Error> {
    let pattern = match kind {
        "match" => format!("\\A(?:{pattern})"),
        "fullmatch" => format!("\\A(?:{pattern})\\z"),
        _ => pattern.to_owned(),
    };
    compile(&pattern, ignorecase, multiline)?.is_match(text).map_err(|e| runtime(&e))
}

/// `\1`, `\g<1>`, `\g<name>` and escapes in a replacement.
fn expand(template: &str, captures: &Captures<'_, str>, out: &mut String) -> Result<(), Error> {
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d) if d.is_ascii_digit() => {
                let mut n = d.to_digit(10).unwrap_or(0) as usize;
                if let Some(d) = chars.peek().and_then(|c| c.to_digit(10))
                    && n != 0
                {
                    n = n * 10 + d as usize;
                    chars.next();
                }
                if n >= captures.len() {
                    return Err(fail(format!("invalid group reference {n}")));
                }
                out.push_str(captures.get(n).map_or("", |m| m.as_str()));
            }
            Some('g') => {
                if chars.next() != Some('<') {
                    return Err(fail("missing < in a group reference"));
                }
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                let group = match name.parse::<usize>() {
                    Ok(n) if n < captures.len() => captures.get(n),
                    Ok(n) => return Err(fail(format!("invalid group reference {n}"))),
                    Err(_) => captures.name(&name),
                };
                out.push_str(group.map_or("", |m| m.as_str()));
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    Ok(())
}

/// All matches as Python finds them: one of nothing may follow right behind another, which Rust's iterators leave out.
fn matches<'t>(
    regex: &Regex,
    text: &'t str,
    mut each: impl FnMut(&Captures<'t, str>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut from = 0;
    while let Some(captures) = regex.captures_from_pos(text, from).map_err(|e| runtime(&e))? {
        let Some(whole) = captures.get(0) else { break };
        let (start, end) = (whole.start(), whole.end());
        if !each(&captures)? {
            break;
        }
        // Behind one of nothing the next begins a letter later.
        let step = if start == end {
            text.get(end..).and_then(|rest| rest.chars().next()).map(char::len_utf8)
        } else {
            Some(0)
        };
        let Some(step) = step else { break };
        from = end + step;
    }
    Ok(())
}

/// `re.subn`
fn substitute(regex: &Regex, text: &str, replacement: &str, count: usize) -> Result<(String, usize), Error> {
    let mut out = String::with_capacity(text.len());
    let (mut last, mut done) = (0, 0);
    matches(regex, text, |captures| {
        if count > 0 && done >= count {
            return Ok(false);
        }
        let (start, end) = captures.get(0).map_or((last, last), |whole| (whole.start(), whole.end()));
        out.push_str(text.get(last..start).unwrap_or_default());
        expand(replacement, captures, &mut out)?;
        last = end;
        done += 1;
        Ok(true)
    })?;
    out.push_str(text.get(last..).unwrap_or_default());
    Ok((out, done))
}

/// `regex_replace(pattern, replacement, ignorecase, multiline, count, mandatory_count)`
pub(super) fn regex_replace(args: &Args) -> R {
    args.only(7, &["pattern", "replacement", "ignorecase", "multiline", "count", "mandatory_count"])?;
    let text = py::str(&args.value());
    let pattern = args.text(1, "pattern").unwrap_or_default();
    let replacement = args.text(2, "replacement").unwrap_or_default();
    let regex = compile(&pattern, args.flag(3, "ignorecase", false), args.flag(4, "multiline", false))?;
    let count = usize::try_from(args.int(5, "count")?.unwrap_or(0)).unwrap_or(0);
    let (out, done) = substitute(&regex, &text, &replacement, count)?;
    if let Some(want) = args.int(6, "mandatory_count")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
        && want != done
    {
        return Err(fail(format!("'{pattern}' should match {want} times, but matches {done} times")));
    }
    Ok(Value::from(out))
}

/// `regex_search(pattern, '\\1', …, ignorecase=, multiline=)`
pub(super) fn regex_search(args: &Args) -> R {
    let text = py::str(&args.value());
    let named = |name: &str| args.named().iter().find(|(k, _)| k == name).is_some_and(|(_, v)| v.is_true());
    let regex = compile(&args.need_text(1, "regex")?, named("ignorecase"), named("multiline"))?;
    let mut groups = Vec::new();
    for group in args.rest(2) {
        let group = py::str(group);
        if let Some(name) = group.strip_prefix("\\g<").and_then(|g| g.strip_suffix('>')) {
            groups.push(name.to_owned());
        } else if let Some(number) = group.strip_prefix('\\').filter(|n| n.parse::<usize>().is_ok()) {
            groups.push(number.to_owned());
        } else {
            return Err(fail("regex_search: unknown argument; groups are '\\1' or '\\g<name>'"));
        }
    }
    let Some(captures) = regex.captures(&text).map_err(|e| runtime(&e))? else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(captures.get(0).map_or("", |m| m.as_str())));
    }
    let mut out = Vec::new();
    for group in groups {
        let found = match group.parse::<usize>() {
            Ok(n) if n >= captures.len() => return Err(fail(format!("regex_search: no such group {n}"))),
            Ok(n) => captures.get(n),
            Err(_) => captures.name(&group),
        };
        out.push(found.map_or(Value::from(()), |m| Value::from(m.as_str())));
    }
    Ok(Value::from(out))
}

/// `regex_findall(pattern, multiline, ignorecase)`
pub(super) fn regex_findall(args: &Args) -> R {
    args.only(4, &["regex", "multiline", "ignorecase"])?;
    let text = py::str(&args.value());
    let regex =
        compile(&args.need_text(1, "regex")?, args.flag(3, "ignorecase", false), args.flag(2, "multiline", false))?;
    let mut out = Vec::new();
    matches(&regex, &text, |captures| {
        let group = |i: usize| Value::from(captures.get(i).map_or("", |m| m.as_str()));
        out.push(match captures.len() {
            1 => group(0),
            2 => group(1),
            n => Value::from(minijinja::value::Tuple::from((1..n).map(group).collect::<Vec<_>>())),
        });
        Ok(true)
    })?;
    Ok(Value::from(out))
}

/// `regex_escape(re_type)`
pub(super) fn regex_escape(args: &Args) -> R {
    let text = py::str(&args.value());
    let special: &str = match args.text(1, "re_type").as_deref().unwrap_or("python") {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}",
        "posix_basic" => "].[^$*\\",
        other => return Err(fail(format!("regex_escape: the type '{other}' is not known"))),
    };
    Ok(Value::from(
        text.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect::<String>(),
    ))
}
