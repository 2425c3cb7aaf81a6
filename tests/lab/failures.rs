//! What goes wrong, and what it leaves behind.

use super::lab::{BOXES, lab};
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("one bad host does not hold up the others", one_bad_host),
    ("a killed controller leaves no torn file", killed),
    ("many tasks on one connection", many_tasks),
    ("a cut connection is an unreachable host", cut),
];

fn one_bad_host() {
    let lab = lab();
    for host in BOXES {
        lab.ssh(host, "rm -f /srv/reached");
    }
    let play = "- hosts: box*\n  gather_facts: false\n  become: true\n  tasks:\n    - copy: {content: \"{{ word }}\", dest: /srv/reached}\n";
    let vars = |host: &str, text: &str| {
        lab.file(&format!("host_vars/{host}.yml"), text);
    };
    for host in BOXES {
        vars(host, "word: hello\n");
    }
    // Undefined on one host.
    vars("box2", "other: x\n");
    let ran = lab.play(play, &[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("'word' is undefined"), "{}", ran.out);
    assert_eq!(lab.ssh("box1", "cat /srv/reached"), "hello");
    assert_eq!(lab.ssh("box2", "ls /srv/reached 2>/dev/null"), "");
    // A wrong become password: asked once, and the host is left unchanged.
    vars("box2", "word: hello\nansible_become_password: \"wrong pa'ss\"\nansible_become_flags: '-k'\n");
    lab.ssh("box2", "echo 'deploy ALL=(ALL) ALL' >/etc/sudoers.d/zz-asks");
    let ran = lab.play(play, &[]);
    lab.ssh("box2", "rm /etc/sudoers.d/zz-asks");
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(!ran.all().contains("wrong pa'ss"), "{}", ran.all());
    assert_eq!(lab.ssh("box2", "ls /srv/reached 2>/dev/null"), "");
    assert_eq!(ran.count("box3", "failed"), 0);
    // Unreachable, and a host key that is not the known one.
    vars("box2", "word: hello\nansible_port: 2\n");
    let ran = lab.play(play, &[]);
    assert_eq!((ran.code, ran.count("box2", "unreachable")), (4, 1), "{}", ran.all());
    vars("box2", "word: hello\n");
    lab.ssh("box2", "mv /etc/ssh/ssh_host_ed25519_key /root/k; mv /etc/ssh/ssh_host_ed25519_key.pub /root/k.pub; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh");
    let ran = lab.play(play, &[]);
    lab.ssh("box2", "mv /root/k /etc/ssh/ssh_host_ed25519_key; mv /root/k.pub /etc/ssh/ssh_host_ed25519_key.pub; systemctl restart ssh");
    assert_eq!((ran.code, ran.count("box2", "unreachable")), (4, 1), "{}", ran.all());
    assert!(ran.out.contains("SHA256:"), "both fingerprints are named: {}", ran.out);
    assert_eq!(lab.ssh("box2", "ls /srv/reached 2>/dev/null"), "");
    for host in BOXES {
        vars(host, "word: hello\n");
    }
    let ran = lab.play(play, &[]);
    assert_eq!((ran.code, lab.ssh("box2", "cat /srv/reached")), (0, "hello".into()), "{}", ran.all());
}

/// Kills `deploy` at many moments; whatever stands in a file is whole, and the next run finishes.
fn killed() {
    let lab = lab();
    lab.ssh("box1", "rm -rf /srv/kill");
    let mut tasks = String::new();
    for index in 0..40 {
        let content = format!("{index}:").repeat(2000);
        tasks += &format!("    - copy: {{content: \"{content}\", dest: /srv/kill/{index}}}\n");
    }
    let text = format!(
        "- hosts: box1\n  gather_facts: false\n  become: true\n  tasks:\n    - file: path=/srv/kill state=directory\n{tasks}"
    );
    let path = lab.file("kill.yml", &text);
    for milliseconds in [60, 120, 200, 260, 320, 400, 500] {
        let mut child = lab.command(&[path.to_str().unwrap()]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let torn = lab.ssh("box1", "cd /srv/kill 2>/dev/null && for f in $(ls -A); do case $f in .*|*[!0-9]*) echo \"left over: $f\";; *) test $(stat -c %s $f) -eq $(( (${#f} + 1) * 2000 )) || echo torn: $f;; esac; done");
        let torn: Vec<&str> = torn.lines().filter(|line| line.starts_with("torn")).collect();
        assert!(torn.is_empty(), "after {milliseconds} ms: {torn:?}");
    }
    let ran = lab.deploy(&[path.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(lab.ssh("box1", "ls /srv/kill | wc -l"), "40");
}

fn many_tasks() {
    let lab = lab();
    let tasks: String = (0..60).map(|i| format!("    - command: echo {i}\n      changed_when: false\n")).collect();
    let ran = lab.play(&format!("- hosts: box*\n  gather_facts: false\n  tasks:\n{tasks}"), &[]);
    assert_eq!((ran.code, ran.count("box3", "ok")), (0, 60), "{}", ran.all());
}

fn cut() {
    let lab = lab();
    let path = lab.file("cut.yml", "- hosts: box1,box2\n  gather_facts: false\n  tasks:\n    - name: long\n      command: sleep 4\n      changed_when: false\n    - command: echo after\n      changed_when: false\n");
    let child = lab.command(&[path.to_str().unwrap()]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    lab.ssh("box1", "pkill -KILL -f 'sshd.*deploy' || pkill -KILL sshd-session");
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{out}");
    assert!(out.contains("unreachable: [box1]") && out.contains("long"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("box2") && line.contains("ok=2")), "{out}");
}
