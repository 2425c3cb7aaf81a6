//! `galera_gate`: waits until all members of a cluster are well; the engine carries it out.

use crate::modules::control::control;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{FreeForm, Module};

/// `deploy.builtin.galera_gate`
pub static GALERA_GATE: Module =
    control("deploy.builtin.galera_gate", &["galera_gate"], FreeForm::KeyValue, GaleraGate::ARGUMENTS);

login_arguments! {
    /// Waits until every member of a Galera cluster is well and stays so, and fails with one sentence that says why
    /// it is not.
    ///
    /// All members of the inventory group are asked, whatever `--limit` or tags say; one that cannot be reached closes
    /// the gate. It runs once for all hosts of a play, changes nothing, and sets `galera_gate_members` (what was
    /// seen of each member) and `galera_gate_write_rate` (bytes that the cluster writes in a second) on all of them. In a check it looks once and never waits. It is what `gate: galera` of
    /// a play with `rolling` runs.
    pub struct GaleraGate {
        /// The inventory group of the members. `galera_group` when not given, and without that the play's hosts,
        /// `--limit` aside.
        pub group: Option<Text>,
        /// The members by name, instead of a group.
        pub members: Option<TextList>,
        /// Members that the cluster must have, arbitrators included. All of the group and the arbitrators when not
        /// given.
        pub expected_size: Option<Int>,
        /// Arbitrators (garbd) that are members beside the group. The variable `galera_arbitrators`, or none, when not given.
        pub arbitrators: Option<Int>,
        /// Good looks in a row that are needed. 3 when not given.
        pub stable: Option<Int>,
        /// Seconds over which all looks must have been good: a survivor still counts a killed member for five. 10 when
        /// not given.
        pub stable_for: Option<Int>,
        /// Seconds between two looks. 1 when not given.
        pub interval: Option<Int>,
        /// Seconds to wait for the gate to open. 120 when not given.
        pub timeout: Option<Int>,
        /// Write sets that may wait to be applied. 10 when not given.
        pub recv_queue: Option<Int>,
        /// Days that the certificates of all members must still hold. 7 when not given, and where a certificate lives so short that
        /// this would be more than a third of its life, that third.
        pub certificate_days: Option<Int>,
        /// Whether the certificates of members may be at their end, or past it: only while they are being renewed.
        #[serde(default)]
        pub allow_expired: Flag,
        /// Megabytes that must be free where a member's data are; 0 for a gate that does not look at disks. 64 when not
        /// given.
        pub disk_free: Option<Int>,
        /// Whether a backup may run on a member.
        #[serde(default)]
        pub allow_backups: Flag,
        /// Whether members may let peers in without TLS beside those with it (`socket.dynamic`): only while a cluster is
        /// on its way to TLS.
        #[serde(default)]
        pub allow_mixed_links: Flag,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
    }
}

#[cfg(feature = "controller")]
impl GaleraGate {
    /// Names of the arguments that are handed on to `galera_status`.
    pub const STATUS: [&str; 8] = [
        "unit",
        "login_user",
        "login_password",
        "login_host",
        "login_port",
        "login_unix_socket",
        "config_file",
        "connect_timeout",
    ];
}
