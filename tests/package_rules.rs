//! What a check foresees of a package, compared with its real installation on this very host.
//!
//! It installs packages, so it does nothing unless `DEPLOY_TEST_INSTALL` names some; the lab suite copies this test
//! to a bare host and runs it there, one host a package.

use deploy::machine::{Machine, Mode};
use deploy::modules::{Context, NoController, Outcome, find};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn install(machine: &mut Machine, package: &str) -> Outcome {
    let module = find("apt").unwrap();
    let arguments = json!({"name": package}).as_object().unwrap().clone();
    let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
    (module.run.unwrap())(arguments, machine, &mut context).unwrap_or_else(|e| panic!("{package}: {e}"))
}

/// Paths, units and accounts whose appearance is looked at.
#[derive(Default)]
struct Seen {
    paths: BTreeMap<String, (String, u32, u32, u32)>,
    units: BTreeMap<String, (bool, bool)>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

fn look(machine: &Machine) -> Seen {
    let mut seen = Seen::default();
    for (top, depth) in
        [("/etc", 6), ("/usr/lib/systemd/system", 2), ("/usr/bin", 1), ("/usr/sbin", 1), ("/var", 3), ("/run", 1)]
    {
        walk(Path::new(top), depth, &mut seen.paths);
    }
    let names: Vec<String> = seen
        .paths
        .keys()
        .filter_map(|p| p.strip_prefix("/usr/lib/systemd/system/"))
        .filter(|u| u.ends_with(".service") && !u.contains(['/', '@']))
        .map(str::to_string)
        .collect();
    for name in names {
        let unit = machine.unit(&name, &Default::default()).unwrap();
        seen.units.insert(name, (unit.is_running(), unit.is_enabled()));
    }
    seen.users = machine.known_users().into_iter().map(|u| u.name).collect();
    seen.groups = machine.known_groups().into_iter().map(|g| g.name).collect();
    seen
}

fn walk(directory: &Path, depth: u32, paths: &mut BTreeMap<String, (String, u32, u32, u32)>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else {
            continue;
        };
        let kind = match meta.file_type() {
            t if t.is_dir() => "directory",
            t if t.is_symlink() => "link",
            t if t.is_file() => "file",
            _ => continue,
        };
        let path = entry.path().to_string_lossy().into_owned();
        paths.insert(path, (kind.into(), meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if kind == "directory" && depth > 1 {
            walk(&entry.path(), depth - 1, paths);
        }
    }
}

/// What every installation writes, and no task looks at.
fn is_noise(path: &str) -> bool {
    [
        "/var/lib/dpkg",
        "/var/lib/apt",
        "/var/cache",
        "/var/log/apt",
        "/var/log/dpkg",
        "/var/log/alternatives",
        "/var/lib/systemd/deb-systemd",
        "/etc/ld.so.cache",
        "/var/log/journal",
        "/run/systemd",
        "/var/lib/ucf",
        "/var/backups",
        "/etc/rc",
        "/var/log/fontconfig",
        "/run/log",
        "/run/udev",
        "/var/tmp",
        "/run/lock",
        "/var/lib/systemd",
        "/run/adduser",
        "/etc/perl",
        "/usr/bin/perl5",
        "/usr/bin/cpan5",
        "/usr/bin/dbi",
        "/usr/bin/dh_perl",
    ]
    .iter()
    .any(|noise| path.starts_with(noise))
        || ["-", ".lock", "subuid", "subgid"].iter().any(|end| path.starts_with("/etc/") && path.ends_with(end))
}

#[test]
fn a_check_foresees_what_an_installation_brings() {
    let Ok(packages) = std::env::var("DEPLOY_TEST_INSTALL") else {
        return;
    };
    let mut wrong = Vec::new();
    for package in packages.split_whitespace() {
        let mut predicted = Machine::new(Mode::Predicted);
        let before = look(&predicted);
        let started = std::time::Instant::now();
        let mut outcome = install(&mut predicted, package);
        println!("{package}: predicted in {:?}", started.elapsed());
        outcome.changes = predicted.take_changes();
        let again = install(&mut predicted, package);
        assert!(
            predicted.take_changes().is_empty() && again.changes.is_empty(),
            "{package} is not foreseen as installed"
        );
        let untouched = look(&Machine::new(Mode::Live));
        let differs = before.paths.iter().find(|(p, v)| untouched.paths.get(*p) != Some(v)).map(|(p, _)| p.clone());
        assert_eq!((before.paths.len(), None), (untouched.paths.len(), differs), "the check left a trace");
        let overlay = predicted.overlay().unwrap();
        let size = serde_json::to_vec(&overlay).unwrap().len();
        println!("{package}: overlay of {size} bytes");
        let nodes = overlay.domains["files"]["nodes"].as_object().cloned().unwrap_or_default();
        let unit_states = overlay.domains["units"]["units"].as_object().cloned().unwrap_or_default();
        let accounts = overlay.domains["accounts"].clone();

        let mut live = Machine::new(Mode::Live);
        let mut real = install(&mut live, package);
        real.changes = live.take_changes();
        let after = look(&live);
        let mut note = |what: String| wrong.push(format!("{package}: {what}"));
        let texts =
            |o: &Outcome| o.changes.iter().map(|c| format!("{} {:?}", c.subject.name, c.kind)).collect::<Vec<_>>();
        if texts(&outcome) != texts(&real) {
            note(format!("changes differ:\n{:#?}\n{:#?}", texts(&outcome), texts(&real)));
        }
        let name_of = |id: u64, user: bool| -> String {
            let list = accounts[if user { "users" } else { "groups" }].as_object().cloned().unwrap_or_default();
            let key = if user { "uid" } else { "gid" };
            let foreseen =
                list.values().find(|v| v[key] == json!(id)).and_then(|v| v["name"].as_str().map(str::to_string));
            let known = || if user { live.user_name(id as u32) } else { live.group_name(id as u32) };
            foreseen.or_else(known).unwrap_or_else(|| id.to_string())
        };
        for (path, (kind, mode, uid, gid)) in
            after.paths.iter().filter(|(p, v)| before.paths.get(*p) != Some(v) && !is_noise(p))
        {
            let real = format!("{kind} {mode:04o} {}:{}", name_of(*uid as u64, true), name_of(*gid as u64, false));
            let foreseen = match nodes.get(path).map(|n| &n["present"]) {
                Some(Value::Object(p)) => format!(
                    "{} {:04o} {}:{}",
                    p["kind"].as_str().unwrap(),
                    p["mode"].as_u64().unwrap(),
                    name_of(p["uid"].as_u64().unwrap(), true),
                    name_of(p["gid"].as_u64().unwrap(), false)
                ),
                _ => "nothing".into(),
            };
            let enablement = path.contains(".wants/") || path.contains("/systemd/system/");
            // What a running server keeps in its own directory is its own affair.
            let data = path.starts_with("/var/lib/mysql/") && foreseen == "nothing";
            let was_there = kind == "directory" && before.paths.contains_key(path);
            let excused = data || was_there || (enablement && foreseen == "nothing");
            if foreseen != real && !excused {
                note(format!("{path} is {real}, foreseen was {foreseen}"));
            }
        }
        for path in nodes.iter().filter(|(_, n)| n["present"].is_object()).map(|(p, _)| p) {
            if Path::new(path).symlink_metadata().is_err() {
                note(format!("{path} was foreseen and is not there"));
            }
        }
        for (unit, (running, enabled)) in after.units.iter().filter(|(u, v)| before.units.get(*u) != Some(v)) {
            let foreseen = unit_states.get(unit);
            let get = |key: &str| foreseen.and_then(|f| f[key].as_bool()).unwrap_or(false);
            if foreseen.is_none()
                || get("active") != *running
                || (get("enabled") != *enabled
                    && *enabled != live.unit(unit, &Default::default()).unwrap().file_state.eq("static"))
            {
                note(format!("{unit} is running={running} enabled={enabled}, foreseen was {foreseen:?}"));
            }
        }
        for (what, key, now, old) in
            [("user", "users", &after.users, &before.users), ("group", "groups", &after.groups, &before.groups)]
        {
            for name in now.difference(old) {
                if accounts[key].get(name).is_none() {
                    note(format!("{what} {name} was not foreseen"));
                }
            }
            for name in accounts[key].as_object().into_iter().flatten().map(|(n, _)| n) {
                if !now.contains(name) {
                    note(format!("{what} {name} was foreseen and is not there"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
