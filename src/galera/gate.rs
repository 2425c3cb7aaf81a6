//! The gate: whether every member is well enough for one of them to be touched.

use super::status::{NodeStatus, Observation, is_null_uuid};
use serde::Serialize;

/// A member as it was seen.
pub type Member = Observation;

/// A reading of one member, kept for the next round: what rises between two rounds matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Name in the inventory.
    pub host: String,
    /// Write sets that waited.
    pub recv_queue: u64,
    /// Flow control's pauses so far, in nanoseconds.
    pub paused_ns: u64,
}

impl Sample {
    /// What of a member is kept.
    pub fn of(member: &Member) -> Sample {
        let status = member.status.as_ref();
        Sample {
            host: member.host.clone(),
            recv_queue: status.map_or(0, |s| s.local_recv_queue),
            paused_ns: status.map_or(0, |s| s.flow_control_paused_ns),
        }
    }
}

/// How much is still well.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    /// Write sets that may wait on a member.
    pub recv_queue: u64,
    /// Part of the time between two samples that flow control may have paused, in per mille.
    pub paused_per_mille: u64,
    /// Time between two samples, in nanoseconds.
    pub interval_ns: u64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Tolerances { recv_queue: 10, paused_per_mille: 10, interval_ns: 1_000_000_000 }
    }
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Go on.
    Open,
    /// Do not.
    Closed {
        /// The member that is not well, where it is one.
        host: String,
        /// Why, as a sentence without a full stop.
        reason: String,
    },
}

impl Verdict {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self == Verdict::Open
    }

    /// The reason with the host in front; nothing when it is open.
    pub fn reason(&self) -> Option<String> {
        match self {
            Verdict::Open => None,
            Verdict::Closed { host, reason } if host.is_empty() => Some(reason.clone()),
            Verdict::Closed { host, reason } => Some(format!("{host}: {reason}")),
        }
    }
}

/// Judges all members at once. `expected` is the number of members the cluster shall have, a garbd included;
/// `previous` are the samples of the round before, if there was one.
pub fn gate(members: &[Member], expected: u32, previous: &[Sample], tolerances: &Tolerances) -> Verdict {
    let closed = |host: &str, reason: String| Verdict::Closed { host: host.to_string(), reason };
    let mut first: Option<(&str, &NodeStatus)> = None;
    for member in members {
        let host = member.host.as_str();
        let Some(status) = &member.status else {
            let why = member.error.as_deref().unwrap_or("the server does not run");
            return closed(host, format!("no answer from its server ({why})"));
        };
        if let Some(reason) = own_fault(status, expected, tolerances) {
            return closed(host, reason);
        }
        if let Some(before) = previous.iter().find(|sample| sample.host == host)
            && let Some(reason) = trend(status, before, tolerances)
        {
            return closed(host, reason);
        }
        match first {
            None => first = Some((host, status)),
            Some((other, reference)) => {
                if status.cluster_state_uuid != reference.cluster_state_uuid {
                    return closed(host, format!("it is in another cluster than {other} (different state ids)"));
                }
                if status.cluster_conf_id != reference.cluster_conf_id {
                    return closed(
                        host,
                        format!(
                            "the membership is changing (view {} here, {} on {other})",
                            status.cluster_conf_id, reference.cluster_conf_id
                        ),
                    );
                }
            }
        }
    }
    match first {
        Some(_) => Verdict::Open,
        None => closed("", "no member was looked at".into()),
    }
}

/// What is wrong with a node by itself.
fn own_fault(status: &NodeStatus, expected: u32, tolerances: &Tolerances) -> Option<String> {
    if !status.wsrep_on {
        return Some("its server runs without Galera (wsrep_on=OFF or no provider)".into());
    }
    if !status.is_primary() {
        return Some(format!(
            "it is not in a component with quorum (wsrep_cluster_status {})",
            shown(&status.cluster_status)
        ));
    }
    if !status.connected || !status.ready {
        return Some(format!(
            "it does not take queries (wsrep_ready {}, wsrep_connected {})",
            on(status.ready),
            on(status.connected)
        ));
    }
    if status.local_state != 4 {
        return Some(format!("it is {}, not Synced", shown(&status.local_state_comment)));
    }
    if expected != 0 && status.cluster_size != expected {
        let kind = if status.cluster_size > expected { "an unexpected member" } else { "a member is missing" };
        return Some(format!("the cluster has {} members, not {expected}: {kind}", status.cluster_size));
    }
    if is_null_uuid(&status.cluster_state_uuid) || status.cluster_state_uuid != status.local_state_uuid {
        return Some("its state is not the cluster's (wsrep_local_state_uuid differs)".into());
    }
    if status.desync || status.desync_count > 0 {
        return Some("it is desynced on purpose (a backup, a donor, wsrep_desync)".into());
    }
    if !status.evs_state.is_empty() && status.evs_state != "OPERATIONAL" {
        return Some(format!("the group is reforming (wsrep_evs_state {})", status.evs_state));
    }
    if !status.evs_delayed.is_empty() {
        return Some(format!("the connection to a peer is unsteady (wsrep_evs_delayed {})", status.evs_delayed));
    }
    if status.local_recv_queue > tolerances.recv_queue {
        return Some(format!("{} write sets wait to be applied", status.local_recv_queue));
    }
    None
}

/// What is wrong since the sample before.
fn trend(status: &NodeStatus, before: &Sample, tolerances: &Tolerances) -> Option<String> {
    // The count starts anew with the server and with FLUSH STATUS.
    let paused = status.flow_control_paused_ns.saturating_sub(before.paused_ns);
    let limit = tolerances.interval_ns / 1000 * tolerances.paused_per_mille;
    if paused > limit {
        return Some(format!("flow control paused replication for {} ms since the last look", paused / 1_000_000));
    }
    if before.recv_queue > 0 && status.local_recv_queue > before.recv_queue {
        return Some(format!(
            "write sets pile up ({} wait, {} a moment ago)",
            status.local_recv_queue, before.recv_queue
        ));
    }
    None
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn on(flag: bool) -> &'static str {
    if flag { "ON" } else { "OFF" }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn synced(host: &str) -> Member {
        let uuid = "6f5c3a52-0000-11ee-8000-aaaaaaaaaaaa".to_string();
        Member {
            host: host.into(),
            process: super::super::Process::Running,
            status: Some(NodeStatus {
                wsrep_on: true,
                cluster_status: "Primary".into(),
                ready: true,
                connected: true,
                local_state: 4,
                local_state_comment: "Synced".into(),
                cluster_size: 3,
                cluster_state_uuid: uuid.clone(),
                local_state_uuid: uuid,
                cluster_conf_id: 7,
                evs_state: "OPERATIONAL".into(),
                ..NodeStatus::default()
            }),
            ..Member::default()
        }
    }

    type Spoil = fn(&mut NodeStatus);

    #[test]
    fn each_condition_closes_the_gate_by_itself() {
        let spoils: [(Spoil, &str); 14] = [
            (|s| s.wsrep_on = false, "without Galera"),
            (|s| s.cluster_status = "non-Primary".into(), "quorum"),
            (|s| s.ready = false, "wsrep_ready OFF"),
            (|s| s.connected = false, "wsrep_connected OFF"),
            (
                |s| {
                    s.local_state = 2;
                    s.local_state_comment = "Donor/Desynced".into();
                },
                "Donor/Desynced, not Synced",
            ),
            (|s| s.local_state = 1, "not Synced"),
            (|s| s.cluster_size = 2, "missing"),
            (|s| s.cluster_size = 4, "unexpected"),
            (|s| s.local_state_uuid = "0".into(), "differs"),
            (|s| s.cluster_conf_id = 8, "view 8 here, 7 on a"),
            (|s| s.desync_count = 1, "desynced on purpose"),
            (|s| s.evs_state = "GATHER".into(), "reforming"),
            (|s| s.evs_delayed = "x:1".into(), "unsteady"),
            (|s| s.local_recv_queue = 11, "11 write sets"),
        ];
        let members = [synced("a"), synced("b"), synced("c")];
        assert!(gate(&members, 3, &[], &Tolerances::default()).is_open());
        for (spoil, expected) in spoils {
            let mut members = members.clone();
            spoil(members[1].status.as_mut().unwrap());
            match gate(&members, 3, &[], &Tolerances::default()) {
                Verdict::Closed { host, reason } => {
                    assert_eq!(host, "b", "{reason}");
                    assert!(reason.contains(expected), "{reason} / {expected}");
                }
                Verdict::Open => panic!("open in spite of {expected}"),
            }
        }
    }

    #[test]
    fn two_clusters_silence_and_nobody_close_it() {
        let mut members = [synced("a"), synced("b")];
        let status = members[1].status.as_mut().unwrap();
        status.cluster_state_uuid = "77777777-0000-11ee-8000-aaaaaaaaaaaa".into();
        status.local_state_uuid = status.cluster_state_uuid.clone();
        let verdict = gate(&members, 3, &[], &Tolerances::default());
        assert!(verdict.reason().unwrap().contains("another cluster"), "{verdict:?}");
        members[1].status = None;
        assert!(gate(&members, 3, &[], &Tolerances::default()).reason().unwrap().starts_with("b: no answer"));
        assert!(!gate(&[], 3, &[], &Tolerances::default()).is_open());
    }

    #[test]
    fn what_rises_between_two_looks_closes_it() {
        let mut member = synced("a");
        let mut before = Sample::of(&member);
        member.status.as_mut().unwrap().flow_control_paused_ns = 20_000_000;
        assert!(!gate(&[member.clone()], 3, &[before.clone()], &Tolerances::default()).is_open());
        // Without a sample before, the count since the server's start means nothing.
        assert!(gate(&[member.clone()], 3, &[], &Tolerances::default()).is_open());
        before.paused_ns = 20_000_000;
        before.recv_queue = 3;
        member.status.as_mut().unwrap().local_recv_queue = 4;
        assert!(!gate(&[member.clone()], 3, &[before.clone()], &Tolerances::default()).is_open());
        member.status.as_mut().unwrap().local_recv_queue = 2;
        assert!(gate(&[member], 3, &[before], &Tolerances::default()).is_open());
    }
}
