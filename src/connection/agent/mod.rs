//! The agent as the controller sees it: started over one channel, fed with requests, asked for nothing twice.
//!
//! [`Session::start`] brings the agent onto a host if it is not there yet and starts it. [`Session::submit`] queues a
//! request and returns at once; the reply is awaited when it is needed.

mod blobs;
mod bootstrap;
mod codec;
mod host;
mod program;
mod pump;
mod relay;
mod session;

pub use blobs::{BlobReader, BlobSource, Blobs, NoBlobs};
pub use host::{Host, OpenFuture, Opened};
pub use program::{Program, Programs};
pub use relay::Relay;
pub use session::{AgentOptions, Answer, Call, Pending, ProgressSink, Session};

use super::ConnectionError;

/// Why the agent could not be started on a host.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// The channel could not be had.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// There is no agent for this kind of CPU.
    #[error(
        "the host is a `{arch}` machine and there is no agent for it here (only for {present}); build `deploy-agent` \
         for it and put it into {directory} as `deploy-agent-{arch}`, or set DEPLOY_AGENT_DIR to where it is"
    )]
    NoProgram {
        /// What `uname -m` says.
        arch: String,
        /// For which CPUs there is one.
        present: String,
        /// Where it is looked for.
        directory: String,
    },
    /// The agent's program could not be read on the controller.
    #[error("cannot read the agent's program {path}: {why}")]
    Program {
        /// Which file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// The host did not take it.
    #[error("the agent cannot be put on the host: {0}")]
    Place(String),
    /// It does not run there.
    #[error("the agent cannot be run on the host: {0}")]
    Run(String),
    /// The host said something else than an agent.
    #[error("the host's shell did not start the agent: {0}")]
    NoAnswer(String),
    /// An agent of another version.
    #[error("the agent on the host speaks protocol {theirs}, this `deploy` speaks {ours}")]
    Protocol {
        /// The agent's.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
}

/// The channel to the agent ended before a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection was lost during `{during}`: {why}")]
pub struct Lost {
    /// The task that was in hand: the oldest without an answer.
    pub during: String,
    /// The task that this answer was for.
    pub label: String,
    /// What is known of the reason.
    pub why: String,
}

impl Lost {
    /// Whether the task of this answer was in hand; the host finishes it, and tells the next run how it ended. Those
    /// behind it were most likely not begun.
    pub fn was_in_hand(&self) -> bool {
        self.during == self.label
    }
}
