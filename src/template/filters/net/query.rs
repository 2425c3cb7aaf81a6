//! `ipaddr` and its queries. What an address is not, some queries answer with false, and some with nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::address::{
    Subject, first, host_bits, is_mask, last, network, nth, number, of_number, python_int, show, show_net, subject,
    usable,
};
use super::reach::{is_global, is_in, is_multicast};
use crate::template::args::{Args, R, fail, is_list, items};
use crate::template::filters::spec;
use crate::template::py;

fn nothing() -> Value {
    Value::from(())
}

fn no() -> Value {
    Value::from(false)
}

fn text(found: Option<String>) -> Value {
    found.map_or_else(nothing, Value::from)
}

/// The value, where it is what was asked for.
fn when(holds: bool, asked: &Subject) -> Value {
    if holds { asked.value.clone() } else { nothing() }
}

fn no_network() -> Error {
    fail("ipaddr: not a network address")
}

/// The usable addresses of what was written as a network.
fn range(asked: &Subject) -> Result<Option<(u128, u128)>, Error> {
    if asked.prefixed { Ok(usable(&asked.net)) } else { Err(no_network()) }
}

/// The address beside, where a host may have it.
fn beside(asked: &Subject, step: i8) -> R {
    let Some((start, end)) = range(asked)? else { return Ok(nothing()) };
    let next = number(asked.net.addr()).checked_add_signed(i128::from(step));
    let next = next.ok_or_else(|| fail("ipaddr: there is no address beside"))?;
    Ok(text((start..=end).contains(&next).then(|| show(of_number(next)))))
}

/// The other end of a link between two.
fn peer(asked: &Subject) -> R {
    if !asked.prefixed {
        return Err(no_network());
    }
    let ip = number(asked.net.addr());
    let other = match (host_bits(&asked.net), ip % 4) {
        (1, _) => ip ^ 1,
        (2, 0) => return Err(fail("ipaddr: the network's own address of a /30 has no peer")),
        (2, 3) => return Err(fail("ipaddr: the broadcast address of a /30 has no peer")),
        (2, _) => ip ^ 3,
        _ => return Err(fail("ipaddr: not a network of two")),
    };
    Ok(Value::from(show(of_number(other))))
}

fn six_to_four(asked: &Subject) -> Value {
    let net = &asked.net;
    match net.addr() {
        IpAddr::V4(ip) => {
            let named = host_bits(net) == 0 || net.addr() != net.network();
            // What is neither public nor private has no such address.
            if !named || (is_global(net.addr()) && (ip.is_multicast() || is_mask(net.addr()))) {
                return no();
            }
            let [a, b, c, d] = ip.octets();
            Value::from(format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1/48"))
        }
        IpAddr::V6(_) => {
            let named = !asked.prefixed || net.addr() != net.network();
            if named && is_in(&IpNet::from(net.addr()), "2002::/16") { asked.value.clone() } else { no() }
        }
    }
}

/// The same in version 4, of what was made of one.
fn in_four(asked: &Subject) -> Value {
    let IpAddr::V6(_) = asked.net.addr() else { return asked.value.clone() };
    let ip = number(asked.net.addr());
    let four = u32::try_from(ip).ok().or_else(|| u32::try_from(ip.checked_sub(0xffff_0000_0000)?).ok());
    let prefix = asked.net.prefix_len().checked_sub(96);
    let net = four.zip(prefix).and_then(|(ip, prefix)| IpNet::new(IpAddr::V4(ip.into()), prefix).ok());
    net.map_or_else(no, |net| Value::from(show_net(&net)))
}

/// The same in version 6.
fn in_six(asked: &Subject) -> Value {
    match asked.net.addr() {
        IpAddr::V4(ip) => {
            Value::from(format!("{}/{}", show(IpAddr::V6(ip.to_ipv6_mapped())), asked.net.prefix_len() + 96))
        }
        IpAddr::V6(_) => asked.value.clone(),
    }
}

fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let digits: Vec<String> = format!("{:032x}", u128::from(ip)).chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa.", digits.join("."))
        }
    }
}

/// How many addresses there are.
fn size(net: &IpNet) -> R {
    let count = (last(net) - first(net)).checked_add(1);
    count.map(Value::from).ok_or_else(|| fail("ipaddr: the size of a network that is everything is too big a number"))
}

/// An address of the network by its number, or whether this one lies in the network that the query is.
fn by_place(asked: &Subject, query: &str) -> R {
    let digits = !query.is_empty() && query.bytes().all(|b| b.is_ascii_digit());
    if !digits && let Some(within) = network(query) {
        return Ok(when(within.contains(&asked.net), asked));
    }
    if query.trim().parse::<f64>().is_err() {
        return Err(fail(format!("ipaddr: unknown query '{query}'")));
    }
    let net = &asked.net;
    if host_bits(net) == 0 {
        return Ok(Value::from(if asked.prefixed { show_net(net) } else { show(net.addr()) }));
    }
    let found = python_int(query).and_then(|index| nth(net, index));
    Ok(found.map_or_else(no, |ip| Value::from(format!("{}/{}", show(ip), net.prefix_len()))))
}

fn answer(asked: &Subject, query: &str) -> R {
    let net = &asked.net;
    let (ip, bits) = (net.addr(), host_bits(net));
    let own = ip == net.network();
    let with_prefix = || show_net(net);
    // Where the address is a host's in a network; one of two has no address of the network's own.
    let inside = bits > 0 && (bits == 1 || !own);
    Ok(match query {
        "" => Value::from(if asked.prefixed { with_prefix() } else { show(ip) }),
        "6to4" => six_to_four(asked),
        "address" | "ip" => text((bits < 2 || !own || ip.is_ipv6()).then(|| show(ip))),
        "address/prefix" | "gateway" | "gw" | "host/prefix" | "hostnet" | "router" => {
            let outer = bits > 1 && (own || ip == net.broadcast());
            if outer { no() } else { Value::from(with_prefix()) }
        }
        "bool" => Value::from(true),
        "broadcast" => text((bits > 1).then(|| show(net.broadcast()))),
        "cidr" => Value::from(with_prefix()),
        "first_usable" => match (asked.prefixed, usable(net)) {
            (false, _) => return Err(no_network()),
            (true, found) => text(found.map(|(start, _)| show(of_number(start)))),
        },
        "host" => text((bits < 2 || !own).then(with_prefix)),
        "hostmask" | "wildcard" => Value::from(show(net.hostmask())),
        "int" if asked.prefixed => Value::from(format!("{}/{}", number(ip), net.prefix_len())),
        "int" => Value::from(number(ip)),
        "ip/prefix" => text(inside.then(with_prefix)),
        "ip_netmask" => text(inside.then(|| format!("{} {}", show(ip), show(net.netmask())))),
        "ipv4" | "v4" => in_four(asked),
        "ipv6" | "v6" => in_six(asked),
        "last_usable" => text(range(asked)?.map(|(_, end)| show(of_number(end)))),
        "link-local" => {
            let alone = IpNet::from(ip);
            when(is_in(&alone, "169.254.0.0/16") || is_in(&alone, "fe80::/10"), asked)
        }
        "lo" | "loopback" => when(ip.is_loopback(), asked),
        "multicast" => when(is_multicast(net), asked),
        "net" => text((bits > 0 && own).then(with_prefix)),
        "next_usable" => return beside(asked, 1),
        "netmask" => Value::from(show(net.netmask())),
        "network" | "network_id" => Value::from(show(net.network())),
        "network/prefix" | "subnet" => Value::from(show_net(&net.trunc())),
        "network_netmask" => Value::from(format!("{} {}", show(net.network()), show(net.netmask()))),
        "network_wildcard" => Value::from(format!("{} {}", show(net.network()), show(net.hostmask()))),
        "peer" => return peer(asked),
        "prefix" => Value::from(net.prefix_len()),
        "previous_usable" => return beside(asked, -1),
        "private" => when(!is_global(ip), asked),
        "public" => {
            let unicast = !is_multicast(&IpNet::from(ip));
            when(unicast && is_global(ip) && !ip.is_loopback() && !is_mask(ip), asked)
        }
        "range_usable" => {
            text(range(asked)?.map(|(start, end)| format!("{}-{}", show(of_number(start)), show(of_number(end)))))
        }
        "revdns" => Value::from(reverse(ip)),
        "size" => return size(net),
        "size_usable" => match bits {
            0 => Value::from(0),
            1 => Value::from(2),
            _ => Value::from(last(net) - first(net) - 1),
        },
        "type" => Value::from(if bits > 0 && own { "network" } else { "address" }),
        "unicast" => when(!is_multicast(net), asked),
        "version" => Value::from(if ip.is_ipv4() { 4 } else { 6 }),
        "wrap" if ip.is_ipv4() => asked.value.clone(),
        "wrap" if asked.prefixed => Value::from(format!("[{}]/{}", show(ip), net.prefix_len())),
        "wrap" => Value::from(format!("[{}]", show(ip))),
        other => return by_place(asked, other),
    })
}

/// One query of a value; of a list, what its items answer that is not false or nothing. `version` 0 is any.
fn ask(value: &Value, query: &str, version: i64) -> R {
    if is_list(value) {
        let mut out = Vec::new();
        for item in items(value, "ipaddr")? {
            let found = ask(&item, query, version)?;
            if found.is_true() {
                out.push(found);
            }
        }
        return Ok(Value::from(out));
    }
    let Some(asked) = subject(value, version) else { return Ok(no()) };
    if version != 0 && (version == 4) != asked.net.addr().is_ipv4() {
        return Ok(no());
    }
    answer(&asked, query)
}

/// What may be asked: text, a list or a whole number.
fn askable(args: &Args, kinds: &[&str]) -> R {
    let value = args.need(0, "value")?;
    let kind = py::type_name(&value);
    if kinds.contains(&kind) || (is_list(&value) && kind != "tuple") {
        return Ok(value);
    }
    Err(fail(format!("{}: a value of the type '{kind}' is neither an address nor a list", args.name())))
}

/// `ipaddr(query, version)`
pub(in super::super) fn ipaddr(args: &Args) -> R {
    spec::declared(args, &["value", "query", "version", "alias"])?;
    let value = askable(args, &["str", "int", "bool"])?;
    let version = spec::int(args, 2, "version")?.unwrap_or(0);
    ask(&value, &args.text(1, "query").unwrap_or_default(), version)
}

fn of_version(args: &Args, version: i64) -> R {
    spec::declared(args, &["value", "query"])?;
    let value = askable(args, &["str", "int", "bool"])?;
    ask(&value, &args.text(1, "query").unwrap_or_default(), version)
}

/// `ipv4(query)`
pub(in super::super) fn ipv4(args: &Args) -> R {
    of_version(args, 4)
}

/// `ipv6(query)`
pub(in super::super) fn ipv6(args: &Args) -> R {
    of_version(args, 6)
}

/// IPv6 addresses in brackets, everything else as it is.
pub(in super::super) fn ipwrap(args: &Args) -> R {
    spec::declared(args, &["value", "query"])?;
    let value = askable(args, &["str", "bool"])?;
    // By position a query is not taken.
    let query = args.text(usize::MAX, "query").unwrap_or_default();
    let wrapped = |item: &Value, keep: bool| -> R {
        let found = ask(item, &query, 0)?;
        match found.is_true() {
            true => ask(if keep { item } else { &found }, "wrap", 0),
            false => Ok(item.clone()),
        }
    };
    if value.kind() != ValueKind::String && is_list(&value) {
        let all: Result<Vec<Value>, Error> = items(&value, "ipwrap")?.iter().map(|item| wrapped(item, true)).collect();
        return Ok(all.map_or(value, Value::from));
    }
    Ok(wrapped(&value, false).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str, query: &str) -> String {
        ask(&Value::from(value), query, 0).map_or_else(|_| "error".to_owned(), |v| py::str(&v))
    }

    #[test]
    fn queries() {
        for (value, query, answer) in [
            ("192.168.1.5/255.255.255.0", "", "192.168.1.5/24"),
            ("192.168.10.17/28", "next_usable", "192.168.10.18"),
            ("192.168.10.30/28", "next_usable", "None"),
            ("192.168.10.17", "next_usable", "error"),
            ("192.168.10.20/28", "previous_usable", "192.168.10.19"),
            ("0.0.0.0/8", "previous_usable", "error"),
            ("192.168.10.17/28", "ip_netmask", "192.168.10.17 255.255.255.240"),
            ("192.168.10.17/28", "network_netmask", "192.168.10.16 255.255.255.240"),
            ("192.168.10.17/28", "network_wildcard", "192.168.10.16 0.0.0.15"),
            ("::1", "type", "address"),
            ("10.0.0.0/8", "type", "network"),
            ("10.1.0.1/30", "peer", "10.1.0.2"),
            ("10.1.0.0/30", "peer", "error"),
            ("10.1.0.0/31", "peer", "10.1.0.1"),
            ("10.1.0.0/24", "peer", "error"),
            ("8.8.8.8", "6to4", "2002:0808:0808::1/48"),
            ("10.0.0.0/8", "6to4", "False"),
            ("2002:c000:201::1", "6to4", "2002:c000:201::1"),
            ("192.168.0.1/24", "int", "3232235521/24"),
            ("192.168.0.1", "int", "3232235521"),
            ("10.1.0.1/8", "ipv6", "::ffff:10.1.0.1/104"),
            ("::ffff:10.1.0.1/104", "ipv4", "10.1.0.1/8"),
            ("2001:db8::1", "ipv4", "False"),
            ("11.1.1.1", "10.0.0.0/8", "None"),
            ("10.1.1.1", "10.0.0.0/8", "10.1.1.1"),
            ("10.0.0.0/24", "-1", "10.0.0.255/24"),
            ("10.0.0.0/24", "256", "False"),
            ("10.0.0.1", "7", "10.0.0.1"),
            ("10.0.0.0/24", "nonesuch", "error"),
            ("10.0.0.0/24", "address", "None"),
            ("10.0.0.255/24", "router", "False"),
            ("10.0.0.0/24", "size_usable", "254"),
            ("10.0.0.0/31", "size_usable", "2"),
            ("::/0", "size_usable", "340282366920938463463374607431768211454"),
            ("::/0", "size", "error"),
            ("2001:db8::/64", "size", "18446744073709551616"),
            ("128.0.0.0", "public", "None"),
            ("8.8.8.8", "public", "8.8.8.8"),
            ("2001:db8::/64", "last_usable", "2001:db8::ffff:ffff:ffff:fffe"),
            ("nonesuch", "size", "False"),
        ] {
            assert_eq!(asked(value, query), answer, "{value} {query}");
        }
    }
}
