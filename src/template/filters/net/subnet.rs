//! Networks of a network, and hosts by their number.

use ipnet::IpNet;
use minijinja::value::Value;

use super::address::{
    first, host_bits, nth, number, of_number, of_text, of_version, python_int, show, show_net, usable,
};
use crate::template::args::{Args, R, fail};
use crate::template::filters::spec;

/// `ipsubnet(size, index)`, or `ipsubnet(network)`: the network itself, how many of a size it holds, one of them, or the
/// rank that it has in another.
pub(in super::super) fn ipsubnet(args: &Args) -> R {
    spec::declared(args, &["value", "query", "index"])?;
    let value = spec::text(args, 0, "value")?;
    let index = spec::int(args, 2, "index")?;
    let Some(subject) = of_text(&value) else { return Ok(Value::from(false)) };
    let net = subject.net.trunc();
    let query = args.text(1, "query").unwrap_or_default();
    if query.is_empty() {
        return Ok(Value::from(show_net(&net)));
    }
    if !query.bytes().all(|b| b.is_ascii_digit()) {
        return rank(&net, &query);
    }
    let Some(size) = query.parse::<u8>().ok().filter(|size| *size <= net.max_prefix_len()) else {
        return Ok(Value::from(false));
    };
    match (host_bits(&net), index) {
        (0, index) => above(&net, size, index),
        (_, None) => {
            let more = size
                .checked_sub(net.prefix_len())
                .ok_or_else(|| fail("ipsubnet: the size is that of a bigger network"))?;
            let count = 1u128.checked_shl(more.into()).map(|count| count.to_string());
            // One more than the biggest number there is here.
            Ok(Value::from(count.unwrap_or_else(|| "340282366920938463463374607431768211456".to_owned())))
        }
        (_, Some(index)) => Ok(within(&net, size, index).map_or_else(|| Value::from(false), Value::from)),
    }
}

/// One of the networks that an address lies in, from the biggest of that size to the smallest.
fn above(net: &IpNet, size: u8, index: Option<i64>) -> R {
    let width = i64::from(net.max_prefix_len());
    let index = index.unwrap_or(0);
    if index < i64::from(size) - width || index > width + 1 - index {
        return Ok(Value::from(false));
    }
    let prefix = if index < 0 { width + index } else { i64::from(size) + index };
    let found = u8::try_from(prefix).ok().filter(|prefix| *prefix < net.max_prefix_len());
    let found = found.and_then(|prefix| IpNet::new(net.addr(), prefix).ok());
    found
        .map(|net| Value::from(show_net(&net.trunc())))
        .ok_or_else(|| fail("ipsubnet: the address lies in no network of this number"))
}

/// One of the networks of a size.
fn within(net: &IpNet, size: u8, index: i64) -> Option<String> {
    let Some(more) = size.checked_sub(net.prefix_len()) else {
        // Of a bigger network there is a part, the first one, and it is written as the smaller one begins.
        return (index == 0).then(|| format!("{}/{size}", show(net.addr())));
    };
    let most = 1u128.checked_shl(more.into()).map_or(u128::MAX, |count| count - 1);
    let at = match u128::try_from(index) {
        Ok(index) => index,
        Err(_) => most.checked_sub(u128::from(index.unsigned_abs()) - 1)?,
    };
    if at > most {
        return None;
    }
    let step = at.checked_shl(u32::from(net.max_prefix_len() - size)).unwrap_or(0);
    of_version(first(net).checked_add(step)?, net.addr().is_ipv4()).map(|ip| format!("{}/{size}", show(ip)))
}

/// Which of the networks of its size in another this one is.
fn rank(net: &IpNet, whole: &str) -> R {
    let subject = of_text(whole).ok_or_else(|| fail("ipsubnet: the query is neither a size nor a network"))?;
    let whole = subject.net.trunc();
    if whole.addr().is_ipv4() != net.addr().is_ipv4() || !whole.contains(net) {
        return Err(fail("ipsubnet: the address is not in the network of the query"));
    }
    let at = (number(net.addr()) - number(whole.addr())).checked_shr(host_bits(net).into()).unwrap_or(0);
    let rank = at.checked_add(1).ok_or_else(|| fail("ipsubnet: the rank is too big a number"))?;
    Ok(Value::from(rank.to_string()))
}

/// `nthhost(number)`
pub(in super::super) fn nthhost(args: &Args) -> R {
    spec::declared(args, &["value", "query"])?;
    let value = spec::text(args, 0, "value")?;
    let index = args.text(1, "query").and_then(|query| python_int(&query));
    let (Some(subject), Some(index)) = (of_text(&value), index) else { return Ok(Value::from(false)) };
    match nth(&subject.net, index) {
        Some(ip) => Ok(Value::from(show(ip))),
        None if index < 0 => Err(fail("nthhost: the network has fewer addresses")),
        None => Ok(Value::from(false)),
    }
}

/// The usable address that is so many further.
fn further(args: &Args, back: bool) -> R {
    spec::declared(args, &["value", "offset"])?;
    let value = spec::text(args, 0, "value")?;
    let offset = spec::int(args, 1, "offset")?;
    let Some(subject) = of_text(&value) else { return Ok(Value::from(false)) };
    let offset = i128::from(offset.ok_or_else(|| fail(format!("{}: the argument 'offset' is missing", args.name())))?);
    let Some((start, end)) = usable(&subject.net) else { return Ok(Value::from(())) };
    let found = number(subject.net.addr()).checked_add_signed(if back { -offset } else { offset });
    let found = found.ok_or_else(|| fail(format!("{}: there is no address there", args.name())))?;
    let within = (start..=end).contains(&found);
    Ok(if within { Value::from(show(of_number(found))) } else { Value::from(()) })
}

/// `next_nth_usable(offset)`
pub(in super::super) fn next_nth_usable(args: &Args) -> R {
    further(args, false)
}

/// `previous_nth_usable(offset)`
pub(in super::super) fn previous_nth_usable(args: &Args) -> R {
    further(args, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(filter: fn(&Args) -> R, values: &[&str]) -> String {
        super::super::answer(filter, values.iter().map(|v| Value::from(*v)).collect())
    }

    #[test]
    fn networks_of_networks() {
        for (values, answer) in [
            (&["192.168.144.5/24"][..], "192.168.144.0/24"),
            (&["192.168.144.0/20", "24"], "16"),
            (&["192.168.144.0/20", "24", "0"], "192.168.144.0/24"),
            (&["192.168.144.0/20", "24", "-1"], "192.168.159.0/24"),
            (&["192.168.144.0/20", "24", "16"], "False"),
            (&["192.168.144.0/20", "18"], "error"),
            (&["192.168.144.5", "20"], "192.168.144.0/20"),
            (&["192.168.144.5", "20", "-1"], "192.168.144.4/31"),
            (&["192.168.144.5", "20", "12"], "error"),
            (&["192.168.144.5", "32"], "error"),
            (&["192.168.144.16/30", "24", "0"], "192.168.144.16/24"),
            (&["192.168.144.16/30", "24", "1"], "False"),
            (&["192.168.144.0/20", "33"], "False"),
            (&["192.168.144.5/24", "192.168.0.0/16"], "145"),
            (&["192.168.144.5", "192.168.144.0/24"], "6"),
            (&["192.168.144.5", "10.0.0.0/8"], "error"),
            (&["192.168.144.5", "nonesuch"], "error"),
            (&["nonesuch", "24"], "False"),
            (&["::/0", "128"], "340282366920938463463374607431768211456"),
            (&["::/0", "128", "-1"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
        ] {
            assert_eq!(run(ipsubnet, values), answer, "{values:?}");
        }
    }

    #[test]
    fn hosts_by_number() {
        assert_eq!(run(nthhost, &["10.0.0.0/8", "305"]), "10.0.1.49");
        assert_eq!(run(nthhost, &["10.0.0.0/30", "9"]), "False");
        assert_eq!(run(nthhost, &["10.0.0.0/30", "-9"]), "error");
        assert_eq!(run(nthhost, &["10.0.0.0/30", "x"]), "False");
        assert_eq!(run(next_nth_usable, &["192.168.122.1/24", "2"]), "192.168.122.3");
        assert_eq!(run(next_nth_usable, &["192.168.122.254/24", "2"]), "None");
        assert_eq!(run(next_nth_usable, &["192.168.122.254", "2"]), "None");
        assert_eq!(run(next_nth_usable, &["nonesuch", "2"]), "False");
        assert_eq!(run(next_nth_usable, &["10.0.0.0/8"]), "error");
        assert_eq!(run(previous_nth_usable, &["192.168.122.10/24", "2"]), "192.168.122.8");
    }
}
