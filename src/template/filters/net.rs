//! URLs and IP addresses.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, R, fail, is_list, items, pairs};
use crate::template::py;

fn percent(text: &str, safe: &str, plus: bool) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        let c = char::from(b);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || (b.is_ascii() && safe.contains(c)) {
            out.push(c);
        } else if plus && c == ' ' {
            out.push('+');
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Text is quoted, keeping `/`; pairs become a query string.
pub(super) fn urlencode(args: &Args) -> R {
    let value = args.value();
    let list: Vec<(String, String)> = match value.kind() {
        ValueKind::Map => pairs(&value).unwrap_or_default().iter().map(|(k, v)| (py::str(k), py::str(v))).collect(),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut out = Vec::new();
            for pair in items(&value, "urlencode")? {
                out.push((py::str(&pair.get_item_by_index(0)?), py::str(&pair.get_item_by_index(1)?)));
            }
            out
        }
        _ => return Ok(Value::from(percent(&py::str(&value), "/", false))),
    };
    let parts: Vec<String> =
        list.iter().map(|(k, v)| format!("{}={}", percent(k, "", true), percent(v, "", true))).collect();
    Ok(Value::from(parts.join("&")))
}

pub(super) fn urldecode(args: &Args) -> R {
    let text = py::str(&args.value());
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        let hex = (*b == b'%').then(|| text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok())).flatten();
        match (b, hex) {
            (_, Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (b, _) => out.push(*b),
        }
        i += 1;
    }
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}

/// `urlsplit(component)`
pub(super) fn urlsplit(args: &Args) -> R {
    let text = py::str(&args.value());
    let (rest, fragment) = text.split_once('#').unwrap_or((&text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |s: &str| {
        s.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = match rest.split_once(':') {
        Some((s, r)) if is_scheme(s) => (s.to_lowercase(), r),
        _ => (String::new(), rest),
    };
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(r) => r.split_at(r.find('/').unwrap_or(r.len())),
        None => ("", rest),
    };
    let (user, host) = match netloc.rsplit_once('@') {
        Some((u, h)) => (Some(u), h),
        None => (None, netloc),
    };
    let (username, password) = match user.map(|u| u.split_once(':').map_or((u, None), |(u, p)| (u, Some(p)))) {
        Some((u, p)) => (Some(u), p),
        None => (None, None),
    };
    let (hostname, port) = if let Some(r) = host.strip_prefix('[') {
        let (h, p) = r.split_once(']').unwrap_or((r, ""));
        (h, p.strip_prefix(':'))
    } else {
        host.rsplit_once(':').map_or((host, None), |(h, p)| (h, Some(p)))
    };
    let port = match port.filter(|p| !p.is_empty()) {
        Some(p) => Value::from(p.parse::<u16>().map_err(|_| fail("urlsplit: the port is not a number"))?),
        None => Value::from(()),
    };
    let text = |t: Option<&str>| t.map_or(Value::from(()), Value::from);
    let result = Value::from_pairs([
        ("fragment", Value::from(fragment)),
        ("hostname", if hostname.is_empty() { Value::from(()) } else { Value::from(hostname.to_lowercase()) }),
        ("netloc", Value::from(netloc)),
        ("password", text(password)),
        ("path", Value::from(path)),
        ("port", port),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme)),
        ("username", text(username)),
    ]);
    match args.text(1, "query").filter(|q| !q.is_empty()) {
        None => Ok(result),
        Some(part) => {
            let found = result.get_attr(&part)?;
            if found.is_undefined() {
                return Err(fail(format!("urlsplit: unknown URL component: {part}")));
            }
            Ok(found)
        }
    }
}

/// An address, with the prefix it was written with.
#[derive(Clone, Copy)]
struct Address {
    net: IpNet,
    /// Written with `/n`.
    prefixed: bool,
}

fn parse(text: &str) -> Option<Address> {
    let text = text.trim();
    if let Ok(ip) = IpAddr::from_str(text) {
        return Some(Address { net: IpNet::from(ip), prefixed: false });
    }
    let (ip, prefix) = text.split_once('/')?;
    let ip = IpAddr::from_str(ip).ok().or_else(|| of_number(ip))?;
    let prefix = match prefix.parse::<u8>() {
        Ok(n) => n,
        Err(_) => match IpAddr::from_str(prefix).ok()? {
            IpAddr::V4(mask) => {
                let bits = u32::from(mask);
                let n = bits.leading_ones();
                (bits.checked_shl(n).unwrap_or(0) == 0).then(|| u8::try_from(n).unwrap_or(32))?
            }
            IpAddr::V6(_) => return None,
        },
    };
    Some(Address { net: IpNet::new(ip, prefix).ok()?, prefixed: true })
}

/// The address that is this number.
fn of_number(digits: &str) -> Option<IpAddr> {
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u128>().ok())??;
    Some(match u32::try_from(number) {
        Ok(small) => IpAddr::V4(small.into()),
        Err(_) => IpAddr::V6(number.into()),
    })
}

fn nth(net: &IpNet, n: i64) -> Option<IpAddr> {
    let base = match net.network() {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let bits = net.max_prefix_len() - net.prefix_len();
    let size = 1u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX);
    let offset = if n < 0 { size.checked_sub(u128::from(n.unsigned_abs()))? } else { u128::from(n.unsigned_abs()) };
    if offset >= size {
        return None;
    }
    Some(match net {
        IpNet::V4(_) => IpAddr::V4(std::net::Ipv4Addr::from(u32::try_from(base + offset).ok()?)),
        IpNet::V6(_) => IpAddr::V6(std::net::Ipv6Addr::from(base.checked_add(offset)?)),
    })
}

/// The address, where it is a host's and not the network's own.
fn host(net: &IpNet) -> Option<IpAddr> {
    let pair = net.addr().is_ipv4() && net.prefix_len() == 31;
    let alone = net.prefix_len() == net.max_prefix_len();
    (alone || pair || net.addr() != net.network()).then(|| net.addr())
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            (ip.segments().first().copied().unwrap_or(0) & 0xfe00) == 0xfc00
                || ip.is_loopback()
                || ip.is_unicast_link_local()
        }
    }
}

/// One query of `ipaddr`; `None` is false.
fn query(text: &str, query: &str, version: Option<u8>) -> Result<Option<Value>, Error> {
    let Some(address) = parse(text) else { return Ok(None) };
    let (net, ip) = (address.net, address.net.addr());
    if version.is_some_and(|v| (v == 4) != ip.is_ipv4()) {
        return Ok(None);
    }
    let full = net.prefix_len() == net.max_prefix_len();
    let usable = |n: i64| nth(&net, n).map(|ip| Value::from(ip.to_string()));
    let same = match text.split_once('/') {
        Some((number, _)) if of_number(number).is_some() => Value::from(format!("{ip}/{}", net.prefix_len())),
        _ => Value::from(text),
    };
    Ok(match query {
        "" => Some(same),
        "bool" => Some(Value::from(true)),
        "address" | "ip" => host(&net).or_else(|| ip.is_ipv6().then_some(ip)).map(|ip| Value::from(ip.to_string())),
        "host" => host(&net).map(|ip| Value::from(format!("{ip}/{}", net.prefix_len()))),
        "address/prefix" | "host/prefix" => {
            let outer = net.max_prefix_len() - net.prefix_len() > 1 && (ip == net.network() || ip == net.broadcast());
            (!outer).then(|| Value::from(format!("{ip}/{}", net.prefix_len())))
        }
        "ip/prefix" => {
            let inside = net.max_prefix_len() - net.prefix_len() == 1 || ip != net.network();
            (!full && inside).then(|| Value::from(format!("{ip}/{}", net.prefix_len())))
        }
        "network" => Some(Value::from(net.network().to_string())),
        "network_id" => Some(Value::from(net.network().to_string())),
        "net" => (address.prefixed && ip == net.network() && !full).then(|| Value::from(net.to_string())),
        "subnet" | "network/prefix" => Some(Value::from(net.trunc().to_string())),
        "netmask" => Some(Value::from(net.netmask().to_string())),
        "hostmask" | "wildcard" => Some(Value::from(net.hostmask().to_string())),
        "broadcast" => (ip.is_ipv4() && !full).then(|| Value::from(net.broadcast().to_string())),
        "prefix" => Some(Value::from(net.prefix_len())),
        "size" => {
            let bits = net.max_prefix_len() - net.prefix_len();
            Some(if bits < 63 {
                Value::from(1i64 << bits)
            } else {
                Value::from(1i128.checked_shl(u32::from(bits)).unwrap_or(i128::MAX))
            })
        }
        "first_usable" => {
            if net.prefix_len() + 1 >= net.max_prefix_len() {
                usable(0)
            } else {
                usable(1)
            }
        }
        "last_usable" => {
            if net.prefix_len() + 1 >= net.max_prefix_len() || ip.is_ipv6() {
                usable(-1)
            } else {
                usable(-2)
            }
        }
        "range_usable" => {
            let (a, b) = if net.prefix_len() + 1 >= net.max_prefix_len() {
                (0, -1)
            } else {
                (1, if ip.is_ipv4() { -2 } else { -1 })
            };
            nth(&net, a).zip(nth(&net, b)).map(|(a, b)| Value::from(format!("{a}-{b}")))
        }
        "ipv4" => ip.is_ipv4().then_some(same),
        "ipv6" => ip.is_ipv6().then_some(same),
        "version" => Some(Value::from(if ip.is_ipv4() { 4 } else { 6 })),
        "private" => is_private(ip).then_some(same),
        "public" => (!is_private(ip) && !ip.is_multicast() && !ip.is_unspecified()).then_some(same),
        "loopback" | "lo" => ip.is_loopback().then_some(same),
        "multicast" => ip.is_multicast().then_some(same),
        "unicast" => (!ip.is_multicast()).then_some(same),
        "link-local" => match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
        .then_some(same),
        "wrap" => Some(Value::from(wrap(text))),
        "int" => Some(match ip {
            IpAddr::V4(ip) => Value::from(u32::from(ip)),
            IpAddr::V6(ip) => Value::from(u128::from(ip)),
        }),
        "revdns" => Some(Value::from(match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
            }
            IpAddr::V6(ip) => {
                let hex: String = ip.octets().iter().map(|b| format!("{b:02x}")).collect();
                let digits: Vec<String> = hex.chars().rev().map(String::from).collect();
                format!("{}.ip6.arpa.", digits.join("."))
            }
        })),
        other => {
            if let Ok(n) = other.parse::<i64>() {
                nth(&net, n).map(|ip| Value::from(format!("{ip}/{}", net.prefix_len())))
            } else if let Some(within) = parse(other) {
                within.net.contains(&net.addr()).then_some(same)
            } else {
                return Err(fail(format!("ipaddr: unknown query '{other}'")));
            }
        }
    })
}

fn addresses(args: &Args, version: Option<u8>) -> R {
    let value = args.value();
    let by = args.get(1, "query").map(|q| py::str(&q)).unwrap_or_default();
    if is_list(&value) {
        let mut out = Vec::new();
        for item in items(&value, "ipaddr")? {
            if let Some(found) = query(&py::str(&item), &by, version)? {
                out.push(found);
            }
        }
        return Ok(Value::from(out));
    }
    if value.kind() != ValueKind::String && value.kind() != ValueKind::Number {
        return Ok(Value::from(false));
    }
    // An address that is no network has no network: nothing, where all else is false.
    let nothing = if by == "net" && parse(&py::str(&value)).is_some() { Value::from(()) } else { Value::from(false) };
    Ok(query(&py::str(&value), &by, version)?.unwrap_or(nothing))
}

pub(super) fn ipaddr(args: &Args) -> R {
    let version = args.int(2, "version")?.and_then(|v| u8::try_from(v).ok());
    addresses(args, version)
}

pub(super) fn ipv4(args: &Args) -> R {
    addresses(args, Some(4))
}

pub(super) fn ipv6(args: &Args) -> R {
    addresses(args, Some(6))
}

fn wrap(text: &str) -> String {
    match parse(text) {
        Some(a) if a.net.addr().is_ipv6() => match text.split_once('/') {
            Some((ip, prefix)) => format!("[{ip}]/{prefix}"),
            None => format!("[{text}]"),
        },
        _ => text.to_owned(),
    }
}

/// IPv6 addresses in brackets, everything else as it is.
pub(super) fn ipwrap(args: &Args) -> R {
    let value = args.value();
    let by = args.text(1, "query").unwrap_or_default();
    let one = |v: &Value| -> Result<Option<Value>, Error> {
        let text = py::str(v);
        match query(&text, &by, None)? {
            Some(found) => Ok(Some(Value::from(wrap(&py::str(&found))))),
            None => Ok(Some(v.clone())),
        }
    };
    if is_list(&value) {
        let found: Result<Vec<_>, _> = items(&value, "ipwrap")?.iter().map(one).collect();
        return Ok(Value::from(found?.into_iter().flatten().collect::<Vec<_>>()));
    }
    Ok(one(&value)?.unwrap_or(Value::from(false)))
}

/// `ipsubnet(size, index)`
pub(super) fn ipsubnet(args: &Args) -> R {
    let Some(address) = parse(&py::str(&args.value())) else { return Ok(Value::from(false)) };
    let net = address.net;
    let Some(size) = args.int(1, "query")? else { return Ok(Value::from(net.trunc().to_string())) };
    let prefix = u8::try_from(size).map_err(|_| fail("ipsubnet: invalid prefix length"))?;
    if prefix < net.prefix_len() {
        return Ok(Value::from(
            IpNet::new(net.addr(), prefix).map_err(|_| fail("ipsubnet: invalid prefix length"))?.trunc().to_string(),
        ));
    }
    let count = 1u128.checked_shl(u32::from(prefix - net.prefix_len())).unwrap_or(u128::MAX);
    match args.int(2, "index")? {
        None => Ok(Value::from(count.to_string())),
        Some(i) => {
            let at = if i < 0 {
                count.checked_sub(u128::from(i.unsigned_abs()))
            } else {
                Some(u128::from(i.unsigned_abs()))
            };
            let step = 1u128.checked_shl(u32::from(net.max_prefix_len() - prefix)).unwrap_or(0);
            let offset =
                at.filter(|n| *n < count).and_then(|n| n.checked_mul(step)).and_then(|n| i64::try_from(n).ok());
            Ok(match offset.and_then(|n| nth(&net, n)) {
                Some(ip) => Value::from(format!("{ip}/{prefix}")),
                None => Value::from(false),
            })
        }
    }
}

pub(super) fn nthhost(args: &Args) -> R {
    let Some(address) = parse(&py::str(&args.value())) else { return Ok(Value::from(false)) };
    let n = args.int(1, "query")?.unwrap_or(0);
    Ok(nth(&address.net, n).map_or(Value::from(false), |ip| Value::from(ip.to_string())))
}

/// `network | network_in_network(other)`
pub(super) fn network_in_network(args: &Args) -> R {
    let (Some(a), Some(b)) = (parse(&py::str(&args.value())), parse(&args.need_text(1, "test")?)) else {
        return Ok(Value::from(false));
    };
    Ok(Value::from(a.net.contains(&b.net)))
}

pub(super) fn ip_sort(args: &Args) -> R {
    let mut list = args.items()?;
    list.sort_by_key(|v| parse(&py::str(v)).map(|a| a.net));
    Ok(Value::from(list))
}

/// Whether text is an address, for tests.
pub(crate) fn is_ip(text: &str, version: Option<u8>) -> bool {
    IpAddr::from_str(text).is_ok_and(|ip| version.is_none_or(|v| (v == 4) == ip.is_ipv4()))
}
