//! What can go wrong between the controller and a host, in one enum: what happened, where, and what to do.

/// A failure to reach, prove or keep a host.
///
/// It is `Clone`, because a failed jump host is the failure of every host behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// A variable, an option or a file that configures the connection is wrong or asks for what is not there.
    #[error("{host}: {reason}")]
    Config { host: String, reason: String },

    /// The name has no address.
    #[error(
        "{host}: cannot resolve the address {address:?}: {reason}; set `ansible_host` to an address or a name that resolves"
    )]
    Lookup { host: String, address: String, reason: String },

    /// No TCP connection.
    #[error("{host}: cannot connect to {address} port {port}: {reason}")]
    Connect { host: String, address: String, port: u16, reason: String },

    /// Something took longer than it may.
    #[error(
        "{host}: {what} with {address} port {port} did not finish within {seconds} s; `ansible_timeout` (-T) sets the limit"
    )]
    Timeout { host: String, address: String, port: u16, what: String, seconds: u64 },

    /// The other side is no SSH server we can talk to.
    #[error("{host}: the SSH handshake with {address} port {port} failed: {reason}")]
    Handshake { host: String, address: String, port: u16, reason: String },

    /// The host's key is not the one we may trust. The text says all: fingerprints, places, what to do.
    #[error("{host}: {reason}")]
    HostKey { host: String, kind: HostKeyProblem, reason: String },

    /// The server let nobody of us in.
    #[error("{host}: {user}@{address} port {port} refused to log us in; {tried}{hint}")]
    Auth { host: String, address: String, port: u16, user: String, tried: String, hint: String },

    /// The connection ended while it was needed.
    #[error("{host}: the connection to {address} was lost: {reason}")]
    Lost { host: String, address: String, reason: String },

    /// The server refused a channel on a healthy connection.
    #[error("{host}: the server refused {what}: {reason}")]
    Channel { host: String, what: String, reason: String },

    /// A host on the way to this one could not be passed.
    #[error("{host}: cannot go through the jump host: {source}")]
    Jump { host: String, source: Box<ConnectionError> },

    /// A process on the controller itself (`connection: local`, `ProxyCommand`) could not be started.
    #[error("{host}: cannot start {command:?} on the controller: {reason}")]
    Spawn { host: String, command: String, reason: String },
}

/// How a host key failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyProblem {
    /// Nothing is recorded for the host and the policy does not allow learning.
    Unknown,
    /// Another key is recorded: a reinstalled host, or somebody in between.
    Changed,
    /// The key, or the authority that signed it, is marked `@revoked`.
    Revoked,
    /// The host's certificate is not valid for this host now.
    Certificate,
    /// The key could not be recorded, so it is not trusted either.
    NotRecorded,
}

impl ConnectionError {
    /// Whether this is what Ansible reports as `UNREACHABLE`. A wrong setting is an ordinary failure instead.
    pub fn is_unreachable(&self) -> bool {
        !matches!(self, ConnectionError::Config { .. } | ConnectionError::Spawn { .. })
    }

    /// Whether trying again at once can help: the server was too busy to greet us, or the network hiccuped.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectionError::Connect { .. } | ConnectionError::Timeout { .. } | ConnectionError::Lost { .. } => true,
            ConnectionError::Jump { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// The inventory name of the host concerned.
    pub fn host(&self) -> &str {
        match self {
            ConnectionError::Config { host, .. }
            | ConnectionError::Lookup { host, .. }
            | ConnectionError::Connect { host, .. }
            | ConnectionError::Timeout { host, .. }
            | ConnectionError::Handshake { host, .. }
            | ConnectionError::HostKey { host, .. }
            | ConnectionError::Auth { host, .. }
            | ConnectionError::Lost { host, .. }
            | ConnectionError::Channel { host, .. }
            | ConnectionError::Jump { host, .. }
            | ConnectionError::Spawn { host, .. } => host,
        }
    }

    /// Shorthand for [`ConnectionError::Config`].
    pub(crate) fn config(host: &str, reason: impl Into<String>) -> Self {
        ConnectionError::Config { host: host.to_string(), reason: reason.into() }
    }
}
