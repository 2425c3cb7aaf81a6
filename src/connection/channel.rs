//! A running command as its caller sees it: a byte stream both ways, its errors beside, its end.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Notify, watch};

/// Bytes in flight between the caller and the connection, each way.
pub(crate) const PIPE: usize = 256 * 1024;

/// How much of a command's standard error a [`Channel`] keeps: the first half and the last half of this.
pub(crate) const STDERR_LIMIT: usize = 64 * 1024;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u32),
    /// A signal ended it; its name without `SIG`.
    Signal(String),
    /// The connection or the channel ended without saying how the command did. Never a success.
    Lost,
}

impl ExitStatus {
    /// Whether the command exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, ExitStatus::Code(0))
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::Signal(name) => write!(f, "killed by signal {name}"),
            ExitStatus::Lost => f.write_str("the connection ended before the command said how it ended"),
        }
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

/// A running command: reading reads its standard output, writing writes its standard input, `shutdown` ends its
/// input. Dropping it closes the channel.
///
/// The output must be read: one channel whose output nobody reads holds up all channels of its connection.
pub struct Channel {
    stream: DuplexStream,
    control: Control,
}

/// What is left of a [`Channel`] after its streams were taken: its end and its standard error.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// Closes the channel when the last part of it is dropped.
struct Shared {
    stderr: Arc<Mutex<Collected>>,
    close: Arc<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close.notify_one();
    }
}

/// The other half, held by the task that moves the bytes.
pub(crate) struct Remote {
    pub stream: DuplexStream,
    pub stderr: Arc<Mutex<Collected>>,
    pub exit: watch::Sender<Option<ExitStatus>>,
    /// Notified when the caller has dropped the channel or asked for its end.
    pub close: Arc<Notify>,
}

/// Makes both halves.
pub(crate) fn pair() -> (Channel, Remote) {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let stderr = Arc::new(Mutex::new(Collected::default()));
    let close = Arc::new(Notify::new());
    let (sender, exit) = watch::channel(None);
    let shared = Arc::new(Shared { stderr: stderr.clone(), close: close.clone() });
    (
        Channel { stream: ours, control: Control { shared, exit } },
        Remote { stream: theirs, stderr, exit: sender, close },
    )
}

impl Channel {
    /// The byte stream and the rest, for a caller that reads and writes in different tasks (`tokio::io::split`). The
    /// channel is closed when both are dropped.
    pub fn into_parts(self) -> (ChannelStream, Control) {
        (ChannelStream { stream: self.stream, _keep: self.control.shared.clone() }, self.control)
    }

    /// The end and the standard error.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits for the command's end. The output must have been read, or be read meanwhile.
    pub async fn wait(&mut self) -> ExitStatus {
        self.control.wait().await
    }

    /// The standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.control.stderr()
    }
}

/// The byte stream of a [`Channel`].
pub struct ChannelStream {
    stream: DuplexStream,
    _keep: Arc<Shared>,
}

impl Control {
    /// Waits for the command's end.
    pub async fn wait(&mut self) -> ExitStatus {
        match self.exit.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or(ExitStatus::Lost),
            Err(_) => ExitStatus::Lost,
        }
    }

    /// The status, if the command has ended.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.exit.borrow().clone()
    }

    /// The standard error so far: all of it, or its beginning and its end with a line between them.
    pub fn stderr(&self) -> Vec<u8> {
        self.shared.stderr.lock().map(|c| c.bytes()).unwrap_or_default()
    }

    /// Ends the channel now; the command loses its standard streams.
    pub fn close(&self) {
        self.shared.close.notify_one();
    }
}

/// Bounded bytes: the first half and the last half of the limit.
#[derive(Default)]
pub(crate) struct Collected {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: u64,
}

impl Collected {
    pub(crate) fn push(&mut self, mut data: &[u8]) {
        let room = (STDERR_LIMIT / 2).saturating_sub(self.head.len()).min(data.len());
        if let Some((first, rest)) = data.split_at_checked(room) {
            self.head.extend_from_slice(first);
            data = rest;
        }
        self.tail.extend(data);
        let over = self.tail.len().saturating_sub(STDERR_LIMIT / 2);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    fn bytes(&self) -> Vec<u8> {
        let mut all = self.head.clone();
        if self.dropped > 0 {
            all.extend_from_slice(format!("\n[… {} bytes left out …]\n", self.dropped).as_bytes());
        }
        all.extend(self.tail.iter());
        all
    }
}

macro_rules! delegate_stream {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.stream).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $type {
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
    };
}

delegate_stream!(Channel);
delegate_stream!(ChannelStream);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_bounded_and_keeps_both_ends() {
        let mut collected = Collected::default();
        collected.push(b"first ");
        for _ in 0..100 {
            collected.push(&[b'x'; 4096]);
        }
        collected.push(b" last");
        let bytes = collected.bytes();
        assert!(bytes.len() < STDERR_LIMIT + 100);
        assert!(bytes.starts_with(b"first xxx"));
        assert!(bytes.ends_with(b"xxx last"));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("bytes left out"), "the gap is said");
    }

    #[test]
    fn lost_is_no_success() {
        assert!(ExitStatus::Code(0).is_success());
        for status in [ExitStatus::Code(1), ExitStatus::Signal("KILL".into()), ExitStatus::Lost] {
            assert!(!status.is_success(), "{status}");
        }
    }
}
