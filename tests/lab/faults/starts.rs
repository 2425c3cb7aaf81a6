//! The node under change does not start, or does not come back, in the middle of a rolling play. The other two serve all
//! the time, the run says why, and the next run finishes the job once the cause is gone.

use super::super::cluster::{self, NODES, Summary, Watch, Writer, assert_finished, assert_whole, processes, tail};
use super::super::lab::{Lab, Ran, lab, script};
use super::super::restart::health;
use super::note;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("starts: a value that only a start can find wrong", bad_option),
    ("starts: a key that the server may not read", unreadable_key),
    ("starts: a full disk", full_disk),
    ("starts: the port of incremental transfers is blocked", blocked_port),
    ("starts: the whole state instead of what was foreseen", sst_instead),
];

/// The node that has trouble: second in its turn.
const VICTIM: &str = NODES[1];
const FILE: &str = "/etc/mysql/mariadb.conf.d/70-galera.cnf";

/// A rolling play of tasks.
fn rolling(lab: &Lab, tasks: &str) -> Ran {
    let text = format!(
        "- hosts: galera\n  gather_facts: false\n  become: true\n  rolling: {{gate: {{galera: {{timeout: 30}}}}, group: \
         galera, on_failure: rollback}}\n  tasks:\n{tasks}"
    );
    lab.play(&text, &[])
}

const RESTART: &str = "    - name: Restart\n      deploy.builtin.galera_restart: {members: '{{ galera_gate_members }}', \
                       write_rate: '{{ galera_gate_write_rate | default(omit) }}'}\n";

/// The shipped playbook.
fn rolling_restart(lab: &Lab, more: &[&str]) -> Ran {
    cluster::run_playbook(lab, "rolling-restart", more)
}

/// Something that happens on the node each time its server is started, until this is dropped.
struct AtStart<'a> {
    lab: &'a Lab,
    undo: String,
}

const DROP_IN: &str = "/run/systemd/system/mariadb.service.d/suite.conf";

impl<'a> AtStart<'a> {
    fn new(lab: &'a Lab, command: &str, undo: &str) -> AtStart<'a> {
        let text = format!("[Service]\\nExecStartPre=+/bin/sh -c \"{command}; true\"\\n");
        lab.ssh(VICTIM, &format!("mkdir -p $(dirname {DROP_IN}); printf '{text}' >{DROP_IN}; systemctl daemon-reload"));
        AtStart { lab, undo: undo.to_string() }
    }
}

impl Drop for AtStart<'_> {
    fn drop(&mut self) {
        self.lab.ssh(VICTIM, &format!("rm -f {DROP_IN}; systemctl daemon-reload; {}", self.undo));
    }
}

/// Under load: a client that writes, and eyes on the processes.
struct Load {
    writer: Writer,
    watch: Watch,
}

impl Load {
    fn start(lab: &Lab, table: &str) -> Load {
        Load { writer: Writer::start(lab, table), watch: Watch::start() }
    }

    /// Nothing was lost, never were two nodes down, and all of these but the victim were restarted so often.
    fn end(self, others: [usize; 2]) -> Summary {
        let history = self.watch.stop();
        let summary = self.writer.stop();
        note(summary.line());
        summary.assert_nothing_lost();
        let order = cluster::restarts(&history);
        let times = |host: &str| order.iter().filter(|name| **name == host).count();
        assert_eq!([times(NODES[0]), times(NODES[2])], others, "{order:?}");
        note(format!("went down: {}", order.join(", ")));
        summary
    }
}

/// A run that ended at the victim, for these reasons.
fn assert_stopped(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    let usual = [format!("{VICTIM} does not come back"), format!("{VICTIM} failed in its turn")];
    for word in usual.iter().map(String::as_str).chain(words.iter().copied()).chain(["not touched: galera3"]) {
        assert!(ran.all().contains(word), "`{word}` is missing: {}", tail(&ran.all()));
    }
}

/// A run that found the trouble before it touched anything.
fn assert_closed(ran: &Ran, words: &str) {
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    for word in ["the gate is closed: ", words, "no host was touched"] {
        assert!(ran.all().contains(word), "`{word}` is missing: {}", tail(&ran.all()));
    }
}

/// The victim is out, drained, and not started again and again; the others serve.
fn assert_out(lab: &Lab) {
    let states = NODES.map(|host| cluster::wsrep_state(lab, host));
    assert_eq!([&*states[0], &*states[2]], ["Primary Synced 2"; 2], "{states:?}");
    let unit = lab.ssh(VICTIM, "systemctl show -p ActiveState --value mariadb");
    assert!(["failed", "inactive"].contains(&unit.as_str()), "{VICTIM} is {unit}");
    assert_eq!(health(lab, VICTIM), "503");
}

/// The cause is gone: the site's run brings the node back, and the rolling play goes through.
fn finish(lab: &Lab) {
    let began = Instant::now();
    let next = cluster::deploy_site(lab, &[]);
    assert_finished(&next);
    assert_whole(lab, Duration::from_secs(10));
    assert_eq!(health(lab, VICTIM), "200", "{VICTIM} is still drained");
    note(format!("the next run: back after {:.0} s", began.elapsed().as_secs_f64()));
    let again = rolling_restart(lab, &[]);
    assert_finished(&again);
    assert_whole(lab, Duration::from_secs(10));
}

fn bad_option() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let check = format!("/usr/local/sbin/galera-config-check %s {FILE}");
    let provider = |value: &str| {
        format!(
            "    - replace: {{path: {FILE}, regexp: 'gcache.size=\\w+', replace: \"gcache.size={value}\", validate: \
             '{check}'}}\n{RESTART}"
        )
    };
    let server = |value: &str| {
        format!(
            "    - copy: {{dest: /etc/mysql/mariadb.conf.d/99-suite.cnf, content: \"[mysqld]\\ntmpdir = {value}\\n\"}}\n{RESTART}"
        )
    };
    let on_victim =
        |bad: &str, good: &str| format!("{{{{ '{bad}' if inventory_hostname == '{VICTIM}' else '{good}' }}}}");
    let rounds = [
        (
            provider(&on_victim("lots", "136M")),
            provider("136M"),
            ["Invalid value 'lots' for integer type", "probably: a provider option"],
        ),
        (
            server(&on_victim("/var/lib/nowhere", "/var/tmp")),
            server("/var/tmp"),
            ["Can't create/write to file '/var/lib/nowhere", "probably: a directory that the option files name"],
        ),
    ];
    let load = Load::start(&lab, "suite_bad_option");
    for (bad, good, words) in rounds {
        let before = processes(&lab);
        let files = cluster::files(&lab);
        let ran = rolling(&lab, &bad);
        assert_stopped(&ran, &words);
        assert!(
            ran.all().contains("its server is started again on the state before"),
            "it was not rolled back: {}",
            tail(&ran.all())
        );
        assert_whole(&lab, Duration::from_secs(10));
        assert_eq!(health(&lab, VICTIM), "200", "{VICTIM} is still drained");
        assert_eq!(processes(&lab)[2], before[2]);
        let place = (VICTIM.to_string(), FILE.to_string());
        assert_eq!(cluster::files(&lab)[&place], files[&place]);
        let first = processes(&lab)[0].clone();
        let next = rolling(&lab, &good);
        assert_finished(&next);
        assert_whole(&lab, Duration::from_secs(10));
        assert_eq!(processes(&lab)[0], first, "what was done is not done again");
        note(format!("`{}`: rolled back, finished by the next run", words[0]));
    }
    load.end([2, 2]);
    for host in NODES {
        lab.ssh(host, "rm /etc/mysql/mariadb.conf.d/99-suite.cnf");
    }
}

fn unreadable_key() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let key = "/etc/mysql/ssl/cluster/current/key.pem";
    let owner = |host: &str| lab.ssh(host, &format!("stat -Lc %U:%G:%a {key}"));
    let right = owner(VICTIM);
    let load = Load::start(&lab, "suite_key");

    // By the change itself: it is put back.
    let ran = rolling(
        &lab,
        &format!(
            "    - file: {{path: {key}, mode: '0600', owner: root}}\n      when: inventory_hostname == '{VICTIM}'\n    - \
             deploy.builtin.galera_restart: {{force: true, members: '{{{{ galera_gate_members }}}}'}}\n"
        ),
    );
    assert_stopped(&ran, &["the server may not read its certificate or key"]);
    assert_eq!(owner(VICTIM), right, "not put back");
    assert_whole(&lab, Duration::from_secs(10));
    assert_eq!(health(&lab, VICTIM), "200", "{VICTIM} is still drained");
    note("by the change itself: rolled back");

    // By somebody else, before: such a member could not even give its state to another one.
    let (user, mode) = right.rsplit_once(':').unwrap();
    let (bar, open) =
        (format!("chmod 600 {key}; chown root:root {key}"), format!("chmod {mode} {key}; chown {user} {key}"));
    lab.ssh(VICTIM, &bar);
    let ran = rolling(&lab, RESTART);
    assert_closed(&ran, &format!("{VICTIM}: its server may not read "));
    lab.ssh(VICTIM, &open);
    note("by somebody else, before: the gate is closed");

    // By somebody else, when the server starts: there is nothing to put back.
    let barred = AtStart::new(&lab, &bar, &open);
    let ran = rolling_restart(&lab, &[]);
    assert_stopped(&ran, &["the server may not read its certificate or key", "does not come up on the state before"]);
    assert_out(&lab);
    note("by somebody else, when the server starts: stays out, drained");
    drop(barred);
    finish(&lab);
    load.end([3, 1]);
}

fn full_disk() {
    let lab = lab();
    let limited = script("reset").args([VICTIM, "--limit", "/var/lib/mysql=800M"]).status().unwrap();
    assert!(limited.success());
    cluster::up(&lab, &[]);
    let load = Load::start(&lab, "suite_disk");
    let before = processes(&lab);

    // Full enough that a restart is a risk: nothing is touched.
    lab.ssh(
        VICTIM,
        "fallocate -l $(( $(df --output=avail -B1 /var/lib/mysql | tail -1) - 20000000 )) /var/lib/mysql/filler",
    );
    let ran = rolling(&lab, RESTART);
    assert_closed(&ran, &format!("{VICTIM}: its disk is full: "));
    lab.ssh(VICTIM, "rm /var/lib/mysql/filler");
    assert_eq!(processes(&lab), before);
    note("a disk that is full before: the gate is closed");

    // Full when the server starts.
    let fills = AtStart::new(&lab, "head -c 2G /dev/zero >/var/lib/mysql/filler", "rm -f /var/lib/mysql/filler");
    let ran = rolling_restart(&lab, &[]);
    assert_stopped(&ran, &["probably: the disk is full"]);
    assert_out(&lab);
    assert_eq!(processes(&lab)[2], before[2]);
    drop(fills);
    note("a disk that is full at the start: stays out, drained");
    finish(&lab);
    load.end([2, 1]);
    assert!(script("reset").args([VICTIM, "--no-limits"]).status().unwrap().success());
}

fn blocked_port() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let load = Load::start(&lab, "suite_blocked");
    let before = processes(&lab);
    let block = |from: &str| {
        format!(
            "/usr/sbin/nft add table inet suite; /usr/sbin/nft add chain inet suite c {{ type filter hook input priority \
             -20\\\\; }}; /usr/sbin/nft add rule inet suite c {from} tcp dport 4568 drop"
        )
    };
    let unblock = "nft delete table inet suite 2>/dev/null; true";

    // Between two members, before anything is touched.
    let from = format!("ip saddr {}", lab.address(NODES[2]));
    lab.ssh(VICTIM, &block(&from).replace("\\\\;", "\\;"));
    let ran = rolling(&lab, RESTART);
    lab.ssh(VICTIM, unblock);
    assert_closed(&ran, &format!("{VICTIM}: {} does not reach its port 4568", NODES[2]));
    assert_eq!(processes(&lab), before);
    note("blocked before: the gate is closed");

    // When the server starts, from everybody.
    let blocks = AtStart::new(&lab, &block(""), unblock);
    let began = Instant::now();
    let ran = rolling_restart(&lab, &[]);
    let took = began.elapsed();
    assert_stopped(
        &ran,
        &["the donor does not reach its port 4568", "is the firewall open?", "Its server was told to stop"],
    );
    assert!(took < Duration::from_secs(550), "{took:?}");
    assert_out(&lab);
    assert_eq!(processes(&lab)[2], before[2]);
    drop(blocks);
    note(format!("blocked at the start: stays out, drained; the run ended after {:.0} s", took.as_secs_f64()));
    finish(&lab);
    let log = "journalctl -u mariadb -o cat --since=\"$(systemctl show -p InactiveExitTimestamp --value mariadb)\"";
    assert_eq!(lab.ssh(VICTIM, &format!("{log} | grep -c 'Proceeding with SST'")), "0");
    load.end([2, 1]);
}

/// Small caches everywhere, and more written than they hold.
const SMALL: [&str; 2] = ["-e", "galera_gcache_size=4M"];

fn overrun(lab: &Lab) {
    lab.ssh(
        NODES[0],
        "mariadb -e 'create database if not exists suite; create table if not exists suite.big (id int auto_increment \
         primary key, b blob)'; for i in $(seq 600); do echo \"insert into suite.big (b) values (repeat('y', 20000));\"; \
         done | mariadb",
    );
}

fn sst_instead() {
    let lab = lab();
    cluster::up(&lab, &SMALL);
    let load = Load::start(&lab, "suite_sst");

    // Its donors' caches are overrun between its stop and its start: that is seen, told and followed.
    let waits = AtStart::new(
        &lab,
        "rm -f /run/suite-go; touch /run/suite-waits; while [ ! -e /run/suite-go ]; do sleep 0.1; done",
        "rm -f /run/suite-*",
    );
    let ran = std::thread::scope(|scope| {
        let lab = &*lab;
        let ran = scope.spawn(move || rolling_restart(lab, &SMALL));
        let limit = Instant::now() + Duration::from_secs(120);
        while lab.ssh(VICTIM, "ls /run/suite-waits 2>/dev/null").is_empty() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(300));
        }
        overrun(lab);
        lab.ssh(VICTIM, "touch /run/suite-go");
        ran.join().unwrap()
    });
    drop(waits);
    assert_finished(&ran);
    assert_whole(&lab, Duration::from_secs(10));
    let words = "it got the whole database again (SST), though its position promised less";
    assert!(ran.all().contains(words), "`{words}` is missing: {}", tail(&ran.all()));
    note("foreseen was an IST: the SST was told and followed to Synced, the play went on");

    // Known before: refused without the word, followed with it.
    lab.ssh(VICTIM, "systemctl stop mariadb");
    overrun(&lab);
    let text = format!(
        "- hosts: galera\n  gather_facts: false\n  become: true\n  tasks:\n    - deploy.builtin.galera_status: {{close: true}}\n      \
         register: seen\n    - deploy.builtin.galera_restart:\n        members: \"{{{{ groups.galera | map('extract', hostvars, \
         'seen') | list }}}}\"\n        allow_sst: \"{{{{ allow_sst | default(false) }}}}\"\n      when: inventory_hostname \
         == '{VICTIM}'\n"
    );
    let ran = lab.play(&text, &[]);
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    assert!(ran.all().contains("(SST), because no member's cache reaches back"), "{}", tail(&ran.all()));
    assert_eq!(processes(&lab)[1], "0", "it was started nevertheless");
    let ran = lab.play(&text, &["-e", "allow_sst=true", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    assert_whole(&lab, Duration::from_secs(10));
    let bytes = regex_lite::Regex::new(r"receives the whole state \(SST\): [0-9.]+ [kMG]?B, [0-9]+ %").unwrap();
    let events = ran.events();
    let texts = events.iter().filter_map(|event| event["progress"].as_str());
    let shown: Vec<&str> = texts.filter_map(|text| bytes.find(text)).map(|found| found.as_str()).collect();
    assert!(!shown.is_empty(), "no progress in bytes: {}", tail(&ran.all()));
    note(format!("allowed: followed to Synced, `{}`", shown[shown.len() / 2]));
    load.end([1, 1]);
    lab.ssh(NODES[0], "mariadb -e 'drop database suite'");
}
