//! The first words of the other side, kept for the message when they are not those of an SSH server.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Stream;

/// How many bytes are kept.
const LIMIT: usize = 512;

/// What was heard before the handshake was done.
#[derive(Default, Clone)]
pub(crate) struct Heard {
    greeting: Arc<Mutex<Vec<u8>>>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl Heard {
    /// Whether nothing came at all.
    pub(crate) fn nothing(&self) -> bool {
        self.greeting.lock().is_ok_and(|g| g.is_empty()) && self.errors.lock().is_ok_and(|e| e.is_empty())
    }

    /// Whether the server said that it is too busy.
    pub(crate) fn is_busy(&self) -> bool {
        let text = self.greeting.lock().map(|g| String::from_utf8_lossy(&g).into_owned()).unwrap_or_default();
        !text.contains("SSH-") && (text.contains("MaxStartups") || text.contains("Not allowed at this time"))
    }

    /// What to tell: nothing when it was a proper greeting.
    pub(crate) fn describe(&self) -> Option<String> {
        let show = |bytes: &Mutex<Vec<u8>>| {
            let text = bytes.lock().map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
            text.lines().map(str::trim).find(|l| !l.is_empty()).map(|l| l.chars().take(200).collect::<String>())
        };
        if let Some(errors) = show(&self.errors) {
            return Some(format!("the proxy command said {errors:?}"));
        }
        show(&self.greeting)
            .filter(|first| !first.starts_with("SSH-"))
            .map(|first| format!("it answered {first:?}, which is no SSH server"))
    }

    /// Keeps what a proxy command wrote to its standard error.
    pub(crate) fn add_error(&self, data: &[u8]) {
        keep(&self.errors, data);
    }
}

fn keep(place: &Mutex<Vec<u8>>, data: &[u8]) {
    if let Ok(mut kept) = place.lock() {
        let room = LIMIT.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or_default());
    }
}

/// A stream whose first bytes are kept.
pub(crate) struct Listened {
    stream: Box<dyn Stream>,
    heard: Heard,
    full: bool,
}

impl Listened {
    pub(crate) fn new(stream: Box<dyn Stream>, heard: Heard) -> Self {
        Listened { stream, heard, full: false }
    }
}

impl AsyncRead for Listened {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.full {
            let new = buf.filled().get(before..).unwrap_or_default();
            keep(&self.heard.greeting, new);
            self.full = self.heard.greeting.lock().map_or(true, |g| g.len() >= LIMIT);
        }
        result
    }
}

impl AsyncWrite for Listened {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
