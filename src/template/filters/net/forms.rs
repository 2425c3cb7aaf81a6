//! Other ways to write an address, and all that a network has.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use minijinja::Error;
use minijinja::value::Value;

use super::address::{first, host_bits, network, number, of_version};
use crate::template::args::{Args, R, fail};
use crate::template::filters::spec;

/// More addresses than these are not put into one list.
const MOST: u8 = 20;

fn address(args: &Args) -> Result<IpAddr, Error> {
    let text = spec::text(args, 0, "value")?;
    IpAddr::from_str(&text).map_err(|_| fail(format!("{}: the value is not an address", args.name())))
}

/// `ipcut(amount)`: the first bits of an address, or, where negative, the last, in groups as it has them.
pub(in super::super) fn ipcut(args: &Args) -> R {
    spec::declared(args, &["value", "amount"])?;
    let ip = address(args)?;
    let amount = spec::int(args, 1, "amount")?.ok_or_else(|| fail("ipcut: the argument 'amount' is missing"))?;
    let (width, group) = if ip.is_ipv4() { (32, 8) } else { (128, 16) };
    let bits = format!("{:0width$b}", number(ip));
    let count = usize::try_from(amount.unsigned_abs()).unwrap_or(width).min(width);
    let cut = if amount < 0 { bits.get(width - count..) } else { bits.get(..count) }.unwrap_or_default();
    let read = |at: usize| cut.get(at..(at + group).min(cut.len())).and_then(|part| u16::from_str_radix(part, 2).ok());
    let groups = (0..cut.len()).step_by(group).filter_map(read);
    Ok(Value::from(match ip {
        IpAddr::V4(_) => groups.map(|n| n.to_string()).collect::<Vec<_>>().join("."),
        IpAddr::V6(_) => groups.map(|n| format!("{n:x}")).collect::<Vec<_>>().join(":"),
    }))
}

fn compressed(ip: Ipv6Addr) -> String {
    // Without the dots that one of version 4 has.
    match (ip.to_ipv4_mapped(), ip.segments()) {
        (Some(_), [.., a, b]) => format!("::ffff:{a:x}:{b:x}"),
        _ => ip.to_string(),
    }
}

/// `ipv6form(format)`: with all its zeros, with as few as can be, or as certificates have it.
pub(in super::super) fn ipv6form(args: &Args) -> R {
    spec::declared(args, &["value", "format"])?;
    let format = args.text(1, "format").unwrap_or_default();
    let groups = |ip: Ipv6Addr, all: bool| {
        let group = |n: &u16| if all { format!("{n:04x}") } else { format!("{n:x}") };
        ip.segments().iter().map(group).collect::<Vec<_>>().join(":")
    };
    Ok(Value::from(match (address(args)?, format.as_str()) {
        (IpAddr::V6(ip), "expand") => groups(ip, true),
        (IpAddr::V6(ip), "compress") => compressed(ip),
        (IpAddr::V6(ip), "x509") => groups(ip, false),
        (IpAddr::V4(ip), "expand" | "compress") => ip.to_string(),
        (IpAddr::V4(_), "x509") => return Err(fail("ipv6form: certificates have no such form of version 4")),
        _ => return Err(fail("ipv6form: the format must be expand, compress or x509")),
    }))
}

/// All addresses of a network, and how many they are.
pub(in super::super) fn usable_range(args: &Args) -> R {
    spec::declared(args, &["ip"])?;
    let net = network(&spec::text(args, 0, "ip")?).filter(|net: &IpNet| net.addr() == net.network());
    let net = net.ok_or_else(|| fail("usable_range: the value is not the address of a network"))?;
    if host_bits(&net) > MOST {
        return Err(fail(format!("usable_range: a network of more than {} addresses is not listed", 1u32 << MOST)));
    }
    let count = 1u128 << host_bits(&net);
    let all = (0..count).filter_map(|n| of_version(first(&net) + n, net.addr().is_ipv4()));
    let text = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => Value::from(ip.to_string()),
        IpAddr::V6(ip) => Value::from(compressed(ip)),
    };
    let all: Vec<Value> = all.map(text).collect();
    let size = i64::try_from(count).map_or_else(|_| Value::from(count), Value::from);
    Ok(Value::from_pairs([("usable_ips", Value::from(all)), ("number_of_ips", size)]))
}

#[cfg(test)]
mod tests {
    use super::super::answer as run;
    use super::*;

    #[test]
    fn parts_and_forms() {
        for (value, amount, answer) in [
            ("1234:4321:abcd:dcba::17", 64, "1234:4321:abcd:dcba"),
            ("1234:4321:abcd:dcba::17", -80, "dcba:0:0:0:17"),
            ("192.168.1.5", 16, "192.168"),
            ("192.168.1.5", 12, "192.10"),
            ("192.168.1.5", 0, ""),
            ("192.168.1.5", -100, "192.168.1.5"),
            ("nonesuch", 8, "error"),
        ] {
            assert_eq!(run(ipcut, vec![Value::from(value), Value::from(amount)]), answer, "{value} {amount}");
        }
        for (value, format, answer) in [
            ("1234::17", "expand", "1234:0000:0000:0000:0000:0000:0000:0017"),
            ("1234:0:0:0:0:0:0:17", "compress", "1234::17"),
            ("::ffff:10.0.0.1", "compress", "::ffff:a00:1"),
            ("1234::17", "x509", "1234:0:0:0:0:0:0:17"),
            ("10.0.0.1", "expand", "10.0.0.1"),
            ("10.0.0.1", "x509", "error"),
            ("1234::17", "nonesuch", "error"),
        ] {
            assert_eq!(run(ipv6form, vec![Value::from(value), Value::from(format)]), answer, "{value} {format}");
        }
        let all = "{'usable_ips': ['10.0.0.0', '10.0.0.1'], 'number_of_ips': 2}";
        assert_eq!(run(usable_range, vec![Value::from("10.0.0.0/31")]), all);
        assert_eq!(run(usable_range, vec![Value::from("10.0.0.1/31")]), "error");
        assert_eq!(run(usable_range, vec![Value::from("10.0.0.0/8")]), "error");
    }
}
