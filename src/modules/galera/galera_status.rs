//! `galera_status`: what this host's node is.

use super::observe::{look, look_closer};
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `deploy.builtin.galera_status`
pub const GALERA_STATUS: Module = Module {
    name: "deploy.builtin.galera_status",
    aliases: &["galera_status"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Status::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host),
};

login_arguments! {
    /// Looks at this host's Galera node, whether its server runs or not. It changes nothing and does not fail because
    /// a node is down.
    ///
    /// Returned are `galera` (everything that was seen: `process`, `status`, `saved`, `has_view`, `user_databases`),
    /// and short answers: `member` (in a component with quorum), `synced`, `wsrep` (the server runs with Galera),
    /// `running`, `has_state` (has been part of a cluster), `members` (the names of those that hold data), `arbitrators` (of
    /// those that only vote), `cluster_size`, `cluster_uuid`,
    /// `cluster_conf_id`. Hand the registered results of all hosts to `galera_bootstrap` and `galera_wait`.
    pub struct Status {
        /// Look closer: also at the certificates that the node serves and has in its files (`galera.close.certificates`),
        /// whether its server would start with the option files that are there now (`configuration_error`), and at its
        /// disk. It starts the server's own check of its options, and opens one connection to the node's port for peers
        /// (which leaves a line about a failed handshake in its log).
        #[serde(default)]
        pub close: Flag,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Status = decode(arguments)?;
    let host = arguments.host.as_ref().map_or("", |host| host.0.as_str());
    let look = if arguments.close.0 { look_closer } else { look };
    let seen = look(machine, host, arguments.unit.as_deref(), &arguments.login())?.observation;
    let status = seen.status.as_ref();
    let mut outcome = Outcome::ok()
        .with("member", seen.is_member())
        .with("synced", status.is_some_and(|s| s.is_synced()))
        .with("running", status.is_some())
        .with("wsrep", status.is_some_and(|s| s.wsrep_on))
        .with("members", status.map(|s| s.members.clone()).unwrap_or_default())
        .with("arbitrators", status.map(|s| s.arbitrators.clone()).unwrap_or_default())
        .with("cluster_uuid", status.map_or("", |s| &s.cluster_state_uuid))
        .with("cluster_conf_id", status.map_or(-1, |s| s.cluster_conf_id))
        .with("has_state", seen.has_state())
        .with("cluster_size", status.map_or(0, |s| s.cluster_size));
    if seen.predicted && seen.is_member() {
        outcome.unknown_fields =
            ["cluster_size", "members", "cluster_uuid", "cluster_conf_id"].map(String::from).into();
    }
    let seen = serde_json::to_value(&seen).map_err(|e| ModuleError::Failed(e.to_string()))?;
    Ok(outcome.with("galera", seen))
}
