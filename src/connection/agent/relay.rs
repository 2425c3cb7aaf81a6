//! A TCP connection from the host to somewhere, as a stream of the controller's.

use super::pump::{Link, RelayEnd};
use crate::wire::{CHUNK, Frame, Kind, RELAY_WINDOW, RelayOpen};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The stream. `shutdown` ends our direction; dropping it closes the connection.
pub struct Relay {
    stream: DuplexStream,
    /// Dropped with us.
    _dropped: oneshot::Sender<()>,
}

/// Asks the agent to connect.
pub(super) async fn open(link: &Arc<Link>, target: &str, port: u16, timeout: Duration) -> std::io::Result<Relay> {
    let (opened, answer) = oneshot::channel();
    let (incoming, pieces) = mpsc::unbounded_channel();
    let credit = Arc::new(Semaphore::new(RELAY_WINDOW));
    let end = RelayEnd { opened: Some(opened), credit: credit.clone(), incoming };
    let id = link.add_relay(end).map_err(|why| Error::new(ErrorKind::NotConnected, why))?;
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    link.control_json(Kind::RelayOpen, id, &RelayOpen { host: target.to_string(), port, timeout_ms });
    // The host keeps the time; we only make sure that it is kept.
    let waited = tokio::time::timeout(timeout + Duration::from_secs(30), answer).await;
    let refused = match waited {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(why))) => Some(Error::new(ErrorKind::ConnectionRefused, why)),
        Ok(Err(_)) => Some(Error::new(ErrorKind::NotConnected, "the session is gone")),
        Err(_) => Some(Error::new(ErrorKind::TimedOut, "the host did not answer")),
    };
    if let Some(error) = refused {
        link.remove_relay(id);
        link.control(Frame::new(Kind::RelayClose, id, Vec::new()));
        return Err(error);
    }
    let (ours, theirs) = tokio::io::duplex(CHUNK);
    let (guard, dropped) = oneshot::channel();
    tokio::spawn(pass(link.clone(), id, theirs, pieces, credit, dropped));
    Ok(Relay { stream: ours, _dropped: guard })
}

/// Passes bytes both ways until both directions have ended, or one side is gone.
async fn pass(
    link: Arc<Link>,
    id: u32,
    stream: DuplexStream,
    mut pieces: mpsc::UnboundedReceiver<Vec<u8>>,
    credit: Arc<Semaphore>,
    dropped: oneshot::Receiver<()>,
) {
    let (mut from_user, mut to_user) = tokio::io::split(stream);
    let outward = async {
        loop {
            let mut piece = vec![0; CHUNK];
            let n = from_user.read(&mut piece).await.unwrap_or(0);
            if n == 0 {
                link.control(Frame::new(Kind::RelayEnd, id, Vec::new()));
                return;
            }
            piece.truncate(n);
            match credit.acquire_many(n as u32).await {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            }
            link.control(Frame::new(Kind::RelayData, id, piece));
        }
    };
    let inward = async {
        while let Some(piece) = pieces.recv().await {
            if piece.is_empty() || to_user.write_all(&piece).await.is_err() {
                break;
            }
            link.control(Frame::credit(id, piece.len()));
        }
        let _ = to_user.shutdown().await;
    };
    tokio::select! {
        _ = async { tokio::join!(outward, inward) } => {}
        _ = dropped => {}
    }
    link.remove_relay(id);
    link.control(Frame::new(Kind::RelayClose, id, Vec::new()));
}

impl AsyncRead for Relay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Relay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
