//! A firewall table as data, its text in nftables' own style, and whether it lets somebody in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its address, without host bits.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl Network {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `fd00::/64`. One mapped into IPv6 (`::ffff:10.0.0.1`) is the IPv4 network that it stands
    /// for: no packet has the mapped address.
    pub fn parse(text: &str) -> Result<Network, String> {
        let bad = || format!("`{text}` is no address and no network: names are not resolved, as they may change");
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.parse::<u8>().ok().filter(|p| *p <= bits).ok_or_else(bad)?,
        };
        let (address, prefix) = match address {
            IpAddr::V6(six) if prefix >= 96 => {
                six.to_ipv4_mapped().map_or((address, prefix), |four| (four.into(), prefix - 96))
            }
            _ => (address, prefix),
        };
        Ok(Network { address: masked(address, prefix), prefix })
    }

    /// Whether an address is in it. An IPv4 address may come mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
            four => four,
        };
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(four) & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(six) & mask).into())
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix == bits {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// Ports, first and last.
pub type Ports = BTreeSet<(u16, u16)>;

/// Who may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Everybody.
    Any,
    /// Those in sets, by name, and these networks.
    Of {
        /// Names of sets.
        sets: Vec<String>,
        /// Networks.
        networks: BTreeSet<Network>,
    },
}

/// Lets some sources reach some ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Which ports.
    pub ports: Ports,
    /// From where.
    pub sources: Sources,
    /// What for.
    pub comment: String,
}

/// A whole table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Name of the table, without the family.
    pub table: String,
    /// Networks by name.
    pub sets: BTreeMap<String, BTreeSet<Network>>,
    /// In order.
    pub rules: Vec<Rule>,
    /// Everything that no rule names is dropped too.
    pub closed: bool,
}

impl Ruleset {
    /// The table as `nft` reads and prints it.
    pub fn text(&self) -> String {
        let mut text = format!("table inet {} {{\n", self.table);
        for (name, networks) in &self.sets {
            for (suffix, kind, four) in [("4", "ipv4_addr", true), ("6", "ipv6_addr", false)] {
                let elements: Vec<String> =
                    networks.iter().filter(|n| n.address.is_ipv4() == four).map(Network::to_string).collect();
                let _ = write!(text, "\tset {name}{suffix} {{\n\t\ttype {kind}\n\t\tflags interval\n\t\tauto-merge\n");
                if !elements.is_empty() {
                    let _ = writeln!(text, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "));
                }
                text.push_str("\t}\n\n");
            }
        }
        let policy = if self.closed { "drop" } else { "accept" };
        let _ = write!(
            text,
            "\tchain input {{\n\t\ttype filter hook input priority filter - 5; policy {policy};\n\
             \t\tct state established,related accept\n\t\tiif \"lo\" accept\n"
        );
        if self.closed {
            // Neighbour discovery, path MTU and addresses by DHCP are part of having a network at all.
            text.push_str("\t\tmeta l4proto { icmp, ipv6-icmp } accept\n\t\tudp dport { 68, 546 } accept\n");
        }
        for rule in &self.rules {
            for condition in self.conditions(&rule.sources) {
                let comment = match rule.comment.is_empty() {
                    true => String::new(),
                    false => format!(" comment \"{}\"", rule.comment),
                };
                let _ = writeln!(text, "\t\t{}{condition} accept{comment}", match_ports(&rule.protocol, &rule.ports));
            }
        }
        if !self.closed {
            // What a rule opens to some is closed to all others.
            for protocol in ["tcp", "udp"] {
                let ports: Ports = self
                    .rules
                    .iter()
                    .filter(|r| r.protocol == protocol)
                    .flat_map(|r| r.ports.iter().copied())
                    .collect();
                let ports = merged(&ports);
                if !ports.is_empty() {
                    let _ = writeln!(text, "\t\t{} drop", match_ports(protocol, &ports));
                }
            }
        }
        text.push_str("\t}\n}\n");
        text
    }

    /// The whole table replaced in one transaction, whether it exists or not.
    pub fn transaction(&self) -> String {
        format!("{}{}", removal(&self.table), self.text())
    }

    fn conditions(&self, sources: &Sources) -> Vec<String> {
        match sources {
            Sources::Any => vec![String::new()],
            Sources::Of { sets, networks } => {
                let mut conditions = Vec::new();
                for (family, suffix, four) in [("ip", "4", true), ("ip6", "6", false)] {
                    // References to sets cannot stand in a list: one rule a set.
                    conditions.extend(sets.iter().map(|set| format!(" {family} saddr @{set}{suffix}")));
                    let own: Vec<String> =
                        networks.iter().filter(|n| n.address.is_ipv4() == four).map(Network::to_string).collect();
                    match own.as_slice() {
                        [] => {}
                        [one] => conditions.push(format!(" {family} saddr {one}")),
                        many => conditions.push(format!(" {family} saddr {{ {} }}", many.join(", "))),
                    }
                }
                conditions
            }
        }
    }

    /// Whether a new TCP connection from `source` to `port` would be let in.
    pub fn admits(&self, source: IpAddr, port: u16) -> bool {
        let named = |rule: &&Rule| rule.protocol == "tcp" && rule.ports.iter().any(|(a, b)| (*a..=*b).contains(&port));
        let mut touched = false;
        for rule in self.rules.iter().filter(named) {
            touched = true;
            let inside = match &rule.sources {
                Sources::Any => true,
                Sources::Of { sets, networks } => networks
                    .iter()
                    .chain(sets.iter().filter_map(|set| self.sets.get(set)).flatten())
                    .any(|network| network.contains(source)),
            };
            if inside {
                return true;
            }
        }
        source.is_loopback() || !touched && !self.closed
    }
}

/// Removes a table, whether it exists or not.
pub fn removal(table: &str) -> String {
    format!("table inet {table}\ndelete table inet {table}\n")
}

fn match_ports(protocol: &str, ports: &Ports) -> String {
    let list: Vec<String> =
        ports.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    match list.as_slice() {
        [one] => format!("{protocol} dport {one}"),
        many => format!("{protocol} dport {{ {} }}", many.join(", ")),
    }
}

/// Overlapping ranges as one: a list with overlaps is an error for nft.
pub fn merged(ports: &Ports) -> Ports {
    let mut result: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ports {
        match result.last_mut() {
            Some(previous) if u32::from(*first) <= u32::from(previous.1) => previous.1 = previous.1.max(*last),
            _ => result.push((*first, *last)),
        }
    }
    result.into_iter().collect()
}

/// A list of networks of which none is inside another.
pub fn disjoint(networks: BTreeSet<Network>) -> BTreeSet<Network> {
    let inside = |one: &Network| {
        networks.iter().any(|other| other != one && other.prefix <= one.prefix && other.contains(one.address))
    };
    networks.iter().filter(|network| !inside(network)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Ruleset {
        let network = |text: &str| Network::parse(text).unwrap();
        Ruleset {
            table: "deploy_galera".into(),
            sets: [("peers".to_string(), ["10.0.0.1", "10.0.0.2", "fd00::1"].map(network).into())].into(),
            rules: vec![
                Rule { protocol: "tcp".into(), ports: [(22, 22)].into(), sources: Sources::Any, comment: "ssh".into() },
                Rule {
                    protocol: "tcp".into(),
                    ports: [(4444, 4444), (4567, 4568)].into(),
                    sources: Sources::Of { sets: vec!["peers".into()], networks: [network("192.0.2.0/24")].into() },
                    comment: String::new(),
                },
            ],
            closed: false,
        }
    }

    #[test]
    fn the_text_is_nftables_own() {
        assert_eq!(
            sample().text(),
            "table inet deploy_galera {\n\tset peers4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\tauto-merge\n\
             \t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n\n\
             \tset peers6 {\n\t\ttype ipv6_addr\n\t\tflags interval\n\t\tauto-merge\n\t\telements = { fd00::1 }\n\t}\n\n\
             \tchain input {\n\t\ttype filter hook input priority filter - 5; policy accept;\n\
             \t\tct state established,related accept\n\t\tiif \"lo\" accept\n\
             \t\ttcp dport 22 accept comment \"ssh\"\n\
             \t\ttcp dport { 4444, 4567-4568 } ip saddr @peers4 accept\n\
             \t\ttcp dport { 4444, 4567-4568 } ip saddr 192.0.2.0/24 accept\n\
             \t\ttcp dport { 4444, 4567-4568 } ip6 saddr @peers6 accept\n\
             \t\ttcp dport { 22, 4444, 4567-4568 } drop\n\t}\n}\n"
        );
    }

    #[test]
    fn who_is_let_in() {
        let rules = sample();
        let closed = Ruleset { closed: true, ..sample() };
        for (source, port, open, expected_closed) in [
            ("203.0.113.9", 22, true, true),
            ("10.0.0.2", 4567, true, true),
            ("::ffff:10.0.0.2", 4567, true, true),
            ("192.0.2.7", 4568, true, true),
            ("fd00::1", 4444, true, true),
            ("fd00::2", 4444, false, false),
            ("10.0.0.3", 4567, false, false),
            ("10.0.0.3", 3306, true, false),
            ("127.0.0.1", 4567, true, true),
        ] {
            let source: IpAddr = source.parse().unwrap();
            assert_eq!(rules.admits(source, port), open, "{source} {port}");
            assert_eq!(closed.admits(source, port), expected_closed, "{source} {port} closed");
        }
    }

    #[test]
    fn networks_and_ports() {
        assert_eq!(Network::parse("::ffff:10.1.2.3/104").unwrap().to_string(), "10.0.0.0/8");
        assert!(Network::parse("::ffff:10.1.2.3").unwrap().contains("10.1.2.3".parse().unwrap()));
        assert_eq!(Network::parse("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Network::parse("0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert!(Network::parse("::/0").unwrap().contains("fd00::1".parse().unwrap()));
        for bad in ["db1.example", "10.0.0.0/33", "", "10.0.0"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(merged(&[(1, 5), (4, 9), (9, 9), (11, 11)].into()), [(1, 9), (11, 11)].into());
        let list = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "11.0.0.1"].map(|n| Network::parse(n).unwrap());
        let kept: Vec<String> = disjoint(list.into()).iter().map(Network::to_string).collect();
        assert_eq!(kept, ["10.0.0.0/8", "11.0.0.1"]);
    }
}
