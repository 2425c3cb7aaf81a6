//! Telling by the web (hooks, traces): one POST of JSON, over TLS or not. Nothing else of HTTP is needed: no redirect is
//! followed, no proxy asked, no connection kept.

use crate::machine::web::{BUNDLES, unescaped};
use crate::pki::pem;
use base64::Engine;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer's head is not longer, nor what is shown of its body.
const HEAD: usize = 16 * 1024;

/// An address of the web.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    /// Path and query.
    target: String,
    /// `user:password`
    login: Option<String>,
}

/// Hooks are known by their path to those who may use them, so it is not shown.
impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Url {
    /// Reads `http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY]`.
    pub fn parse(text: &str) -> Result<Url, String> {
        let bad = |why: &str| Err(format!("this is no http:// or https:// address: {why}"));
        if text.chars().any(|c| !c.is_ascii_graphic()) {
            return bad("it has a character that must be written as %XX");
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return bad("it does not begin so"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, target) = rest.split_at(end);
        let (login, place) = place.rsplit_once('@').map_or((None, place), |(login, place)| (Some(login), place));
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None => Some(if tls { 443 } else { 80 }),
            Some(port) => port.parse().ok().filter(|port| *port > 0),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else { return bad("its host or port is none") };
        let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
        let login = login.map(unescaped);
        Ok(Url { tls, host: host.to_string(), port, target, login })
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// `HOST:PORT`, brackets around an address of IPv6.
    fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// All of it.
    pub fn whole(&self) -> String {
        let login = self.login.as_ref().map(|login| format!("{}@", escaped(login))).unwrap_or_default();
        format!("{}://{login}{}{}", self.scheme(), self.place(), self.target)
    }

    /// Without what may be secret.
    pub fn shown(&self) -> String {
        let rest = if self.target == "/" { "/" } else { "/…" };
        format!("{}://{}{rest}", self.scheme(), self.place())
    }

    /// What a public address keeps for itself: the password, and the fields of its query with their names.
    pub fn credentials(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(login) = &self.login {
            let password = login.split_once(':').map_or(login.as_str(), |(_, password)| password);
            found.push(("password".to_string(), password.to_string()));
        }
        let query = self.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or(("key", field));
            found.push((name.to_string(), value.to_string()));
            if unescaped(value) != value {
                found.push((name.to_string(), unescaped(value)));
            }
        }
        found
    }

    /// What may be secret of an address that is known to those alone who may use it, as hooks are.
    pub fn secrets(&self) -> Vec<String> {
        let password =
            self.login.as_ref().map(|login| login.split_once(':').map_or(login.clone(), |(_, p)| p.to_string()));
        let target = (self.target != "/").then(|| self.target.trim_start_matches('/').to_string());
        password.into_iter().chain(target).collect()
    }
}

fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:!*".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Whether headers may be sent as they are.
pub fn check(headers: &[(String, String)]) -> Result<(), String> {
    for (name, value) in headers {
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let ours = ["host", "content-length", "content-type", "connection", "transfer-encoding"];
        if !token || value.chars().any(char::is_control) || ours.contains(&name.to_lowercase().as_str()) {
            return Err(format!("`headers`: `{name}` cannot be set"));
        }
    }
    Ok(())
}

/// Which authorities are trusted.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// A file of them, instead of the system's.
    pub file: Option<&'a Path>,
    /// What a user sets to name one: messages say it.
    pub setting: &'a str,
}

/// Posts `body`; an answer of 200 to 299 is a good one.
pub async fn post(url: &Url, headers: &[(String, String)], trust: Trust<'_>, body: &[u8]) -> Result<(), String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|e| told("cannot connect", &e))?;
    let request = request(url, headers, body);
    if !url.tls {
        return talk(stream, &request).await;
    }
    let (config, authorities) = trusting(trust)?;
    let name = ServerName::try_from(url.host.clone()).map_err(|error| told("its name", &error))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| match is_not_ours(&error) {
        true => format!(
            "TLS: its certificate was signed by none of the authorities in {}; name the right ones in {}",
            authorities.display(),
            trust.setting
        ),
        false => told("TLS", &error),
    })?;
    talk(stream, &request).await
}

fn request(url: &Url, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", url.target, url.place());
    text += &format!("User-Agent: deploy/{}\r\nAccept: */*\r\nConnection: close\r\n", env!("CARGO_PKG_VERSION"));
    text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    if let Some(login) = &url.login {
        text += &format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(login));
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut request = format!("{text}\r\n").into_bytes();
    request.extend_from_slice(body);
    request
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Result<(), String> {
    let sent = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    // Who refuses early may close before all is sent; what it says counts.
    let sent = sent.await;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < HEAD {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
        if status(&answer).is_some_and(|status| (200..300).contains(&status)) {
            return Ok(());
        }
    }
    match status(&answer) {
        Some(status) => {
            let text = String::from_utf8_lossy(&answer);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.trim()).unwrap_or_default();
            let body: String = body.lines().next().unwrap_or_default().chars().take(200).collect();
            let word = if (300..400).contains(&status) { " (redirects are not followed)" } else { "" };
            Err(format!("it answered {status}{word}{}{body}", if body.is_empty() { "" } else { ": " }))
        }
        None => Err(sent.err().map_or_else(|| "it did not answer in HTTP".into(), |error| error.to_string())),
    }
}

/// The status of an answer whose first line is whole; one that only says `go on` is none.
fn status(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(answer.get(..end)?).ok()?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5))?.parse().ok()?;
    if status != 100 {
        return Some(status);
    }
    let next = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    self::status(answer.get(next + 4..)?)
}

/// Whether a certificate was signed by none of the authorities, though one of them may bear the signer's name.
fn is_not_ours(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    use rustls::CertificateError::{BadSignature, UnknownIssuer};
    matches!(error, Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)))
}

/// What TLS is spoken with, and the file of authorities.
fn trusting(trust: Trust<'_>) -> Result<(ClientConfig, PathBuf), String> {
    let named = trust.file.map(Path::to_path_buf).or_else(|| std::env::var_os("SSL_CERT_FILE").map(Into::into));
    let usual = || BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
    let none = || format!("this machine has no list of authorities (ca-certificates); set {}", trust.setting);
    let path = named.or_else(usual).ok_or_else(none)?;
    let told = |why: &dyn std::fmt::Display| format!("the authorities in {}: {why}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| told(&error))?;
    let blocks = pem::blocks(&text).map_err(|why| told(&why))?;
    let mut roots = RootCertStore::empty();
    let certificates = blocks.into_iter().filter(|block| block.label == "CERTIFICATE");
    let (taken, _) =
        roots.add_parsable_certificates(certificates.map(|block| CertificateDer::from(block.der.to_vec())));
    if taken == 0 {
        return Err(told(&"there is none"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok((builder.with_root_certificates(roots).with_no_client_auth(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, host, port, target, shown) in [
            ("http://a.example", "a.example", 80, "/", "http://a.example/"),
            ("https://a.example/hook?x=1#y", "a.example", 443, "/hook?x=1", "https://a.example/…"),
            ("https://a.example:8443?x", "a.example", 8443, "/?x", "https://a.example:8443/…"),
            ("http://[fd00::1]:81/x", "fd00::1", 81, "/x", "http://[fd00::1]:81/…"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.target.as_str(), url.shown().as_str()),
                (host, port, target, shown)
            );
            assert_eq!(Url::parse(&url.whole()), Ok(url), "{text}");
        }
        let url = Url::parse("https://me:p%40ss%3Aw@h/T0/secret").unwrap();
        assert_eq!(url.login.as_deref(), Some("me:p@ss:w"));
        assert_eq!(url.secrets(), ["p@ss:w", "T0/secret"]);
        assert_eq!(Url::parse(&url.whole()), Ok(url.clone()));
        assert!(!format!("{url:?}").contains("secret"));
        for text in
            ["", "ftp://x", "http://", "http://a:0/", "http://a:x/", "http://a/b c", "http://a/\r\nX: y", "a.example"]
        {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_authority_that_is_not_known_is_told_with_what_names_it() {
        let signed = |name: &str| rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        let (ours, other) = (signed("localhost"), signed("localhost"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = rustls::pki_types::PrivateKeyDer::try_from(ours.signing_key.serialize_der()).unwrap();
        let config =
            builder.unwrap().with_no_client_auth().with_single_cert(vec![ours.cert.der().clone()], key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("https://localhost:{}/x", listener.local_addr().unwrap().port())).unwrap();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let trust = Trust { file: Some(&path), setting: "THE_SETTING" };
        let mut stranger = rcgen::CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        stranger.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
        let stranger = stranger.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        for pem in [other.cert.pem(), stranger.pem()] {
            std::fs::write(&path, pem).unwrap();
            let why = post(&url, &[], trust, b"{}").await.unwrap_err();
            assert!(why.contains("THE_SETTING") && why.contains("ca.pem"), "{why}");
        }
        std::fs::write(&path, ours.cert.pem()).unwrap();
        assert_eq!(post(&url, &[], trust, b"{}").await, Ok(()));
        std::fs::write(&path, "").unwrap();
        let why = post(&url, &[], trust, b"{}").await.unwrap_err();
        assert!(why.contains("ca.pem: there is none"), "{why}");
    }

    #[test]
    fn an_answer_is_known_by_its_first_line() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\n", Some(204)),
            ("HTTP/1.0 500 x\r\n\r\nwhy", Some(500)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 2", None),
            ("SSH-2.0-OpenSSH\r\n", None),
        ] {
            assert_eq!(status(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    #[test]
    fn headers_that_would_break_a_request_are_refused() {
        let of = |name: &str, value: &str| check(&[(name.to_string(), value.to_string())]);
        assert!(of("Authorization", "Bearer x y").is_ok());
        for (name, value) in [("A", "b\r\nC: d"), ("Host", "x"), ("", "x"), ("a b", "x"), ("Content-Length", "1")] {
            assert!(of(name, value).is_err(), "{name}");
        }
    }
}
