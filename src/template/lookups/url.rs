//! `url`: what an address of the web, or a file, says.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minijinja::Error;
use minijinja::value::Value;

use super::{Call, Found};
use crate::http::Url;
use crate::machine::web::{Follow, Request, Trust, mask, send};
use crate::template::args::{fail, pairs};
use crate::template::py;

/// An answer is not longer.
const LIMIT: u64 = 64 << 20;

/// The lines of each answer, or with `split_lines=false` the whole of it.
pub(super) fn url(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for address in call.texts() {
        let content = read(call, &address)?;
        let text =
            String::from_utf8(content).map_err(|_| fail(format!("url: {} is not UTF-8 text", shown(&address))))?;
        if call.flag("split_lines", true) {
            out.extend(text.lines().map(Value::from));
        } else {
            out.push(Value::from(text));
        }
    }
    Ok(out)
}

/// An address without what may be secret in it.
fn shown(address: &str) -> String {
    let faulty = |_| mask(address).split(['?', '#']).next().unwrap_or_default().to_owned();
    Url::parse(address).map_or_else(faulty, |url| url.shown())
}

fn read(call: &Call<'_>, address: &str) -> Result<Vec<u8>, Error> {
    if let Some(path) = address.strip_prefix("file://") {
        call.scope.templar().reads().note(Path::new(path));
    }
    let told = |why: &dyn std::fmt::Display| fail(format!("url: {}: {why}", shown(address)));
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let mut answer = send(&request(call, address)?, &environment).map_err(|why| told(&why))?;
    // A file has no status.
    if answer.status != 0 && !(200..300).contains(&answer.status) {
        return Err(told(&format!("it answered {} {}", answer.status, answer.reason)));
    }
    let mut content = Vec::new();
    match answer.body.as_mut().take(LIMIT).read_to_end(&mut content) {
        Ok(_) if content.len() as u64 == LIMIT => Err(told(&"its answer is longer than 64 MiB")),
        Ok(_) => Ok(content),
        Err(error) => Err(told(&format!("its answer breaks off: {error}"))),
    }
}

fn request(call: &Call<'_>, address: &str) -> Result<Request, Error> {
    if let Some(option) = ["use_gssapi", "ciphers"].iter().find(|name| call.option(name).is_some_and(Value::is_true)) {
        return Err(fail(format!("url: the option '{option}' is not supported")));
    }
    let login = call.text("username").map(|user| (user, call.text("password").unwrap_or_default()));
    if let Some((_, password)) = &login {
        call.scope.templar().redactor().add(password);
    }
    let headers = call.option("headers").and_then(pairs).unwrap_or_default();
    let headers: Vec<(String, String)> = headers.iter().map(|(name, value)| (py::str(name), py::str(value))).collect();
    let path = |name: &str| call.text(name).map(PathBuf::from);
    let seconds = call.text("timeout").and_then(|t| t.parse::<f64>().ok()).filter(|t| *t > 0.0 && *t < 86400.0);
    let follow = match call.text("follow_redirects").as_deref() {
        None | Some("urllib2") => Follow::Urllib,
        Some("all" | "yes" | "True") => Follow::All,
        Some("safe") => Follow::Safe,
        Some("none" | "no" | "False") => Follow::None,
        Some(other) => return Err(fail(format!("url: follow_redirects is all, none, safe or urllib2, not '{other}'"))),
    };
    Ok(Request {
        headers,
        unredirected: call.option("unredirected_headers").map(words).unwrap_or_default(),
        timeout: Duration::from_secs_f64(seconds.unwrap_or(10.0)),
        follow,
        trust: Trust {
            anybody: !call.flag("validate_certs", true),
            authorities: path("ca_path"),
            certificate: path("client_cert"),
            key: path("client_key"),
        },
        use_proxy: call.flag("use_proxy", true),
        login,
        force_basic_auth: call.flag("force_basic_auth", false),
        use_netrc: call.flag("use_netrc", true),
        agent: Some(call.text("http_agent").unwrap_or_else(|| "ansible-httpget".into())),
        force: call.flag("force", false),
        unix_socket: path("unix_socket"),
        ..Request::get(address)
    })
}

/// A list of texts, or one.
fn words(value: &Value) -> Vec<String> {
    match value.as_str() {
        Some(text) => vec![text.to_owned()],
        None => value.try_iter().into_iter().flatten().map(|item| py::str(&item)).collect(),
    }
}
