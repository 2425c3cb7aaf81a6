//! The journal of runs, what is owed, the cluster's lock: what holds when a run fails, is killed, or meets another one.

use super::cluster;
use super::lab::{Lab, Ran, lab, script};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("runs: a handler owed by a failed run is paid by the next", owed_handler),
    ("runs: a handler owed by a killed run is paid, and the run resumed", killed),
    ("runs: an owed restart is known to playbooks and paid by whoever restarts", owed_restart),
    ("runs: a changed playbook is not resumed", changed),
    ("runs: of two controllers the second is refused, or waits", two_controllers),
    ("runs: two runs that have each what the other waits for come to their end", crossing),
    ("runs: the lock of a killed run is taken over by its own controller alone", takeover),
    ("runs: a cluster is unlocked when nobody is heard of any longer", unlock),
    ("runs: a resumed rolling play leaves out what is done", resumed),
    ("runs: status of a cluster that is well, and of one that is not", status),
];

/// `deploy` with a journal below `journal`: one controller.
fn command(lab: &Lab, journal: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1").env_remove("DEPLOY_INVENTORY");
    command.env("DEPLOY_RUNS_DIR", journal).env("USER", journal.file_name().unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let inventory = lab.inventory.to_str().unwrap();
    match arguments.first() {
        Some(&"status" | &"unlock") => command.arg(arguments[0]).args(["-i", inventory]).args(&arguments[1..]),
        Some(&"runs" | &"resume") => command.args(arguments),
        _ => command.args(["-i", inventory]).args(arguments),
    };
    command
}

fn deploy(lab: &Lab, journal: &Path, arguments: &[&str]) -> Ran {
    Ran::of(command(lab, journal, arguments).output().unwrap())
}

fn until(what: &str, limit: u64, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(limit), "not within {limit} s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn killed_now(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn clean(lab: &Lab) {
    for host in ["box1", "box2", "box3"] {
        lab.ssh(host, "rm -rf /tmp/runs-* /run/deploy/cluster-*");
    }
}

const OWING: &str = "
- hosts: box1
  become: true
  gather_facts: false
  tasks:
    - name: write
      ansible.builtin.copy: {dest: /tmp/runs-file, content: '{{ word }}'}
      notify: say
    - name: wait
      ansible.builtin.shell: test -e /tmp/runs-go || sleep 600
      changed_when: false
      when: waits | default(false) | bool
    - name: fail
      ansible.builtin.fail: {msg: as it was asked}
      when: fails | default(false) | bool
  handlers:
    - name: say
      ansible.builtin.shell: echo said >> /tmp/runs-said
";

fn owed_handler() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("alice");
    let play = lab.file("owing.yml", OWING);
    let play = play.to_str().unwrap();
    let ran = deploy(&lab, &journal, &[play, "-e", "word=one", "-e", "fails=true"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert_eq!(lab.ssh("box1", "cat /tmp/runs-said"), "");
    let shown = deploy(&lab, &journal, &["runs", "last"]);
    assert!(shown.out.contains("owed:") && shown.out.contains("`say`"), "{}", shown.all());
    assert!(shown.out.contains("as it was asked"), "{}", shown.all());
    // Another controller's journal, or another inventory's, knows nothing of it; a check says what would run.
    let check = deploy(&lab, &journal, &[play, "-e", "word=one", "--check"]);
    assert!(check.out.contains("is owed") && check.out.contains("HANDLER [say]"), "{}", check.all());
    assert_eq!(lab.ssh("box1", "cat /tmp/runs-said"), "");
    let paid = deploy(&lab, &journal, &[play, "-e", "word=one"]);
    assert_eq!(paid.code, 0, "{}", paid.all());
    assert_eq!(lab.ssh("box1", "cat /tmp/runs-said"), "said");
    let again = deploy(&lab, &journal, &[play, "-e", "word=one"]);
    assert!(!again.out.contains("owed"), "{}", again.all());
    assert_eq!(lab.ssh("box1", "cat /tmp/runs-said"), "said", "paid once");
    assert!(deploy(&lab, &journal, &["runs", "--format", "json"]).out.contains("\"ending\": \"failed\""));
}

fn killed() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("alice");
    let play = lab.file("owing.yml", OWING);
    let play = play.to_str().unwrap();
    let child = command(&lab, &journal, &[play, "-e", "word=one", "-e", "waits=true"]).spawn().unwrap();
    until("the file is written", 60, || lab.ssh("box1", "cat /tmp/runs-file") == "one");
    std::thread::sleep(Duration::from_secs(1));
    killed_now(child);
    let shown = deploy(&lab, &journal, &["runs"]);
    assert!(shown.out.contains("killed"), "{}", shown.all());
    let shown = deploy(&lab, &journal, &["runs", "last"]);
    assert!(shown.out.contains("`say`") && shown.out.contains("deploy resume"), "{}", shown.all());
    // The host is still at the task that was cut off.
    lab.ssh("box1", "touch /tmp/runs-go; pkill -x sleep");
    let resumed = deploy(&lab, &journal, &["resume", "last"]);
    assert_eq!(resumed.code, 0, "{}", resumed.all());
    assert_eq!(lab.ssh("box1", "cat /tmp/runs-said"), "said");
    let nothing = deploy(&lab, &journal, &["resume", "last"]);
    assert!(nothing.code == 4 && nothing.err.contains("good end"), "{}", nothing.all());
}

const RESTARTING: &str = "
- hosts: box1
  become: true
  gather_facts: false
  tasks:
    - name: what is owed
      ansible.builtin.debug: {msg: 'owed: {{ deploy_owed_restarts | join(\" \") }}.'}
    - name: restart
      ansible.builtin.systemd: {name: ssh, state: restarted}
      when: deploy_owed_restarts != []
";

fn owed_restart() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("alice");
    std::fs::create_dir(&journal).unwrap();
    let inventory = std::fs::canonicalize(&lab.inventory).unwrap();
    // As a rolling play leaves it that put a node's files back while the node served.
    let debt = serde_json::json!([{"host": "box1", "due": "restart", "unit": "ssh.service", "reason": "a test",
                                   "run": "20261122-000000-aaaaaa", "since": 1_795_000_000, "inventory": [inventory]}]);
    std::fs::write(journal.join("owed.json"), debt.to_string()).unwrap();
    let play = lab.file("restarting.yml", RESTARTING);
    let play = play.to_str().unwrap();
    let check = deploy(&lab, &journal, &[play, "--check"]);
    assert!(check.out.contains("owed: ssh.service."), "{}", check.all());
    let ran = deploy(&lab, &journal, &[play]);
    assert!(ran.code == 0 && ran.out.contains("a restart of ssh.service (a test) is owed"), "{}", ran.all());
    let again = deploy(&lab, &journal, &[play]);
    assert!(again.out.contains("owed: .") && !again.out.contains("is owed since"), "{}", again.all());
}

fn changed() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("alice");
    let path = lab.file("changing.yml", OWING);
    let play = path.to_str().unwrap();
    let secret = ["-e", "db_password=geheim7", "-e", "word=one", "-e", "fails=true"];
    let mut words = vec![play];
    words.extend(secret);
    assert_eq!(deploy(&lab, &journal, &words).code, 2);
    let refused = deploy(&lab, &journal, &["resume", "last"]);
    assert!(refused.code == 4 && refused.err.contains("give them again"), "{}", refused.all());
    std::fs::write(&path, format!("{OWING}\n# changed\n")).unwrap();
    let again = ["resume", "last", "-e", "db_password=geheim7", "-e", "fails=false"];
    let refused = deploy(&lab, &journal, &again);
    assert!(refused.code == 1 && refused.err.contains("changing.yml has changed"), "{}", refused.all());
    let mut forced = again.to_vec();
    forced.push("--force-changed");
    assert_eq!(deploy(&lab, &journal, &forced).code, 0);
    let kept = Command::new("grep").args(["-r", "geheim7"]).arg(&journal).output().unwrap();
    assert!(kept.stdout.is_empty(), "{}", String::from_utf8_lossy(&kept.stdout));
}

const ROLLING: &str = "
- name: a slow change
  hosts: boxes
  become: true
  gather_facts: false
  rolling:
    group: boxes
    gate:
      - ansible.builtin.command: 'true'
        changed_when: false
  tasks:
    - name: work
      ansible.builtin.shell: |
        echo {{ who }} >> /tmp/runs-work
        test {{ inventory_hostname }} != {{ slow | default('none') }} || sleep {{ nap | default(600) }}
";

/// A rolling play that stands still on a host.
fn standing(lab: &Lab, journal: &Path, on: &str, nap: &str) -> Child {
    let play = lab.file("rolling.yml", ROLLING);
    let words = [play.to_str().unwrap(), "-e", "who=first", "-e", &format!("slow={on}"), "-e", &format!("nap={nap}")];
    let child = command(lab, journal, &words).spawn().unwrap();
    until("it stands", 90, || lab.ssh(on, "cat /tmp/runs-work").contains("first"));
    child
}

fn other(lab: &Lab, journal: &Path, more: &[&str]) -> Ran {
    let play = lab.file("other.yml", ROLLING);
    let mut words = vec![play.to_str().unwrap(), "-e", "who=second"];
    words.extend(more);
    deploy(lab, journal, &words)
}

fn locks(lab: &Lab) -> String {
    ["box1", "box2", "box3"].map(|host| lab.ssh(host, "cat /run/deploy/cluster-*.lock 2>/dev/null")).join("")
}

fn two_controllers() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (dir.path().join("alice"), dir.path().join("bob"));
    let mut first = standing(&lab, &alice, "box2", "40");
    let refused = other(&lab, &bob, &[]);
    assert_ne!(refused.code, 0, "{}", refused.all());
    for part in ["locked by alice@", "a slow change", "--if-locked"] {
        assert!(refused.all().contains(part), "{part}: {}", refused.all());
    }
    assert!(!locks(&lab).contains("bob"), "nothing is left of the refused one");
    let left = other(&lab, &bob, &["--if-locked", "leave"]);
    assert_eq!(left.code, 0, "{}", left.all());
    for part in ["locked by alice@", "a slow change", "nothing is done"] {
        assert!(left.all().contains(part), "{part}: {}", left.all());
    }
    // What is not a rolling play meets the other run on the hosts themselves.
    let plain =
        lab.file("plain.yml", "- {hosts: boxes, gather_facts: false, tasks: [{command: 'touch /tmp/runs-plain'}]}");
    for (policy, code) in [("leave", 0), ("fail", 2), ("wait:3s", 2)] {
        let ran = deploy(&lab, &bob, &[plain.to_str().unwrap(), "-b", "--if-locked", policy]);
        assert_eq!(ran.code, code, "{policy}: {}", ran.all());
        assert!(ran.all().contains("another run works on") && ran.all().contains("alice@"), "{}", ran.all());
    }
    assert_eq!(lab.ssh("box2", "ls /tmp/runs-plain 2>/dev/null"), "", "nobody began to work there");
    let status = deploy(&lab, &bob, &["status", "-g", "boxes"]);
    assert!(status.code == 1 && status.out.contains("by alice@"), "{}", status.all());
    let unlocked = deploy(&lab, &bob, &["unlock", "-g", "boxes"]);
    assert!(unlocked.code == 1 && unlocked.err.contains("heard of"), "{}", unlocked.all());
    let waited = other(&lab, &bob, &["--lock-wait", "120"]);
    assert_eq!(waited.code, 0, "{}", waited.all());
    assert!(first.wait().unwrap().success());
    for host in ["box1", "box2", "box3"] {
        assert_eq!(lab.ssh(host, "cat /tmp/runs-work"), "first\nsecond", "{host}: one after the other");
    }
    assert_eq!(locks(&lab), "", "all given back");
}

/// Each has a host that the other one needs next.
fn crossing() {
    let lab = lab();
    let one = |name: &str, first: &str, second: &str| {
        let play = |host: &str, work: &str| {
            format!("- {{hosts: {host}, gather_facts: false, tasks: [{{command: {work}}}]}}\n")
        };
        let text = play(first, "sleep 3") + &play(second, &format!("touch /tmp/crossed-{name}"));
        let file = lab.file(&format!("crossing-{name}.yml"), &text);
        lab.command(&[file.to_str().unwrap(), "-b"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for host in ["box1", "box2"] {
        lab.ssh(host, "rm -f /tmp/crossed-*");
    }
    let mut runs = [one("a", "box1", "box2"), one("b", "box2", "box1")];
    let limit = Instant::now() + Duration::from_secs(60);
    while runs.iter_mut().any(|run| run.try_wait().unwrap().is_none()) {
        if Instant::now() > limit {
            runs.iter_mut().for_each(|run| run.kill().unwrap());
            panic!("they wait for each other");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    runs.iter_mut().for_each(|run| assert!(run.wait().unwrap().success()));
    assert_eq!(lab.ssh("box1", "ls /tmp/crossed-*"), "/tmp/crossed-b");
    assert_eq!(lab.ssh("box2", "ls /tmp/crossed-*"), "/tmp/crossed-a");
}

fn takeover() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (dir.path().join("alice"), dir.path().join("bob"));
    killed_now(standing(&lab, &alice, "box2", "600"));
    // Bob has no proof.
    let refused = other(&lab, &bob, &[]);
    assert!(refused.code != 0 && refused.all().contains("locked by alice@"), "{}", refused.all());
    lab.ssh("box2", "pkill -x sleep");
    let taken = other(&lab, &alice, &[]);
    assert_eq!(taken.code, 0, "{}", taken.all());
    assert!(taken.all().contains("its lock is taken over"), "{}", taken.all());
    assert!(taken.all().contains("was killed before its end"), "{}", taken.all());
    assert_eq!(locks(&lab), "");
}

fn unlock() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (dir.path().join("alice"), dir.path().join("bob"));
    killed_now(standing(&lab, &alice, "box2", "600"));
    // On box2 the task still runs in the dead run's name: its heartbeat comes.
    std::thread::sleep(Duration::from_secs(20));
    let refused = deploy(&lab, &bob, &["unlock", "-g", "boxes"]);
    assert!(refused.code == 1 && refused.err.contains("box2"), "{}", refused.all());
    lab.ssh("box2", "pkill -x sleep");
    until("the heartbeats end", 60, || deploy(&lab, &bob, &["unlock", "-g", "boxes"]).code == 0);
    assert_eq!(locks(&lab), "");
    assert_eq!(deploy(&lab, &bob, &["unlock", "-g", "boxes"]).out, "no cluster is locked\n");
    let ran = other(&lab, &bob, &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
}

fn resumed() {
    let lab = lab();
    clean(&lab);
    let dir = tempfile::tempdir().unwrap();
    let alice = dir.path().join("alice");
    killed_now(standing(&lab, &alice, "box2", "600"));
    let shown = deploy(&lab, &alice, &["runs", "last"]);
    assert!(shown.out.contains("box1  done") && shown.out.contains("box2  cut off"), "{}", shown.all());
    lab.ssh("box2", "pkill -x sleep");
    let ran = deploy(&lab, &alice, &["resume", "last", "-e", "nap=0", "-e", "who=again"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(lab.ssh("box2", "cat /tmp/runs-work"), "first\nagain");
    assert_eq!(lab.ssh("box3", "cat /tmp/runs-work"), "again");
    // What box1 would be asked for again is a command, of which nobody knows whether it is due.
    eprintln!("  box1: {}", lab.ssh("box1", "cat /tmp/runs-work").replace('\n', ", "));
}

fn status() {
    let lab = lab();
    clean(&lab);
    cluster::up(&lab, &[]);
    let dir = tempfile::tempdir().unwrap();
    let alice = dir.path().join("alice");
    let well = deploy(&lab, &alice, &["status"]);
    assert_eq!(well.code, 0, "{}", well.all());
    assert!(well.out.contains("the gate is open") && well.out.matches("Synced").count() == 3, "{}", well.all());
    let json = deploy(&lab, &alice, &["status", "-l", "galera1", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["clusters"][0]["gate"]["open"], true, "{json:#}");
    assert_eq!(json["clusters"][0]["members"].as_array().map(Vec::len), Some(3), "all members, whatever the limit");
    lab.ssh("galera2", "systemctl stop mariadb");
    let broken = deploy(&lab, &alice, &["status"]);
    assert_eq!(broken.code, 1, "{}", broken.all());
    assert!(broken.out.contains("CLOSED") && broken.out.contains("galera2"), "{}", broken.all());
    lab.ssh("galera2", "systemctl start mariadb");
    assert!(script("power").args(["galera3", "off"]).status().unwrap().success());
    let gone = deploy(&lab, &alice, &["status", "-T", "3"]);
    assert!(script("power").args(["galera3", "on"]).status().unwrap().success());
    assert!(gone.code == 1 && gone.out.contains("unreachable"), "{}", gone.all());
    until("it is well again", 120, || deploy(&lab, &alice, &["status", "--quick"]).code == 0);
}
