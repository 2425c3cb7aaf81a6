//! Names of other hosts, resolved as this host's own programs resolve them.
//!
//! The agent is linked statically: the C library's resolver inside it would load the host's name service modules,
//! which are of another version. So numbers and `/etc/hosts` are read here, and `getent` is asked for the rest.

use super::process::{find_program, search_path};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

/// The addresses of `host`, best first.
pub(crate) fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut found = in_hosts_file(&hosts, host);
    if found.is_empty() {
        found = from_getent(host)?;
    }
    match found.is_empty() {
        true => Err(Error::new(ErrorKind::NotFound, format!("`{host}` has no address on this host"))),
        false => Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect()),
    }
}

fn in_hosts_file(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn from_getent(host: &str) -> Result<Vec<IpAddr>> {
    let program = find_program("getent", &search_path(&BTreeMap::new()));
    let program = program.ok_or_else(|| Error::other(format!("`{host}` cannot be resolved: there is no `getent`")))?;
    let output = Command::new(program).args(["ahosts", "--", host]).stdin(Stdio::null()).output()?;
    let mut found: Vec<IpAddr> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(Ok(address)) = line.split_whitespace().next().map(str::parse)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_nonsense() {
        let shown = |host: &str| addresses(host, 80).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shown("192.0.2.1").unwrap(), ["192.0.2.1:80"]);
        assert_eq!(shown("[2001:db8::1]").unwrap(), ["[2001:db8::1]:80"]);
        assert!(shown("localhost").unwrap().iter().any(|a| a == "127.0.0.1:80" || a == "[::1]:80"));
        assert!(shown("no-such-host.invalid").unwrap_err().to_string().contains("no-such-host.invalid"));
        assert!(shown("--help").is_err());
    }

    #[test]
    fn the_hosts_file_is_read_as_the_system_reads_it() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 db1\n10.0.0.1\tDB1.example db1 # db2\n::1 localhost\n";
        assert_eq!(in_hosts_file(text, "db1"), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(in_hosts_file(text, "localhost").len(), 2);
        assert!(in_hosts_file(text, "db2").is_empty());
    }
}
