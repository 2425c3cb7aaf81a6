//! A rolling restart while something around it fails: another node dies, a line is cut, a statement takes long, a certificate has
//! expired. The rest of the cluster keeps serving, the run stops or goes on as docs/rolling.md says, and the next finishes.

use super::super::cluster::{self, NODES, Watch, Writer, assert_whole, processes, restarts, tail, wsrep_state};
use super::super::lab::{Lab, Ran, lab, script};
use super::live::{Live, journal, journalled, kind, on_host, restarted, sentences, with_journal};
use super::note;
use std::path::Path;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("faults: a server is killed while another one is out", killed_server),
    ("faults: a machine dies while another one is out", dead_machine),
    ("faults: the controller is cut off from the node under change", cut_off),
    ("faults: two nodes are cut off from each other during a turn", cut_pair),
    ("faults: a second controller in the middle of a rolling turn", second_controller),
    ("faults: a long change of definitions before the next host", long_statement),
    ("faults: an expired certificate on a node not yet touched", expired),
];

/// What the scenarios run: the shipped playbook, which does not wait long for applications to go.
const RESTART: &str = "playbooks/rolling-restart.yml";
const QUICK: [&str; 2] = ["-e", "galera_drain_timeout=2"];

const MINUTE: Duration = Duration::from_secs(60);

/// A rolling restart of the nodes, under way.
fn rolling(lab: &Lab, journal: &Path, more: &[&str]) -> Live {
    Live::start(journalled(lab, journal, RESTART, &[&QUICK, more].concat()))
}

/// `deploy resume last`.
fn resume(lab: &Lab, journal: &Path) -> Ran {
    Ran::of(with_journal(lab, journal, &["resume", "last"]).output().unwrap())
}

fn lab_script(name: &str, words: &[&str]) {
    let output = script(name).args(words).output().unwrap();
    assert!(output.status.success(), "lab/{name} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn whole_site(lab: &Lab) {
    lab_script("mend", &[]);
    cluster::up(lab, &[]);
    assert_whole(lab, MINUTE);
}

/// No lock of a cluster and no drain is left on a node.
fn assert_freed(lab: &Lab) {
    for host in NODES {
        let left = lab.ssh(host, "ls /run/deploy/cluster-*.lock /var/tmp/clustercheck.disabled 2>/dev/null");
        assert_eq!(left, "", "{host}");
    }
}

/// Waits, from inside the host, until its server is on its way down.
fn stopping(lab: &Lab, host: &str) -> bool {
    let down = "s=$(systemctl is-active mariadb); [ \"$s\" != active ]";
    on_host(lab, host, down, 2 * MINUTE)
}

/// A line of what a run said that names something.
fn said(ran: &Ran, part: &str) -> String {
    let all = sentences(ran);
    let line = all.lines().find(|line| line.contains(part));
    line.unwrap_or_else(|| panic!("nothing of `{part}` in:\n{}", tail(&ran.all()))).to_string()
}

fn killed_server() {
    let lab = lab();
    whole_site(&lab);
    let before = processes(&lab);
    let runs = journal(&lab, "killed-server");
    let writer = Writer::start(&lab, "links_killed");
    let run = rolling(&lab, &runs, &[]);
    assert!(stopping(&lab, "galera1"), "galera1 never stopped");
    // Out is who the others have let go. A member that dies while that is being agreed on takes the quorum with it, whoever
    // stops the first: docs/rolling.md.
    let at = Instant::now();
    while !wsrep_state(&lab, "galera2").ends_with(" 2") {
        assert!(at.elapsed() < MINUTE, "galera1 was never let go");
    }
    lab.ssh("galera2", "systemctl kill -s KILL mariadb");
    let at = Instant::now();
    let ran = run.end();
    note(format!("exit {} {:.0} s after the kill", ran.code, at.elapsed().as_secs_f64()));
    assert_whole(&lab, MINUTE);
    // Nobody but the one under change was stopped by the run while a member was missing.
    match ran.code {
        0 => {}
        _ => {
            note(said(&ran, "galera2"));
            assert_eq!(processes(&lab)[2], before[2], "the survivor was stopped");
            let next = resume(&lab, &runs);
            assert_eq!(next.code, 0, "{}", tail(&next.all()));
        }
    }
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    assert!(processes(&lab).iter().zip(&before).all(|(new, old)| new != old && new != "0"));
    assert_freed(&lab);
}

fn dead_machine() {
    let lab = lab();
    whole_site(&lab);
    let before = processes(&lab);
    let runs = journal(&lab, "dead-machine");
    let writer = Writer::start(&lab, "links_dead");
    let run = rolling(&lab, &runs, &["-e", "galera_restart_timeout=90"]);
    assert!(stopping(&lab, "galera1"), "galera1 never stopped");
    lab_script("power", &["galera2", "off"]);
    let at = Instant::now();
    let ran = run.end();
    note(format!("exit {} {:.0} s after the plug was pulled", ran.code, at.elapsed().as_secs_f64()));
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    note(said(&ran, "galera2 cannot be reached"));
    note(said(&ran, "does not come back"));
    assert_eq!(lab.ssh("galera3", "systemctl show -p MainPID --value mariadb"), before[2], "the survivor was stopped");
    note(format!("then: galera1 {}, galera3 {}", wsrep_state(&lab, "galera1"), wsrep_state(&lab, "galera3")));
    lab_script("power", &["galera2", "on"]);
    // Whether the two find their quorum again depends on what galera2 had written down when it lost its power: where
    // galera1 is a member of its last view, somebody has to say the word.
    let began = Instant::now();
    while wsrep_state(&lab, "galera3") != "Primary Synced 2" && began.elapsed() < MINUTE {
        std::thread::sleep(Duration::from_millis(300));
    }
    let word: &[&str] = match wsrep_state(&lab, "galera3").starts_with("Primary") {
        true => &[],
        false => &["-e", "recover_bootstrap=galera3"],
    };
    note(format!("switched on again: galera3 is {}; recover.yml {}", wsrep_state(&lab, "galera3"), word.join(" ")));
    let back = cluster::run_playbook(&lab, "recover", word);
    assert_eq!(back.code, 0, "{}", tail(&back.all()));
    assert_whole(&lab, MINUTE);
    let next = resume(&lab, &runs);
    assert_eq!(next.code, 0, "{}", tail(&next.all()));
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    assert_freed(&lab);
}

fn cut_off() {
    let lab = lab();
    whole_site(&lab);
    let runs = journal(&lab, "cut-off");
    let (writer, watch) = (Writer::start(&lab, "links_cut"), Watch::start());
    let run = rolling(&lab, &runs, &[]);
    assert!(stopping(&lab, "galera1"), "galera1 never stopped");
    lab_script("cut", &["galera1", "controller"]);
    let at = Instant::now();
    assert!(on_host(&lab, "galera1", "pgrep -P 1 -x mariadbd >/dev/null", MINUTE), "its server stays down");
    assert_whole(&lab, MINUTE);
    let back = at.elapsed().as_secs_f64();
    let ran = run.end();
    let gone = at.elapsed().as_secs_f64();
    note(format!("the node is back after {back:.0} s by itself; the run ends after {gone:.0} s with {}", ran.code));
    assert_eq!(ran.code, 4, "{}", tail(&ran.all()));
    let lost = |event: &serde_json::Value| kind(event, "task_done") && event["status"] == "unreachable";
    let lost = ran.events().into_iter().find(lost).unwrap_or_else(|| panic!("{}", tail(&ran.all())));
    assert_eq!((&lost["host"], &lost["task"]["name"]), (&"galera1".into(), &"The node restarts".into()), "{lost}");
    note(lost["msg"].as_str().unwrap_or_default().to_string());
    note(said(&ran, "galera1 failed in its turn"));
    lab_script("mend", &[]);
    let next = resume(&lab, &runs);
    let (history, summary) = (watch.stop(), writer.stop());
    assert_eq!(next.code, 0, "{}", tail(&next.all()));
    note(summary.line());
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), NODES, "each node once over both runs: {history:?}");
    assert_whole(&lab, MINUTE);
    assert_freed(&lab);
}

fn cut_pair() {
    let lab = lab();
    whole_site(&lab);
    let runs = journal(&lab, "cut-pair");
    let (writer, watch) = (Writer::start(&lab, "links_pair"), Watch::start());
    let mut run = rolling(&lab, &runs, &[]);
    assert!(stopping(&lab, "galera1"), "galera1 never stopped");
    // Nobody is let in whom one of the members does not hear: the node keeps coming until the line is mended.
    lab_script("cut", &["galera1", "galera2"]);
    run.until_told("the node is kept coming", 3 * MINUTE, |event| {
        kind(event, "still_running")
            && event["progress"].as_str().is_some_and(|text| text.contains("no member with quorum"))
    });
    assert_eq!(["galera2", "galera3"].map(|host| wsrep_state(&lab, host)), ["Primary Synced 2"; 2]);
    lab_script("mend", &[]);
    run.until_told("the node is back", 2 * MINUTE, |event| restarted(event, "galera1"));
    // Now galera3 passes on what they say: all are Synced, and galera3 must not be stopped.
    lab_script("cut", &["galera1", "galera2"]);
    let waits = |event: &serde_json::Value| kind(event, "gate") && event["state"] == "waiting";
    run.until_told("the gate closes", MINUTE, |event| {
        waits(event) && event["sentence"].as_str().is_some_and(|text| text.contains("no connection"))
    });
    note(format!("cut off from each other, they say: {:?}", NODES.map(|host| wsrep_state(&lab, host))));
    lab_script("mend", &[]);
    let ran = run.end();
    let (history, summary) = (watch.stop(), writer.stop());
    note(said(&ran, "no connection"));
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    note(summary.line());
    summary.assert_nothing_lost();
    // The first came several times before it was let in; nobody else was out meanwhile.
    let mut order = restarts(&history);
    order.dedup();
    assert_eq!(order, NODES, "one after the other: {history:?}");
    assert_whole(&lab, MINUTE);
    assert_freed(&lab);
}

fn second_controller() {
    let lab = lab();
    whole_site(&lab);
    let (alice, bob) = (journal(&lab, "alice"), journal(&lab, "bob"));
    let (writer, watch) = (Writer::start(&lab, "links_second"), Watch::start());
    let mut run = rolling(&lab, &alice, &[]);
    assert!(stopping(&lab, "galera1"), "galera1 never stopped");
    let began = Instant::now();
    let refused = rolling(&lab, &bob, &[]).end();
    note(format!("refused after {:.1} s: {}", began.elapsed().as_secs_f64(), said(&refused, "is locked by")));
    assert_ne!(refused.code, 0);
    let touched = |event: &serde_json::Value| kind(event, "turn_started");
    assert!(!refused.events().iter().any(touched), "{}", tail(&refused.all()));
    run.until_told("the first turn ends", 2 * MINUTE, |event| kind(event, "turn_done"));
    // One that waits for the other takes its turns behind it.
    let second = rolling(&lab, &bob, &["--lock-wait", "300"]);
    let first = run.end();
    let order = [first.code, second.end().code];
    let (history, summary) = (watch.stop(), writer.stop());
    assert_eq!(order, [0, 0]);
    note(summary.line());
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), [NODES, NODES].concat(), "one run behind the other: {history:?}");
    assert_freed(&lab);
}

/// Every row costs work: on any machine the change takes long enough to be seen, and not for ever.
const SLOW: &str = "alter table passbolt.links_slow add column h char(128) as (sha2(repeat(id, 4000000), 512)) stored";

fn long_statement() {
    let lab = lab();
    whole_site(&lab);
    let table = "create or replace table links_slow (id int primary key); \
                 insert into links_slow select seq from seq_100_to_249; select count(*) from links_slow";
    assert_eq!(lab.ssh("galera3", &format!("mariadb -Ne \"{table}\" passbolt")), "150");
    let runs = journal(&lab, "statement");
    let (writer, watch) = (Writer::start(&lab, "links_statement"), Watch::start());
    let mut run = rolling(&lab, &runs, &[]);
    run.until_told("the first node is restarted", 3 * MINUTE, |event| restarted(event, "galera1"));
    let (began, lab_name) = (Instant::now(), "galera3");
    let mut statement = script("ssh").args([lab_name, &format!("mariadb -e \"{SLOW}\"")]).spawn().unwrap();
    // The impatient one ends by its timeout; it has no journal and no lock, and touches nobody.
    let waits = |event: &serde_json::Value| kind(event, "gate") && event["state"] == "waiting";
    run.until_told("the gate closes", MINUTE, |event| {
        waits(event) && event["sentence"].as_str().is_some_and(|text| text.contains("ALTER TABLE"))
    });
    assert!(statement.wait().unwrap().success());
    note(format!("the statement took {:.0} s", began.elapsed().as_secs_f64()));
    let ran = run.end();
    let history = watch.stop();
    note(said(&ran, "ALTER TABLE"));
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    assert_eq!(restarts(&history), NODES, "{history:?}");
    // One that waits less long ends by its timeout, and no host was touched.
    lab.ssh("galera3", "mariadb -e 'alter table passbolt.links_slow drop column h'");
    let mut statement = script("ssh").args([lab_name, &format!("mariadb -e \"{SLOW}\"")]).spawn().unwrap();
    assert!(on_host(&lab, "galera2", "mariadb -Ne 'show processlist' | grep -q 'add column h'", MINUTE));
    let before = processes(&lab);
    let impatient = "- hosts: galera\n  gather_facts: false\n  become: true\n  rolling:\n    gate: {galera: {timeout: 3}}\n  \
                     tasks:\n    - deploy.builtin.galera_restart: {force: true}\n";
    let ran = lab.play(impatient, &["--format", "json"]);
    assert!(statement.wait().unwrap().success());
    note(said(&ran, "no host was touched"));
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    assert!(said(&ran, "the gate is closed: ").contains("ALTER TABLE"), "{}", tail(&ran.all()));
    assert_eq!(processes(&lab), before);
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    lab.ssh("galera3", "mariadb -e 'drop table passbolt.links_slow'");
    assert_freed(&lab);
}

/// A certificate of the suite's cluster authority that ended a minute ago, for the key that lies on the host.
fn expire(lab: &Lab, host: &str) {
    let current = "/etc/mysql/ssl/cluster/current";
    let authority = cluster::store(lab).join("ca/cluster");
    let folder = std::fs::read_dir(&authority).unwrap().flatten().map(|entry| entry.path());
    let folder = folder.into_iter().find(|path| path.join("key.pem").exists()).unwrap();
    let work = lab.file("expired/.keep", "").parent().unwrap().to_path_buf();
    let request = format!("openssl req -new -key {current}/key.pem -subj /CN={host}");
    std::fs::write(work.join("request.pem"), lab.ssh(host, &request)).unwrap();
    std::fs::write(work.join("database"), "").unwrap();
    let config = "[ca]\ndefault_ca = own\n[own]\ndatabase = DIR/database\nnew_certs_dir = DIR\nserial = DIR/serial\n\
                  policy = any\ndefault_md = sha256\n[any]\ncommonName = supplied\n[leaf]\nbasicConstraints = CA:false\n\
                  extendedKeyUsage = serverAuth, clientAuth\n";
    std::fs::write(work.join("config"), config.replace("DIR", work.to_str().unwrap())).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let date = |seconds: u64| {
        let moment = format!("@{seconds}");
        let output = std::process::Command::new("date").args(["-u", "+%Y%m%d%H%M%SZ", "-d", &moment]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_string()
    };
    let mut sign = std::process::Command::new("openssl");
    sign.args(["ca", "-batch", "-notext", "-rand_serial", "-extensions", "leaf", "-passin"]);
    sign.arg(format!("pass:{}", cluster::PASSPHRASE)).arg("-config").arg(work.join("config"));
    sign.arg("-cert").arg(folder.join("cert.pem")).arg("-keyfile").arg(folder.join("key.pem"));
    sign.args(["-startdate", &date(now - 3600), "-enddate", &date(now - 60)]);
    sign.arg("-in").arg(work.join("request.pem")).arg("-out").arg(work.join("cert.pem"));
    let output = sign.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pem = std::fs::read_to_string(work.join("cert.pem")).unwrap();
    lab.ssh(host, &format!("cp -p {current}/cert.pem /root/cert.suite; cat > {current}/cert.pem <<'END'\n{pem}END"));
}

fn expired() {
    let lab = lab();
    whole_site(&lab);
    let before = processes(&lab);
    let runs = journal(&lab, "expired");
    let writer = Writer::start(&lab, "links_expired");
    expire(&lab, "galera3");
    assert_whole(&lab, MINUTE);
    let began = Instant::now();
    let play = "- hosts: galera\n  gather_facts: false\n  become: true\n  rolling:\n    gate: {galera: {timeout: 5}}\n  tasks:\n    \
                - deploy.builtin.galera_restart: {force: true}\n";
    let ran = lab.play(play, &["--format", "json"]);
    note(format!("exit {} after {:.0} s: {}", ran.code, began.elapsed().as_secs_f64(), said(&ran, "its certificate")));
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    let reason = said(&ran, "the gate is closed: ");
    assert!(reason.contains("galera3: its certificate for 4567 (in its file) expired"), "{reason}");
    assert!(said(&ran, "no host was touched").contains("the gate did not open"));
    assert_eq!(processes(&lab), before, "nobody was restarted");
    let status =
        Ran::of(with_journal(&lab, &runs, &["status", "-i", lab.inventory.to_str().unwrap()]).output().unwrap());
    assert!(status.code == 1 && status.out.contains("expired"), "{}", status.all());
    // The site renews it, by a reload; then the restart finds nothing in its way.
    cluster::up(&lab, &[]);
    assert_eq!(processes(&lab), before, "a renewed certificate is reloaded");
    let ran = rolling(&lab, &runs, &[]).end();
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    assert_whole(&lab, MINUTE);
    assert_freed(&lab);
}
