//! What some packages bring that neither their archives nor debhelper's lines say. Each rule was compared with a
//! real installation on Debian 13.

use super::scripts::Brought;

/// Directories that the package's own scripts make: package, path, mode, owner, group.
const DIRECTORIES: &[(&str, &str, u32, &str, &str)] = &[
    ("mariadb-server", "/var/lib/mysql", 0o755, "mysql", "mysql"),
    ("mariadb-server", "/var/log/mysql", 0o2750, "mysql", "adm"),
    ("mariadb-server", "/run/mysqld", 0o755, "mysql", "root"),
];

/// Files that the package's own scripts make, with contents that are not known: package, path, mode, owner, group.
const FILES: &[(&str, &str, u32, &str, &str)] = &[("mariadb-server", "/etc/mysql/debian.cnf", 0o600, "root", "root")];

/// Units that are started but do not stay, because they are not configured yet.
const NOT_RUNNING: &[(&str, &str)] =
    &[("galera-arbitrator-4", "garb.service"), ("galera-arbitrator-4", "garbd.service")];

/// Adds what the rules know of a package.
pub fn complete(package: &str, brought: &mut Brought) {
    for (_, path, mode, owner, group) in DIRECTORIES.iter().filter(|(p, ..)| *p == package) {
        brought.directories.retain(|(known, ..)| known != path);
        brought.directories.push((path.to_string(), *mode, owner.to_string(), group.to_string()));
    }
    for (_, unit) in NOT_RUNNING.iter().filter(|(p, _)| *p == package) {
        brought.started.retain(|u| u != unit);
    }
}

/// Files that a package's scripts make: path, mode, owner, group.
pub fn files(package: &str) -> impl Iterator<Item = (&'static str, u32, &'static str, &'static str)> {
    FILES
        .iter()
        .filter(move |(p, ..)| *p == package)
        .map(|(_, path, mode, owner, group)| (*path, *mode, *owner, *group))
}
