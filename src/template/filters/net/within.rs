//! What lies in a network, and networks put together.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use minijinja::Error;
use minijinja::value::Value;

use super::address::{first, host_bits, last, network, number, of_text, of_version, show_net, usable};
use crate::template::args::{Args, R, fail};
use crate::template::filters::spec;
use crate::template::py;

/// The first and the last address of a network. One of two counts by its first, and what is no address is 0, as Ansible
/// has it.
fn ends(text: Option<&str>) -> (u128, u128) {
    match text.and_then(of_text) {
        None => (0, 0),
        Some(subject) if host_bits(&subject.net) > 1 => (first(&subject.net), last(&subject.net)),
        Some(subject) => (first(&subject.net), first(&subject.net)),
    }
}

fn inside((from, to): (u128, u128), (first, last): (u128, u128)) -> bool {
    (from..=to).contains(&first) && (from..=to).contains(&last)
}

/// `network | network_in_network(other)`
pub(in super::super) fn network_in_network(args: &Args) -> R {
    spec::declared(args, &["value", "test"])?;
    let whole = spec::text(args, 0, "value")?;
    Ok(Value::from(inside(ends(Some(&whole)), ends(args.text(1, "test").as_deref()))))
}

/// `network | network_in_usable(other)`: without the network's own address and its last.
pub(in super::super) fn network_in_usable(args: &Args) -> R {
    spec::declared(args, &["value", "test"])?;
    let whole = spec::text(args, 0, "value")?;
    let found = of_text(&whole).and_then(|subject| usable(&subject.net));
    Ok(Value::from(inside(found.unwrap_or_else(|| ends(Some(&whole))), ends(args.text(1, "test").as_deref()))))
}

/// `addresses | reduce_on_network(network)`
pub(in super::super) fn reduce_on_network(args: &Args) -> R {
    spec::declared(args, &["value", "network"])?;
    let addresses = spec::texts(args, 0, "value")?;
    let whole = ends(args.text(1, "network").as_deref());
    Ok(addresses.into_iter().filter(|address| inside(whole, ends(Some(address)))).map(Value::from).collect())
}

/// A range of addresses, and the network that it was written as.
struct Range {
    four: bool,
    last: u128,
    first: u128,
    whole: Option<IpNet>,
}

/// As few networks as there can be, by their last addresses. One that nothing was added to keeps its host's part.
fn merged(nets: Vec<IpNet>) -> Vec<String> {
    let range =
        |net: IpNet| Range { four: net.addr().is_ipv4(), last: last(&net), first: first(&net), whole: Some(net) };
    let mut ranges: Vec<Range> = nets.into_iter().map(range).collect();
    ranges.sort_by_key(|range| (!range.four, range.last, range.first));
    let mut out: Vec<Range> = Vec::new();
    for range in ranges.into_iter().rev() {
        match out.last_mut() {
            Some(above) if above.four == range.four && above.first <= range.last.saturating_add(1) => {
                above.first = above.first.min(range.first);
                above.whole = None;
            }
            _ => out.push(range),
        }
    }
    out.iter().rev().flat_map(written).collect()
}

fn written(range: &Range) -> Vec<String> {
    if let Some(net) = &range.whole {
        return vec![show_net(net)];
    }
    match (of_version(range.first, range.four), of_version(range.last, range.four)) {
        (Some(IpAddr::V4(from)), Some(IpAddr::V4(to))) => {
            Ipv4Subnets::new(from, to, 0).map(|net| show_net(&net.into())).collect()
        }
        (Some(IpAddr::V6(from)), Some(IpAddr::V6(to))) => {
            Ipv6Subnets::new(from, to, 0).map(|net| show_net(&net.into())).collect()
        }
        _ => Vec::new(),
    }
}

/// The smallest network that holds all of these.
fn spanning(nets: &[IpNet]) -> R {
    let order = |net: &&IpNet| (first(net), net.prefix_len(), number(net.addr()));
    let (Some(low), Some(high)) = (nets.iter().min_by_key(order), nets.iter().max_by_key(order)) else {
        return Ok(Value::from(()));
    };
    if nets.len() == 1 {
        return Ok(Value::from(show_net(low)));
    }
    if nets.iter().any(|net| net.addr().is_ipv4() != low.addr().is_ipv4()) {
        return Err(fail("cidr_merge: nothing spans addresses of both versions"));
    }
    let (mut at, mut prefix, width) = (last(high), high.prefix_len(), high.max_prefix_len());
    while prefix > 0 && at > first(low) {
        prefix -= 1;
        at &= u128::MAX.checked_shl(u32::from(width - prefix)).unwrap_or(0);
    }
    let net = of_version(at, low.addr().is_ipv4()).and_then(|ip| IpNet::new(ip, prefix).ok());
    net.map(|net| Value::from(show_net(&net))).ok_or_else(|| fail("cidr_merge: nothing spans these networks"))
}

/// `cidr_merge(action)`
pub(in super::super) fn cidr_merge(args: &Args) -> R {
    spec::declared(args, &["value", "action"])?;
    let read = |text: &String| network(text).ok_or_else(|| fail("cidr_merge: an item is not an address"));
    let texts = spec::texts(args, 0, "value")?;
    let nets = || texts.iter().map(read).collect::<Result<Vec<IpNet>, Error>>();
    match args.text(1, "action").as_deref() {
        None | Some("merge") => Ok(Value::from(merged(nets()?))),
        Some("span") => spanning(&nets()?),
        Some(other) => Err(fail(format!("cidr_merge: the action '{other}' is neither merge nor span"))),
    }
}

/// Addresses in their order.
pub(in super::super) fn ip_sort(args: &Args) -> R {
    let mut list = args.items()?;
    list.sort_by_key(|v| of_text(&py::str(v)).map(|subject| subject.net));
    Ok(Value::from(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().filter_map(|text| network(text)).collect()
    }

    #[test]
    fn networks_merge() {
        for (texts, answer) in [
            (&["192.168.0.0/17", "192.168.128.0/17", "192.168.128.1"][..], &["192.168.0.0/16"][..]),
            (&["10.0.0.5/24"], &["10.0.0.5/24"]),
            (&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"], &["10.0.0.1/32", "10.0.0.2/31", "::1/128"]),
            (&["10.0.2.0/24", "10.0.0.0/24"], &["10.0.0.0/24", "10.0.2.0/24"]),
            (&["::/0", "::1"], &["::/0"]),
        ] {
            assert_eq!(merged(nets(texts)), answer, "{texts:?}");
        }
        for (texts, answer) in [
            (&["192.168.1.1", "192.168.1.200"][..], "192.168.1.0/24"),
            (&["10.0.0.5/24"], "10.0.0.5/24"),
            (&["0.0.0.0", "255.255.255.255"], "0.0.0.0/0"),
        ] {
            assert_eq!(py::str(&spanning(&nets(texts)).unwrap()), answer, "{texts:?}");
        }
        assert!(spanning(&nets(&["10.0.0.1", "::1"])).is_err());
    }

    #[test]
    fn what_lies_in_a_network() {
        let run = |filter: fn(&Args) -> R, a: &str, b: &str| {
            filter(&Args::from_values("filter", vec![Value::from(a), Value::from(b)]).unwrap()).unwrap().is_true()
        };
        assert!(run(network_in_network, "192.168.0.0/16", "192.168.3.0/24"));
        assert!(!run(network_in_network, "192.168.3.0/24", "192.168.0.0/16"));
        assert!(run(network_in_network, "0.0.0.0/8", "nonesuch"));
        assert!(!run(network_in_usable, "192.168.0.0/24", "192.168.0.255"));
        assert!(run(network_in_usable, "192.168.0.0/31", "192.168.0.0"));
        assert!(run(network_in_usable, "192.168.0.7", "192.168.0.7"));
    }
}
