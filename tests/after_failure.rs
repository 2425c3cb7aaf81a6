//! Hosts run ahead of their answers; nothing behind a failure is run all the same, however long it was being prepared.

#[path = "common/play.rs"]
mod play;

use play::Play;

/// Arguments that take their time, so that the failure comes while one of them is being evaluated.
fn slow_tasks(indent: &str) -> String {
    let task = |number: u32| {
        format!(
            "{indent}- copy: {{content: x, dest: \"{{{{ here }}}}/made{number}{{{{ lookup('pipe', 'sleep 0.02') }}}}\"}}\n"
        )
    };
    (0..12).map(task).collect()
}

fn made(play: &Play) -> Vec<String> {
    let names = std::fs::read_dir(play.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("made")).collect()
}

#[test]
fn what_was_being_prepared_when_a_task_failed_is_not_run() {
    let text = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - shell: sleep 0.07; false\n{}",
        slow_tasks("    ")
    );
    for _ in 0..3 {
        let play = Play::new(&text);
        let ran = play.run(&[]);
        assert_eq!((ran.code, made(&play)), (2, Vec::new()), "{}", ran.all());
        assert!(ran.recap().contains("ok=0") && ran.recap().contains("changed=0"), "{}", ran.all());
    }
}

#[test]
fn nor_behind_a_failure_in_a_block_whose_rescue_is_run() {
    let text = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - block:\n        - shell: sleep 0.07; false\n{}      rescue:\n        \
         - copy: {{content: y, dest: \"{{{{ here }}}}/rescued\"}}\n",
        slow_tasks("        ")
    );
    let play = Play::new(&text);
    let ran = play.run(&[]);
    assert_eq!((ran.code, made(&play)), (0, Vec::new()), "{}", ran.all());
    assert_eq!(play.read("rescued"), "y", "{}", ran.all());
}
