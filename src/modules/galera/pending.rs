//! What the running server was not started with: settings, programs, certificates that are newer than it.

use super::effective;
use super::observe::Look;
use crate::galera::{
    Circumstances, Effect, NodeConfig, Pending, ProviderOptions, Running, Wanted, pending, pending_options, same_value,
};
use crate::machine::files::{Attributes, WriteOptions};
use crate::machine::sql::{Login, Rows, Server, quote};
use crate::machine::{Machine, MachineError, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The copy that the role's addition to the unit makes of the option file at each start.
const STARTED_WITH: &str = "/run/mariadb-started/galera.cnf";

/// What is due.
pub struct Due {
    /// Settings that are not in force.
    pub pending: Vec<Pending>,
    /// Programs and certificates.
    pub around: Circumstances,
    /// Why the server would not start with what is there now.
    pub error: Option<String>,
    /// Types of the server's variables, for writing their values.
    kinds: BTreeMap<String, String>,
}

/// Compares the running server with its files. `option_file` is the one of which a copy is kept at each start.
pub fn due(machine: &Machine, look: &Look, login: &Login, option_file: &str) -> Result<Due> {
    let mut due = Due { pending: Vec::new(), around: Circumstances::default(), error: None, kinds: BTreeMap::new() };
    let Some(effective) = effective::read(machine)? else {
        return Ok(due);
    };
    due.error = effective.error.clone();
    let Some(status) = look.observation.status.as_ref().filter(|_| !look.observation.predicted) else {
        return Ok(due);
    };
    due.around.running = true;
    due.around.replaced = replaced(machine, look.unit.main_pid, &status.version)?;
    due.around.certificates = look
        .observation
        .close
        .iter()
        .flat_map(|close| &close.certificates)
        .filter(|one| one.reload_due())
        .map(|one| format!("the certificate for {} was renewed ({})", one.purpose.port(), one.path))
        .collect();
    let mut server = machine.sql(login)?;
    if !server.is_live() {
        return Ok(due);
    }
    machine.sql_session(&mut server, "SET SESSION wsrep_sync_wait = 0")?;
    let (running, kinds) = variables(machine, &mut server)?;
    due.kinds = kinds;
    let text = |path: &str| -> Result<NodeConfig> {
        let bytes = machine.read_file_if_exists(path, 1 << 20)?.unwrap_or_default();
        Ok(NodeConfig::parse(&String::from_utf8_lossy(&bytes)))
    };
    let started = text(STARTED_WITH)?;
    let now = text(option_file)?;
    // Only where that file has the last word: another one may overrule it since.
    let decides = |name: &String| match (now.0.get(name), effective.values.get(name)) {
        (Some(here), Some(value)) => same_value(here, value),
        _ => false,
    };
    let unchanged: BTreeSet<String> = unchanged(&started, &now).into_iter().filter(decides).collect();
    let wanted = Wanted { values: &effective.values, named: &effective.named, unchanged: &unchanged };
    due.pending = pending(&running, &wanted);

    // The table of variables cuts long values off.
    let all = machine.database_variable(&mut server, "wsrep_provider_options")?.unwrap_or_default();
    let parse = |text: &str| ProviderOptions::parse(text).map_err(MachineError::failed);
    let now = parse(&all)?;
    match parse(effective.values.get("wsrep_provider_options").map_or("", String::as_str)) {
        Err(error) => due.error = due.error.or(Some(error.to_string())),
        Ok(wanted) => {
            // Where each option is a variable of its own, the list of them is whole.
            let known = |name: &str| running.contains_key(&variable(name));
            if known("gcache.size")
                && let Some(name) = wanted.0.keys().find(|name| now.get(name).is_none() && !known(name))
            {
                let why = format!("the provider has no option '{name}' (wsrep_provider_options)");
                due.error = due.error.or(Some(why));
            }
            let before = started.0.get("wsrep_provider_options").and_then(|text| ProviderOptions::parse(text).ok());
            let live = |name: &str| running.get(&variable(name)).map(|one| !one.read_only);
            due.pending.extend(pending_options(&now, &wanted, before.as_ref(), &live));
        }
    }
    Ok(due)
}

/// The variable of a provider's option, where the server has one.
fn variable(option: &str) -> String {
    format!("wsrep_provider_{}", option.replace('.', "_"))
}

type Kinds = BTreeMap<String, String>;

fn variables(machine: &Machine, server: &mut Server) -> Result<(BTreeMap<String, Running>, Kinds)> {
    let rows = machine.sql_status(
        server,
        "SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE, READ_ONLY, GLOBAL_VALUE_ORIGIN, VARIABLE_TYPE FROM \
         information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'SESSION ONLY'",
    )?;
    let mut running = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for row in &rows.rows {
        let name = Rows::text(row, 0).to_string();
        kinds.insert(name.clone(), Rows::text(row, 4).to_string());
        running.insert(
            name,
            Running {
                value: Rows::text(row, 1).to_string(),
                read_only: Rows::text(row, 2) == "YES",
                from_file: Rows::text(row, 3) == "CONFIG",
            },
        );
    }
    Ok((running, kinds))
}

/// Settings that stand in the file as they stood at the start.
fn unchanged(started: &NodeConfig, now: &NodeConfig) -> BTreeSet<String> {
    let same = |(name, value): &(&String, &String)| started.0.get(*name) == Some(*value);
    now.0.iter().filter(same).map(|(name, _)| name.clone()).collect()
}

/// Programs and libraries that the server runs with, and that are others on the disk now.
fn replaced(machine: &Machine, pid: u32, version: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let output = machine.probe(&crate::machine::Command::new(["mariadbd", "--no-defaults", "--version"]))?;
    let installed = output.stdout_text();
    // `mariadbd  Ver 11.8.6-MariaDB-0+deb13u1 from Debian for …`
    if let Some(installed) = installed.split_whitespace().skip_while(|word| *word != "Ver").nth(1)
        && !version.starts_with(installed)
        && !installed.starts_with(version)
    {
        found.push(format!("version {version} runs and {installed} is installed"));
    }
    if pid != 0 && found.is_empty() {
        let gone = |path: &std::path::Path| path.to_string_lossy().ends_with(" (deleted)");
        if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| gone(&path)) {
            found.push("its program was replaced on the disk".into());
        }
    }
    let maps =
        if pid == 0 { String::new() } else { std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default() };
    let mut libraries = BTreeSet::new();
    for line in maps.lines().filter_map(|line| line.strip_suffix(" (deleted)")) {
        let path = line.split_whitespace().last().unwrap_or_default();
        // Others (temporary files, shared memory) come and go.
        if path.contains("/lib") && path.contains(".so") {
            libraries.insert(path.rsplit('/').next().unwrap_or(path).to_string());
        }
    }
    if !libraries.is_empty() {
        found.push(format!(
            "libraries were replaced on the disk: {}",
            libraries.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(found)
}

/// Everything that the option file says is in force: the copy of what the server was started with says the same from
/// now on, so that nobody takes it for a restart that is due.
pub fn remember(machine: &mut Machine, option_file: &str) -> Result<()> {
    let Some(bytes) = machine.read_file_if_exists(option_file, 1 << 20)? else {
        return Ok(());
    };
    if let Some(directory) = std::path::Path::new(STARTED_WITH).parent() {
        machine.make_directories(directory, &Attributes::default())?;
    }
    let attributes = Attributes { mode: Some(0o600), ..Attributes::default() };
    machine.write_file(
        STARTED_WITH,
        &bytes,
        &WriteOptions { attributes, sensitive: true, ..WriteOptions::default() },
    )?;
    Ok(())
}

/// Puts in force what the running server takes.
pub fn reload(machine: &mut Machine, login: &Login, due: &Due) -> Result<()> {
    let mut server = machine.sql(login)?;
    for one in due.pending.iter().filter(|one| one.effect == Effect::Dynamic) {
        let own = variable(&one.name);
        let (name, value, literal) = match (one.provider, due.kinds.get(&own)) {
            (true, Some(kind)) => (own.clone(), one.to.clone(), literal(kind, &one.to)),
            (true, None) => {
                let pair = format!("{}={}", one.name, one.to);
                ("wsrep_provider_options".to_string(), pair.clone(), quote(&pair))
            }
            (false, _) => {
                let kind = due.kinds.get(&one.name).map_or("VARCHAR", String::as_str);
                (one.name.clone(), one.to.clone(), literal(kind, &one.to))
            }
        };
        machine.set_database_variable(&mut server, &name, &one.from, &value, &literal)?;
    }
    if !due.around.certificates.is_empty() {
        // LOCAL keeps it out of the binary log; the provider reads its files anew, too.
        let subject = crate::machine::Subject::new(crate::machine::Domain::Pki, "served certificates");
        machine.sql_execute(&mut server, "FLUSH LOCAL SSL", subject, "FLUSH LOCAL SSL", &|_| true)?;
    }
    Ok(())
}

/// A value as SQL writes it for a variable of this type.
fn literal(kind: &str, value: &str) -> String {
    let kind = kind.to_ascii_uppercase();
    let number = |text: &str| text.parse::<f64>().is_ok();
    if kind.starts_with("BOOLEAN") {
        return match value.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => "ON".into(),
            _ => "OFF".into(),
        };
    }
    if ["BIGINT", "INT", "DOUBLE"].iter().any(|known| kind.starts_with(known)) {
        if number(value) {
            return value.to_string();
        }
        if let Some(size) = crate::galera::size(value) {
            return size.to_string();
        }
        if let Some(ms) = crate::galera::period_ms(value) {
            return format!("{}", ms as f64 / 1000.0);
        }
    }
    quote(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_sql() {
        for (kind, value, expected) in [
            ("BIGINT UNSIGNED", "200", "200"),
            ("BIGINT", "128M", "134217728"),
            ("DOUBLE", "PT5S", "5"),
            ("DOUBLE", "PT1M0.5S", "60.5"),
            ("DOUBLE", "0.25", "0.25"),
            ("BOOLEAN", "yes", "ON"),
            ("BOOLEAN", "FALSE", "OFF"),
            ("VARCHAR", "it's", "'it\\'s'"),
            ("ENUM", "ROW", "'ROW'"),
        ] {
            let written = literal(kind, value);
            assert!(written == expected || written == expected.replace("\\'", "''"), "{kind} {value}: {written}");
        }
    }

    #[test]
    fn what_stands_as_it_stood() {
        let started = NodeConfig::parse("[mysqld]\na=1\nb=2\nc=3\n");
        let now = NodeConfig::parse("[mysqld]\na=1\nb=20\nd=4\n");
        assert_eq!(unchanged(&started, &now).into_iter().collect::<Vec<_>>(), ["a"]);
    }
}
