//! `mysql_user`: accounts of the database server, their passwords, requirements and privileges.

use super::login::Password;
use crate::machine::Machine;
use crate::machine::sql::{
    Account, Authentication, Grants, LIMITS, Login, Require, Server, account_name, is_native_hash, native_hash, quote,
};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use crate::secret::Secret;
use serde_json::{Map, Value};

/// `community.mysql.mysql_user`
pub const MYSQL_USER: Module = Module {
    name: "community.mysql.mysql_user",
    aliases: &["mysql_user", "ansible.mysql.mysql_user"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: User::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Makes, changes or removes an account of the database server (MariaDB 10.4 or newer).
    ///
    /// Passwords are hashed before they are sent, so that the server's logs never hold them.
    pub struct User {
        /// User part of the account's name. Empty is the anonymous user.
        #[serde(alias = "user")]
        pub name: Text,
        /// Host part of the account's name. `localhost` when not given.
        pub host: Option<Text>,
        /// Change or remove all accounts of this user, whatever their host.
        #[serde(default)]
        pub host_all: Flag,
        /// The account's password.
        pub password: Option<Password>,
        /// `password` is the hash that the server keeps: `*` and 40 hexadecimal digits.
        #[serde(default)]
        pub encrypted: Flag,
        /// When a password is set: `always` (when it differs), `on_create` (only for new accounts), `on_new_username`
        /// (only when no account of this user exists; else the existing one's is taken over).
        pub update_password: Option<Text>,
        /// Privileges: `db.table:PRIV,PRIV/db2.*:ALL,GRANT`, or a mapping of levels to privileges. They replace what
        /// the account has, unless `append_privs` or `subtract_privs` is set. Without it privileges stay as they are.
        pub r#priv: Option<Value>,
        /// Add `priv` to what the account has.
        #[serde(default)]
        pub append_privs: Flag,
        /// Take `priv` from what the account has.
        #[serde(default)]
        pub subtract_privs: Flag,
        /// Whether columns in `priv` are compared with regard to case. Yes when not given.
        pub column_case_sensitive: Option<Flag>,
        /// What its connections must be: a mapping with `SSL` (encrypted), `X509` (any certificate of a trusted
        /// authority), or `SUBJECT`, `ISSUER`, `CIPHER` and their values. Without it nothing is required: a
        /// requirement that the account has is removed, as Ansible does.
        pub tls_requires: Option<Map<String, Value>>,
        /// Plugin that authenticates the account: `unix_socket`, `ed25519`, `pam` …
        pub plugin: Option<Text>,
        /// The plugin's string as the server keeps it.
        pub plugin_hash_string: Option<Password>,
        /// The plugin's string in clear, hashed by the server. Where the hash cannot be compared the account is
        /// changed each time.
        pub plugin_auth_string: Option<Password>,
        /// `MAX_QUERIES_PER_HOUR`, `MAX_UPDATES_PER_HOUR`, `MAX_CONNECTIONS_PER_HOUR`, `MAX_USER_CONNECTIONS`.
        pub resource_limits: Option<Map<String, Value>>,
        /// Whether the account cannot log in.
        pub locked: Option<Flag>,
        /// `present` or `absent`.
        pub state: Option<Text>,
        /// Try to log in as root without a password first.
        #[serde(default)]
        pub check_implicit_admin: Flag,
        /// Whether the statements go to the binary log.
        pub sql_log_bin: Option<Flag>,
        /// Start in the database `mysql`, for replication filters.
        #[serde(default, alias = "db_context")]
        pub force_context: Flag,
        /// Session variables to set first.
        pub session_vars: Option<Map<String, Value>>,
    }
}

/// When a password is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    Always,
    OnCreate,
    OnNewUsername,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: User = decode(arguments)?;
    let update = match arguments.update_password.as_deref().unwrap_or("always") {
        "always" => Update::Always,
        "on_create" => Update::OnCreate,
        "on_new_username" => Update::OnNewUsername,
        other => {
            let why = format!("`{other}` is unknown: write always, on_create or on_new_username");
            return Err(ModuleError::argument("update_password", why));
        }
    };
    if arguments.append_privs.0 && arguments.subtract_privs.0 {
        return Err(ModuleError::Failed("give append_privs or subtract_privs, not both".into()));
    }
    let require = requirement(arguments.tls_requires.as_ref())?;
    let grants = arguments.r#priv.as_ref().map(|value| privileges(value, &arguments)).transpose()?;
    let limits = arguments.resource_limits.as_ref().map(resource_limits).transpose()?;

    let mut server = log_in(machine, arguments.login(), arguments.check_implicit_admin.0)?;
    if !server.is_mariadb() {
        return Err(ModuleError::Failed(format!(
            "the server is {}, and accounts are managed on MariaDB only",
            server.version().unwrap_or("unknown")
        )));
    }
    if arguments.sql_log_bin == Some(Flag(false)) {
        machine.sql_session(&mut server, "SET SESSION sql_log_bin = 0")?;
    }
    if arguments.force_context.0 {
        machine.sql_session(&mut server, "USE mysql")?;
    }
    set_session(machine, &mut server, arguments.session_vars.as_ref())?;

    let user = arguments.name.0.as_str();
    let existing = machine.database_account_hosts(&mut server, user)?;
    let hosts = if arguments.host_all.0 {
        existing.clone()
    } else {
        vec![arguments.host.as_ref().map_or_else(|| "localhost".into(), |host| host.0.to_lowercase())]
    };
    match arguments.state.as_deref().unwrap_or("present") {
        "absent" => {
            for host in &hosts {
                machine.drop_database_account(&mut server, user, host)?;
            }
            let changed = machine.changed();
            return Ok(said(user, if changed { "User deleted" } else { "User doesn't exist" }));
        }
        "present" => {}
        other => {
            return Err(ModuleError::argument("state", format!("`{other}` is unknown: write present or absent")));
        }
    }
    if hosts.is_empty() {
        return Err(ModuleError::Failed(format!(
            "there is no account of the user `{user}`, and host_all cannot make one: give `host`"
        )));
    }

    let mut outcome = Outcome::ok();
    let (mut created, mut password_changed) = (false, false);
    for host in &hosts {
        let before = machine.database_account(&mut server, user, host)?;
        let mut after = before.clone().unwrap_or_else(|| Account::new(user, host));
        created |= before.is_none();
        let reused = match (update, &before) {
            (Update::OnNewUsername, None) => existing_login(machine, &mut server, user, &existing)?,
            _ => None,
        };
        match reused {
            Some(login) => after.authentication = login,
            None if before.is_none() || update == Update::Always => {
                after.authentication = authentication(&arguments, &after.authentication, &mut outcome)?;
                password_changed |= before.as_ref().is_none_or(|b| b.authentication != after.authentication)
                    && !after.authentication.is_empty();
            }
            None => {}
        }
        if let Some(wanted) = &grants {
            after.grants = combined(user, &after.grants, wanted, &arguments);
        }
        if before.is_some() && after.require != Require::None && arguments.tls_requires.is_none() {
            outcome.warnings.push(format!(
                "{} no longer needs {}, because the task gives no tls_requires",
                account_name(user, host),
                after.require.clause().unwrap_or_default()
            ));
        }
        after.require = require.clone();
        for (name, value) in limits.iter().flatten() {
            match value {
                0 => after.limits.remove(*name),
                value => after.limits.insert((*name).to_string(), *value),
            };
        }
        if let Some(locked) = arguments.locked {
            after.locked = locked.0;
        }
        machine.set_database_account(&mut server, before.as_ref(), &after)?;
    }
    let what = match (created, machine.changed()) {
        (true, _) => "User added",
        (false, true) => "User updated",
        (false, false) => "User unchanged",
    };
    // What Ansible's module says: of a new account a check does not tell, and of one that was there the attributes, none.
    let mut done = match created {
        true if machine.predicted() => said(user, what).with("password_changed", Value::Null),
        true => said(user, what).with("password_changed", password_changed),
        false => said(user, what).with("password_changed", password_changed).with("attributes", Map::new()),
    };
    done.warnings = outcome.warnings;
    Ok(done)
}

fn said(user: &str, msg: &str) -> Outcome {
    // Only MySQL keeps attributes with an account.
    let mut outcome = Outcome::ok().with("user", user).with("password_changed", false).with("attributes", Value::Null);
    outcome.msg = Some(msg.into());
    outcome
}

/// Logs in; with `implicit`, as root without a password where that is possible.
pub(super) fn log_in(machine: &Machine, login: Login, implicit: bool) -> Result<Server, ModuleError> {
    if implicit {
        let root = Login {
            user: Some("root".into()),
            password: Some(Secret::default()),
            config_file: Some(String::new()),
            ..login.clone()
        };
        if let Ok(server) = machine.sql_try(&root)? {
            return Ok(server);
        }
    }
    Ok(machine.sql(&login)?)
}

/// Sets session variables as the task says.
pub(super) fn set_session(
    machine: &Machine,
    server: &mut Server,
    variables: Option<&Map<String, Value>>,
) -> Result<(), ModuleError> {
    for (name, value) in variables.into_iter().flatten() {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(ModuleError::argument("session_vars", format!("`{name}` is no name of a variable")));
        }
        let literal = match value {
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => i32::from(*flag).to_string(),
            Value::String(text) => quote(text),
            _ => return Err(ModuleError::argument("session_vars", format!("the value of `{name}` must be simple"))),
        };
        machine.sql_session(server, &format!("SET SESSION {name} = {literal}"))?;
    }
    Ok(())
}

/// The ways to log in that the task wants, in view of those there are.
fn authentication(
    arguments: &User,
    current: &[Authentication],
    outcome: &mut Outcome,
) -> Result<Vec<Authentication>, ModuleError> {
    const NATIVE: &str = "mysql_native_password";
    let way = |plugin: &str, value: Secret, clear| Authentication { plugin: plugin.into(), value, clear };
    if let Some(Password(password)) = arguments.password.as_ref().filter(|password| !password.0.is_empty()) {
        let hash = if arguments.encrypted.0 {
            if !is_native_hash(password.expose()) {
                let why = "with `encrypted` it must be the server's hash: `*` and 40 hexadecimal digits";
                return Err(ModuleError::argument("password", why));
            }
            password.expose().to_ascii_uppercase()
        } else {
            native_hash(password)
        };
        if current.iter().any(|way| way.plugin == NATIVE && way.value.expose().eq_ignore_ascii_case(&hash)) {
            return Ok(current.to_vec());
        }
        return Ok(vec![way(NATIVE, Secret::new(hash), false)]);
    }
    let Some(plugin) = arguments.plugin.as_ref().map(|text| text.0.as_str()) else {
        return Ok(current.to_vec());
    };
    let same = current.iter().find(|way| way.plugin == plugin);
    if let Some(Password(hash)) = &arguments.plugin_hash_string {
        return Ok(match same {
            Some(found) if found.value == *hash => current.to_vec(),
            _ => vec![way(plugin, hash.clone(), false)],
        });
    }
    if let Some(Password(string)) = &arguments.plugin_auth_string {
        // What the plugin takes as it is can be compared, and so can what we can hash ourselves.
        let (value, clear) = match plugin {
            NATIVE => (Secret::new(native_hash(string)), false),
            "pam" | "unix_socket" | "gssapi" | "named_pipe" => (string.clone(), false),
            _ => (string.clone(), true),
        };
        if !clear && same.is_some_and(|found| found.value == value) {
            return Ok(current.to_vec());
        }
        if clear && same.is_some() {
            outcome.warnings.push(format!(
                "whether the string of `{plugin}` differs cannot be told, so it is set each time; give \
                 plugin_hash_string, or update_password: on_create"
            ));
        }
        return Ok(vec![way(plugin, value, clear)]);
    }
    Ok(match same {
        Some(_) => current.to_vec(),
        None => vec![way(plugin, Secret::default(), false)],
    })
}

/// How the other accounts of this user log in, when they all do it the same way.
fn existing_login(
    machine: &Machine,
    server: &mut Server,
    user: &str,
    hosts: &[String],
) -> Result<Option<Vec<Authentication>>, ModuleError> {
    let mut found: Option<Vec<Authentication>> = None;
    for host in hosts {
        if let Some(account) = machine.database_account(server, user, host)? {
            match &found {
                Some(login) if *login != account.authentication => return Ok(None),
                _ => found = Some(account.authentication),
            }
        }
    }
    Ok(found)
}

/// The privileges of the argument.
fn privileges(value: &Value, arguments: &User) -> Result<Grants, ModuleError> {
    let sensitive = arguments.column_case_sensitive.is_none_or(|flag| flag.0);
    let bad = |why: String| ModuleError::argument("priv", why);
    match value {
        Value::String(text) if text.trim().is_empty() => Ok(Grants::default()),
        Value::String(text) => Grants::parse(text, sensitive).map_err(bad),
        Value::Object(levels) => {
            let mut grants = Grants::default();
            for (level, list) in levels {
                let list = match list {
                    Value::String(text) => text.clone(),
                    Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
                    _ => return Err(bad(format!("the privileges on `{level}` must be text"))),
                };
                grants.add(level, &list, sensitive).map_err(bad)?;
            }
            Ok(grants)
        }
        _ => Err(bad("must be text or a mapping of levels to privileges".into())),
    }
}

/// What the account may do afterwards.
fn combined(user: &str, current: &Grants, wanted: &Grants, arguments: &User) -> Grants {
    let current = match arguments.column_case_sensitive {
        Some(Flag(false)) => lower_columns(current),
        _ => current.clone(),
    };
    let wanted = wanted.clone().simplified().trimmed();
    if arguments.append_privs.0 {
        return current.plus(&wanted);
    }
    if arguments.subtract_privs.0 {
        return current.minus(&wanted);
    }
    if user == "root" {
        // As Ansible does: root loses nothing on levels that the task does not name.
        let mut grants = current;
        grants.0.extend(wanted.0);
        return grants;
    }
    wanted
}

fn lower_columns(grants: &Grants) -> Grants {
    let lower = |privilege: &String| match privilege.split_once(" (") {
        Some((name, columns)) => format!("{name} ({}", columns.to_lowercase()),
        None => privilege.clone(),
    };
    Grants(grants.0.iter().map(|(level, set)| (level.clone(), set.iter().map(lower).collect())).collect())
}

/// What `tls_requires` says.
fn requirement(given: Option<&Map<String, Value>>) -> Result<Require, ModuleError> {
    let (mut ssl, mut x509) = (false, false);
    let (mut subject, mut issuer, mut cipher) = (String::new(), String::new(), String::new());
    for (key, value) in given.into_iter().flatten() {
        let text = || match value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(ModuleError::argument("tls_requires", format!("`{key}` needs a value"))),
        };
        match key.to_ascii_uppercase().as_str() {
            "SSL" => ssl = true,
            "X509" => x509 = true,
            "SUBJECT" => subject = text()?,
            "ISSUER" => issuer = text()?,
            "CIPHER" => cipher = text()?,
            _ => {
                let why = format!("`{key}` is unknown: write SSL, X509, SUBJECT, ISSUER or CIPHER");
                return Err(ModuleError::argument("tls_requires", why));
            }
        }
    }
    Ok(if !(subject.is_empty() && issuer.is_empty() && cipher.is_empty()) {
        Require::Specified { subject, issuer, cipher }
    } else if x509 {
        Require::X509
    } else if ssl {
        Require::Ssl
    } else {
        Require::None
    })
}

/// What `resource_limits` says, under the server's names.
fn resource_limits(given: &Map<String, Value>) -> Result<Vec<(&'static str, i64)>, ModuleError> {
    given
        .iter()
        .map(|(key, value)| {
            let bad = |why: String| ModuleError::argument("resource_limits", why);
            let name = LIMITS.iter().map(|(name, _)| *name).find(|name| name.eq_ignore_ascii_case(key));
            let name = name.ok_or_else(|| {
                let names: Vec<&str> = LIMITS.iter().map(|(name, _)| *name).collect();
                bad(format!("`{key}` is unknown: there are {}", names.join(", ")))
            })?;
            let number: Int =
                serde_json::from_value(value.clone()).map_err(|_| bad(format!("`{key}` must be a whole number")))?;
            Ok((name, number.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(value: Value) -> User {
        decode(value.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn requirements() {
        for (given, expected) in [
            (json!({}), None),
            (json!({"ssl": null}), Some("SSL")),
            (json!({"X509": null, "SSL": null}), Some("X509")),
            (json!({"subject": "/CN=app", "x509": null}), Some("SUBJECT '/CN=app'")),
            (json!({"Issuer": "/CN=ca", "CIPHER": "X"}), Some("ISSUER '/CN=ca' AND CIPHER 'X'")),
        ] {
            let require = requirement(given.as_object()).unwrap();
            assert_eq!(require.clause().as_deref(), expected, "{given}");
        }
        assert!(requirement(json!({"subject": null}).as_object()).is_err());
        assert!(requirement(json!({"tls": null}).as_object()).is_err());
    }

    #[test]
    fn a_password_is_changed_only_when_it_differs() {
        let arguments = user(json!({"name": "a", "password": 12345}));
        let mut outcome = Outcome::ok();
        let first = authentication(&arguments, &[], &mut outcome).unwrap();
        assert_eq!(first[0].value.expose(), native_hash(&Secret::new("12345")));
        assert_eq!(authentication(&arguments, &first, &mut outcome).unwrap(), first);
        let bad = user(json!({"name": "a", "password": "hunter2", "encrypted": true}));
        let error = authentication(&bad, &[], &mut outcome).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn plugins() {
        let mut outcome = Outcome::ok();
        let socket = user(json!({"name": "a", "plugin": "unix_socket"}));
        let way = authentication(&socket, &[], &mut outcome).unwrap();
        assert_eq!((way.len(), way[0].plugin.as_str()), (1, "unix_socket"));
        assert_eq!(authentication(&socket, &way, &mut outcome).unwrap(), way);
        let ed = user(json!({"name": "a", "plugin": "ed25519", "plugin_auth_string": "s"}));
        let way = authentication(&ed, &[], &mut outcome).unwrap();
        assert!(way[0].clear && outcome.warnings.is_empty());
        authentication(&ed, &way, &mut outcome).unwrap();
        assert_eq!(outcome.warnings.len(), 1);
    }

    #[test]
    fn privileges_replace_add_and_take() {
        let parse = |text: &str| Grants::parse(text, true).unwrap().trimmed();
        let current = parse("*.*:PROCESS/a.*:SELECT");
        for (arguments, name, expected) in [
            (json!({}), "u", "a.*:INSERT"),
            (json!({"append_privs": true}), "u", "*.*:PROCESS/a.*:SELECT,INSERT"),
            (json!({"subtract_privs": true}), "u", "*.*:PROCESS/a.*:SELECT"),
            (json!({}), "root", "*.*:PROCESS/a.*:INSERT"),
        ] {
            let mut given = arguments.as_object().unwrap().clone();
            given.insert("name".into(), name.into());
            let arguments = user(Value::Object(given));
            assert_eq!(combined(name, &current, &parse("a.*:INSERT"), &arguments), parse(expected));
        }
        let mapping = privileges(&json!({"db1.*": "ALL,GRANT", "*.*": ["PROCESS"]}), &user(json!({"name": "a"})));
        assert_eq!(mapping.unwrap(), parse("db1.*:ALL,GRANT/*.*:PROCESS"));
    }
}
