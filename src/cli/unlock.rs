//! `deploy unlock`: removes the lock of a run that is gone.

use super::access::{self, Access};
use super::arguments::UnlockArguments;
use super::status;
use crate::engine::cluster_lock::Refusal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the command.
pub fn run(arguments: UnlockArguments) -> ExitCode {
    let access = match access::open(arguments.access.clone(), "unlocking a cluster") {
        Ok(access) => Arc::new(access),
        Err((said, code)) => {
            eprint!("{said}");
            return ExitCode::from(code);
        }
    };
    let groups = match access.clusters(&arguments.groups) {
        Ok(groups) => groups,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(1);
        }
    };
    let mut hosts: Vec<Arc<str>> = groups.into_values().flatten().collect();
    hosts.sort();
    hosts.dedup();
    let done = access.block_on(unlock(&access, &hosts, arguments.cluster.as_deref()));
    for remark in access.take_remarks() {
        eprintln!("warning: {remark}");
    }
    match done {
        Ok(Ok(said)) => {
            super::show(&said);
            ExitCode::SUCCESS
        }
        Ok(Err(why)) | Err(why) => {
            eprintln!("error: {}", access.redactor.mask(&why));
            ExitCode::from(1)
        }
    }
}

async fn unlock(access: &Arc<Access>, hosts: &[Arc<str>], cluster: Option<&str>) -> Result<String, String> {
    let reached = access.reach(hosts).await;
    let unreached: Vec<String> =
        reached.iter().filter_map(|(host, r)| r.as_ref().err().map(|why| format!("{host}: {why}"))).collect();
    let locks: Vec<Refusal> = status::locks(access, &reached)
        .await
        .into_iter()
        .filter(|lock| cluster.is_none_or(|name| lock.cluster == name))
        .collect();
    if locks.is_empty() {
        let what =
            cluster.map_or("no cluster is locked".to_string(), |name| format!("the cluster {name} is not locked"));
        let silent = if unreached.is_empty() {
            String::new()
        } else {
            format!(", as far as could be asked ({})", unreached.join("; "))
        };
        return Ok(format!("{what}{silent}\n"));
    }
    // One member that hears the run's heartbeat is enough: it lives.
    if let Some(lock) = living(&locks) {
        return Err(format!("{lock}; a run that is heard of is not unlocked: stop it where it runs, or wait for it"));
    }
    let mut said = String::new();
    let mut failed = Vec::new();
    for lock in &locks {
        let Some((_, Ok(member))) = reached.iter().find(|(host, _)| **host == *lock.host) else { continue };
        let arguments = json!({"state": "broken", "cluster": lock.cluster, "run": lock.run});
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let answer = member.ask(&access.run, "deploy.builtin.cluster_lock", arguments).await;
        match answer {
            Ok(outcome) if outcome.data.get("broken").and_then(Value::as_bool) == Some(true) => {
                said.push_str(&format!(
                    "{}: the lock of the cluster {} is removed ({}, run {}: {})\n",
                    lock.host, lock.cluster, lock.owner, lock.run, lock.reason
                ))
            }
            Ok(outcome) => {
                let why = outcome.msg.unwrap_or_else(|| "it is held by somebody else by now, or beats again".into());
                failed.push(format!("{}: {why}", lock.host));
            }
            Err(why) => failed.push(format!("{}: {why}", lock.host)),
        }
    }
    for host in unreached {
        access.run.warn(format!("[{host}] not asked"));
    }
    match failed.is_empty() {
        true => Ok(said),
        false => Err(format!("{said}not everywhere: {}", failed.join("; "))),
    }
}

/// A lock whose heartbeats come, on whatever member.
fn living(locks: &[Refusal]) -> Option<&Refusal> {
    let mut alive: BTreeMap<&str, &Refusal> = BTreeMap::new();
    for lock in locks.iter().filter(|lock| !lock.stale) {
        alive.entry(&lock.run).or_insert(lock);
    }
    locks.iter().find_map(|lock| alive.get(lock.run.as_str()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_heartbeat_on_any_member_is_a_living_run() {
        let lock = |host: &str, stale| Refusal { host: host.into(), run: "r".into(), stale, ..Refusal::default() };
        assert_eq!(living(&[lock("a", true), lock("b", false)]).map(|lock| lock.host.as_str()), Some("b"));
        assert!(living(&[lock("a", true), lock("b", true)]).is_none());
        assert!(living(&[]).is_none());
    }
}
