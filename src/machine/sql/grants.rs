//! Privileges in one normal form, whether a user wrote them or the server printed them.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an account may do: privileges by level (`*.*`, `` `db`.* ``, `` PROCEDURE `db`.`p` ``).
///
/// Column privileges are kept one a column (``SELECT (`a`)``), `ALL PRIVILEGES` is `ALL`, and `USAGE`, which means
/// nothing, is not kept at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants(pub BTreeMap<String, BTreeSet<String>>);

/// The right to pass privileges on.
pub const GRANT_OPTION: &str = "GRANT OPTION";

/// Names that MariaDB understands and prints as something else.
const SYNONYMS: [(&str, &str); 9] = [
    ("ALL PRIVILEGES", "ALL"),
    ("GRANT", GRANT_OPTION),
    ("WITH GRANT OPTION", GRANT_OPTION),
    ("REPLICATION CLIENT", "BINLOG MONITOR"),
    ("REPLICA MONITOR", "SLAVE MONITOR"),
    ("REPLICATION REPLICA", "REPLICATION SLAVE"),
    ("REPLICATION REPLICA ADMIN", "REPLICATION SLAVE ADMIN"),
    ("DELETE VERSIONING ROWS", "DELETE HISTORY"),
    ("CREATE TEMPORARY TABLE", "CREATE TEMPORARY TABLES"),
];

impl Grants {
    /// Reads Ansible's notation: `db.*:SELECT,INSERT/other.table:ALL,GRANT`.
    pub fn parse(text: &str, column_case_sensitive: bool) -> Result<Grants, String> {
        let mut grants = Grants::default();
        for item in split_outside(text.trim(), '/') {
            let item = item.trim();
            let (level, privileges) = item
                .rsplit_once(':')
                .ok_or_else(|| format!("`{item}` is not understood: write `database.table:PRIVILEGE,PRIVILEGE`"))?;
            grants.add(level, privileges, column_case_sensitive)?;
        }
        Ok(grants)
    }

    /// Adds the privileges of one level, in Ansible's notation.
    pub fn add(&mut self, level: &str, privileges: &str, column_case_sensitive: bool) -> Result<(), String> {
        let level = normal_level(level)?;
        let set = self.0.entry(level).or_default();
        for privilege in split_outside(privileges, ',') {
            set.extend(normal_privilege(&privilege, column_case_sensitive)?);
        }
        Ok(())
    }

    /// Adds a line of `SHOW GRANTS`. Says whether it was one about privileges (roles and proxies are not).
    pub fn add_shown(&mut self, line: &str) -> Result<bool, String> {
        let unknown = || format!("the server's grant is not understood: {}", without_secrets(line));
        let Some(rest) = line.strip_prefix("GRANT ") else {
            return Ok(false); // SET DEFAULT ROLE …
        };
        let (head, tail) = split_word(rest, " TO ").ok_or_else(unknown)?;
        let Some((privileges, level)) = split_word(head, " ON ") else {
            return Ok(false); // a role
        };
        if privileges == "PROXY" {
            return Ok(false);
        }
        let level = normal_level(level).map_err(|_| unknown())?;
        let set = self.0.entry(level).or_default();
        for privilege in split_outside(privileges, ',') {
            set.extend(normal_privilege(&privilege, true)?);
        }
        if without_secrets(tail).contains("WITH GRANT OPTION") {
            set.insert(GRANT_OPTION.into());
        }
        Ok(true)
    }

    /// Without levels that grant nothing.
    pub fn trimmed(mut self) -> Grants {
        self.0.retain(|_, privileges| !privileges.is_empty());
        self
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// These and those.
    pub fn plus(&self, other: &Grants) -> Grants {
        let mut sum = self.clone();
        for (level, privileges) in &other.0 {
            let set = sum.0.entry(level.clone()).or_default();
            // What ALL covers already is not granted once more.
            let covered = set.contains("ALL");
            set.extend(privileges.iter().filter(|p| !covered || p.as_str() == GRANT_OPTION).cloned());
        }
        sum.simplified().trimmed()
    }

    /// These without those. `ALL` takes everything of its level but the grant option.
    pub fn minus(&self, other: &Grants) -> Grants {
        let mut rest = self.clone();
        for (level, privileges) in &other.0 {
            if let Some(set) = rest.0.get_mut(level) {
                let all = privileges.contains("ALL");
                set.retain(|p| !privileges.contains(p) && (!all || p == GRANT_OPTION));
            }
        }
        rest.trimmed()
    }

    /// `ALL` makes everything else of its level superfluous, except the grant option.
    pub fn simplified(mut self) -> Grants {
        for set in self.0.values_mut() {
            if set.contains("ALL") {
                set.retain(|p| p == "ALL" || p == GRANT_OPTION);
            }
        }
        self
    }

    /// One line a level, for people: `SELECT, INSERT ON db.*`.
    pub fn describe(&self) -> String {
        let lines = self.0.iter().filter(|(_, privileges)| !privileges.is_empty()).map(|(level, privileges)| {
            let list: Vec<&str> = privileges.iter().map(String::as_str).collect();
            format!("GRANT {} ON {}\n", list.join(", "), level.replace('`', ""))
        });
        lines.collect()
    }

    /// The statements that lead from these grants to `wanted`, for `account` (quoted). What is granted comes before
    /// what is revoked, so that no right is missing in between.
    pub fn statements_to(&self, wanted: &Grants, account: &str) -> Vec<String> {
        let (mut first, mut granting, mut revoking) = (Vec::new(), Vec::new(), Vec::new());
        let none = BTreeSet::new();
        let levels: BTreeSet<&String> = self.0.keys().chain(wanted.0.keys()).collect();
        for level in levels {
            let (old, new) = (self.0.get(level).unwrap_or(&none), wanted.0.get(level).unwrap_or(&none));
            let mut had = old.clone();
            let mut gone: Vec<&str> = old.difference(new).map(String::as_str).collect();
            if old.contains("ALL") && !new.contains("ALL") {
                // Nothing can be taken out of ALL by name and nothing is left of it: revoke, then grant what stays.
                first.push(format!("REVOKE ALL PRIVILEGES ON {level} FROM {account}"));
                gone.retain(|p| *p != "ALL");
                had.retain(|p| p == GRANT_OPTION);
            } else if new.contains("ALL") {
                gone.retain(|p| *p == GRANT_OPTION); // contained in ALL
            }
            let added: Vec<&str> = new.difference(&had).map(String::as_str).filter(|p| *p != GRANT_OPTION).collect();
            let option = new.contains(GRANT_OPTION) && !old.contains(GRANT_OPTION);
            if !added.is_empty() || option {
                let list = if added.is_empty() { "USAGE".into() } else { added.join(", ") };
                let suffix = if option { " WITH GRANT OPTION" } else { "" };
                granting.push(format!("GRANT {list} ON {level} TO {account}{suffix}"));
            }
            if !gone.is_empty() {
                revoking.push(format!("REVOKE {} ON {level} FROM {account}", gone.join(", ")));
            }
        }
        first.into_iter().chain(granting).chain(revoking).collect()
    }
}

/// `` FUNCTION `db`.`name` ``, `` `db`.* ``, `*.*` of what a user or the server wrote.
fn normal_level(level: &str) -> Result<String, String> {
    let level = level.trim();
    let mut kind = "";
    let mut name = level;
    for candidate in ["FUNCTION ", "PROCEDURE ", "TABLE "] {
        if let Some(rest) = strip_prefix_ignoring_case(level, candidate) {
            kind = if candidate == "TABLE " { "" } else { candidate };
            name = rest.trim();
        }
    }
    let mut parts = split_outside(name, '.');
    // An unquoted table name may itself not contain a dot, a database pattern may: the last dot counts.
    let object = parts.pop().unwrap_or_default();
    let database = parts.join(".");
    if database.is_empty() || object.is_empty() {
        return Err(format!("`{level}` names no level: write database.table, database.* or *.*"));
    }
    let side = |text: &str| {
        let bare = unquoted(text);
        if bare == "*" { bare } else { format!("`{}`", bare.replace('`', "``")) }
    };
    Ok(format!("{kind}{}.{}", side(&database), side(&object)))
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        Some(inner) => inner.replace("``", "`"),
        None => match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => text.to_string(),
        },
    }
}

/// The name under which a privilege is kept.
pub(super) fn normal_name(name: &str) -> String {
    SYNONYMS.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| *to).to_string()
}

/// One privilege in normal form; with columns, one a column; `USAGE` is none.
fn normal_privilege(privilege: &str, column_case_sensitive: bool) -> Result<Vec<String>, String> {
    let privilege = privilege.trim();
    let (name, columns) = match privilege.split_once('(') {
        Some((name, columns)) => {
            let columns =
                columns.trim_end().strip_suffix(')').ok_or_else(|| format!("`{privilege}`: a `)` is missing"))?;
            (name, Some(columns))
        }
        None => (privilege, None),
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b' ') {
        return Err(format!("`{privilege}` is no privilege"));
    }
    if name == "REQUIRESSL" {
        return Err("REQUIRESSL is no privilege any more: write `tls_requires: {SSL: }`".into());
    }
    let name = normal_name(&name);
    match columns {
        None if name == "USAGE" => Ok(Vec::new()),
        None => Ok(vec![name]),
        Some(columns) => Ok(split_outside(columns, ',')
            .iter()
            .map(|column| {
                let column = unquoted(column);
                let column = if column_case_sensitive { column } else { column.to_lowercase() };
                format!("{name} (`{}`)", column.replace('`', "``"))
            })
            .collect()),
    }
}

/// Splits at `separator` outside of quotes and parentheses.
fn split_outside(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut depth = 0;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('`' | '"', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            (c, None) if c == separator && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Splits at a word outside of quotes.
fn split_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut quote: Option<char> = None;
    for (index, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('`' | '"' | '\'', None) => quote = Some(c),
            (' ', None) => {
                if let Some(rest) = text.get(index..).and_then(|tail| tail.strip_prefix(word)) {
                    return Some((text.get(..index)?, rest));
                }
            }
            _ => {}
        }
    }
    None
}

/// The text without what stands between single quotes.
fn without_secrets(text: &str) -> String {
    text.split('\'').step_by(2).collect::<Vec<_>>().join("'…'")
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str]) -> Grants {
        let mut grants = Grants::default();
        for line in lines {
            grants.add_shown(line).unwrap();
        }
        grants.trimmed()
    }

    #[test]
    fn what_users_write_equals_what_the_server_prints() {
        let to = "TO `a`@`%`";
        for (written, lines) in [
            ("*.*:USAGE", vec![format!("GRANT USAGE ON *.* {to}")]),
            ("mydb.*:ALL", vec![format!("GRANT USAGE ON *.* {to}"), format!("GRANT ALL PRIVILEGES ON `mydb`.* {to}")]),
            ("*.*:all,GRANT", vec![format!("GRANT ALL PRIVILEGES ON *.* {to} WITH GRANT OPTION")]),
            (
                "*.*:REPLICATION CLIENT,PROCESS/`my\\_db`.*:SELECT,  insert",
                vec![
                    format!("GRANT PROCESS, BINLOG MONITOR ON *.* {to} IDENTIFIED BY PASSWORD '*ABC' REQUIRE SSL"),
                    format!("GRANT SELECT, INSERT ON `my\\_db`.* {to}"),
                ],
            ),
            (
                "mysql.user:SELECT(Host,User),INSERT",
                vec![format!("GRANT SELECT (`User`, `Host`), INSERT ON `mysql`.`user` {to}")],
            ),
            ("PROCEDURE a.p:EXECUTE", vec![format!("GRANT EXECUTE ON PROCEDURE `a`.`p` {to}")]),
            (
                "a.*:SELECT,GRANT",
                vec![
                    "GRANT `role` TO `a`@`%`".into(),
                    "SET DEFAULT ROLE `role` FOR `a`@`%`".into(),
                    "GRANT PROXY ON ''@'%' TO 'a'@'%' WITH GRANT OPTION".into(),
                    format!("GRANT SELECT ON `a`.* {to} WITH GRANT OPTION"),
                ],
            ),
        ] {
            let written = Grants::parse(written, true).unwrap().trimmed();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(written, shown(&lines));
        }
    }

    #[test]
    fn the_shortest_way_is_taken_and_rights_are_given_before_they_are_taken() {
        for (from, to, expected) in [
            ("a.*:SELECT", "a.*:SELECT", vec![]),
            ("*.*:USAGE", "a.*:SELECT,INSERT", vec!["GRANT INSERT, SELECT ON `a`.* TO u"]),
            (
                "a.*:SELECT/b.*:ALL,GRANT",
                "a.*:INSERT",
                vec![
                    "REVOKE ALL PRIVILEGES ON `b`.* FROM u",
                    "GRANT INSERT ON `a`.* TO u",
                    "REVOKE SELECT ON `a`.* FROM u",
                    "REVOKE GRANT OPTION ON `b`.* FROM u",
                ],
            ),
            ("a.*:SELECT", "a.*:ALL", vec!["GRANT ALL ON `a`.* TO u"]),
            ("a.*:SELECT", "a.*:SELECT,GRANT", vec!["GRANT USAGE ON `a`.* TO u WITH GRANT OPTION"]),
            ("a.*:ALL", "a.*:SELECT", vec!["REVOKE ALL PRIVILEGES ON `a`.* FROM u", "GRANT SELECT ON `a`.* TO u"]),
        ] {
            let from = Grants::parse(from, true).unwrap().trimmed();
            let to = Grants::parse(to, true).unwrap().trimmed();
            assert_eq!(from.statements_to(&to, "u"), expected);
        }
    }

    #[test]
    fn adding_and_taking() {
        let parse = |text| Grants::parse(text, true).unwrap().trimmed();
        assert_eq!(parse("a.*:ALL").plus(&parse("a.*:SELECT/b.*:SELECT")), parse("a.*:ALL/b.*:SELECT"));
        assert_eq!(parse("a.*:SELECT").plus(&parse("a.*:ALL,GRANT")), parse("a.*:ALL,GRANT"));
        assert_eq!(parse("a.*:SELECT,INSERT,GRANT").minus(&parse("a.*:ALL")), parse("a.*:GRANT"));
        assert_eq!(parse("a.*:SELECT,INSERT").minus(&parse("a.*:SELECT/c.*:ALL")), parse("a.*:INSERT"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a.*", "nolevel:SELECT", "a.*:SELECT;DROP", "a.*:REQUIRESSL", "a.b:SELECT(x"] {
            assert!(Grants::parse(text, true).is_err(), "{text}");
        }
        let error = Grants::default().add_shown("GRANT x y `z` 'secret'").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
