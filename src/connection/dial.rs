//! The byte stream under SSH: TCP, a channel of a jump host, or a `ProxyCommand`.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::error::ConnectionError;
use super::greeting::Heard;
use super::session::Session;
use super::target::{AddressFamily, Target};

/// A stream that SSH can run over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens the stream to `target`, over `via` when there are jump hosts.
pub(crate) async fn dial(
    target: &Target,
    via: Option<&Arc<Session>>,
    heard: &Heard,
) -> Result<Box<dyn Stream>, ConnectionError> {
    if let Some(via) = via {
        let limit = target.timeouts.connect;
        let open = via.direct_tcpip(&target.address, target.port);
        return match tokio::time::timeout(limit, open).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(ConnectionError::Channel { reason, .. })) => Err(ConnectionError::Connect {
                host: target.name.clone(),
                address: target.address.clone(),
                port: target.port,
                reason: format!("the jump host {} could not connect on: {reason}", via.describe()),
            }),
            Ok(Err(error)) => Err(ConnectionError::Jump { host: target.name.clone(), source: Box::new(error) }),
            Err(_) => Err(timed_out(target, "connecting through the jump host")),
        };
    }
    if let Some(command) = &target.proxy_command {
        return proxy(target, command, heard);
    }
    Ok(Box::new(tcp(target).await?))
}

/// The error of something that took too long.
pub(crate) fn timed_out(target: &Target, what: &str) -> ConnectionError {
    ConnectionError::Timeout {
        host: target.name.clone(),
        address: target.address.clone(),
        port: target.port,
        what: what.to_string(),
        seconds: target.timeouts.connect.as_secs(),
    }
}

fn proxy(target: &Target, command: &str, heard: &Heard) -> Result<Box<dyn Stream>, ConnectionError> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ConnectionError::Spawn {
            host: target.name.clone(),
            command: command.to_string(),
            reason: e.to_string(),
        })?;
    let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(ConnectionError::Spawn {
            host: target.name.clone(),
            command: command.to_string(),
            reason: "it has no standard streams".to_string(),
        });
    };
    // The process ends with its input. This task keeps what it complains of, and reaps it.
    let (errors, heard) = (child.stderr.take(), heard.clone());
    tokio::spawn(async move {
        if let Some(mut errors) = errors {
            let mut buffer = [0; 512];
            while let Ok(n) = errors.read(&mut buffer).await {
                match buffer.get(..n) {
                    Some(data) if n > 0 => heard.add_error(data),
                    _ => break,
                }
            }
        }
        let _ = child.wait().await;
    });
    Ok(Box::new(tokio::io::join(output, input)))
}

/// Connects to the first address that answers. Each gets a fair share of the time, so that one dead address does
/// not use up the others' chance.
async fn tcp(target: &Target) -> Result<TcpStream, ConnectionError> {
    let deadline = Instant::now() + target.timeouts.connect;
    let lookup_error =
        |reason: String| ConnectionError::Lookup { host: target.name.clone(), address: target.address.clone(), reason };
    let lookup = tokio::net::lookup_host((target.address.as_str(), target.port));
    let found = tokio::time::timeout_at(deadline, lookup)
        .await
        .map_err(|_| timed_out(target, "looking up the address"))?
        .map_err(|e| lookup_error(e.to_string()))?;
    let addresses: Vec<SocketAddr> = found
        .filter(|a| match target.family {
            AddressFamily::Any => true,
            AddressFamily::Inet => a.is_ipv4(),
            AddressFamily::Inet6 => a.is_ipv6(),
        })
        .collect();
    if addresses.is_empty() {
        return Err(lookup_error("it has no address of the family asked for".to_string()));
    }

    let mut reasons = Vec::new();
    let mut all_timed_out = true;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without this every small exchange waits 40 ms for a delayed acknowledgement.
                if let Err(e) = stream.set_nodelay(true) {
                    reasons.push(format!("{}: {e}", address.ip()));
                    continue;
                }
                return Ok(stream);
            }
            Ok(Err(e)) => {
                all_timed_out = false;
                reasons.push(format!("{}: {e}", address.ip()));
            }
            Err(_) => reasons.push(format!("{}: no answer", address.ip())),
        }
    }
    if all_timed_out {
        return Err(timed_out(target, "connecting"));
    }
    Err(ConnectionError::Connect {
        host: target.name.clone(),
        address: target.address.clone(),
        port: target.port,
        reason: reasons.join("; "),
    })
}
