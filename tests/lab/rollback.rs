//! `deploy rollback`: what a run changed on real hosts is put back, and what somebody else changed since is respected.

use super::lab::{Lab, Ran, lab, script};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("rollback: everything a run changed is put back, and a second time nothing", everything),
    ("rollback: what somebody changed since stops it on all hosts", changed_since),
];

/// The one that depends on the moment of a kill, for `make test-faults`.
pub const FAULTS: &[(&str, fn())] = &[("rollback: a killed agent leaves a log that can be used", killed_agent)];

/// What a rollback must bring back, as the host itself shows it.
const LOOK: &str = "cd /srv/rb && find . -printf '%p %y %m %u:%g %l\\n' | sort; \
    find . -type f | sort | xargs -r sha256sum; \
    ls /etc/systemd/system/rb-*.service /etc/sysctl.d/*rb* /etc/nftables.d/*.nft 2>/dev/null; \
    for u in cron rb-old rb-new; do systemctl is-enabled $u 2>&1; systemctl is-active $u; done; \
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/log_martians; \
    crontab -l 2>&1; nft -s list table inet deploy_rb 2>&1; hostname; cat /etc/hostname";

const SETUP: &str = "{ command -v crontab && command -v nft; } >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -qy cron nftables >/dev/null 2>&1; \
    systemctl start cron; rm -rf /srv/rb /etc/sysctl.d/90-rb.conf; mkdir -p /srv/rb/dir /srv/rb/empty; cd /srv/rb; \
    echo old >conf; chmod 640 conf; chown games:mail conf; echo gone >removed; chmod 4711 removed; \
    chmod 2750 empty; ln -s conf link; head -c 300000 /dev/urandom >big; \
    printf '[Service]\\nExecStart=/bin/sleep 1d\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/rb-old.service; \
    systemctl daemon-reload; systemctl enable --now -q rb-old; sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.log_martians=0; \
    crontab -r 2>/dev/null; nft delete table inet deploy_rb 2>/dev/null; true";

const CHANGES: &str = r#"
- hosts: box1,box2
  gather_facts: false
  become: true
  tasks:
    - copy: {content: "new\n", dest: /srv/rb/conf, mode: "0600", owner: root}
    - lineinfile: {path: /srv/rb/conf, line: "and more"}
    - file: {path: /srv/rb/removed, state: absent}
    - file: {path: /srv/rb/empty, state: absent}
    - file: {path: /srv/rb/made/deep, state: directory, mode: "0700"}
    - copy: {content: "x", dest: /srv/rb/made/deep/file}
    - file: {path: /srv/rb/link, src: /etc/hosts, state: link}
    - file: {path: /srv/rb/dir, mode: "1777", group: games}
    - copy: {content: "small", dest: /srv/rb/big, backup: true}
    - copy:
        content: "[Service]\nExecStart=/bin/sleep 2d\n[Install]\nWantedBy=multi-user.target\n"
        dest: /etc/systemd/system/rb-new.service
    - systemd: {name: rb-new, daemon_reload: true, enabled: true, state: started}
    - systemd: {name: rb-old, enabled: false, state: stopped}
    - service: {name: cron, state: restarted}
    - sysctl: {name: net.ipv4.ip_forward, value: "1", sysctl_file: /etc/sysctl.d/90-rb.conf, state: present, reload: false, sysctl_set: true}
    - cron: {name: rb, job: /bin/true, minute: "5"}
    - firewall:
        name: rb
        rules: [{name: test, ports: [9999], sources: [127.0.0.1]}]
    - command: /bin/true
"#;

/// Where these scenarios keep their journals.
fn runs(lab: &Lab) -> PathBuf {
    lab.file("rollback-runs/.keep", "").with_file_name("")
}

fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.args(arguments).arg("-i").arg(&lab.inventory).env("DEPLOY_RUNS_DIR", runs(lab)).env("NO_COLOR", "1");
    command.env_remove("DEPLOY_INVENTORY").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn deploy(lab: &Lab, arguments: &[&str]) -> Ran {
    Ran::of(command(lab, arguments).output().unwrap())
}

fn change(lab: &Lab) -> Ran {
    let path = lab.file("changes.yml", CHANGES);
    deploy(lab, &[path.to_str().unwrap()])
}

/// The run's name, as the controller's journal has it.
fn last_run(lab: &Lab) -> String {
    let runs = runs(lab);
    let mut names: Vec<String> = std::fs::read_dir(&runs)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join("meta.json").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.pop().unwrap_or_else(|| panic!("no run in {}", runs.display()))
}

fn everything() {
    let lab = lab();
    for host in ["box1", "box2"] {
        lab.ssh(host, SETUP);
    }
    let before = lab.ssh("box1", LOOK);
    let ran = change(&lab);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let changed = lab.ssh("box1", LOOK);
    assert_ne!(changed, before);
    let run = last_run(&lab);
    let stat = lab.ssh(
        "box1",
        &format!("stat -c '%a %u' /var/lib/deploy/runs /var/lib/deploy/runs/{run} /var/lib/deploy/runs/{run}/changes"),
    );
    assert_eq!(stat, "700 0\n700 0\n600 0");
    // A look first: it says what would be done, and does nothing.
    let check = deploy(&lab, &["rollback", &run, "--check", "--diff"]);
    assert_eq!(check.code, 0, "{}", check.all());
    assert!(check.out.contains("-and more"), "{}", check.out);
    assert_eq!(lab.ssh("box1", LOOK), changed);
    let pid = lab.ssh("box1", "systemctl show -p MainPID --value cron");
    let back = deploy(&lab, &["rollback", &run]);
    assert_eq!(back.code, 0, "{}", back.all());
    assert!(back.all().contains("/bin/true"), "the command is named as not undone: {}", back.all());
    assert_eq!(lab.ssh("box1", LOOK), before);
    assert_eq!(lab.ssh("box2", "cat /srv/rb/conf; systemctl is-active rb-old"), "old\nactive");
    assert_ne!(lab.ssh("box1", "systemctl show -p MainPID --value cron"), pid, "restarted on what was put back");
    let check_changes = check.count("box1", "changed");
    assert_eq!((check_changes, back.count("box1", "changed")), (1, 1));
    let again = deploy(&lab, &["rollback", &run]);
    assert_eq!(
        (again.code, again.count("box1", "changed"), again.count("box2", "changed")),
        (0, 0, 0),
        "{}",
        again.all()
    );
    // The rollback was a run too.
    let undone = last_run(&lab);
    assert_ne!(undone, run);
}

fn changed_since() {
    let lab = lab();
    for host in ["box1", "box2"] {
        lab.ssh(host, SETUP);
    }
    let ran = change(&lab);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let run = last_run(&lab);
    lab.ssh("box2", "echo somebody >>/srv/rb/made/deep/file; chmod 666 /srv/rb/conf");
    let (one, two) = (lab.ssh("box1", LOOK), lab.ssh("box2", LOOK));
    let refused = deploy(&lab, &["rollback", &run]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.out.contains("/srv/rb/made/deep/file: its contents changed"), "{}", refused.out);
    assert!(refused.out.contains("/srv/rb/conf: its mode changed"), "{}", refused.out);
    assert_eq!((lab.ssh("box1", LOOK), lab.ssh("box2", LOOK)), (one, two), "nothing is touched anywhere");
    // One host alone, and by force.
    let back = deploy(&lab, &["rollback", &run, "--host", "box1"]);
    assert_eq!(back.code, 0, "{}", back.all());
    assert_eq!(lab.ssh("box1", "cat /srv/rb/conf"), "old");
    assert_ne!(lab.ssh("box2", "cat /srv/rb/conf"), "old");
    let forced = deploy(&lab, &["rollback", &run, "--force"]);
    assert_eq!(forced.code, 0, "{}", forced.all());
    assert_eq!(
        lab.ssh("box2", "cat /srv/rb/conf; stat -c '%a %U:%G' /srv/rb/conf; ls /srv/rb/made 2>&1"),
        "old\n640 games:mail\nls: cannot access '/srv/rb/made': No such file or directory"
    );
}

/// The agent is killed at many moments; what it had changed by then is put back.
fn killed_agent() {
    let lab = lab();
    for (killed, milliseconds) in [0, 5, 15, 40, 80, 150].into_iter().enumerate() {
        lab.ssh("box1", "rm -rf /srv/rb; mkdir /srv/rb; cd /srv/rb; for i in $(seq 1 60); do echo $i >f$i; done");
        let before = lab.ssh("box1", LOOK);
        let tasks: String = (1..=60)
            .map(|i| format!("    - copy: {{content: \"new {i}\\n\", dest: /srv/rb/f{i}, mode: \"0600\"}}\n    - file: {{path: /srv/rb/d{i}, state: directory}}\n"))
            .collect();
        let text = format!("- hosts: box1\n  gather_facts: false\n  become: true\n  tasks:\n{tasks}");
        let path = lab.file("killed-agent.yml", &text);
        // As soon as the first file is changed, and a bit later.
        let wait = format!(
            "until grep -qs new /srv/rb/f1; do sleep 0.005; done; sleep 0.{milliseconds:03}; \
             kill -9 $(pgrep -f '^/var/lib/deploy-agent/agent')"
        );
        let killer = script("ssh").args(["box1", &wait]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let child = command(&lab, &[path.to_str().unwrap()]).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        killer.wait_with_output().unwrap();
        // On a quick machine the run comes to its end before the later moments.
        if output.status.code() == Some(0) && killed > 0 {
            break;
        }
        assert_ne!(output.status.code(), Some(0), "the run came to its end before it was killed");
        std::thread::sleep(Duration::from_millis(200));
        let changed = lab.ssh("box1", LOOK);
        assert_ne!(changed, before);
        let mut back = deploy(&lab, &["rollback", "last", "--host", "box1"]);
        // Killed between the making of a directory and its mode, it is neither what it was nor what was meant, as if
        // somebody had changed it since; a look, and the word that says so.
        if back.code == 2 && back.all().contains(": its mode changed; look at it") {
            back = deploy(&lab, &["rollback", "last", "--host", "box1", "--force"]);
        }
        assert_eq!(back.code, 0, "after {milliseconds} ms: {}", back.all());
        assert_eq!(lab.ssh("box1", &format!("rm -f /srv/rb/.deploy-*; {LOOK}")), before, "after {milliseconds} ms");
    }
}
