//! Everything that is decided about a host before the first packet: where it is, who we are there, whom we trust.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// One host to connect to, completely resolved. Two equal targets can share a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The name in the inventory, for messages.
    pub name: String,
    /// Where to connect: a name or an address.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// The login user.
    pub user: String,
    /// SSH, or the controller itself.
    pub transport: Transport,
    /// How to prove who we are.
    pub auth: AuthSources,
    /// How the host proves who it is.
    pub host_key: HostKeyCheck,
    /// The hosts to go through, first hop first.
    pub jump: Vec<Target>,
    /// A command whose standard streams replace the TCP connection (`ProxyCommand`), its tokens already expanded.
    pub proxy_command: Option<String>,
    /// IPv4 or IPv6 only.
    pub family: AddressFamily,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// How often a connection that failed for a passing reason is tried again.
    pub retries: u32,
}

/// How the host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Over SSH.
    Ssh,
    /// Processes of the controller itself.
    Local,
}

/// Which address families may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// Whatever the name resolves to.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// Limits of time of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, handshake and host key, each hop for itself; Ansible's `timeout`.
    pub connect: Duration,
    /// Silence after which a keepalive is sent. None sends none.
    pub keepalive: Option<Duration>,
    /// Keepalives without an answer after which the connection is lost.
    pub keepalive_max: usize,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(10), keepalive: Some(Duration::from_secs(15)), keepalive_max: 3 }
    }
}

/// The ways to log in.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthSources {
    /// The agent's socket, if one may be used.
    pub agent: Option<PathBuf>,
    /// Key files in the order to try.
    pub identities: Vec<Identity>,
    /// User certificates beyond those that lie beside their key.
    pub certificates: Vec<PathBuf>,
    /// Only the keys of `identities`, even when the agent offers more.
    pub identities_only: bool,
    /// The login password.
    pub password: Option<Secret>,
    /// The passphrase of the key files, when it is known beforehand.
    pub passphrase: Option<Secret>,
    /// Methods that the configuration allows.
    pub methods: Methods,
    /// Whether somebody may be asked (`BatchMode` is not set).
    pub interactive: bool,
    /// What the configuration asks for and this program does not offer; named when logging in fails.
    pub unsupported: Vec<String>,
}

impl Default for AuthSources {
    fn default() -> Self {
        AuthSources {
            agent: None,
            identities: Vec::new(),
            certificates: Vec::new(),
            identities_only: false,
            password: None,
            passphrase: None,
            methods: Methods::default(),
            interactive: true,
            unsupported: Vec::new(),
        }
    }
}

/// A key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether somebody named it, so that its absence is worth a word; false for the usual places.
    pub explicit: bool,
}

/// The authentication methods that may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    /// Keys and certificates.
    pub publickey: bool,
    /// A password.
    pub password: bool,
    /// Questions of the server, usually PAM's for the password.
    pub keyboard_interactive: bool,
}

impl Default for Methods {
    fn default() -> Self {
        Methods { publickey: true, password: true, keyboard_interactive: true }
    }
}

/// How the host's key is judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostKeyCheck {
    /// What to do with a key nobody knows.
    pub policy: HostKeyPolicy,
    /// The name the key is recorded under instead of the address (`HostKeyAlias`).
    pub alias: Option<String>,
    /// Files that are read, and the first of them written.
    pub user_files: Vec<PathBuf>,
    /// Files that are only read.
    pub global_files: Vec<PathBuf>,
    /// Files of public keys that must never be accepted (`RevokedHostKeys`).
    pub revoked_files: Vec<PathBuf>,
    /// Whether names are hashed when recorded.
    pub hash_names: bool,
    /// Keys (`ssh-ed25519 AAAA…`) or fingerprints (`SHA256:…`) from the inventory's `ansible_ssh_host_key`. When
    /// there are any, nothing else is trusted.
    pub pinned: Vec<String>,
}

/// What to do with a host key that is recorded nowhere. A key that contradicts a record is refused by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyPolicy {
    /// Refuse it (`StrictHostKeyChecking yes`).
    Strict,
    /// Ask; refuse when nobody can be asked (OpenSSH's and Ansible's default).
    #[default]
    Ask,
    /// Record it and go on (`accept-new`; also what `no` and `host_key_checking = False` mean here).
    AcceptNew,
}

impl Target {
    /// A target with OpenSSH's defaults, for tests and for jump hosts written as plain addresses.
    pub fn plain(name: &str, address: &str, port: u16, user: &str) -> Self {
        Target {
            name: name.to_string(),
            address: address.to_string(),
            port,
            user: user.to_string(),
            transport: Transport::Ssh,
            auth: AuthSources::default(),
            host_key: HostKeyCheck::default(),
            jump: Vec::new(),
            proxy_command: None,
            family: AddressFamily::Any,
            timeouts: Timeouts::default(),
            retries: 0,
        }
    }

    /// The controller itself.
    pub fn local(name: &str) -> Self {
        let user = std::env::var("USER").unwrap_or_default();
        Target { transport: Transport::Local, ..Target::plain(name, "localhost", 0, &user) }
    }

    /// `user@address:port`, and how it is reached, for messages.
    pub fn describe(&self) -> String {
        match self.transport {
            Transport::Local => "local".to_string(),
            Transport::Ssh => {
                let mut text = format!("{}@{}:{}", self.user, self.address, self.port);
                for hop in &self.jump {
                    text.push_str(&format!(" via {}@{}:{}", hop.user, hop.address, hop.port));
                }
                text
            }
        }
    }
}
