//! What one node says about itself, and what its disk says when it does not run.

use super::certificates::Certificate;
use super::options::{self, ProviderOptions};
use super::peers::Peers;
use super::statements::Statement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a state id stands for no state.
pub fn is_null_uuid(uuid: &str) -> bool {
    uuid.is_empty() || uuid.bytes().all(|b| b == b'0' || b == b'-')
}

/// Whom a node lets in as a peer, by its provider's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// It does not say.
    #[default]
    Unknown,
    /// Peers without TLS only.
    Plain,
    /// Peers with TLS and peers without (`socket.dynamic`): whoever reaches the port gets in.
    Mixed,
    /// Peers with TLS only.
    Tls,
}

impl Links {
    fn of(options: &ProviderOptions) -> Links {
        let on = |name: &str| {
            options.get(name).map(|value| ["yes", "true", "on", "1"].contains(&value.to_ascii_lowercase().as_str()))
        };
        match (on("socket.dynamic"), on("socket.ssl")) {
            (Some(true), _) => Links::Mixed,
            (_, Some(true)) => Links::Tls,
            (_, Some(false)) => Links::Plain,
            (_, None) => Links::Unknown,
        }
    }
}

/// A running node's status variables, typed. What a server does not say keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// `wsrep_on`, and a provider is loaded.
    pub wsrep_on: bool,
    /// `Primary`, `non-Primary`, `Disconnected`.
    pub cluster_status: String,
    /// `wsrep_ready`
    pub ready: bool,
    /// `wsrep_connected`
    pub connected: bool,
    /// 1 joining, 2 donor or desynced, 3 joined, 4 synced.
    pub local_state: u32,
    /// The same in words.
    pub local_state_comment: String,
    /// Members of the component, a garbd counts.
    pub cluster_size: u32,
    /// State id of the cluster.
    pub cluster_state_uuid: String,
    /// State id of this node.
    pub local_state_uuid: String,
    /// Number of the membership view.
    pub cluster_conf_id: i64,
    /// Sequence number of the last applied write set.
    pub last_committed: i64,
    /// Oldest write set that can be sent incrementally.
    pub local_cached_downto: i64,
    /// Write sets waiting to be applied.
    pub local_recv_queue: u64,
    /// Nanoseconds that flow control has paused replication, ever.
    pub flow_control_paused_ns: u64,
    /// `OPERATIONAL`, `GATHER` …
    pub evs_state: String,
    /// Flapping peers.
    pub evs_delayed: String,
    /// Open desync requests (a backup, a donor).
    pub desync_count: u32,
    /// `@@wsrep_desync`
    pub desync: bool,
    /// Bytes received and sent, since the server's start.
    pub replicated_bytes: u64,
    /// Seconds since the server's start.
    pub uptime: u64,
    /// Write sets received and sent, since the server's start.
    pub write_sets: u64,
    /// `gcache.size`, in bytes.
    pub gcache_size: u64,
    /// Votes of this node (`pc.weight`).
    pub weight: u32,
    /// Number of its data centre (`gmcast.segment`).
    pub segment: u32,
    /// Whom it lets in as a peer.
    pub links: Links,
    /// Where donors reach it for an incremental transfer.
    pub ist_host: String,
    /// The port of it, 0 where it is not known.
    pub ist_port: u16,
    /// Votes of the component (`wsrep_cluster_weight`).
    pub cluster_weight: u32,
    /// Statements that hold up the whole cluster, or would hold up a stop.
    pub statements: Vec<Statement>,
    /// `wsrep_node_name`
    pub node_name: String,
    /// `wsrep_cluster_name`
    pub cluster_name: String,
    /// Addresses clients are told, one a member; a garbd's is empty.
    pub incoming_addresses: Vec<String>,
    /// Names of the members that hold data, from `mysql.wsrep_cluster_members`.
    pub members: Vec<String>,
    /// Names of those that only vote (garbd): they tell no address.
    pub arbitrators: Vec<String>,
    /// `wsrep_provider_version`
    pub provider_version: String,
    /// `@@version`
    pub version: String,
    /// `wsrep_ist_receive_status`, while it receives.
    pub ist_receive_status: String,
}

impl NodeStatus {
    /// From `SHOW GLOBAL STATUS` and `SHOW GLOBAL VARIABLES`, names in lower case.
    pub fn read(
        status: &BTreeMap<String, String>,
        variables: &BTreeMap<String, String>,
        members: Vec<(String, String)>,
    ) -> NodeStatus {
        let text = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
        // A node that is joining may not have told its address yet, but its name is not garbd's.
        let votes_only = |(name, address): &&(String, String)| {
            address.is_empty() && name != text(variables, "wsrep_node_name").as_str()
        };
        let arbitrators: Vec<String> = members.iter().filter(votes_only).map(|(name, _)| name.clone()).collect();
        let members = members.into_iter().map(|(name, _)| name).filter(|name| !arbitrators.contains(name)).collect();
        let number = |key: &str| status.get(key).and_then(|v| v.parse::<i64>().ok());
        let on = |value: &str| value.eq_ignore_ascii_case("on") || value == "1";
        let count = |key: &str| number(key).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let provider = text(variables, "wsrep_provider");
        let options = ProviderOptions::parse(&text(variables, "wsrep_provider_options")).unwrap_or_default();
        let option = |name: &str| options.get(name).and_then(options::size);
        let (ist_host, ist_port) = options.ist_address().unwrap_or_default();
        NodeStatus {
            wsrep_on: on(&text(variables, "wsrep_on")) && !provider.is_empty() && provider != "none",
            cluster_status: text(status, "wsrep_cluster_status"),
            ready: on(&text(status, "wsrep_ready")),
            connected: on(&text(status, "wsrep_connected")),
            local_state: count("wsrep_local_state") as u32,
            local_state_comment: text(status, "wsrep_local_state_comment"),
            cluster_size: count("wsrep_cluster_size") as u32,
            cluster_state_uuid: text(status, "wsrep_cluster_state_uuid"),
            local_state_uuid: text(status, "wsrep_local_state_uuid"),
            // A node outside of any view shows 2^64 - 1.
            cluster_conf_id: number("wsrep_cluster_conf_id").unwrap_or(-1),
            last_committed: number("wsrep_last_committed").unwrap_or(-1),
            local_cached_downto: number("wsrep_local_cached_downto").unwrap_or(i64::MAX),
            local_recv_queue: count("wsrep_local_recv_queue"),
            flow_control_paused_ns: count("wsrep_flow_control_paused_ns"),
            evs_state: text(status, "wsrep_evs_state"),
            evs_delayed: text(status, "wsrep_evs_delayed"),
            desync_count: count("wsrep_desync_count") as u32,
            desync: on(&text(variables, "wsrep_desync")),
            replicated_bytes: count("wsrep_replicated_bytes") + count("wsrep_received_bytes"),
            uptime: count("uptime"),
            write_sets: count("wsrep_replicated") + count("wsrep_received"),
            gcache_size: option("gcache.size").unwrap_or(0),
            weight: option("pc.weight").map_or(1, |weight| weight as u32),
            segment: option("gmcast.segment").unwrap_or(0) as u32,
            links: Links::of(&options),
            ist_host,
            ist_port,
            cluster_weight: count("wsrep_cluster_weight") as u32,
            statements: Vec::new(),
            node_name: text(variables, "wsrep_node_name"),
            cluster_name: text(variables, "wsrep_cluster_name"),
            incoming_addresses: match text(status, "wsrep_incoming_addresses").as_str() {
                "" => Vec::new(),
                list => list.split(',').map(|address| address.trim().to_string()).collect(),
            },
            members,
            arbitrators,
            provider_version: text(status, "wsrep_provider_version"),
            version: text(variables, "version"),
            ist_receive_status: text(status, "wsrep_ist_receive_status"),
        }
    }

    /// Part of a component that may write.
    pub fn is_primary(&self) -> bool {
        self.wsrep_on && self.cluster_status == "Primary"
    }

    /// Has everything the cluster has, and takes writes.
    pub fn is_synced(&self) -> bool {
        self.is_primary() && self.ready && self.connected && self.local_state == 4
    }
}

/// `grastate.dat`: where a node stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// State id; null when there is none, or the last start went wrong.
    pub uuid: String,
    /// Position; -1 while running and after a crash.
    pub seqno: i64,
    /// Whether it was the last one to leave.
    pub safe_to_bootstrap: bool,
}

impl SavedState {
    /// Reads the file's text; nothing when it is not one.
    pub fn parse(text: &str) -> Option<SavedState> {
        let mut state = SavedState { seqno: -1, ..SavedState::default() };
        let mut known = false;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            match (key.trim(), value.trim()) {
                ("uuid", value) => {
                    state.uuid = value.to_string();
                    known = true;
                }
                ("seqno", value) => state.seqno = value.parse().unwrap_or(-1),
                ("safe_to_bootstrap", value) => state.safe_to_bootstrap = value == "1",
                _ => {}
            }
        }
        known.then_some(state)
    }

    /// Whether there is a state at all.
    pub fn exists(&self) -> bool {
        !is_null_uuid(&self.uuid)
    }
}

/// What the service manager and the process table say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// The server is not installed.
    Missing,
    /// It does not run.
    #[default]
    Stopped,
    /// It starts (recovers, or receives a state transfer).
    Starting,
    /// It runs.
    Running,
    /// It stops.
    Stopping,
    /// It failed.
    Failed,
}

/// Everything that was seen of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// Name in the inventory.
    pub host: String,
    /// The process.
    pub process: Process,
    /// What it says, when it answers.
    pub status: Option<NodeStatus>,
    /// Why it does not answer.
    pub error: Option<String>,
    /// Where it stopped, of its data directory.
    pub saved: Option<SavedState>,
    /// It knows who was in the last Primary component (`gvwstate.dat`), so it can find them again by itself.
    pub has_view: bool,
    /// Databases beside the server's own: data that a state transfer would replace.
    pub user_databases: Vec<String>,
    /// Whom it is connected with, where that can be told.
    pub peers: Option<Peers>,
    /// A backup that runs on the host, by its program's name.
    pub backup: Option<String>,
    /// Milliseconds of the host's own clock since its boot, so that differences of counters have a time.
    pub at_ms: u64,
    /// The host's time of day, in seconds.
    pub clock: i64,
    /// What was looked at more closely, where that was asked for.
    pub close: Option<Closer>,
    /// Part of this is what a check foresees.
    pub predicted: bool,
}

/// What is looked at once a gate, not at every look: it starts programs and opens connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Closer {
    /// The certificates that the node serves, and those that lie in its files.
    pub certificates: Vec<Certificate>,
    /// Why the server would not start with the option files that are there now; nothing when it would.
    pub configuration_error: Option<String>,
    /// Which of its certificates, keys and authorities the server's user may not read; nothing when it may read all.
    pub unreadable: Option<String>,
    /// Bytes that its data take, as a full transfer brings them; 0 where that is not known.
    pub data_bytes: u64,
    /// Bytes that are free where its data are.
    pub disk_free: u64,
}

impl Observation {
    /// Whether it has ever been part of a cluster, as far as its disk and its server know.
    pub fn has_state(&self) -> bool {
        self.saved.as_ref().is_some_and(SavedState::exists)
            || self.status.as_ref().is_some_and(|s| s.wsrep_on && !is_null_uuid(&s.local_state_uuid))
    }

    /// Whether the node is in a Primary component now.
    pub fn is_member(&self) -> bool {
        self.status.as_ref().is_some_and(NodeStatus::is_primary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grastate() {
        let text = "# GALERA saved state\nversion: 2.1\nuuid:    6f5c3a52-0000-11ee-8000-aaaaaaaaaaaa\nseqno:   47\n\
                    safe_to_bootstrap: 1\n";
        let state = SavedState::parse(text).unwrap();
        assert!(state.exists() && state.safe_to_bootstrap);
        assert_eq!(state.seqno, 47);
        let null = "uuid:    00000000-0000-0000-0000-000000000000\nseqno:   -1\nsafe_to_bootstrap: 1\n";
        assert!(!SavedState::parse(null).unwrap().exists());
        assert_eq!(SavedState::parse("torn"), None);
    }

    #[test]
    fn links_are_what_the_provider_lets_in() {
        for (text, expected) in [
            ("socket.ssl = NO; socket.dynamic = false", Links::Plain),
            ("socket.ssl = YES; socket.dynamic = false", Links::Tls),
            ("socket.ssl = YES", Links::Tls),
            ("socket.ssl = YES; socket.dynamic = true", Links::Mixed),
            ("socket.dynamic = YES; socket.ssl = NO", Links::Mixed),
            ("gcache.size = 1M", Links::Unknown),
        ] {
            assert_eq!(Links::of(&ProviderOptions::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_server_without_a_provider_is_no_node() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let status: BTreeMap<String, String> = map(&[("wsrep_cluster_status", "Disconnected"), ("wsrep_ready", "OFF")]);
        let alone = NodeStatus::read(&status, &map(&[("wsrep_on", "OFF"), ("wsrep_provider", "none")]), vec![]);
        assert!(!alone.wsrep_on && !alone.is_primary());
        let status: BTreeMap<String, String> = map(&[
            ("wsrep_cluster_status", "Primary"),
            ("wsrep_ready", "ON"),
            ("wsrep_connected", "ON"),
            ("wsrep_local_state", "4"),
            ("wsrep_cluster_size", "3"),
            ("wsrep_cluster_conf_id", "18446744073709551615"),
            ("wsrep_incoming_addresses", "AUTO,10.0.0.2:3306,"),
        ]);
        let node = NodeStatus::read(&status, &map(&[("wsrep_on", "ON"), ("wsrep_provider", "/x.so")]), vec![]);
        assert!(node.is_synced());
        assert_eq!((node.cluster_size, node.cluster_conf_id, node.incoming_addresses.len()), (3, -1, 3));
    }
}
