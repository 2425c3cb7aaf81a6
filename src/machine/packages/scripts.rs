//! What the maintainer scripts, unit files, sysusers and tmpfiles of a package say that an installation will do.
//!
//! debhelper writes the same lines into every package, so that most of it can be read instead of guessed.

use super::archive::{Archive, EntryKind};

/// What an installation will bring beside files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Units in the archive.
    pub units: Vec<String>,
    /// Units that will be enabled.
    pub enabled: Vec<String>,
    /// Units that will be started.
    pub started: Vec<String>,
    /// Groups: name and id, if it is fixed.
    pub groups: Vec<(String, Option<u32>)>,
    /// Users.
    pub users: Vec<BroughtUser>,
    /// Directories: path, mode, owner, group.
    pub directories: Vec<(String, u32, String, String)>,
    /// Conditions of units that are started: unit, path, whether it must exist.
    pub conditions: Vec<(String, String, bool)>,
    /// Alternatives: link, name, path, priority.
    pub alternatives: Vec<(String, String, String, i64)>,
}

/// A system user that a package makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroughtUser {
    pub name: String,
    pub uid: Option<u32>,
    pub group: String,
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

/// Reads what a package will do.
pub fn read(archive: &Archive) -> Brought {
    let mut brought = Brought::default();
    for entry in &archive.entries {
        let Some(path) = entry.path.trim_start_matches("/usr").strip_prefix("/lib/") else {
            continue;
        };
        let text = String::from_utf8_lossy(entry.body.as_deref().unwrap_or_default());
        if let Some(unit) = path.strip_prefix("systemd/system/")
            && matches!(entry.kind, EntryKind::File | EntryKind::Link | EntryKind::HardLink)
            && !unit.contains('/')
            && unit.contains('.')
        {
            brought.units.push(unit.to_string());
        } else if path.starts_with("sysusers.d/") {
            sysusers(&text, &mut brought);
        } else if path.starts_with("tmpfiles.d/") {
            tmpfiles(&text, &mut brought);
        }
    }
    for script in archive.entries.iter().filter_map(|e| e.path.strip_prefix("/etc/init.d/")) {
        let unit = format!("{script}.service");
        if !script.is_empty() && !brought.units.contains(&unit) {
            brought.units.push(unit);
        }
    }
    scripts(&archive.scripts, &mut brought);
    // Links among unit files are aliases (mysql.service): they share the state of what they point to.
    for entry in archive.entries.iter().filter(|e| e.kind == EntryKind::Link) {
        let (Some(alias), Some(target)) = (unit_of(&entry.path), entry.target.rsplit('/').next()) else {
            continue;
        };
        for list in [&mut brought.enabled, &mut brought.started] {
            if list.iter().any(|u| u == target) && !list.iter().any(|u| u == alias) {
                list.push(alias.to_string());
            }
        }
    }
    // What a started unit makes for itself.
    let started = brought.started.clone();
    for entry in &archive.entries {
        if let (Some(unit), Some(body)) = (unit_of(&entry.path), &entry.body)
            && started.iter().any(|s| s == unit)
        {
            let text = String::from_utf8_lossy(body);
            service_directories(&text, &mut brought);
            for path in text.lines().filter_map(|l| l.trim().strip_prefix("ConditionPathExists=")) {
                let (path, must) = path.strip_prefix('!').map_or((path, true), |p| (p, false));
                brought.conditions.push((unit.to_string(), path.trim().to_string(), must));
            }
        }
    }
    brought
}

fn unit_of(path: &str) -> Option<&str> {
    path.trim_start_matches("/usr").strip_prefix("/lib/systemd/system/").filter(|u| !u.contains('/'))
}

/// `u NAME ID "GECOS" HOME SHELL`, `g NAME ID`, `m USER GROUP`.
fn sysusers(text: &str, brought: &mut Brought) {
    for line in text.lines() {
        let words = words(line);
        let get = |i: usize| words.get(i).map_or("", String::as_str);
        let known = |text: &str| if text != "-" { text.to_string() } else { Default::default() };
        let name = get(1).to_string();
        match get(0).trim_end_matches('!') {
            "g" => brought.groups.push((name, get(2).parse().ok())),
            "u" => {
                let (uid, group) = match get(2).split_once(':') {
                    Some((uid, group)) => (uid.parse().ok(), group.to_string()),
                    None => {
                        brought.groups.push((name.clone(), get(2).parse().ok()));
                        (get(2).parse().ok(), name.clone())
                    }
                };
                let home = known(get(4));
                let shell = known(get(5));
                brought.users.push(BroughtUser {
                    name,
                    uid,
                    group,
                    gecos: known(get(3)),
                    home: if home.is_empty() { "/".into() } else { home },
                    shell: if shell.is_empty() { "/usr/sbin/nologin".into() } else { shell },
                });
            }
            _ => {}
        }
    }
}

/// `d PATH MODE USER GROUP`
fn tmpfiles(text: &str, brought: &mut Brought) {
    for line in text.lines() {
        let words = words(line);
        let get = |i: usize| words.get(i).map_or("-", String::as_str);
        let kind = get(0).trim_end_matches(['!', '-', '=', '~', '^', '$', '+']);
        if !matches!(kind, "d" | "D" | "v" | "q" | "Q") || get(1).contains('%') || !get(1).starts_with('/') {
            continue;
        }
        let mode = u32::from_str_radix(get(2).trim_start_matches(['~', ':']), 8).unwrap_or(0o755);
        let owner =
            |word: &str| if word == "-" { "root".to_string() } else { word.trim_start_matches(':').to_string() };
        let path = get(1).trim_end_matches('/').replacen("/var/run/", "/run/", 1);
        brought.directories.push((path, mode, owner(get(3)), owner(get(4))));
    }
}

/// `RuntimeDirectory=`, `StateDirectory=`, `LogsDirectory=`, `CacheDirectory=` of a unit that is started.
fn service_directories(text: &str, brought: &mut Brought) {
    let get = |key: &str| {
        text.lines().rev().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('=')).map(|v| v.trim().to_string())
    };
    let user = get("User").unwrap_or_else(|| "root".into());
    let group = get("Group").unwrap_or_else(|| user.clone());
    for (key, base) in [
        ("RuntimeDirectory", "/run"),
        ("StateDirectory", "/var/lib"),
        ("LogsDirectory", "/var/log"),
        ("CacheDirectory", "/var/cache"),
    ] {
        let mode = get(&format!("{key}Mode")).and_then(|m| u32::from_str_radix(&m, 8).ok()).unwrap_or(0o755);
        for name in get(key).unwrap_or_default().split_whitespace().filter(|n| !n.contains('%')) {
            let name = name.split(':').next().unwrap_or(name);
            brought.directories.push((format!("{base}/{name}"), mode, user.clone(), group.clone()));
        }
    }
}

/// Lines of `preinst` and `postinst` that debhelper or Debian's policy shaped.
fn scripts(text: &str, brought: &mut Brought) {
    let joined = text.replace("\\\n", " ");
    // `if deb-systemd-helper debian-installed X`: what follows up to its `fi` concerns upgrades only.
    let mut upgrade_depth: Option<u32> = None;
    for line in joined.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        match &mut upgrade_depth {
            None if line.starts_with("if ") && line.contains("deb-systemd-helper debian-installed") => {
                upgrade_depth = Some(0);
                continue;
            }
            Some(depth) => {
                if line.starts_with("if ") && !line.ends_with("fi") {
                    *depth += 1;
                } else if line == "fi" || line.starts_with("fi ") || line.starts_with("fi;") {
                    upgrade_depth = depth.checked_sub(1);
                }
                continue;
            }
            None => {}
        }
        let words = words(line);
        for (i, word) in words.iter().enumerate() {
            let rest = words.get(i + 1..).unwrap_or_default();
            let program = word.rsplit('/').next().unwrap_or(word);
            match program {
                "deb-systemd-helper" => {
                    let rest: Vec<&String> = rest.iter().filter(|w| !w.starts_with('-')).collect();
                    if let [verb, units @ ..] = rest.as_slice()
                        && verb.as_str() == "enable"
                        && !line.contains("--user")
                    {
                        brought.enabled.extend(unit_words(units.iter().map(|w| w.as_str())));
                    }
                }
                "deb-systemd-invoke" => {
                    let rest: Vec<&String> = rest.iter().filter(|w| !w.starts_with('-')).collect();
                    if let [verb, units @ ..] = rest.as_slice()
                        && matches!(verb.as_str(), "start" | "restart" | "$_dh_action" | "${_dh_action}")
                        && !line.contains("--user")
                    {
                        brought.started.extend(unit_words(units.iter().map(|w| w.as_str())));
                    }
                }
                "adduser" => adduser(rest, brought),
                "addgroup" => {
                    if let Some(name) = last_name(rest, &["--gid"]) {
                        brought.groups.push((name, None));
                    }
                }
                "groupadd" => {
                    if let Some(name) = last_name(rest, &["-g", "--gid"]) {
                        brought.groups.push((name, None));
                    }
                }
                "update-alternatives" => alternatives(rest, brought),
                _ => {}
            }
        }
    }
    // deb-systemd-invoke starts no unit that is disabled.
    let enabled = brought.enabled.clone();
    brought.started.retain(|u| enabled.contains(u));
    for list in [&mut brought.enabled, &mut brought.started] {
        let mut seen = Vec::new();
        list.retain(|u| {
            !seen.contains(u) && {
                seen.push(u.clone());
                true
            }
        });
    }
}

fn unit_words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words
        .take_while(|w| !matches!(*w, "||" | "&&" | ";" | "then" | "fi" | "else") && !w.starts_with(['>', '2', '|']))
        .map(|w| w.trim_end_matches(';'))
        .filter(|w| w.contains('.') && !w.contains('$'))
        .map(str::to_string)
        .collect()
}

/// Whether a word is a plain account name.
fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Words of one simple command, up to what ends it.
fn simple(words: &[String]) -> impl Iterator<Item = &str> {
    words
        .iter()
        .map(String::as_str)
        .take_while(|w| !matches!(*w, "||" | "&&" | ";" | "|") && !w.starts_with('>') && !w.starts_with("2>"))
        .map(|w| w.trim_end_matches(';'))
}

fn last_name(words: &[String], valued: &[&str]) -> Option<String> {
    let mut name = None;
    let mut words = simple(words);
    while let Some(word) = words.next() {
        if valued.contains(&word) {
            words.next();
        } else if is_name(word) {
            name = Some(word.to_string());
        }
    }
    name
}

fn adduser(words: &[String], brought: &mut Brought) {
    let mut user =
        BroughtUser { home: "/nonexistent".into(), shell: "/usr/sbin/nologin".into(), ..BroughtUser::default() };
    let (mut system, mut own_group, mut makes_home) = (false, false, true);
    let mut names = Vec::new();
    let mut words = simple(words);
    while let Some(word) = words.next() {
        let (option, inline) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_string())),
            None => (word, None),
        };
        let mut value = || inline.clone().or_else(|| words.next().map(str::to_string)).unwrap_or_default();
        match option {
            "--system" => system = true,
            "--group" => own_group = true,
            "--no-create-home" => makes_home = false,
            "--home" | "-h" => user.home = value(),
            "--shell" | "-s" => user.shell = value(),
            "--gecos" | "--comment" => user.gecos = value(),
            "--ingroup" | "--gid" => user.group = value(),
            "--uid" => user.uid = value().parse().ok(),
            "--firstuid" | "--lastuid" | "--conf" => drop(value()),
            option if option.starts_with('-') => {}
            name => names.push(name.to_string()),
        }
    }
    if !system {
        return; // `adduser USER GROUP` makes no account
    }
    let [name] = names.as_slice() else {
        return;
    };
    if !is_name(name) {
        return;
    }
    user.name = name.clone();
    if own_group {
        brought.groups.push((name.clone(), None));
        user.group = name.clone();
    }
    if user.group.is_empty() || !is_name(&user.group) {
        user.group = "nogroup".into();
    }
    if makes_home && user.home.starts_with('/') && user.home != "/nonexistent" {
        brought.directories.push((user.home.clone(), 0o755, user.name.clone(), user.group.clone()));
    }
    brought.users.push(user);
}

/// `--install LINK NAME PATH PRIORITY` and its `--slave LINK NAME PATH`.
fn alternatives(words: &[String], brought: &mut Brought) {
    let words: Vec<&str> = simple(words).collect();
    let mut priority = 0;
    for (i, word) in words.iter().enumerate() {
        let get = |n: usize| words.get(i + n).copied().unwrap_or_default();
        if !matches!(*word, "--install" | "--slave")
            || !get(1).starts_with('/')
            || get(1).contains('$')
            || get(3).contains('$')
        {
            continue;
        }
        if *word == "--install" {
            priority = get(4).parse().unwrap_or(0);
        }
        brought.alternatives.push((get(1).into(), get(2).into(), get(3).into(), priority));
    }
}

/// Words as a shell separates them; quotes group.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '#') if word.is_none() => break,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(q), c) if c == q => quote = None,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::packages::archive::Entry;

    fn archive(scripts: &str, files: &[(&str, &str)]) -> Archive {
        let entries = files
            .iter()
            .map(|(path, body)| Entry {
                path: path.to_string(),
                kind: EntryKind::File,
                mode: 0o644,
                owner: "root".into(),
                group: "root".into(),
                target: String::new(),
                body: Some(body.as_bytes().to_vec()),
            })
            .collect();
        Archive { entries, conffiles: Vec::new(), scripts: scripts.into() }
    }

    #[test]
    fn debhelpers_lines_are_read() {
        let brought = read(&archive(
            "if deb-systemd-helper --quiet was-enabled 'haproxy.service'; then\n\
             \tdeb-systemd-helper enable 'haproxy.service' >/dev/null || true\n\
             else\n\tdeb-systemd-helper update-state 'other.service' >/dev/null || true\nfi\n\
             if deb-systemd-helper debian-installed 'off.service'; then\n\tif deb-systemd-helper --quiet was-enabled 'off.service'; then\n\
             \t\tdeb-systemd-helper enable 'off.service' >/dev/null || true\n\tfi\nfi\n\
             deb-systemd-invoke $_dh_action 'off.service' >/dev/null || true\n\
             deb-systemd-invoke $_dh_action 'haproxy.service' >/dev/null || true\n\
             update-alternatives --install /etc/mysql/my.cnf my.cnf \"/etc/mysql/mariadb.cnf\" 500 || true\n",
            &[(
                "/usr/lib/systemd/system/haproxy.service",
                "[Service]\nUser=haproxy\nRuntimeDirectory=haproxy\nStateDirectory=haproxy\n",
            )],
        ));
        assert_eq!(brought.enabled, ["haproxy.service"]);
        assert_eq!(brought.started, ["haproxy.service"]);
        assert_eq!(brought.units, ["haproxy.service"]);
        assert_eq!(
            brought.alternatives,
            [("/etc/mysql/my.cnf".into(), "my.cnf".into(), "/etc/mysql/mariadb.cnf".into(), 500)]
        );
        assert_eq!(brought.directories[1], ("/var/lib/haproxy".into(), 0o755, "haproxy".into(), "haproxy".into()));
    }

    #[test]
    fn accounts_are_read() {
        let brought = read(&archive(
            "adduser --system --group --quiet \\\n  --home /var/lib/valkey --gecos 'Key store' valkey >/dev/null || true\n\
             adduser www-data ssl-cert\n\
             addgroup --system mysql\n\
             adduser --system --disabled-login --ingroup mysql --home /nonexistent mysql 2>&1 > /dev/null\n\
             adduser --system $MYUSER\n",
            &[("/usr/lib/sysusers.d/chrony.conf", "u _chrony - \"Chrony daemon\" /var/lib/chrony\ng extra 77\n")],
        ));
        let names: Vec<_> =
            brought.users.iter().map(|u| (u.name.as_str(), u.group.as_str(), u.home.as_str())).collect();
        assert_eq!(
            names,
            [
                ("_chrony", "_chrony", "/var/lib/chrony"),
                ("valkey", "valkey", "/var/lib/valkey"),
                ("mysql", "mysql", "/nonexistent")
            ]
        );
        let groups: Vec<_> = brought.groups.iter().map(|(n, id)| (n.as_str(), *id)).collect();
        assert_eq!(groups, [("_chrony", None), ("extra", Some(77)), ("valkey", None), ("mysql", None)]);
    }

    #[test]
    fn tmpfiles_are_read() {
        let brought = read(&archive(
            "",
            &[("/usr/lib/tmpfiles.d/mariadb.conf", "# x\nd /run/mysqld 0755 mysql root -\nL /x - - - -\nd /home/%u\n")],
        ));
        assert_eq!(brought.directories, [("/run/mysqld".into(), 0o755, "mysql".into(), "root".into())]);
    }
}
