//! `galera_position`: where a node stopped, recovered from its data where it did not stop in order.

use super::observe::look;
use crate::galera::{Process, SavedState};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::Duration;

/// `deploy.builtin.galera_position`
pub const GALERA_POSITION: Module = Module {
    name: "deploy.builtin.galera_position",
    aliases: &["galera_position"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Position::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host),
};

login_arguments! {
    /// Finds out where this host's node stopped, for `galera_recover`.
    ///
    /// A server that stopped in order has left its position on the disk. One that was killed has not: then it is
    /// recovered with `mariadbd --wsrep-recover`, which does what every start does first. A server that runs is only
    /// looked at. In a check the position of a server that crashed is unknown.
    ///
    /// Returned is `galera`, as `galera_status` returns it, with the position in `saved`.
    pub struct Position {
        /// Seconds that the recovery may take. 3600 when not given.
        pub timeout: Option<Int>,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Position = decode(arguments)?;
    let host = arguments.host.as_ref().map_or("", |host| host.0.as_str());
    let mut seen = look(machine, host, arguments.unit.as_deref(), &arguments.login())?.observation;
    let down = matches!(seen.process, Process::Stopped | Process::Failed) && seen.status.is_none();
    let unknown = seen.saved.as_ref().is_some_and(|saved| saved.exists() && saved.seqno < 0);
    if down && unknown {
        let limit = Duration::from_secs(arguments.timeout.map_or(3600, |t| t.0.max(1) as u64));
        let mut progress = |passed: Duration, said: &str| {
            let text = format!("recovering the position for {} s: {said}", passed.as_secs());
            context.controller.progress(&text, None, None);
        };
        match machine.recover_position(limit, &mut progress) {
            Ok(Some((uuid, seqno))) => {
                let safe_to_bootstrap = seen.saved.as_ref().is_some_and(|saved| saved.safe_to_bootstrap);
                seen.saved = Some(SavedState { uuid, seqno, safe_to_bootstrap });
            }
            Ok(None) => seen.error = Some("its data tells no position".into()),
            Err(error @ MachineError::Unknown { .. }) => return Err(error.into()),
            Err(error) => seen.error = Some(error.to_string()),
        }
    }
    let position = seen.saved.as_ref().map_or(-1, |saved| saved.seqno);
    let seen = serde_json::to_value(&seen).map_err(|e| ModuleError::Failed(e.to_string()))?;
    Ok(Outcome::ok().with("position", position).with("galera", seen))
}
