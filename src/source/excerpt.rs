//! Lines of a file as they may be shown: what stands behind the name of a password is starred out.
//!
//! A mistake is shown with its line before anything is known of the values on it, so the name decides.

use regex_lite::Regex;
use std::ops::Range;
use std::sync::LazyLock;

static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = "([a-z0-9_-]*(?:password|passwd|passphrase|secret_key|secret|token|pwd))";
    Regex::new(&format!(r#"(?i){name}["']?[ \t]*([:=])[ \t]*("(?:[^"\\\n]|\\.)*"?|'(?:[^'\n]|'')*'?|[^\n]+)"#)).ok()
});

/// What stands for a value: as many stars as ever, so that its length is not told either.
const STARS: &str = "********";

/// A text without the values of passwords.
pub(super) struct Shown {
    /// What may be shown.
    pub text: String,
    /// Where values stood in the original, and where their stars stand.
    values: Vec<(Range<usize>, usize)>,
}

impl Shown {
    /// Of this text. Templates stay: they name variables, and mistakes are found in them.
    pub fn of(text: &str) -> Shown {
        let mut shown = Shown { text: String::new(), values: Vec::new() };
        let mut copied = 0;
        for value in NAMED.as_ref().map(|named| values(named, text)).unwrap_or_default() {
            shown.text.push_str(text.get(copied..value.start).unwrap_or_default());
            copied = value.end;
            shown.values.push((value, shown.text.len()));
            shown.text.push_str(STARS);
        }
        shown.text.push_str(text.get(copied..).unwrap_or_default());
        shown
    }

    /// Where a place of the original is; one inside of a value is at its stars.
    pub fn at(&self, offset: usize) -> usize {
        match self.values.iter().rev().find(|(value, _)| value.start < offset) {
            None => offset,
            Some((value, stars)) if offset < value.end => *stars,
            Some((value, stars)) => offset - value.end + stars + STARS.len(),
        }
    }
}

fn values(named: &Regex, text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(one) = text.get(from..).and_then(|rest| named.captures(rest)) {
        let (Some(name), Some(sign), Some(value)) = (one.get(1), one.get(2), one.get(3)) else { break };
        let quoted = value.as_str().starts_with(['"', '\'']);
        let line = text.get(..from + name.start()).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
        let length = match (quoted, sign.as_str()) {
            (true, _) => value.len(),
            // In a flow mapping, and in free form, something else may follow.
            (false, "=") => value.as_str().find(char::is_whitespace).unwrap_or(value.len()),
            (false, _) if line.contains('{') => value.as_str().find([',', '}']).unwrap_or(value.len()),
            (false, _) => value.len(),
        };
        let plain = value.as_str().get(..length).unwrap_or_default();
        let range = from + value.start()..from + value.start() + length;
        let harmless = plain.contains("{{") || plain.starts_with(['=', '|', '>', '!']) || plain.is_empty();
        // Something is always passed, a whole character at least.
        from = range.end.max(from + sign.end());
        if !harmless && !name.as_str().eq_ignore_ascii_case("update_password") {
            found.push(range);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn values_of_passwords_are_starred_out() {
        for (line, expected) in [
            (
                "  mysql_user: {name: x, password: hunter2, state: presnt}",
                "  mysql_user: {name: x, password: ********, state: presnt}",
            ),
            ("login_password: \"a, b}\" # why", "login_password: ******** # why"),
            ("db_password: correct, horse", "db_password: ********"),
            ("mysql_user: name=x password=hunter2 state=presnt", "mysql_user: name=x password=******** state=presnt"),
            ("\"api_token\": 'it''s', x: y", "\"api_token\": ********, x: y"),
            ("password: {{ vault_word | nope }}", "password: {{ vault_word | nope }}"),
            ("password: \"{{ a }}\"", "password: \"{{ a }}\""),
            ("password_file: /etc/word", "password_file: /etc/word"),
            ("{update_password: on_create, PASSWD: y}", "{update_password: on_create, PASSWD: ********}"),
            ("that: db_password == 'x'", "that: db_password == 'x'"),
            ("password: !vault |", "password: !vault |"),
            ("a_secret: süß", "a_secret: ********"),
            ("password:", "password:"),
            ("no secrets here", "no secrets here"),
        ] {
            let shown = Shown::of(line);
            assert_eq!(shown.text, expected, "{line}");
            // What stands behind a value is found where it stands now.
            let (last, end) = (line.len(), shown.text.len());
            assert_eq!(shown.at(last), end, "{line}");
        }
        let shown = Shown::of("{password: long-word, state: x}");
        assert_eq!([0, 11, 15, 20].map(|place| shown.at(place)), [0, 11, 11, 19]);
        assert!(shown.text[shown.at(22)..].starts_with("state"), "{}", shown.text);
    }
}
