//! `mysql_info`: what the server says about itself.

use super::mysql_query::table;
use crate::machine::Machine;
use crate::machine::sql::{Rows, Server};
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};

/// `community.mysql.mysql_info`
pub const MYSQL_INFO: Module = Module {
    name: "community.mysql.mysql_info",
    aliases: &["mysql_info", "ansible.mysql.mysql_info"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Info::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Reads what the database server says about itself. It changes nothing.
    ///
    /// Returned are `version`, `databases` (with sizes), `settings` (variables), `global_status`, `engines` and
    /// `users` (without their passwords), or those of them that `filter` names; and `server_engine`, `MariaDB` or `MySQL`.
    pub struct Info {
        /// What to return; with `!` in front: what to leave out.
        pub filter: Option<TextList>,
        /// The database to log in to.
        pub login_db: Option<Text>,
        /// Databases to leave the size out for: `db_size`.
        pub exclude_fields: Option<TextList>,
        /// Also list databases without tables.
        #[serde(default)]
        pub return_empty_dbs: Flag,
    }
}

const SUBSETS: [&str; 6] = ["version", "databases", "settings", "global_status", "engines", "users"];

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Info = decode(arguments)?;
    let mut outcome = Outcome::ok();
    let wanted = subsets(&arguments.filter.clone().unwrap_or_default().0, &mut outcome.warnings)?;
    let mut login = arguments.login();
    login.database = arguments.login_db.as_ref().map(|name| name.0.clone());
    let mut server = machine.sql(&login)?;
    for subset in wanted {
        let value = match subset {
            "version" => version(machine, &mut server)?,
            "databases" => databases(machine, &mut server, &arguments)?,
            "settings" => pairs(&machine.sql_status(&mut server, "SHOW GLOBAL VARIABLES")?),
            "global_status" => pairs(&machine.sql_status(&mut server, "SHOW GLOBAL STATUS")?),
            "engines" => {
                let rows = table(&machine.sql_status(&mut server, "SHOW ENGINES")?);
                keyed(rows, "Engine")
            }
            _ => users(machine, &mut server)?,
        };
        outcome = outcome.with(subset, value);
    }
    // We speak the protocol ourselves; `Unknown` is what the fields of a Python connector say then.
    Ok(outcome
        .with("server_engine", engine(machine, &mut server)?)
        .with("connector_name", "Unknown")
        .with("connector_version", "Unknown"))
}

/// `MariaDB` or `MySQL`, whatever `filter` leaves out.
fn engine(machine: &Machine, server: &mut Server) -> Result<&'static str, ModuleError> {
    let rows = machine.sql_status(server, "SELECT VERSION()")?;
    let mariadb = rows.scalar().unwrap_or("").to_ascii_lowercase().contains("mariadb");
    Ok(if mariadb { "MariaDB" } else { "MySQL" })
}

/// What Ansible's module returns beside these.
const NOT_YET: [&str; 4] = ["users_info", "master_status", "slave_hosts", "slave_status"];

/// What `filter` leaves. A word that is none is left out with a warning, as in Ansible.
fn subsets(filter: &[String], warnings: &mut Vec<String>) -> Result<Vec<&'static str>, ModuleError> {
    let (mut named, mut excluded) = (Vec::new(), Vec::new());
    for item in filter {
        let (name, list) = match item.strip_prefix('!') {
            Some(name) => (name, &mut excluded),
            None => (item.as_str(), &mut named),
        };
        match SUBSETS.into_iter().find(|subset| *subset == name) {
            Some(subset) => list.push(subset),
            None if NOT_YET.contains(&item.as_str()) => {
                let why = format!("`{name}` is not supported; there are {}", SUBSETS.join(", "));
                return Err(ModuleError::argument("filter", why));
            }
            // What is not returned can well be left out.
            None if NOT_YET.contains(&name) => {}
            None => warnings.push(format!("filter element: {item} is not allowable, ignored")),
        }
    }
    let base = if named.is_empty() { SUBSETS.to_vec() } else { named };
    Ok(base.into_iter().filter(|s| !excluded.contains(s)).collect())
}

fn version(machine: &Machine, server: &mut Server) -> Result<Value, ModuleError> {
    let rows = machine.sql_status(server, "SELECT VERSION()")?;
    let full = rows.scalar().unwrap_or("").to_string();
    let (numbers, suffix) = full.split_once('-').unwrap_or((full.as_str(), ""));
    let mut parts = numbers.split('.').map(|n| n.parse::<u64>().unwrap_or(0));
    Ok(json!({
        "full": full,
        "major": parts.next().unwrap_or(0),
        "minor": parts.next().unwrap_or(0),
        "release": parts.next().unwrap_or(0),
        "suffix": suffix,
    }))
}

fn databases(machine: &Machine, server: &mut Server, arguments: &Info) -> Result<Value, ModuleError> {
    let mut found = Map::new();
    if arguments.exclude_fields.as_ref().is_some_and(|f| f.0.iter().any(|name| name == "db_size")) {
        for name in machine.databases(server)? {
            found.insert(name, json!({}));
        }
        return Ok(Value::Object(found));
    }
    let rows = machine.sql_read(
        server,
        "SELECT TABLE_SCHEMA, CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED) FROM information_schema.TABLES \
         GROUP BY TABLE_SCHEMA",
    )?;
    for row in &rows.rows {
        found.insert(Rows::text(row, 0).into(), json!({"size": Rows::text(row, 1).parse::<u64>().unwrap_or(0)}));
    }
    if arguments.return_empty_dbs.0 {
        for name in machine.databases(server)? {
            found.entry(name).or_insert_with(|| json!({"size": 0}));
        }
    }
    Ok(Value::Object(found))
}

/// Accounts by host and name, without anything secret.
fn users(machine: &Machine, server: &mut Server) -> Result<Value, ModuleError> {
    let rows = machine.sql_read(
        server,
        "SELECT Host, User, JSON_REMOVE(Priv, '$.authentication_string', '$.auth_or') FROM mysql.global_priv",
    )?;
    let mut hosts = Map::new();
    for row in &rows.rows {
        let record = serde_json::from_str(Rows::text(row, 2)).unwrap_or(Value::Null);
        let host = hosts.entry(Rows::text(row, 0)).or_insert_with(|| json!({}));
        if let Some(host) = host.as_object_mut() {
            host.insert(Rows::text(row, 1).into(), record);
        }
    }
    Ok(Value::Object(hosts))
}

/// Two columns as a mapping; whole numbers as numbers.
fn pairs(rows: &Rows) -> Value {
    let value = |text: &str| text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
    Value::Object(rows.rows.iter().map(|row| (Rows::text(row, 0).to_string(), value(Rows::text(row, 1)))).collect())
}

fn keyed(rows: Value, key: &str) -> Value {
    let mut found = Map::new();
    for row in rows.as_array().cloned().unwrap_or_default() {
        if let Value::Object(mut row) = row
            && let Some(Value::String(name)) = row.remove(key)
        {
            found.insert(name, Value::Object(row));
        }
    }
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for (items, expected, warned) in [
            (&["version"][..], &["version"][..], 0),
            (&["!settings", "!global_status", "!slave_status"], &["version", "databases", "engines", "users"], 0),
            (&["nonsense", "users"], &["users"], 1),
            (&["!nonsense", "version"], &["version"], 1),
        ] {
            let items: Vec<String> = items.iter().map(|item| (*item).to_string()).collect();
            let mut warnings = Vec::new();
            assert_eq!(subsets(&items, &mut warnings).unwrap(), expected);
            assert_eq!(warnings.len(), warned, "{items:?}");
        }
        assert_eq!(subsets(&[], &mut Vec::new()).unwrap().len(), 6);
        assert!(subsets(&["slave_status".into()], &mut Vec::new()).is_err());
    }
}
