//! What the agent needs of a connection: a command's standard streams.

use super::AgentError;
use crate::connection::Connection;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// A future of [`Host::open`].
pub type OpenFuture<'a> = Pin<Box<dyn Future<Output = Result<Opened, AgentError>> + Send + 'a>>;

/// Something that runs commands.
pub trait Host: Send + Sync {
    /// Starts `command` with the shell of the user who logged in.
    fn open<'a>(&'a self, command: &'a str) -> OpenFuture<'a>;
}

/// A running command.
pub struct Opened {
    /// Its standard output.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it has written to standard error, and how it ended if it has.
    pub diagnosis: Box<dyn Fn() -> String + Send + Sync>,
}

impl Host for Connection {
    fn open<'a>(&'a self, command: &'a str) -> OpenFuture<'a> {
        Box::pin(async move {
            let (stream, control) = Connection::open(self, command).await?.into_parts();
            let (output, input) = tokio::io::split(stream);
            let diagnosis = move || {
                let said = String::from_utf8_lossy(&control.stderr()).trim().to_string();
                match control.try_wait().filter(|status| !status.is_success()) {
                    Some(status) if said.is_empty() => status.to_string(),
                    Some(status) => format!("{said} ({status})"),
                    None => said,
                }
            };
            Ok(Opened { output: Box::new(output), input: Box::new(input), diagnosis: Box::new(diagnosis) })
        })
    }
}
