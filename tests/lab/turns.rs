//! Rolling plays: the next node is not touched until this one is well, and the first doubt ends them.

use super::cluster::{self, NODES, Watch, Writer, assert_finished, assert_whole, processes, restarts, tail};
use super::lab::{Lab, Ran, lab};
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("turns: rolling-restart.yml under a client that writes", restart),
    ("turns: a killed and a desynced member close the gate, whatever --limit says", closed),
    ("turns: a failure leaves the hosts behind it untouched", failure),
    ("turns: a node that does not start on the change is rolled back", rollback),
    ("turns: outside of the window no host is touched", window),
    ("turns: a check shows the order and the gate, and changes nothing", check),
];

/// A rolling play over the nodes, with a gate that does not wait for long.
fn play(more: &str, tasks: &str) -> String {
    format!(
        "- hosts: galera\n  gather_facts: false\n  become: true\n  rolling:\n    gate: {{galera: {{timeout: 5}}}}\n{more}  \
         tasks:\n{tasks}"
    )
}

const TOUCH: &str = "    - file: {path: /run/suite-touched, state: touch}\n";

fn touched(lab: &Lab) -> Vec<&'static str> {
    NODES.into_iter().filter(|host| !lab.ssh(host, "ls /run/suite-touched 2>/dev/null").is_empty()).collect()
}

fn clean(lab: &Lab) {
    NODES.iter().for_each(|host| drop(lab.ssh(host, "rm -f /run/suite-touched")));
}

fn of_kind(ran: &Ran, kind: &str) -> Vec<serde_json::Value> {
    ran.events().into_iter().filter(|event| event["event"] == kind).collect()
}

fn restart() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let writer = Writer::start(&lab, "suite_turns");
    let watch = Watch::start();
    let began = Instant::now();
    // The writer has no load balancer that would take it away: it goes to the next node by itself, and there is nothing to
    // wait for.
    let ran = lab.deploy(&["playbooks/rolling-restart.yml", "-e", "galera_drain_timeout=0"]);
    let took = began.elapsed().as_secs_f64();
    let history = watch.stop();
    let summary = writer.stop();
    assert_finished(&ran);
    eprintln!("  {took:.1} s; {}", summary.line());
    // What the issue of time is about: the nodes' own absence, and the windows of the four gates.
    let away: f64 = ran
        .out
        .lines()
        .filter_map(|line| line.split("Synced after ").nth(1)?.split(' ').next()?.parse::<f64>().ok())
        .sum();
    eprintln!("  away {away:.1} s in all; 1.2 times that and four windows of 10 s are {:.1} s", 1.2 * away + 40.0);
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), NODES, "{history:?}");
    assert_eq!(ran.out.matches("open after").count(), 4, "one gate before and one behind each: {}", tail(&ran.out));
}

fn closed() {
    let lab = lab();
    cluster::up(&lab, &[]);
    clean(&lab);
    let before = processes(&lab);
    lab.ssh(
        "galera3",
        "mkdir -p /run/systemd/system/mariadb.service.d && printf '[Service]\\nRestart=no\\n' \
         >/run/systemd/system/mariadb.service.d/suite.conf && systemctl daemon-reload && systemctl kill -s KILL mariadb",
    );
    let ran = lab.play(&play("", TOUCH), &["--limit", "galera1"]);
    lab.ssh(
        "galera3",
        "rm /run/systemd/system/mariadb.service.d/suite.conf; systemctl daemon-reload; systemctl start mariadb",
    );
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("the gate is closed: ") && ran.out.contains("no host was touched"), "{}", ran.out);
    assert!(ran.out.contains("galera3: no answer") || ran.out.contains("a member is missing"), "{}", ran.out);
    assert_eq!(touched(&lab), [""; 0]);
    assert_whole(&lab, Duration::from_secs(60));

    lab.ssh("galera2", "mariadb -e 'set global wsrep_desync=ON'");
    let ran = lab.play(&play("", TOUCH), &["--limit", "galera1"]);
    lab.ssh("galera2", "mariadb -e 'set global wsrep_desync=OFF'");
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("the gate is closed: galera2: it is Donor/Desynced"), "{}", ran.out);
    assert_eq!(touched(&lab), [""; 0]);
    assert_whole(&lab, Duration::from_secs(60));
    assert_eq!(processes(&lab)[..2], before[..2]);
}

fn failure() {
    let lab = lab();
    cluster::up(&lab, &[]);
    clean(&lab);
    let tasks = format!("{TOUCH}    - command: /bin/false\n      when: inventory_hostname == 'galera2'\n");
    // The order puts galera1 last.
    let more = "    order: \"{{ inventory_hostname == 'galera1' }}\"\n";
    let ran = lab.play(&play(more, &tasks), &["--format", "json"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    let order = of_kind(&ran, "rolling_order");
    assert_eq!(order[0]["turns"], serde_json::json!([["galera2"], ["galera3"], ["galera1"]]));
    assert_eq!(of_kind(&ran, "turn_started").len(), 1);
    assert_eq!(touched(&lab), ["galera2"]);
    let reason = of_kind(&ran, "play_stopped")[0]["reason"].to_string();
    assert!(
        reason.contains("galera2 failed in its turn") && reason.contains("not touched: galera3, galera1"),
        "{reason}"
    );
}

fn rollback() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let before = processes(&lab);
    let file = "/etc/mysql/mariadb.conf.d/99-suite.cnf";
    let tasks = format!(
        "    - name: a command\n      command: /bin/true\n    - copy: {{content: \"[mysqld]\\nnonsense_option = 1\\n\", dest: {file}}}\n      notify: restart\n  handlers:\n    \
         - name: restart\n      systemd: {{name: mariadb, state: restarted}}\n"
    );
    let ran = lab.play(&play("    on_failure: rollback\n", &tasks), &["--format", "json"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    let rolled = of_kind(&ran, "rolled_back");
    assert_eq!(rolled.len(), 1, "{}", ran.all());
    assert!(
        ran.all().contains("`a command` (ansible.builtin.command"),
        "what cannot be undone is named: {}",
        ran.all()
    );
    assert_eq!(rolled[0]["host"], "galera1");
    assert!(
        ran.all().contains("nonsense_option") || ran.all().contains("Aborting"),
        "the server's own words: {}",
        ran.all()
    );
    assert_whole(&lab, Duration::from_secs(60));
    assert_eq!(NODES.map(|host| lab.ssh(host, &format!("ls {file} 2>/dev/null"))), [""; 3]);
    assert_eq!(processes(&lab)[1..], before[1..], "the others were not touched");
}

fn window() {
    let lab = lab();
    clean(&lab);
    // The day before yesterday: closed today.
    let day = weekday(-2);
    let more = format!("    window: {day} 12:00-12:01 UTC\n");
    let ran = lab.play(&play(&more, TOUCH), &[]);
    assert_eq!(ran.code, 4, "{}", ran.all());
    assert!(ran.all().contains("is closed; it opens at") && ran.all().contains("no host was touched"), "{}", ran.all());
    assert_eq!(touched(&lab), [""; 0]);
}

/// The weekday so many days from now, by the controller's clock.
fn weekday(days: i64) -> &'static str {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    // 1970-01-01 was a Thursday.
    ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(now / 86_400 + days).rem_euclid(7) as usize]
}

fn check() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let before = processes(&lab);
    let ran = lab.deploy(&["playbooks/rolling-restart.yml", "--check", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(of_kind(&ran, "rolling_order")[0]["members"], serde_json::json!(NODES));
    let gates = of_kind(&ran, "gate");
    assert_eq!((gates.len(), gates[0]["state"].as_str()), (1, Some("open")), "{}", ran.all());
    assert_eq!(of_kind(&ran, "turn_done").len(), 3);
    lab.ssh("galera2", "mariadb -e 'set global wsrep_desync=ON'");
    let ran = lab.deploy(&["playbooks/rolling-restart.yml", "--check", "--format", "json"]);
    lab.ssh("galera2", "mariadb -e 'set global wsrep_desync=OFF'");
    let gates = of_kind(&ran, "gate");
    assert_eq!((gates.len(), gates[0]["state"].as_str()), (1, Some("closed")), "{}", ran.all());
    assert!(gates[0]["sentence"].as_str().unwrap().starts_with("galera2: "), "{}", gates[0]);
    assert_eq!(processes(&lab), before);
    assert_eq!(NODES.map(|host| lab.ssh(host, "ls /run/deploy/*.lock /run/deploy/lock* 2>/dev/null")), [""; 3]);
}
