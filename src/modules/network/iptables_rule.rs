//! A rule of iptables: the arguments of a task, and the words that they become.

use crate::modules::scalars::{Flag, Text, TextList};
use serde::Deserialize;

/// Which flags are looked at, and which of them are set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpFlags {
    /// Looked at.
    pub flags: Option<TextList>,
    /// Set.
    pub flags_set: Option<TextList>,
}

crate::arguments! {
    /// Keeps rules of iptables and ip6tables in the kernel; they are gone after a start, unless something saves them.
    ///
    /// A rule is the same where iptables itself says so (`-C`). Most arguments take a leading `!`. Nothing looks after the
    /// connection of the controller; `deploy.builtin.firewall` does.
    pub struct Iptables {
        /// `filter`, `nat`, `mangle`, `raw` or `security`.
        pub table: Option<Text>,
        /// `present` or `absent`.
        pub state: Option<Text>,
        /// Where a new rule goes: `append` or `insert`.
        pub action: Option<Text>,
        /// The number of the rule before which it is inserted.
        pub rule_num: Option<Text>,
        /// `ipv4`, `ipv6` or `both`.
        pub ip_version: Option<Text>,
        /// The chain: `INPUT`, `FORWARD`, `OUTPUT`, `PREROUTING`, `POSTROUTING` or one of your own.
        pub chain: Option<Text>,
        /// `tcp`, `udp`, `icmp`, `all` or another of `/etc/protocols`.
        pub protocol: Option<Text>,
        /// Address or network it comes from.
        pub source: Option<Text>,
        /// Address or network it goes to.
        pub destination: Option<Text>,
        /// Extensions that are named although their options would load them.
        #[serde(rename = "match", default)]
        pub extensions: TextList,
        /// `flags` and `flags_set`: which flags are looked at, and which of them must be set.
        pub tcp_flags: Option<TcpFlags>,
        /// What happens to what matches: `ACCEPT`, `DROP`, a chain …
        pub jump: Option<Text>,
        /// Where `jump: TEE` sends copies.
        pub gateway: Option<Text>,
        /// Text before what is logged; means `jump: LOG`.
        pub log_prefix: Option<Text>,
        /// How important the log is: 0 to 7, `emerg` to `debug`; means `jump: LOG`.
        pub log_level: Option<Text>,
        /// A chain to go on in, without coming back.
        pub goto: Option<Text>,
        /// Interface it comes in on.
        pub in_interface: Option<Text>,
        /// Interface it goes out on.
        pub out_interface: Option<Text>,
        /// Second and further fragments.
        pub fragment: Option<Text>,
        /// Counters to begin with.
        pub set_counters: Option<Text>,
        /// Port or range it comes from.
        pub source_port: Option<Text>,
        /// Port or range it goes to.
        pub destination_port: Option<Text>,
        /// Several ports it goes to.
        #[serde(default)]
        pub destination_ports: TextList,
        /// Ports to redirect to (`REDIRECT`, `MASQUERADE`).
        pub to_ports: Option<Text>,
        /// Where `DNAT` sends it.
        pub to_destination: Option<Text>,
        /// What `SNAT` makes of its source.
        pub to_source: Option<Text>,
        /// `ignore`, `match` or `negate`: new TCP connections.
        pub syn: Option<Text>,
        /// The mark that `DSCP` sets.
        pub set_dscp_mark: Option<Text>,
        /// The class of mark that `DSCP` sets.
        pub set_dscp_mark_class: Option<Text>,
        /// What the rule is for.
        pub comment: Option<Text>,
        /// States of the connection: `NEW`, `ESTABLISHED`, `RELATED`, `INVALID` …
        #[serde(default)]
        pub ctstate: TextList,
        /// Range of addresses it comes from.
        pub src_range: Option<Text>,
        /// Range of addresses it goes to.
        pub dst_range: Option<Text>,
        /// A set of ipset.
        pub match_set: Option<Text>,
        /// What of it is in the set: `src`, `dst`, `src,dst` …
        pub match_set_flags: Option<Text>,
        /// How often it matches: `2/second`.
        pub limit: Option<Text>,
        /// How often it matches before the limit counts.
        pub limit_burst: Option<Text>,
        /// Owner of the process that sends it.
        pub uid_owner: Option<Text>,
        /// Group of the process that sends it.
        pub gid_owner: Option<Text>,
        /// What `REJECT` answers; means `jump: REJECT`.
        pub reject_with: Option<Text>,
        /// Kind of ICMP.
        pub icmp_type: Option<Text>,
        /// Removes all rules of the chain, or of the table where no chain is given.
        #[serde(default)]
        pub flush: Flag,
        /// What happens to what no rule of the chain matches: `ACCEPT`, `DROP`, `QUEUE` or `RETURN`.
        pub policy: Option<Text>,
        /// Seconds to wait for the lock of iptables.
        pub wait: Option<Text>,
        /// Without any rule: the chain itself is made or removed.
        #[serde(default)]
        pub chain_management: Flag,
        /// Looks no names up.
        #[serde(default)]
        pub numeric: Flag,
    }
}

/// The words of a rule, as they grow.
struct Words(Vec<String>);

impl Words {
    /// A flag and its value; a leading `!` of the value goes before the flag.
    fn value(&mut self, flag: &str, value: Option<&str>) {
        match value.map(|value| (value.strip_prefix('!'), value)) {
            None => {}
            Some((Some(rest), _)) => self.0.extend(["!".to_string(), flag.to_string(), rest.to_string()]),
            Some((None, value)) => self.0.extend([flag.to_string(), value.to_string()]),
        }
    }

    fn list(&mut self, flag: &str, values: &[String]) {
        if !values.is_empty() {
            self.0.extend([flag.to_string(), values.join(",")]);
        }
    }

    fn extension(&mut self, wanted: bool, name: &str) {
        if wanted {
            self.0.extend(["-m".to_string(), name.to_string()]);
        }
    }

    fn jump(&mut self, wanted: bool, target: &str) {
        if wanted {
            self.0.extend(["-j".to_string(), target.to_string()]);
        }
    }
}

impl Iptables {
    /// The words behind the chain, in the order in which Ansible writes them. `jump` is where it goes.
    pub fn rule(&self, jump: Option<&str>) -> Vec<String> {
        let mut words = Words(Vec::new());
        let is = |name: &str| jump.is_some_and(|jump| jump.eq_ignore_ascii_case(name));
        let names = |extension: &str| self.extensions.0.iter().any(|named| named == extension);
        words.value("-p", self.protocol.as_deref());
        words.value("-s", self.source.as_deref());
        words.value("-d", self.destination.as_deref());
        for extension in &self.extensions.0 {
            words.value("-m", Some(extension));
        }
        if let Some(TcpFlags { flags: Some(flags), flags_set: Some(set) }) = &self.tcp_flags {
            words.0.extend(["--tcp-flags".to_string(), flags.0.join(","), set.0.join(",")]);
        }
        words.value("-j", jump);
        if is("tee") {
            words.value("--gateway", self.gateway.as_deref());
        }
        words.value("--log-prefix", self.log_prefix.as_deref());
        words.value("--log-level", self.log_level.as_deref());
        words.value("--to-destination", self.to_destination.as_deref());
        words.extension(!self.destination_ports.0.is_empty(), "multiport");
        words.list("--dports", &self.destination_ports.0);
        words.value("--to-source", self.to_source.as_deref());
        words.value("-g", self.goto.as_deref());
        words.value("-i", self.in_interface.as_deref());
        words.value("-o", self.out_interface.as_deref());
        words.value("-f", self.fragment.as_deref());
        words.value("-c", self.set_counters.as_deref());
        words.value("--source-port", self.source_port.as_deref());
        words.value("--destination-port", self.destination_port.as_deref());
        words.value("--to-ports", self.to_ports.as_deref());
        words.value("--set-dscp", self.set_dscp_mark.as_deref());
        words.jump(self.set_dscp_mark.is_some() && jump.is_some() && !is("dscp"), "DSCP");
        words.value("--set-dscp-class", self.set_dscp_mark_class.as_deref());
        words.jump(self.set_dscp_mark_class.is_some() && jump.is_some() && !is("dscp"), "DSCP");
        match self.syn.as_deref() {
            Some("match") => words.0.push("--syn".into()),
            Some("negate") => words.0.extend(["!".to_string(), "--syn".to_string()]),
            _ => {}
        }
        if !names("conntrack") && names("state") {
            words.list("--state", &self.ctstate.0);
        } else {
            words.extension(!names("conntrack") && !self.ctstate.0.is_empty(), "conntrack");
            words.list("--ctstate", &self.ctstate.0);
        }
        words.extension(!names("iprange") && (self.src_range.is_some() || self.dst_range.is_some()), "iprange");
        words.value("--src-range", self.src_range.as_deref());
        words.value("--dst-range", self.dst_range.as_deref());
        words.extension(!names("set") && self.match_set.is_some(), "set");
        if names("set") || self.match_set.is_some() {
            words.value("--match-set", self.match_set.as_deref());
            words.0.extend(self.match_set_flags.as_ref().map(|flags| flags.0.clone()));
        }
        words.extension(self.limit.is_some() || self.limit_burst.is_some(), "limit");
        words.value("--limit", self.limit.as_deref());
        words.value("--limit-burst", self.limit_burst.as_deref());
        words.extension(self.uid_owner.is_some(), "owner");
        words.value("--uid-owner", self.uid_owner.as_deref());
        words.extension(self.gid_owner.is_some(), "owner");
        words.value("--gid-owner", self.gid_owner.as_deref());
        words.jump(jump.is_none() && self.reject_with.is_some(), "REJECT");
        words.value("--reject-with", self.reject_with.as_deref());
        let icmp = if self.ip_version.as_deref() == Some("ipv6") { "--icmpv6-type" } else { "--icmp-type" };
        words.value(icmp, self.icmp_type.as_deref());
        words.extension(self.comment.is_some(), "comment");
        words.value("--comment", self.comment.as_deref());
        words.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::decode;
    use serde_json::json;

    #[test]
    fn words() {
        for (value, expected) in [
            (json!({"source": "8.8.8.8", "jump": "DROP"}), "-s 8.8.8.8 -j DROP"),
            (
                json!({"in_interface": "eth0", "protocol": "tcp", "match": "tcp", "destination_port": 80, "jump": "REDIRECT",
                       "to_ports": 8600, "comment": "web"}),
                "-p tcp -m tcp -j REDIRECT -i eth0 --destination-port 80 --to-ports 8600 -m comment --comment web",
            ),
            (
                json!({"ctstate": "ESTABLISHED,RELATED", "jump": "ACCEPT"}),
                "-j ACCEPT -m conntrack --ctstate ESTABLISHED,RELATED",
            ),
            (json!({"ctstate": ["NEW"], "match": ["state"], "syn": "negate"}), "-m state ! --syn --state NEW"),
            (json!({"ctstate": ["NEW"], "match": ["conntrack"], "syn": "match"}), "-m conntrack --syn --ctstate NEW"),
            (
                json!({"src_range": "10.0.0.1-10.0.0.9", "dst_range": "!10.1.0.1-10.1.0.9"}),
                "-m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.1-10.1.0.9",
            ),
            (json!({"match_set": "admins", "match_set_flags": "src"}), "-m set --match-set admins src"),
            (json!({"set_dscp_mark": 8, "jump": "DSCP", "protocol": "tcp"}), "-p tcp -j DSCP --set-dscp 8"),
            (json!({"tcp_flags": {"flags": "ALL", "flags_set": ["ACK", "RST"]}}), "--tcp-flags ALL ACK,RST"),
            (json!({"destination_ports": [80, "443", "8081:8083"]}), "-m multiport --dports 80,443,8081:8083"),
            (json!({"limit": "2/second", "limit_burst": 20}), "-m limit --limit 2/second --limit-burst 20"),
            (json!({"uid_owner": "!root", "gid_owner": "adm"}), "-m owner ! --uid-owner root -m owner --gid-owner adm"),
            (json!({"reject_with": "tcp-reset", "protocol": "!tcp"}), "! -p tcp -j REJECT --reject-with tcp-reset"),
            (json!({"icmp_type": 8, "ip_version": "ipv6"}), "--icmpv6-type 8"),
            (json!({"jump": "TEE", "gateway": "10.0.0.1"}), "-j TEE --gateway 10.0.0.1"),
            (json!({"jump": "ACCEPT", "gateway": "10.0.0.1"}), "-j ACCEPT"),
            (json!({"fragment": "x", "set_counters": "y", "goto": "Z"}), "-g Z -f x -c y"),
            (json!({}), ""),
        ] {
            let arguments: Iptables = decode(value.as_object().unwrap().clone()).unwrap();
            assert_eq!(arguments.rule(arguments.jump.as_deref()).join(" "), expected, "{value}");
        }
    }
}
