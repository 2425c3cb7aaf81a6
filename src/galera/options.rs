//! The provider's option string: `gcache.size=1G; gmcast.segment=1`.

use serde::Serialize;
use std::collections::BTreeMap;

/// Options by name. Options without a value are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderOptions(pub BTreeMap<String, String>);

/// One difference between two option strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OptionChange {
    /// Option.
    pub name: String,
    /// What it is, nothing where it is not set.
    pub from: Option<String>,
    /// What it will be, nothing where it falls back to its default.
    pub to: Option<String>,
    /// Whether the provider must be restarted for it.
    pub needs_restart: bool,
}

/// Options that a running provider takes: those that Galera 26.4.23 itself does not mark as read-only (MariaDB 11.8 shows
/// its marks as READ_ONLY of the variables `wsrep_provider_…` in information_schema.SYSTEM_VARIABLES), without those that
/// mean nothing once connections are made (protocol versions, key formats). Where the server shows them, its own word
/// counts.
const DYNAMIC: [&str; 42] = [
    "cert.log_conflicts",
    "cert.optimistic_pa",
    "debug",
    "evs.causal_keepalive_period",
    "evs.debug_log_mask",
    "evs.delay_margin",
    "evs.delayed_keep_period",
    "evs.evict",
    "evs.inactive_check_period",
    "evs.inactive_timeout",
    "evs.info_log_mask",
    "evs.install_timeout",
    "evs.join_retrans_period",
    "evs.keepalive_period",
    "evs.max_install_timeouts",
    "evs.send_window",
    "evs.stats_report_period",
    "evs.suspect_timeout",
    "evs.use_aggregate",
    "evs.user_send_window",
    "gcache.keep_pages_size",
    "gcache.mem_size",
    "gcache.page_size",
    "gcs.fc_debug",
    "gcs.fc_factor",
    "gcs.fc_limit",
    "gcs.fc_master_slave",
    "gcs.max_packet_size",
    "gcs.max_throttle",
    "gcs.recv_q_hard_limit",
    "gcs.recv_q_soft_limit",
    "gcs.sync_donor",
    "gmcast.peer_addr",
    "gmcast.isolate",
    "pc.bootstrap",
    "pc.checksum",
    "pc.weight",
    "repl.causal_read_timeout",
    "repl.max_ws_size",
    "socket.recv_buf_size",
    "socket.send_buf_size",
    "socket.ssl_reload",
];

/// Options that switch off what keeps data safe; they have no place in a file.
pub(super) const DANGEROUS: [&str; 2] = ["pc.ignore_quorum", "pc.ignore_sb"];

impl ProviderOptions {
    /// Reads an option string.
    pub fn parse(text: &str) -> Result<ProviderOptions, String> {
        let mut options = BTreeMap::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("`{part}` in the provider options is no `name=value`"))?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || name.contains(char::is_whitespace) || value.contains(char::is_whitespace) {
                return Err(format!("`{part}` in the provider options is no `name=value`: is a `;` missing?"));
            }
            if !value.is_empty() && options.insert(name.to_string(), value.to_string()).is_some() {
                return Err(format!("`{name}` stands twice in the provider options"));
            }
        }
        Ok(ProviderOptions(options))
    }

    /// An option's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Where a donor reaches this node for an incremental transfer, by the running provider's full list.
    pub fn ist_address(&self) -> Option<(String, u16)> {
        let written = self.get("ist.recv_addr").or(self.get("base_host"))?;
        let address = written.split_once("://").map_or(written, |(_, rest)| rest);
        let usual = self.get("base_port").and_then(|port| port.parse().ok()).unwrap_or(4567_u16).checked_add(1)?;
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            // More than one colon is an IPv6 address by itself.
            None => match address.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (address, None),
            },
        };
        let port = port.map_or(Some(usual), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| (host.to_string(), port))
    }

    /// Names that the running provider (its full list of options) does not know.
    pub fn unknown<'a>(&'a self, running: &'a ProviderOptions, without_value: &[&str]) -> Vec<&'a str> {
        let known = |name: &&str| running.0.contains_key(*name) || without_value.contains(name);
        self.0.keys().map(String::as_str).filter(|name| !known(name)).collect()
    }

    /// What differs of the options that `wanted` sets, from the running provider's list.
    pub fn changes_to(&self, wanted: &ProviderOptions) -> Vec<OptionChange> {
        wanted
            .0
            .iter()
            .filter(|(name, value)| !self.0.get(*name).is_some_and(|current| same(current, value)))
            .map(|(name, value)| OptionChange {
                name: name.clone(),
                from: self.0.get(name).cloned(),
                to: Some(value.clone()),
                needs_restart: !DYNAMIC.contains(&name.as_str()),
            })
            .collect()
    }
}

/// Whether two values are one, however they are written.
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || normal(a) == normal(b)
}

/// Whether a running provider takes a new value of this option.
pub(super) fn is_dynamic(name: &str) -> bool {
    DYNAMIC.contains(&name)
}

/// A number with or without a unit, in units of one.
pub fn size(value: &str) -> Option<u64> {
    normal(value).parse().ok().or(match value {
        "1" => Some(1), // which `normal` takes for a switch
        "0" => Some(0),
        _ => None,
    })
}

/// A value in one form: sizes in bytes, switches as true and false.
fn normal(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => return "true".into(),
        "no" | "off" | "false" | "0" => return "false".into(),
        _ => {}
    }
    let (number, unit) = value.split_at(value.len() - value.chars().last().map_or(0, char::len_utf8));
    let factor: u64 = match unit {
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "T" | "t" => 1 << 40,
        _ => return value.to_string(),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).map_or_else(|| value.to_string(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_donor_connects() {
        for (text, expected) in [
            ("ist.recv_addr = 10.0.0.2; base_port = 4567", Some(("10.0.0.2", 4568))),
            ("ist.recv_addr = ssl://10.0.0.2:5568", Some(("10.0.0.2", 5568))),
            ("base_host = 10.0.0.2; base_port = 5567", Some(("10.0.0.2", 5568))),
            ("ist.recv_addr = [fd00::2]:4570", Some(("fd00::2", 4570))),
            ("ist.recv_addr = [fd00::2]", Some(("fd00::2", 4568))),
            ("ist.recv_addr = fd00::2", Some(("fd00::2", 4568))),
            ("ist.recv_addr = db2:x", None),
            ("gcache.size = 1M", None),
        ] {
            let found = ProviderOptions::parse(text).unwrap().ist_address();
            assert_eq!(found, expected.map(|(host, port)| (host.to_string(), port)), "{text}");
        }
    }

    #[test]
    fn strings_are_read() {
        let options = ProviderOptions::parse(" gcache.size = 1G; socket.ssl=YES;; debug = ; ").unwrap();
        assert_eq!(options.0.len(), 2);
        assert_eq!(options.get("gcache.size"), Some("1G"));
        for bad in ["gcache.size", "a=1; a=2", "gcache.size=1G gmcast.segment=1; x y=2"] {
            assert!(ProviderOptions::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn differences() {
        let running = ProviderOptions::parse("gcache.size=134217728; socket.ssl=true; pc.weight=1; evs.x=1").unwrap();
        let wanted = ProviderOptions::parse("gcache.size=128M; socket.ssl=YES; pc.weight=2; gmcast.segment=1").unwrap();
        let changes = running.changes_to(&wanted);
        let names: Vec<(&str, bool)> = changes.iter().map(|c| (c.name.as_str(), c.needs_restart)).collect();
        assert_eq!(names, [("gmcast.segment", true), ("pc.weight", false)]);
        assert_eq!(wanted.unknown(&running, &[]), ["gmcast.segment"]);
        assert!(wanted.unknown(&running, &["gmcast.segment"]).is_empty());
    }
}
