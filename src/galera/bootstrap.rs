//! Whether a cluster may be bootstrapped for the first time, and by whom.

use super::status::{Observation, Process};
use serde::Serialize;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nobody has a state: this host starts the cluster.
    Bootstrap {
        /// Which.
        host: String,
    },
    /// There is a cluster: everybody else joins it.
    Join {
        /// Who is in it.
        members: Vec<String>,
    },
    /// Neither can be done safely.
    Refuse {
        /// Why, and what to do, as a sentence without a full stop.
        reason: String,
    },
}

/// Decides, from what was seen of every host. `expected` are all hosts of the cluster: one that was not seen is
/// unknown, not down. `chosen` is the host that shall start a new cluster, the first one when nothing is said.
pub fn decide(seen: &[Observation], expected: &[String], chosen: Option<&str>) -> Decision {
    let refuse = |reason: String| Decision::Refuse { reason };
    let members: Vec<String> = seen.iter().filter(|node| node.is_member()).map(|node| node.host.clone()).collect();
    if !members.is_empty() {
        return Decision::Join { members };
    }
    let unseen: Vec<&str> =
        expected.iter().filter(|host| !seen.iter().any(|node| node.host == **host)).map(String::as_str).collect();
    if !unseen.is_empty() {
        return refuse(format!(
            "nothing is known about {}: a host that cannot be looked at may be running the cluster, so none is \
             bootstrapped until all can be",
            unseen.join(", ")
        ));
    }
    if seen.is_empty() {
        return refuse("no host was looked at".into());
    }
    if let Some(node) = seen.iter().find(|node| matches!(node.process, Process::Starting | Process::Stopping)) {
        return refuse(format!("the server of {} is just starting or stopping: try again when it is done", node.host));
    }
    if let Some(node) = seen.iter().find(|node| node.status.as_ref().is_some_and(|s| s.wsrep_on)) {
        return refuse(format!(
            "{} runs without quorum: find out why (network, firewall, other members), a second cluster beside it would \
             split the data",
            node.host
        ));
    }
    // A server that runs and refuses us may be a member.
    let silent = |node: &&Observation| node.process == Process::Running && node.status.is_none();
    if let Some(node) = seen.iter().find(silent) {
        return refuse(format!(
            "the server of {} runs, but does not answer ({})",
            node.host,
            node.error.as_deref().unwrap_or("no reason given")
        ));
    }
    let stopped: Vec<&Observation> = seen.iter().filter(|node| node.has_state()).collect();
    if !stopped.is_empty() {
        return refuse(recovery(seen, &stopped));
    }
    let host = chosen.map(str::to_string).or_else(|| seen.first().map(|node| node.host.clone())).unwrap_or_default();
    if !seen.iter().any(|node| node.host == host) {
        return refuse(format!("`{host}` shall start the cluster, but is not one of its hosts"));
    }
    // The others' data would be replaced by the first state transfer.
    let lost: Vec<String> = seen
        .iter()
        .filter(|node| node.host != host && !node.user_databases.is_empty())
        .map(|node| format!("{} has {}", node.host, node.user_databases.join(", ")))
        .collect();
    if !lost.is_empty() {
        return refuse(format!(
            "bootstrapping {host} would replace databases on other hosts ({}): move them away, or let the host that \
             has them start the cluster",
            lost.join("; ")
        ));
    }
    Decision::Bootstrap { host }
}

/// Why a cluster that existed is not bootstrapped anew, and how it comes back.
fn recovery(seen: &[Observation], stopped: &[&Observation]) -> String {
    let table: Vec<String> = stopped
        .iter()
        .filter_map(|node| {
            let saved = node.saved.as_ref()?;
            let safe = if saved.safe_to_bootstrap { ", safe to bootstrap" } else { "" };
            Some(format!("{} at {}:{}{safe}", node.host, saved.uuid, saved.seqno))
        })
        .collect();
    let way = if seen.iter().all(|node| node.has_view) {
        "every node remembers the last view: start the server on all of them at once, they find each other".to_string()
    } else if let [one] = stopped
        .iter()
        .filter(|node| node.saved.as_ref().is_some_and(|s| s.safe_to_bootstrap && s.seqno >= 0))
        .collect::<Vec<_>>()
        .as_slice()
    {
        format!("{} left last: run galera_new_cluster there, then start the others one by one", one.host)
    } else {
        "find the node with the highest position (mariadbd --wsrep-recover) and start that one with galera_new_cluster"
            .to_string()
    };
    format!("the cluster existed already and is down ({}); it is not bootstrapped anew: {way}", table.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::synced;
    use super::super::{NodeStatus, SavedState};
    use super::*;

    fn bare(host: &str) -> Observation {
        Observation { host: host.into(), ..Observation::default() }
    }

    fn hosts() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    fn saved(host: &str, seqno: i64, safe: bool) -> Observation {
        let state = SavedState { uuid: "6f5c".into(), seqno, safe_to_bootstrap: safe };
        Observation { saved: Some(state), ..bare(host) }
    }

    fn reason(decision: Decision) -> String {
        match decision {
            Decision::Refuse { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bare_hosts_are_bootstrapped_by_the_first_or_the_chosen() {
        let seen = [bare("a"), bare("b"), bare("c")];
        assert_eq!(decide(&seen, &hosts(), None), Decision::Bootstrap { host: "a".into() });
        assert_eq!(decide(&seen, &hosts(), Some("c")), Decision::Bootstrap { host: "c".into() });
        assert!(reason(decide(&seen, &hosts(), Some("x"))).contains("`x`"));
        // A fresh server that the package has started is no state.
        let alone = Observation {
            process: Process::Running,
            status: Some(NodeStatus { local_state_uuid: "0000-0".into(), ..NodeStatus::default() }),
            ..bare("a")
        };
        assert_eq!(decide(&[alone, bare("b"), bare("c")], &hosts(), None), Decision::Bootstrap { host: "a".into() });
        // Nor is a state that a failed start has zeroed.
        let zeroed = Observation {
            saved: Some(SavedState { uuid: "0000-0000".into(), seqno: -1, safe_to_bootstrap: true }),
            ..bare("b")
        };
        assert_eq!(decide(&[bare("a"), zeroed, bare("c")], &hosts(), None), Decision::Bootstrap { host: "a".into() });
    }

    #[test]
    fn a_primary_anywhere_means_join() {
        let seen = [bare("a"), synced("b"), saved("c", -1, false)];
        assert_eq!(decide(&seen, &hosts(), None), Decision::Join { members: vec!["b".into()] });
        // Even when another host is not known.
        assert_eq!(decide(&seen[..2], &hosts(), None), Decision::Join { members: vec!["b".into()] });
    }

    #[test]
    fn whatever_is_doubtful_is_refused() {
        assert!(reason(decide(&[bare("a"), bare("b")], &hosts(), None)).contains("nothing is known about c"));
        let mut split = synced("b");
        split.status.as_mut().unwrap().cluster_status = "non-Primary".into();
        assert!(reason(decide(&[bare("a"), split, bare("c")], &hosts(), None)).contains("without quorum"));
        let silent = Observation { process: Process::Running, error: Some("denied".into()), ..bare("b") };
        assert!(reason(decide(&[bare("a"), silent, bare("c")], &hosts(), None)).contains("denied"));
        let starting = Observation { process: Process::Starting, ..bare("b") };
        assert!(reason(decide(&[bare("a"), starting, bare("c")], &hosts(), None)).contains("just starting"));
        let full = Observation { user_databases: vec!["shop".into()], ..bare("b") };
        let text = reason(decide(&[bare("a"), full.clone(), bare("c")], &hosts(), None));
        assert!(text.contains("b has shop"), "{text}");
        assert_eq!(
            decide(&[bare("a"), full, bare("c")], &hosts(), Some("b")),
            Decision::Bootstrap { host: "b".into() }
        );
    }

    #[test]
    fn a_cluster_that_existed_is_recovered_not_bootstrapped() {
        let text = reason(decide(&[saved("a", 5, false), saved("b", 9, true), bare("c")], &hosts(), None));
        assert!(text.contains("a at 6f5c:5; b at 6f5c:9, safe to bootstrap") && text.contains("b left last"), "{text}");
        let view = |host| Observation { has_view: true, ..saved(host, -1, false) };
        assert!(reason(decide(&[view("a"), view("b"), view("c")], &hosts(), None)).contains("all of them at once"));
        let text = reason(decide(&[saved("a", -1, false), saved("b", -1, false), bare("c")], &hosts(), None));
        assert!(text.contains("--wsrep-recover"), "{text}");
    }
}
