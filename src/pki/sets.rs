//! What the inventory says about a host's certificates: the variable `pki_sets`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Lifetime, PkiError, Profile};

/// One set: certificate, key and trusted authorities in one directory, renewed together.
#[derive(Debug, Clone, Deserialize)]
pub struct SetSpec {
    /// What it is called.
    pub name: String,
    /// The authority that signs it; empty where its files are given.
    #[serde(default)]
    pub authority: String,
    /// Its certificate is given as a file, and no authority of the store stands for it.
    pub cert_src: Option<String>,
    /// What it is for.
    #[serde(deserialize_with = "word")]
    pub profile: Profile,
    /// The directory that holds all its generations; `current` in it is the one in force.
    pub path: String,
    /// Where it is served.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// How what serves it reads it anew.
    #[serde(default)]
    pub reload: Value,
    /// Renewed this long before its end, where that is not after two thirds of its life.
    #[serde(default, deserialize_with = "lifetime")]
    pub renew_before: Option<Lifetime>,
    /// Due up to so much earlier (`pki_jitter`).
    #[serde(skip)]
    pub jitter: Option<Lifetime>,
    /// Which cluster that part is for: [`super::cluster_seed`].
    #[serde(skip)]
    pub cluster: u64,
    /// File name of the certificate.
    #[serde(default = "cert_name")]
    pub cert_name: String,
    /// File name of the private key.
    #[serde(default = "key_name")]
    pub key_name: String,
    /// File name of the trusted authorities.
    #[serde(default = "ca_name")]
    pub ca_name: String,
}

fn cert_name() -> String {
    "cert.pem".into()
}

fn key_name() -> String {
    "key.pem".into()
}

fn ca_name() -> String {
    "ca.pem".into()
}

/// A port on which a set is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    #[serde(deserialize_with = "number")]
    pub port: u16,
    /// What is spoken before TLS.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What is spoken on a port before TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Nothing.
    #[default]
    Tls,
    /// The greeting of MariaDB and MySQL.
    Mysql,
}

/// A number, also as templates give it: as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no port")))
}

fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Profile, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|error: PkiError| serde::de::Error::custom(error.to_string()))
}

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lifetime>, D::Error> {
    let parse = |text: String| text.parse().map_err(|error: PkiError| serde::de::Error::custom(error.to_string()));
    Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// What a set may say; what [`SetSpec`] does not hold is for the playbooks.
const KEYS: [&str; 28] = [
    "name",
    "authority",
    "cert_src",
    "key_src",
    "ca_src",
    "profile",
    "path",
    "ports",
    "reload",
    "renew_before",
    "lifetime",
    "key_type",
    "trust",
    "common_name",
    "dns",
    "ip",
    "cert_name",
    "key_name",
    "ca_name",
    "combined_name",
    "owner",
    "group",
    "directory_mode",
    "mode",
    "key_owner",
    "key_group",
    "key_mode",
    "readable_by",
];

/// Refuses a key that nobody reads: a misspelt `renew_before` would be no margin.
fn known_keys<'a>(map: &Map<String, Value>, known: impl Iterator<Item = &'a str> + Clone) -> Result<(), String> {
    let Some(key) = map.keys().find(|key| !known.clone().any(|one| one == key.as_str())) else { return Ok(()) };
    let names: Vec<&str> = known.collect();
    Err(match near(key, &names) {
        Some(near) => format!("there is no `{key}`; did you mean `{near}`?"),
        None => format!("there is no `{key}`; known are {}", names.join(", ")),
    })
}

fn near<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let found = crate::source::did_you_mean(word, names.iter().copied())?.to_string();
    names.iter().find(|name| **name == found).copied()
}

/// How a set is read anew must be something that is done; nothing at all is what an application wants.
fn check_reload(reload: &Value) -> Result<(), String> {
    const HOW: &str = "write galera, none, {service: NAME, state: reloaded or restarted}, or {command: [...]}";
    let wrong = |word: &str, names: &[&str]| {
        let hint = near(word, names).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        Err(format!("`reload` is {word}: {hint}{HOW}"))
    };
    match reload {
        Value::Null => Ok(()),
        Value::String(word) if word == "galera" || word == "none" => Ok(()),
        Value::String(word) => wrong(word, &["galera", "none"]),
        Value::Object(how) => {
            known_keys(how, ["service", "state", "command"].into_iter()).map_err(|why| format!("`reload`: {why}"))?;
            match (how.get("service"), how.get("command"), how.get("state")) {
                (Some(Value::String(name)), None, None) if !name.is_empty() => Ok(()),
                (Some(Value::String(name)), None, Some(Value::String(state))) if !name.is_empty() => {
                    match state.as_str() {
                        "reloaded" | "restarted" => Ok(()),
                        other => {
                            let hint = near(other, &["reloaded", "restarted"]);
                            let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                            Err(format!("`reload`: `state` is {other}, and may be reloaded or restarted{hint}"))
                        }
                    }
                }
                (None, Some(Value::Array(words)), None)
                    if !words.is_empty() && words.iter().all(|word| !word.is_object() && !word.is_array()) =>
                {
                    Ok(())
                }
                _ => Err(format!("`reload` is {reload}: {HOW}")),
            }
        }
        other => Err(format!("`reload` is {other}: {HOW}")),
    }
}

impl SetSpec {
    /// Reads `pki_sets`; what it says beside the above is for the playbooks.
    pub fn list(value: &Value) -> Result<Vec<SetSpec>, String> {
        let items = value.as_array().ok_or_else(|| format!("pki_sets is {value}, and should be a list of sets"))?;
        let read = |(number, item): (usize, &Value)| {
            let wrong = |why: String| {
                let name = item.get("name").and_then(Value::as_str).map(|name| format!(" ({name})"));
                format!("pki_sets, entry {}{}: {why}", number + 1, name.unwrap_or_default())
            };
            if let Value::Object(map) = item {
                known_keys(map, KEYS.into_iter()).map_err(wrong)?;
            }
            let spec = SetSpec::deserialize(item).map_err(|error| wrong(error.to_string()))?;
            check_reload(&spec.reload).map_err(wrong)?;
            for name in ["dns", "ip", "trust", "readable_by"] {
                if item.get(name).is_some_and(Value::is_object) {
                    return Err(wrong(format!("`{name}` is a mapping, and should be a list of names")));
                }
            }
            match (spec.authority.is_empty(), spec.is_given()) {
                (true, false) => Err(wrong("missing field `authority`, or `cert_src` for files of your own".into())),
                (false, true) => Err(wrong("`authority` signs, `cert_src` was signed elsewhere: leave one out".into())),
                _ => Ok(spec),
            }
        };
        items.iter().enumerate().map(read).collect()
    }

    /// Whether its files come from elsewhere.
    pub fn is_given(&self) -> bool {
        self.cert_src.is_some()
    }

    /// How its server reads it anew, in words for people.
    pub fn reload_words(&self) -> String {
        match &self.reload {
            Value::String(word) if word == "galera" => "FLUSH LOCAL SSL".into(),
            Value::Object(how) => match (how.get("service"), how.get("command")) {
                (Some(Value::String(service)), _) => {
                    let verb = how.get("state").and_then(Value::as_str).unwrap_or("reloaded");
                    format!("systemctl {} {service}", verb.trim_end_matches("ed"))
                }
                (_, Some(Value::Array(words))) => {
                    words.iter().map(|word| word.as_str().unwrap_or("?")).collect::<Vec<_>>().join(" ")
                }
                (_, Some(Value::String(command))) => command.clone(),
                _ => "reload what serves it".into(),
            },
            _ => "reload what serves it".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_are_read_as_the_inventory_writes_them() {
        let sets = json!([
            {"name": "server", "authority": "client", "profile": "server", "path": "/s", "owner": "root",
             "ports": [{"port": 3306, "protocol": "mysql"}, {"port": "4567"}], "reload": "galera"},
            {"name": "garb", "authority": "cluster", "profile": "cluster", "path": "/g", "renew_before": "5d",
             "reload": {"service": "garb", "state": "restarted"}},
        ]);
        let read = SetSpec::list(&sets).unwrap();
        assert_eq!(read[0].ports[1], Port { port: 4567, protocol: Protocol::Tls });
        assert_eq!((read[0].ports[0].protocol, read[0].cert_name.as_str()), (Protocol::Mysql, "cert.pem"));
        assert_eq!(read[1].renew_before, Some(Lifetime::days(5)));
        assert_eq!(read[0].reload_words(), "FLUSH LOCAL SSL");
        assert_eq!(read[1].reload_words(), "systemctl restart garb");
        let given = json!([{"name": "lb", "cert_src": "/lb.crt", "profile": "server", "path": "/d"}]);
        assert!(SetSpec::list(&given).unwrap()[0].is_given());
        for (reload, why) in [
            (json!("galera"), ""),
            (json!("none"), ""),
            (Value::Null, ""),
            (json!({"service": "haproxy"}), ""),
            (json!({"service": "garb", "state": "restarted"}), ""),
            (json!({"command": ["valkey-cli", "-p", 6379]}), ""),
            (json!("galrea"), "`reload` is galrea: did you mean `galera`?"),
            (json!("restart"), "`reload` is restart: write galera, none, {service"),
            (json!({"servce": "haproxy"}), "`reload`: there is no `servce`; did you mean `service`?"),
            (
                json!({"service": "haproxy", "state": "restart"}),
                "may be reloaded or restarted; did you mean `restarted`?",
            ),
            (json!({"state": "restarted"}), "write galera, none"),
            (json!({"service": "a", "command": ["b"]}), "write galera, none"),
            (json!({"command": "systemctl reload x"}), "{command: [...]}"),
            (json!({"command": []}), "{command: [...]}"),
            (json!(["galera"]), "write galera"),
        ] {
            let set = json!([{"name": "a", "authority": "b", "profile": "client", "path": "/d", "reload": reload}]);
            match SetSpec::list(&set) {
                Ok(_) => assert_eq!(why, "", "{reload}"),
                Err(error) => assert!(!why.is_empty() && error.contains(why), "{reload}: {error}"),
            }
        }
        for (sets, why) in [
            (
                json!([{"name": "a", "authority": "b", "cert_src": "c", "profile": "client", "path": "/d"}]),
                "leave one out",
            ),
            (json!([{"name": "a", "profile": "client", "path": "/d"}]), "entry 1 (a): missing field `authority`"),
            (
                json!([{"name": "a", "authority": "b", "profile": "client", "path": "/d", "renew_befor": "5d"}]),
                "entry 1 (a): there is no `renew_befor`; did you mean `renew_before`?",
            ),
            (
                json!([{"name": "a", "authority": "b", "profile": "client", "path": "/d", "colour": "red"}]),
                "there is no `colour`; known are name, authority",
            ),
            (json!("x"), "should be a list of sets"),
            (json!([{"name": "a"}]), "entry 1 (a): missing field `profile`"),
            (json!([{"name": "a", "authority": "b", "profile": "c", "path": "/d"}]), "no certificate profile"),
            (
                json!([{"name": "a", "authority": "b", "profile": "client", "path": "/d", "ports": [{"port": "x"}]}]),
                "`x` is no port",
            ),
        ] {
            let error = SetSpec::list(&sets).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
