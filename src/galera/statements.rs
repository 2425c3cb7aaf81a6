//! Statements that a node must not be stopped under: changes of definitions, which the whole cluster waits for.

use serde::{Deserialize, Serialize};

/// A statement that is running, without what it says: that may hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statement {
    /// Connection.
    pub id: u64,
    /// Whose; `system user` applies another node's.
    pub user: String,
    /// For so many seconds.
    pub seconds: u64,
    /// `ALTER TABLE`, as far as it is known.
    pub kind: String,
    /// What it does at the moment.
    pub state: String,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind.is_empty() { "a change of definitions" } else { &self.kind };
        write!(f, "{kind} of {} runs for {} s", self.user, self.seconds)?;
        if !self.state.is_empty() {
            write!(f, " ({})", self.state)?;
        }
        Ok(())
    }
}

/// First words of statements that are replicated in total isolation: everybody else waits.
const DEFINITIONS: [&str; 9] =
    ["ALTER", "CREATE", "DROP", "TRUNCATE", "RENAME", "OPTIMIZE", "ANALYZE", "REPAIR", "FLUSH TABLES"];

/// States in which such a statement is, whether its text is known or not (an applier's is not).
const STATES: [&str; 12] = [
    "preparing for alter",
    "altering table",
    "copy to tmp table",
    "copying to tmp table",
    "committing alter table",
    "rename result table",
    "creating table",
    "dropping table",
    "repair",
    "to execute in isolation",
    "toi",
    "total order",
];

/// Reads one row of the process list; nothing when the statement holds up nobody.
pub fn holds_up(id: u64, user: &str, seconds: u64, state: &str, text: &str) -> Option<Statement> {
    let head: String = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    let defines = DEFINITIONS
        .iter()
        .any(|word| head.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    let busy = state.to_ascii_lowercase();
    // "wsrep applier idle", "Repl: waiting" and the like hold up nobody.
    let isolated = STATES.iter().any(|known| match *known {
        "toi" => busy.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "toi"),
        known => busy.contains(known),
    }) && !text.trim_start().to_ascii_uppercase().starts_with("SELECT");
    (defines || isolated).then(|| Statement {
        id,
        user: user.to_string(),
        seconds,
        // Names of objects are no secrets, but CREATE USER's second word is all that is wanted.
        kind: if defines { head } else { String::new() },
        state: state.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_told_from_the_rest() {
        for (user, state, text, expected) in [
            ("app", "copy to tmp table", "ALTER TABLE t ADD COLUMN x INT", Some("ALTER TABLE")),
            ("app", "", "create user x identified by 'secret'", Some("CREATE USER")),
            ("app", "", "OPTIMIZE TABLE t", Some("OPTIMIZE TABLE")),
            ("system user", "preparing for alter", "", Some("")),
            ("app", "Waiting to execute in isolation", "ALTER TABLE t ADD y INT", Some("ALTER TABLE")),
            ("system user", "acquiring total order isolation", "", Some("")),
            ("system user", "wsrep applier idle", "", None),
            ("app", "Sending data", "SELECT * FROM t", None),
            ("app", "Copying to tmp table", "SELECT a, count(*) FROM t GROUP BY a", None),
            ("app", "Updating", "UPDATE t SET a = 'ALTER TABLE'", None),
            ("app", "", "ALTERED", None),
        ] {
            let found = holds_up(7, user, 9, state, text);
            assert_eq!(found.as_ref().map(|s| s.kind.as_str()), expected, "{state} {text}");
            assert!(found.is_none_or(|s| !s.to_string().contains("secret")));
        }
    }
}
