//! `connection: local`: commands as processes of the controller, behind the same channel as over SSH.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::channel::{self, Channel, ExitStatus, Remote};
use super::error::ConnectionError;

/// Starts `sh -c command` in a process group of its own, so that Ctrl-C at the terminal reaches the controller first.
pub(crate) fn open(host: &str, command: &str) -> Result<Channel, ConnectionError> {
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| ConnectionError::Spawn {
            host: host.to_string(),
            command: "/bin/sh".to_string(),
            reason: e.to_string(),
        })?;
    let (channel, remote) = channel::pair();
    tokio::spawn(pump(child, remote));
    Ok(channel)
}

/// Moves the bytes of one process until it has ended.
async fn pump(mut child: Child, remote: Remote) {
    let Remote { stream, stderr: collected, exit, close } = remote;
    let (mut from_caller, mut to_caller) = tokio::io::split(stream);

    let input = child.stdin.take();
    let feed = tokio::spawn(async move {
        if let Some(mut input) = input {
            // A broken pipe only means that the command reads no more.
            let _ = tokio::io::copy(&mut from_caller, &mut input).await;
            let _ = input.shutdown().await;
        }
    });
    let errors = child.stderr.take();
    let gather = tokio::spawn(async move {
        let Some(mut errors) = errors else { return };
        let mut buffer = vec![0; 8192];
        while let Ok(n) = errors.read(&mut buffer).await {
            let Some(data) = buffer.get(..n).filter(|d| !d.is_empty()) else { break };
            if let Ok(mut collected) = collected.lock() {
                collected.push(data);
            }
        }
    });
    let output = child.stdout.take();
    let relay = async move {
        if let Some(mut output) = output {
            let _ = tokio::io::copy(&mut output, &mut to_caller).await;
        }
        let _ = to_caller.shutdown().await;
    };

    let finished = async {
        relay.await;
        let _ = gather.await;
        child.wait().await
    };
    let status = tokio::select! {
        status = finished => status,
        // The caller is gone. The pipes close with this task, which is what a closed SSH channel does to a command:
        // it sees the end of its input, and may finish what it is doing.
        () = close.notified() => {
            feed.abort();
            return;
        }
    };
    feed.abort();
    let status = match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => ExitStatus::Code(code.unsigned_abs()),
            (None, Some(signal)) => ExitStatus::Signal(signal_name(signal)),
            (None, None) => ExitStatus::Lost,
        },
        Err(_) => ExitStatus::Lost,
    };
    let _ = exit.send(Some(status));
}

/// The signal's name as SSH spells it: without `SIG`.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "ABRT",
        libc::SIGALRM => "ALRM",
        libc::SIGBUS => "BUS",
        libc::SIGFPE => "FPE",
        libc::SIGHUP => "HUP",
        libc::SIGILL => "ILL",
        libc::SIGINT => "INT",
        libc::SIGKILL => "KILL",
        libc::SIGPIPE => "PIPE",
        libc::SIGQUIT => "QUIT",
        libc::SIGSEGV => "SEGV",
        libc::SIGTERM => "TERM",
        libc::SIGUSR1 => "USR1",
        libc::SIGUSR2 => "USR2",
        other => return other.to_string(),
    };
    name.to_string()
}
