//! Addresses of hardware.

use minijinja::value::Value;

use super::address::{first, of_text, python_int, show};
use crate::template::args::{Args, R, fail};
use crate::template::filters::spec;

/// An address of 48 bits, or of 64.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hardware {
    number: u64,
    long: bool,
}

/// Digits in so many groups of a width, with one of the marks between them.
fn grouped(text: &str, marks: &[char], count: usize, least: usize, most: usize) -> Option<u64> {
    let read = |mark: &char| {
        let groups: Vec<&str> = text.split(*mark).collect();
        let fit = |group: &&str| (least..=most).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
        if groups.len() != count || !groups.iter().all(fit) {
            return None;
        }
        let bits = u32::try_from(most * 4).ok()?;
        let add = |sum: u64, group: &&str| Some(sum.checked_shl(bits)? | u64::from_str_radix(group, 16).ok()?);
        groups.iter().try_fold(0, add)
    };
    marks.iter().find_map(read)
}

fn bare(text: &str, widths: &[usize]) -> Option<u64> {
    let fits = widths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Reads every notation there is; digits alone may be the number itself.
fn hardware(text: &str) -> Option<Hardware> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let number = python_int(text).and_then(|n| u64::try_from(n).ok());
    let short = grouped(line, &[':', '-'], 6, 1, 2)
        .or_else(|| grouped(line, &[':', '-', '.'], 3, 1, 4))
        .or_else(|| grouped(line, &['-', ':'], 2, 5, 6))
        .or_else(|| bare(line, &[12, 11]))
        .or(number.filter(|n| *n < 1 << 48));
    let long = || {
        grouped(line, &[':', '-'], 8, 1, 2)
            .or_else(|| grouped(line, &[':', '-', '.'], 4, 1, 4))
            .or_else(|| bare(line, &[16]))
            .or(number)
    };
    short
        .map(|number| Hardware { number, long: false })
        .or_else(|| long().map(|number| Hardware { number, long: true }))
}

/// The 48 bits in groups of so many digits.
fn written(number: u64, width: usize, mark: &str, upper: bool) -> Option<String> {
    let digits = if upper { format!("{number:012X}") } else { format!("{number:012x}") };
    if digits.len() > 12 {
        return None;
    }
    let groups: Vec<&str> = (0..12).step_by(width).filter_map(|at| digits.get(at..at + width)).collect();
    Some(groups.join(mark))
}

fn ask(args: &Args) -> R {
    let text = spec::text(args, 0, "value")?;
    let query = args.text(1, "query").unwrap_or_default();
    let Some(found) = hardware(&text) else {
        return match query.as_str() {
            "" | "bool" => Ok(Value::from(())),
            _ => Err(fail(format!("{}: the value is not an address of hardware", args.name()))),
        };
    };
    let number = found.number;
    let short = |t: &str| t.strip_prefix('0').unwrap_or(t).to_owned();
    let text = match query.as_str() {
        "" => return Ok(Value::from(text)),
        "bool" => return Ok(Value::from(true)),
        "int" => return Ok(Value::from(number)),
        "bare" => written(number, 12, "", true),
        "cisco" => written(number, 4, ".", false),
        "eui48" | "win" => written(number, 2, "-", true),
        "linux" => written(number, 2, ":", false),
        "pgsql" | "postgresql" | "psql" => written(number, 6, ":", false),
        "unix" => written(number, 2, ":", false).map(|all| all.split(':').map(short).collect::<Vec<_>>().join(":")),
        other => return Err(fail(format!("{}: unknown query '{other}'", args.name()))),
    };
    text.map(Value::from).ok_or_else(|| fail(format!("{}: the address has more than 48 bits", args.name())))
}

/// `hwaddr(query)`
pub(in super::super) fn hwaddr(args: &Args) -> R {
    spec::declared(args, &["value", "query", "alias"])?;
    ask(args)
}

/// `macaddr(query)`
pub(in super::super) fn macaddr(args: &Args) -> R {
    spec::declared(args, &["value", "query"])?;
    ask(args)
}

/// `network | slaac(hardware)`: the address that a host of this hardware gives itself there.
pub(in super::super) fn slaac(args: &Args) -> R {
    spec::declared(args, &["value", "query"])?;
    let value = spec::text(args, 0, "value")?;
    let query = args.text(1, "query").filter(|query| !query.is_empty());
    let net = of_text(&value).map(|subject| subject.net).filter(|net| net.addr().is_ipv6());
    let (Some(net), Some(found)) = (net, query.and_then(|query| hardware(&query))) else {
        return Ok(Value::from(false));
    };
    let Hardware { number, long } = found;
    let long = if long { number } else { (number >> 24) << 40 | 0xff_fe00_0000 | (number & 0xff_ffff) };
    // The bit that says who gave the address is inverted.
    let sum = first(&net).checked_add(u128::from(long ^ 0x0200_0000_0000_0000));
    let sum = sum.ok_or_else(|| fail("slaac: there is no such address"))?;
    Ok(Value::from(show(std::net::IpAddr::V6(sum.into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(filter: fn(&Args) -> R, values: &[&str]) -> String {
        super::super::answer(filter, values.iter().map(|v| Value::from(*v)).collect())
    }

    #[test]
    fn notations() {
        for (text, number, long) in [
            ("1a:2b:3c:4d:5e:6f", 0x1a2b_3c4d_5e6f, false),
            ("1A-2B-3C-4D-5E-6F", 0x1a2b_3c4d_5e6f, false),
            ("1a2b.3c4d.5e6f", 0x1a2b_3c4d_5e6f, false),
            ("1a2b3c:4d5e6f", 0x1a2b_3c4d_5e6f, false),
            ("1a2b3c4d5e6f", 0x1a2b_3c4d_5e6f, false),
            ("1:2:3:4:5:6", 0x0102_0304_0506, false),
            ("12345", 12345, false),
            ("0000000000000001", 1, false),
            ("00:1a:2b:3c:4d:5e:6f:70", 0x001a_2b3c_4d5e_6f70, true),
            ("fffffffffffffffe", 0xffff_ffff_ffff_fffe, true),
        ] {
            assert_eq!(hardware(text), Some(Hardware { number, long }), "{text}");
        }
        assert_eq!(hardware("1a:2b"), None);
        assert_eq!(hardware("text"), None);
    }

    #[test]
    fn queries() {
        for (value, query, answer) in [
            ("1a:2b:3c:4d:5e:6f", "cisco", "1a2b.3c4d.5e6f"),
            ("1A-2B-3C-4D-5E-6F", "linux", "1a:2b:3c:4d:5e:6f"),
            ("1A-02-03-4D-5E-6F", "unix", "1a:2:3:4d:5e:6f"),
            ("1a:2b:3c:4d:5e:6f", "bare", "1A2B3C4D5E6F"),
            ("1a:2b:3c:4d:5e:6f", "pgsql", "1a2b3c:4d5e6f"),
            ("1a:2b:3c:4d:5e:6f", "win", "1A-2B-3C-4D-5E-6F"),
            ("1a:2b:3c:4d:5e:6f", "int", "28772997619311"),
            ("1a:2b:3c:4d:5e:6f", "nonesuch", "error"),
            ("text", "", "None"),
            ("text", "cisco", "error"),
            ("00:1a:2b:3c:4d:5e:6f:70", "cisco", "error"),
        ] {
            assert_eq!(run(hwaddr, &[value, query]), answer, "{value} {query}");
        }
        assert_eq!(
            run(slaac, &["fdcf:1894:23b5:d38c::/64", "c2:31:b3:83:bf:2b"]),
            "fdcf:1894:23b5:d38c:c031:b3ff:fe83:bf2b"
        );
        assert_eq!(run(slaac, &["10.0.0.0/8", "c2:31:b3:83:bf:2b"]), "False");
        assert_eq!(run(slaac, &["fdcf::/64", "nonesuch"]), "False");
    }
}
