//! What a failed turn's rollback undoes: that turn, in this run and in those that it resumes, and no turn of another play.

#[path = "common/play.rs"]
mod play;

use play::Play;
use std::time::{Duration, Instant};

/// Two plays in turns, both with one turn; what `bad` names fails, and the second play waits as long as there is a `wait`.
const PLAYS: &str = r#"
- hosts: all
  gather_facts: false
  rolling: {on_failure: rollback}
  tasks:
    - copy: {content: "first play\n", dest: "{{ here }}/one"}

- hosts: all
  gather_facts: false
  rolling: {on_failure: rollback}
  tasks:
    - copy: {content: "second play\n", dest: "{{ here }}/two"}
    - wait_for: {path: "{{ here }}/wait", state: absent, timeout: 60, sleep: 1}
    - copy: {content: "late\n", dest: "{{ here }}/late"}
    - fail: {msg: "no"}
"#;

fn play() -> Play {
    let play = Play::new(PLAYS);
    for name in ["one", "two", "late"] {
        play.file(name, "before\n");
    }
    play
}

fn files(play: &Play) -> [String; 3] {
    ["one", "two", "late"].map(|name| play.read(name))
}

#[test]
fn a_turn_of_another_play_stays() {
    let play = play();
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert_eq!(ran.out.matches("TURN 1 of 1").count(), 2, "users count in each play: {}", ran.all());
    assert!(ran.out.contains("ROLLBACK of turn 1"), "{}", ran.all());
    assert_eq!(files(&play), ["first play\n", "before\n", "before\n"], "{}", ran.all());
}

#[test]
fn a_turn_that_was_cut_off_is_undone_with_the_one_that_takes_it_up_again() {
    let play = play();
    play.file("wait", "");
    let journal = play.path().join("journal");
    let mut killed = play.command(&[]).env("DEPLOY_RUNS_DIR", &journal).spawn().unwrap();
    let since = Instant::now();
    while play.read("two") != "second play\n" {
        assert!(since.elapsed() < Duration::from_secs(60), "the second play does not begin");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500)); // the copy is over
    killed.kill().unwrap();
    killed.wait().unwrap();
    std::fs::remove_file(play.path().join("wait")).unwrap();
    let resumed = std::process::Command::new(env!("CARGO_BIN_EXE_deploy"))
        .args(["resume", "last"])
        .env("DEPLOY_RUNS_DIR", &journal)
        .env("NO_COLOR", "1")
        .current_dir(play.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&resumed.stdout).into_owned() + &String::from_utf8_lossy(&resumed.stderr);
    assert_eq!(resumed.status.code(), Some(2), "{said}");
    assert!(said.contains("ROLLBACK of turn 1"), "{said}");
    assert_eq!(files(&play), ["first play\n", "before\n", "before\n"], "{said}");
}
