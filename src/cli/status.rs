//! `deploy status`: what the clusters of the inventory are right now, and what is left to be done.

use super::access::{self, Access};
use super::arguments::{Shape, StatusArguments};
use super::table::table;
use super::{record, runs};
use crate::engine::Respondent;
use crate::engine::cluster_lock::Refusal;
use crate::galera::{Expected, Observation, Process, Sample, Tolerances, Verdict, gate};
use crate::journal::{Debt, Kept, Store};
use crate::modules::Status;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A member that says nothing for so long is one that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many runs are shown.
const RUNS: usize = 5;

/// A cluster as it is.
struct Cluster {
    name: String,
    verdict: Verdict,
    members: Vec<Member>,
    locks: Vec<Refusal>,
}

/// A host of a cluster: what was seen, or why it was not asked.
struct Member {
    host: Arc<str>,
    seen: Result<Observation, String>,
}

/// Runs the command.
pub fn run(arguments: StatusArguments) -> ExitCode {
    let access = match access::open(arguments.access.clone(), "looking at clusters") {
        Ok(access) => Arc::new(access),
        Err((said, code)) => {
            eprint!("{said}");
            return ExitCode::from(code);
        }
    };
    let clusters = match look_at_all(&access, &arguments) {
        Ok(clusters) => clusters,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(1);
        }
    };
    for remark in access.take_remarks() {
        eprintln!("warning: {remark}");
    }
    let (debts, kept) = kept(&access);
    let text = match arguments.format {
        Shape::Text => shown(&clusters, &debts, &kept),
        Shape::Json => {
            let document = json!({
                "clusters": clusters.iter().map(Cluster::json).collect::<Vec<_>>(),
                "owed": debts,
                "runs": kept.iter().map(runs::summary).collect::<Vec<_>>(),
            });
            format!("{document:#}\n")
        }
    };
    super::show(&access.redactor.mask(&text));
    ExitCode::from(u8::from(clusters.iter().any(|cluster| !cluster.verdict.is_open())))
}

/// What the journal of runs says of this inventory.
fn kept(access: &Access) -> (Vec<Debt>, Vec<Kept>) {
    let Ok(store) = Store::from_environment() else { return Default::default() };
    if let Err(error) = store.settle_killed() {
        eprintln!("warning: {error}");
    }
    let inventory = access.inventory_id();
    let debts = store.debts().unwrap_or_else(|error| {
        eprintln!("warning: {error}");
        Vec::new()
    });
    let debts = debts.into_iter().filter(|debt| debt.inventory == inventory).collect();
    let kept = store.list().into_iter().filter(|kept| kept.meta.inventory_id == inventory).take(RUNS).collect();
    (debts, kept)
}

fn look_at_all(access: &Arc<Access>, arguments: &StatusArguments) -> Result<Vec<Cluster>, String> {
    let groups = access.clusters(&arguments.groups)?;
    access.block_on(async {
        let mut clusters = Vec::new();
        for (name, hosts) in groups {
            clusters.push(look_at(access, &name, &hosts, arguments).await);
        }
        clusters
    })
}

async fn look_at(access: &Arc<Access>, name: &str, hosts: &[Arc<str>], arguments: &StatusArguments) -> Cluster {
    let reached = access.reach(hosts).await;
    let locks = locks(access, &reached).await;
    let first = look(access, &reached, false).await;
    let mut previous = Vec::new();
    let members = match arguments.quick {
        true => first,
        false => {
            // What rises between two looks matters, too.
            previous = first.iter().filter_map(|member| member.seen.as_ref().ok()).map(Sample::of).collect();
            tokio::time::sleep(Duration::from_secs(1)).await;
            look(access, &reached, true).await
        }
    };
    let arbitrators = arguments
        .arbitrators
        .or_else(|| hosts.iter().find_map(|host| access.number(host, "galera_arbitrators")))
        .unwrap_or(0);
    let silent = members.iter().find_map(|member| member.seen.as_ref().err().map(|why| (member.host.clone(), why)));
    let verdict = match silent {
        Some((host, why)) => Verdict::Closed { host: host.to_string(), reason: format!("it cannot be asked: {why}") },
        None => {
            let seen: Vec<Observation> = members.iter().filter_map(|m| m.seen.as_ref().ok().cloned()).collect();
            let expected = Expected::all(hosts.len() as u32, arbitrators);
            let distrust = crate::pki::distrust(&seen, crate::pki::now());
            match (gate(&seen, expected, &previous, &Tolerances::default()), distrust) {
                (Verdict::Open, Some(reason)) => Verdict::Closed { host: String::new(), reason },
                (verdict, _) => verdict,
            }
        }
    };
    Cluster { name: name.to_string(), verdict, members, locks }
}

type Reached = [(Arc<str>, Result<Arc<Respondent>, String>)];

/// Asks all hosts that were reached at the same time.
async fn ask_all(
    access: &Arc<Access>,
    reached: &Reached,
    module: &'static str,
    arguments: impl Fn(&str) -> Map<String, Value>,
) -> Vec<(Arc<str>, Result<Map<String, Value>, String>)> {
    let mut asking = Vec::new();
    for (host, respondent) in reached {
        let task = respondent.clone().map(|respondent| {
            let (access, arguments) = (access.clone(), arguments(host));
            tokio::spawn(async move {
                let answer = tokio::time::timeout(PATIENCE, respondent.ask(&access.run, module, arguments)).await;
                match answer {
                    Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                    Ok(Err(why)) => Err(why),
                    Ok(Ok(outcome)) if outcome.status == Status::Ok => Ok(outcome.data),
                    Ok(Ok(outcome)) => Err(outcome.msg.unwrap_or_else(|| "it does not say why".into())),
                }
            })
        });
        asking.push((host.clone(), task));
    }
    let mut answers = Vec::new();
    for (host, task) in asking {
        let answer = match task {
            Ok(task) => task.await.unwrap_or_else(|error| Err(format!("a fault of ours: {error}"))),
            Err(why) => Err(why),
        };
        answers.push((host, answer));
    }
    answers
}

async fn look(access: &Arc<Access>, reached: &Reached, close: bool) -> Vec<Member> {
    let arguments = |host: &str| json!({"host": host, "close": close}).as_object().cloned().unwrap_or_default();
    let answers = ask_all(access, reached, "deploy.builtin.galera_status", arguments).await;
    answers
        .into_iter()
        .map(|(host, answer)| {
            let seen = answer.and_then(|data| {
                let seen = data.get("galera").cloned().unwrap_or_default();
                serde_json::from_value(seen).map_err(|error| format!("its answer cannot be read: {error}"))
            });
            Member { host, seen: seen.map_err(|why| access.redactor.mask(&why).into_owned()) }
        })
        .collect()
}

/// The locks that members hold, one for each member that has it.
pub async fn locks(access: &Arc<Access>, reached: &Reached) -> Vec<Refusal> {
    let answers = ask_all(access, reached, "deploy.builtin.cluster_lock", |_| Map::new()).await;
    let mut locks = Vec::new();
    for (host, answer) in answers {
        match answer {
            Ok(data) => {
                let list = data.get("locks").and_then(Value::as_array).cloned().unwrap_or_default();
                locks.extend(list.iter().map(|holder| Refusal::read(&host, holder)));
            }
            Err(why) => access.run.warn(format!("[{host}] whether it is locked is not known: {why}")),
        }
    }
    locks
}

/// What a member is, in a word.
fn state(seen: &Result<Observation, String>) -> String {
    match seen {
        Err(_) => "unreachable".into(),
        Ok(seen) => match (&seen.status, seen.process) {
            (Some(status), _) if status.wsrep_on && status.is_primary() => status.local_state_comment.clone(),
            (Some(status), _) if status.wsrep_on => format!("{} (no quorum)", status.local_state_comment),
            (Some(_), _) => "without Galera".into(),
            (None, Process::Missing) => "not installed".into(),
            (None, Process::Running) => "does not answer".into(),
            (None, Process::Starting) => "starting".into(),
            (None, Process::Stopping) => "stopping".into(),
            (None, Process::Failed) => "failed".into(),
            (None, Process::Stopped) => "stopped".into(),
        },
    }
}

impl Cluster {
    fn json(&self) -> Value {
        let (host, reason) = match &self.verdict {
            Verdict::Open => (None, None),
            Verdict::Closed { host, reason } => (Some(host).filter(|host| !host.is_empty()), Some(reason)),
        };
        let members = self.members.iter().map(|member| match &member.seen {
            Ok(seen) => json!({"host": member.host, "state": state(&member.seen), "galera": seen}),
            Err(why) => json!({"host": member.host, "state": "unreachable", "reason": why}),
        });
        let locks = self.locks.iter().map(|lock| {
            json!({"cluster": lock.cluster, "host": lock.host, "owner": lock.owner, "run": lock.run,
                   "reason": lock.reason, "held_for": lock.held_for, "age": lock.age, "stale": lock.stale})
        });
        json!({
            "cluster": self.name,
            "gate": {"open": self.verdict.is_open(), "host": host, "reason": reason},
            "members": members.collect::<Vec<_>>(),
            "locks": locks.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let verdict = match self.verdict.reason() {
            None => format!("the gate is open, all {} members are well", self.members.len()),
            Some(reason) => format!("the gate is CLOSED: {reason}"),
        };
        let mut text = format!("cluster {}: {verdict}\n", self.name);
        let headings = ["MEMBER", "STATE", "SIZE", "VIEW", "SEQNO", "QUEUE", "VERSION"];
        let mut rows = vec![headings.map(String::from).to_vec()];
        for member in &self.members {
            let mut row = vec![member.host.to_string(), state(&member.seen)];
            let status = member.seen.as_ref().ok().and_then(|seen| seen.status.as_ref());
            if let Some(status) = status.filter(|status| status.wsrep_on) {
                row.extend([
                    status.cluster_size.to_string(),
                    status.cluster_conf_id.to_string(),
                    status.last_committed.to_string(),
                    status.local_recv_queue.to_string(),
                    status.version.clone(),
                ]);
            }
            rows.push(row);
        }
        text.push_str(&table(&rows, "  "));
        let mut told: Vec<(&str, &str)> = Vec::new();
        for lock in &self.locks {
            if told.contains(&(&lock.cluster, &lock.run)) {
                continue;
            }
            told.push((&lock.cluster, &lock.run));
            let same = |other: &&Refusal| other.cluster == lock.cluster && other.run == lock.run;
            let on: Vec<&str> = self.locks.iter().filter(same).map(|other| other.host.as_str()).collect();
            text.push_str(&format!(
                "  locked as {} by {}: {} (run {}, on {}; heartbeat {}{})\n",
                lock.cluster,
                lock.owner,
                lock.reason,
                lock.run,
                on.join(", "),
                lock.heartbeat(),
                if lock.stale {
                    format!("; if that run is over: deploy unlock {}", lock.cluster)
                } else {
                    String::new()
                }
            ));
        }
        text
    }
}

fn shown(clusters: &[Cluster], debts: &[Debt], kept: &[Kept]) -> String {
    let mut text = clusters.iter().map(Cluster::text).collect::<Vec<_>>().join("\n");
    if !debts.is_empty() {
        text.push_str("\nowed:\n");
        for debt in debts {
            text.push_str(&format!(
                "  {}: {} since {} (run {})\n",
                debt.host,
                debt.due.describe(),
                record::moment(debt.since),
                debt.run
            ));
        }
    }
    if !kept.is_empty() {
        text.push_str("\nlast runs:\n");
        text.push_str(&runs::rows(kept, "  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::galera::NodeStatus;

    #[test]
    fn a_member_in_a_word() {
        let status = |on: bool, primary: &str| NodeStatus {
            wsrep_on: on,
            cluster_status: primary.into(),
            local_state_comment: "Synced".into(),
            ..NodeStatus::default()
        };
        let seen = |status: Option<NodeStatus>, process| Ok(Observation { status, process, ..Observation::default() });
        for (seen, expected) in [
            (Err("no route".to_string()), "unreachable"),
            (seen(Some(status(true, "Primary")), Process::Running), "Synced"),
            (seen(Some(status(true, "non-Primary")), Process::Running), "Synced (no quorum)"),
            (seen(Some(status(false, "")), Process::Running), "without Galera"),
            (seen(None, Process::Failed), "failed"),
            (seen(None, Process::Missing), "not installed"),
        ] {
            assert_eq!(state(&seen), expected);
        }
    }

    #[test]
    fn a_lock_on_three_members_is_told_once() {
        let lock = |host: &str| Refusal {
            cluster: "db".into(),
            host: host.into(),
            owner: "alice@control".into(),
            run: "r1".into(),
            stale: true,
            age: Some(40),
            ..Refusal::default()
        };
        let cluster = Cluster {
            name: "galera".into(),
            verdict: Verdict::Closed { host: "a".into(), reason: "x".into() },
            members: vec![Member { host: "a".into(), seen: Err("y".into()) }],
            locks: vec![lock("a"), lock("b")],
        };
        let text = cluster.text();
        assert!(text.starts_with("cluster galera: the gate is CLOSED: a: x\n"), "{text}");
        assert_eq!(text.matches("alice@control").count(), 1, "{text}");
        assert!(text.contains("on a, b") && text.contains("deploy unlock db"), "{text}");
        assert_eq!(cluster.json()["gate"]["open"], false);
    }
}
