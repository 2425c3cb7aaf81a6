//! Argument types that take what Ansible users write: `yes`, `"0644"`, a list or a comma-separated string.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// A boolean in any of Ansible's spellings: `yes`, `on`, `1`, `"true"`, `y`, `t` …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Flag(pub bool);

impl Flag {
    /// For `#[serde(default = "Flag::yes")]`.
    pub fn yes() -> Flag {
        Flag(true)
    }

    /// Ansible's reading of a value as a boolean.
    pub fn parse(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(b) => Some(*b),
            Value::Number(n) if n.as_f64() == Some(1.0) => Some(true),
            Value::Number(n) if n.as_f64() == Some(0.0) => Some(false),
            Value::String(s) => match s.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
                "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Flag::parse(&value)
            .map(Flag)
            .ok_or_else(|| D::Error::custom(format!("{value} is not a boolean: write yes or no")))
    }
}

/// Text; numbers and booleans are taken as Ansible prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Text(pub String);

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        text_of(&value).map(Text).ok_or_else(|| D::Error::custom(format!("{value} is not text")))
    }
}

/// A list of texts: a YAML list, or one string with commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TextList(pub Vec<String>);

impl<'de> Deserialize<'de> for TextList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::Null => Ok(TextList(Vec::new())),
            Value::Array(items) => items
                .iter()
                .map(|item| text_of(item).ok_or_else(|| D::Error::custom(format!("{item} in a list is not text"))))
                .collect::<Result<_, _>>()
                .map(TextList),
            other => match text_of(other) {
                Some(text) => {
                    Ok(TextList(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_string).collect()))
                }
                None => Err(D::Error::custom(format!("{value} is not a list"))),
            },
        }
    }
}

/// An integer, also written as a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Number(n) => n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64)),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        number.map(Int).ok_or_else(|| D::Error::custom(format!("{value} is not a whole number")))
    }
}

/// A file mode: `"0644"`, `0644` or `u=rw,g=r,o=`; kept as written, resolved against a file's present mode.
///
/// An integer is the bits themselves, as in Ansible: YAML reads `0644` as octal, but `644` as decimal, which is `01204`
/// (`deploy lint` says so).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum FileMode {
    /// Octal bits.
    Bits(u32),
    /// Symbolic clauses, separated by commas.
    Symbolic(String),
    /// `preserve`: the mode of the source file (copy, template).
    Preserve,
}

impl FileMode {
    /// Reads a mode as users write it.
    pub fn parse(text: &str) -> Result<FileMode, String> {
        let text = text.trim();
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if text == "preserve" {
            return Ok(FileMode::Preserve);
        }
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return match u32::from_str_radix(digits, 8) {
                Ok(bits) if bits <= 0o7777 => Ok(FileMode::Bits(bits)),
                _ => Err(format!("`{text}` is no octal mode: write for example \"0644\"")),
            };
        }
        // Check the clauses now, so that a typo is found before any file is touched.
        FileMode::Symbolic(text.to_string()).resolve(0o644, false, 0o022)?;
        Ok(FileMode::Symbolic(text.to_string()))
    }

    /// The bits for a file whose mode is `current`; `X` gives execution to directories and executables only.
    pub fn resolve(&self, current: u32, directory: bool, umask: u32) -> Result<u32, String> {
        let clauses = match self {
            FileMode::Bits(bits) => return Ok(*bits),
            FileMode::Preserve => return Ok(current & 0o7777),
            FileMode::Symbolic(clauses) => clauses,
        };
        let mut mode = current & 0o7777;
        for clause in clauses.split(',') {
            let bad = || format!("`{clause}` in mode `{clauses}` is not understood: write for example u=rw,g=r,o=");
            let operator = clause.find(['=', '+', '-']).ok_or_else(bad)?;
            let (who, mut rest) = clause.split_at(operator);
            if !who.chars().all(|c| "ugoa".contains(c)) {
                return Err(bad());
            }
            let all = who.is_empty() || who.contains('a');
            while let Some(operation) = rest.chars().next() {
                let end = rest[1..].find(['=', '+', '-']).map_or(rest.len(), |i| i + 1);
                let permissions = &rest[1..end];
                rest = &rest[end..];
                for (class, shift, special) in [('u', 6, 0o4000), ('g', 3, 0o2000), ('o', 0, 0o1000)] {
                    if !(all || who.contains(class)) {
                        continue;
                    }
                    // Each operation sees what those before it have made, as with chmod.
                    let mut bits = 0;
                    let mut extra = 0;
                    for permission in permissions.chars() {
                        match permission {
                            'r' => bits |= 4,
                            'w' => bits |= 2,
                            'x' => bits |= 1,
                            'X' => bits |= u32::from(directory || mode & 0o111 != 0),
                            's' if class != 'o' => extra |= special,
                            't' if class == 'o' => extra |= special,
                            's' | 't' => {}
                            'u' => bits |= (mode >> 6) & 7,
                            'g' => bits |= (mode >> 3) & 7,
                            'o' => bits |= mode & 7,
                            _ => return Err(bad()),
                        }
                    }
                    let mut value = bits << shift;
                    if who.is_empty() {
                        value &= !umask; // chmod: without a class the umask limits what is given
                    }
                    match operation {
                        '=' => mode = (mode & !((7 << shift) | if directory { 0 } else { special })) | value | extra,
                        '+' => mode |= value | extra,
                        _ => mode &= !(value | extra),
                    }
                }
            }
        }
        Ok(mode)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => FileMode::parse(&text).map_err(D::Error::custom),
            Value::Number(n) => match n.as_u64() {
                Some(bits) if bits <= 0o7777 => Ok(FileMode::Bits(bits as u32)),
                _ => Err(D::Error::custom(format!("{n} is no file mode: write for example \"0644\""))),
            },
            other => Err(D::Error::custom(format!("{other} is no file mode: write for example \"0644\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn booleans_as_ansible_reads_them() {
        for (value, expected) in [
            (json!("yes"), Some(true)),
            (json!("no"), Some(false)),
            (json!("Off"), Some(false)),
            (json!(1), Some(true)),
            (json!("maybe"), None),
            (json!(2), None),
        ] {
            assert_eq!(Flag::parse(&value), expected, "{value}");
        }
    }

    #[test]
    fn modes_mean_what_their_authors_meant() {
        for (text, current, directory, expected) in [
            ("0644", 0, false, 0o644),
            ("644", 0, false, 0o644),
            ("0o755", 0, false, 0o755),
            ("2750", 0, true, 0o2750),
            ("u=rw,g=r,o=", 0o777, false, 0o640),
            ("u=rw,go=r", 0o777, false, 0o644),
            ("g+w", 0o644, false, 0o664),
            ("a-x", 0o755, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u+x,g=u", 0o640, false, 0o770),
            ("u+rwx,g=u-w", 0o444, false, 0o754),
            ("u+x,go=X", 0o644, false, 0o711),
            ("+x", 0o644, false, 0o755),
            ("g+s", 0o750, true, 0o2750),
            ("o+t", 0o777, true, 0o1777),
        ] {
            let mode = FileMode::parse(text).unwrap();
            assert_eq!(mode.resolve(current, directory, 0o022).unwrap(), expected, "{text} on {current:o}");
        }
        for text in ["0999", "rw-r--r--", "u~w", "q=r", "", "99999"] {
            assert!(FileMode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_texts() {
        let list: TextList = serde_json::from_value(json!("a, b,c")).unwrap();
        assert_eq!(list.0, ["a", "b", "c"]);
        let list: TextList = serde_json::from_value(json!(["a", 1])).unwrap();
        assert_eq!(list.0, ["a", "1"]);
        assert!(serde_json::from_value::<TextList>(json!({"a": 1})).is_err());
        assert_eq!(serde_json::from_value::<Int>(json!("12")).unwrap().0, 12);
    }
}
