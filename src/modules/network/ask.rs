//! What the modules that ask web servers have in common: their arguments as a request, and answers as Ansible returns them.

use crate::machine::Machine;
use crate::machine::files::Digests;
use crate::machine::web::{Request, Response, Trust, WebError};
use crate::modules::files::common::{Step, expand};
use crate::modules::scalars::{Text, TextList};
use crate::modules::{ModuleError, Outcome};
use serde_json::{Map, Value};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Wraps a struct of arguments and adds those that all modules take that ask web servers, with `Self::asking()` to read
/// them; `url`, `force` and `timeout` it has itself. `login` is the other name of `url_username`, `seconds` the usual timeout.
macro_rules! web_arguments {
    (login = $login:tt, seconds = $seconds:tt;
     $(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $kind:ty),* $(,)? }) => {
        $crate::modules::files::common::file_arguments! {
            $(#[$meta])*
            pub struct $name {
                $($(#[$field_meta])* pub $field: $kind,)*
                /// Headers of the request: a mapping.
                pub headers: Option<serde_json::Value>,
                /// Names of headers that are not sent on to where a redirect leads.
                pub unredirected_headers: Option<$crate::modules::scalars::TextList>,
                /// Name to log in with.
                #[serde(alias = $login)]
                pub url_username: Option<$crate::modules::scalars::Text>,
                /// Password to log in with.
                #[serde(alias = "password")]
                pub url_password: Option<$crate::modules::scalars::Text>,
                /// Log in at once, not only when the server asks for it.
                #[serde(default)]
                pub force_basic_auth: $crate::modules::scalars::Flag,
                /// What the program calls itself: `ansible-httpget`.
                pub http_agent: Option<$crate::modules::scalars::Text>,
                /// Whether a proxy that the environment names is used.
                #[serde(default = "crate::modules::scalars::Flag::yes")]
                pub use_proxy: $crate::modules::scalars::Flag,
                /// Whether the server must show a certificate that the host believes.
                #[serde(default = "crate::modules::scalars::Flag::yes")]
                pub validate_certs: $crate::modules::scalars::Flag,
                /// A certificate to show to the server, in PEM; its key may be in the same file.
                pub client_cert: Option<$crate::modules::scalars::Text>,
                /// The key of `client_cert`.
                pub client_key: Option<$crate::modules::scalars::Text>,
                /// Kerberos: not supported, an error.
                #[serde(default)]
                pub use_gssapi: $crate::modules::scalars::Flag,
                /// Unpack what comes packed by gzip.
                #[serde(default = "crate::modules::scalars::Flag::yes")]
                pub decompress: $crate::modules::scalars::Flag,
                /// Has no effect: TLS 1.2 and 1.3 with modern ciphers are spoken.
                pub ciphers: Option<$crate::modules::scalars::TextList>,
                /// Look for a login in `~/.netrc`.
                #[serde(default = "crate::modules::scalars::Flag::yes")]
                pub use_netrc: $crate::modules::scalars::Flag,
            }
        }

        impl $name {
            /// What all modules have that ask web servers.
            fn asking(&self) -> $crate::modules::network::ask::Asking<'_> {
                $crate::modules::network::ask::Asking {
                    url: &self.url,
                    force: self.force.0,
                    agent: self.http_agent.as_ref(),
                    use_proxy: self.use_proxy.0,
                    validate_certs: self.validate_certs.0,
                    user: self.url_username.as_ref(),
                    password: self.url_password.as_ref(),
                    force_basic_auth: self.force_basic_auth.0,
                    client_cert: self.client_cert.as_ref(),
                    client_key: self.client_key.as_ref(),
                    use_gssapi: self.use_gssapi.0,
                    headers: self.headers.as_ref(),
                    unredirected_headers: self.unredirected_headers.as_ref(),
                    timeout: self.timeout.map_or($seconds, |timeout| timeout.0),
                    decompress: self.decompress.0,
                    use_netrc: self.use_netrc.0,
                    ciphers: self.ciphers.as_ref(),
                }
            }
        }
    };
}
pub(super) use web_arguments;

/// Arguments that all of these modules take, as they were written.
pub(in crate::modules) struct Asking<'a> {
    pub url: &'a str,
    pub force: bool,
    pub agent: Option<&'a Text>,
    pub use_proxy: bool,
    pub validate_certs: bool,
    pub user: Option<&'a Text>,
    pub password: Option<&'a Text>,
    pub force_basic_auth: bool,
    pub client_cert: Option<&'a Text>,
    pub client_key: Option<&'a Text>,
    pub use_gssapi: bool,
    pub headers: Option<&'a Value>,
    pub unredirected_headers: Option<&'a TextList>,
    pub timeout: i64,
    pub decompress: bool,
    pub use_netrc: bool,
    pub ciphers: Option<&'a TextList>,
}

impl Asking<'_> {
    /// The request that they describe.
    pub fn request(&self, machine: &Machine, outcome: &mut Outcome) -> Step<Request> {
        if self.use_gssapi {
            return Err(ModuleError::argument("use_gssapi", "Kerberos is not supported"));
        }
        if self.ciphers.is_some_and(|list| !list.0.is_empty()) {
            outcome.warnings.push("`ciphers` has no effect: TLS 1.2 and 1.3 with modern ciphers are spoken".into());
        }
        let path = |given: Option<&Text>| given.map(|text| expand(machine, text)).transpose();
        let agent = self.agent.map_or("ansible-httpget", |agent| &**agent);
        Ok(Request {
            headers: headers(self.headers)?,
            unredirected: self.unredirected_headers.map(|list| list.0.clone()).unwrap_or_default(),
            timeout: Duration::from_secs(u64::try_from(self.timeout).unwrap_or(0).max(1)),
            trust: Trust {
                anybody: !self.validate_certs,
                authorities: None,
                certificate: path(self.client_cert)?,
                key: path(self.client_key)?,
            },
            use_proxy: self.use_proxy,
            login: self.user.map(|user| (user.0.clone(), self.password.map(|p| p.0.clone()).unwrap_or_default())),
            force_basic_auth: self.force_basic_auth,
            use_netrc: self.use_netrc,
            agent: Some(agent.to_string()).filter(|agent| !agent.is_empty()),
            force: self.force,
            decompress: self.decompress,
            ..Request::get(self.url)
        })
    }
}

/// Headers: a mapping, or `name=value` with commas between.
fn headers(given: Option<&Value>) -> Step<Vec<(String, String)>> {
    match given {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => Ok(map.iter().map(|(name, value)| (name.clone(), word(value))).collect()),
        Some(Value::String(text)) => text
            .split(',')
            .filter(|one| !one.trim().is_empty())
            .map(|one| one.split_once('=').map(|(name, value)| (name.trim().to_string(), value.trim().to_string())))
            .collect::<Option<_>>()
            .ok_or_else(|| ModuleError::argument("headers", "write a mapping of names and values")),
        Some(_) => Err(ModuleError::argument("headers", "write a mapping of names and values")),
    }
}

/// A plain value as Python prints it.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => "None".into(),
        other => other.to_string(),
    }
}

/// Whether Python's urllib would call it an error: what is no success and was not followed.
pub(super) fn is_error(response: &Response) -> bool {
    response.status != 0 && !(200..300).contains(&response.status)
}

/// What Ansible says of an answer: `OK (12 bytes)`, `HTTP Error 404: Not Found`.
pub(in crate::modules) fn said(response: &Response) -> String {
    match is_error(response) {
        true => format!("HTTP Error {}: {}", response.status, response.reason),
        false => format!("OK ({} bytes)", response.header("content-length").unwrap_or("unknown")),
    }
}

/// An answer's head, as Ansible's `fetch_url` tells it: headers under their names in lower case, cookies, url, status, msg.
/// Of an error fewer things are told, and the address is the one that was asked.
pub(super) fn told(response: &Response, asked: &str) -> Map<String, Value> {
    let mut info = Map::new();
    let failed = is_error(response);
    for (name, value) in &response.headers {
        let name = name.to_lowercase();
        let joined = match info.get(&name).and_then(Value::as_str).filter(|_| !failed) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        info.insert(name, joined.into());
    }
    if !failed {
        let pairs: Vec<String> = response.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        info.insert("cookies_string".into(), pairs.join("; ").into());
        let cookies = response.cookies.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        info.insert("cookies".into(), Value::Object(cookies.collect()));
    }
    info.insert("msg".into(), said(response).into());
    info.insert("url".into(), if failed { asked.into() } else { response.url.clone().into() });
    info.insert("status".into(), if response.status == 0 { Value::Null } else { response.status.into() });
    info
}

/// The name that an answer gives its contents: of its `Content-Disposition`, without directories.
pub(super) fn named(response: &Response) -> Option<String> {
    let header = response.header("content-disposition")?;
    let value = header.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("filename").then(|| value.trim().trim_matches('"').to_string())
    })?;
    let name = value.rsplit('/').next().unwrap_or_default().to_string();
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

/// A file that was downloaded.
pub(in crate::modules) struct Download {
    pub path: PathBuf,
    pub digests: Digests,
}

/// Reads an answer into a file.
pub(in crate::modules) fn download(response: &mut Response, path: &Path) -> Result<Download, String> {
    let wrong = |e: std::io::Error| e.to_string();
    let mut file = std::fs::File::create(path).map_err(|e| format!("failed to create temporary content file: {e}"))?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match response.body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => file.write_all(chunk.get(..read).unwrap_or_default()).map_err(wrong)?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(wrong(e)),
        }
    }
    drop(file);
    let mut file = std::fs::File::open(path).map_err(wrong)?;
    Ok(Download { path: path.to_path_buf(), digests: Digests::of_reader(&mut file).map_err(wrong)? })
}

impl crate::machine::files::Source for Download {
    fn size(&self) -> u64 {
        self.digests.size
    }

    fn sha256(&self) -> &str {
        &self.digests.sha256
    }

    fn digests(&self) -> Option<Digests> {
        Some(self.digests.clone())
    }

    fn open(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(std::fs::File::open(&self.path)?))
    }
}

/// A request that made no sense, as Ansible ends a module there.
pub(super) fn senseless(error: &WebError, url: &str) -> Outcome {
    Outcome::failed(error.what.clone()).with("url", url).with("status", -1)
}
