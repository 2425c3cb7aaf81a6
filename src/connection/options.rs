//! What the command line and the play say about connections, for all hosts that do not say otherwise themselves.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// The defaults for every host; a host's variables win over them, as in Ansible.
#[derive(Debug, Clone, Default)]
pub struct ConnectionOptions {
    /// `-c`: `ssh`, `smart` or `local`.
    pub connection: Option<String>,
    /// `-u`, or the play's `remote_user`.
    pub user: Option<String>,
    /// `-k`: the login password.
    pub password: Option<Secret>,
    /// `--private-key`.
    pub private_key: Option<PathBuf>,
    /// The play's `port`.
    pub port: Option<u16>,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// `ssh_args` of the configuration (`ANSIBLE_SSH_ARGS`).
    pub ssh_args: Option<String>,
    /// `--ssh-common-args`.
    pub ssh_common_args: Option<String>,
    /// `--ssh-extra-args`.
    pub ssh_extra_args: Option<String>,
    /// `host_key_checking` (`ANSIBLE_HOST_KEY_CHECKING`). False learns new hosts; a changed key is refused all the same.
    pub host_key_checking: Option<bool>,
    /// Nobody may be asked anything.
    pub batch: bool,
}
