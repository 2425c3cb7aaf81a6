//! Answers to http-01: a listener on the controller, open only while an order is under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Whoever asks for so long without saying what for is not the server that validates.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request's first line and headers are not longer.
const HEAD: usize = 8 * 1024;

type Tokens = Arc<Mutex<BTreeMap<String, String>>>;

/// The listener. Dropped, it is closed.
pub struct Responder {
    tokens: Tokens,
    listening: JoinHandle<()>,
}

impl Responder {
    /// Opens it.
    pub async fn open(address: SocketAddr) -> std::io::Result<Responder> {
        let listener = TcpListener::bind(address).await?;
        let tokens = Tokens::default();
        let known = tokens.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known = known.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, &known)).await;
                });
            }
        });
        Ok(Responder { tokens, listening })
    }

    /// From now on this token is answered for; says whether that is new.
    pub fn put(&self, token: &str, authorization: &str) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        tokens.insert(token.to_string(), authorization.to_string()).is_none()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn answer(mut stream: TcpStream, tokens: &Tokens) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut bytes = [0u8; 1024];
        let read = stream.read(&mut bytes).await?;
        head.extend_from_slice(&bytes[..read]);
        if read == 0 || head.len() > HEAD {
            return Ok(());
        }
    }
    let found = {
        let tokens = tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        token(&head).and_then(|token| tokens.get(token).cloned())
    };
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let told = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(told.as_bytes()).await?;
    stream.shutdown().await
}

/// The token that a request asks for.
fn token(head: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let path = line.strip_prefix("GET ")?.split(' ').next()?;
    path.strip_prefix("/.well-known/acme-challenge/").filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_challenges_are_answered() {
        for (head, want) in [
            ("GET /.well-known/acme-challenge/abc-_1 HTTP/1.1\r\nHost: x\r\n\r\n", Some("abc-_1")),
            ("GET /.well-known/acme-challenge/ HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", None),
            ("POST /.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(token(head.as_bytes()), want, "{head}");
        }
    }
}
