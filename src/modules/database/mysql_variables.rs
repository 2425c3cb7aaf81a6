//! `mysql_variables`: a global variable of the server, read or set.

use crate::machine::Machine;
use crate::machine::sql::quote;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.mysql.mysql_variables`
pub const MYSQL_VARIABLES: Module = Module {
    name: "community.mysql.mysql_variables",
    aliases: &["mysql_variables", "ansible.mysql.mysql_variables"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Variables::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Reads or sets a global variable of the running database server.
    ///
    /// The value lasts until the server restarts: write it into an option file too. Without `value` the variable is
    /// only read; `msg` is its value.
    pub struct Variables {
        /// Name of the variable.
        pub variable: Text,
        /// What it should be.
        pub value: Option<Text>,
        /// `global`. The others (`persist`, `persist_only`) exist in MySQL only.
        pub mode: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Variables = decode(arguments)?;
    let name = arguments.variable.0.as_str();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
        return Err(ModuleError::argument("variable", format!("`{name}` is no name of a variable")));
    }
    match arguments.mode.as_deref().unwrap_or("global") {
        "global" => {}
        mode @ ("persist" | "persist_only") => {
            return Err(ModuleError::argument(
                "mode",
                format!(
                    "MariaDB has no `{mode}`: write the variable into an option file, so that it survives a restart"
                ),
            ));
        }
        other => return Err(ModuleError::argument("mode", format!("`{other}` is unknown: write global"))),
    }
    let mut server = machine.sql(&arguments.login())?;
    let Some(current) = machine.database_variable(&mut server, name)? else {
        return Err(ModuleError::Failed(format!("the server has no variable `{name}`")));
    };
    let Some(wanted) = &arguments.value else {
        let mut outcome = Outcome::ok();
        outcome.msg = Some(current);
        return Ok(outcome);
    };
    let mut outcome = Outcome::ok();
    if same(&current, wanted) {
        outcome.msg = Some("Variable is already set to requested value.".into());
        return Ok(outcome);
    }
    let literal = literal(wanted);
    machine.set_database_variable(&mut server, name, &current, wanted, &literal)?;
    outcome.msg = Some(format!("Variable change succeeded prev_value={current}"));
    Ok(outcome.with("queries", vec![format!("SET GLOBAL `{name}` = {literal}")]))
}

/// Numbers are written as numbers, everything else as text.
fn literal(value: &str) -> String {
    let plain = value.parse::<f64>().is_ok_and(f64::is_finite) && !value.to_ascii_lowercase().contains("inf");
    if plain { value.to_string() } else { quote(truth(value).unwrap_or(value)) }
}

/// `True` and its relatives as the server writes them.
fn truth(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some("ON"),
        "false" | "no" | "off" => Some("OFF"),
        _ => None,
    }
}

/// Whether two values mean the same: `1` and `ON`, `3` and `3.0`.
fn same(current: &str, wanted: &str) -> bool {
    let number = |text: &str| match truth(text) {
        Some("ON") => Some(1.0),
        Some(_) => Some(0.0),
        None => text.parse::<f64>().ok(),
    };
    current == wanted || number(current).is_some_and(|value| number(wanted) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_mean_the_same_are_no_change() {
        for (current, wanted, expected) in [
            ("ON", "1", true),
            ("OFF", "False", true),
            ("3", "3.0", true),
            ("abc", "abc", true),
            ("abc", "ABC", false),
            ("ON", "0", false),
            ("134217728", "128M", false),
        ] {
            assert_eq!(same(current, wanted), expected, "{current} {wanted}");
        }
    }

    #[test]
    fn literals() {
        for (value, expected) in
            [("3", "3"), ("0.5", "0.5"), ("True", "'ON'"), ("it's", "'it''s'"), ("inf", "'inf'"), ("", "''")]
        {
            assert_eq!(literal(value), expected);
        }
    }
}
