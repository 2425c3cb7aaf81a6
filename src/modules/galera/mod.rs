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
mod leaf;
mod lock_file;
mod log;
mod observe;
mod pending;
mod restart;

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
