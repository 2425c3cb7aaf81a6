//! The report of 500 hosts as a browser sees it: written by the real renderer from a run that is made up, opened by
//! `tools/browser`. With DEPLOY_TEST_MEASURE=1 (`make browser`) times are measured, held against what they may be, and kept.

use deploy::engine::event::{Counters, Event, GateState, HostResult, TaskInfo, TaskStatus};
use deploy::machine::{Change, Domain, Facet, Subject, Undo};
use deploy::report::{DiffOptions, Mask, Reporter, Reports};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// As large as a page may be.
const LIMIT: u64 = 15_000_000;

/// Why a rolling play stops (`engine::rolling`).
const STOPPED: &str = "the gate did not open: the play stops; not touched: db01-node06";

/// A run that is made up: its clock goes as it is told.
struct Run {
    listener: Box<dyn Reporter>,
    now: Arc<Mutex<f64>>,
    counters: BTreeMap<Arc<str>, Counters>,
    number: usize,
}

impl Run {
    fn tell(&mut self, event: Event) {
        self.listener.report(&event).unwrap();
    }

    fn pass(&mut self, seconds: f64) {
        *self.now.lock().unwrap() += seconds;
    }

    /// A task on hosts: what it came to on each.
    fn task(&mut self, name: &str, action: &str, hosts: &[Arc<str>], outcome: impl Fn(usize, &str) -> Ended) {
        self.number += 1;
        let task = serde_json::json!({
            "name": name,
            "action": action,
            "place": format!("roles/galera/tasks/main.yml:{}:3", self.number * 4),
            "handler": name.starts_with("restart"),
        });
        let task: Arc<TaskInfo> = serde_json::from_value(task).unwrap();
        for (index, host) in hosts.iter().enumerate() {
            self.pass(0.9 / hosts.len() as f64);
            let ended = outcome(index, host);
            let counters = self.counters.entry(host.clone()).or_default();
            match ended.status {
                TaskStatus::Ok => counters.ok += 1,
                TaskStatus::Changed => (counters.ok, counters.changed) = (counters.ok + 1, counters.changed + 1),
                TaskStatus::Skipped => counters.skipped += 1,
                TaskStatus::Failed => counters.failed += 1,
                TaskStatus::Unreachable => counters.unreachable += 1,
                TaskStatus::Unknown => counters.unknown += 1,
            }
            self.tell(Event::TaskDone(HostResult {
                task: task.clone(),
                host: host.clone(),
                delegated_to: None,
                status: ended.status,
                ignored: false,
                item: None,
                msg: ended.msg,
                problem: None,
                because: None,
                result: serde_json::json!({}),
                changes: ended.changes,
                notified: ended.notified,
                diff: true,
                seconds: 0.3 + (index % 7) as f64 / 10.0,
                beneath: Default::default(),
            }));
        }
    }
}

/// What a task came to on a host.
struct Ended {
    status: TaskStatus,
    msg: Option<String>,
    changes: Vec<Change>,
    notified: Vec<String>,
}

fn ended(status: TaskStatus, msg: Option<&str>) -> Ended {
    Ended { status, msg: msg.map(Into::into), changes: Vec::new(), notified: Vec::new() }
}

fn changed(changes: Vec<Change>) -> Ended {
    Ended { status: TaskStatus::Changed, msg: None, changes, notified: vec!["restart mariadb".into()] }
}

fn text(name: &str, before: Option<String>, after: String) -> Change {
    let before = before.map_or(Facet::Absent, Facet::Text);
    Change::set(Subject::new(Domain::File, name), "content", before, Facet::Text(after))
}

fn value(domain: Domain, name: &str, aspect: &str, before: &str, after: &str) -> Change {
    let facet = |text: &str| if text.is_empty() { Facet::Absent } else { Facet::Value(text.into()) };
    Change::set(Subject::new(domain, name), aspect, facet(before), facet(after))
}

/// An option file of a node, of so many lines.
fn options(host: &str, index: usize, gcache: &str, lines: usize) -> String {
    let mut text = format!(
        "# made for {host}\n[mysqld]\nbind-address = ::\nserver_id = {}\nwsrep_node_name = {host}\n\
         wsrep_node_address = 10.1.{}.{}\nwsrep_provider_options = \"gcache.size={gcache}; pc.weight={}; socket.ssl=yes\"\n",
        index + 1,
        index / 250,
        index % 250 + 2,
        1 + index % 3,
    );
    for line in 0..lines {
        text += &format!("tuning_parameter_{line:03} = {}\n", (line * 37 + index * 11) % 4096);
    }
    text
}

fn certificate(host: &str, year: i32) -> String {
    let mut params = rcgen::CertificateParams::new(vec![host.to_string(), format!("{host}.example")]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, host);
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn tell(run: &mut Run) {
    let hosts: Vec<Arc<str>> = (0..500).map(|n| format!("db{:02}-node{:02}", n / 20 + 1, n % 20 + 1).into()).collect();
    let names = ["playbooks/site.yml", "playbooks/certs.yml"];
    run.tell(Event::RunStarted { playbooks: names.map(str::to_string).to_vec(), check: false });
    run.tell(Event::Warning { message: "the host group `arbitrators` is empty".into() });

    run.tell(Event::PlayStarted { name: "Base system <of all hosts>".into(), hosts: hosts.clone() });
    for (batch, some) in hosts.chunks(125).enumerate() {
        run.tell(Event::BatchStarted { batch: batch + 1, of: 4, hosts: some.to_vec() });
        run.number = 0;
        run.task("Gathering Facts", "setup", some, |index, _| match index {
            77 => ended(TaskStatus::Unreachable, Some("connect to 10.1.0.79 port 22: no route to host")),
            _ => ended(TaskStatus::Ok, None),
        });
        run.task("base : the host's name", "hostname", some, |index, host| match index % 9 {
            0 => changed(vec![value(Domain::Hostname, "hostname", "name", "localhost", host)]),
            _ => ended(TaskStatus::Ok, None),
        });
        run.task("base : packages", "apt", some, |index, _| match index % 3 {
            0 => changed(vec![
                value(Domain::Package, "mariadb-server", "version", "", "1:11.8.3-0+deb13u1"),
                value(Domain::Package, "galera-4", "version", "26.4.22-1", "26.4.23-1"),
            ]),
            _ => ended(TaskStatus::Ok, None),
        });
        run.task("base : hosts file", "template", some, |_, _| {
            let line = |n: usize| format!("10.1.{}.{} db{n}.example db{n}\n", n / 250, n % 250);
            let before: String = (0..60).map(line).collect();
            let after: String =
                (0..62).map(|n| if n == 17 { "10.9.9.9 moved.example\n".into() } else { line(n) }).collect();
            changed(vec![text("/etc/hosts", Some(before), after)])
        });
        for number in 0..25 {
            run.task(&format!("base : setting {number} is as it should be"), "sysctl", some, |index, _| {
                match index % 11 {
                    0 if number % 5 == 0 => changed(vec![value(Domain::Sysctl, "vm.swappiness", "value", "60", "10")]),
                    1 => ended(TaskStatus::Skipped, Some("the condition `has_swap` is false")),
                    _ => ended(TaskStatus::Ok, None),
                }
            });
        }
    }

    run.tell(Event::PlayStarted { name: "MariaDB and Galera".into(), hosts: hosts.clone() });
    run.number = 100;
    run.task("galera : option file", "template", &hosts, |index, host| match index % 4 {
        0 => changed(vec![
            text("/etc/mysql/mariadb.conf.d/60-galera.cnf", None, options(host, index, "1G", 60)),
            value(Domain::File, "/etc/mysql/mariadb.conf.d/60-galera.cnf", "mode", "", "0644"),
        ]),
        1 => {
            let (old, new) = (options(host, index, "128M", 60), options(host, index, "1G", 60));
            changed(vec![text("/etc/mysql/mariadb.conf.d/60-galera.cnf", Some(old), new)])
        }
        2 => {
            let old = options(host, index + 1, "128M", 60).replace("# made", "# once made");
            changed(vec![text("/etc/mysql/mariadb.conf.d/60-galera.cnf", Some(old), options(host, index, "1G", 70))])
        }
        _ => ended(TaskStatus::Ok, None),
    });
    run.task("galera : certificate", "certificate", &hosts, |index, host| match index % 20 {
        0 => changed(vec![
            text("/etc/mysql/tls/server.pem", Some(certificate(host, 2025)), certificate(host, 2026)),
            Change::set(
                Subject::new(Domain::File, "/etc/mysql/tls/server.key"),
                "content",
                Facet::Secret { fingerprint: "0a1b2c3d4e5f".into() },
                Facet::Secret { fingerprint: "5f4e3d2c1b0a".into() },
            ),
        ]),
        _ => ended(TaskStatus::Ok, None),
    });
    run.task("galera : accounts", "mysql_user", &hosts, |index, _| match index % 50 {
        0 => changed(vec![Change::set(
            Subject::new(Domain::DatabaseAccount, "app@%"),
            "privileges",
            Facet::Value(serde_json::json!({"app.*": ["SELECT"]})),
            Facet::Value(serde_json::json!({"app.*": ["SELECT", "INSERT", "UPDATE"]})),
        )]),
        7 => ended(TaskStatus::Unknown, Some("the server is not there before it is installed: `galera : packages`")),
        _ => ended(TaskStatus::Ok, None),
    });
    run.task("galera : <script>alert(1)</script> a name with markup & \"quotes\"", "command", &hosts, |index, _| {
        match index {
            3 => ended(TaskStatus::Failed, Some("the command ended with 1: <b>not bold</b>")),
            _ => ended(TaskStatus::Ok, None),
        }
    });

    let cluster: Vec<Arc<str>> = hosts.iter().take(5).cloned().collect();
    run.tell(Event::PlayStarted { name: "Rolling restart of db01".into(), hosts: cluster.clone() });
    run.tell(Event::RollingOrder {
        turns: cluster.iter().map(|host| vec![host.clone()]).collect(),
        left_out: vec![],
        finished: vec![],
        max_unavailable: 1,
        gate: Some("galera".into()),
        members: cluster.clone(),
        window: None,
    });
    for (index, host) in cluster.iter().enumerate() {
        let turn = index as u32 + 1;
        run.tell(Event::TurnStarted { turn, of: 5, hosts: vec![host.clone()] });
        run.number = 200 + index;
        run.task("restart mariadb", "galera_restart", std::slice::from_ref(host), |_, _| {
            changed(vec![Change::effect(
                Subject::new(Domain::Unit, "mariadb.service"),
                "restarted (pid 812 → 1290)",
                Undo::Compensating,
            )])
        });
        for seconds in [2, 6] {
            run.pass(seconds as f64);
            let sentence = format!("{host} is Joined, 1200 write sets behind");
            run.tell(Event::Gate { name: "db01".into(), state: GateState::Waiting, sentence, seconds });
        }
        let ok = index < 4;
        run.pass(3.0);
        let (state, sentence) = match ok {
            true => (GateState::Open, "all 5 members are Synced, one view, no queue".to_string()),
            false => (GateState::Closed, format!("{host} did not come back within 9 s")),
        };
        run.tell(Event::Gate { name: "db01".into(), state, sentence, seconds: 9 });
        run.tell(Event::TurnDone { turn, hosts: vec![host.clone()], ok, seconds: 9.9 });
    }
    let last = cluster.last().unwrap().clone();
    run.tell(Event::RolledBack {
        turn: 5,
        host: last.clone(),
        changes: vec![text("/etc/mysql/my.cnf", Some("[mysqld]\nport=3307\n".into()), "[mysqld]\nport=3306\n".into())],
        not_undone: vec!["the package galera-4 stays at 26.4.23-1".into()],
        sentence: "the node serves again with its files of before".into(),
    });
    run.tell(Event::PlayStopped { reason: STOPPED.into() });
    let counters = std::mem::take(&mut run.counters).into_iter().collect();
    run.tell(Event::Recap {
        hosts: counters,
        owed: vec![(last, vec!["restart mariadb".into()])],
        stats: Default::default(),
        show_stats: false,
    });
}

fn written(folder: &Path) -> PathBuf {
    told(folder, tell)
}

fn told(folder: &Path, tell: impl Fn(&mut Run)) -> PathBuf {
    let page = folder.join("report.html");
    let mask: Mask = Arc::new(|text: &str| text.to_string());
    let now = Arc::new(Mutex::new(0.0));
    let clock = now.clone();
    let paths = [page.clone(), folder.join("report.xml"), folder.join("report.md")];
    let reports = Reports::new(&paths, mask, DiffOptions::default()).unwrap();
    let reports = reports.with_clock(Arc::new(move || *clock.lock().unwrap()));
    let mut run = Run { listener: reports.reporter().unwrap(), now, counters: BTreeMap::new(), number: 0 };
    tell(&mut run);
    let began = std::time::Instant::now();
    reports.write().unwrap();
    eprintln!("written in {:.1} s", began.elapsed().as_secs_f64());
    page
}

/// What the page says needs a look.
fn to_look_at(page: &Path) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    let list = text.split_once("<h2>Needs a look</h2>").map(|(_, behind)| behind).unwrap_or_default();
    list.split("</ul>").next().unwrap_or_default().to_string()
}

#[test]
fn early_ends_and_the_last_word_of_each_gate_need_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let gate = |name: &str, state: GateState| {
        let sentence = format!("{name} was looked at");
        Event::Gate { name: name.into(), state, sentence, seconds: 1 }
    };
    let hosts = vec!["db1".into(), "db2".into()];
    let ran = |gates: &[(&str, GateState)], stopped: Option<&str>| {
        let page = told(folder.path(), |run| {
            run.tell(Event::PlayStarted { name: "first".into(), hosts: hosts.clone() });
            gates.iter().for_each(|(name, state)| run.tell(gate(name, *state)));
            if let Some(reason) = stopped {
                run.tell(Event::PlayStopped { reason: reason.into() });
            }
            run.tell(Event::PlayStarted { name: "second".into(), hosts: hosts.clone() });
            run.tell(Event::Recap { hosts: vec![], owed: vec![], stats: Default::default(), show_stats: false });
        });
        let early = std::fs::read_to_string(&page).unwrap().contains("stopped early");
        assert_eq!(early, stopped.is_some());
        to_look_at(&page)
    };
    use GateState::{Closed, Open, Waiting};
    assert_eq!(ran(&[("a", Closed), ("a", Open), ("b", Waiting)], None), "");
    let list = ran(&[("a", Closed), ("b", Closed), ("b", Open)], None);
    assert!(list.contains("a was looked at") && !list.contains("b was looked at"), "{list}");
    // The reasons that the engine gives, each in its own words.
    for reason in [
        STOPPED,
        "any_errors_fatal: a host failed, so the play stops for all hosts",
        "2 of 3 hosts failed, more than max_fail_percentage 30: the play stops",
        "every host of this batch failed: the play stops before the next batch",
        "db1: no facts could be had, so no host is touched",
    ] {
        let list = ran(&[], Some(reason));
        assert!(list.contains(reason) && list.contains("#p0"), "{reason}: {list}");
    }
}

#[test]
fn tools_prepare_takes_the_browser_that_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let stub = |name: &str, text: &str| {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    // Everything is there but the browser.
    stub("dpkg-query", "case $* in *chromium*) exit 1 ;; *) echo install ok installed ;; esac");
    stub("apt-get", &format!("echo \"$*\" >> {}/asked", folder.path().display()));
    ["apt-cache", "cargo", "my-browser"].iter().for_each(|name| stub(name, ":"));
    stub("id", "echo 0");
    stub("grep", "exec /usr/bin/env -i /bin/grep \"$@\"");
    let prepare = |browser: Option<&str>| {
        let _ = std::fs::remove_file(folder.path().join("asked"));
        let mut command = Command::new("/bin/bash");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prepare")).env_clear().env("PATH", &bin);
        let ran = command.envs(browser.map(|name| ("DEPLOY_TEST_BROWSER", name))).output().unwrap();
        let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
        (
            ran.status.success(),
            asked.contains("chromium-headless-shell"),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    assert_eq!(prepare(None), (true, true, String::new()));
    assert_eq!(prepare(Some("my-browser")), (true, false, String::new()));
    assert_eq!(prepare(Some(bin.join("my-browser").to_str().unwrap())), (true, false, String::new()));
    let (ok, asked, said) = prepare(Some("/no/such/browser"));
    assert!(!ok && !asked && said.contains("DEPLOY_TEST_BROWSER=/no/such/browser"), "{said}");
}

#[test]
fn the_report_of_500_hosts_works_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target");
    let page = written(&folder);
    let size = std::fs::metadata(&page).unwrap().len();
    assert!(size <= LIMIT, "the page has {size} bytes");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(to_look_at(&page).contains(STOPPED), "the reason of the early end is not among what needs a look");
    let diffs = text.matches("<details class=\"delta\"").count();
    assert!(diffs >= 300 && size > 500_000, "{diffs} diffs in {size} bytes: this measures nothing");
    let mut command = Command::new("python3");
    command.arg(root.join("tools/browser")).arg(&page).arg(folder.join("report.png"));
    if std::env::var_os("DEPLOY_TEST_MEASURE").is_some() {
        command.arg("--measure").arg(root.join("docs/results"));
    }
    let seen = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    eprintln!("{size} bytes, {diffs} diffs\n{said}");
    assert!(seen.status.success(), "{said}");
}
