//! The MariaDB server of a host: what it answers, and databases, accounts and variables as a task wants them.

mod account;
mod auth;
mod client;
mod grants;
mod login;
mod prediction;

pub use account::{Account, Authentication, LIMITS, Require, account_name};
pub use auth::{is_native_hash, native_hash};
pub use client::{Client, ColumnKind, Rows, SqlError, Transport, identifier, quote};
pub use grants::{GRANT_OPTION, Grants};
pub use login::Login;
pub(crate) use prediction::Sql;

use super::history::Entry;
use super::{Change, Domain, Facet, Machine, MachineError, Result, Subject, Undo};
use crate::secret::Secret;
use account::fingerprint;
use serde::{Deserialize, Serialize};

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Default character set.
    pub encoding: String,
    /// Default collation.
    pub collation: String,
}

/// What there is to talk to.
pub(crate) enum ServerState {
    /// A session.
    Live(Client),
    /// In a check: a server that earlier tasks would install, with nothing in it yet.
    Fresh,
    /// In a check: a server that earlier tasks would start, on data that nobody can read now.
    Dark,
}

/// A session with a server, or what a check knows instead of it.
pub struct Server {
    state: ServerState,
}

impl Server {
    /// Whether there is a real server behind it.
    pub fn is_live(&self) -> bool {
        matches!(self.state, ServerState::Live(_))
    }

    /// In a check: a server that earlier tasks would install, with nothing in it.
    pub fn is_fresh(&self) -> bool {
        matches!(self.state, ServerState::Fresh)
    }

    /// The server's version (`11.8.6-MariaDB-…`); nothing where a check only foresees it.
    pub fn version(&self) -> Option<&str> {
        match &self.state {
            ServerState::Live(client) => Some(&client.version),
            _ => None,
        }
    }

    /// Whether it is MariaDB (what is foreseen is).
    pub fn is_mariadb(&self) -> bool {
        self.version().is_none_or(|version| version.to_ascii_lowercase().contains("mariadb"))
    }

    fn query(&mut self, statement: &str) -> Result<Rows> {
        match &mut self.state {
            ServerState::Live(client) => client.query(statement).map_err(|e| failed(&e)),
            _ => Err(MachineError::unknown("the database server that answers this does not run yet")),
        }
    }
}

fn failed(error: &SqlError) -> MachineError {
    MachineError::failed(match error {
        SqlError::Connect { .. } => format!("{error}; does the server run (`systemctl status mariadb`)?"),
        SqlError::Server { code: 1045 | 1698, .. } => format!(
            "{error}; give login_user and login_password or a config_file, or run the task as root (`become: true`), \
             who may use the socket"
        ),
        SqlError::Server { code: 1047, .. } => {
            format!("{error}; the node is not part of a cluster with quorum")
        }
        _ => error.to_string(),
    })
}

impl Machine {
    /// Logs in to the server. In a check a server that does not run, but would, is foreseen.
    pub fn sql(&self, login: &Login) -> Result<Server> {
        match self.sql_try(login)? {
            Ok(server) => Ok(server),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The same, with the server's refusal or absence as data.
    pub fn sql_try(&self, login: &Login) -> Result<std::result::Result<Server, SqlError>> {
        let found = login.resolve(self)?;
        let database = match login.database.as_deref() {
            Some(name) if self.foreseen_database(name).is_some() => None,
            other => other,
        };
        let patience = login.patience.map(std::time::Duration::from_secs);
        match Client::connect(&found.address, &found.user, &found.password, database, found.timeout, patience) {
            Ok(mut client) => {
                if self.predicted() {
                    // What a check reads must not write, whatever a function behind a SELECT does.
                    client.query("SET SESSION TRANSACTION READ ONLY").map_err(|e| failed(&e))?;
                }
                Ok(Ok(Server { state: ServerState::Live(client) }))
            }
            Err(error) if error.is_down() || self.foresees_login(&error, &found.user) => {
                match self.foreseen_server()? {
                    Some(state) => Ok(Ok(Server { state })),
                    None if self.predicted() && error.code().is_some() => Ok(Ok(Server { state: ServerState::Dark })),
                    None => Ok(Err(error)),
                }
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Whether a login that is refused now would be possible after earlier tasks of this check.
    fn foresees_login(&self, error: &SqlError, user: &str) -> bool {
        self.predicted()
            && matches!(error.code(), Some(1045 | 1698))
            && self.foreseen_account(&account_name(user, "localhost")).is_some()
    }

    /// Reads, in a check too.
    pub fn sql_read(&self, server: &mut Server, statement: &str) -> Result<Rows> {
        if self.foresees_statements() && server.is_live() {
            return Err(MachineError::unknown("earlier statements of this check may change what is read"));
        }
        server.query(statement)
    }

    /// Reads state that no statement of a task changes unseen: status, variables.
    pub fn sql_status(&self, server: &mut Server, statement: &str) -> Result<Rows> {
        server.query(statement)
    }

    /// Sets up the session (`SET SESSION …`), where there is one.
    pub fn sql_session(&self, server: &mut Server, statement: &str) -> Result<()> {
        if server.is_live() {
            server.query(statement)?;
        }
        Ok(())
    }

    /// Runs a statement that changes something. `shown` is what may be seen of it; nothing is recorded when
    /// `changes` says that nothing was changed.
    pub fn sql_execute(
        &mut self,
        server: &mut Server,
        statement: &str,
        subject: Subject,
        shown: &str,
        changes: &dyn Fn(&Rows) -> bool,
    ) -> Result<Option<Rows>> {
        let answer = if self.predicted() {
            self.foresee_statement();
            None
        } else {
            Some(server.query(statement)?)
        };
        if answer.as_ref().is_none_or(changes) {
            self.record(Change::effect(subject, format!("executed: {shown}"), Undo::None));
        }
        Ok(answer)
    }

    /// A database, if it exists.
    pub fn database(&self, server: &mut Server, name: &str) -> Result<Option<Database>> {
        if let Some(foreseen) = self.foreseen_database(name) {
            return foreseen;
        }
        if matches!(server.state, ServerState::Fresh) {
            return Ok(prediction::new_database(name));
        }
        let rows = server.query(&format!(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
             WHERE SCHEMA_NAME = {}",
            quote(name)
        ))?;
        let found = rows.rows.first().map(|row| Database {
            encoding: Rows::text(row, 0).to_string(),
            collation: Rows::text(row, 1).to_string(),
        });
        self.observe(Domain::Database, name, &format!("{found:?}"));
        Ok(found)
    }

    /// The names of all databases.
    pub fn databases(&self, server: &mut Server) -> Result<Vec<String>> {
        let real = match server.state {
            ServerState::Fresh => prediction::new_databases(),
            _ => {
                let rows = server.query("SHOW DATABASES")?;
                rows.rows.iter().map(|row| Rows::text(row, 0).to_string()).collect()
            }
        };
        Ok(self.foreseen_databases(real))
    }

    /// Creates a database unless it exists. Says the statement that did it, if one was needed.
    pub fn create_database(&mut self, server: &mut Server, name: &str, wanted: &Database) -> Result<Option<String>> {
        if self.database(server, name)?.is_some() {
            return Ok(None);
        }
        let mut statement = format!("CREATE DATABASE {}", identifier(name));
        let mut text = String::new();
        for (clause, value) in [("CHARACTER SET", &wanted.encoding), ("COLLATE", &wanted.collation)] {
            if !value.is_empty() {
                statement.push_str(&format!(" {clause} {}", quote(value)));
                text.push_str(&format!("{clause} {value}\n"));
            }
        }
        if self.predicted() {
            self.foresee_database(name, Some(wanted.clone()));
        } else {
            server.query(&statement)?;
        }
        let subject = Subject::new(Domain::Database, name);
        let mut change = Change::set(subject, "state", Facet::Absent, Facet::Text(text));
        change.undo = Undo::None; // somebody may have written to it, on any member of its cluster
        self.record(change);
        Ok(Some(statement))
    }

    /// Drops a database if it exists. Says the statement that did it, if one was needed.
    pub fn drop_database(&mut self, server: &mut Server, name: &str) -> Result<Option<String>> {
        let Some(before) = self.database(server, name)? else {
            return Ok(None);
        };
        let statement = format!("DROP DATABASE {}", identifier(name));
        if self.predicted() {
            self.foresee_database(name, None);
        } else {
            server.query(&statement)?;
        }
        let text = format!("CHARACTER SET {}\nCOLLATE {}\n", before.encoding, before.collation);
        let mut change = Change::set(Subject::new(Domain::Database, name), "state", Facet::Text(text), Facet::Absent);
        change.undo = Undo::None;
        self.record(change);
        Ok(Some(statement))
    }

    /// An account, if it exists.
    pub fn database_account(&self, server: &mut Server, user: &str, host: &str) -> Result<Option<Account>> {
        let name = account_name(user, host);
        if let Some(foreseen) = self.foreseen_account(&name) {
            return foreseen;
        }
        if matches!(server.state, ServerState::Fresh) {
            return Ok(prediction::new_accounts().into_iter().find(|a| a.user == user && a.host == host));
        }
        let rows = server.query(&format!(
            "SELECT Priv FROM mysql.global_priv WHERE User = {} AND Host = {}",
            quote(user),
            quote(host)
        ))?;
        let Some(record) = rows.scalar() else {
            self.observe(Domain::DatabaseAccount, &name, "absent");
            return Ok(None);
        };
        let grants = server.query(&format!("SHOW GRANTS FOR {name}"))?;
        let grants: Vec<String> = grants.rows.iter().map(|row| Rows::text(row, 0).to_string()).collect();
        let account = Account::read(user, host, record, &grants)?;
        self.observe(Domain::DatabaseAccount, &name, &account.state());
        Ok(Some(account))
    }

    /// The hosts of all accounts of a user.
    pub fn database_account_hosts(&self, server: &mut Server, user: &str) -> Result<Vec<String>> {
        let real = match server.state {
            ServerState::Fresh => {
                prediction::new_accounts().into_iter().filter(|a| a.user == user).map(|a| a.host).collect()
            }
            _ => {
                let statement = format!(
                    "SELECT Host FROM mysql.global_priv WHERE User = {} \
                     AND JSON_VALUE(Priv, '$.is_role') IS NULL ORDER BY Host",
                    quote(user)
                );
                server.query(&statement)?.rows.iter().map(|row| Rows::text(row, 0).to_string()).collect()
            }
        };
        Ok(self.foreseen_hosts(user, real))
    }

    /// Makes an account what it should be. Says whether anything was done.
    pub fn set_database_account(
        &mut self,
        server: &mut Server,
        before: Option<&Account>,
        after: &Account,
    ) -> Result<bool> {
        let statements = after.statements_from(before);
        if statements.is_empty() {
            return Ok(false);
        }
        let name = after.name();
        if self.predicted() {
            known_privileges(server, before, after)?;
            self.foresee_account(&name, Some(after.clone()));
        } else {
            for statement in &statements {
                // A grant that names something that does not exist leaves a half-made account: say which one failed.
                server.query(statement).map_err(|error| {
                    let verb = statement.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
                    let text = without(&error.to_string(), after.secrets());
                    MachineError::failed(format!("cannot set up the account {name} ({verb} …): {text}"))
                })?;
            }
        }
        let subject = Subject::new(Domain::DatabaseAccount, name);
        let old = before.map_or(Facet::Absent, |account| Facet::Text(account.describe()));
        let new = Facet::Text(after.describe());
        if old != new {
            let mut change = Change::set(subject.clone(), "state", old, new);
            change.undo = Undo::None;
            self.record(change);
        } else {
            // Only what `describe` does not show has changed.
            let mark = |account: Option<&Account>| Facet::Secret {
                fingerprint: account
                    .map(|a| a.authentication.iter().map(|way| fingerprint(&way.value)).collect::<Vec<_>>().join("+"))
                    .unwrap_or_default(),
            };
            let mut change = Change::set(subject, "password", mark(before), mark(Some(after)));
            change.undo = Undo::None;
            self.record(change);
        }
        Ok(true)
    }

    /// Drops an account if it exists. Says whether anything was done.
    pub fn drop_database_account(&mut self, server: &mut Server, user: &str, host: &str) -> Result<bool> {
        let Some(before) = self.database_account(server, user, host)? else {
            return Ok(false);
        };
        let name = account_name(user, host);
        if self.predicted() {
            self.foresee_account(&name, None);
        } else {
            server.query(&format!("DROP USER {name}"))?;
        }
        let subject = Subject::new(Domain::DatabaseAccount, name);
        let mut change = Change::set(subject, "state", Facet::Text(before.describe()), Facet::Absent);
        change.undo = Undo::None;
        self.record(change);
        Ok(true)
    }

    /// A global variable of the server; nothing where the server has none of that name.
    pub fn database_variable(&self, server: &mut Server, name: &str) -> Result<Option<String>> {
        if let Some(foreseen) = self.foreseen_variable(name) {
            return foreseen;
        }
        let rows = server.query(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name = {}", quote(name)))?;
        let found = rows.rows.first().map(|row| Rows::text(row, 1).to_string());
        self.observe(Domain::DatabaseVariable, name, &format!("{found:?}"));
        Ok(found)
    }

    /// Sets a global variable. `literal` is how SQL writes the value.
    pub fn set_database_variable(
        &mut self,
        server: &mut Server,
        name: &str,
        before: &str,
        value: &str,
        literal: &str,
    ) -> Result<()> {
        if self.predicted() {
            settable(server, name, value)?;
            self.foresee_variable(name, value);
        } else {
            let (before, after) = (before.to_string(), value.to_string());
            self.log(Entry::Variable { name: name.to_string(), before, after });
            server.query(&format!("SET GLOBAL {} = {literal}", identifier(name)))?;
        }
        let facet = |text: &str| Facet::Value(text.into());
        let subject = Subject::new(Domain::DatabaseVariable, name);
        self.record(Change::set(subject, "value", facet(before), facet(value)));
        Ok(())
    }
}

/// In a check: a privilege that the server has never heard of would be refused.
fn known_privileges(server: &mut Server, before: Option<&Account>, after: &Account) -> Result<()> {
    if !server.is_live() {
        return Ok(());
    }
    let wanted = new_privileges(before, after);
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = server.query("SHOW PRIVILEGES")?;
    let known: Vec<String> = rows.rows.iter().map(|row| Rows::text(row, 0).to_string()).collect();
    match unheard_of(&wanted, &known) {
        Some(privilege) => Err(MachineError::failed(format!(
            "cannot set up the account {}: `{privilege}` is no privilege",
            after.name()
        ))),
        None => Ok(()),
    }
}

/// Names of the privileges that an account does not have yet.
fn new_privileges<'a>(before: Option<&Account>, after: &'a Account) -> Vec<&'a str> {
    let had = |level: &str, privilege: &str| {
        before.and_then(|account| account.grants.0.get(level)).is_some_and(|set| set.contains(privilege))
    };
    let levels = after.grants.0.iter();
    let new = levels.flat_map(|(level, set)| set.iter().filter(|privilege| !had(level, privilege)));
    new.map(|privilege| privilege.split(" (").next().unwrap_or(privilege)).collect()
}

/// The first one that is none of those that the server lists.
fn unheard_of<'a>(wanted: &[&'a str], listed: &[String]) -> Option<&'a str> {
    let known: Vec<String> = listed.iter().map(|name| grants::normal_name(&name.to_ascii_uppercase())).collect();
    let heard = |name: &str| name == "ALL" || name == grants::GRANT_OPTION || known.iter().any(|known| known == name);
    wanted.iter().copied().find(|name| !known.is_empty() && !heard(name))
}

/// In a check: whether the server would take the value.
fn settable(server: &mut Server, name: &str, value: &str) -> Result<()> {
    if !server.is_live() {
        return Ok(());
    }
    let rows = server.query(&format!(
        "SELECT READ_ONLY, VARIABLE_TYPE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = {}",
        quote(name)
    ))?;
    let Some(row) = rows.rows.first() else { return Ok(()) };
    match refusal(name, value, Rows::text(row, 0), Rows::text(row, 1)) {
        Some(why) => Err(MachineError::failed(why)),
        None => Ok(()),
    }
}

fn refusal(name: &str, value: &str, read_only: &str, kind: &str) -> Option<String> {
    if read_only == "YES" {
        return Some(format!("Variable '{name}' is a read only variable"));
    }
    let number = kind.contains("INT") || kind == "DOUBLE";
    (number && value.parse::<f64>().is_err()).then(|| format!("Incorrect argument type to variable '{name}'"))
}

/// The text without secrets in it, also as SQL would quote them.
fn without<'a>(text: &str, secrets: impl Iterator<Item = &'a Secret>) -> String {
    let mut text = text.to_string();
    for secret in secrets {
        let quoted = quote(secret.expose());
        text = text.replace(quoted.trim_matches('\''), "********").replace(secret.expose(), "********");
    }
    text
}

#[cfg(test)]
mod tests;
