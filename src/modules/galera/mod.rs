//! Galera clusters: what a node is, the first bootstrap, waiting until it is well, recovery after an outage.

mod closer;
mod cluster_lock;
mod drain;
mod effective;
mod evidence;
mod galera_bootstrap;
mod galera_drain;
mod galera_gate;
mod galera_position;
mod galera_recover;
mod galera_restart;
mod galera_status;
mod galera_wait;
pub mod leaf;
mod lock_file;
mod log;
mod observe;
mod pending;
mod restart;
mod stuck;

use super::Module;

#[cfg(feature = "controller")]
pub use galera_gate::GaleraGate;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &cluster_lock::CLUSTER_LOCK,
    &galera_bootstrap::GALERA_BOOTSTRAP,
    &galera_gate::GALERA_GATE,
    &galera_drain::GALERA_DRAIN,
    &galera_position::GALERA_POSITION,
    &galera_recover::GALERA_RECOVER,
    &galera_restart::GALERA_RESTART,
    &galera_status::GALERA_STATUS,
    &galera_wait::GALERA_WAIT,
];

/// The controller half of the family: the host half is told the host's name in the inventory.
#[cfg(feature = "controller")]
fn name_host<'a>(
    host: &'a dyn super::ActionHost,
    mut arguments: serde_json::Map<String, serde_json::Value>,
) -> super::ActionFuture<'a, super::Prepared> {
    arguments.entry("host").or_insert_with(|| host.host().into());
    Box::pin(async move { Ok(super::Prepared::Send(arguments)) })
}

/// As [`name_host`], for a restart: one that an earlier run owes this node is due whatever its files say, and one that the
/// resumed run has made in this very turn is not due again.
#[cfg(feature = "controller")]
fn name_host_and_debts<'a>(
    host: &'a dyn super::ActionHost,
    mut arguments: serde_json::Map<String, serde_json::Value>,
) -> super::ActionFuture<'a, super::Prepared> {
    Box::pin(async move {
        let owed = host.variable("deploy_owed_restarts")?.unwrap_or_default();
        let unit = arguments.get("unit").and_then(|unit| unit.as_str()).unwrap_or("mariadb");
        let unit = if unit.contains('.') { unit.to_string() } else { format!("{unit}.service") };
        if owed.as_array().is_some_and(|units| units.iter().any(|owed| *owed == *unit)) {
            arguments.entry("force").or_insert_with(|| true.into());
        }
        if let Some(turn) = host.variable("deploy_resumed_turn")?.filter(|turn| turn.is_object()) {
            arguments.entry("resumed").or_insert(turn);
        }
        name_host(host, arguments).await
    })
}
