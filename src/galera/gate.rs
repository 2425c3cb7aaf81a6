//! The gate: whether every member is well enough for one of them to be touched.

use super::certificates::Margin;
use super::peers::unconnected;
use super::statements::Statement;
use super::status::{Links, NodeStatus, Observation, Process, is_null_uuid};
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
    /// When, by the host's own clock.
    pub at_ms: u64,
    /// Bytes of write sets so far.
    pub bytes: u64,
    /// The server's run that the counters are of: they start anew with it.
    pub started_ms: u64,
}

impl Sample {
    /// What of a member is kept.
    pub fn of(member: &Member) -> Sample {
        let status = member.status.as_ref();
        Sample {
            host: member.host.clone(),
            recv_queue: status.map_or(0, |s| s.local_recv_queue),
            paused_ns: status.map_or(0, |s| s.flow_control_paused_ns),
            at_ms: member.at_ms,
            bytes: status.map_or(0, |s| s.replicated_bytes),
            started_ms: status.map_or(0, |s| member.at_ms.saturating_sub(s.uptime * 1000)),
        }
    }
}

/// Who the cluster shall consist of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Members, arbitrators included; 0 for any number.
    pub size: u32,
    /// Arbitrators (garbd) among them.
    pub arbitrators: u32,
    /// The members that are given are all there are: whoever else is in the cluster is a stranger.
    pub complete: bool,
}

impl From<u32> for Expected {
    /// So many members, whoever they are.
    fn from(size: u32) -> Self {
        Expected { size, ..Expected::default() }
    }
}

impl Expected {
    /// All of `nodes` data nodes, and `arbitrators`.
    pub fn all(nodes: u32, arbitrators: u32) -> Self {
        Expected { size: nodes + arbitrators, arbitrators, complete: true }
    }
}

/// How much is still well.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    /// Write sets that may wait on a member.
    pub recv_queue: u64,
    /// Part of the time between two samples that flow control may have paused, in per mille.
    pub paused_per_mille: u64,
    /// Time between two samples in nanoseconds, where the samples themselves do not say it.
    pub interval_ns: u64,
    /// Seconds that a change of definitions may run.
    pub definitions_s: u64,
    /// Seconds that every certificate must hold; nothing for the usual: seven days, or a third of its life where that is less.
    pub certificate_margin_s: Option<i64>,
    /// Certificates may be at their end, or past it: while they are being renewed.
    pub expired: bool,
    /// Bytes that must be free where a member's data are.
    pub disk_free: u64,
    /// A backup closes the gate.
    pub refuse_backups: bool,
    /// Seconds that the hosts' clocks may differ: certificates are judged by them.
    pub clock_skew_s: i64,
    /// Members may let peers in without TLS beside those with it, as while a cluster is on its way to TLS.
    pub mixed_links: bool,
}

/// A start makes the temporary tablespace anew (12 MB), a full cache of write sets goes on in pages, and tables grow
/// meanwhile: with less than this a node that stops may not come back.
const DISK_FREE: u64 = 64_000_000;

impl Default for Tolerances {
    fn default() -> Self {
        Tolerances {
            recv_queue: 10,
            paused_per_mille: 10,
            interval_ns: 1_000_000_000,
            definitions_s: 2,
            certificate_margin_s: None,
            expired: false,
            disk_free: DISK_FREE,
            refuse_backups: true,
            clock_skew_s: 30,
            mixed_links: false,
        }
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

/// Judges all members at once. `expected` says who the cluster shall consist of (a number means so many, whoever they
/// are); `previous` are the samples of the round before, if there was one.
pub fn gate(
    members: &[Member],
    expected: impl Into<Expected>,
    previous: &[Sample],
    tolerances: &Tolerances,
) -> Verdict {
    let expected = expected.into();
    let closed = |host: &str, reason: String| Verdict::Closed { host: host.to_string(), reason };
    let mut first: Option<(&Member, &NodeStatus)> = None;
    for member in members {
        let host = member.host.as_str();
        let Some(status) = &member.status else {
            return closed(host, silence(member));
        };
        if let Some(reason) = own_fault(status, expected.size, tolerances) {
            return closed(host, reason);
        }
    }
    // Everything behind such a statement waits for it on every member: it is the cause, what waits is not.
    if let Some((member, long)) = definitions(members, tolerances) {
        return closed(&member.host, format!("{long}: a stop would wait for it, and the whole cluster with it"));
    }
    for member in members {
        let host = member.host.as_str();
        let Some(status) = &member.status else { continue };
        if status.local_recv_queue > tolerances.recv_queue {
            return closed(host, format!("{} write sets wait to be applied", status.local_recv_queue));
        }
        if let Some(program) = member.backup.as_ref().filter(|_| tolerances.refuse_backups) {
            return closed(host, format!("a backup is running ({program})"));
        }
        if let Some(before) = previous.iter().find(|sample| sample.host == host)
            && let Some(reason) = trend(member, status, before, tolerances)
        {
            return closed(host, reason);
        }
        if let Some(close) = &member.close
            && let Some(reason) = closer_fault(member, close, tolerances)
        {
            return closed(host, reason);
        }
        match first {
            None => first = Some((member, status)),
            Some((other, reference)) => {
                if let Some(reason) = difference(member, status, other, reference, tolerances) {
                    return closed(host, reason);
                }
            }
        }
    }
    if expected.complete
        && let Some((host, reason)) = stranger(members, expected)
    {
        return closed(&host, reason);
    }
    if expected.complete
        && let Some((host, reason)) = unconnected(members)
    {
        return closed(&host, reason);
    }
    if let Some((host, reason)) = narrow(members, tolerances) {
        return closed(&host, reason);
    }
    match first {
        Some(_) => Verdict::Open,
        None => closed("", "no member was looked at".into()),
    }
}

/// What is wrong with a member by itself, however many others there are; nothing when it serves.
pub fn trouble(member: &Member) -> Option<String> {
    match &member.status {
        None => Some(silence(member)),
        Some(status) => own_fault(status, 0, &Tolerances::default()),
    }
}

/// Why a member says nothing.
fn silence(member: &Member) -> String {
    let why = match (&member.error, member.process) {
        (_, Process::Missing) => "no server is installed".to_string(),
        (_, Process::Starting) => "the server is starting, or receives a state transfer".to_string(),
        (_, Process::Stopping) => "the server is stopping".to_string(),
        (_, Process::Failed) => "the server has failed".to_string(),
        (Some(error), _) => error.clone(),
        (None, _) => "the server does not run".to_string(),
    };
    format!("no answer from its server ({why})")
}

/// A change of definitions that must not be cut off by a stop: as its author's node has it, since an applier does not know its
/// text, else the oldest.
fn definitions<'a>(members: &'a [Member], tolerances: &Tolerances) -> Option<(&'a Member, &'a Statement)> {
    let all = members.iter().flat_map(|member| {
        member.status.iter().flat_map(|status| &status.statements).map(move |statement| (member, statement))
    });
    all.filter(|(_, one)| one.seconds >= tolerances.definitions_s)
        .max_by_key(|(_, one)| (!one.kind.is_empty(), one.seconds))
}

/// What the closer look found.
pub(super) fn closer_fault(member: &Member, close: &super::Closer, tolerances: &Tolerances) -> Option<String> {
    if let Some(error) = &close.configuration_error {
        return Some(format!("its server would not start with the option files that are there now: {error}"));
    }
    if let Some(reason) = disk_fault(close, tolerances) {
        return Some(reason);
    }
    if let Some(files) = &close.unreadable {
        return Some(format!(
            "its server may not read {files}: it could not start again, nor give its state to another member"
        ));
    }
    let margin = match (tolerances.expired, tolerances.certificate_margin_s) {
        (true, _) => Margin::MayBeOver,
        (false, Some(seconds)) => Margin::Seconds(seconds),
        (false, None) => Margin::Usual,
    };
    close.certificates.iter().find_map(|one| one.fault(member.clock, margin))
}

/// A disk on which its server may not start again.
fn disk_fault(close: &super::Closer, tolerances: &Tolerances) -> Option<String> {
    // Neither data nor space: it could not be looked at.
    let seen = close.data_bytes > 0 || close.disk_free > 0;
    (seen && close.disk_free < tolerances.disk_free).then(|| {
        format!(
            "its disk is full: {} are free where its data are, and a server that has less than {} may not start again",
            super::human(close.disk_free as f64),
            super::human(tolerances.disk_free as f64)
        )
    })
}

/// The member on whose disk a full state transfer would not fit, should it need one: what it has itself is removed
/// before.
pub(super) fn narrow(members: &[Member], tolerances: &Tolerances) -> Option<(String, String)> {
    // A member whose data could not be counted is not compared with others.
    let counted = |member: &'_ &Member| member.close.as_ref().is_some_and(|close| close.data_bytes > 0);
    let all: Vec<(&Member, &super::Closer)> =
        members.iter().filter(counted).filter_map(|m| Some((m, m.close.as_ref()?))).collect();
    let (largest, most) = all.iter().max_by_key(|(_, close)| close.data_bytes)?;
    let room = |close: &super::Closer| close.data_bytes.saturating_add(close.disk_free);
    let (member, close) = all
        .iter()
        .find(|(_, close)| tolerances.disk_free > 0 && close.disk_free > 0 && room(close) < most.data_bytes)?;
    let reason = format!(
        "its disk has room for {}, and the data of {} are {}: a full state transfer would not fit",
        super::human(room(close) as f64),
        largest.host,
        super::human(most.data_bytes as f64)
    );
    Some((member.host.clone(), reason))
}

/// Where two members disagree.
fn difference(
    member: &Member,
    status: &NodeStatus,
    other: &Member,
    reference: &NodeStatus,
    tolerances: &Tolerances,
) -> Option<String> {
    if status.cluster_state_uuid != reference.cluster_state_uuid {
        return Some(format!("it is in another cluster than {} (different state ids)", other.host));
    }
    if status.cluster_conf_id != reference.cluster_conf_id {
        return Some(format!(
            "the membership is changing (view {} here, {} on {})",
            status.cluster_conf_id, reference.cluster_conf_id, other.host
        ));
    }
    let skew = (member.clock - other.clock).abs();
    if member.clock != 0 && other.clock != 0 && skew > tolerances.clock_skew_s {
        return Some(format!("its clock differs from that of {} by {skew} s", other.host));
    }
    None
}

/// Somebody in the cluster who is not one of its hosts: whatever the cluster's authority has signed can join.
fn stranger(members: &[Member], expected: Expected) -> Option<(String, String)> {
    let known: Vec<&str> = members.iter().filter_map(|m| Some(m.status.as_ref()?.node_name.as_str())).collect();
    for member in members {
        let Some(status) = &member.status else { continue };
        let nodes = &status.members;
        if let Some(name) = nodes.iter().find(|name| !known.contains(&name.as_str())) {
            return Some((member.host.clone(), format!("`{name}` is in the cluster and is none of its hosts")));
        }
        if let Some(name) = known.iter().find(|name| !nodes.is_empty() && !nodes.iter().any(|n| n == *name)) {
            return Some((member.host.clone(), format!("it does not see {name} among the members")));
        }
        // An arbitrator tells no address of its own.
        let silent = status.incoming_addresses.iter().filter(|address| address.is_empty()).count();
        let seen = status.arbitrators.len().max(silent);
        if seen > expected.arbitrators as usize {
            return Some((
                member.host.clone(),
                format!("it sees {seen} arbitrators (garbd), not {}: who is it?", expected.arbitrators),
            ));
        }
    }
    None
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
    if status.links == Links::Mixed && !tolerances.mixed_links {
        return Some(
            "it lets peers in without TLS beside those with it (socket.dynamic): its way to TLS was not finished, \
             playbooks/enable-tls.yml goes on with it"
                .into(),
        );
    }
    None
}

/// What is wrong since the sample before.
fn trend(member: &Member, status: &NodeStatus, before: &Sample, tolerances: &Tolerances) -> Option<String> {
    // The count starts anew with the server and with FLUSH STATUS.
    let paused = status.flow_control_paused_ns.saturating_sub(before.paused_ns);
    let passed = match member.at_ms.checked_sub(before.at_ms) {
        Some(ms) if ms > 0 && before.at_ms > 0 => ms * 1_000_000,
        _ => tolerances.interval_ns,
    };
    let limit = passed / 1000 * tolerances.paused_per_mille;
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
pub(super) mod tests;
