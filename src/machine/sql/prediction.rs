//! What a check foresees of the database server: databases, accounts and variables laid over what is there.

use super::account::{Account, Authentication};
use super::grants::Grants;
use super::{Database, ServerState};
use crate::machine::units::UnitOptions;
use crate::machine::{Machine, MachineError, Mode, Result};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is foreseen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sql {
    databases: BTreeMap<String, Foreseen<Database>>,
    accounts: BTreeMap<String, Foreseen<Account>>,
    variables: BTreeMap<String, Foreseen<String>>,
    /// Statements of unknown effect would have run: what is not foreseen by name is what it was, as far as we know.
    statements: u32,
}

/// A state that is foreseen, or that nobody can tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Foreseen<T> {
    Present(T),
    Absent,
    Unknown,
}

impl<T: Clone> Foreseen<T> {
    fn read(&self, what: &str) -> Result<Option<T>> {
        match self {
            Foreseen::Present(value) => Ok(Some(value.clone())),
            Foreseen::Absent => Ok(None),
            Foreseen::Unknown => Err(MachineError::unknown(format!(
                "{what} depends on a task of which it is not known whether it will run"
            ))),
        }
    }
}

/// Units under which the distributions run the server.
const UNITS: [&str; 3] = ["mariadb.service", "mysql.service", "mysqld.service"];

/// Databases that every new server has.
const NEW_DATABASES: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

impl Machine {
    /// In a check, with no server to connect to: whether there would be one, and what would be known of it.
    pub(super) fn foreseen_server(&self) -> Result<Option<ServerState>> {
        if !self.predicted() {
            return Ok(None);
        }
        for name in UNITS {
            let unit = self.unit(name, &UnitOptions::default())?;
            if unit.predicted && unit.is_running() {
                // Data that lies there already is not readable without a server.
                let data = std::path::Path::new("/var/lib/mysql/mysql");
                return Ok(Some(if data.exists() { ServerState::Dark } else { ServerState::Fresh }));
            }
        }
        Ok(None)
    }

    pub(super) fn foreseen_database(&self, name: &str) -> Option<Result<Option<Database>>> {
        self.predictions.sql.databases.get(name).map(|f| f.read(&format!("database `{name}`")))
    }

    pub(super) fn foresee_database(&mut self, name: &str, state: Option<Database>) {
        let state = self.foreseen_state(state);
        self.predictions.sql.databases.insert(name.into(), state);
    }

    /// Names of the databases in view of what is foreseen.
    pub(super) fn foreseen_databases(&self, real: Vec<String>) -> Vec<String> {
        let foreseen = &self.predictions.sql.databases;
        let mut names: Vec<String> = real.into_iter().filter(|name| !foreseen.contains_key(name)).collect();
        names.extend(foreseen.iter().filter(|(_, s)| matches!(s, Foreseen::Present(_))).map(|(name, _)| name.clone()));
        names.sort();
        names
    }

    pub(super) fn foreseen_account(&self, name: &str) -> Option<Result<Option<Account>>> {
        self.predictions.sql.accounts.get(name).map(|f| f.read(&format!("the account {name}")))
    }

    pub(super) fn foresee_account(&mut self, name: &str, state: Option<Account>) {
        let state = self.foreseen_state(state);
        self.predictions.sql.accounts.insert(name.into(), state);
    }

    /// Hosts of a user's accounts in view of what is foreseen.
    pub(super) fn foreseen_hosts(&self, user: &str, real: Vec<String>) -> Vec<String> {
        let foreseen = &self.predictions.sql.accounts;
        let mut hosts: Vec<String> =
            real.into_iter().filter(|host| !foreseen.contains_key(&super::account_name(user, host))).collect();
        hosts.extend(foreseen.values().filter_map(|state| match state {
            Foreseen::Present(account) if account.user == user => Some(account.host.clone()),
            _ => None,
        }));
        hosts.sort();
        hosts
    }

    pub(super) fn foreseen_variable(&self, name: &str) -> Option<Result<Option<String>>> {
        self.predictions.sql.variables.get(name).map(|f| f.read(&format!("variable {name}")))
    }

    pub(super) fn foresee_variable(&mut self, name: &str, value: &str) {
        let state = self.foreseen_state(Some(value.to_string()));
        self.predictions.sql.variables.insert(name.into(), state);
    }

    pub(super) fn foresee_statement(&mut self) {
        self.predictions.sql.statements += 1;
    }

    /// Whether statements that we do not understand would have run: what is read may be different then.
    pub(super) fn foresees_statements(&self) -> bool {
        self.predicted() && self.predictions.sql.statements > 0
    }

    fn foreseen_state<T>(&self, state: Option<T>) -> Foreseen<T> {
        match (self.mode(), state) {
            (Mode::Tainted, _) => Foreseen::Unknown,
            (_, Some(value)) => Foreseen::Present(value),
            (_, None) => Foreseen::Absent,
        }
    }
}

/// A database of a server that is installed just now.
pub(super) fn new_database(name: &str) -> Option<Database> {
    NEW_DATABASES
        .contains(&name)
        .then(|| Database { encoding: "utf8mb4".into(), collation: "utf8mb4_general_ci".into() })
}

pub(super) fn new_databases() -> Vec<String> {
    NEW_DATABASES.iter().map(|name| (*name).to_string()).collect()
}

/// The accounts that `mariadb-install-db` makes.
pub(super) fn new_accounts() -> Vec<Account> {
    let way =
        |plugin: &str, value: &str| Authentication { plugin: plugin.into(), value: Secret::new(value), clear: false };
    let all = |user: &str| {
        let mut account = Account::new(user, "localhost");
        account.authentication = vec![way("mysql_native_password", "invalid"), way("unix_socket", "")];
        account.grants = Grants::parse("*.*:ALL,GRANT", true).unwrap_or_default();
        account
    };
    let mut internal = Account::new("mariadb.sys", "localhost");
    internal.authentication = vec![way("mysql_native_password", "")];
    internal.locked = true;
    internal.password_expired = true;
    internal.grants = Grants::parse("mysql.global_priv:SELECT,DELETE", true).unwrap_or_default();
    vec![all("root"), all("mysql"), internal]
}
