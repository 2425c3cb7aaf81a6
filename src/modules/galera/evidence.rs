//! What a server is doing that does not stop: collected instead of killing it.

use super::log;
use crate::machine::Machine;
use crate::machine::sql::{Login, Rows};
use crate::machine::units::Unit;
use std::collections::BTreeMap;

/// Connections, the log's errors, and where its threads wait.
pub fn collect(machine: &Machine, login: &Login, unit: &Unit, log_file: Option<&str>) -> String {
    let mut text = String::new();
    let mut add = |title: &str, body: String| {
        if !body.is_empty() {
            text.push_str(&format!("\n{title}:\n{}", body.trim_end()));
        }
    };
    add("connections", connections(machine, login));
    add("where its threads wait", threads(unit.main_pid));
    let log = log::recent(machine, unit, log_file);
    let lines: Vec<&str> = log.lines().rev().take(12).collect();
    add("last lines of its log", lines.into_iter().rev().map(|line| format!("  {line}\n")).collect());
    text
}

/// Who is connected, without statements: they may hold secrets.
fn connections(machine: &Machine, login: &Login) -> String {
    let login = Login { patience: Some(5), timeout: Some(3), ..login.clone() };
    let Ok(Ok(mut server)) = machine.sql_try(&login) else {
        return "  the server takes no connections any more\n".into();
    };
    let rows = machine.sql_status(
        &mut server,
        "SELECT USER, COMMAND, TIME, COALESCE(STATE, '') FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
         ORDER BY TIME DESC LIMIT 20",
    );
    let Ok(rows) = rows else { return String::new() };
    let line = |row: &Vec<Option<String>>| {
        let word = |column| Rows::text(row, column);
        format!("  {} {} for {} s {}\n", word(0), word(1), word(2), word(3))
    };
    rows.rows.iter().map(line).collect()
}

/// Threads by name and by what of the kernel they wait in.
fn threads(pid: u32) -> String {
    let mut counted: BTreeMap<(String, String), u32> = BTreeMap::new();
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"));
    for entry in entries.into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_string();
        let waits = match read("wchan") {
            empty if empty.is_empty() || empty == "0" => "runs".to_string(),
            waits => waits,
        };
        *counted.entry((read("comm"), waits)).or_default() += 1;
    }
    counted.iter().map(|((name, waits), count)| format!("  {count} × {name}: {waits}\n")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_of_ourselves() {
        let text = super::threads(std::process::id());
        assert!(text.contains(" × "), "{text}");
        assert_eq!(super::threads(0), "");
    }
}
