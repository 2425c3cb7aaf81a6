//! Typed arguments: one serde struct a module, whose doc comments are the module's documentation.
//!
//! [`arguments!`](crate::arguments) wraps a plain serde struct and keeps what serde forgets: the doc comments,
//! aliases and which fields are required. Unknown names, `deploy doc` and the JSON Schema read that.

use super::ModuleError;
use serde_json::{Map, Value};

/// A field as it stands in the source: its name, its type and its attributes as text.
#[derive(Clone, Copy, Debug)]
pub struct RawField {
    /// Field name.
    pub name: &'static str,
    /// Type, as written.
    pub kind: &'static str,
    /// Attributes, as written: `doc = "…"`, `serde(alias = "pkg", default)`.
    pub attributes: &'static [&'static str],
    /// Whether a value is of its type; serde's sentence if it is not.
    pub check: fn(&Value) -> Result<(), String>,
}

/// Why a value is not one of an argument's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongValue {
    /// In words.
    pub message: String,
    /// What may be written, where that can be counted.
    pub choices: Vec<String>,
}

/// The arguments of a module.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Attributes of the struct: its doc comment is the module's description.
    pub attributes: &'static [&'static str],
    /// Its fields, in order.
    pub fields: &'static [RawField],
}

/// One argument, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Name (Ansible's).
    pub name: String,
    /// Other names that mean the same.
    pub aliases: Vec<String>,
    /// What to write: the type in words of the source (`Option<Mode>` → `Mode`).
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// Documentation, paragraphs separated by blank lines.
    pub doc: String,
}

impl Arguments {
    /// No arguments at all.
    pub const NONE: Arguments = Arguments { attributes: &[], fields: &[] };

    /// The module's description.
    pub fn description(&self) -> String {
        docs(self.attributes)
    }

    /// The arguments, understood.
    pub fn list(&self) -> Vec<Argument> {
        self.fields.iter().map(RawField::understand).collect()
    }

    /// Whether a value is of the type of the argument of this name.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), WrongValue> {
        let own = |field: &&RawField| {
            if field.name == name {
                return true;
            }
            let argument = field.understand();
            argument.name == name || argument.aliases.iter().any(|alias| alias == name)
        };
        let Some(field) = self.fields.iter().find(own) else { return Ok(()) };
        if field.attributes.iter().any(|attribute| attribute.contains("deserialize_with")) {
            return Ok(()); // its type alone does not say what it takes
        }
        (field.check)(value).map_err(|said| {
            // unknown variant `dir`, expected one of `absent`, `directory`
            let choices: Vec<String> =
                match said.strip_prefix("unknown variant ").and_then(|t| t.split_once(", expected ")) {
                    Some((_, expected)) => expected.split('`').skip(1).step_by(2).map(str::to_string).collect(),
                    None => Vec::new(),
                };
            match (choices.is_empty(), value) {
                (false, Value::String(text)) => WrongValue { message: format!("`{name}` cannot be `{text}`"), choices },
                (false, other) => WrongValue { message: format!("`{name}` cannot be {other}"), choices },
                (true, _) => WrongValue { message: format!("`{name}`: {said}"), choices },
            }
        })
    }

    /// Every name that may be written, aliases included.
    pub fn names(&self) -> Vec<String> {
        self.list().into_iter().flat_map(|a| std::iter::once(a.name).chain(a.aliases)).collect()
    }
}

impl RawField {
    fn understand(&self) -> Argument {
        let serde: Vec<&str> = self.attributes.iter().copied().filter(|a| a.starts_with("serde")).collect();
        let mut aliases = Vec::new();
        let mut name = self.name.trim_start_matches("r#").to_string();
        let mut optional = self.kind.starts_with("Option");
        for attribute in &serde {
            for part in attribute.trim_start_matches("serde").trim().trim_matches(['(', ')']).split(',') {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim().trim_matches('"').to_string();
                match key.trim() {
                    "alias" => aliases.push(value),
                    "rename" => name = value,
                    "default" => optional = true,
                    _ => {}
                }
            }
        }
        let kind: String = self.kind.chars().filter(|c| !c.is_whitespace()).collect();
        let kind = kind.strip_prefix("Option<").and_then(|k| k.strip_suffix('>')).unwrap_or(&kind).to_string();
        Argument { name, aliases, kind, required: !optional, doc: docs(self.attributes) }
    }
}

/// The text of the doc comments among `attributes`.
fn docs(attributes: &[&str]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Some(rest) = attribute.strip_prefix("doc") else {
            continue;
        };
        let Some((_, literal)) = rest.split_once('=') else {
            continue;
        };
        let literal = literal.trim();
        let text = match literal.strip_prefix('r') {
            Some(raw) => raw.trim_matches('#').trim_matches('"').to_string(),
            None => literal.trim_matches('"').replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\"),
        };
        lines.push(text.strip_prefix(' ').unwrap_or(&text).to_string());
    }
    lines.join("\n").trim().to_string()
}

/// Wraps a serde struct and adds `Self::ARGUMENTS`, so that its documentation and names can be read at run time.
///
/// The struct must be `#[serde(deny_unknown_fields)]` unless the module is free-form; the macro adds it, together
/// with `Deserialize` and `Debug`.
#[macro_export]
macro_rules! arguments {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $kind:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)] // some arguments are accepted for Ansible's sake and mean nothing here
        pub struct $name { $($(#[$field_meta])* pub $field: $kind),* }

        impl $name {
            /// Names, aliases and documentation, as written in this struct. The agent needs none of it.
            #[cfg(not(feature = "controller"))]
            pub const ARGUMENTS: $crate::modules::Arguments = $crate::modules::Arguments::NONE;
            /// Names, aliases and documentation, as written in this struct.
            #[cfg(feature = "controller")]
            pub const ARGUMENTS: $crate::modules::Arguments = $crate::modules::Arguments {
                attributes: &[$(stringify!($meta)),*],
                fields: &[$($crate::modules::RawField {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    attributes: &[$(stringify!($field_meta)),*],
                    check: |value| {
                        serde_json::from_value::<$kind>(value.clone()).map(drop).map_err(|error| error.to_string())
                    },
                }),*],
            };
        }
    };
}

/// Decodes arguments into a module's struct, with the argument's name in the error.
pub fn decode<T: serde::de::DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, ModuleError> {
    // serde says which field is missing or unknown; for a wrong type the value types of this room say what they take.
    serde_json::from_value(Value::Object(arguments)).map_err(|e| ModuleError::Failed(format!("bad arguments: {e}")))
}

#[cfg(test)]
mod tests {
    crate::arguments! {
        /// Copies things.
        ///
        /// Says "so".
        pub struct Sample {
            /// Where to.
            #[serde(alias = "path", alias = "name")]
            pub dest: String,
            /// How.
            pub mode: Option<String>,
            #[serde(default)]
            pub force: bool,
        }
    }

    #[test]
    fn documentation_and_names_are_kept() {
        let list = Sample::ARGUMENTS.list();
        assert_eq!(Sample::ARGUMENTS.description(), "Copies things.\n\nSays \"so\".");
        assert_eq!(Sample::ARGUMENTS.names(), ["dest", "path", "name", "mode", "force"]);
        assert_eq!((list[0].required, list[1].required, list[2].required), (true, false, false));
        assert_eq!((list[0].doc.as_str(), list[1].kind.as_str()), ("Where to.", "String"));
        let sample: Sample = super::decode(serde_json::json!({"path": "/x"}).as_object().unwrap().clone()).unwrap();
        assert_eq!((sample.dest.as_str(), sample.mode, sample.force), ("/x", None, false));
    }
}
