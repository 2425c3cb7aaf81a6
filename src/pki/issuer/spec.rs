//! Which issuer an authority has: the variable `pki_issuers`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::Purpose;

/// What the inventory says about one authority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IssuerSpec {
    /// Its key is in the store: the default.
    #[default]
    Store,
    /// Requests go out as files, and certificates come in as files.
    Files(FilesSpec),
    /// A server is asked by ACME.
    Acme(AcmeSpec),
}

/// A server that speaks ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSpec {
    /// Where its directory is.
    pub directory: String,
    /// Whom it tells about trouble (`mailto:…`).
    pub contact: Vec<String>,
    /// The authorities that its certificates lead to: hosts get them as `ca.pem`.
    pub trust: PathBuf,
    /// The authorities that the server itself is verified by; those of the system when missing.
    pub directory_trust: Option<PathBuf>,
    /// Where the controller answers its challenges.
    pub listen: SocketAddr,
}

/// Requests and certificates as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSpec {
    /// The folder on the controller.
    pub requests: PathBuf,
    /// The authorities that its certificates lead to.
    pub trust: PathBuf,
    /// What it is for.
    pub purpose: Purpose,
}

/// Why `pki_issuers` cannot be what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No mapping at all.
    #[error("pki_issuers is {0}, and should be a mapping of authorities: `client: {{type: files, …}}`")]
    NoMapping(String),
    /// One entry.
    #[error("pki_issuers, `{authority}`: {why}")]
    Entry {
        /// Of which authority.
        authority: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

/// As it is written, of `files`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFiles {
    requests: String,
    trust: String,
    purpose: Option<String>,
}

/// As it is written, of `acme`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcme {
    directory: String,
    trust: String,
    #[serde(default)]
    accept_terms: Value,
    #[serde(default)]
    contact: Vec<String>,
    directory_trust: Option<String>,
    listen: Option<String>,
    purpose: Option<String>,
}

impl IssuerSpec {
    /// Reads the variable; authorities that it does not name are in the store.
    pub fn map(value: &Value) -> Result<BTreeMap<String, IssuerSpec>, SpecError> {
        let entries = match value {
            Value::Null => return Ok(BTreeMap::new()),
            Value::Object(entries) => entries,
            other => return Err(SpecError::NoMapping(other.to_string())),
        };
        let read = |(name, entry): (&String, &Value)| {
            let wrong = |why: String| SpecError::Entry { authority: name.clone(), why };
            Ok((name.clone(), IssuerSpec::read(name, entry).map_err(wrong)?))
        };
        entries.iter().map(read).collect()
    }

    fn read(name: &str, entry: &Value) -> Result<IssuerSpec, String> {
        let Value::Object(entry) = entry else {
            return Err(format!("it is {entry}, and should be a mapping with `type`"));
        };
        let mut fields = entry.clone();
        let kind = match fields.shift_remove("type") {
            Some(Value::String(kind)) => kind,
            _ => return Err("`type` is missing: store, files or acme".into()),
        };
        match kind.as_str() {
            "store" => match fields.keys().next() {
                None => Ok(IssuerSpec::Store),
                Some(field) => Err(format!("`{field}` means nothing to the store: pki_ca makes its authorities")),
            },
            "files" => {
                let raw: RawFiles = fields_of(fields)?;
                Ok(IssuerSpec::Files(FilesSpec {
                    requests: absolute("requests", &raw.requests)?,
                    trust: absolute("trust", &raw.trust)?,
                    purpose: purpose(name, raw.purpose.as_deref())?,
                }))
            }
            "acme" => Ok(IssuerSpec::Acme(acme(name, fields_of(fields)?)?)),
            "step_ca" | "step-ca" | "vault" => Err(format!(
                "issuers of type {kind} are not built. Take `files` (requests out, certificates in), or `acme` where it speaks that"
            )),
            other => Err(format!("`{other}` is no type of issuer: store, files, acme")),
        }
    }
}

fn acme(name: &str, raw: RawAcme) -> Result<AcmeSpec, String> {
    let purpose = raw.purpose.as_deref().or_else(|| name.parse::<Purpose>().ok().map(Purpose::name));
    if purpose == Some("cluster") {
        return Err("the cluster's authority cannot be an ACME server's: Galera checks the chain and nothing else, so whatever \
                    that server's authority has ever signed, for anybody, could join replication. Leave it in the store"
            .into());
    }
    if let Some(other) = purpose.filter(|purpose| *purpose != "client") {
        return Err(format!("`{other}` is no purpose: an ACME server's certificates are for `client`"));
    }
    if !raw.directory.starts_with("https://") {
        return Err(format!(
            "`directory` is `{}`: write the https:// address of the server's directory",
            raw.directory
        ));
    }
    if !matches!(&raw.accept_terms, Value::Bool(true)) && raw.accept_terms.as_str() != Some("true") {
        return Err("read the server's terms of service, and say `accept_terms: true`".into());
    }
    if let Some(wrong) = raw.contact.iter().find(|contact| !contact.starts_with("mailto:")) {
        return Err(format!("the contact `{wrong}` is no mailto: address"));
    }
    let listen = raw.listen.as_deref().unwrap_or("0.0.0.0:80");
    let listen = listen.parse().map_err(|_| {
        format!("`listen` is `{listen}`: write address and port of this controller, as 0.0.0.0:80 or [::]:8080")
    })?;
    Ok(AcmeSpec {
        directory: raw.directory,
        contact: raw.contact,
        trust: absolute("trust", &raw.trust)?,
        directory_trust: raw.directory_trust.as_deref().map(|path| absolute("directory_trust", path)).transpose()?,
        listen,
    })
}

fn fields_of<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

fn purpose(name: &str, given: Option<&str>) -> Result<Purpose, String> {
    match given {
        Some(text) => text.parse().map_err(|error: super::super::PkiError| error.to_string()),
        // As pki_ca has it: authorities of these names have these purposes.
        None => name.parse().map_err(|_| "say with `purpose` whether it is for the cluster or for clients".into()),
    }
}

fn absolute(field: &str, text: &str) -> Result<PathBuf, String> {
    let path = match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(text),
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!(
        "`{field}` is `{text}`: write an absolute path on the controller, for example with {{{{ playbook_dir }}}}, so that it means the same from everywhere"
    ))
}
