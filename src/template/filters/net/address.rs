//! An address with the length of its prefix: how it is read, written and counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use minijinja::value::{Value, ValueKind};

use crate::template::py;

/// The number that an address is.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address that is this number: one of version 4 where it can be.
pub(super) fn of_number(number: u128) -> IpAddr {
    u32::try_from(number).map_or_else(|_| IpAddr::V6(number.into()), |small| IpAddr::V4(small.into()))
}

/// The address of a version that is this number.
pub(super) fn of_version(number: u128, four: bool) -> Option<IpAddr> {
    if four { u32::try_from(number).ok().map(|n| IpAddr::V4(n.into())) } else { Some(IpAddr::V6(number.into())) }
}

/// An address as the C library writes it: one of version 6 that holds one of version 4 ends with that.
pub(super) fn show(ip: IpAddr) -> String {
    if let IpAddr::V6(six) = ip {
        let number = u128::from(six);
        if let Ok(small) = u32::try_from(number)
            && small > 0xffff
        {
            return format!("::{}", Ipv4Addr::from(small));
        }
    }
    ip.to_string()
}

/// An address with its prefix.
pub(super) fn show_net(net: &IpNet) -> String {
    format!("{}/{}", show(net.addr()), net.prefix_len())
}

/// How many bits number the hosts of a network.
pub(super) fn host_bits(net: &IpNet) -> u8 {
    net.max_prefix_len() - net.prefix_len()
}

/// The number of a network's first address.
pub(super) fn first(net: &IpNet) -> u128 {
    number(net.network())
}

/// The number of a network's last address.
pub(super) fn last(net: &IpNet) -> u128 {
    number(net.broadcast())
}

/// The numbers of the first and the last address that a host may have; a lone address has none.
pub(super) fn usable(net: &IpNet) -> Option<(u128, u128)> {
    match host_bits(net) {
        0 => None,
        1 => Some((first(net), last(net))),
        _ => Some((first(net) + 1, last(net) - 1)),
    }
}

/// The `index`th address of a network, from the end where negative.
pub(super) fn nth(net: &IpNet, index: i128) -> Option<IpAddr> {
    let (start, end) = (first(net), last(net));
    let found = match u128::try_from(index) {
        Ok(index) => start.checked_add(index)?,
        Err(_) => end.checked_sub(index.unsigned_abs() - 1)?,
    };
    (start..=end).contains(&found).then(|| of_version(found, net.addr().is_ipv4())).flatten()
}

/// Python's `int()` of text.
pub(super) fn python_int(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && !digits.contains("__")
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if fits { text.replace('_', "").parse().ok() } else { None }
}

/// The length of the prefix of which this is the mask of the network, or that of the hosts.
fn of_mask(mask: IpAddr) -> Option<u8> {
    let width = if mask.is_ipv4() { 32 } else { 128 };
    let all = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let power = |inverse: u128| inverse.checked_add(1).is_none_or(u128::is_power_of_two);
    let bits = number(mask);
    let length = if power(bits ^ all) {
        bits.count_ones()
    } else if power(bits) {
        width - bits.count_ones()
    } else {
        return None;
    };
    u8::try_from(length).ok()
}

/// Whether the bits that are set are all at one end: a mask of a network, or of hosts.
pub(super) fn is_mask(ip: IpAddr) -> bool {
    of_mask(ip).is_some()
}

/// An address, alone or with a prefix: its length, or a mask.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let Some((ip, prefix)) = text.split_once('/') else { return IpAddr::from_str(text).ok().map(IpNet::from) };
    let ip = IpAddr::from_str(ip).ok()?;
    let length = match python_int(prefix) {
        Some(n) => u8::try_from(n).ok()?,
        None => of_mask(IpAddr::from_str(prefix).ok().filter(|mask| mask.is_ipv4() == ip.is_ipv4())?)?,
    };
    IpNet::new(ip, length).ok()
}

/// What a filter was given: an address that could be read.
pub(super) struct Subject {
    pub net: IpNet,
    /// It was written with a prefix.
    pub prefixed: bool,
    /// As it was written, but a number as an address.
    pub value: Value,
}

/// The address that a value is: text, or a number, which is of version 4 where it can be.
pub(super) fn subject(value: &Value, version: i64) -> Option<Subject> {
    if !matches!(value.kind(), ValueKind::String | ValueKind::Number) || !value.is_true() {
        return None;
    }
    let text = py::str(value);
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let digits: u128 = text.parse().ok()?;
        let ip = if version == 6 { IpAddr::V6(Ipv6Addr::from(digits)) } else { of_number(digits) };
        let net = IpNet::from(ip);
        return Some(Subject { net, prefixed: false, value: Value::from(show_net(&net)) });
    }
    value.as_str()?;
    if let Some(net) = network(&text) {
        return Some(Subject { net, prefixed: text.matches('/').count() == 1, value: value.clone() });
    }
    let (digits, prefix) = text.split_once('/')?;
    let (digits, prefix) = (u128::try_from(python_int(digits)?).ok()?, u8::try_from(python_int(prefix)?).ok()?);
    let four = u32::try_from(digits).ok().and_then(|n| IpNet::new(IpAddr::V4(n.into()), prefix).ok());
    let net = four.or_else(|| IpNet::new(IpAddr::V6(digits.into()), prefix).ok())?;
    Some(Subject { net, prefixed: true, value: Value::from(show_net(&net)) })
}

/// The same of text.
pub(super) fn of_text(text: &str) -> Option<Subject> {
    subject(&Value::from(text), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        of_text(text).map(|s| show_net(&s.net))
    }

    #[test]
    fn what_is_an_address() {
        for (text, net) in [
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("10.0.0.1/8", Some("10.0.0.1/8")),
            ("192.168.1.5/255.255.255.0", Some("192.168.1.5/24")),
            ("192.168.1.5/0.0.0.255", Some("192.168.1.5/24")),
            ("10.0.0.1/0.0.0.0", Some("10.0.0.1/0")),
            ("10.0.0.1/255.0.255.0", None),
            ("fe80::1/ffff::", Some("fe80::1/16")),
            ("10.0.0.1/ffff::", None),
            ("10.0.0.1/33", None),
            ("10.0.0.1/-1", None),
            ("10.0.0.1/24/3", None),
            ("10.0.0.01", None),
            (" 10.0.0.1", None),
            ("3232235521", Some("192.168.0.1/32")),
            ("167772161/8", Some("10.0.0.1/8")),
            ("167772161/64", Some("::10.0.0.1/64")),
            ("42540766411282592856903984951653826560/64", Some("2001:db8::/64")),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), net, "{text}");
        }
    }

    #[test]
    fn addresses_are_counted_from_both_ends() {
        let net = network("10.0.0.5/30").unwrap();
        let at = |n| nth(&net, n).map(|ip| ip.to_string());
        assert_eq!(at(0).as_deref(), Some("10.0.0.4"));
        assert_eq!(at(3).as_deref(), Some("10.0.0.7"));
        assert_eq!(at(4), None);
        assert_eq!(at(-1).as_deref(), Some("10.0.0.7"));
        assert_eq!(at(-4).as_deref(), Some("10.0.0.4"));
        assert_eq!(at(-5), None);
    }

    #[test]
    fn numbers_as_python_reads_them() {
        for (text, number) in [
            (" 5 ", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("1_0", Some(10)),
            ("1__0", None),
            ("_1", None),
            ("x", None),
        ] {
            assert_eq!(python_int(text), number, "{text}");
        }
    }
}
