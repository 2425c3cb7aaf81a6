//! Whether text is an address, a network, or one of a kind: what the tests of `ansible.utils` ask. They go by Python's
//! `ipaddress`, which is stricter than netaddr: a network has no bits of a host in it. What can be reached from everywhere is
//! what IANA lists by now; Pythons differ in that.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::address::network;
use super::reach::{is_global, is_in, is_multicast};

/// What IETF keeps for later.
const RESERVED: [&str; 16] = [
    "240.0.0.0/4",
    "::/8",
    "100::/8",
    "200::/7",
    "400::/6",
    "800::/5",
    "1000::/4",
    "4000::/3",
    "6000::/3",
    "8000::/3",
    "a000::/3",
    "c000::/3",
    "e000::/4",
    "f000::/5",
    "f800::/6",
    "fe00::/9",
];

/// An address alone; one of version 6 may say the link that it is for.
fn address(text: &str) -> Option<IpAddr> {
    IpAddr::from_str(without_scope(text)).ok()
}

fn without_scope(text: &str) -> &str {
    match text.split_once('%') {
        Some((ip, scope)) if ip.contains(':') && !scope.is_empty() && !scope.contains(['%', '/']) => ip,
        _ => text,
    }
}

fn six(text: &str) -> Option<Ipv6Addr> {
    match address(text)? {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// A network, or an address alone, which is a network of one.
fn strict(text: &str) -> Option<IpNet> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let digits = prefix.is_none_or(|prefix| prefix.bytes().all(|b| b.is_ascii_digit()));
    let mask = || address(ip).is_some_and(|ip| ip.is_ipv4()) && prefix.is_some_and(|p| p.contains('.'));
    network(&prefix.map_or_else(|| without_scope(ip).to_owned(), |prefix| format!("{}/{prefix}", without_scope(ip))))
        .filter(|net| (digits || mask()) && net.addr() == net.network())
}

/// Whether text is an address, of a version if one is asked for.
pub(in crate::template) fn is_address(text: &str, four: Option<bool>) -> bool {
    address(text).is_some_and(|ip| four.is_none_or(|four| four == ip.is_ipv4()))
}

/// Whether text is an address or a network, of a version if one is asked for.
pub(in crate::template) fn is_network(text: &str, four: Option<bool>) -> bool {
    strict(text).is_some_and(|net| four.is_none_or(|four| four == net.addr().is_ipv4()))
}

/// Whether an address or a network lies in a network.
pub(in crate::template) fn lies_in(text: &str, whole: &str) -> bool {
    strict(text).zip(strict(whole)).is_some_and(|(net, whole)| whole.contains(&net))
}

/// Whether text is a mask of networks of version 4, as such a mask is written. It has to fit 10.0.0.0.
pub(in crate::template) fn is_netmask(text: &str) -> bool {
    strict(&format!("10.0.0.0/{text}")).is_some_and(|net| net.netmask().to_string() == text)
}

/// Whether text is the inverse of such a mask.
pub(in crate::template) fn is_hostmask(text: &str) -> bool {
    strict(&format!("10.0.0.0/{text}")).is_some_and(|net| net.hostmask().to_string() == text)
}

/// Whether text is an address of version 6 that is made of one of version 4.
pub(in crate::template) fn is_mapped(text: &str) -> bool {
    six(text).is_some_and(|ip| ip.to_ipv4_mapped().is_some())
}

/// Whether text is an address of version 6 in this network.
pub(in crate::template) fn is_six_in(text: &str, whole: &str) -> bool {
    six(text).is_some_and(|ip| is_in(&IpNet::from(IpAddr::V6(ip)), whole))
}

/// Whether text is an address of this machine alone.
pub(in crate::template) fn is_loopback(text: &str) -> bool {
    address(text).is_some_and(|ip| ip.is_loopback())
}

/// Whether text is the address that is none.
pub(in crate::template) fn is_unspecified(text: &str) -> bool {
    address(text).is_some_and(|ip| ip.is_unspecified())
}

/// Whether text is an address of a group.
pub(in crate::template) fn is_group(text: &str) -> bool {
    address(text).is_some_and(|ip| is_multicast(&IpNet::from(ip)))
}

/// Whether text is an address that can be reached from everywhere.
pub(in crate::template) fn is_public(text: &str) -> bool {
    reach(text).is_some_and(|ip| is_global(ip) && !shared(ip))
}

/// Whether text is an address that cannot. What a carrier shares between its customers is neither.
pub(in crate::template) fn is_private(text: &str) -> bool {
    reach(text).is_some_and(|ip| !is_global(ip) && !shared(ip))
}

/// The address that says how far one reaches: one that is made of one of version 4 goes as far as that.
fn reach(text: &str) -> Option<IpAddr> {
    address(text).map(|ip| ip.to_canonical())
}

fn shared(ip: IpAddr) -> bool {
    is_in(&IpNet::from(ip), "100.64.0.0/10")
}

/// Whether text is an address that is kept for later.
pub(in crate::template) fn is_reserved(text: &str) -> bool {
    address(text).is_some_and(|ip| RESERVED.iter().any(|whole| is_in(&IpNet::from(ip), whole)))
}

/// Whether text is an address of hardware: six pairs, three groups of four behind points, or twelve digits.
pub(in crate::template) fn is_mac(text: &str) -> bool {
    let groups = |marks: &[char], count: usize, width: usize| {
        let groups: Vec<&str> = text.split(marks).collect();
        let fit = |group: &&str| group.len() == width && group.bytes().all(|b| b.is_ascii_hexdigit());
        groups.len() == count && groups.iter().all(fit)
    };
    groups(&[':', '-'], 6, 2) || groups(&['.'], 3, 4) || groups(&[], 1, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_bits_of_hosts() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("10.0.0.1/8", false),
            ("10.0.0.1", true),
            ("10.0.0.0/255.0.0.0", true),
            ("10.0.0.0/0.255.255.255", true),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/ 8", false),
            ("2001:db8::/32", true),
            ("2001:db8::/ffff:ffff::", false),
            ("300.1.1.1", false),
            ("fe80::1%eth0", true),
            ("fe80::1%", false),
            ("10.0.0.1%eth0", false),
            ("10.0.0.0/33", false),
            ("", false),
        ] {
            assert_eq!(is_network(text, None), good, "{text}");
        }
        assert!(
            lies_in("10.1.1.1", "10.0.0.0/8") && !lies_in("10.1.1.1", "::/0") && !lies_in("10.0.0.0/8", "10.0.0.0/9")
        );
    }

    #[test]
    fn masks_as_they_are_written() {
        for (text, net, hosts) in [
            ("255.255.255.0", true, false),
            ("254.0.0.0", true, false),
            ("252.0.0.0", false, false),
            ("0.0.0.255", false, true),
            ("24", false, false),
            ("0.0.0.0", false, false),
            ("255.255.255.255", true, false),
            ("255.0.255.0", false, false),
        ] {
            assert_eq!((is_netmask(text), is_hostmask(text)), (net, hosts), "{text}");
        }
    }

    #[test]
    fn kinds() {
        for (text, public, private) in [
            ("8.8.8.8", true, false),
            ("10.0.0.1", false, true),
            ("100.64.0.1", false, false),
            ("fe80::1", false, true),
        ] {
            assert_eq!((is_public(text), is_private(text)), (public, private), "{text}");
        }
        assert!(is_reserved("240.0.0.1") && is_reserved("::1") && !is_reserved("10.0.0.1"));
        assert!(is_mapped("::ffff:1.2.3.4") && !is_mapped("1.2.3.4"));
        for (text, good) in [
            ("02:16:3e:e4:16:f3", true),
            ("02-16-3E-e4-16-f3", true),
            ("0216.3ee4.16f3", true),
            ("02163ee416f3", true),
            ("2:16:3e:e4:16:f3", false),
            ("helloworld", false),
        ] {
            assert_eq!(is_mac(text), good, "{text}");
        }
    }
}
