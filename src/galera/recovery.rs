//! What brings a cluster back that nobody serves any more: fail closed, and never lose more than must be.

use super::status::{Observation, Process};
use serde::Serialize;

/// Where a node stopped, for the user's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Name in the inventory.
    pub host: String,
    /// State id; empty when it has none.
    pub uuid: String,
    /// Position; -1 when it is not known.
    pub seqno: i64,
    /// It says that it was the last to leave. An empty node may say so too, so this only breaks ties.
    pub safe_to_bootstrap: bool,
    /// Write sets that the others have and this node does not; they reach it by a state transfer.
    pub behind: i64,
    /// Why it cannot be the one, where it cannot.
    pub excluded: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// There is a component with quorum: nobody bootstraps, who is out joins it.
    Join {
        /// Who is in it.
        members: Vec<String>,
    },
    /// All members are there and remember each other: started together they find each other, and nothing is
    /// bootstrapped.
    StartAll,
    /// A server that runs without quorum has everything: its half becomes Primary (`pc.bootstrap`), since all others are
    /// known to be down.
    Revive {
        /// Which.
        host: String,
    },
    /// This node has the highest position: it starts the cluster, the others join it.
    Bootstrap {
        /// Which.
        host: String,
    },
    /// Nothing is safe.
    Refuse {
        /// Why, and what to do, as a sentence without a full stop.
        reason: String,
    },
}

/// Decides from what was seen of every member. `expected` are all members of the inventory, in its order; `lost` those
/// whom the user has given up by name: only they may be missing from what was seen. Without `views` it is not relied upon
/// that nodes find each other again: that was tried.
pub fn recover(seen: &[Observation], expected: &[String], lost: &[String], views: bool) -> Recovery {
    let refuse = |reason: String| Recovery::Refuse { reason };
    let members: Vec<&Observation> = seen.iter().filter(|node| node.is_member()).collect();
    if let Some(first) = members.first() {
        let uuid = |node: &Observation| node.status.as_ref().map(|s| s.cluster_state_uuid.clone()).unwrap_or_default();
        if let Some(other) = members.iter().find(|node| uuid(node) != uuid(first)) {
            return refuse(format!(
                "{} and {} are Primary in two different clusters: decide which one is right and stop the servers of the \
                 other",
                first.host, other.host
            ));
        }
        return Recovery::Join { members: members.iter().map(|node| node.host.clone()).collect() };
    }
    let unseen: Vec<&str> = expected
        .iter()
        .filter(|host| !lost.contains(host) && !seen.iter().any(|node| node.host == **host))
        .map(String::as_str)
        .collect();
    if !unseen.is_empty() {
        return refuse(format!(
            "nothing is known about {}: a host that cannot be reached may be running the cluster. Reach it, or, when its \
             server is certainly gone for ever, name it as lost",
            unseen.join(", ")
        ));
    }
    if let Some(node) = seen.iter().find(|node| lost.contains(&node.host)) {
        return refuse(format!("{} is named as lost, and was reached: it is a member like the others", node.host));
    }
    if let Some(node) = seen.iter().find(|node| node.process == Process::Stopping) {
        return refuse(format!("the server of {} is just stopping: try again when it is down", node.host));
    }
    if let Some(node) = seen.iter().find(|node| node.process == Process::Running && node.status.is_none()) {
        return refuse(format!(
            "the server of {} runs, but does not answer ({}): it may be a member",
            node.host,
            node.error.as_deref().unwrap_or("no reason given")
        ));
    }
    let remembering = |node: &Observation| node.has_view && node.has_state();
    let all_remember = views && lost.is_empty() && !seen.is_empty() && seen.iter().all(remembering);
    let none_runs = seen.iter().all(|node| node.status.is_none());
    if all_remember && none_runs {
        return Recovery::StartAll;
    }
    most_advanced(seen, expected)
}

/// The node with the highest position, if one can be chosen.
fn most_advanced(seen: &[Observation], expected: &[String]) -> Recovery {
    let refuse = |reason: String| Recovery::Refuse { reason };
    let table = standings(seen, expected);
    if table.iter().all(|row| row.uuid.is_empty()) {
        return refuse(
            "no node has ever been part of a cluster, or none has kept its state: restore a backup, or make a new cluster \
             with the site's playbook"
                .into(),
        );
    }
    // Who has data and no position may have more than all others.
    if let Some(row) = table.iter().find(|row| !row.uuid.is_empty() && row.seqno < 0) {
        return refuse(format!(
            "the position of {} is not known ({}): it may have writes that the others do not",
            row.host,
            row.excluded.as_deref().unwrap_or("it was not recovered")
        ));
    }
    let candidates: Vec<&Standing> = table.iter().filter(|row| row.excluded.is_none()).collect();
    let Some(first) = candidates.first() else {
        return refuse("no node can start the cluster".into());
    };
    if let Some(other) = candidates.iter().find(|row| row.uuid != first.uuid) {
        return refuse(format!(
            "{} and {} were members of different clusters ({} and {}): positions of two clusters cannot be compared, \
             decide which data is right and move the other data directory away",
            first.host, other.host, first.uuid, other.uuid
        ));
    }
    let highest = candidates.iter().map(|row| row.seqno).max().unwrap_or(-1);
    let runs = |host: &str| seen.iter().any(|node| node.host == host && node.status.is_some());
    let best = candidates.iter().filter(|row| row.seqno == highest);
    // A server that runs has no start to go wrong; after it the one that knows it left last; then the inventory's order.
    let Some(best) = best.min_by_key(|row| (!runs(&row.host), !row.safe_to_bootstrap)) else {
        return refuse("no node can start the cluster".into());
    };
    if runs(&best.host) {
        return Recovery::Revive { host: best.host.clone() };
    }
    if let Some(survivor) = candidates.iter().find(|row| runs(&row.host)) {
        return refuse(format!(
            "{} runs without quorum at position {}, and {} has {}: stop the server of {} and try again, so that it gets \
             what it lacks",
            survivor.host, survivor.seqno, best.host, best.seqno, survivor.host
        ));
    }
    Recovery::Bootstrap { host: best.host.clone() }
}

/// Where every node stands, in the inventory's order.
pub fn standings(seen: &[Observation], expected: &[String]) -> Vec<Standing> {
    let mut table: Vec<Standing> =
        expected.iter().filter_map(|host| seen.iter().find(|node| node.host == *host)).map(standing).collect();
    let highest = table.iter().filter(|row| row.excluded.is_none()).map(|row| row.seqno).max().unwrap_or(-1);
    for row in &mut table {
        row.behind = if row.seqno < 0 { highest.max(0) } else { (highest - row.seqno).max(0) };
    }
    table
}

fn standing(node: &Observation) -> Standing {
    let mut row = Standing {
        host: node.host.clone(),
        uuid: String::new(),
        seqno: -1,
        safe_to_bootstrap: node.saved.as_ref().is_some_and(|saved| saved.safe_to_bootstrap),
        behind: 0,
        excluded: None,
    };
    if let Some(status) = node.status.as_ref().filter(|status| status.wsrep_on) {
        row.uuid = status.local_state_uuid.clone();
        row.seqno = status.last_committed;
    } else if let Some(saved) = node.saved.as_ref().filter(|saved| saved.exists()) {
        row.uuid = saved.uuid.clone();
        row.seqno = saved.seqno;
    }
    if super::is_null_uuid(&row.uuid) {
        row.uuid.clear();
        row.excluded = Some(match node.user_databases.is_empty() {
            true => "it has no state".into(),
            false => "its state was given up (an aborted state transfer or start), so its data may be torn".into(),
        });
    } else if row.seqno < 0 {
        let hint = "its position must be recovered from its data (galera_position)";
        row.excluded = Some(node.error.clone().unwrap_or_else(|| hint.into()));
    }
    row
}

/// The table as text, a line a node.
pub fn table(rows: &[Standing]) -> String {
    let width = rows.iter().map(|row| row.host.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let state = match row.uuid.is_empty() {
                true => "no state".to_string(),
                false => format!("{}:{}", row.uuid, row.seqno),
            };
            let behind = match row.behind {
                0 => String::new(),
                n => format!(", {n} write sets behind"),
            };
            let safe = if row.safe_to_bootstrap { ", says safe_to_bootstrap" } else { "" };
            let why = row.excluded.as_ref().map(|why| format!(", not a candidate: {why}")).unwrap_or_default();
            format!("  {:width$}  {state}{behind}{safe}{why}", row.host)
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::SavedState;
    use super::super::gate::tests::synced;
    use super::*;

    const UUID: &str = "6f5c3a52-0000-11ee-8000-aaaaaaaaaaaa";
    const NULL: &str = "00000000-0000-0000-0000-000000000000";

    fn hosts() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    fn down(host: &str, uuid: &str, seqno: i64) -> Observation {
        let saved = SavedState { uuid: uuid.into(), seqno, safe_to_bootstrap: false };
        let user_databases = if uuid == NULL { vec![] } else { vec!["app".into()] };
        Observation { host: host.into(), saved: Some(saved), user_databases, ..Observation::default() }
    }

    fn safe(mut node: Observation) -> Observation {
        node.saved.as_mut().unwrap().safe_to_bootstrap = true;
        node
    }

    fn remembers(mut node: Observation) -> Observation {
        node.has_view = true;
        node
    }

    fn without_quorum(host: &str, seqno: i64) -> Observation {
        let mut node = synced(host);
        let status = node.status.as_mut().unwrap();
        status.cluster_status = "non-Primary".into();
        status.ready = false;
        status.last_committed = seqno;
        node
    }

    fn reason(decision: Recovery) -> String {
        match decision {
            Recovery::Refuse { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_right_node_or_none() {
        let boot = |host: &str| Recovery::Bootstrap { host: host.into() };
        let revive = |host: &str| Recovery::Revive { host: host.into() };
        let cases: [(&str, Vec<Observation>, Recovery); 10] = [
            (
                "a Primary component is joined",
                vec![down("a", UUID, 9), synced("b"), down("c", UUID, 12)],
                Recovery::Join { members: vec!["b".into()] },
            ),
            (
                "all remember each other",
                vec![
                    remembers(down("a", UUID, -1)),
                    remembers(down("b", UUID, -1)),
                    remembers(Observation { process: Process::Starting, ..down("c", UUID, -1) }),
                ],
                Recovery::StartAll,
            ),
            ("the highest position", vec![down("a", UUID, 5), down("b", UUID, 7), down("c", UUID, 6)], boot("b")),
            ("a tie: who left last", vec![down("a", UUID, 7), safe(down("b", UUID, 7)), down("c", UUID, 6)], boot("b")),
            (
                "a tie: the inventory's order",
                vec![down("c", UUID, 7), down("b", UUID, 7), down("a", UUID, 3)],
                boot("b"),
            ),
            (
                "an empty node that says it is safe",
                vec![safe(down("a", NULL, -1)), down("b", UUID, 7), down("c", UUID, 7)],
                boot("b"),
            ),
            (
                "a disk is lost: views no longer help",
                vec![
                    remembers(down("a", UUID, 7)),
                    remembers(down("b", UUID, 8)),
                    Observation { host: "c".into(), ..Observation::default() },
                ],
                boot("b"),
            ),
            (
                "a survivor has everything",
                vec![without_quorum("a", 9), down("b", UUID, 9), down("c", UUID, 8)],
                revive("a"),
            ),
            (
                "the position of low value does not outweigh `safe`",
                vec![safe(down("a", UUID, 3)), down("b", UUID, 4), down("c", UUID, 4)],
                boot("b"),
            ),
            (
                "aborted state transfers are no candidates",
                vec![
                    Observation { user_databases: vec!["app".into()], ..down("a", NULL, -1) },
                    down("b", UUID, 1),
                    down("c", UUID, 2),
                ],
                boot("c"),
            ),
        ];
        for (what, seen, expected) in cases {
            assert_eq!(recover(&seen, &hosts(), &[], true), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let starting = |mut node: Observation| {
            node.process = Process::Stopping;
            node
        };
        let other = "77777777-0000-11ee-8000-aaaaaaaaaaaa";
        let silent = Observation { process: Process::Running, error: Some("1045".into()), ..down("c", UUID, -1) };
        for (seen, expected) in [
            (vec![down("a", UUID, 1), down("b", UUID, 1)], "nothing is known about c"),
            (vec![down("a", UUID, 1), down("b", other, 99), down("c", UUID, 1)], "different clusters"),
            (vec![down("a", NULL, -1), down("b", NULL, -1), safe(down("c", NULL, -1))], "restore a backup"),
            (vec![down("a", UUID, 4), down("b", UUID, -1), down("c", UUID, 4)], "position of b is not known"),
            (vec![down("a", UUID, 1), down("b", UUID, 1), starting(down("c", UUID, 1))], "just stopping"),
            (vec![down("a", UUID, 1), down("b", UUID, 1), silent], "does not answer (1045)"),
            (vec![without_quorum("a", 5), down("b", UUID, 9), down("c", UUID, 9)], "stop the server of a"),
        ] {
            let said = reason(recover(&seen, &hosts(), &[], true));
            assert!(said.contains(expected), "{said} / {expected}");
        }
        let mut two = [synced("a"), synced("b")];
        two[1].status.as_mut().unwrap().cluster_state_uuid = other.into();
        assert!(reason(recover(&two, &hosts(), &[], true)).contains("two different clusters"));
    }

    #[test]
    fn who_is_lost_must_be_named_and_gone() {
        let seen = [down("a", UUID, 3), remembers(down("b", UUID, 5))];
        let lost = ["c".to_string()];
        assert_eq!(recover(&seen, &hosts(), &lost, true), Recovery::Bootstrap { host: "b".into() });
        let all = [down("a", UUID, 3), down("b", UUID, 5), down("c", UUID, 9)];
        assert!(reason(recover(&all, &hosts(), &lost, true)).contains("named as lost, and was reached"));
    }

    #[test]
    fn the_table_says_what_each_would_lose() {
        let seen = [down("a", UUID, 3), down("b", UUID, 5), safe(down("c", NULL, -1))];
        let text = table(&standings(&seen, &hosts()));
        assert!(text.contains(&format!("a  {UUID}:3, 2 write sets behind")), "{text}");
        assert!(text.contains("c  no state, 5 write sets behind, says safe_to_bootstrap, not a candidate"), "{text}");
    }
}
