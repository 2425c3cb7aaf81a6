//! What a restart of a node will cost, before it is stopped: an incremental or a full transfer, and how long.

use super::status::{NodeStatus, Observation, is_null_uuid};
use serde::Serialize;

/// What is known before a node is stopped, or while it is down.
#[derive(Clone, Debug, Default)]
pub struct Before<'a> {
    /// The node itself.
    pub node: Option<&'a Observation>,
    /// The other members.
    pub others: &'a [Observation],
    /// Bytes of write sets a second that were seen lately.
    pub write_rate: Option<f64>,
    /// Seconds that the node will be away on purpose beside its restart.
    pub away: f64,
}

/// What is foreseen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// `none`, `ist` or `sst`.
    pub transfer: Kind,
    /// Why, as a sentence without a full stop.
    pub reason: String,
    /// Members that can send what will be missing.
    pub donors: Vec<String>,
    /// Bytes that will be sent, roughly.
    pub bytes: u64,
    /// Seconds from the stop to Synced, roughly.
    pub seconds: f64,
    /// Seconds that a node may be away at the present rate of writing; nothing when nobody writes.
    pub window: Option<f64>,
    /// What is risky, though it will probably go well.
    pub warning: Option<String>,
}

/// A kind of transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing will be missing.
    None,
    /// What is missing, out of a donor's cache.
    Ist,
    /// Everything.
    Sst,
}

impl Kind {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::None => "no transfer",
            Kind::Ist => "IST",
            Kind::Sst => "SST",
        }
    }
}

/// Seconds that a stop and a start take by themselves (measured: 3 to 6 s with small pools).
const RESTART_S: f64 = 5.0;
/// Seconds that a full transfer takes beside the copying: the script of mariabackup sleeps ten.
const SST_BASE_S: f64 = 13.0;
/// Bytes a second of a full transfer, a careful guess.
const SST_RATE: f64 = 60e6;
/// Bytes a second at which missing write sets are received and applied, a careful guess.
const IST_RATE: f64 = 20e6;
/// A write set needs so much more room in the cache than its bytes.
const OVERHEAD: f64 = 1.15;

/// Foresees.
pub fn forecast(before: &Before<'_>) -> Forecast {
    let (uuid, seqno) = position(before.node);
    let donors: Vec<&Observation> =
        before.others.iter().filter(|one| one.status.as_ref().is_some_and(NodeStatus::is_synced)).collect();
    let rate = before.write_rate.or_else(|| average(before)).unwrap_or(0.0).max(0.0) * OVERHEAD;
    let data = before.others.iter().chain(before.node).filter_map(|one| one.close.as_ref()).map(|c| c.data_bytes).max();
    let full = |reason: String| {
        let bytes = data.unwrap_or(0);
        Forecast {
            transfer: Kind::Sst,
            reason,
            donors: donors.iter().map(|one| one.host.clone()).collect(),
            bytes,
            seconds: RESTART_S + SST_BASE_S + bytes as f64 / SST_RATE,
            window: None,
            warning: None,
        }
    };
    let Some(reference) = donors.first().and_then(|one| one.status.as_ref()) else {
        let none = before.others.is_empty();
        return full(if none { "nothing is known of the other members" } else { "no other member is Synced" }.into());
    };
    if is_null_uuid(&uuid) {
        return full("the node has no state".into());
    }
    if uuid != reference.cluster_state_uuid {
        return full("the node's state is of another cluster".into());
    }
    if seqno < 0 {
        return full("the node's position is not known: it has crashed, or its last start failed".into());
    }
    // A donor must still have the first write set that is missing, now …
    let able: Vec<(&str, &NodeStatus)> = donors
        .iter()
        .filter_map(|one| Some((one.host.as_str(), one.status.as_ref()?)))
        .filter(|(_, status)| reaches(status, seqno))
        .collect();
    if able.is_empty() {
        let oldest = donors.iter().filter_map(|one| Some(one.status.as_ref()?.local_cached_downto)).min().unwrap_or(0);
        return full(format!("no member's cache reaches back to write set {} (the oldest is {oldest})", seqno + 1));
    }
    // … and when the node comes back. A cache drops its oldest when it is full.
    let latest = donors.iter().filter_map(|one| Some(one.status.as_ref()?.last_committed)).max().unwrap_or(seqno);
    let missing = (latest - seqno).max(0) as f64 * write_set(reference);
    let cache = able.iter().map(|(_, status)| status.gcache_size).max().unwrap_or(0) as f64;
    let window = (rate > 0.0 && cache > 0.0).then(|| (cache - missing).max(0.0) / rate);
    // While it is away and while it catches up, more is written.
    let quiet = RESTART_S + before.away + missing / IST_RATE;
    let seconds = match rate < IST_RATE * 0.9 {
        true => quiet / (1.0 - rate / IST_RATE),
        false => quiet * 10.0,
    };
    let half = window.filter(|window| seconds > window / 2.0).map(|window| {
        format!(
            "the node would be away for about {} s, and at the present rate of {} a second the caches ({}) hold {} s: \
             raise gcache.size, or wait for a quieter time",
            seconds.round(),
            human(rate),
            human(cache),
            window.round()
        )
    });
    // An average since the start is too poor a guess to refuse anything by.
    if let Some(reason) = half.clone().filter(|_| before.write_rate.is_some()) {
        return full(reason);
    }
    let warning = window.filter(|window| seconds > window / 4.0).map(|window| {
        format!(
            "the caches hold what is written in {} s, and the node will be away for about {} s",
            window.round(),
            seconds.round()
        )
    });
    let warning = half.or(warning);
    let bytes = missing + seconds * rate;
    let (transfer, reason) = match bytes < 1.0 && latest <= seqno {
        true => (Kind::None, "nobody writes".to_string()),
        false => (Kind::Ist, format!("{} can send what will be missing", listed(&able))),
    };
    Forecast {
        transfer,
        reason,
        donors: able.iter().map(|(host, _)| host.to_string()).collect(),
        bytes: bytes as u64,
        seconds,
        window,
        warning,
    }
}

/// State id and position of a node, running or not.
fn position(node: Option<&Observation>) -> (String, i64) {
    let Some(node) = node else { return (String::new(), -1) };
    match (&node.status, &node.saved) {
        (Some(status), _) if status.wsrep_on => (status.local_state_uuid.clone(), status.last_committed),
        (_, Some(saved)) => (saved.uuid.clone(), saved.seqno),
        _ => (String::new(), -1),
    }
}

/// Whether a donor has the write set after `seqno`, or will be the first to get it.
fn reaches(status: &NodeStatus, seqno: i64) -> bool {
    let cached = status.local_cached_downto;
    // An empty cache shows the largest number, or none.
    let empty = cached == i64::MAX || cached <= 0;
    if empty { seqno >= status.last_committed } else { seqno + 1 >= cached }
}

/// Bytes of a write set, on average.
fn write_set(status: &NodeStatus) -> f64 {
    match status.write_sets {
        0 => 1000.0,
        count => status.replicated_bytes as f64 / count as f64,
    }
}

/// Bytes a second since the servers' start: a poor guess where nobody has looked twice.
fn average(before: &Before<'_>) -> Option<f64> {
    let all = before.others.iter().chain(before.node).filter_map(|one| one.status.as_ref());
    all.filter(|status| status.uptime >= 10).map(|s| s.replicated_bytes as f64 / s.uptime as f64).reduce(f64::max)
}

fn listed(able: &[(&str, &NodeStatus)]) -> String {
    able.iter().map(|(host, _)| *host).collect::<Vec<_>>().join(", ")
}

/// A number of bytes for people.
pub fn human(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", UNITS.get(unit).copied().unwrap_or("B"))
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::synced;
    use super::super::{Closer, SavedState};
    use super::*;

    fn node(host: &str, committed: i64, downto: i64, gcache: u64) -> Observation {
        let mut one = synced(host);
        let status = one.status.as_mut().unwrap();
        status.last_committed = committed;
        status.local_cached_downto = downto;
        status.gcache_size = gcache;
        (status.write_sets, status.replicated_bytes, status.uptime) = (1000, 1_000_000, 1000);
        one.close = Some(Closer { data_bytes: 600_000_000, ..Closer::default() });
        one
    }

    const CACHE: u64 = 128 << 20;

    #[test]
    fn a_running_node_by_the_rate_of_writing() {
        let own = node("c", 1000, 1, CACHE);
        let others = [node("a", 1000, 1, CACHE), node("b", 1000, 1, CACHE)];
        for (rate, transfer, warned) in [
            (0.0, Kind::None, false),
            (1e6, Kind::Ist, false),
            (5e6, Kind::Ist, true),  // 23 s of window, 7 s away
            (8e6, Kind::Sst, false), // 15 s of window
            (50e6, Kind::Sst, false),
        ] {
            let seen = forecast(&Before { node: Some(&own), others: &others, write_rate: Some(rate), away: 0.0 });
            assert_eq!((seen.transfer, seen.warning.is_some()), (transfer, warned), "{rate}: {seen:?}");
        }
        let seen = forecast(&Before { node: Some(&own), others: &others, write_rate: Some(1e6), away: 0.0 });
        assert!((5.0..7.0).contains(&seen.seconds) && seen.bytes > 5_000_000, "{seen:?}");
        assert_eq!(seen.donors, ["a", "b"]);
        // Away for an upgrade of a minute.
        let seen = forecast(&Before { node: Some(&own), others: &others, write_rate: Some(1e6), away: 100.0 });
        assert_eq!(seen.transfer, Kind::Sst, "{seen:?}");
        assert!(seen.reason.contains("gcache.size"), "{seen:?}");
    }

    #[test]
    fn a_stopped_node_by_its_position() {
        let others = [node("a", 1000, 400, CACHE), node("b", 1000, 900, CACHE)];
        let uuid = others[0].status.as_ref().unwrap().cluster_state_uuid.clone();
        let stopped = |uuid: &str, seqno| {
            let saved = SavedState { uuid: uuid.into(), seqno, safe_to_bootstrap: false };
            Observation { host: "c".into(), saved: Some(saved), ..Observation::default() }
        };
        for (node, expected, donors, words) in [
            (stopped(&uuid, 1000), Kind::None, 2, "nobody writes"),
            (stopped(&uuid, 950), Kind::Ist, 2, "a, b can send"),
            (stopped(&uuid, 450), Kind::Ist, 1, "a can send"),
            (stopped(&uuid, 399), Kind::Ist, 1, "a can send"),
            (stopped(&uuid, 398), Kind::Sst, 2, "reaches back to write set 399 (the oldest is 400)"),
            (stopped(&uuid, -1), Kind::Sst, 2, "not known"),
            (stopped("", 5), Kind::Sst, 2, "no state"),
            (stopped("77", 5), Kind::Sst, 2, "another cluster"),
        ] {
            let seen = forecast(&Before { node: Some(&node), others: &others, write_rate: Some(0.0), away: 0.0 });
            assert_eq!((seen.transfer, seen.donors.len()), (expected, donors), "{seen:?}");
            assert!(seen.reason.contains(words), "{words}: {seen:?}");
        }
        let node = stopped(&uuid, 990);
        let mut donor = others[0].clone();
        donor.status.as_mut().unwrap().local_state = 2;
        let seen = forecast(&Before { node: Some(&node), others: &[donor], write_rate: None, away: 0.0 });
        assert!(seen.transfer == Kind::Sst && seen.reason.contains("no other member is Synced"), "{seen:?}");
        assert!((20.0..40.0).contains(&seen.seconds), "{seen:?}");
    }

    #[test]
    fn an_empty_cache_reaches_what_comes() {
        // Right after a full transfer a donor has nothing, but will have all that is written from now on.
        let own = node("c", 1000, 1, CACHE);
        let fresh = [node("a", 1000, i64::MAX, CACHE)];
        let seen = forecast(&Before { node: Some(&own), others: &fresh, write_rate: Some(1e5), away: 0.0 });
        assert_eq!(seen.transfer, Kind::Ist, "{seen:?}");
        let behind = Observation {
            saved: Some(SavedState {
                uuid: own.status.as_ref().unwrap().local_state_uuid.clone(),
                seqno: 999,
                safe_to_bootstrap: false,
            }),
            host: "c".into(),
            ..Observation::default()
        };
        let seen = forecast(&Before { node: Some(&behind), others: &fresh, write_rate: Some(1e5), away: 0.0 });
        assert_eq!(seen.transfer, Kind::Sst, "{seen:?}");
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [(0.0, "0 B"), (999.0, "999 B"), (1500.0, "1.5 kB"), (134_217_728.0, "134 MB")] {
            assert_eq!(human(bytes), text);
        }
    }
}
