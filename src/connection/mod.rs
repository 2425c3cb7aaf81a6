//! Ways to a host: SSH (also through jump hosts) and the controller itself, with one face.
//!
//! A [`Connector`] is made once a run. It turns a [`Target`] into a [`Connection`], and a connection runs commands:
//! [`Connection::exec`] to the end, [`Connection::open`] as a byte stream.

pub mod agent;
mod ask;
mod auth;
mod channel;
mod client;
mod connector;
mod dial;
mod error;
mod greeting;
mod host_key;
mod keys;
pub mod known_hosts;
mod local;
mod options;
mod prompt;
mod resolve;
mod session;
pub mod ssh_args;
pub mod ssh_config;
mod target;
mod tokens;
mod trust;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use channel::{Channel, ChannelStream, Control, ExecOutput, ExitStatus};
pub use connector::Connector;
pub use error::{ConnectionError, HostKeyProblem};
pub use options::ConnectionOptions;
pub use prompt::{NoPrompter, Prompter, TerminalPrompter};
pub use resolve::Resolver;
pub use target::{
    AddressFamily, AuthSources, HostKeyCheck, HostKeyPolicy, Identity, Methods, Target, Timeouts, Transport,
};

/// A host that commands can be run on. Cloning is cheap; the connection ends with its last clone and channel.
#[derive(Clone)]
pub struct Connection {
    target: Arc<Target>,
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Ssh(Arc<session::Session>),
    Local,
}

impl Connection {
    fn new(target: Arc<Target>, inner: Inner) -> Self {
        Connection { target, inner }
    }

    /// Runs `command` with the login shell of the host's user, feeds it `stdin` and collects what it prints.
    pub async fn exec(&self, command: &str, stdin: &[u8]) -> Result<ExecOutput, ConnectionError> {
        let (stream, mut control) = self.open(command).await?.into_parts();
        let (mut read, mut write) = tokio::io::split(stream);
        let mut stdout = Vec::new();
        let feed = async {
            // The command may end without reading; its status says what that means.
            let _ = write.write_all(stdin).await;
            let _ = write.shutdown().await;
        };
        let gather = async { read.read_to_end(&mut stdout).await };
        let ((), _) = tokio::join!(feed, gather);
        let status = control.wait().await;
        Ok(ExecOutput { status, stdout, stderr: control.stderr() })
    }

    /// Starts `command` and hands over its standard streams. At most eight run at once on an SSH connection; more
    /// wait for their turn.
    pub async fn open(&self, command: &str) -> Result<Channel, ConnectionError> {
        match &self.inner {
            Inner::Ssh(session) => session.open(command).await,
            Inner::Local => local::open(&self.target.name, command),
        }
    }

    /// A TCP connection made by the host's sshd (or by the controller itself for local ones).
    pub async fn tcp(&self, address: &str, port: u16) -> Result<Box<dyn TcpStreamLike>, ConnectionError> {
        match &self.inner {
            Inner::Ssh(session) => Ok(Box::new(session.direct_tcpip(address, port).await?)),
            Inner::Local => match tokio::net::TcpStream::connect((address, port)).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(e) => Err(ConnectionError::Connect {
                    host: self.target.name.clone(),
                    address: address.to_string(),
                    port,
                    reason: e.to_string(),
                }),
            },
        }
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        match &self.inner {
            Inner::Ssh(session) => session.is_closed(),
            Inner::Local => false,
        }
    }

    /// The error to report after [`ExitStatus::Lost`]: how the connection ended, as far as anybody said.
    pub fn lost(&self) -> ConnectionError {
        match &self.inner {
            Inner::Ssh(session) => session.lost(),
            Inner::Local => ConnectionError::Lost {
                host: self.target.name.clone(),
                address: "localhost".to_string(),
                reason: "the process ended without a status".to_string(),
            },
        }
    }

    /// What it was made from.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `user@address:port`, for messages.
    pub fn describe(&self) -> String {
        self.target.describe()
    }

    /// Ends the connection now, with whatever still runs on it.
    pub async fn close(self) {
        if let Inner::Ssh(session) = &self.inner {
            session.close().await;
        }
    }
}

/// A stream both ways.
pub trait TcpStreamLike: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> TcpStreamLike for T {}
