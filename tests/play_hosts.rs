//! Who takes part in a play, as its templates see it: batches, and hosts that failed on the way.

#[path = "common/play.rs"]
mod play;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const PLAY: &str = r#"
- hosts: all
  gather_facts: false
  serial: 2
  tasks:
    - debug: msg="first {{ ansible_play_batch | join('+') }} of {{ ansible_play_hosts | join('+') }}"
    - fail: msg=gone
      when: inventory_hostname == 'two'
    - debug: msg="then {{ ansible_play_batch | join('+') }} of {{ ansible_play_hosts | join('+') }}"
    - debug: msg="all {{ ansible_play_hosts_all | join('+') }}, {{ play_hosts == ansible_play_batch }}"
"#;

#[test]
fn a_play_knows_who_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let hosts = ["one", "two", "three", "four"].map(|name| format!("    {name}: {{}}\n")).concat();
    std::fs::write(path.join("hosts.yml"), format!("all:\n  vars: {{ansible_connection: local}}\n  hosts:\n{hosts}"))
        .unwrap();
    std::fs::write(path.join("play.yml"), PLAY).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_deploy"))
        .args(["-i", "hosts.yml", "./play.yml"])
        .env("HOME", path)
        .current_dir(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let count = |text: &str| said.matches(text).count();
    // The first batch, of which one fails; then the second, which sees that.
    assert_eq!(count("first one+two of one+two+three+four"), 2, "{said}");
    assert_eq!(count("then one of one+three+four"), 1, "{said}");
    assert_eq!(count("first three+four of one+three+four"), 2, "{said}");
    assert_eq!(count("then three+four of one+three+four"), 2, "{said}");
    assert_eq!(count("all one+two+three+four, True"), 3, "{said}");
}

#[test]
fn facts_of_a_host_that_is_slower_are_awaited() {
    let play = play::Play::new(
        "- hosts: all\n  fact_path: '{{ here }}/{{ facts }}'\n  tasks:\n    - debug: msg=\"{{ hostvars.slow.ansible_facts.os_family | default('nothing') }} of it\"\n",
    );
    let hosts = "all: {vars: {ansible_connection: local, facts: none}, hosts: {fast: {}, slow: {facts: slow.d}}}\n";
    play.file("hosts.yml", hosts);
    play.file("slow.d/one.fact", "#!/bin/sh\nsleep 1\necho '{}'\n");
    let program = play.path().join("slow.d/one.fact");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(!ran.all().contains("nothing of it"), "{}", ran.all());
    assert_eq!(ran.all().matches(" of it").count(), 2, "{}", ran.all());
}
