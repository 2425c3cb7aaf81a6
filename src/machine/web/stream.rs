//! A connection to a web server: plain, by TLS, through a proxy, or to a socket of this host.

use super::url::Url;
use super::{Request, WebError, tls};
use crate::machine::resolve;
use base64::Engine;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

/// What TLS goes over.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(into),
            Socket::Unix(socket) => socket.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.read(into),
            Stream::Unix(socket) => socket.read(into),
            // Servers close without saying so; whether a body is whole is seen by its length.
            Stream::Tls(tls) => match tls.read(into) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.write(bytes),
            Stream::Unix(socket) => socket.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Stream::Tls(tls) => tls.flush(),
            _ => Ok(()),
        }
    }
}

/// Connects to where `url` is. The second answer is the proxy that a plain request goes through, which wants the whole
/// address in its first line.
pub(super) fn connect(url: &Url, request: &Request, environment: &BTreeMap<String, String>) -> Connected {
    let timeout = request.timeout;
    if let Some(path) = &request.unix_socket {
        let socket = UnixStream::connect(path).map_err(|e| WebError::unreachable(&e))?;
        socket.set_read_timeout(Some(timeout)).map_err(|e| WebError::unreachable(&e))?;
        return Ok((if url.tls() { wrap(Socket::Unix(socket), url, request)? } else { Stream::Unix(socket) }, None));
    }
    let proxy = if request.use_proxy { proxy_for(url, environment)? } else { None };
    let Some(proxy) = proxy else {
        let socket = dial(&url.host, url.port(), timeout)?;
        return Ok((if url.tls() { wrap(Socket::Tcp(socket), url, request)? } else { Stream::Tcp(socket) }, None));
    };
    let mut socket = dial(&proxy.host, proxy.port(), timeout)?;
    if !url.tls() {
        return Ok((Stream::Tcp(socket), Some(proxy)));
    }
    tunnel(&mut socket, url, &proxy)?;
    Ok((wrap(Socket::Tcp(socket), url, request)?, None))
}

/// What [`connect`] answers.
pub(super) type Connected = std::result::Result<(Stream, Option<Url>), WebError>;

fn dial(host: &str, port: u16, timeout: Duration) -> std::result::Result<TcpStream, WebError> {
    let unknown = |_| WebError::failed("Request failed: <urlopen error [Errno -2] Name or service not known>");
    let addresses = resolve::addresses(host, port).map_err(unknown)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => {
                let _ = socket.set_nodelay(true); // only a matter of speed
                let limits = socket.set_read_timeout(Some(timeout)).and(socket.set_write_timeout(Some(timeout)));
                limits.map_err(|e| WebError::unreachable(&e))?;
                return Ok(socket);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(last.map_or_else(|| unknown(std::io::Error::other("")), |e| WebError::unreachable(&e)))
}

/// TLS over a socket, with the handshake done.
fn wrap(mut socket: Socket, url: &Url, request: &Request) -> std::result::Result<Stream, WebError> {
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| WebError::failed(format!("`{}` is no name of a host", url.host)))?;
    let mut connection = ClientConnection::new(tls::config(&request.trust)?, name)
        .map_err(|e| WebError::failed(format!("TLS cannot be set up: {e}")))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|e| {
            // Python's words where its users look for them, then what rustls says of it.
            let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(rustls::Error::InvalidCertificate(why)) => WebError::failed(format!(
                    "Request failed: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {why}>"
                )),
                Some(other) => WebError::failed(format!("Request failed: <urlopen error [SSL] {other}>")),
                None => WebError::unreachable(&e),
            }
        })?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
}

/// Has a proxy connect us to the server itself.
fn tunnel(socket: &mut TcpStream, url: &Url, proxy: &Url) -> std::result::Result<(), WebError> {
    let place = match url.host.contains(':') {
        true => format!("[{}]:{}", url.host, url.port()),
        false => format!("{}:{}", url.host, url.port()),
    };
    let login = proxy_login(proxy).map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    let head = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{login}\r\n");
    socket.write_all(head.as_bytes()).map_err(|e| WebError::unreachable(&e))?;
    let mut answer = Vec::new();
    let mut byte = [0];
    // Byte by byte, so that nothing of TLS is read with it.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < 16 * 1024 {
        match socket.read(&mut byte) {
            Ok(1) => answer.extend(byte),
            Ok(_) => break,
            Err(e) => return Err(WebError::unreachable(&e)),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let line = text.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => {
            let said = line.split_once(' ').map_or("nothing", |(_, said)| said);
            Err(WebError::failed(format!("Request failed: <urlopen error Tunnel connection failed: {said}>")))
        }
    }
}

/// `Basic …` for a proxy whose address has a user.
pub(super) fn proxy_login(proxy: &Url) -> Option<String> {
    proxy.login().map(|(user, password)| basic(&user, &password))
}

/// The value of a header that logs in.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// The proxy that the environment names for an address, if it names one.
fn proxy_for(url: &Url, environment: &BTreeMap<String, String>) -> std::result::Result<Option<Url>, WebError> {
    let read = |name: &str| {
        let own = environment.get(name).cloned().or_else(|| std::env::var(name).ok());
        own.filter(|value| !value.is_empty())
    };
    let either = |name: String| read(&name.to_lowercase()).or_else(|| read(&name.to_uppercase()));
    let Some(text) = either(format!("{}_proxy", url.scheme)) else { return Ok(None) };
    if either("no_proxy".into()).is_some_and(|list| excepted(url, &list)) {
        return Ok(None);
    }
    let text = if text.contains("://") { text } else { format!("http://{text}") };
    Url::parse(&text).map(Some).map_err(|why| WebError::failed(format!("{}_proxy: {why}", url.scheme)))
}

/// Whether a list of names, and of their ends, has a host in it.
fn excepted(url: &Url, list: &str) -> bool {
    let (host, place) = (url.host.to_lowercase(), format!("{}:{}", url.host, url.port()).to_lowercase());
    list.split(',')
        .map(|one| one.trim().trim_start_matches('.').to_lowercase())
        .filter(|one| !one.is_empty())
        .any(|one| one == "*" || [&host, &place].iter().any(|name| **name == one || name.ends_with(&format!(".{one}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_those_of_the_environment() {
        let environment: BTreeMap<String, String> =
            [("http_proxy", "proxy:3128"), ("HTTPS_PROXY", "http://u:p@proxy2"), ("no_proxy", "inside, .example.org")]
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .into();
        for (url, expected) in [
            ("http://a/", Some("http://proxy:3128/")),
            ("https://a/", Some("http://proxy2/")),
            ("http://inside/", None),
            ("http://b.inside:81/", None),
            ("http://www.example.org/", None),
            ("http://wwwexample.org/", Some("http://proxy:3128/")),
        ] {
            let found = proxy_for(&Url::parse(url).unwrap(), &environment).unwrap();
            assert_eq!(found.map(|proxy| proxy.plain()).as_deref(), expected, "{url}");
        }
    }
}
