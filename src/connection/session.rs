//! One SSH connection: handshake, login, and channels that cannot lose an end unseen.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::{ChannelMsg, ChannelOpenFailure, Disconnect, cipher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth;
use super::channel::{self, Channel, ExitStatus, Remote};
use super::client::{Client, Notes, describe};
use super::connector::Shared;
use super::dial::{dial, timed_out};
use super::error::ConnectionError;
use super::greeting::{Heard, Listened};
use super::host_key::preferred_algorithms;
use super::target::Target;

/// Command channels open at once; sshd refuses more than `MaxSessions`, 10 by default.
const CHANNELS: usize = 8;

/// The bytes a host may send before it waits for us; downloads over long distances need much.
const WINDOW: u32 = 16 << 20;

/// Bytes sent in one piece.
const CHUNK: usize = 256 * 1024;

/// How long a channel may stay open and silent after its command has ended: a child in the background may hold it.
const LINGER: Duration = Duration::from_secs(5);

/// The longest single wait for a place among the server's sessions; all waits together are twice this.
const OPEN_PATIENCE: Duration = Duration::from_millis(800);

/// Greetings cut off by the server (`MaxStartups`) that are tried again before giving up.
const BUSY_RETRIES: u32 = 5;

/// A connection that is logged in.
pub(crate) struct Session {
    target: Arc<Target>,
    handle: Handle<Client>,
    notes: Arc<Notes>,
    channels: Arc<Semaphore>,
    /// The jump host's connection lives as long as this one.
    _via: Option<Arc<Session>>,
}

/// Why a handshake ended early.
enum HandshakeError {
    /// The server closed the connection before it said anything: too many are knocking at once.
    Busy(String),
    Final(ConnectionError),
}

impl Session {
    /// Connects and logs in.
    pub(crate) async fn connect(
        target: &Arc<Target>,
        via: Option<Arc<Session>>,
        shared: &Shared,
    ) -> Result<Session, ConnectionError> {
        let mut busy = 0;
        let mut failures = 0;
        loop {
            let error = match Self::handshake(target, via.as_ref(), shared).await {
                Ok((mut handle, notes)) => {
                    auth::log_in(&mut handle, &notes, target, shared).await?;
                    return Ok(Session {
                        target: target.clone(),
                        handle,
                        notes,
                        channels: Arc::new(Semaphore::new(CHANNELS)),
                        _via: via,
                    });
                }
                Err(HandshakeError::Busy(reason)) => {
                    busy += 1;
                    if busy <= BUSY_RETRIES {
                        // Spread out, or all who were refused together come back together.
                        let base = 100_u64 << busy.min(5);
                        tokio::time::sleep(Duration::from_millis(base / 2 + rand::random::<u64>() % base)).await;
                        continue;
                    }
                    ConnectionError::Handshake {
                        host: target.name.clone(),
                        address: target.address.clone(),
                        port: target.port,
                        reason: format!("{reason} (it may be limiting new connections: MaxStartups in sshd_config)"),
                    }
                }
                Err(HandshakeError::Final(error)) => error,
            };
            if failures >= target.retries || !error.is_transient() {
                return Err(error);
            }
            failures += 1;
            tokio::time::sleep(Duration::from_millis(500 << failures.min(5))).await;
        }
    }

    async fn handshake(
        target: &Arc<Target>,
        via: Option<&Arc<Session>>,
        shared: &Shared,
    ) -> Result<(Handle<Client>, Arc<Notes>), HandshakeError> {
        let heard = Heard::default();
        let stream = dial(target, via, &heard).await.map_err(HandshakeError::Final)?;
        let stream = Listened::new(stream, heard.clone());
        let known = shared.trust.known(target).map_err(HandshakeError::Final)?;
        let config = Arc::new(config(target, &known));
        let notes = Arc::new(Notes::default());
        let client = Client {
            target: target.clone(),
            trust: shared.trust.clone(),
            asker: shared.asker.clone(),
            notes: notes.clone(),
        };
        let handshake = client::connect_stream(config, stream, client);
        match shared.asker.within(target.timeouts.connect, handshake).await {
            None => Err(HandshakeError::Final(timed_out(target, "the SSH handshake"))),
            Some(Ok(handle)) => Ok((handle, notes)),
            Some(Err(error)) => {
                if let Some(refusal) = notes.refusal() {
                    return Err(HandshakeError::Final(refusal));
                }
                // A proxy command may still be about to say why.
                if heard.nothing() && target.proxy_command.is_some() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let closed = match &error {
                    russh::Error::Disconnect | russh::Error::HUP => true,
                    russh::Error::IO(e) => matches!(
                        e.kind(),
                        std::io::ErrorKind::ConnectionReset
                            | std::io::ErrorKind::BrokenPipe
                            | std::io::ErrorKind::UnexpectedEof
                    ),
                    _ => false,
                };
                let reason =
                    heard.describe().or_else(|| notes.end().filter(|_| closed)).unwrap_or_else(|| describe(&error));
                if closed && target.proxy_command.is_none() && (heard.nothing() || heard.is_busy()) {
                    return Err(HandshakeError::Busy(reason));
                }
                Err(HandshakeError::Final(ConnectionError::Handshake {
                    host: target.name.clone(),
                    address: target.address.clone(),
                    port: target.port,
                    reason,
                }))
            }
        }
    }

    /// Where this leads, for messages.
    pub(crate) fn describe(&self) -> String {
        self.target.describe()
    }

    /// Whether the connection is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The error that says how the connection ended.
    pub(crate) fn lost(&self) -> ConnectionError {
        ConnectionError::Lost {
            host: self.target.name.clone(),
            address: self.target.address.clone(),
            reason: self.notes.end().unwrap_or_else(|| "the other side closed it".to_string()),
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "done", "en").await;
    }

    /// A TCP connection from the host to somewhere else.
    pub(crate) async fn direct_tcpip(
        &self,
        address: &str,
        port: u16,
    ) -> Result<russh::ChannelStream<client::Msg>, ConnectionError> {
        match self.handle.channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0).await {
            Ok(channel) => Ok(channel.into_stream()),
            Err(error) => Err(self.channel_error(&format!("a TCP connection to {address} port {port}"), &error)),
        }
    }

    /// Starts a command.
    pub(crate) async fn open(self: &Arc<Self>, command: &str) -> Result<Channel, ConnectionError> {
        let Ok(permit) = self.channels.clone().acquire_owned().await else { return Err(self.lost()) };
        let mut wait = Duration::from_millis(50);
        let channel = loop {
            match self.handle.channel_open_session().await {
                Ok(channel) => break channel,
                // sshd gives a place back when the command of a closed channel has ended, which may be a moment
                // after the channel is gone.
                Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) if wait < OPEN_PATIENCE => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(self.channel_error("a session channel", &error)),
            }
        };
        channel.exec(true, command).await.map_err(|e| self.channel_error("the command", &e))?;
        let (ours, remote) = channel::pair();
        tokio::spawn(pump(channel, remote, self.clone(), permit));
        Ok(ours)
    }

    fn channel_error(&self, what: &str, error: &russh::Error) -> ConnectionError {
        if self.is_closed() {
            return self.lost();
        }
        let reason = match error {
            russh::Error::ChannelOpenFailure(failure) => match failure {
                ChannelOpenFailure::AdministrativelyProhibited => {
                    "its configuration forbids it (for jumps: AllowTcpForwarding in sshd_config)".to_string()
                }
                ChannelOpenFailure::ConnectFailed => {
                    "it could not be opened (for sessions: MaxSessions in sshd_config)".to_string()
                }
                other => format!("{other:?}"),
            },
            other => describe(other),
        };
        match error {
            russh::Error::ChannelOpenFailure(_) => {
                ConnectionError::Channel { host: self.target.name.clone(), what: what.to_string(), reason }
            }
            _ => self.lost(),
        }
    }
}

/// russh's settings for one host.
fn config(target: &Target, known: &super::known_hosts::KnownHosts) -> client::Config {
    let (keys, certificates) = preferred_algorithms(target, known);
    client::Config {
        window_size: WINDOW,
        nodelay: true,
        inactivity_timeout: None,
        keepalive_interval: target.timeouts.keepalive,
        keepalive_max: target.timeouts.keepalive_max,
        preferred: russh::Preferred {
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Owned(certificates),
            cipher: Cow::Owned(ciphers()),
            ..russh::Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// AES-GCM is by far the fastest where the processor knows AES, and by far the slowest where it does not.
fn ciphers() -> Vec<cipher::Name> {
    #[cfg(target_arch = "x86_64")]
    let aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let aes = false;
    let gcm = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let mut order = Vec::new();
    if aes {
        order.extend(gcm);
        order.push(cipher::CHACHA20_POLY1305);
    } else {
        order.push(cipher::CHACHA20_POLY1305);
        order.extend(gcm);
    }
    order.extend([cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR]);
    order
}

/// Moves the bytes of one channel until it has ended, and says how.
async fn pump(
    channel: russh::Channel<client::Msg>,
    remote: Remote,
    _session: Arc<Session>,
    _permit: OwnedSemaphorePermit,
) {
    let Remote { stream, stderr, exit, close } = remote;
    let (mut read, write) = channel.split();
    let write = Arc::new(write);
    let (mut from_caller, mut to_caller) = tokio::io::split(stream);

    // Writing waits for the host's window and must not stop the reading, or both sides wait for each other.
    let feeder = write.clone();
    let feed = tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from_caller.read(&mut buffer).await {
                Ok(n) if n > 0 => {
                    let Some(data) = buffer.get(..n) else { return };
                    if feeder.data_bytes(data.to_vec()).await.is_err() {
                        return;
                    }
                }
                _ => {
                    let _ = feeder.eof().await;
                    return;
                }
            }
        }
    });

    let mut status = None;
    let mut caller_reads = true;
    let closed_by_us = loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = close.notified() => break true,
            () = tokio::time::sleep(LINGER), if status.is_some() => break true,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                if caller_reads {
                    tokio::select! {
                        written = to_caller.write_all(&data) => caller_reads = written.is_ok(),
                        () = close.notified() => break true,
                    }
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                if let Ok(mut collected) = stderr.lock() {
                    collected.push(&data);
                }
            }
            Some(ChannelMsg::Eof) => {
                let _ = to_caller.shutdown().await;
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(ExitStatus::Code(exit_status)),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let name = match signal_name {
                    russh::Sig::Custom(name) => name,
                    known => format!("{known:?}"),
                };
                status = Some(ExitStatus::Signal(name));
            }
            Some(ChannelMsg::Failure) => {
                if let Ok(mut collected) = stderr.lock() {
                    collected.push(b"the server refused to run the command\n");
                }
                break true;
            }
            Some(ChannelMsg::Close) | None => break false,
            Some(_) => {}
        }
    };
    feed.abort();
    let _ = exit.send(Some(status.unwrap_or(ExitStatus::Lost)));
    drop(to_caller);
    if closed_by_us {
        let _ = write.close().await;
        // russh forgets a channel that it closes, so the answer is not seen; it comes soon. Whoever opens the next one
        // too early tries again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
