//! Accounts of the database server: what they are, and the statements that lead from one state to another.

use super::client::{identifier, quote};
use super::grants::Grants;
use crate::machine::MachineError;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One way to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `mysql_native_password`, `unix_socket`, `ed25519` …
    pub plugin: String,
    /// The plugin's string, mostly a hash.
    pub value: Secret,
    /// The value is the password itself, which the server hashes for the plugin.
    #[serde(default)]
    pub clear: bool,
}

/// What the connection must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Require {
    /// Nothing.
    #[default]
    None,
    /// Encrypted.
    Ssl,
    /// With a certificate of a trusted authority.
    X509,
    /// With a certificate of this subject and issuer, over this cipher; empty means any.
    Specified {
        /// `/CN=…`
        subject: String,
        /// `/CN=…`
        issuer: String,
        /// Cipher.
        cipher: String,
    },
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User part of the name.
    pub user: String,
    /// Host part of the name.
    pub host: String,
    /// Ways to log in, any of which is enough.
    pub authentication: Vec<Authentication>,
    /// What the connection must be.
    pub require: Require,
    /// `MAX_QUERIES_PER_HOUR` …; only those that are not 0.
    pub limits: BTreeMap<String, i64>,
    /// Whether it cannot log in.
    pub locked: bool,
    /// Whether its password has been set as expired.
    #[serde(default)]
    pub password_expired: bool,
    /// Privileges.
    pub grants: Grants,
}

/// The limits an account can have, and their names in the server's own record.
pub const LIMITS: [(&str, &str); 5] = [
    ("MAX_QUERIES_PER_HOUR", "max_questions"),
    ("MAX_UPDATES_PER_HOUR", "max_updates"),
    ("MAX_CONNECTIONS_PER_HOUR", "max_connections"),
    ("MAX_USER_CONNECTIONS", "max_user_connections"),
    ("MAX_STATEMENT_TIME", "max_statement_time"),
];

impl Account {
    /// An account that does not exist yet: no password, no rights.
    pub fn new(user: &str, host: &str) -> Account {
        Account { user: user.into(), host: host.into(), ..Account::default() }
    }

    /// `'app'@'10.0.0.%'`
    pub fn name(&self) -> String {
        account_name(&self.user, &self.host)
    }

    /// Reads the server's record of an account (`mysql.global_priv`) and its `SHOW GRANTS`.
    pub(super) fn read(user: &str, host: &str, record: &str, grants: &[String]) -> Result<Account, MachineError> {
        let bad = |why: String| {
            MachineError::failed(format!(
                "the server's record of {} is not understood: {why}",
                account_name(user, host)
            ))
        };
        let record: Value = serde_json::from_str(record).map_err(|e| bad(e.to_string()))?;
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_string();
        let number = |key: &str| record.get(key).and_then(Value::as_f64).unwrap_or(0.0) as i64;
        let mut account = Account::new(user, host);
        let way = |value: &Value| Authentication {
            plugin: match text(value, "plugin") {
                plugin if plugin.is_empty() => "mysql_native_password".into(),
                plugin => plugin,
            },
            value: Secret::new(text(value, "authentication_string")),
            clear: false,
        };
        account.authentication = match record.get("auth_or").and_then(Value::as_array) {
            // An empty entry stands for the record's own plugin.
            Some(ways) => ways
                .iter()
                .map(|w| way(if w.as_object().is_some_and(|o| o.is_empty()) { &record } else { w }))
                .collect(),
            None => vec![way(&record)],
        };
        account.require = match number("ssl_type") {
            1 => Require::Ssl,
            2 => Require::X509,
            3 => Require::Specified {
                subject: text(&record, "x509_subject"),
                issuer: text(&record, "x509_issuer"),
                cipher: text(&record, "ssl_cipher"),
            },
            _ => Require::None,
        };
        for (name, key) in LIMITS {
            if number(key) != 0 {
                account.limits.insert(name.into(), number(key));
            }
        }
        account.locked = record.get("account_locked").and_then(Value::as_bool).unwrap_or(false);
        account.password_expired =
            number("password_last_changed") == 0 && record.get("password_last_changed").is_some();
        for line in grants {
            account.grants.add_shown(line).map_err(bad)?;
        }
        account.grants = account.grants.simplified().trimmed();
        Ok(account)
    }

    /// Everything about it that is no secret, for diffs.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let ways: Vec<String> = self
            .authentication
            .iter()
            .filter(|way| !(way.plugin == "mysql_native_password" && way.value.expose() == "invalid"))
            .map(|way| match (way.plugin.as_str(), way.value.is_empty()) {
                ("mysql_native_password", true) => "no password".into(),
                ("mysql_native_password", false) => format!("password ({})", fingerprint(&way.value)),
                (plugin, true) => plugin.to_string(),
                (plugin, false) => format!("{plugin} ({})", fingerprint(&way.value)),
            })
            .collect();
        let ways = if ways.is_empty() { "no password".to_string() } else { ways.join(" or ") };
        text.push_str(&format!("login: {ways}\n"));
        if let Some(require) = self.require.clause() {
            text.push_str(&format!("REQUIRE {require}\n"));
        }
        for (name, value) in &self.limits {
            text.push_str(&format!("{name} {value}\n"));
        }
        if self.locked {
            text.push_str("ACCOUNT LOCK\n");
        }
        text + &self.grants.describe()
    }

    /// Everything about it, secrets too, to be told apart from another state by its digest. When its password was changed is
    /// left out: that it was the same again is no other state.
    pub(super) fn state(&self) -> String {
        let ways: Vec<String> =
            self.authentication.iter().map(|way| format!("{} {}", way.plugin, way.value.expose())).collect();
        format!("{}{}\n{}", self.describe(), self.password_expired, ways.join("\n"))
    }

    /// The statements that lead from `before` to this.
    pub(super) fn statements_from(&self, before: Option<&Account>) -> Vec<String> {
        let name = self.name();
        let mut options = String::new();
        let empty = Account::new(&self.user, &self.host);
        let old = before.unwrap_or(&empty);
        if self.authentication != old.authentication {
            options.push_str(&identified(&self.authentication));
        }
        if self.require != old.require {
            options.push_str(" REQUIRE ");
            options.push_str(&self.require.clause().unwrap_or_else(|| "NONE".into()));
        }
        let mut limits: Vec<String> = Vec::new();
        for (limit, _) in LIMITS {
            let (was, is) = (old.limits.get(limit), self.limits.get(limit));
            if was != is {
                limits.push(format!("{limit} {}", is.copied().unwrap_or(0)));
            }
        }
        if !limits.is_empty() {
            options.push_str(" WITH ");
            options.push_str(&limits.join(" "));
        }
        if self.locked != old.locked {
            options.push_str(if self.locked { " ACCOUNT LOCK" } else { " ACCOUNT UNLOCK" });
        }
        if self.password_expired && !old.password_expired {
            options.push_str(" PASSWORD EXPIRE");
        }
        let mut statements = Vec::new();
        match before {
            None => statements.push(format!("CREATE USER {name}{options}")),
            Some(_) if !options.is_empty() => statements.push(format!("ALTER USER {name}{options}")),
            Some(_) => {}
        }
        statements.extend(old.grants.statements_to(&self.grants, &name));
        statements
    }

    /// What must not be in an error.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.authentication.iter().map(|way| &way.value).filter(|value| !value.is_empty())
    }
}

/// `'app'@'10.0.0.%'`
pub fn account_name(user: &str, host: &str) -> String {
    format!("{}@{}", quote(user), quote(host))
}

fn identified(ways: &[Authentication]) -> String {
    let clauses: Vec<String> = ways
        .iter()
        .map(|way| {
            // A plugin's name is an identifier; it comes from the task.
            let plugin = if way.plugin.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                way.plugin.clone()
            } else {
                identifier(&way.plugin)
            };
            match (way.value.is_empty(), way.clear) {
                (true, _) => plugin,
                (false, true) => format!("{plugin} USING PASSWORD({})", quote(way.value.expose())),
                (false, false) => format!("{plugin} USING {}", quote(way.value.expose())),
            }
        })
        .collect();
    match ways {
        [] => String::new(),
        _ => format!(" IDENTIFIED VIA {}", clauses.join(" OR ")),
    }
}

/// A short mark that differs when a secret differs.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    let digest = Sha256::digest(Sha256::digest(secret.expose().as_bytes()));
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

impl Require {
    /// What stands behind `REQUIRE`; nothing where nothing is required.
    pub fn clause(&self) -> Option<String> {
        match self {
            Require::None => None,
            Require::Ssl => Some("SSL".into()),
            Require::X509 => Some("X509".into()),
            Require::Specified { subject, issuer, cipher } => {
                let parts: Vec<String> = [("SUBJECT", subject), ("ISSUER", issuer), ("CIPHER", cipher)]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| format!("{name} {}", quote(value)))
                    .collect();
                Some(parts.join(" AND "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"access":274879086912,"version_id":110806,"plugin":"mysql_native_password",
        "authentication_string":"*B69027D44F6E5EDC07F1AEAD1477967B16F28227","ssl_type":3,"ssl_cipher":"",
        "x509_issuer":"/CN=i","x509_subject":"/CN=a/O=b c","max_questions":4,"password_last_changed":1795313765,
        "account_locked":true}"#;

    #[test]
    fn the_servers_record_is_read() {
        let account = Account::read("a", "%", RECORD, &["GRANT USAGE ON *.* TO `a`@`%`".into()]).unwrap();
        assert_eq!(account.authentication[0].plugin, "mysql_native_password");
        assert_eq!(account.require.clause().unwrap(), "SUBJECT '/CN=a/O=b c' AND ISSUER '/CN=i'");
        assert_eq!(account.limits["MAX_QUERIES_PER_HOUR"], 4);
        assert!(account.locked && account.grants.is_empty());
        assert!(!account.describe().contains("B69027"), "{}", account.describe());
        assert!(account.statements_from(Some(&account)).is_empty());

        let root = r#"{"access":18446744073709551615,"plugin":"mysql_native_password","authentication_string":"invalid",
            "auth_or":[{},{"plugin":"unix_socket"}]}"#;
        let root = Account::read("root", "localhost", root, &[]).unwrap();
        assert_eq!(root.authentication.len(), 2);
        assert_eq!(root.describe(), "login: unix_socket\n");
    }

    #[test]
    fn statements_create_and_alter() {
        let old = Account::read("a", "%", RECORD, &[]).unwrap();
        let mut new = old.clone();
        new.require = Require::None;
        new.locked = false;
        new.limits.clear();
        new.authentication = vec![Authentication { plugin: "ed25519".into(), value: Secret::new("it's"), clear: true }];
        assert_eq!(
            new.statements_from(Some(&old)),
            ["ALTER USER 'a'@'%' IDENTIFIED VIA ed25519 USING PASSWORD('it''s') REQUIRE NONE WITH \
              MAX_QUERIES_PER_HOUR 0 ACCOUNT UNLOCK"]
        );
        let mut fresh = Account::new("b", "10.0.0.%");
        fresh.require = Require::X509;
        fresh.grants = Grants::parse("app.*:ALL", true).unwrap();
        assert_eq!(
            fresh.statements_from(None),
            ["CREATE USER 'b'@'10.0.0.%' REQUIRE X509", "GRANT ALL ON `app`.* TO 'b'@'10.0.0.%'"]
        );
    }
}
