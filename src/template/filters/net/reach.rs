//! Kinds of addresses: whether they are reachable from everywhere, of groups, or in some network.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

use super::address::network;

/// What IANA lists as not reachable from everywhere, and what of it is nevertheless.
static NOT_GLOBAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    nets(&[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "::1/128",
        "::/128",
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
    ])
});
static GLOBAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    nets(&[
        "192.0.0.9/32",
        "192.0.0.10/32",
        "2001:1::1/128",
        "2001:1::2/128",
        "2001:3::/32",
        "2001:4:112::/48",
        "2001:20::/28",
        "2001:30::/28",
    ])
});

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| network(text)).collect()
}

/// Whether an address can be reached from everywhere.
pub(super) fn is_global(ip: IpAddr) -> bool {
    let within = |list: &[IpNet]| list.iter().any(|net| net.contains(&ip));
    !within(&NOT_GLOBAL) || within(&GLOBAL)
}

/// Whether a network lies in one that is written down.
pub(super) fn is_in(net: &IpNet, whole: &str) -> bool {
    network(whole).is_some_and(|whole| whole.contains(net))
}

/// Whether a network is one of groups.
pub(super) fn is_multicast(net: &IpNet) -> bool {
    is_in(net, "224.0.0.0/4") || is_in(net, "ff00::/8")
}
