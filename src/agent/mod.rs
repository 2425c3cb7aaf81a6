//! The host half: a hub that owns the queue, and one child per identity that runs the modules.
//!
//! `deploy-agent --stdio` is the hub, started over SSH; `deploy-agent --child` is a child, started by the hub as the
//! user it is for. Both speak frames over their standard streams. Children run modules strictly one at a time, so a
//! crash of one is a failed task and not a lost host.

mod child;
mod children;
mod elevate;
mod hub;
mod installed;
mod job;
mod launch;
mod lock;
mod recorded;
mod relay;
mod remote;
#[cfg(any(test, debug_assertions))]
pub mod selftest;
mod signals;
mod spool;
mod terminal;

pub use child::{Find, run as run_child};

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// What can go wrong before any request is there to be answered.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The command line is not one that `deploy` writes.
    #[error("deploy-agent is started by deploy; it takes --stdio, --child or --version, not {0}")]
    Usage(String),
    /// A place of the agent's own.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The channel.
    #[error(transparent)]
    Wire(#[from] crate::wire::WireError),
}

impl AgentError {
    fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        AgentError::Io { what: what.into(), source }
    }
}

/// The whole program: arguments in, exit code out.
pub fn main(arguments: impl Iterator<Item = OsString>, find: Find) -> ExitCode {
    let arguments: Vec<String> = arguments.skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("--version") => {
            println!("deploy-agent {} (protocol {})", env!("CARGO_PKG_VERSION"), crate::wire::PROTOCOL);
            Ok(())
        }
        Some("--stdio") => stdio().and_then(|(input, output)| hub::run(input, output)),
        Some("--child") => stdio().and_then(|(input, output)| {
            if arguments.get(1).is_some_and(|a| a == "--temporary") {
                installed::remove_myself();
            }
            signals::leave_terminal();
            let watched = input.try_clone().map_err(|e| AgentError::io("cannot watch the channel", e))?;
            let gone = move || closed(&watched);
            Ok(child::run(std::io::BufReader::with_capacity(128 * 1024, input), output, find, &gone)?)
        }),
        Some("--job") => stdio().and_then(|(input, _)| job::run(input, arguments.get(1).map(String::as_str), find)),
        other => Err(AgentError::Usage(other.unwrap_or("nothing").to_string())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deploy-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the other end of a pipe is gone; what it has written before may still be there.
fn closed(pipe: &std::fs::File) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&at_once)), Ok(n) if n > 0)
}

/// The channel, taken away from the standard streams: what a module or library prints by mistake must not get
/// between frames.
fn stdio() -> Result<(std::fs::File, std::fs::File), AgentError> {
    signals::ignore();
    let take = || -> std::io::Result<(std::fs::File, std::fs::File)> {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        let output = std::io::stdout().as_fd().try_clone_to_owned()?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok((input.into(), output.into()))
    };
    take().map_err(|e| AgentError::io("cannot use the standard streams", e))
}
