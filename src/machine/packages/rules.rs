//! What some packages bring that neither their archives nor debhelper's lines say. Each rule was compared with a
//! real installation on Debian 13 (`tests/package_rules.rs`).

use super::scripts::{Brought, BroughtUser};

/// Users that a package's scripts make in their own way, each with a group of its name: package, name, home, shell.
const USERS: &[(&str, &str, &str, &str)] = &[
    ("valkey-tools", "valkey", "/var/lib/valkey", "/usr/sbin/nologin"),
    ("redis-tools", "redis", "/var/lib/redis", "/usr/sbin/nologin"),
    ("stunnel4", "stunnel4", "/var/run/stunnel4", "/usr/sbin/nologin"),
];

/// Groups that a package's scripts make in their own way.
const GROUPS: &[(&str, &str)] = &[("cron", "crontab")];

/// Directories that the package's own scripts make or change: package, path, mode, owner, group.
#[rustfmt::skip]
const DIRECTORIES: &[(&str, &str, u32, &str, &str)] = &[
    ("mariadb-server", "/var/lib/mysql", 0o755, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/mysql", 0o700, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/performance_schema", 0o700, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/sys", 0o700, "mysql", "mysql"),
    ("mariadb-server", "/run/mysqld", 0o755, "mysql", "mysql"),
    ("valkey-server", "/etc/valkey", 0o2770, "valkey", "valkey"),
    ("valkey-server", "/run/valkey", 0o2755, "valkey", "valkey"),
    ("valkey-server", "/var/lib/valkey", 0o750, "valkey", "valkey"),
    ("valkey-server", "/var/log/valkey", 0o2750, "valkey", "adm"),
    ("stunnel4", "/run/stunnel4", 0o755, "stunnel4", "stunnel4"),
    ("stunnel4", "/var/lib/stunnel4", 0o755, "stunnel4", "stunnel4"),
    ("stunnel4", "/var/log/stunnel4", 0o755, "stunnel4", "stunnel4"),
    ("exim4-base", "/var/log/exim4", 0o2750, "Debian-exim", "adm"),
    ("exim4-base", "/var/spool/exim4", 0o750, "Debian-exim", "Debian-exim"),
];

/// Files that the package's own scripts make (their contents are not known) or give another owner or mode:
/// package, path, mode, owner, group.
#[rustfmt::skip]
const FILES: &[(&str, &str, u32, &str, &str)] = &[
    ("mariadb-server", "/etc/mysql/debian.cnf", 0o600, "root", "root"),
    ("mariadb-server", "/var/lib/mysql/aria_log.00000001", 0o660, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/aria_log_control", 0o660, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/ib_buffer_pool", 0o660, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/ib_logfile0", 0o660, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/ibdata1", 0o660, "mysql", "mysql"),
    ("mariadb-server", "/var/lib/mysql/mariadb_upgrade_info", 0o644, "root", "root"),
    ("haproxy", "/run/haproxy.pid", 0o644, "root", "root"),
    ("valkey-server", "/etc/valkey/valkey.conf", 0o640, "valkey", "valkey"),
    ("valkey-server", "/var/log/valkey/valkey-server.log", 0o660, "valkey", "adm"),
    ("stunnel4", "/var/log/stunnel4/stunnel.log", 0o644, "stunnel4", "stunnel4"),
    ("cron", "/run/crond.pid", 0o644, "root", "root"),
    ("cron", "/usr/bin/crontab", 0o2755, "root", "crontab"),
    ("netbase", "/etc/networks", 0o644, "root", "root"),
    ("readline-common", "/etc/inputrc", 0o644, "root", "root"),
    ("exim4-config", "/etc/exim4/update-exim4.conf.conf", 0o644, "root", "root"),
    ("exim4-config", "/etc/mailname", 0o644, "root", "root"),
    ("exim4-config", "/etc/aliases", 0o644, "root", "root"),
];

/// Units that are started but do not stay, because they are not configured yet.
const NOT_RUNNING: &[(&str, &str)] =
    &[("galera-arbitrator-4", "garb.service"), ("galera-arbitrator-4", "garbd.service")];

/// Adds what the rules know of a package.
pub fn complete(package: &str, brought: &mut Brought) {
    for (_, name, home, shell) in USERS.iter().filter(|(p, ..)| *p == package) {
        if brought.users.iter().all(|u| u.name != *name) {
            brought.groups.push((name.to_string(), None));
            brought.users.push(BroughtUser {
                name: name.to_string(),
                group: name.to_string(),
                home: home.to_string(),
                shell: shell.to_string(),
                ..BroughtUser::default()
            });
        }
    }
    for (_, group) in GROUPS.iter().filter(|(p, _)| *p == package) {
        brought.groups.push((group.to_string(), None));
    }
    for (_, path, mode, owner, group) in DIRECTORIES.iter().filter(|(p, ..)| *p == package) {
        brought.directories.retain(|(known, ..)| known != path);
        brought.directories.push((path.to_string(), *mode, owner.to_string(), group.to_string()));
    }
    for (_, unit) in NOT_RUNNING.iter().filter(|(p, _)| *p == package) {
        brought.started.retain(|u| u != unit);
    }
}

/// Files that a package's scripts make or change: path, mode, owner, group.
pub fn files(package: &str) -> impl Iterator<Item = (&'static str, u32, &'static str, &'static str)> {
    FILES
        .iter()
        .filter(move |(p, ..)| *p == package)
        .map(|(_, path, mode, owner, group)| (*path, *mode, *owner, *group))
}
