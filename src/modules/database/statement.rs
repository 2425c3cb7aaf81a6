//! SQL statements as a user writes them: what they do, their arguments filled in, and how they may be shown.

use crate::machine::sql::quote;
use serde_json::{Map, Value};

/// What a statement does, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only reads, or sets up the session.
    Read,
    /// It changes rows: whether it did, the number of affected rows says.
    Rows,
    /// It changes something else.
    Other,
}

/// What a statement does.
pub fn kind(statement: &str) -> Kind {
    let text = bare(statement).to_ascii_uppercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    let has = |word: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == word);
    match words.next().unwrap_or("") {
        "SELECT" | "VALUES" | "TABLE" if has("OUTFILE") || has("DUMPFILE") => Kind::Other,
        "SELECT" | "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" | "VALUES" | "TABLE" | "HELP" | "USE" | "CHECKSUM" => {
            Kind::Read
        }
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" => Kind::Read,
        "WITH" if !["INSERT", "UPDATE", "DELETE", "REPLACE"].into_iter().any(has) => Kind::Read,
        "SET" => match words.next().unwrap_or("") {
            "GLOBAL" | "PASSWORD" | "DEFAULT" => Kind::Other,
            _ if has("GLOBAL") => Kind::Other, // `@@global.x`, or a list with a global one in it
            _ => Kind::Read,
        },
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" | "LOAD" => Kind::Rows,
        _ => Kind::Other,
    }
}

/// The statement without comments and parentheses before its first word, and without strings.
fn bare(statement: &str) -> String {
    let mut text = statement.trim_start();
    loop {
        let before = text;
        if let Some(rest) = text.strip_prefix("/*").filter(|rest| !rest.starts_with(['!', 'M'])) {
            text = rest.split_once("*/").map_or("", |(_, tail)| tail);
        } else if text.starts_with("-- ") || text.starts_with('#') {
            text = text.split_once('\n').map_or("", |(_, tail)| tail);
        }
        text = text.trim_start_matches(['(', ' ', '\t', '\n', '\r']);
        if text == before {
            break;
        }
    }
    mask_strings(text)
}

/// The text with everything between quotes masked.
fn mask_strings(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for c in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => {
                quote = None;
                masked.push('…');
                masked.push(q);
            }
            Some(_) => {}
            None => {
                masked.push(c);
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                }
            }
        }
    }
    masked
}

/// How a statement may be shown: one line, of bounded length, without values where it is about passwords.
pub fn shown(statement: &str) -> String {
    let upper = statement.to_ascii_uppercase();
    let secret = ["IDENTIFIED", "PASSWORD", "AUTH"].iter().any(|word| upper.contains(word));
    let text = if secret { mask_strings(statement) } else { statement.to_string() };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A value as SQL writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            format!("({})", items.iter().map(literal).collect::<Vec<_>>().join(","))
        }
        Value::Object(_) => quote(&value.to_string()),
    }
}

/// Fills in `%s` in order, `%%` is a per cent sign.
pub fn fill_positional(statement: &str, arguments: &[Value]) -> Result<String, String> {
    let mut given = arguments.iter();
    let filled = fill(statement, &mut |name| match name {
        None => given.next().map(literal).ok_or_else(|| "there are more `%s` than positional_args".to_string()),
        Some(name) => Err(format!("`%({name})s` needs named_args, positional_args were given")),
    })?;
    match given.next() {
        None => Ok(filled),
        Some(_) => Err("there are more positional_args than `%s`".into()),
    }
}

/// Fills in `%(name)s`, `%%` is a per cent sign.
pub fn fill_named(statement: &str, arguments: &Map<String, Value>) -> Result<String, String> {
    fill(statement, &mut |name| match name {
        Some(name) => arguments.get(name).map(literal).ok_or_else(|| format!("named_args has no `{name}`")),
        None => Err("`%s` needs positional_args, named_args were given".into()),
    })
}

fn fill(statement: &str, value: &mut dyn FnMut(Option<&str>) -> Result<String, String>) -> Result<String, String> {
    let mut filled = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once('%') {
        filled.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            filled.push('%');
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('s') {
            filled.push_str(&value(None)?);
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|text| text.split_once(")s")) {
            filled.push_str(&value(Some(name))?);
            rest = tail;
        } else {
            return Err("a `%` that stands for itself must be written `%%` where arguments are given".into());
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_statements_do() {
        for (statement, expected) in [
            ("SELECT 1", Kind::Read),
            ("  -- a remark\n /* another */ (select 'DELETE')", Kind::Read),
            ("SELECT * FROM t INTO OUTFILE '/tmp/x'", Kind::Other),
            ("show grants", Kind::Read),
            ("WITH x AS (SELECT 1) SELECT * FROM x", Kind::Read),
            ("WITH x AS (SELECT 1) DELETE FROM t", Kind::Rows),
            ("SET SESSION wsrep_sync_wait=0", Kind::Read),
            ("SET @x = 'GLOBAL'", Kind::Read),
            ("SET GLOBAL x = 1", Kind::Other),
            ("SET @@global.x = 1", Kind::Other),
            ("SET PASSWORD FOR a = 'b'", Kind::Other),
            ("INSERT INTO t VALUES (1)", Kind::Rows),
            ("CREATE TABLE t (i INT)", Kind::Other),
            ("FLUSH SSL", Kind::Other),
            ("/*!40000 DROP TABLE t */", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind(statement), expected, "{statement}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let text = shown("CREATE USER a IDENTIFIED BY 'hun''ter\\'2'\n  REQUIRE SSL");
        assert_eq!(text, "CREATE USER a IDENTIFIED BY '…''…' REQUIRE SSL");
        assert_eq!(shown("INSERT  INTO t VALUES ('x')"), "INSERT INTO t VALUES ('x')");
    }

    #[test]
    fn arguments_are_filled_in() {
        assert_eq!(
            fill_positional("a = %s AND b LIKE '5%%' AND c IN %s", &[json!("it's"), json!([1, null])]).unwrap(),
            "a = 'it''s' AND b LIKE '5%' AND c IN (1,NULL)"
        );
        let named = json!({"x": true}).as_object().unwrap().clone();
        assert_eq!(fill_named("%(x)s", &named).unwrap(), "true");
        assert!(fill_named("%(y)s", &named).unwrap_err().contains("`y`"));
        assert!(fill_positional("%s", &[]).is_err());
        assert!(fill_positional("1", &[json!(1)]).is_err());
        assert!(fill_positional("100 %d", &[json!(1)]).is_err());
    }
}
