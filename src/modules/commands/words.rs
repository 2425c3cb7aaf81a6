//! Splitting a command line into words as a POSIX shell would, without running one.

/// Words of `text`: spaces separate, quotes group, a backslash takes the next character as it is.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(format!("No closing quotation in `{text}`")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(format!("No closing quotation in `{text}`")),
                        },
                        Some(c) => word.push(c),
                        None => return Err(format!("No closing quotation in `{text}`")),
                    }
                }
            }
            '\\' => match characters.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(format!("No escaped character at the end of `{text}`")),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// A word as a shell takes it, quoted where it must be.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// `$NAME` and `${NAME}` replaced, and a leading `~` or `~user`; unknown variables stay as they are.
pub fn expand(
    word: &str,
    variable: impl Fn(&str) -> Option<String>,
    home: impl Fn(Option<&str>) -> Option<String>,
) -> String {
    let mut text = word.to_string();
    if let Some(rest) = word.strip_prefix('~') {
        let (user, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let Some(directory) = home((!user.is_empty()).then_some(user)) {
            text = format!("{}{path}", directory.trim_end_matches('/'));
        }
    }
    let mut result = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let (name, length) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (after.get(..end).unwrap_or_default(), end)
            }
        };
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => result.push_str(&value),
            None => result.push_str(rest.get(before.len()..before.len() + 1 + length).unwrap_or_default()),
        }
        rest = after.get(length..).unwrap_or_default();
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_a_shell_splits_them() {
        for (text, words) in [
            ("ls -l  /tmp", vec!["ls", "-l", "/tmp"]),
            ("echo 'a b' \"c d\" e\\ f", vec!["echo", "a b", "c d", "e f"]),
            (r#"echo "a\"b\\c\d""#, vec!["echo", r#"a"b\c\d"#]),
            ("a''b ''", vec!["ab", ""]),
            ("one\n two", vec!["one", "two"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["echo 'x", "echo \"x", "x \\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_and_homes_are_expanded() {
        let variable = |name: &str| (name == "HOME").then(|| "/root".to_string());
        let home = |user: Option<&str>| match user {
            None => Some("/root".to_string()),
            Some("db") => Some("/home/db".to_string()),
            Some(_) => None,
        };
        for (word, expected) in [
            ("$HOME/x", "/root/x"),
            ("${HOME}x$", "/rootx$"),
            ("$NOPE/${NOPE}", "$NOPE/${NOPE}"),
            ("~/x", "/root/x"),
            ("~db/x", "/home/db/x"),
            ("~nobody/x", "~nobody/x"),
            ("a~b", "a~b"),
            ("100$", "100$"),
        ] {
            assert_eq!(expand(word, variable, home), expected, "{word}");
        }
    }
}
