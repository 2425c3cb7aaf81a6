//! State transfers: incremental or full, and how far one is.

use super::status::NodeStatus;
use serde::Serialize;

/// How a node will get what it missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Nothing is missing.
    None,
    /// Incrementally, from a donor's cache.
    Incremental {
        /// Write sets that are missing.
        missing: i64,
        /// Members that have them.
        donors: Vec<String>,
    },
    /// Everything, from scratch.
    Full {
        /// Why.
        reason: String,
    },
}

/// Foresees how a node at `uuid:seqno` will be brought up to date by one of `donors`.
pub fn predict(uuid: &str, seqno: i64, donors: &[(String, NodeStatus)]) -> Transfer {
    let synced: Vec<&(String, NodeStatus)> = donors.iter().filter(|(_, status)| status.is_synced()).collect();
    let Some((_, reference)) = synced.first() else {
        return Transfer::Full { reason: "no member is Synced".into() };
    };
    if super::is_null_uuid(uuid) {
        return Transfer::Full { reason: "the node has no state".into() };
    }
    if uuid != reference.cluster_state_uuid {
        return Transfer::Full { reason: "the node's state is of another cluster".into() };
    }
    if seqno < 0 {
        return Transfer::Full { reason: "the node's position is not known (it runs, or has crashed)".into() };
    }
    let latest = synced.iter().map(|(_, status)| status.last_committed).max().unwrap_or(seqno);
    if seqno >= latest {
        return Transfer::None;
    }
    let able: Vec<String> = synced
        .iter()
        .filter(|(_, status)| status.local_cached_downto > 0 && seqno + 1 >= status.local_cached_downto)
        .map(|(host, _)| host.clone())
        .collect();
    if able.is_empty() {
        return Transfer::Full { reason: format!("no member's cache reaches back to {}", seqno + 1) };
    }
    Transfer::Incremental { missing: latest - seqno, donors: able }
}

/// Progress in a line of the server's log: `Receiving IST... 40.0% ( 4/10 events) complete` is (4, 10).
pub fn ist_progress(line: &str) -> Option<(u64, u64)> {
    let rest = line.split_once("Receiving IST")?.1;
    let (done, total) = rest.split_once('(')?.1.split_once("events")?.0.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::synced;
    use super::*;

    fn donor(host: &str, committed: i64, downto: i64) -> (String, NodeStatus) {
        let mut status = synced(host).status.unwrap();
        status.last_committed = committed;
        status.local_cached_downto = downto;
        (host.into(), status)
    }

    #[test]
    fn incremental_where_a_cache_reaches_back() {
        let donors = [donor("a", 100, 40), donor("b", 100, 90)];
        let uuid = donors[0].1.cluster_state_uuid.clone();
        for (seqno, expected) in [
            (100, Transfer::None),
            (95, Transfer::Incremental { missing: 5, donors: vec!["a".into(), "b".into()] }),
            (50, Transfer::Incremental { missing: 50, donors: vec!["a".into()] }),
            (39, Transfer::Incremental { missing: 61, donors: vec!["a".into()] }),
            (38, Transfer::Full { reason: "no member's cache reaches back to 39".into() }),
        ] {
            assert_eq!(predict(&uuid, seqno, &donors), expected, "{seqno}");
        }
        for (uuid, seqno, donors) in
            [(uuid.as_str(), -1, &donors[..]), ("x", 100, &donors), ("", 1, &donors), (&uuid, 99, &[])]
        {
            assert!(matches!(predict(uuid, seqno, donors), Transfer::Full { .. }), "{uuid} {seqno}");
        }
    }

    #[test]
    fn progress_lines() {
        let line = "2026-01-01 1:02:03 0 [Note] WSREP: Receiving IST... 40.0% ( 4/10 events) complete.";
        assert_eq!(ist_progress(line), Some((4, 10)));
        assert_eq!(ist_progress("WSREP: Receiving IST: 10 writesets"), None);
    }
}
