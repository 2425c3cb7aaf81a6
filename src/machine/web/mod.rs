//! The web as a client sees it: requests over HTTP/1.1, plain or by TLS, from this host's own network.
//!
//! Requests are Python's (urllib, as Ansible uses it) in what they send, which redirects they follow and what they say
//! when they fail, because playbooks see that.

mod login;
mod response;
mod stream;
mod tls;
mod url;

pub use response::Response;
pub use tls::{BUNDLES, Trust};
pub use url::{Url, mask, mask_all, unescaped};

use super::{Machine, MachineError};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use stream::Stream;

/// Redirects that are followed at most, and how often to one address.
const REDIRECTS: (usize, usize) = (10, 4);

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// As Python's urllib: GET and HEAD, and POST but for 307 and 308.
    #[default]
    Urllib,
    /// All.
    All,
    /// Those of GET and HEAD.
    Safe,
    /// None.
    None,
}

/// What is sent behind the head.
#[derive(Clone)]
pub enum Body {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A file of this host.
    File(PathBuf),
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// The address.
    pub url: String,
    /// `GET` …
    pub method: String,
    /// Headers of the user's, which go before our own.
    pub headers: Vec<(String, String)>,
    /// Names of headers that are not sent to where a redirect leads.
    pub unredirected: Vec<String>,
    /// What is sent.
    pub body: Option<Body>,
    /// How long a connection, and each piece of an answer, may take.
    pub timeout: Duration,
    /// Which redirects are followed.
    pub follow: Follow,
    /// Who is believed.
    pub trust: Trust,
    /// Whether a proxy of the environment is used.
    pub use_proxy: bool,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Log in at once, not only when the server asks for it.
    pub force_basic_auth: bool,
    /// Logins are looked for in `~/.netrc`.
    pub use_netrc: bool,
    /// `User-Agent`
    pub agent: Option<String>,
    /// Caches must ask anew.
    pub force: bool,
    /// Only if it is younger: seconds since 1970.
    pub modified_since: Option<i64>,
    /// A socket of this host in the place of the address's server.
    pub unix_socket: Option<PathBuf>,
    /// Unpack what comes packed.
    pub decompress: bool,
}

impl Request {
    /// A GET with Ansible's defaults.
    pub fn get(url: impl Into<String>) -> Request {
        Request {
            url: url.into(),
            method: "GET".into(),
            headers: Vec::new(),
            unredirected: Vec::new(),
            body: None,
            timeout: Duration::from_secs(10),
            follow: Follow::Urllib,
            trust: Trust::default(),
            use_proxy: true,
            login: None,
            force_basic_auth: false,
            use_netrc: true,
            agent: Some("ansible-httpget".into()),
            force: false,
            modified_since: None,
            unix_socket: None,
            decompress: true,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct WebError {
    /// In words.
    pub what: String,
    /// The request itself cannot be made, whoever would answer.
    pub senseless: bool,
}

impl WebError {
    fn failed(what: impl Into<String>) -> WebError {
        WebError { what: what.into(), senseless: false }
    }

    fn senseless(what: impl Into<String>) -> WebError {
        WebError { what: what.into(), senseless: true }
    }

    /// In Python's words.
    fn unreachable(error: &std::io::Error) -> WebError {
        let why = match (error.kind(), error.raw_os_error()) {
            (std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock, _) => "timed out".to_string(),
            (_, Some(number)) => {
                let text = error.to_string();
                format!("[Errno {number}] {}", text.split(" (os error").next().unwrap_or_default())
            }
            _ => error.to_string(),
        };
        WebError::failed(format!("Request failed: <urlopen error {why}>"))
    }
}

impl Machine {
    /// Asks a web server, in a check too: nothing of this host changes by it. With `--no-fetch` a check does not.
    pub fn request(&self, request: &Request) -> super::Result<Result<Response, WebError>> {
        let shown = mask(&request.url);
        if self.predicted() && self.no_fetch {
            return Err(MachineError::unknown(format!("{shown} would have to be asked, and --no-fetch forbids it")));
        }
        let mut request = request.clone();
        if let Some(deadline) = self.deadline {
            request.timeout = request.timeout.min(deadline.saturating_duration_since(Instant::now()));
        }
        request.timeout = request.timeout.max(Duration::from_millis(1));
        let answer = send(&request, &self.environment);
        match &answer {
            Err(error) if self.foresees_anything() && !error.senseless => Err(MachineError::unknown(format!(
                "{shown} cannot be reached now ({error}), and tasks before this one would change that or not"
            ))),
            Ok(answer) if self.foresees_anything() && answer.status >= 400 => Err(MachineError::unknown(format!(
                "{shown} is answered with {} now, and tasks before this one would change that or not",
                answer.status
            ))),
            _ => Ok(answer),
        }
    }
}

/// Sends a request and follows where it is led. The environment names proxies and the place of `.netrc`.
pub fn send(request: &Request, environment: &BTreeMap<String, String>) -> Result<Response, WebError> {
    let mut url = Url::parse(&request.url).map_err(WebError::senseless)?;
    if url.scheme == "file" {
        return Response::of_file(&url);
    }
    let mut login = login::Login::of(request, &url, environment);
    url = url.without_login();
    let mut request = request.clone();
    let mut cookies = Cookies::default();
    let mut visited: Vec<String> = Vec::new();
    let mut tried = false;
    let mut redirected = false;
    loop {
        if !matches!(url.scheme.as_str(), "http" | "https") {
            let why = format!("Request failed: <urlopen error unknown url type: {}>", url.scheme);
            return Err(WebError { what: why, senseless: true });
        }
        if url.host.is_empty() {
            return Err(WebError::senseless("Request failed: <urlopen error no host given>"));
        }
        let mut response = exchange(&request, &url, login.header(tried, redirected), &cookies, environment)?;
        cookies.take(&url, &response);
        let asked = response.status == 401 && !tried && login.answers(&response);
        if asked {
            tried = true;
            continue;
        }
        let location = response.header("location").or_else(|| response.header("uri")).map(str::to_string);
        let leads = matches!(response.status, 301 | 302 | 303 | 307 | 308);
        if let Some(location) = location.filter(|_| leads && follows(&request, response.status)) {
            let next = url.join(&location).map_err(WebError::failed)?;
            let again = visited.iter().filter(|one| **one == next.plain()).count();
            if visited.len() < REDIRECTS.0 && again < REDIRECTS.1 {
                redirect(&mut request, response.status);
                // Who we are is told to nobody else, and to nobody before he asks.
                if (&next.scheme, &next.host, next.port()) != (&url.scheme, &url.host, url.port()) {
                    login = login::Login::none();
                }
                (tried, redirected) = (false, true);
                visited.push(next.plain());
                url = next;
                continue;
            }
            response.reason = format!(
                "The HTTP server returned a redirect error that would lead to an infinite loop.\n\
                 The last 30x error message was:\n{}",
                response.reason
            );
        }
        response.url = url.plain();
        response.cookies = cookies.0.into_iter().map(|(_, name, value)| (name, value)).collect();
        return Ok(response);
    }
}

/// Whether a redirect of this kind is followed.
fn follows(request: &Request, status: u16) -> bool {
    let safe = matches!(request.method.as_str(), "GET" | "HEAD");
    match request.follow {
        Follow::None => false,
        Follow::All => true,
        Follow::Safe => safe,
        Follow::Urllib => safe || request.method == "POST" && matches!(status, 301..=303),
    }
}

/// The request as it goes on to where a redirect leads.
fn redirect(request: &mut Request, status: u16) {
    let unredirected = std::mem::take(&mut request.unredirected);
    request.headers.retain(|(name, _)| !unredirected.iter().any(|one| one.eq_ignore_ascii_case(name)));
    if matches!(status, 307 | 308) && request.follow != Follow::Urllib {
        return;
    }
    request.body = None;
    let about_body = ["content-length", "content-type", "transfer-encoding"];
    request.headers.retain(|(name, _)| !about_body.iter().any(|one| one.eq_ignore_ascii_case(name)));
    let becomes_get = match (request.follow, status) {
        (Follow::Urllib, _) | (_, 302 | 303) => request.method != "HEAD",
        (_, 301) => request.method == "POST",
        _ => false,
    };
    if becomes_get {
        request.method = "GET".into();
    }
}

/// Cookies that were set meanwhile: of which host, name and value.
#[derive(Default)]
struct Cookies(Vec<(String, String, String)>);

impl Cookies {
    fn take(&mut self, url: &Url, response: &Response) {
        for (name, value) in &response.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let Some((name, value)) = value.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim().to_string(), value.trim().trim_matches('"').to_string());
            self.0.retain(|(host, known, _)| (host, known) != (&url.host, &name));
            self.0.push((url.host.clone(), name, value));
        }
    }

    fn header(&self, url: &Url) -> Option<String> {
        let own = self.0.iter().filter(|(host, ..)| *host == url.host);
        let pairs: Vec<String> = own.map(|(_, name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// One request and the head of its answer.
fn exchange(
    request: &Request,
    url: &Url,
    login: Option<String>,
    cookies: &Cookies,
    environment: &BTreeMap<String, String>,
) -> Result<Response, WebError> {
    let (mut stream, proxy) = stream::connect(url, request, environment)?;
    let length = match &request.body {
        None => None,
        Some(Body::Bytes(bytes)) => Some(bytes.len() as u64),
        Some(Body::File(path)) => {
            let metadata = std::fs::metadata(path)
                .map_err(|e| WebError::senseless(format!("cannot read {}: {e}", path.display())))?;
            Some(metadata.len())
        }
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| {
        if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            headers.push((name.to_string(), value));
        }
    };
    request.headers.iter().for_each(|(name, value)| add(name, value.clone()));
    add("Host", url.place());
    add("Accept-Encoding", "identity".into());
    request.agent.iter().for_each(|agent| add("User-Agent", agent.clone()));
    login.into_iter().for_each(|value| add("Authorization", value));
    cookies.header(url).into_iter().for_each(|value| add("Cookie", value));
    match request.modified_since {
        _ if request.force => add("Cache-Control", "no-cache".into()),
        Some(time) => add("If-Modified-Since", response::http_date(time)),
        None => {}
    }
    if let Some(length) = length {
        add("Content-Type", "application/x-www-form-urlencoded".into());
        add("Content-Length", length.to_string());
    } else if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        add("Content-Length", "0".into());
    }
    if let Some(value) = proxy.as_ref().and_then(stream::proxy_login) {
        add("Proxy-Authorization", value);
    }
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("connection"));
    headers.push(("Connection".into(), "close".into()));
    let target = if proxy.is_some() { url.plain() } else { url.target.clone() };
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
    for (name, value) in &headers {
        if name.is_empty() || name.bytes().chain(value.bytes()).any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(WebError::senseless(format!("Invalid header value for `{name}`")));
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A server may answer, and close, before it has read everything.
    let sent = write(&mut stream, head.as_bytes(), request.body.as_ref());
    match Response::read(stream, request) {
        Ok(response) => Ok(response),
        Err(error) => Err(sent.err().map_or(error, |e| WebError::unreachable(&e))),
    }
}

fn write(stream: &mut Stream, head: &[u8], body: Option<&Body>) -> std::io::Result<()> {
    stream.write_all(head)?;
    match body {
        None => {}
        Some(Body::Bytes(bytes)) => stream.write_all(bytes)?,
        Some(Body::File(path)) => {
            let mut file = std::fs::File::open(path)?;
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    read => stream.write_all(chunk.get(..read).unwrap_or_default())?,
                }
            }
        }
    }
    stream.flush()
}

#[cfg(test)]
pub(crate) mod tests;
