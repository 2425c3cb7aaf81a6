//! `cluster_lock`: a cluster's lock on this host.

use super::lock_file::{Attempt, BEAT, Holder, LockFile, MISSED, boot, uptime, wall};
use crate::machine::Machine;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// `deploy.builtin.cluster_lock`
pub const CLUSTER_LOCK: Module = Module {
    name: "deploy.builtin.cluster_lock",
    aliases: &["cluster_lock"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: ClusterLock::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Where the locks are; it is gone after a boot, as locks should be.
const DIRECTORY: &str = "/run/deploy";

crate::arguments! {
    /// The lock of a cluster on this host, which keeps two runs from working on one cluster at the same time.
    ///
    /// Rolling plays take it on all members by themselves; `deploy status` shows it and `deploy unlock` removes one
    /// whose run is gone. In a playbook this module is for looking (`state: shown`): `locks` is the list, each with
    /// `cluster`, `owner`, `run`, `reason`, `since`, `age` (seconds since its last heartbeat, by this host's
    /// clock) and `stale` (three heartbeats of five seconds were missed).
    pub struct ClusterLock {
        /// `shown`, `held`, `free` or `broken` (removed, if it is stale). `shown` when not given.
        pub state: Option<Text>,
        /// The cluster's name; all locks are shown when not given.
        pub cluster: Option<Text>,
        /// The run that takes it, gives it back, or is to be broken.
        pub run: Option<Text>,
        /// Who runs it.
        pub owner: Option<Text>,
        /// The controller's own mark.
        pub controller: Option<Text>,
        /// What for.
        pub reason: Option<Text>,
        /// A run that is known to be dead, whose lock is taken over.
        pub instead_of: Option<Text>,
        /// Where the locks are. `/run/deploy` when not given.
        pub directory: Option<Text>,
    }
}

/// A holder as shown.
fn shown(holder: &Holder) -> Value {
    let (boot, now) = (boot(), uptime());
    json!({
        "cluster": holder.cluster,
        "run": holder.run,
        "owner": holder.owner,
        "controller": holder.controller,
        "reason": holder.reason,
        "since": holder.since,
        "held_for": wall().saturating_sub(holder.since),
        "age": holder.age(&boot, now),
        "stale": holder.is_stale(&boot, now),
        "patience": BEAT * MISSED,
    })
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: ClusterLock = decode(arguments)?;
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone()).unwrap_or_default();
    let directory = PathBuf::from(arguments.directory.as_ref().map_or(DIRECTORY, |text| text.0.as_str()));
    let (cluster, run) = (text(&arguments.cluster), text(&arguments.run));
    let cannot = |error: std::io::Error| {
        let become_root = match error.kind() {
            std::io::ErrorKind::PermissionDenied => ": it takes root (become)",
            _ => "",
        };
        ModuleError::Failed(format!("the cluster's lock below {}: {error}{become_root}", directory.display()))
    };
    let state = text(&arguments.state);
    let lock = match state.as_str() {
        "" | "shown" => {
            let locks = LockFile::all(&directory).map_err(cannot)?;
            let locks: Vec<Value> =
                locks.iter().filter(|holder| cluster.is_empty() || holder.cluster == cluster).map(shown).collect();
            return Ok(Outcome::ok().with("locks", locks));
        }
        "held" | "free" | "broken" if cluster.is_empty() => {
            return Err(ModuleError::argument("cluster", "which cluster's lock?"));
        }
        "held" | "free" | "broken" if run.is_empty() => {
            return Err(ModuleError::argument("run", "whose lock? Rolling plays take it by themselves"));
        }
        "held" | "free" | "broken" => LockFile::new(&directory, &cluster),
        other => {
            return Err(ModuleError::argument("state", format!("`{other}` is none: use shown, held, free or broken")));
        }
    };
    // A check takes no lock.
    if machine.predicted() {
        return Ok(Outcome::ok().with("held", state == "held"));
    }
    match state.as_str() {
        "held" => {
            let wanted = Holder {
                cluster,
                run,
                owner: text(&arguments.owner),
                controller: text(&arguments.controller),
                reason: text(&arguments.reason),
                since: wall(),
                boot: boot(),
                beat: uptime(),
            };
            Ok(match lock.take(wanted, &text(&arguments.instead_of)).map_err(cannot)? {
                Attempt::Held => Outcome::ok().with("held", true),
                Attempt::Refused(holder) => Outcome::ok().with("held", false).with("holder", shown(&holder)),
            })
        }
        "free" => Ok(Outcome::ok().with("released", lock.release(&run).map_err(cannot)?)),
        _ => Ok(match lock.break_stale(&run).map_err(cannot)? {
            Ok(()) => Outcome::ok().with("broken", true),
            Err(holder) => Outcome::ok().with("broken", false).with("holder", holder.as_ref().map(shown)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::{Machine, Mode};
    use crate::modules::testing::{TestController, apply, run_on};
    use serde_json::json;

    #[test]
    fn taken_shown_refused_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("deploy").display().to_string();
        let ask = |state: &str, run: &str| {
            apply(
                "deploy.builtin.cluster_lock",
                &json!({"state": state, "cluster": "db", "run": run, "owner": format!("{run}@control"),
                        "reason": "a test", "directory": place}),
            )
        };
        assert_eq!(ask("held", "a").data["held"], true);
        let refused = ask("held", "b");
        assert_eq!(refused.data["held"], false);
        assert_eq!(refused.data["holder"]["owner"], "a@control");
        assert_eq!(refused.data["holder"]["stale"], false);
        assert_eq!(ask("broken", "a").data["broken"], false);
        assert_eq!(ask("shown", "").data["locks"][0]["reason"], "a test");
        assert_eq!(ask("free", "b").data["released"], false);
        assert_eq!(ask("free", "a").data["released"], true);
        assert_eq!(ask("shown", "").data["locks"], json!([]));
    }

    #[test]
    fn a_check_takes_none_and_bad_arguments_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display().to_string();
        let arguments = json!({"state": "held", "cluster": "db", "run": "a", "directory": place});
        let mut machine = Machine::new(Mode::Predicted);
        let outcome = run_on(&mut machine, &mut TestController::default(), "deploy.builtin.cluster_lock", &arguments);
        assert_eq!(outcome.data["held"], true);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        for bad in [json!({"state": "held"}), json!({"state": "held", "cluster": "x"}), json!({"state": "locked"})] {
            assert!(apply("deploy.builtin.cluster_lock", &bad).msg.is_some(), "{bad}");
        }
    }
}
