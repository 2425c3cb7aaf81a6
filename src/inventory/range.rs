//! Host ranges `db[01:10]` and ports `host:2222`.

/// More hosts than this in one pattern are a mistake.
const MAX_HOSTS: usize = 100_000;

/// The hosts that an entry of an inventory names, and the port behind the last colon.
pub fn expand_host_pattern(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    if pattern.ends_with(':') {
        return Err(format!("`{pattern}` is no host: it ends with a colon"));
    }
    let (host, port) = split_port(pattern)?;
    let mut hosts = Vec::new();
    expand(host, &mut hosts)?;
    Ok((hosts, port))
}

/// Splits `host:port`, `[ipv6]:port`; an IPv6 address without brackets has no port.
pub fn split_port(pattern: &str) -> Result<(&str, Option<u16>), String> {
    if pattern.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((pattern, None));
    }
    if let Some(rest) = pattern.strip_prefix('[')
        && let Some((inside, after)) = rest.split_once(']')
        && inside.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return match after.strip_prefix(':') {
            Some(port) => Ok((inside, Some(parse_port(port, pattern)?))),
            None if after.is_empty() => Ok((inside, None)),
            None => Err(format!("`{pattern}` is no host")),
        };
    }
    match pattern.rsplit_once(':') {
        // A colon inside an open bracket belongs to a range.
        Some((host, port))
            if !host.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && host.matches('[').count() == host.matches(']').count() =>
        {
            Ok((host, Some(parse_port(port, pattern)?)))
        }
        _ => Ok((pattern, None)),
    }
}

fn parse_port(text: &str, pattern: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` in `{pattern}` is no port"))
}

fn expand(pattern: &str, hosts: &mut Vec<String>) -> Result<(), String> {
    let Some((head, rest)) = pattern.split_once('[') else {
        if hosts.len() >= MAX_HOSTS {
            return Err(format!("more than {MAX_HOSTS} hosts in one range"));
        }
        hosts.push(pattern.to_owned());
        return Ok(());
    };
    let Some((range, tail)) = rest.split_once(']') else {
        return Err(format!("the bracket in `{pattern}` is not closed"));
    };
    let mut bounds = range.split(':');
    let (begin, end, step) = (bounds.next().unwrap_or_default(), bounds.next(), bounds.next());
    let Some(end) = end.filter(|_| bounds.next().is_none()) else {
        return Err(format!("the range `[{range}]` must be begin:end or begin:end:step"));
    };
    let step: usize = match step {
        None => 1,
        Some(step) => step
            .parse()
            .ok()
            .filter(|step| *step > 0)
            .ok_or_else(|| format!("the step `{step}` of `[{range}]` must be a positive number"))?,
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(format!("the range `[{range}]` has no end"));
    }
    for value in values(begin, end, step, range)? {
        expand(&format!("{head}{value}{tail}"), hosts)?;
    }
    Ok(())
}

fn values(begin: &str, end: &str, step: usize, range: &str) -> Result<Vec<String>, String> {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let letter = |text: &str| (text.len() == 1).then(|| LETTERS.find(text)).flatten();
    if let (Some(from), Some(to)) = (letter(begin), letter(end)) {
        if from > to {
            return Err(format!("the range `[{range}]` ends before it begins"));
        }
        let letters = LETTERS.get(from..=to).unwrap_or_default();
        return Ok(letters.chars().step_by(step).map(String::from).collect());
    }
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| format!("the range `[{range}]` must be of numbers or of letters"));
    let (from, to) = (number(begin)?, number(end)?);
    let width = if begin.starts_with('0') && begin.len() > 1 { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err(format!("both ends of `[{range}]` must have as many digits"));
    }
    if from > to {
        return Err(format!("the range `[{range}]` ends before it begins"));
    }
    if (to - from) / step as u64 >= MAX_HOSTS as u64 {
        return Err(format!("more than {MAX_HOSTS} hosts in one range"));
    }
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}
