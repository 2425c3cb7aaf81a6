//! `mysql_query`: statements as the user writes them.

use super::statement::{self, Kind};
use crate::machine::sql::{ColumnKind, Rows};
use crate::machine::{Domain, Machine, Subject};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.mysql.mysql_query`
pub const MYSQL_QUERY: Module = Module {
    name: "community.mysql.mysql_query",
    aliases: &["mysql_query", "ansible.mysql.mysql_query"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Query::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Runs SQL statements.
    ///
    /// A task is `changed` when a statement affected rows or was one that changes something else; statements with
    /// `IF [NOT] EXISTS` that found nothing to do are not. In a check, statements that only read are run, in a
    /// session that cannot write; the others are only announced.
    pub struct Query {
        /// A statement, or a list of them.
        pub query: Value,
        /// Values for `%s`, in order.
        pub positional_args: Option<Vec<Value>>,
        /// Values for `%(name)s`.
        pub named_args: Option<Map<String, Value>>,
        /// The database to run them in.
        pub login_db: Option<Text>,
        /// All statements or none (statements that define things, as CREATE TABLE, cannot be undone).
        #[serde(default)]
        pub single_transaction: Flag,
        /// Session variables to set first.
        #[serde(default)]
        pub session_vars: Option<Map<String, Value>>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Query = decode(arguments)?;
    let templates = statements(&arguments.query)?;
    if arguments.positional_args.is_some() && arguments.named_args.is_some() {
        return Err(ModuleError::Failed("give positional_args or named_args, not both".into()));
    }
    let bad = |why: String| ModuleError::argument("query", why);
    let mut filled = Vec::with_capacity(templates.len());
    for template in &templates {
        filled.push(match (&arguments.positional_args, &arguments.named_args) {
            (Some(values), _) if !values.is_empty() => statement::fill_positional(template, values).map_err(bad)?,
            (_, Some(values)) if !values.is_empty() => statement::fill_named(template, values).map_err(bad)?,
            _ => template.clone(),
        });
    }

    let mut login = arguments.login();
    login.database = arguments.login_db.as_ref().map(|name| name.0.clone());
    let mut server = machine.sql(&login)?;
    super::mysql_user::set_session(machine, &mut server, arguments.session_vars.as_ref())?;
    if arguments.single_transaction.0 && !machine.predicted() {
        machine.sql_session(&mut server, "SET SESSION autocommit = 0")?;
    }

    let subject = || {
        let name = arguments.login_db.as_ref().map_or("", |name| name.0.as_str());
        Subject::new(Domain::Database, name)
    };
    let mut results = Vec::new();
    let mut counts: Vec<Value> = Vec::new();
    let mut unknown = false;
    for (template, statement) in templates.iter().zip(&filled) {
        let kind = statement::kind(statement);
        let shown = if context.no_log { "a statement".to_string() } else { statement::shown(template) };
        let answer = match kind {
            Kind::Read => machine.sql_read(&mut server, statement).map(Some),
            Kind::Rows => machine.sql_execute(&mut server, statement, subject(), &shown, &|rows| rows.affected > 0),
            Kind::Other if guarded(statement) && server.is_live() && !machine.predicted() => {
                execute_guarded(machine, &mut server, statement, subject(), &shown).map(Some)
            }
            Kind::Other => machine.sql_execute(&mut server, statement, subject(), &shown, &|_| true),
        };
        let answer = answer.map_err(|error| match error {
            unknown @ crate::machine::MachineError::Unknown { .. } => ModuleError::Machine(unknown),
            error => ModuleError::Failed(format!("cannot execute `{shown}`: {error}")),
        })?;
        match answer {
            Some(rows) => {
                counts.push(rows.affected.into());
                results.push(table(&rows));
            }
            None => {
                unknown = true;
                counts.push(Value::Null);
                results.push(Value::Array(Vec::new()));
            }
        }
    }
    if arguments.single_transaction.0 && !machine.predicted() {
        machine.sql_session(&mut server, "COMMIT")?;
    }
    let mut outcome =
        Outcome::ok().with("executed_queries", filled).with("query_result", results).with("rowcount", counts);
    if unknown {
        outcome.unknown_fields = vec!["query_result".into(), "rowcount".into()];
    }
    Ok(outcome)
}

/// The statements of the argument.
fn statements(query: &Value) -> Result<Vec<String>, ModuleError> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        _ => Err(ModuleError::argument("query", "must be a statement or a list of statements")),
    };
    match query {
        Value::Array(items) => items.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// Whether the statement does nothing where the thing is there, or is not there.
fn guarded(statement: &str) -> bool {
    let upper = statement.to_ascii_uppercase();
    let words: Vec<&str> = upper.split_whitespace().collect();
    words.windows(2).any(|pair| pair == ["IF", "EXISTS"])
        || words.windows(3).any(|three| three == ["IF", "NOT", "EXISTS"])
}

/// Runs such a statement; the server's note says when there was nothing to do.
fn execute_guarded(
    machine: &mut Machine,
    server: &mut crate::machine::sql::Server,
    statement: &str,
    subject: Subject,
    shown: &str,
) -> crate::machine::Result<Rows> {
    let answer = machine.sql_execute(server, statement, subject.clone(), shown, &|_| false)?.unwrap_or_default();
    let notes = machine.sql_status(server, "SHOW WARNINGS")?;
    // 1007, 1008 databases, 1050, 1051 tables, 1061 keys, 1091 columns, 1304, 1305 routines, 1359 triggers,
    // 1537, 1539 events, 1973, 1974 accounts, 4161, 4162 …
    let idle = notes.rows.iter().any(|row| Rows::text(row, 0).eq_ignore_ascii_case("note"));
    if !idle {
        use crate::machine::{Change, Undo};
        machine.record(Change::effect(subject, format!("executed: {shown}"), Undo::None));
    }
    Ok(answer)
}

/// Rows as mappings, numbers as numbers.
pub(super) fn table(rows: &Rows) -> Value {
    let row = |values: &Vec<Option<String>>| {
        let cells = rows.columns.iter().zip(values).map(|((name, kind), value)| (name.clone(), cell(*kind, value)));
        Value::Object(cells.collect())
    };
    Value::Array(rows.rows.iter().map(row).collect())
}

fn cell(kind: ColumnKind, value: &Option<String>) -> Value {
    let Some(text) = value else {
        return Value::Null;
    };
    let number = match kind {
        ColumnKind::Integer => {
            text.parse::<i64>().map(Value::from).ok().or_else(|| text.parse::<u64>().map(Value::from).ok())
        }
        ColumnKind::Number => text.parse::<f64>().ok().map(Value::from),
        ColumnKind::Text => None,
    };
    number.unwrap_or_else(|| Value::from(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_mappings() {
        let rows = Rows {
            columns: vec![("n".into(), ColumnKind::Integer), ("x".into(), ColumnKind::Text)],
            rows: vec![vec![Some("18446744073709551615".into()), None]],
            affected: 1,
        };
        assert_eq!(table(&rows), json!([{"n": 18446744073709551615u64, "x": null}]));
    }

    #[test]
    fn guards_are_seen() {
        assert!(guarded("create table if not exists t (i int)") && guarded("DROP USER IF EXISTS a"));
        assert!(!guarded("SELECT IF(EXISTS(SELECT 1), 1, 2)"));
    }
}
