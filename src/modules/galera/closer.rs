//! The closer look: what is asked once a gate, because it starts a program or opens a connection.

use super::effective;
use super::leaf;
use crate::galera::{Certificate, Closer, Leaf, ProviderOptions, Purpose};
use crate::machine::{Command, Machine, Result};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Looks closer at a running node. `variables` are the server's, `user` is who it runs as.
pub fn look(machine: &Machine, variables: &BTreeMap<String, String>, data: &str, user: &str) -> Result<Closer> {
    let get = |map: &BTreeMap<String, String>, name: &str| map.get(name).cloned().unwrap_or_default();
    let options = ProviderOptions::parse(&get(variables, "wsrep_provider_options")).unwrap_or_default();
    let mut certificates = Vec::new();
    if let Some(path) = options.get("socket.ssl_cert") {
        // Without authorities of its own the provider trusts its certificate's file.
        let trust = options.get("socket.ssl_ca").unwrap_or(path);
        let chain = options.get("gmcast.listen_addr").and_then(listens).and_then(|address| {
            leaf::served(address, Duration::from_secs(2)).ok() // not seen is not wrong: the file is judged then
        });
        let served = chain.as_deref().and_then(|chain| leaf::read(chain.first()?));
        let chain = chain.as_deref().map(leaf::pem);
        certificates.push(certificate(machine, Purpose::Cluster, path, trust, served, chain)?);
    }
    let path = get(variables, "ssl_cert");
    if !path.is_empty() {
        let chain = leaf::served_to_clients(&get(variables, "socket"), Duration::from_secs(2)).ok();
        let served = chain.as_deref().and_then(|chain| leaf::read(chain.first()?));
        let chain = chain.as_deref().map(leaf::pem);
        let trust = get(variables, "ssl_ca");
        certificates.push(certificate(machine, Purpose::Server, &path, &trust, served, chain)?);
    }
    let options = ["socket.ssl_cert", "socket.ssl_key", "socket.ssl_ca"]
        .map(|name| options.get(name).unwrap_or_default().to_string());
    let files = ["ssl_cert", "ssl_key", "ssl_ca"].map(|name| get(variables, name));
    let unreadable = unreadable(machine, user, &[options, files].concat())?;
    let (data_bytes, disk_free) = space(data);
    Ok(Closer {
        unreadable,
        certificates,
        configuration_error: effective::read(machine)?.and_then(|effective| effective.error),
        data_bytes,
        disk_free,
    })
}

/// Which of these files a user may not read, by trying. A server opens them before it becomes that user, or long ago;
/// what it starts for a state transfer does not.
fn unreadable(machine: &Machine, user: &str, files: &[String]) -> Result<Option<String>> {
    let mut files: Vec<&str> = files.iter().map(String::as_str).filter(|path| path.starts_with('/')).collect();
    files.sort_unstable();
    files.dedup();
    let able = rustix::process::geteuid().is_root() && machine.has_program("runuser");
    if files.is_empty() || user.is_empty() || machine.predicted() || !able {
        return Ok(None);
    }
    let script = "for f; do test -r \"$f\" || echo \"$f\"; done";
    let words = [&["runuser", "-u", user, "--", "sh", "-c", script, "sh"], files.as_slice()].concat();
    let said = machine.probe(&Command::new(words))?.stdout_text();
    let found: Vec<&str> = said.lines().collect();
    Ok((!found.is_empty()).then(|| found.join(", ")))
}

fn certificate(
    machine: &Machine,
    purpose: Purpose,
    path: &str,
    trust: &str,
    served: Option<Leaf>,
    chain: Option<String>,
) -> Result<Certificate> {
    let text = |path: &str| -> Result<String> {
        let bytes = match path.is_empty() {
            true => None,
            false => machine.read_file_if_exists(path, 256 * 1024)?,
        };
        // Only what is public: somebody may keep the key in the same file.
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Ok(leaf::pem(&leaf::certificates(&text)))
    };
    let own = text(path)?;
    let file = leaf::certificates(&own).first().and_then(|der| leaf::read(der));
    Ok(Certificate { purpose, path: path.to_string(), served, file, chain: chain.unwrap_or(own), trust: text(trust)? })
}

/// Where the provider listens, as this host reaches it: `ssl://0.0.0.0:4567`.
fn listens(address: &str) -> Option<SocketAddr> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = rest.rsplit_once(':')?;
    let host: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    let host = match host {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        other => other,
    };
    Some(SocketAddr::new(host, port.parse().ok()?))
}

/// So many files are looked at.
const FILES: u32 = 50_000;

/// Bytes that the data in a directory take, as a full transfer brings them, and that are free where it is. 0 is not known.
pub fn space(directory: &str) -> (u64, u64) {
    let free = rustix::fs::statvfs(directory).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    (taken(directory, FILES).unwrap_or(0), free)
}

/// Bytes that the data take. Links are not followed. Nothing for more than `limit` files: half of a sum would make members differ
/// that are equal.
fn taken(directory: &str, limit: u32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut used = 0;
    let mut left = limit;
    let mut directories = vec![std::path::PathBuf::from(directory)];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            left = left.checked_sub(1)?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => directories.push(entry.path()),
                Ok(meta) if meta.is_file() && !is_left_behind(&entry.file_name().to_string_lossy()) => {
                    used += meta.blocks() * 512;
                }
                _ => {}
            }
        }
    }
    Some(used)
}

/// Whether a file is no part of a transfer: the cache of write sets, temporary tables, and binary logs (`mariadb-bin.000012`, its
/// `.idx`, `mariadb-bin.index`, the same of relay logs), of which each member has as many as it has kept.
fn is_left_behind(name: &str) -> bool {
    if ["galera.cache", "gcache.page", "ibtmp"].iter().any(|start| name.starts_with(start)) {
        return true;
    }
    let (stem, ending) = name.strip_suffix(".idx").unwrap_or(name).rsplit_once('.').unwrap_or_default();
    // Aria's own logs have eight digits, and are data.
    let numbered = matches!(ending.len(), 6 | 7) && ending.bytes().all(|byte| byte.is_ascii_digit());
    !stem.is_empty() && (numbered || name.ends_with(".index"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_provider() {
        for (text, expected) in [
            ("ssl://0.0.0.0:4567", Some("127.0.0.1:4567")),
            ("tcp://10.1.2.3:4568", Some("10.1.2.3:4568")),
            ("ssl://[::]:4567", Some("[::1]:4567")),
            ("", None),
        ] {
            assert_eq!(listens(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_transfer_does_not_bring() {
        for (name, left_behind) in [
            ("galera.cache", true),
            ("gcache.page.000001", true),
            ("ibtmp1", true),
            ("mariadb-bin.000012", true),
            ("mysql-bin.1000000", true),
            ("mariadb-bin.000012.idx", true),
            ("mariadb-bin.index", true),
            ("db1-relay-bin.000001", true),
            ("relay-bin-first.index", true),
            ("ibdata1", false),
            ("ib_logfile0", false),
            ("undo001", false),
            ("aria_log.00000001", false),
            ("aria_log_control", false),
            ("users.ibd", false),
            ("index.ibd", false),
            ("000001", false),
            (".000001", false),
            (".index", false),
            ("t.00001a", false),
            ("grastate.dat", false),
            ("", false),
        ] {
            assert_eq!(is_left_behind(name), left_behind, "{name}");
        }
    }

    #[test]
    fn space_is_that_of_the_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        for (name, bytes) in [
            ("ibdata1", 100_000),
            ("app/users.ibd", 100_000),
            ("galera.cache", 900_000),
            ("mariadb-bin.000001", 900_000),
            ("mariadb-bin.index", 900_000),
        ] {
            std::fs::write(dir.path().join(name), vec![1; bytes]).unwrap();
        }
        let (used, free) = space(path);
        assert!((200_000..400_000).contains(&used) && free > 0, "{used} {free}");
        // Six entries with the directory.
        assert_eq!(taken(path, 6), Some(used));
        assert_eq!(taken(path, 5), None, "half of a sum is none");
        assert_eq!(space("/no/such/directory"), (0, 0));
    }
}
