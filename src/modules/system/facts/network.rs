//! Interfaces, addresses, default routes, name servers.

use super::{Gathered, names, read};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address4 {
    interface: String,
    address: Ipv4Addr,
    netmask: Ipv4Addr,
    broadcast: Option<Ipv4Addr>,
}

/// All facts of the network.
pub fn interfaces(gathered: &mut Gathered) {
    let v4 = addresses4();
    let v6 = parse_inet6(&read("/proc/net/if_inet6").unwrap_or_default());
    let links = names("/sys/class/net");
    let links: Vec<String> = links.into_iter().filter(|l| l != "bonding_masters").collect();
    let mut all4 = Vec::new();
    let mut all6 = Vec::new();
    for link in &links {
        let base = format!("/sys/class/net/{link}");
        let get = |file: &str| read(format!("{base}/{file}")).filter(|v| !v.is_empty());
        let flags = get("flags").and_then(|f| u32::from_str_radix(f.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
        let mut facts = Map::new();
        facts.insert("device".into(), link.clone().into());
        facts.insert("active".into(), (get("operstate").as_deref() != Some("down") && flags & 1 != 0).into());
        facts.insert("promisc".into(), (flags & 0x100 != 0).into());
        if let Some(mtu) = get("mtu").and_then(|m| m.parse::<u64>().ok()) {
            facts.insert("mtu".into(), mtu.into());
        }
        if let Some(mac) = get("address").filter(|a| a.len() == 17 && a != "00:00:00:00:00:00") {
            facts.insert("macaddress".into(), mac.into());
        }
        if let Some(speed) = get("speed").and_then(|s| s.parse::<i64>().ok()).filter(|s| *s > 0) {
            facts.insert("speed".into(), speed.into());
        }
        let kind = link_type(&base, get("type").as_deref());
        facts.insert("type".into(), kind.into());
        if kind == "bridge" {
            facts.insert("interfaces".into(), names(&format!("{base}/brif")).into());
            facts.insert("stp".into(), (get("bridge/stp_state").as_deref() != Some("0")).into());
            facts.insert("id".into(), get("bridge/bridge_id").unwrap_or_default().into());
        }
        let mine: Vec<&Address4> = v4.iter().filter(|a| &a.interface == link).collect();
        for (i, address) in mine.iter().enumerate() {
            let value = describe4(address);
            if i == 0 {
                facts.insert("ipv4".into(), value);
            } else if let Value::Array(more) = facts.entry("ipv4_secondaries").or_insert_with(|| json!([])) {
                more.push(value);
            }
            if !address.address.is_loopback() {
                all4.push(Value::from(address.address.to_string()));
            }
        }
        let mine: Vec<Value> = v6
            .iter()
            .filter(|(interface, ..)| interface == link)
            .map(|(_, address, prefix, scope)| {
                if !address.is_loopback() {
                    all6.push(Value::from(address.to_string()));
                }
                json!({"address": address.to_string(), "prefix": prefix.to_string(), "scope": scope})
            })
            .collect();
        if !mine.is_empty() {
            facts.insert("ipv6".into(), mine.into());
        }
        // As in Ansible, the fact of an interface has `_` where its name has other signs.
        let name: String = link.chars().map(|c| if matches!(c, '-' | ':' | '.') { '_' } else { c }).collect();
        gathered.add(&name, facts);
    }
    gathered.add("interfaces", links);
    gathered.add("all_ipv4_addresses", all4);
    gathered.add("all_ipv6_addresses", all6);
    gathered.add("default_ipv4", default4(&v4));
    gathered.add("default_ipv6", default6(&v6));
    gathered.add("locally_reachable_ips", reachable());
    gathered.add("dns", dns(&read("/etc/resolv.conf").unwrap_or_default()));
}

/// Addresses and networks that are the host's own: what `ip route show table local` calls `local`.
fn reachable() -> Value {
    let v4 = reachable4(&read("/proc/net/fib_trie").unwrap_or_default());
    let v6 = reachable6(&read("/proc/net/ipv6_route").unwrap_or_default());
    json!({"ipv4": v4, "ipv6": v6})
}

fn reachable4(trie: &str) -> Vec<String> {
    let mut found: Vec<(Ipv4Addr, u32)> = Vec::new();
    let mut address = None;
    for line in trie.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse::<Ipv4Addr>().ok();
        } else if let Some(prefix) = line.strip_suffix(" host LOCAL")
            && let (Some(address), Ok(prefix)) = (address, prefix.trim_start_matches('/').parse())
            && !found.contains(&(address, prefix))
        {
            found.push((address, prefix));
        }
    }
    found.sort();
    let shown = |(address, prefix): (Ipv4Addr, u32)| match prefix {
        32 => address.to_string(),
        prefix => format!("{address}/{prefix}"),
    };
    found.into_iter().map(shown).collect()
}

/// Lines of 32 digits of the destination, its length, …, flags, device.
fn reachable6(routes: &str) -> Vec<String> {
    const LOCAL: u32 = 0x8000_0000;
    let mut found: Vec<String> = Vec::new();
    for line in routes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, length, .., flags, _] = words.as_slice() else { continue };
        let Ok(flags) = u32::from_str_radix(flags, 16) else { continue };
        let Ok(bits) = u128::from_str_radix(address, 16) else { continue };
        // Anycast addresses are of another kind.
        if flags & LOCAL == 0 || flags & 0x0010_0000 != 0 {
            continue;
        }
        let address = match *length {
            "80" => Ipv6Addr::from(bits).to_string(),
            length => format!("{}/{}", Ipv6Addr::from(bits), u8::from_str_radix(length, 16).unwrap_or(128)),
        };
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn link_type(base: &str, number: Option<&str>) -> &'static str {
    let has = |name: &str| std::path::Path::new(&format!("{base}/{name}")).exists();
    match number {
        _ if has("bridge") => "bridge",
        _ if has("bonding") => "bonding",
        Some("1") => "ether",
        Some("32") => "infiniband",
        Some("512") => "ppp",
        Some("772") => "loopback",
        Some("65534") => "tunnel",
        _ => "unknown",
    }
}

fn describe4(address: &Address4) -> Value {
    let mask = u32::from(address.netmask);
    let network = Ipv4Addr::from(u32::from(address.address) & mask);
    json!({
        "address": address.address.to_string(),
        "netmask": address.netmask.to_string(),
        "network": network.to_string(),
        "prefix": mask.count_ones().to_string(),
        "broadcast": address.broadcast.map(|b| b.to_string()).unwrap_or_default(),
    })
}

/// IPv4 addresses, asked from the C library, which asks the kernel.
fn addresses4() -> Vec<Address4> {
    let mut found = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the list that getifaddrs makes is walked by its own links, read only, and freed once.
    unsafe {
        if libc::getifaddrs(&mut list) != 0 {
            return found;
        }
        let read4 = |pointer: *const libc::sockaddr| -> Option<Ipv4Addr> {
            if pointer.is_null() || i32::from((*pointer).sa_family) != libc::AF_INET {
                return None;
            }
            let address = std::ptr::read_unaligned(pointer.cast::<libc::sockaddr_in>());
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)))
        };
        let mut next = list;
        while !next.is_null() {
            let entry = &*next;
            if let Some(address) = read4(entry.ifa_addr) {
                let name = std::ffi::CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned();
                let broadcasts = entry.ifa_flags & (libc::IFF_BROADCAST as u32) != 0;
                found.push(Address4 {
                    // An alias (eth0:1) belongs to its interface.
                    interface: name.split(':').next().unwrap_or_default().to_string(),
                    address,
                    netmask: read4(entry.ifa_netmask).unwrap_or(Ipv4Addr::BROADCAST),
                    broadcast: if broadcasts { read4(entry.ifa_ifu) } else { None },
                });
            }
            next = entry.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    found
}

/// Lines of `/proc/net/if_inet6`: interface, address, prefix, scope.
fn parse_inet6(text: &str) -> Vec<(String, Ipv6Addr, u32, &'static str)> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, _, prefix, scope, _, name] = words.as_slice() else {
                return None;
            };
            let scope = match u32::from_str_radix(scope, 16).ok()? & 0xf0 {
                0x10 => "host",
                0x20 => "link",
                0x40 => "site",
                _ => "global",
            };
            let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
            Some((name.to_string(), address, u32::from_str_radix(prefix, 16).ok()?, scope))
        })
        .collect()
}

/// The default route of `/proc/net/route`: interface and gateway.
fn route4(text: &str) -> Option<(String, Ipv4Addr)> {
    let hex = |word: &str| u32::from_str_radix(word, 16).ok().map(|n| Ipv4Addr::from(u32::from_be(n)));
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, destination, gateway, _, _, _, metric, mask, ..] = words.as_slice() else {
                return None;
            };
            let default = *destination == "00000000" && *mask == "00000000";
            default.then_some((metric.parse::<u32>().ok()?, name.to_string(), hex(gateway)?))
        })
        .min_by_key(|(metric, ..)| *metric)
        .map(|(_, name, gateway)| (name, gateway))
}

/// The default route of `/proc/net/ipv6_route`.
fn route6(text: &str) -> Option<(String, Ipv6Addr)> {
    const ZERO: &str = "00000000000000000000000000000000";
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [destination, prefix, _, _, gateway, metric, _, _, flags, name] = words.as_slice() else {
                return None;
            };
            let up = u32::from_str_radix(flags, 16).ok()? & 1 != 0;
            let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
            let default = *destination == ZERO && *prefix == "00" && *name != "lo" && up;
            default.then_some((u32::from_str_radix(metric, 16).ok()?, name.to_string(), gateway))
        })
        .min_by_key(|(metric, ..)| *metric)
        .map(|(_, name, gateway)| (name, gateway))
}

fn default4(v4: &[Address4]) -> Value {
    let Some((name, gateway)) = route4(&read("/proc/net/route").unwrap_or_default()) else {
        return json!({});
    };
    let mut facts = match v4.iter().find(|a| a.interface == name) {
        Some(address) => describe4(address),
        None => json!({}),
    };
    if let Some(map) = facts.as_object_mut() {
        map.insert("interface".into(), name.clone().into());
        map.insert("alias".into(), name.clone().into());
        map.insert("gateway".into(), gateway.to_string().into());
        link_facts(&name, map);
    }
    facts
}

fn default6(v6: &[(String, Ipv6Addr, u32, &'static str)]) -> Value {
    let Some((name, gateway)) = route6(&read("/proc/net/ipv6_route").unwrap_or_default()) else {
        return json!({});
    };
    let mut map = Map::new();
    if let Some((_, address, prefix, scope)) = v6.iter().find(|(n, _, _, scope)| *n == name && *scope == "global") {
        map.insert("address".into(), address.to_string().into());
        map.insert("prefix".into(), prefix.to_string().into());
        map.insert("scope".into(), (*scope).into());
    }
    map.insert("interface".into(), name.clone().into());
    map.insert("gateway".into(), gateway.to_string().into());
    link_facts(&name, &mut map);
    Value::Object(map)
}

fn link_facts(name: &str, map: &mut Map<String, Value>) {
    let base = format!("/sys/class/net/{name}");
    if let Some(mac) = read(format!("{base}/address")) {
        map.insert("macaddress".into(), mac.into());
    }
    if let Some(mtu) = read(format!("{base}/mtu")).and_then(|m| m.parse::<u64>().ok()) {
        map.insert("mtu".into(), mtu.into());
    }
    map.insert("type".into(), link_type(&base, read(format!("{base}/type")).as_deref()).into());
}

/// `/etc/resolv.conf`
fn dns(text: &str) -> Value {
    let mut servers: Vec<&str> = Vec::new();
    let mut search: Vec<&str> = Vec::new();
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut options = Map::new();
    let mut domain = None;
    for line in text.lines().filter(|l| !l.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words),
            Some("search") => search = words.collect(),
            Some("domain") => domain = words.next(),
            Some("sortlist") => lists.entry("sortlist").or_default().extend(words),
            Some("options") => {
                for word in words {
                    match word.split_once(':') {
                        Some((key, value)) => options.insert(key.into(), value.into()),
                        None => options.insert(word.into(), true.into()),
                    };
                }
            }
            _ => {}
        }
    }
    let mut dns = Map::new();
    if !servers.is_empty() {
        dns.insert("nameservers".into(), servers.into());
    }
    if let Some(domain) = domain {
        dns.insert("domain".into(), domain.into());
    }
    if !search.is_empty() {
        dns.insert("search".into(), search.into());
    }
    if !options.is_empty() {
        dns.insert("options".into(), options.into());
    }
    for (name, list) in lists {
        dns.insert(name.into(), list.into());
    }
    Value::Object(dns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_read() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                    eth0\t0014D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(route4(text), Some(("eth0".into(), Ipv4Addr::new(192, 0, 2, 1))));
        let zero = "0".repeat(32);
        let text = format!(
            "{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
                            {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(route6(&text).unwrap().0, "eth0");
    }

    #[test]
    fn own_addresses_are_reachable() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8 2 0 2\n\
            \x20       |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n\
            \x20       |-- 127.255.255.255\n           /32 link BROADCAST\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
        assert_eq!(reachable4(trie), ["10.0.0.5", "127.0.0.0/8", "127.0.0.1"]);
        let zero = "0".repeat(32);
        let one = format!("{}1", "0".repeat(31));
        let routes = format!(
            "{one} 80 {zero} 00 {zero} 00000000 00000003 00000000 80200001       lo\n\
             fe80000000000000000000000000000a 80 {zero} 00 {zero} 00000000 00000002 00000000 80200001     eth0\n\
             fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n",
        );
        assert_eq!(reachable6(&routes), ["::1", "fe80::a"]);
    }

    #[test]
    fn addresses_of_version_6_have_scopes() {
        let found = parse_inet6(
            "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80 lo\n",
        );
        assert_eq!(found[0], ("eth0".into(), "fe80::fc:ff:fe00:1".parse().unwrap(), 64, "link"));
        assert_eq!(found[1].3, "host");
    }

    #[test]
    fn resolv_conf_is_read() {
        let dns = dns(
            "# x\nnameserver 192.0.2.53\nnameserver fd00::53\nsearch a.example b.example\noptions ndots:2 rotate\n",
        );
        assert_eq!(dns["nameservers"], json!(["192.0.2.53", "fd00::53"]));
        assert_eq!(dns["options"], json!({"ndots": "2", "rotate": true}));
    }
}
