//! What runs here: kernel, distribution, names, managers, time, user.

use super::{Gathered, names, read};
use crate::machine::Machine;
use crate::modules::commands::clock;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Kernel, machine type, names.
pub fn platform(gathered: &mut Gathered, host: &Machine) {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    let machine = text(uname.machine());
    // In a check the name may be one that an earlier task would have given it.
    let nodename = if host.predicted() { host.hostname() } else { text(uname.nodename()) };
    gathered.add("system", text(uname.sysname()));
    gathered.add("kernel", text(uname.release()));
    gathered.add("kernel_version", text(uname.version()));
    gathered.add("machine", machine.clone());
    // Ansible says i386 for every 32-bit Intel.
    let architecture = match machine.as_str() {
        "i486" | "i586" | "i686" => "i386".to_string(),
        other => other.to_string(),
    };
    gathered.add("architecture", architecture.clone());
    let bits = if cfg!(target_pointer_width = "64") { "64" } else { "32" };
    gathered.add("userspace_bits", bits);
    gathered.add("userspace_architecture", architecture);
    gathered.add("nodename", nodename.clone());
    let fqdn = fqdn(&nodename);
    gathered.add("hostname", nodename.split('.').next().unwrap_or_default());
    gathered.add("domain", fqdn.split_once('.').map_or("", |(_, domain)| domain));
    gathered.add("fqdn", fqdn);
    if let Some(id) = read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id")) {
        gathered.add("machine_id", id);
    }
    gathered.add("is_chroot", is_chroot());
    let capabilities = read("/proc/self/status")
        .and_then(|s| s.lines().find_map(|l| l.strip_prefix("CapEff:").map(|v| v.trim().to_string())));
    gathered.add("system_capabilities_enforced", if capabilities.is_some() { "True" } else { "NA" });
}

/// The name with its domain, as `/etc/hosts` has it: the first name of the line that has this one.
fn fqdn(nodename: &str) -> String {
    if nodename.contains('.') {
        return nodename.to_string();
    }
    let hosts = read("/etc/hosts").unwrap_or_default();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().unwrap_or_default();
        let names: Vec<&str> = words.collect();
        if address.is_empty() || !names.contains(&nodename) {
            continue;
        }
        // The order of getaddrinfo's answer: the first name is the canonical one.
        let canonical = names.first().copied().unwrap_or(nodename);
        if canonical.contains('.') && !canonical.starts_with("localhost") {
            return canonical.to_string();
        }
        if let Some(name) = names.iter().find(|n| n.starts_with(&format!("{nodename}."))) {
            return name.to_string();
        }
    }
    nodename.to_string()
}

fn is_chroot() -> bool {
    use std::os::unix::fs::MetadataExt;
    if std::env::var_os("debian_chroot").is_some() {
        return true;
    }
    match (std::fs::metadata("/"), std::fs::metadata("/proc/1/root/.")) {
        (Ok(mine), Ok(init)) => (mine.dev(), mine.ino()) != (init.dev(), init.ino()),
        _ => false,
    }
}

/// The file `/etc/os-release`, as names and values.
pub fn os_release() -> BTreeMap<String, String> {
    let text = read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).unwrap_or_default();
    parse_os_release(&text)
}

fn parse_os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_string(), value.trim().trim_matches(['"', '\'']).to_string()))
        .collect()
}

/// Ansible's names of distributions where they are not the first word of `NAME`.
const NAMES: [(&str, &str); 28] = [
    ("debian", "Debian"),
    ("ubuntu", "Ubuntu"),
    ("linuxmint", "Linux Mint"),
    ("raspbian", "Raspbian"),
    ("kali", "Kali"),
    ("pop", "Pop!_OS"),
    ("devuan", "Devuan"),
    ("fedora", "Fedora"),
    ("rhel", "RedHat"),
    ("centos", "CentOS"),
    ("rocky", "Rocky"),
    ("almalinux", "AlmaLinux"),
    ("ol", "OracleLinux"),
    ("amzn", "Amazon"),
    ("sles", "SLES"),
    ("sled", "SLED"),
    ("opensuse-leap", "openSUSE Leap"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed"),
    ("arch", "Archlinux"),
    ("manjaro", "Manjaro"),
    ("alpine", "Alpine"),
    ("gentoo", "Gentoo"),
    ("void", "Void"),
    ("nixos", "NixOS"),
    ("azurelinux", "Azurelinux"),
    ("mariner", "Mariner"),
    ("openeuler", "openEuler"),
    ("flatcar", "Flatcar"),
];

/// Families by distribution.
const FAMILIES: [(&str, &[&str]); 7] = [
    (
        "RedHat",
        &[
            "RedHat",
            "Fedora",
            "CentOS",
            "Rocky",
            "AlmaLinux",
            "OracleLinux",
            "Amazon",
            "Azurelinux",
            "Mariner",
            "openEuler",
        ],
    ),
    ("Debian", &["Debian", "Ubuntu", "Raspbian", "Linux Mint", "Kali", "Pop!_OS", "Devuan"]),
    ("Suse", &["SLES", "SLED", "openSUSE Leap", "openSUSE Tumbleweed"]),
    ("Archlinux", &["Archlinux", "Manjaro"]),
    ("Alpine", &["Alpine"]),
    ("Gentoo", &["Gentoo"]),
    ("Flatcar", &["Flatcar"]),
];

/// Distribution, version, release and family.
pub fn distribution(gathered: &mut Gathered) {
    let debian = read("/etc/debian_version");
    let redhat = read("/etc/redhat-release");
    let described = describe(&os_release(), debian.as_deref(), redhat.as_deref());
    // By whose rules the file was read.
    let name = described.iter().find(|(fact, _)| *fact == "distribution").and_then(|(_, value)| value.as_str());
    let family = described.iter().find(|(fact, _)| *fact == "os_family").and_then(|(_, value)| value.as_str());
    let variety = match family {
        Some("Debian") => Some("Debian"),
        Some("Suse") => Some("SUSE"),
        Some("RedHat") if !matches!(name, Some("CentOS" | "OracleLinux" | "Amazon")) => Some("RedHat"),
        _ => name,
    };
    if let Some(variety) = variety {
        gathered.add("distribution_file_variety", variety);
    }
    for (name, value) in described {
        gathered.add(name, value);
    }
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if std::fs::metadata(path).is_ok() {
            gathered.add("distribution_file_path", path);
            gathered.add("distribution_file_parsed", true);
            break;
        }
    }
}

/// What a distribution is called, from its files.
fn describe(
    release: &BTreeMap<String, String>,
    debian: Option<&str>,
    redhat: Option<&str>,
) -> Vec<(&'static str, Value)> {
    let get = |key: &str| release.get(key).cloned().unwrap_or_default();
    let id = get("ID");
    let name = NAMES.iter().find(|(known, _)| *known == id).map_or_else(
        || get("NAME").split_whitespace().next().unwrap_or("NA").to_string(),
        |(_, name)| name.to_string(),
    );
    let mut version = get("VERSION_ID");
    let mut minor = None;
    if name == "Debian"
        && let Some((major, rest)) = debian.and_then(|d| d.split_once('.'))
        && major == version
    {
        minor = Some(rest.to_string()); // Ansible's version of Debian is 13.1, the major one 13
        version = format!("{major}.{rest}");
    }
    // CentOS Stream and CentOS 7 say more in the older file.
    if name == "CentOS"
        && let Some(full) =
            redhat.and_then(|r| r.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())))
    {
        version = full.split('.').take(2).collect::<Vec<_>>().join(".");
    }
    let major = version.split('.').next().unwrap_or_default().to_string();
    let code = get("VERSION_CODENAME");
    let code = if code.is_empty() {
        let long = get("VERSION");
        long.split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map_or("NA".to_string(), |(code, _)| code.to_string())
    } else {
        code
    };
    let family = FAMILIES
        .iter()
        .find(|(_, members)| members.contains(&name.as_str()))
        .map(|(family, _)| family.to_string())
        .or_else(|| {
            let like = get("ID_LIKE");
            like.split_whitespace().find_map(|like| match like {
                "debian" | "ubuntu" => Some("Debian".to_string()),
                "rhel" | "fedora" | "centos" => Some("RedHat".to_string()),
                "suse" | "opensuse" | "sles" => Some("Suse".to_string()),
                "arch" => Some("Archlinux".to_string()),
                _ => None,
            })
        })
        .unwrap_or_else(|| name.clone());
    let mut facts: Vec<(&'static str, Value)> = vec![
        ("distribution", name.into()),
        ("distribution_version", version.into()),
        ("distribution_major_version", major.into()),
        ("distribution_release", code.into()),
        ("os_family", family.into()),
    ];
    if let Some(minor) = minor {
        facts.push(("distribution_minor_version", minor.into()));
    }
    facts
}

/// `/etc/lsb-release`, where there is one.
pub fn lsb(gathered: &mut Gathered) {
    let release = parse_os_release(&read("/etc/lsb-release").unwrap_or_default());
    let mut lsb = Map::new();
    for (key, name) in [
        ("DISTRIB_ID", "id"),
        ("DISTRIB_RELEASE", "release"),
        ("DISTRIB_DESCRIPTION", "description"),
        ("DISTRIB_CODENAME", "codename"),
    ] {
        if let Some(value) = release.get(key) {
            lsb.insert(name.into(), value.clone().into());
        }
    }
    if let Some(release) = lsb.get("release").and_then(Value::as_str).map(str::to_string) {
        lsb.insert("major_release".into(), release.split('.').next().unwrap_or_default().into());
    }
    gathered.add("lsb", lsb);
}

/// Date and time in every form.
pub fn date_time(gathered: &mut Gathered) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (now.as_secs() as i64, now.subsec_micros());
    let t = clock::local(seconds);
    // UTC is local time less its offset.
    let u = clock::utc(seconds);
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let date = format!("{:04}-{:02}-{:02}", t.year, t.month, t.day);
    let time = format!("{:02}:{:02}:{:02}", t.hour, t.minute, t.second);
    let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
    let zone = clock::zone(seconds);
    // Weeks as strftime's %W counts them: the first Monday starts week 1.
    let monday_based = (t.weekday + 6) % 7;
    let week = (t.yearday + 7 - monday_based) / 7;
    gathered.add(
        "date_time",
        json!({
            "date": date,
            "day": format!("{:02}", t.day),
            "epoch": seconds.to_string(),
            "epoch_int": seconds.to_string(),
            "hour": format!("{:02}", t.hour),
            "iso8601": format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", u.year, u.month, u.day, u.hour, u.minute, u.second),
            "iso8601_basic": format!("{:04}{:02}{:02}T{:02}{:02}{:02}{micros:06}", t.year, t.month, t.day, t.hour, t.minute, t.second),
            "iso8601_basic_short": format!("{:04}{:02}{:02}T{:02}{:02}{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second),
            "iso8601_micro": format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}Z", u.year, u.month, u.day, u.hour, u.minute, u.second),
            "minute": format!("{:02}", t.minute),
            "month": format!("{:02}", t.month),
            "second": format!("{:02}", t.second),
            "time": time,
            "tz": zone,
            "tz_dst": zone,
            "tz_offset": format!("{sign}{:02}{:02}", offset / 3600, offset / 60 % 60),
            "weekday": DAYS.get(usize::try_from(t.weekday).unwrap_or(0)).copied().unwrap_or_default(),
            "weekday_number": t.weekday.to_string(),
            "weeknumber": format!("{week:02}"),
            "year": format!("{:04}", t.year),
        }),
    );
}

/// Environment variables.
pub fn env(machine: &Machine, gathered: &mut Gathered) {
    let mut variables: BTreeMap<String, String> = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .collect();
    variables.extend(machine.environment.clone());
    let variables: Map<String, Value> = variables.into_iter().map(|(k, v)| (k, v.into())).collect();
    gathered.add("env", variables);
}

/// The user that tasks run as.
pub fn user(machine: &Machine, gathered: &mut Gathered) {
    let uid = rustix::process::getuid().as_raw();
    let user = machine.user_by_id(uid).unwrap_or_default();
    gathered.add("user_id", if user.name.is_empty() { uid.to_string() } else { user.name });
    gathered.add("user_uid", uid);
    gathered.add("user_gid", rustix::process::getgid().as_raw());
    gathered.add("user_gecos", user.gecos);
    gathered.add("user_dir", user.home);
    gathered.add("user_shell", user.shell);
    gathered.add("real_user_id", uid);
    gathered.add("effective_user_id", rustix::process::geteuid().as_raw());
    gathered.add("real_group_id", rustix::process::getgid().as_raw());
    gathered.add("effective_group_id", rustix::process::getegid().as_raw());
}

/// The kernel's command line.
pub fn cmdline(gathered: &mut Gathered) {
    let text = read("/proc/cmdline").unwrap_or_default();
    let mut single = Map::new();
    let mut all: Map<String, Value> = Map::new();
    for word in text.split_whitespace() {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Value::from(value.trim_matches('"'))),
            None => (word, Value::from(true)),
        };
        single.insert(key.into(), value.clone());
        match all.get_mut(key) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.clone(), value]),
            None => {
                all.insert(key.into(), value);
            }
        }
    }
    gathered.add("cmdline", single);
    gathered.add("proc_cmdline", all);
}

/// The host's Python 3. Nothing here needs it: roles choose the names of packages by its version.
pub fn python(machine: &Machine, gathered: &mut Gathered) {
    let places = ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3"];
    let found = places.into_iter().find(|path| std::path::Path::new(path).exists());
    let said = found.and_then(|path| Some((path, super::said(machine, &[path, "-V"], super::PATIENCE)?)));
    let Some((path, version)) = said.and_then(|(path, said)| Some((path, PythonVersion::parse(&said)?))) else {
        gathered.add("python", Value::Null);
        gathered.add("python_version", Value::Null);
        return;
    };
    let PythonVersion { major, minor, micro, level, serial } = version;
    let ssl = ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .iter()
        .any(|lib| std::path::Path::new(&format!("{lib}/python{major}.{minor}/ssl.py")).exists());
    gathered.add(
        "python",
        json!({
            "version": {"major": major, "minor": minor, "micro": micro, "releaselevel": level, "serial": serial},
            "version_info": [major, minor, micro, level, serial],
            "executable": path,
            "has_sslcontext": ssl,
            "type": "cpython",
        }),
    );
    gathered.add("python_version", format!("{major}.{minor}.{micro}"));
}

/// What `python3 -V` says: `Python 3.13.5`, `Python 3.14.0rc2`.
#[derive(Debug, PartialEq, Eq)]
struct PythonVersion {
    major: u32,
    minor: u32,
    micro: u32,
    level: &'static str,
    serial: u32,
}

impl PythonVersion {
    fn parse(said: &str) -> Option<PythonVersion> {
        let mut parts = said.trim().strip_prefix("Python ")?.trim_end_matches('+').splitn(3, '.');
        let (major, minor, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
        let (micro, rest) = last.split_at(end);
        let level = match rest.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "a" => "alpha",
            "b" => "beta",
            "rc" => "candidate",
            _ => "final",
        };
        let serial = rest.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
        Some(PythonVersion { major, minor, micro: micro.parse().ok()?, level, serial })
    }
}

/// The package manager.
pub fn pkg_mgr(machine: &Machine, gathered: &mut Gathered) {
    let known = [
        ("apt-get", "apt"),
        ("dnf5", "dnf5"),
        ("dnf", "dnf"),
        ("yum", "yum"),
        ("zypper", "zypper"),
        ("pacman", "pacman"),
        ("apk", "apk"),
        ("emerge", "portage"),
    ];
    let name = known.iter().find(|(program, _)| machine.has_program(program)).map_or("unknown", |(_, name)| name);
    gathered.add("pkg_mgr", name);
}

/// The service manager.
pub fn service_mgr(gathered: &mut Gathered) {
    let init = read("/proc/1/comm").unwrap_or_default();
    let name = if std::path::Path::new("/run/systemd/system").is_dir() || init == "systemd" {
        "systemd".to_string()
    } else if init == "openrc-init" || std::path::Path::new("/run/openrc").is_dir() {
        "openrc".into()
    } else if init == "runit" || init == "runit-init" {
        "runit".into()
    } else if std::path::Path::new("/etc/init.d").is_dir() || init == "init" {
        "sysvinit".into()
    } else {
        init
    };
    gathered.add("service_mgr", name);
}

/// SELinux.
pub fn selinux(gathered: &mut Gathered) {
    let Some(enforcing) = read("/sys/fs/selinux/enforce") else {
        gathered.add("selinux", json!({"status": "disabled"}));
        gathered.add("selinux_python_present", true);
        return;
    };
    let configuration = read("/etc/selinux/config").unwrap_or_default();
    let get = |key: &str| {
        configuration.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or("unknown").to_string()
    };
    gathered.add(
        "selinux",
        json!({
            "status": "enabled",
            "mode": if enforcing == "1" { "enforcing" } else { "permissive" },
            "config_mode": get("SELINUX"),
            "type": get("SELINUXTYPE"),
            "policyvers": read("/sys/fs/selinux/policyvers").and_then(|v| v.parse::<u32>().ok()),
        }),
    );
    gathered.add("selinux_python_present", true);
}

/// AppArmor.
pub fn apparmor(gathered: &mut Gathered) {
    let enabled = std::path::Path::new("/sys/kernel/security/apparmor").exists();
    gathered.add("apparmor", json!({"status": if enabled { "enabled" } else { "disabled" }}));
}

/// FIPS mode.
pub fn fips(gathered: &mut Gathered) {
    gathered.add("fips", read("/proc/sys/crypto/fips_enabled").as_deref() == Some("1"));
}

/// Public keys of the SSH server.
pub fn ssh(machine: &Machine, gathered: &mut Gathered) {
    for directory in ["/etc/ssh", "/etc/openssh", "/etc"] {
        for name in names(directory) {
            let Some(kind) = name.strip_prefix("ssh_host_").and_then(|n| n.strip_suffix("_key.pub")) else {
                continue;
            };
            let text = machine.read_file(format!("{directory}/{name}"), 64 * 1024).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut words = text.split_whitespace();
            if let (Some(type_), Some(key)) = (words.next(), words.next()) {
                gathered.add(&format!("ssh_host_key_{kind}_public"), key);
                gathered.add(&format!("ssh_host_key_{kind}_public_keytype"), type_);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_python() {
        let parse = |said: &str| PythonVersion::parse(said).map(|v| (v.major, v.minor, v.micro, v.level, v.serial));
        assert_eq!(parse("Python 3.13.5\n"), Some((3, 13, 5, "final", 0)));
        assert_eq!(parse("Python 3.14.0rc2"), Some((3, 14, 0, "candidate", 2)));
        assert_eq!(parse("Python 3.9.2+"), Some((3, 9, 2, "final", 0)));
        assert_eq!(parse("Python three"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_python_that_does_not_answer_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::new(crate::machine::Mode::Live);
        for (script, said) in [("echo Python 3.13.5", Some("Python 3.13.5\n")), ("exec sleep 60", None)] {
            let program = directory.path().join("python3");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let before = std::time::Instant::now();
            let program = program.to_string_lossy();
            let patience = std::time::Duration::from_secs(1);
            assert_eq!(super::super::said(&machine, &[&program, "-V"], patience).as_deref(), said, "{script}");
            assert!(before.elapsed() < std::time::Duration::from_secs(50));
        }
    }

    #[test]
    fn distributions_as_ansible_calls_them() {
        for (text, debian, expected) in [
            (
                "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nNAME=\"Debian GNU/Linux\"\n",
                Some("13.1"),
                ["Debian", "13.1", "13", "trixie", "Debian"],
            ),
            (
                "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
                Some("12.11"),
                ["Debian", "12.11", "12", "bookworm", "Debian"],
            ),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nNAME=\"Ubuntu\"\n",
                Some("trixie/sid"),
                ["Ubuntu", "24.04", "24", "noble", "Debian"],
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\nVERSION=\"9.4 (Blue Onyx)\"\n",
                None,
                ["Rocky", "9.4", "9", "Blue Onyx", "RedHat"],
            ),
            ("ID=newone\nNAME=\"New One\"\nID_LIKE=debian\nVERSION_ID=1\n", None, ["New", "1", "1", "NA", "Debian"]),
        ] {
            let facts = describe(&parse_os_release(text), debian, None);
            let values: Vec<&str> = facts.iter().take(5).map(|(_, v)| v.as_str().unwrap()).collect();
            assert_eq!(values, expected);
        }
    }
}
