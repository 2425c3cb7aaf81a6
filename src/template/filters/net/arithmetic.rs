//! Addresses as numbers.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use minijinja::value::Value;

use super::address::{network, number, of_version, show};
use crate::template::args::{Args, R, fail};
use crate::template::filters::spec;

/// `ipmath(amount)`
pub(in super::super) fn ipmath(args: &Args) -> R {
    spec::declared(args, &["value", "amount"])?;
    let value = spec::text(args, 0, "value")?;
    let ip = if value.contains('/') { network(&value).map(|net| net.addr()) } else { IpAddr::from_str(&value).ok() };
    let ip = ip.ok_or_else(|| fail("ipmath: the value is not an address"))?;
    let amount = spec::int(args, 1, "amount")?.ok_or_else(|| fail("ipmath: the argument 'amount' is missing"))?;
    let found = number(ip).checked_add_signed(i128::from(amount)).and_then(|n| of_version(n, ip.is_ipv4()));
    found.map(|ip| Value::from(show(ip))).ok_or_else(|| fail("ipmath: there is no such address"))
}

/// `ip4_hex(delimiter)`
pub(in super::super) fn ip4_hex(args: &Args) -> R {
    spec::declared(args, &["arg", "delimiter"])?;
    let ip = Ipv4Addr::from_str(&spec::text(args, 0, "arg")?);
    let ip = ip.map_err(|_| fail("ip4_hex: the value is not an address of version 4"))?;
    let words: Vec<String> = ip.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Value::from(words.join(&args.text(1, "delimiter").unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::super::answer as run;
    use super::*;

    #[test]
    fn sums_and_digits() {
        for (value, amount, answer) in [
            ("192.168.1.5", 5, "192.168.1.10"),
            ("192.168.1.5", -10, "192.168.0.251"),
            ("192.168.1.5/24", 5, "192.168.1.10"),
            ("2001::1", 9, "2001::a"),
            ("255.255.255.255", 1, "error"),
            ("0.0.0.0", -1, "error"),
            ("nonesuch", 1, "error"),
        ] {
            assert_eq!(run(ipmath, vec![Value::from(value), Value::from(amount)]), answer, "{value}");
        }
        assert_eq!(run(ip4_hex, vec![Value::from("192.168.1.5")]), "c0a80105");
        assert_eq!(run(ip4_hex, vec![Value::from("192.168.1.5"), Value::from(":")]), "c0:a8:01:05");
        assert_eq!(run(ip4_hex, vec![Value::from("::1")]), "error");
    }
}
