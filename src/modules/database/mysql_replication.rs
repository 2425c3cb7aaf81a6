//! `mysql_replication`: where a server replicates from, and whether it does.

use super::login::Password;
use super::mysql_query::table;
use crate::machine::sql::{Server, quote};
use crate::machine::{Domain, Machine, MachineError, Subject};
use crate::modules::programs::{choice, exclusive};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.mysql.mysql_replication`
pub const MYSQL_REPLICATION: Module = Module {
    name: "community.mysql.mysql_replication",
    aliases: &["mysql_replication", "ansible.mysql.mysql_replication"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Replication::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Reads and sets up a server's replication.
    ///
    /// What is executed is `changed`, as in Ansible, also where the server had nothing to do. In a check nothing is executed.
    /// This is asynchronous replication: a Galera cluster's members are none of it.
    pub struct Replication {
        /// `getprimary`, `getreplica`, `changeprimary`, `changereplication` (MySQL 8), `startreplica`, `stopreplica`,
        /// `resetprimary`, `resetreplica` or `resetreplicaall`; `getreplica` when not given. The older names (`getmaster`,
        /// `getslave`, `changemaster`, `startslave`, `stopslave`, `resetmaster`, `resetslave`, `resetslaveall`) mean the same.
        pub mode: Option<Text>,
        /// The server to replicate from.
        #[serde(alias = "master_host")]
        pub primary_host: Option<Text>,
        /// Whom to log in there as.
        #[serde(alias = "master_user")]
        pub primary_user: Option<Text>,
        /// With which password.
        #[serde(alias = "master_password")]
        pub primary_password: Option<Password>,
        /// Its port.
        #[serde(alias = "master_port")]
        pub primary_port: Option<Int>,
        /// Seconds between attempts to connect.
        #[serde(alias = "master_connect_retry")]
        pub primary_connect_retry: Option<Int>,
        /// The binary log to begin with.
        #[serde(alias = "master_log_file")]
        pub primary_log_file: Option<Text>,
        /// The position in it.
        #[serde(alias = "master_log_pos")]
        pub primary_log_pos: Option<Int>,
        /// Seconds to stay behind.
        #[serde(alias = "master_delay")]
        pub primary_delay: Option<Int>,
        /// The relay log to begin with.
        pub relay_log_file: Option<Text>,
        /// The position in it.
        pub relay_log_pos: Option<Int>,
        /// Whether the connection is encrypted.
        #[serde(alias = "master_ssl")]
        pub primary_ssl: Option<Flag>,
        /// File of authorities.
        #[serde(alias = "master_ssl_ca")]
        pub primary_ssl_ca: Option<Text>,
        /// Directory of authorities.
        #[serde(alias = "master_ssl_capath")]
        pub primary_ssl_capath: Option<Text>,
        /// File of the own certificate.
        #[serde(alias = "master_ssl_cert")]
        pub primary_ssl_cert: Option<Text>,
        /// File of its key.
        #[serde(alias = "master_ssl_key")]
        pub primary_ssl_key: Option<Text>,
        /// Ciphers, separated by colons.
        #[serde(alias = "master_ssl_cipher")]
        pub primary_ssl_cipher: Option<Text>,
        /// Whether the server's certificate must be of its name.
        pub primary_ssl_verify_server_cert: Option<Flag>,
        /// Positions by GTID (MySQL).
        #[serde(default, alias = "master_auto_position")]
        pub primary_auto_position: Flag,
        /// Positions by GTID (MariaDB): `current_pos`, `replica_pos` or `disabled`.
        #[serde(alias = "master_use_gtid")]
        pub primary_use_gtid: Option<Text>,
        /// Name of one of several connections (MariaDB).
        pub connection_name: Option<Text>,
        /// Name of one of several channels (MySQL).
        pub channel: Option<Text>,
        /// Fail where the server refuses to start, stop or reset; otherwise that is no change.
        #[serde(default)]
        pub fail_on_error: Flag,
    }
}

/// The present names of modes, and what they were called before.
const MODES: &[(&str, &str)] = &[
    ("getprimary", "getmaster"),
    ("getreplica", "getslave"),
    ("changeprimary", "changemaster"),
    ("stopreplica", "stopslave"),
    ("startreplica", "startslave"),
    ("resetprimary", "resetmaster"),
    ("resetreplica", "resetslave"),
    ("resetreplicaall", "resetslaveall"),
    ("changereplication", "changereplication"),
];

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Replication = decode(arguments)?;
    let written = arguments.mode.as_deref().unwrap_or("getreplica");
    let mode = MODES.iter().find(|(new, old)| *new == written || *old == written).map_or(written, |(new, _)| new);
    choice("mode", mode, &MODES.iter().map(|(new, _)| *new).collect::<Vec<_>>())?;
    if let Some(gtid) = &arguments.primary_use_gtid {
        choice("primary_use_gtid", gtid, &["current_pos", "replica_pos", "slave_pos", "disabled"])?;
    }
    exclusive(&[("connection_name", arguments.connection_name.is_some()), ("channel", arguments.channel.is_some())])?;
    let mut server = machine.sql(&arguments.login())?;
    let terms = Terms::of(server.is_mariadb(), server.version().unwrap_or("99"));
    if arguments.primary_use_gtid.is_some() && !server.is_mariadb() {
        let why = "is MariaDB's; MySQL finds its positions with `primary_auto_position: true`";
        return Err(ModuleError::argument("primary_use_gtid", why));
    }
    let name = arguments.connection_name.as_deref().filter(|name| !name.is_empty());
    let named = name.map_or(String::new(), |name| format!(" {}", quote(name)));
    let channel = arguments.channel.as_deref().filter(|name| !name.is_empty());
    let channel = channel.map_or(String::new(), |name| format!(" FOR CHANNEL {}", quote(name)));
    let replica = terms.replica;
    match mode {
        "getprimary" => {
            let row = first(machine, &mut server, terms.primary_status)?;
            let known = row.contains_key("File") && row.contains_key("Position");
            let off = "Server is not configured as mysql primary. Meaning: Binary logs are disabled";
            Ok(status(row, known, &["Is_Primary", "Is_Master"], off))
        }
        "getreplica" => {
            let row = first(machine, &mut server, &format!("SHOW {replica}{named} STATUS{channel}"))?;
            let known = row.contains_key("Slave_IO_Running") || row.contains_key("Replica_IO_Running");
            Ok(status(row, known, &["Is_Replica", "Is_Slave"], "Server is not configured as mysql replica"))
        }
        "changeprimary" | "changereplication" => {
            let source = mode == "changereplication" || terms.source;
            let head = match (mode, source) {
                ("changeprimary", false) => format!("CHANGE MASTER{named}"),
                _ => format!("CHANGE REPLICATION SOURCE{named}"),
            };
            let query = |hidden: bool| {
                let clauses = arguments.clauses(source, terms.replica, hidden).join(",");
                format!("{head} TO {clauses}{channel}")
            };
            let shown = query(true);
            match execute(machine, &mut server, &query(false), &shown) {
                Ok(()) => Ok(Outcome::ok().with("queries", vec![shown])),
                Err(unknown @ MachineError::Unknown { .. }) => Err(unknown.into()),
                Err(error) => {
                    let said = match arguments.primary_password.as_ref().filter(|secret| !secret.0.is_empty()) {
                        Some(secret) => without_password(&error.to_string(), secret.0.expose()),
                        None => error.to_string(),
                    };
                    Err(ModuleError::Failed(format!("{said}. Query == {shown}")))
                }
            }
        }
        _ => {
            let (query, done, not_done) = match mode {
                "startreplica" => (
                    format!("START {replica}{named}{channel}"),
                    "Replica started ",
                    "Replica already started (Or cannot be started)",
                ),
                "stopreplica" => {
                    (format!("STOP {replica}{named}{channel}"), "Replica stopped", "Replica already stopped")
                }
                "resetprimary" => (terms.reset_primary.to_string(), "Primary reset", "Primary already reset"),
                "resetreplica" => {
                    (format!("RESET {replica}{named}{channel}"), "Replica reset", "Replica already reset")
                }
                _ => (format!("RESET {replica}{named} ALL{channel}"), "Replica reset", "Replica already reset"),
            };
            let refused = machine.predicted() && refuses(machine, &mut server, mode, &terms, &named, &channel)?;
            let result = if refused {
                Err(MachineError::failed(format!("the server would refuse `{query}`")))
            } else {
                execute(machine, &mut server, &query, &query)
            };
            let msg = match result {
                Ok(()) => done,
                Err(unknown @ MachineError::Unknown { .. }) => return Err(unknown.into()),
                Err(error) if arguments.fail_on_error.0 => {
                    return Err(ModuleError::Failed(format!("{query} failed: {error}")));
                }
                Err(_) => not_done,
            };
            Ok(Outcome { msg: Some(msg.into()), ..Outcome::ok().with("queries", vec![query]) })
        }
    }
}

/// The first row of an answer, by column.
fn first(machine: &Machine, server: &mut Server, query: &str) -> Result<Map<String, Value>, ModuleError> {
    if server.is_fresh() {
        return Ok(Map::new());
    }
    let rows = machine.sql_read(server, query)?;
    match table(&rows) {
        Value::Array(rows) => match rows.into_iter().next() {
            Some(Value::Object(row)) => Ok(row),
            _ => Ok(Map::new()),
        },
        _ => Ok(Map::new()),
    }
}

fn status(row: Map<String, Value>, known: bool, flags: &[&str], otherwise: &str) -> Outcome {
    let mut outcome = Outcome::ok().with("queries", Vec::<Value>::new());
    if known {
        outcome.data.extend(row);
    } else {
        outcome.msg = Some(otherwise.into());
    }
    flags.iter().fold(outcome, |outcome, flag| outcome.with(flag, known))
}

fn execute(machine: &mut Machine, server: &mut Server, query: &str, shown: &str) -> Result<(), MachineError> {
    let subject = Subject::new(Domain::Database, "replication");
    machine.sql_execute(server, query, subject, shown, &|_| true).map(drop)
}

/// In a check: whether the server would say no, as far as what it shows tells.
fn refuses(
    machine: &Machine,
    server: &mut Server,
    mode: &str,
    terms: &Terms,
    named: &str,
    channel: &str,
) -> Result<bool, ModuleError> {
    match mode {
        // Nothing to start where no primary is known; an earlier task of the check may say which.
        "startreplica" => match first(machine, server, &format!("SHOW {}{named} STATUS{channel}", terms.replica)) {
            Ok(row) => Ok(row.is_empty()),
            Err(ModuleError::Machine(MachineError::Unknown { .. })) => Ok(false),
            Err(error) => Err(error),
        },
        "resetprimary" if server.is_live() => {
            Ok(machine.sql_status(server, "SELECT @@GLOBAL.log_bin")?.scalar() == Some("0"))
        }
        _ => Ok(false),
    }
}

/// What a server calls things.
#[derive(Debug, PartialEq, Eq)]
struct Terms {
    replica: &'static str,
    primary_status: &'static str,
    reset_primary: &'static str,
    /// MySQL says SOURCE where it said MASTER.
    source: bool,
}

impl Terms {
    fn of(mariadb: bool, version: &str) -> Terms {
        let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        let found = [parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0)];
        let since = |for_mariadb: [u32; 3], for_mysql: [u32; 3]| found >= if mariadb { for_mariadb } else { for_mysql };
        let never = [u32::MAX; 3];
        Terms {
            replica: if since([10, 5, 1], [8, 0, 22]) { "REPLICA" } else { "SLAVE" },
            primary_status: match since([10, 5, 2], [8, 2, 0]) {
                true if mariadb => "SHOW BINLOG STATUS",
                true => "SHOW BINARY LOG STATUS",
                false => "SHOW MASTER STATUS",
            },
            reset_primary: if since(never, [8, 4, 0]) { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" },
            source: since(never, [8, 0, 23]),
        }
    }
}

impl Replication {
    /// The clauses behind `TO`, in the order in which Ansible writes them. A password is hidden for those who look.
    fn clauses(&self, source: bool, replica: &str, hidden: bool) -> Vec<String> {
        let whose = if source { "SOURCE" } else { "MASTER" };
        let password = self.primary_password.as_ref().map(|secret| match hidden {
            true => Text("********".into()),
            false => Text(secret.0.expose().to_string()),
        });
        let text = |name: &str, value: &Option<Text>| value.as_ref().map(|value| format!("{name}={}", quote(value)));
        let number = |name: &str, value: &Option<Int>| value.as_ref().map(|Int(value)| format!("{name}={value}"));
        let flag = |name: &str, value: &Option<Flag>| value.as_ref().map(|flag| format!("{name}={}", u8::from(flag.0)));
        let of = |name: &str| format!("{whose}_{name}");
        let gtid = self.primary_use_gtid.as_deref().filter(|_| !source).map(|gtid| match (gtid, replica) {
            ("disabled", _) => "no",
            ("replica_pos", "SLAVE") => "slave_pos",
            (gtid, _) => gtid,
        });
        [
            text(&of("HOST"), &self.primary_host),
            text(&of("USER"), &self.primary_user),
            text(&of("PASSWORD"), &password),
            number(&of("PORT"), &self.primary_port),
            number(&of("CONNECT_RETRY"), &self.primary_connect_retry),
            text(&of("LOG_FILE"), &self.primary_log_file),
            number(&of("LOG_POS"), &self.primary_log_pos),
            number(&of("DELAY"), &self.primary_delay),
            text("RELAY_LOG_FILE", &self.relay_log_file),
            number("RELAY_LOG_POS", &self.relay_log_pos),
            flag(&of("SSL"), &self.primary_ssl),
            text(&of("SSL_CA"), &self.primary_ssl_ca),
            text(&of("SSL_CAPATH"), &self.primary_ssl_capath),
            text(&of("SSL_CERT"), &self.primary_ssl_cert),
            text(&of("SSL_KEY"), &self.primary_ssl_key),
            text(&of("SSL_CIPHER"), &self.primary_ssl_cipher),
            flag(&of("SSL_VERIFY_SERVER_CERT"), &self.primary_ssl_verify_server_cert),
            self.primary_auto_position.0.then(|| format!("{}=1", of("AUTO_POSITION"))),
            gtid.map(|gtid| format!("MASTER_USE_GTID={gtid}")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What a server says of a statement, without its password: it quotes some eighty characters, so that a password may
/// stand there quoted, or cut off.
fn without_password(said: &str, password: &str) -> String {
    let said = match said.find("_PASSWORD=") {
        Some(at) => format!("{}_PASSWORD='********' …", said.get(..at).unwrap_or_default()),
        None => said.to_string(),
    };
    said.replace(&quote(password), "'********'").replace(password, "********")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn what_servers_call_things() {
        for (mariadb, version, replica, status, reset, source) in [
            (true, "11.8.6-MariaDB-0+deb13u1", "REPLICA", "SHOW BINLOG STATUS", "RESET MASTER", false),
            (true, "10.5.1-MariaDB", "REPLICA", "SHOW MASTER STATUS", "RESET MASTER", false),
            (true, "10.3.39-MariaDB", "SLAVE", "SHOW MASTER STATUS", "RESET MASTER", false),
            (false, "8.0.22", "REPLICA", "SHOW MASTER STATUS", "RESET MASTER", false),
            (false, "8.0.36-28", "REPLICA", "SHOW MASTER STATUS", "RESET MASTER", true),
            (false, "8.4.2", "REPLICA", "SHOW BINARY LOG STATUS", "RESET BINARY LOGS AND GTIDS", true),
            (false, "5.7.44", "SLAVE", "SHOW MASTER STATUS", "RESET MASTER", false),
        ] {
            let expected = Terms { replica, primary_status: status, reset_primary: reset, source };
            assert_eq!(Terms::of(mariadb, version), expected, "{version}");
        }
    }

    #[test]
    fn clauses_and_what_is_shown_of_them() {
        let arguments = json!({"master_host": "db1", "primary_user": "repl", "master_password": "it's", "primary_port": "3307",
            "master_use_gtid": "replica_pos", "primary_ssl": "yes", "primary_delay": 60});
        let arguments: Replication = decode(arguments.as_object().unwrap().clone()).unwrap();
        let shown = |source, replica, hidden| arguments.clauses(source, replica, hidden).join(",");
        assert_eq!(
            shown(false, "REPLICA", true),
            "MASTER_HOST='db1',MASTER_USER='repl',MASTER_PASSWORD='********',MASTER_PORT=3307,MASTER_DELAY=60,MASTER_SSL=1,\
             MASTER_USE_GTID=replica_pos"
        );
        assert!(shown(false, "SLAVE", false).contains("MASTER_PASSWORD='it''s'"));
        assert!(shown(false, "SLAVE", false).ends_with("MASTER_USE_GTID=slave_pos"));
        assert!(shown(true, "REPLICA", true).starts_with("SOURCE_HOST='db1'"));
    }

    #[test]
    fn no_password_is_in_what_a_server_says() {
        for (said, password) in [
            ("near 'SOURCE_USER='repl',SOURCE_PASSWORD='s3cr' at line 1", "s3cret-word"),
            ("near 'it''s a secret' at line 1", "it's a secret"),
            ("cannot log in with word-1", "word-1"),
        ] {
            let shown = without_password(said, password);
            let begin: String = password.chars().take(4).collect();
            assert!(!shown.contains(&begin) && shown.contains("********"), "{shown}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({"mode": "promote"}), "mode must be one of"),
            (json!({"primary_use_gtid": "yes"}), "primary_use_gtid must be one of"),
            (json!({"connection_name": "a", "channel": "b"}), "mutually exclusive"),
            (json!({"mode": "getslave", "login_unix_socket": "/no/such"}), "/no/such"),
        ] {
            let outcome = check("mysql_replication", &value);
            assert_eq!(outcome.status, Status::Failed, "{value}");
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{value}: {:?}", outcome.msg);
        }
    }
}
