//! `key=value` arguments in a string, split as Ansible splits them: quotes and templates stay whole.

/// Splits at blanks and newlines outside quotes and template brackets, keeping them for [`join_args`].
pub fn split_args(text: &str) -> Result<Vec<String>, String> {
    let mut params: Vec<String> = Vec::new();
    let mut quote: Option<char> = None;
    let mut depths = [0_usize; 3];
    const BRACKETS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    let lines: Vec<&str> = text.split('\n').collect();
    for (at_line, line) in lines.iter().enumerate() {
        let tokens: Vec<&str> = line.split(' ').collect();
        let mut continued = false;
        for (at, token) in tokens.iter().copied().enumerate() {
            if token.is_empty() && at != 0 {
                append(&mut params, " ");
                continue;
            }
            if token == "\\" && quote.is_none() {
                continued = true;
                continue;
            }
            let was_inside = quote.is_some();
            quote = quote_state(token, quote);
            let inside = quote.is_some();
            let deep = |depths: &[usize; 3]| depths.iter().any(|depth| *depth > 0);
            let mut appended = false;
            if inside && !was_inside && !deep(&depths) {
                params.push(token.to_owned());
                appended = true;
            } else if deep(&depths) || inside || was_inside {
                if tokens.len() == 1 && !(at == 0 && was_inside) {
                    append(&mut params, "\n");
                } else if at > 0 {
                    append(&mut params, " ");
                }
                append(&mut params, token);
                appended = true;
            }
            for (depth, (open, close)) in depths.iter_mut().zip(BRACKETS) {
                let before = *depth;
                *depth = (before + token.matches(open).count()).saturating_sub(token.matches(close).count());
                if *depth != before && !appended {
                    params.push(token.to_owned());
                    appended = true;
                }
            }
            if !deep(&depths) && !inside && !appended && !token.is_empty() {
                params.push(token.to_owned());
            }
        }
        if lines.len() > 1 && at_line + 1 != lines.len() && !continued {
            append(&mut params, "\n");
        }
    }
    if quote.is_some() {
        return Err("a quote in these arguments is not closed".to_owned());
    }
    if depths.iter().any(|depth| *depth > 0) {
        return Err("a template in these arguments is not closed".to_owned());
    }
    Ok(params)
}

/// Adds to the last word.
fn append(params: &mut Vec<String>, text: &str) {
    match params.last_mut() {
        Some(last) => last.push_str(text),
        None => params.push(text.to_owned()),
    }
}

fn quote_state(token: &str, mut quote: Option<char>) -> Option<char> {
    let mut previous = None;
    for c in token.chars() {
        if matches!(c, '"' | '\'') && previous != Some('\\') {
            match quote {
                Some(open) if open == c => quote = None,
                Some(_) => {}
                None => quote = Some(c),
            }
        }
        previous = Some(c);
    }
    quote
}

/// Puts back together what [`split_args`] split.
pub fn join_args<S: AsRef<str>>(params: &[S]) -> String {
    let mut text = String::new();
    for param in params {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push(' ');
        }
        text.push_str(param.as_ref());
    }
    text
}

/// Removes one pair of quotes around a text.
pub fn unquote(text: &str) -> &str {
    let quoted =
        |q: char| text.len() > 1 && text.starts_with(q) && text.ends_with(q) && !text.ends_with(&format!("\\{q}"));
    if quoted('"') || quoted('\'') { text.get(1..text.len() - 1).unwrap_or(text) } else { text }
}

/// Arguments of commands that may stand as `key=value` before or behind the command line.
const COMMAND_OPTIONS: [&str; 8] =
    ["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline", "strip_empty_ends"];

/// `key=value` pairs and, if there is any, the rest of the text.
pub type KeyValues = (Vec<(String, String)>, Option<String>);

/// Takes the `key=value` words of a string. With `command`, only the options of commands are taken.
pub fn parse_kv(text: &str, command: bool) -> Result<KeyValues, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut raw: Vec<String> = Vec::new();
    for word in split_args(text)? {
        let decoded = decode_escapes(&word);
        if !decoded.contains('=') {
            raw.push(word);
            continue;
        }
        // The first `=` that is not at the start and not escaped.
        let equals = decoded
            .char_indices()
            .filter(|(at, c)| *c == '=' && *at > 0)
            .map(|(at, _)| at)
            .find(|at| !decoded.get(..*at).is_some_and(|before| before.ends_with('\\')));
        let Some(at) = equals else {
            raw.push(decoded.replace("\\=", "="));
            continue;
        };
        let (key, value) = (decoded.get(..at).unwrap_or_default(), decoded.get(at + 1..).unwrap_or_default());
        if command && !COMMAND_OPTIONS.contains(&key) {
            raw.push(word);
            continue;
        }
        let (key, value) = (key.trim(), unquote(value.trim()));
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1 = value.to_owned(),
            None => pairs.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok((pairs, (!raw.is_empty()).then(|| join_args(&raw))))
}

/// `\n`, `\t`, `\x41` … as in Python; other backslashes stay.
fn decode_escapes(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        let hex = |digits: usize| {
            let code = rest.get(1..=digits)?;
            char::from_u32(u32::from_str_radix(code, 16).ok()?)
        };
        let (decoded, length) = match c {
            'n' => (Some('\n'), 1),
            't' => (Some('\t'), 1),
            'r' => (Some('\r'), 1),
            'a' => (Some('\x07'), 1),
            'b' => (Some('\x08'), 1),
            'f' => (Some('\x0c'), 1),
            'v' => (Some('\x0b'), 1),
            '\\' | '\'' | '"' => (Some(c), 1),
            'x' => (hex(2), 3),
            'u' => (hex(4), 5),
            'U' => (hex(8), 9),
            _ => (None, 0),
        };
        match decoded {
            Some(decoded) => {
                out.push(decoded);
                rest = rest.get(length..).unwrap_or_default();
            }
            None => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_and_joining() {
        let table: &[(&str, &[&str])] = &[
            ("a=1 b=2", &["a=1", "b=2"]),
            ("a='x y' b", &["a='x y'", "b"]),
            ("a={{ x }} b", &["a={{ x }}", "b"]),
            ("echo  two", &["echo ", "two"]),
            ("{% if a %} x {% endif %} y", &["{% if a %}", "x", "{% endif %}", "y"]),
            ("a\nb", &["a\n", "b"]),
            ("a \\\nb", &["a", "b"]),
            ("x=\"a\nb\"", &["x=\"a\nb\""]),
        ];
        for (text, expected) in table {
            assert_eq!(split_args(text).unwrap(), *expected, "{text:?}");
        }
        assert!(split_args("a='x").is_err());
        assert!(split_args("a={{ x").is_err());
        assert_eq!(split_args("").unwrap(), Vec::<String>::new());
        assert_eq!(join_args(&["a\n", "b", "c"]), "a\nb c");
    }

    #[test]
    fn pairs_and_the_rest() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let table: &[(&str, bool, Pairs, Option<&str>)] = &[
            ("name=nginx state=started", false, &[("name", "nginx"), ("state", "started")], None),
            ("src=\"a b\" mode=0644", false, &[("src", "a b"), ("mode", "0644")], None),
            ("x={{ a | default('b c') }}", false, &[("x", "{{ a | default('b c') }}")], None),
            ("msg='it=is'", false, &[("msg", "it=is")], None),
            ("a=b=c", false, &[("a", "b=c")], None),
            ("a\\=b", false, &[], Some("a=b")),
            ("ls -l chdir=/tmp", true, &[("chdir", "/tmp")], Some("ls -l")),
            ("FOO=bar env creates=/x", true, &[("creates", "/x")], Some("FOO=bar env")),
            ("echo 'a  b'", true, &[], Some("echo 'a  b'")),
            ("site.yml tags=x", false, &[("tags", "x")], Some("site.yml")),
            ("a=\\x41\\n", false, &[("a", "A")], None),
            ("a=\"x\\\\y\"", false, &[("a", "x\\y")], None),
            ("awk '{print $1}' f\ncat x", true, &[], Some("awk '{print $1}' f\ncat x")),
        ];
        for (text, command, pairs, raw) in table {
            let (got, rest) = parse_kv(text, *command).unwrap();
            let got: Vec<(&str, &str)> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!((got.as_slice(), rest.as_deref()), (*pairs, *raw), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[ab='\"{}%#\\\\ \nxué]{0,60}") {
            let _ = parse_kv(&text, false);
            let _ = parse_kv(&text, true);
        }
    }
}
