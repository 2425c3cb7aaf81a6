//! `uri`: asks a web server, and returns what it says.

use super::ask::{download, is_error, named, senseless, told, web_arguments};
#[cfg(feature = "controller")]
use super::uri_body::CONTENTS;
use super::uri_body::{Format, encode};
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::machine::web::{Body, Follow, Request, Response, Url, mask};
use crate::machine::{Machine, Scratch};
#[cfg(feature = "controller")]
use crate::modules::Content;
use crate::modules::files::common::{Step, begin, describe, expand, show};
use crate::modules::files::delivery::Delivery;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, Status, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Read;
use std::time::Instant;

/// `ansible.builtin.uri`
pub const URI: Module = Module {
    name: "ansible.builtin.uri",
    aliases: &["uri", "ansible.legacy.uri"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Uri::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(prepare),
};

/// Larger answers are not returned; `dest` has no limit.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Redirects {
    /// All.
    #[serde(rename = "all", alias = "yes", alias = "True", alias = "true")]
    All,
    /// Those of GET and HEAD.
    #[default]
    #[serde(rename = "safe")]
    Safe,
    /// None.
    #[serde(rename = "none", alias = "no", alias = "False", alias = "false")]
    None,
    /// As Python's urllib.
    #[serde(rename = "urllib2")]
    Urllib,
}

web_arguments! {
    login = "user", seconds = 30;
    /// Asks a web server over the host's own network, and returns what it says: `status`, its headers, `json`, with
    /// `return_content` also `content`.
    ///
    /// It fails when the status is none of `status_code`. A check skips it, as Ansible does: nobody knows what a request
    /// would change; a task that only reads can say `check_mode: false`. Only a `dest` whose contents differ counts as a
    /// change, where Ansible counts every one.
    pub struct Uri {
        /// The address.
        pub url: Text,
        /// `GET`, `POST` …
        pub method: Option<Text>,
        /// What is sent.
        pub body: Option<Value>,
        /// How the body is written: `raw`, `json`, `form-urlencoded`, `form-multipart`.
        #[serde(default)]
        pub body_format: Format,
        /// A file to send, of the controller, or with `remote_src` of the host.
        pub src: Option<Text>,
        /// `src` is on the host already.
        #[serde(default)]
        pub remote_src: Flag,
        /// Statuses that are a success: 200 when not given.
        pub status_code: Option<TextList>,
        /// Return the contents.
        #[serde(default)]
        pub return_content: Flag,
        /// A file of the host for the contents, or a directory.
        pub dest: Option<Text>,
        /// A path: nothing is asked when it exists.
        pub creates: Option<Text>,
        /// A path: nothing is asked when it does not exist.
        pub removes: Option<Text>,
        /// `safe`, `all`, `none` or `urllib2`.
        #[serde(default)]
        pub follow_redirects: Redirects,
        /// A socket of the host in the place of the address's server.
        pub unix_socket: Option<Text>,
        /// A file of authorities that are believed beside the host's own.
        pub ca_path: Option<Text>,
        /// Ask caches to ask anew.
        #[serde(default)]
        pub force: Flag,
        /// Seconds that the server may take for a connection and for each piece of its answer: 30 when not given.
        pub timeout: Option<Int>,
    }
}

impl Uri {
    fn statuses(&self) -> Step<Vec<i64>> {
        let Some(list) = &self.status_code else { return Ok(vec![200]) };
        let number =
            |text: &String| text.trim().parse().map_err(|_| ModuleError::argument("status_code", text.clone()));
        list.0.iter().map(number).collect()
    }
}

/// Brings files of the controller to the host.
#[cfg(feature = "controller")]
fn prepare<'a>(
    host: &'a dyn crate::modules::ActionHost,
    mut arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::files::copy_action::{cannot_read, failed, offer};
    use crate::modules::{ActionError, FileKind, Prepared};
    Box::pin(async move {
        let uri: Uri = decode(arguments.clone()).map_err(failed)?;
        if host.check() {
            return Ok(Prepared::Done(Outcome::skipped("check mode is not supported for this task.")));
        }
        if uri.remote_src.0 {
            return Ok(Prepared::Send(arguments));
        }
        let fetch = |name: &str| -> Result<(String, Content), ActionError> {
            let path = host.find_file(FileKind::Files, name)?;
            let size = std::fs::metadata(&path).map_err(|e| cannot_read(&path, e))?.len();
            let basename = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok((basename, offer(host, &path, size, true)?))
        };
        if let Some(src) = &uri.src {
            let (basename, content) = fetch(src)?;
            Delivery { basename, content, digests: None, tree: None }.add(&mut arguments)?;
        } else if uri.body_format == Format::Multipart
            && let Some(Value::Object(fields)) = arguments.get_mut("body")
        {
            for part in fields.values_mut().filter_map(Value::as_object_mut) {
                let has = |key: &str| part.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
                let (Some(name), None) = (has("filename").map(str::to_string), has("content")) else { continue };
                let (basename, content) = fetch(&name)?;
                part.insert("filename".into(), basename.into());
                let content = serde_json::to_value(content).map_err(|e| ActionError::Failed(e.to_string()))?;
                part.insert(CONTENTS.into(), content);
            }
        }
        Ok(Prepared::Send(arguments))
    })
}

fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let delivery = Delivery::take(&mut arguments)?;
    let arguments: Uri = decode(arguments)?;
    begin(machine, context);
    if machine.predicted() {
        return Ok(Outcome::skipped("check mode is not supported for this task."));
    }
    let mut outcome = Outcome::ok();
    arguments.common().check(&mut outcome)?;
    if arguments.body.is_some() && arguments.src.is_some() {
        return Err(ModuleError::Failed("parameters are mutually exclusive: body|src".into()));
    }
    let statuses = arguments.statuses()?;
    let method = arguments.method.as_deref().unwrap_or("GET").to_uppercase();
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        let why = "Parameter 'method' needs to be a single word in uppercase, like GET or POST.";
        return Err(ModuleError::Failed(why.into()));
    }
    let mut request = arguments.asking().request(machine, &mut outcome)?;
    let (bytes, kind) = encode(arguments.body_format, arguments.body.as_ref(), context)?;
    for (path, wanted, why) in [(&arguments.creates, true, "exists"), (&arguments.removes, false, "does not exist")] {
        if let Some(path) = path
            && machine.exists(expand(machine, path)?)? == wanted
        {
            let why = format!("skipped, since '{}' {why}", path.0);
            return Ok(Outcome::ok().with("stdout_lines", vec![why.clone()]).with("stdout", why));
        }
    }
    if let Some(kind) = kind
        && (arguments.body_format == Format::Multipart
            || !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")))
    {
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        request.headers.push(("Content-Type".into(), kind));
    }
    let scratch = Scratch::new("uri")?;
    request.body = match (&arguments.src, delivery) {
        (None, _) => bytes.map(Body::Bytes),
        (Some(_), Some(delivery)) => {
            let path = scratch.path().join("body");
            let bytes = super::uri_body::read(&delivery.content, context);
            let written = bytes.and_then(|bytes| std::fs::write(&path, bytes));
            written.map_err(|e| ModuleError::Failed(format!("Unable to open source file {}: {e}", path.display())))?;
            Some(Body::File(path))
        }
        (Some(src), None) => {
            let path = expand(machine, src)?;
            if !machine.stat(&path)?.is_some_and(|stat| stat.is_file()) {
                let why = format!("Unable to open source file {}", path.display());
                return Ok(Outcome::failed(why).with("elapsed", 0));
            }
            Some(Body::File(path))
        }
    };
    request.method = method;
    request.follow = match arguments.follow_redirects {
        Redirects::All => Follow::All,
        Redirects::Safe => Follow::Safe,
        Redirects::None => Follow::None,
        Redirects::Urllib => Follow::Urllib,
    };
    request.unix_socket = arguments.unix_socket.as_deref().map(|path| expand(machine, path)).transpose()?;
    request.trust.authorities = arguments.ca_path.as_deref().map(|path| expand(machine, path)).transpose()?;
    let asked = Asked { arguments: &arguments, statuses, started: Instant::now(), outcome };
    asked.ask(machine, request, &scratch)
}

/// A request that is made.
struct Asked<'a> {
    arguments: &'a Uri,
    statuses: Vec<i64>,
    started: Instant,
    outcome: Outcome,
}

impl Asked<'_> {
    fn ask(mut self, machine: &mut Machine, mut request: Request, scratch: &Scratch) -> Step<Outcome> {
        let url = mask(&self.arguments.url);
        let mut dest = self.arguments.dest.as_deref().map(|dest| expand(machine, dest)).transpose()?;
        if let Some(stat) = dest.as_ref().map(|dest| machine.stat(dest)).transpose()?.flatten()
            && stat.is_file()
        {
            request.modified_since = stat.mtime.map(|time| time.0);
        }
        let mut response = match machine.request(&request)? {
            Ok(response) => response,
            Err(error) if error.senseless && !error.what.starts_with("Request") => return Ok(senseless(&error, &url)),
            Err(error) => {
                let fields = [("url", Value::from(url)), ("status", (-1).into()), ("msg", error.what.into())];
                let info = fields.map(|(name, value)| (name.to_string(), value)).into_iter().collect();
                // `status_code: -1` waits for what does not answer.
                let wanted = self.statuses.contains(&-1);
                return Ok(self.end(info, -1, String::new(), wanted));
            }
        };
        let status = i64::from(response.status);
        let wanted = self.statuses.contains(&status);
        let kind = ContentType::of(&response);
        let mut info = told(&response, &url);
        // Not by how it is written: `http://h` and `http://h/` are one.
        let plain = |text: &str| Url::parse(text).map_or_else(|_| text.to_string(), |url| url.plain());
        let redirected = info.get("url").and_then(Value::as_str).is_some_and(|found| plain(found) != plain(&url));
        info.insert("redirected".into(), redirected.into());
        if let Some(into) = dest.as_mut()
            && machine.stat(&*into)?.is_some_and(|stat| stat.is_dir())
        {
            let own = Url::parse(&response.url).map(|url| url.file_name()).unwrap_or_default();
            *into = into.join(named(&response).unwrap_or(own));
        }
        let keep = kind.json || self.arguments.return_content.0 || !wanted || is_error(&response);
        let mut content = Vec::new();
        if let Some(dest) = dest.as_ref().filter(|_| wanted && status != 304) {
            let staged = scratch.path().join("content");
            let mut got = download(&mut response, &staged).map_err(ModuleError::Failed)?;
            if keep {
                content = machine.read_file(&staged, LIMIT)?;
            }
            let options = WriteOptions {
                attributes: self.arguments.common().resolve(machine, dest, true, Kind::File)?,
                follow: false,
                backup: false,
                unsafe_writes: self.arguments.unsafe_writes.0,
                sensitive: false,
            };
            machine.write(dest, NewContent::Stream(&mut got), &options, None)?;
        } else if keep {
            let read = response.body.by_ref().take(LIMIT + 1).read_to_end(&mut content);
            read.map_err(|e| ModuleError::Failed(format!("HTTP Error while fetching {url}: {e}")))?;
            if content.len() as u64 > LIMIT {
                return Err(ModuleError::Failed(format!("{url} answers with more than {LIMIT} bytes: write `dest`")));
            }
        }
        let text = kind.decode(&content);
        if let Some(dest) = &dest {
            info.insert("path".into(), show(dest));
        }
        if kind.json
            && let Ok(value) = serde_json::from_str::<Value>(&text)
        {
            info.insert("json".into(), value);
        }
        if is_error(&response) && wanted && !kind.json && !self.arguments.return_content.0 {
            info.insert("body".into(), text.clone().into());
        }
        if let Some(Value::String(location)) = info.get("location")
            && let Ok(absolute) = Url::parse(&self.arguments.url).and_then(|url| url.without_login().join(location))
        {
            let joined = if location.contains("://") { location.clone() } else { absolute.plain() };
            info.insert("location".into(), joined.into());
        }
        let mut outcome = self.end(info, status, text, wanted);
        if let Some(dest) = &dest {
            describe(machine, dest, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// The result, with names that variables can have.
    fn end(&mut self, info: Map<String, Value>, status: i64, text: String, wanted: bool) -> Outcome {
        let mut outcome = std::mem::take(&mut self.outcome);
        let said = info.get("msg").and_then(Value::as_str).unwrap_or_default().to_string();
        for (name, value) in info.into_iter().filter(|(name, _)| name != "msg") {
            outcome.data.insert(name.replace('-', "_").to_lowercase(), value);
        }
        outcome.data.entry("redirected").or_insert(false.into());
        outcome.data.insert("elapsed".into(), self.started.elapsed().as_secs().into());
        if self.arguments.return_content.0 {
            outcome.data.insert("content".into(), text.into());
        }
        outcome.msg = Some(match wanted {
            true => said,
            false => {
                outcome.status = Status::Failed;
                let list: Vec<String> = self.statuses.iter().map(i64::to_string).collect();
                format!("Status code was {status} and not [{}]: {said}", list.join(", "))
            }
        });
        outcome
    }
}

/// What an answer says of its contents.
struct ContentType {
    json: bool,
    latin: bool,
}

impl ContentType {
    fn of(response: &Response) -> ContentType {
        let text = response.header("content-type").unwrap_or("application/octet-stream").to_lowercase();
        let kind = text.split(';').next().unwrap_or_default().trim();
        let sub = kind.split_once('/').map_or("", |(_, sub)| sub);
        let sub = sub.split_once('+').map_or(sub, |(_, suffix)| suffix);
        let charset = text.split(';').skip(1).find_map(|part| part.trim().strip_prefix("charset="));
        let charset = charset.unwrap_or("utf-8").trim_matches('"');
        ContentType {
            json: matches!(sub, "json" | "javascript"),
            latin: matches!(charset, "iso-8859-1" | "latin-1" | "latin1" | "us-ascii"),
        }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        match self.latin {
            true => bytes.iter().map(|byte| char::from(*byte)).collect(),
            false => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
