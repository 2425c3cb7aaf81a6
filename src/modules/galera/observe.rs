//! Looking at this host's node: process, server, disk.

use super::closer;
use crate::galera::{NodeConfig, NodeStatus, Observation, Peers, Process, ProviderOptions, SavedState, holds_up};
use crate::machine::sql::{Login, Rows, Server};
use crate::machine::units::{Unit, UnitOptions};
use crate::machine::{Command, Machine, MachineError, Result};
use crate::modules::ModuleError;
use serde_json::Value;
use std::collections::BTreeMap;

/// Units under which the distributions run the server.
const UNITS: [&str; 3] = ["mariadb.service", "mysql.service", "mysqld.service"];

/// A look at the node, with what is needed beside the observation itself.
pub struct Look {
    /// What was seen.
    pub observation: Observation,
    /// The server's unit.
    pub unit: Unit,
    /// Its own log file, when it does not log to the journal.
    pub log_file: Option<String>,
    /// Its data directory.
    pub data: String,
}

/// Looks at the node.
pub fn look(machine: &Machine, host: &str, unit: Option<&str>, login: &Login) -> Result<Look> {
    look_with(machine, host, unit, login, false)
}

/// Looks at the node, also closer: at its certificates, option files and disk.
pub fn look_closer(machine: &Machine, host: &str, unit: Option<&str>, login: &Login) -> Result<Look> {
    look_with(machine, host, unit, login, true)
}

fn look_with(machine: &Machine, host: &str, unit: Option<&str>, login: &Login, close: bool) -> Result<Look> {
    let unit = find_unit(machine, unit)?;
    let mut seen = Observation { host: host.into(), process: process(&unit), ..Observation::default() };
    let config = option_files(machine)?;
    let mut data = config.0.get("datadir").cloned().unwrap_or_else(|| "/var/lib/mysql".into());
    let mut log_file = config.0.get("log_error").cloned();
    if machine.predicted() && unit.predicted && !unit.is_running() {
        seen.predicted = true;
    } else {
        // A node outside of a quorum answers status, but must not be made to wait for the others.
        let login = Login { patience: Some(10), timeout: Some(login.timeout.unwrap_or(5)), ..login.clone() };
        match machine.sql_try(&login)? {
            Ok(mut server) if server.is_live() => {
                // A server that logs in and then says nothing (while it gets its state, it may hold its status back) is
                // asked again later by whoever waits for it, and closes the gate till then.
                match read(machine, &mut server) {
                    Ok((status, variables)) => {
                        if let Some(path) = variables.get("datadir").filter(|path| !path.is_empty()) {
                            data = path.clone();
                        }
                        if status.wsrep_on {
                            seen.peers = peers(&variables);
                        }
                        log_file = variables.get("log_error").cloned().filter(|path| !path.is_empty());
                        if close && status.wsrep_on {
                            let user = unit.properties.get("User").map_or("", String::as_str);
                            seen.close = Some(closer::look(machine, &variables, &data, user)?);
                        }
                        seen.status = Some(status);
                    }
                    Err(error @ MachineError::Unknown { .. }) => return Err(error),
                    Err(error) => seen.error = Some(error.to_string()),
                }
                if seen.process == Process::Missing {
                    seen.process = Process::Running; // started by something else than systemd
                }
            }
            Ok(server) => {
                seen.predicted = true;
                if machine.foresees_member()? {
                    seen.status = Some(foreseen_member());
                } else if server.is_fresh() {
                    seen.status = Some(NodeStatus::default()); // by itself, as the package starts it
                } else {
                    return Err(MachineError::unknown(
                        "the database server would be started, and what it then says is not known",
                    ));
                }
            }
            Err(error) => seen.error = Some(error.to_string()),
        }
    }
    let data = data.trim_end_matches('/');
    seen.backup = backup();
    seen.at_ms = since_boot();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    seen.clock = clock.map_or(0, |passed| passed.as_secs() as i64);
    seen.saved = read_text(machine, &format!("{data}/grastate.dat"))?.as_deref().and_then(SavedState::parse);
    seen.has_view = machine.exists(format!("{data}/gvwstate.dat"))?;
    seen.user_databases = user_databases(machine, data)?;
    Ok(Look { observation: seen, unit, log_file, data: data.to_string() })
}

/// The server's unit: the named one, else the first that exists.
fn find_unit(machine: &Machine, name: Option<&str>) -> Result<Unit> {
    let options = UnitOptions::default();
    if let Some(name) = name {
        return machine.unit(name, &options);
    }
    let mut first = None;
    for name in UNITS {
        let unit = machine.unit(name, &options)?;
        if unit.exists() {
            return Ok(unit);
        }
        first.get_or_insert(unit);
    }
    first.ok_or_else(|| MachineError::failed("there is no unit of a database server"))
}

fn process(unit: &Unit) -> Process {
    match unit.active.as_str() {
        _ if !unit.exists() => Process::Missing,
        "active" | "reloading" | "refreshing" => Process::Running,
        "activating" => Process::Starting,
        "deactivating" => Process::Stopping,
        "failed" => Process::Failed,
        _ => Process::Stopped,
    }
}

/// The server's part of the option files that are there now, as the server would read them.
pub fn option_files(machine: &Machine) -> Result<NodeConfig> {
    if !machine.has_program("my_print_defaults") {
        return Ok(NodeConfig::default());
    }
    let output = machine.probe(&Command::new(["my_print_defaults", "--mysqld"]))?;
    let lines: Vec<String> =
        output.stdout_text().lines().map(|line| line.trim_start_matches("--").to_string()).collect();
    Ok(NodeConfig::parse(&format!("[mysqld]\n{}", lines.join("\n"))))
}

/// Milliseconds since the host's boot: differences of counters are divided by differences of it.
fn since_boot() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The name of a backup program that runs.
fn backup() -> Option<String> {
    // The kernel keeps fifteen characters of a name.
    const PROGRAMS: [&str; 6] =
        ["mariadb-backup", "mariabackup", "xtrabackup", "mariadb-dump", "mysqldump", "mydumper"];
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(name) = std::fs::read_to_string(entry.path().join("comm")) else { continue };
        if PROGRAMS.contains(&name.trim()) {
            return Some(name.trim().to_string());
        }
    }
    None
}

/// The server's connections with its group, by the kernel's tables.
fn peers(variables: &Pairs) -> Option<Peers> {
    let tables: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let options = ProviderOptions::parse(variables.get("wsrep_provider_options")?).ok()?;
    Peers::read(&tables, variables.get("wsrep_cluster_address")?, options.get("gmcast.listen_addr")?)
}

type Pairs = BTreeMap<String, String>;

/// Reads a running server's status; also its variables by name.
fn read(machine: &Machine, server: &mut Server) -> Result<(NodeStatus, Pairs)> {
    machine.sql_session(server, "SET SESSION wsrep_sync_wait = 0")?;
    let pairs = |rows: Rows| -> Pairs {
        rows.rows.iter().map(|row| (Rows::text(row, 0).to_lowercase(), Rows::text(row, 1).to_string())).collect()
    };
    let counters =
        pairs(machine.sql_status(
            server,
            "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep\\_%' OR Variable_name = 'Uptime'",
        )?);
    let variables = pairs(machine.sql_status(
        server,
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_provider', 'wsrep_cluster_name', \
         'wsrep_node_name', 'wsrep_cluster_address', 'wsrep_desync', 'wsrep_provider_options', 'ssl_cert', 'ssl_key', 'ssl_ca', 'socket', 'datadir', 'log_error', \
         'version')",
    )?);
    // Empty outside of a cluster; not readable without a quorum.
    let members = machine
        .sql_status(
            server,
            "SELECT node_name, node_incoming_address FROM mysql.wsrep_cluster_members ORDER BY node_name",
        )
        .map(|rows| rows.rows.iter().map(|r| (Rows::text(r, 0).to_string(), Rows::text(r, 1).to_string())).collect())
        .unwrap_or_default();
    let mut status = NodeStatus::read(&counters, &variables, members);
    if status.wsrep_on {
        // The text is only looked at for its first words: it may hold secrets.
        let rows = machine.sql_status(
            server,
            "SELECT ID, USER, TIME, COALESCE(STATE, ''), LEFT(COALESCE(INFO, ''), 200) FROM \
             information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND (COALESCE(STATE, '') <> '' OR INFO IS NOT NULL)",
        )?;
        status.statements = rows
            .rows
            .iter()
            .filter_map(|row| {
                let number = |column| Rows::text(row, column).parse::<i64>().unwrap_or(0).max(0) as u64;
                holds_up(number(0), Rows::text(row, 1), number(2), Rows::text(row, 3), Rows::text(row, 4))
            })
            .collect();
    }
    Ok((status, variables))
}

/// A member as a check foresees it: its ids and its size are not known yet.
fn foreseen_member() -> NodeStatus {
    NodeStatus {
        wsrep_on: true,
        cluster_status: "Primary".into(),
        ready: true,
        connected: true,
        local_state: 4,
        local_state_comment: "Synced".into(),
        evs_state: "OPERATIONAL".into(),
        ..NodeStatus::default()
    }
}

fn read_text(machine: &Machine, path: &str) -> Result<Option<String>> {
    Ok(machine.read_file_if_exists(path, 64 * 1024)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Databases beside the server's own, by their directories.
fn user_databases(machine: &Machine, data: &str) -> Result<Vec<String>> {
    const OWN: [&str; 5] = ["mysql", "performance_schema", "sys", "information_schema", "lost+found"];
    if !machine.exists(data)? {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in machine.list_directory(data)? {
        let name = name.to_string_lossy().into_owned();
        // The server writes other characters of a database's name as @xxxx.
        if OWN.contains(&name.as_str()) || name.starts_with(['#', '.']) || name.contains('.') {
            continue;
        }
        if machine.stat(format!("{data}/{name}"))?.is_some_and(|stat| stat.is_dir()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Observations out of registered results of `galera_status`, in any of the forms a play can hand them over.
pub fn observations(values: &[Value]) -> std::result::Result<Vec<Observation>, ModuleError> {
    values
        .iter()
        .map(|value| {
            let inner = value.get("galera").unwrap_or(value);
            let seen: Observation = serde_json::from_value(inner.clone()).unwrap_or_default();
            if seen.host.is_empty() {
                let why = "each must be a registered result of galera_status; one is not (was that host skipped or \
                           unreachable?)";
                return Err(ModuleError::argument("members", why));
            }
            Ok(seen)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_are_read_back() {
        let seen = Observation { host: "a".into(), process: Process::Running, ..Observation::default() };
        let registered = json!({"changed": false, "galera": seen});
        assert_eq!(observations(&[registered]).unwrap(), [seen]);
        assert!(observations(&[json!({"skipped": true})]).is_err());
        assert!(observations(&[json!("Undefined")]).is_err());
    }

    #[test]
    fn processes() {
        let unit = |load: &str, active: &str| Unit { load: load.into(), active: active.into(), ..Unit::default() };
        for (unit, expected) in [
            (unit("not-found", "inactive"), Process::Missing),
            (unit("loaded", "active"), Process::Running),
            (unit("loaded", "activating"), Process::Starting),
            (unit("loaded", "failed"), Process::Failed),
            (unit("loaded", "inactive"), Process::Stopped),
        ] {
            assert_eq!(process(&unit), expected);
        }
    }
}
