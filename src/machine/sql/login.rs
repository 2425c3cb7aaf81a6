//! How a module logs in to the database server: its own arguments, then the user's option file, then the defaults.

use super::client::Address;
use crate::machine::{Machine, MachineError, Result};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a task says about the login; nothing said means the option file's word, then the default.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// `login_user`
    pub user: Option<String>,
    /// `login_password`
    pub password: Option<Secret>,
    /// `login_host`; `localhost` means the socket.
    pub host: Option<String>,
    /// `login_port`
    pub port: Option<u16>,
    /// `login_unix_socket`
    pub socket: Option<String>,
    /// `config_file`, `~/.my.cnf` when not given.
    pub config_file: Option<String>,
    /// `connect_timeout`, in seconds.
    pub timeout: Option<u64>,
    /// How long a statement may take, in seconds; as long as it takes when not given.
    pub patience: Option<u64>,
    /// The database to start in.
    pub database: Option<String>,
    /// Certificates for a connection over TCP were given.
    pub wants_tls: bool,
}

/// Everything that is needed to connect.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub address: Address,
    pub user: String,
    pub password: Secret,
    pub timeout: Duration,
}

/// Where the distributions put the socket, the first that is there is used.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];

impl Login {
    /// Completes what was said.
    pub(super) fn resolve(&self, machine: &Machine) -> Result<Credentials> {
        let file = self.option_file(machine)?;
        let given = |own: &Option<String>, key: &str| own.clone().or_else(|| file.get(key).cloned());
        let host = given(&self.host, "host").unwrap_or_else(|| "localhost".into());
        let port = match (self.port, file.get("port")) {
            (Some(port), _) => port,
            (None, Some(text)) => text.parse().unwrap_or(3306),
            (None, None) => 3306,
        };
        let socket = given(&self.socket, "socket");
        // As every client does: `localhost` is the socket, an address is the network.
        let address = match (socket, host.as_str()) {
            (Some(path), _) => Address::Socket(path),
            (None, "localhost") => Address::Socket(
                SOCKETS.iter().find(|path| std::fs::metadata(path).is_ok()).unwrap_or(&SOCKETS[0]).to_string(),
            ),
            (None, host) if self.wants_tls => {
                return Err(MachineError::failed(format!(
                    "TLS connections to another server ({host}) are not supported: run the task on that host, where it \
                     uses the socket, or delegate it there (`delegate_to`)"
                )));
            }
            (None, host) => Address::Tcp(host.to_string(), port),
        };
        Ok(Credentials {
            address,
            user: given(&self.user, "user").unwrap_or_else(|| own_name(machine)),
            password: self
                .password
                .clone()
                .or_else(|| file.get("password").map(|text| Secret::new(text.clone())))
                .unwrap_or_default(),
            timeout: Duration::from_secs(self.timeout.unwrap_or(30).max(1)),
        })
    }

    /// The `[client]` part of the option file. One that is not there says nothing.
    fn option_file(&self, machine: &Machine) -> Result<BTreeMap<String, String>> {
        let path = match &self.config_file {
            Some(path) if path.is_empty() => return Ok(BTreeMap::new()),
            Some(path) => path.clone(),
            None => "~/.my.cnf".into(),
        };
        let path = match path.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", home(machine)),
            None => path,
        };
        // Through the machine, so that a check sees a file that an earlier task would have written.
        match machine.read_file_if_exists(&path, 1 << 20) {
            Ok(bytes) => Ok(client_options(&String::from_utf8_lossy(&bytes.unwrap_or_default()))),
            // A home that is not ours holds no credentials for us.
            Err(_) if self.config_file.is_none() => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }
}

fn own_name(machine: &Machine) -> String {
    machine.user_name(rustix::process::geteuid().as_raw()).unwrap_or_else(|| "root".into())
}

fn home(machine: &Machine) -> String {
    let uid = rustix::process::geteuid().as_raw();
    match std::env::var("HOME") {
        Ok(home) if uid != 0 && !home.is_empty() => home,
        // Under sudo HOME may still be the login user's.
        _ => machine.user_by_id(uid).map_or_else(|| "/root".into(), |user| user.home),
    }
}

/// The options that clients read, of an option file's text.
fn client_options(text: &str) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut ours = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            ours = matches!(section, "client" | "client-server" | "client-mariadb" | "mysql" | "mariadb-client");
        } else if ours {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let value = value.trim();
            let unquoted = ['\'', '"'].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
            options.insert(key.trim().replace('_', "-").to_ascii_lowercase(), unquoted.to_string());
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn the_option_files_client_part_is_read() {
        let options =
            client_options("[mysqld]\nuser=mysql\n[client]\n# x\nuser = root\npassword='a#b=\"c'\n!include x\n");
        assert_eq!(options.get("user").map(String::as_str), Some("root"));
        assert_eq!(options.get("password").map(String::as_str), Some("a#b=\"c"));
    }

    #[test]
    fn arguments_come_before_the_file_and_localhost_is_the_socket() {
        let machine = Machine::new(Mode::Live);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("my.cnf");
        std::fs::write(&file, "[client]\nuser=filed\npassword=p\nsocket=/tmp/x.sock\n").unwrap();
        let login = Login { config_file: Some(file.to_string_lossy().into()), ..Login::default() };
        let found = login.resolve(&machine).unwrap();
        assert_eq!((found.user.as_str(), found.password.expose()), ("filed", "p"));
        assert_eq!(found.address, Address::Socket("/tmp/x.sock".into()));

        let login = Login {
            user: Some("me".into()),
            host: Some("10.0.0.1".into()),
            config_file: Some(String::new()),
            ..Login::default()
        };
        let found = login.resolve(&machine).unwrap();
        assert_eq!((found.user.as_str(), found.address), ("me", Address::Tcp("10.0.0.1".into(), 3306)));
        let refused = Login { wants_tls: true, ..login }.resolve(&machine).unwrap_err();
        assert!(refused.to_string().contains("delegate_to"), "{refused}");
    }
}
