//! Which members a node is really connected with. Galera passes on through a third member what two that are cut off from each
//! other have to tell: all of them are Synced and say that all is well, and with the third one stopped the group falls apart.

use super::gate::Member;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A node's connections with its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peers {
    /// Its own addresses in them.
    pub own: BTreeSet<IpAddr>,
    /// Addresses of peers that it is connected with.
    pub with: BTreeSet<IpAddr>,
    /// Addresses that it tries in vain, or that stand in `wsrep_cluster_address` and are not connected.
    pub without: BTreeSet<IpAddr>,
}

/// So many times in a row nobody acknowledged what was sent: a second and a half at least.
const UNHEARD: u32 = 3;

/// Where a group listens when nobody says otherwise.
const PORT: u16 = 4567;

impl Peers {
    /// Reads the kernel's tables of connections (`/proc/net/tcp`, `tcp6`). `address` is `wsrep_cluster_address`, `listens` the
    /// provider's `gmcast.listen_addr`. Nothing when nodes share an address, or come from one (behind a gateway that
    /// translates theirs): they cannot be told from each other.
    pub fn read(tables: &[String], address: &str, listens: &str) -> Option<Peers> {
        let listed: Vec<(Option<IpAddr>, u16)> = address
            .trim()
            .trim_start_matches("gcomm://")
            .split('?')
            .next()
            .unwrap_or_default()
            .split(',')
            .filter(|one| !one.is_empty())
            .map(endpoint)
            .collect();
        let known: Vec<IpAddr> = listed.iter().filter_map(|(address, _)| *address).collect();
        if known.iter().collect::<BTreeSet<_>>().len() < known.len() {
            return None;
        }
        let own_port = endpoint(listens.split("://").last().unwrap_or_default()).1;
        let ports: BTreeSet<u16> = listed.iter().map(|(_, port)| *port).chain([own_port]).collect();
        let mut peers = Peers::default();
        let mut inbound = BTreeSet::new();
        for connection in tables.iter().flat_map(|table| table.lines()).filter_map(Connection::parse) {
            let Connection { local, remote, state, unheard } = connection;
            if local.0 == remote.0 || local.1 != own_port && !ports.contains(&remote.1) {
                continue;
            }
            match state {
                ESTABLISHED if unheard < UNHEARD => {
                    peers.own.insert(local.0);
                    peers.with.insert(remote.0);
                    if local.1 == own_port {
                        inbound.insert(remote);
                    }
                }
                ESTABLISHED | SYN_SENT => {
                    peers.without.insert(remote.0);
                }
                _ => {}
            }
        }
        if inbound.iter().map(|(address, _)| address).collect::<BTreeSet<_>>().len() < inbound.len() {
            return None;
        }
        peers.without.extend(known);
        peers.without.retain(|address| !peers.with.contains(address) && !peers.own.contains(address));
        Some(peers)
    }
}

const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;

/// `10.0.0.1`, `db1:4567`, `[fd00::1]:4567`: the address, where it is one and not a name, and the port.
fn endpoint(text: &str) -> (Option<IpAddr>, u16) {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return (Some(address), PORT);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    (host.trim_matches(['[', ']']).parse().ok(), port.parse().unwrap_or(PORT))
}

/// A line of the kernel's table.
struct Connection {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    state: u8,
    /// How often what was sent had to be sent again without an answer.
    unheard: u32,
}

impl Connection {
    fn parse(line: &str) -> Option<Connection> {
        let mut fields = line.split_whitespace().skip(1);
        let local = place(fields.next()?)?;
        let remote = place(fields.next()?)?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let unheard = u32::from_str_radix(fields.nth(2)?, 16).ok()?;
        Some(Connection { local, remote, state, unheard })
    }
}

/// `0B01A8C0:11D7`: words of the machine's own byte order.
fn place(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |index: usize| u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some((address, port))
}

/// Two members that are not connected with each other: the one that says so, and the sentence.
pub fn unconnected(members: &[Member]) -> Option<(String, String)> {
    members.iter().find_map(|member| {
        let (status, peers) = (member.status.as_ref()?, member.peers.as_ref()?);
        // As many as there are, whatever their addresses: some may be reached at others than those that are listed.
        if status.cluster_size <= 1 || peers.with.len() + 1 >= status.cluster_size as usize {
            return None;
        }
        let address = peers.without.first()?;
        let owner = |other: &&Member| other.peers.as_ref().is_some_and(|peers| peers.own.contains(address));
        let who = members.iter().find(owner).map_or(address.to_string(), |other| format!("{} ({address})", other.host));
        Some((
            member.host.clone(),
            format!(
                "it has no connection with {who}: others pass on what the two tell each other, and without those the group \
                 would fall apart"
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::synced;
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";

    /// A line as the kernel writes it.
    fn line(local: &str, remote: &str, state: u8, unheard: u32) -> String {
        let place = |text: &str| {
            let (address, port) = text.rsplit_once(':').unwrap();
            let port: u16 = port.parse().unwrap();
            let bytes: Vec<u8> = match address.trim_matches(['[', ']']).parse().unwrap() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
            format!("{}:{port:04X}", words.map(|word| format!("{word:08X}")).collect::<String>())
        };
        format!(
            "   1: {} {} {state:02X} 00000000:00000000 00:00000000 {unheard:08X}     0        0 1 1",
            place(local),
            place(remote)
        )
    }

    fn read(lines: &[String]) -> Peers {
        let table = format!("{HEAD}\n{}", lines.join("\n"));
        Peers::read(&[table], "gcomm://10.0.0.1,10.0.0.2:4567,10.0.0.3", "tcp://0.0.0.0:4567").unwrap()
    }

    fn set(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn connections_are_told_from_dead_ones() {
        let with_third = line("10.0.0.1:4567", "10.0.0.3:50000", 1, 0);
        for (second, with, without) in [
            (line("10.0.0.1:40000", "10.0.0.2:4567", 1, 0), &["10.0.0.2", "10.0.0.3"][..], &[][..]),
            (line("10.0.0.1:40000", "10.0.0.2:4567", 1, 2), &["10.0.0.2", "10.0.0.3"], &[]),
            (line("10.0.0.1:4567", "10.0.0.2:50001", 1, 3), &["10.0.0.3"], &["10.0.0.2"]),
            (line("10.0.0.1:40000", "10.0.0.2:4567", 2, 1), &["10.0.0.3"], &["10.0.0.2"]),
            // Nothing at all, and a client of the database.
            (line("10.0.0.1:3306", "10.0.0.2:50002", 1, 0), &["10.0.0.3"], &["10.0.0.2"]),
            (line("[::ffff:10.0.0.1]:4567", "[::ffff:10.0.0.2]:50001", 1, 0), &["10.0.0.2", "10.0.0.3"], &[]),
        ] {
            let peers = read(&[with_third.clone(), second.clone()]);
            assert_eq!((peers.with, peers.without), (set(with), set(without)), "{second}");
            assert_eq!(peers.own, set(&["10.0.0.1"]));
        }
        let shared = Peers::read(&[], "gcomm://127.0.0.1:4567,127.0.0.1:4568", "tcp://127.0.0.1:4567");
        assert_eq!(shared, None, "nodes of one address are not told apart");
    }

    #[test]
    fn peers_that_come_from_one_address_are_not_told_apart() {
        let inbound = |port: u16, unheard| line("10.0.0.1:4567", &format!("10.0.0.254:{port}"), 1, unheard);
        let outbound = |to: &str| line("10.0.0.1:40000", to, 1, 0);
        for (case, lines, judged) in [
            ("one behind a gateway", vec![inbound(50_001, 0), outbound("10.0.0.3:4567")], true),
            ("two behind it", vec![inbound(50_001, 0), inbound(50_002, 0)], false),
            ("one of two that is dead", vec![inbound(50_001, 0), inbound(50_002, 3)], true),
            ("the same connection twice", vec![inbound(50_001, 0), inbound(50_001, 0)], true),
            ("two outbound", vec![outbound("10.0.0.2:4567"), outbound("10.0.0.3:4567")], true),
            ("both ways", vec![line("10.0.0.1:4567", "10.0.0.2:50001", 1, 0), outbound("10.0.0.2:4567")], true),
            // Clients of the database are no peers.
            (
                "clients",
                vec![line("10.0.0.1:3306", "10.0.0.9:50001", 1, 0), line("10.0.0.1:3306", "10.0.0.9:50002", 1, 0)],
                true,
            ),
        ] {
            let table = format!("{HEAD}\n{}", lines.join("\n"));
            let peers = Peers::read(&[table], "gcomm://10.0.0.1,10.0.0.2,10.0.0.3", "tcp://0.0.0.0:4567");
            assert_eq!(peers.is_some(), judged, "{case}: {peers:?}");
        }
    }

    #[test]
    fn a_missing_connection_is_named() {
        let member = |host: &str, own: &str, with: &[&str], without: &[&str]| Member {
            peers: Some(Peers { own: set(&[own]), with: set(with), without: set(without) }),
            ..synced(host)
        };
        let third = member("c", "10.0.0.3", &["10.0.0.1", "10.0.0.2"], &[]);
        let well = [
            member("a", "10.0.0.1", &["10.0.0.2", "10.0.0.3"], &["10.0.0.9"]),
            member("b", "10.0.0.2", &["10.0.0.1", "10.0.0.3"], &[]),
            third.clone(),
        ];
        assert_eq!(unconnected(&well), None, "an address that nobody has any longer is no missing member");
        let cut = [
            member("a", "10.0.0.1", &["10.0.0.3"], &["10.0.0.2"]),
            member("b", "10.0.0.2", &["10.0.0.3"], &["10.0.0.1"]),
            third,
        ];
        let (host, reason) = unconnected(&cut).unwrap();
        assert!(host == "a" && reason.contains("no connection with b (10.0.0.2)"), "{host}: {reason}");
        assert_eq!(unconnected(&[synced("a"), synced("b")]), None, "where nobody has looked nothing is known");
    }
}
