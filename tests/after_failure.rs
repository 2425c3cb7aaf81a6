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

/// Two roles that both have the handler `restart`: what it means is another after the second. That of the first listens, too.
fn two_roles(tasks: &str) -> Play {
    let play = Play::new(&format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    let handler = |role: &str| format!("- name: restart\n  debug: msg='of {role}'\n");
    for role in ["ra", "rb"] {
        play.file(&format!("roles/{role}/tasks/main.yml"), "- debug: msg=x\n");
        play.file(&format!("roles/{role}/handlers/main.yml"), &handler(role));
    }
    play.file("roles/ra/handlers/main.yml", &format!("{}  listen: topic\n", handler("ra")));
    play
}

/// With a journal.
fn kept(play: &Play, arguments: &[&str]) -> String {
    let mut command = play.command(arguments);
    let output = command.env("DEPLOY_RUNS_DIR", play.path().join("runs")).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn notify(name: &str) -> String {
    format!("    - debug: msg=x\n      changed_when: true\n      notify: {name}\n")
}

#[test]
fn a_handler_that_another_name_means_is_owed_though_its_own_means_another() {
    let include = |role: &str| format!("    - include_role: {{name: {role}}}\n");
    let fail = "    - fail: msg=x\n      when: fails is defined\n";
    let owed = ["ra", "rb"].map(|role| format!("the handler `{role} : restart` is owed"));
    let told = |text: &str| owed.each_ref().map(|owed| text.contains(owed.as_str()));
    let (restart, topic) = (notify("restart"), notify("topic"));
    // The last has no notification behind the second role: its name means that role's all the same.
    for (first, last, expected) in [
        (topic.as_str(), restart.as_str(), [true, true]),
        ("", restart.as_str(), [false, true]),
        ("", "", [false, true]),
    ] {
        let before = include("ra") + first + &restart;
        let play = two_roles(&(before + &include("rb") + last + fail));
        kept(&play, &["-e", "fails=1"]);
        let check = kept(&play, &["--check"]);
        assert_eq!(told(&check), expected, "{first}{last}: {check}");
    }
}

#[test]
fn a_handler_that_an_earlier_run_owes_is_run_though_others_run_in_place_of_it() {
    let include = |role: &str| format!("    - include_role: {{name: {role}}}\n");
    let fail = |when: &str| format!("    - fail: msg=x\n      when: fails == '{when}'\n");
    let restart = notify("restart");
    let play = two_roles(&(include("ra") + &restart + &fail("early") + &include("rb") + &restart + &fail("late")));
    kept(&play, &["-e", "fails=early"]);
    // What runs in its place is notified, and it fails again: the first still owes what it owes.
    kept(&play, &["-e", "fails=late"]);
    let paid = kept(&play, &["-e", "fails=never"]);
    assert!(paid.contains("the handler `ra : restart` is owed"), "{paid}");
    assert!(paid.contains("of ra") && paid.contains("of rb"), "{paid}");
    let after = kept(&play, &["-e", "fails=never"]);
    assert!(!after.contains("is owed") && !after.contains("of ra"), "{after}");
}

#[test]
fn a_play_that_stops_says_whose_failure_it_was() {
    let hosts = "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n";
    let once = "- block: [{fail: {msg: x}, run_once: true}]\n";
    let rescued = "      rescue: [{debug: {msg: rescued}}]\n";
    let alone = "    - fail: msg=x\n      when: inventory_hostname == 'one'\n";
    for (serial, tasks, reason) in [
        (2, format!("    {once}{rescued}{alone}"), "any_errors_fatal: a host failed"),
        (1, format!("    {once}"), "a task that one host runs for all failed"),
    ] {
        let head = format!("- hosts: all\n  gather_facts: false\n  any_errors_fatal: true\n  serial: {serial}\n");
        let text = format!("{head}  tasks:\n{tasks}");
        let play = Play::new(&text);
        play.file("hosts.yml", hosts);
        let ran = play.run(&[]);
        assert!(ran.all().contains(reason), "{reason}: {}", ran.all());
    }
}

#[test]
fn a_task_whose_handlers_cannot_be_named_is_not_run() {
    let text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {content: x, dest: '{{ here }}/made'}\n      notify: '{{ nobody }}'\n";
    let play = Play::new(text);
    let ran = play.run(&[]);
    assert_eq!((ran.code, made(&play)), (2, Vec::new()), "{}", ran.all());
    assert!(ran.all().contains("'nobody' is undefined"), "{}", ran.all());
}

#[test]
fn a_handler_that_nobody_has_fails_the_loop_whose_item_notifies_it() {
    let play = Play::new(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {command: echo, loop: [a, b], notify: 'of {{ item }}'}\n  \
         handlers: [{name: of a, debug: {msg: a}}]\n",
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("The requested handler 'of b' was not found"), "{}", ran.all());
}

#[test]
fn a_handler_that_nobody_has_is_not_ignored_and_ends_what_one_host_runs_for_all() {
    for task in [
        "run_once: true, notify: nobodys",
        "run_once: true, loop: [1, 2], notify: nobodys",
        "notify: nobodys",
        "loop: [nobodys], notify: '{{ item }}'",
    ] {
        let play = Play::new(&format!(
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - {{command: sleep 0.1, ignore_errors: true, {task}}}\n    \
             - {{copy: {{content: x, dest: '{{{{ here }}}}/made'}}}}\n"
        ));
        play.file("hosts.yml", "all: {hosts: {one: , two: , three: }, vars: {ansible_connection: local}}\n");
        let ran = play.run(&[]);
        assert_eq!((ran.code, made(&play)), (2, Vec::new()), "{task}: {}", ran.all());
        assert!(ran.out.contains("The requested handler 'nobodys' was not found"), "{}", ran.all());
    }
}

#[test]
fn what_a_host_owes_is_not_what_others_bring_once_it_has_left() {
    let play = two_roles(
        "    - include_role: {name: ra}\n    - {command: echo, notify: restart, when: fails is defined}\n    \
         - {fail: {msg: x}, when: fails is defined and inventory_hostname == 'one'}\n    \
         - {include_role: {name: rb}, when: inventory_hostname == 'two'}\n",
    );
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    kept(&play, &["-e", "fails=1"]);
    let paid = kept(&play, &["--limit", "one"]);
    assert!(paid.contains("[one] the handler `ra : restart` is owed") && paid.contains("of ra"), "{paid}");
    let after = kept(&play, &[]);
    assert!(!after.contains("is owed"), "{after}");
}

#[test]
fn a_debt_is_paid_though_a_slower_host_brings_the_handler() {
    let play = two_roles(
        "    - {wait_for: {timeout: 1}, when: inventory_hostname == 'two'}\n    \
         - {include_role: {name: ra}, when: inventory_hostname == 'two' or fails is defined}\n    \
         - {command: echo, notify: restart, when: fails is defined}\n    - {fail: {msg: x}, when: fails is defined}\n",
    );
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    kept(&play, &["-e", "fails=1"]);
    let paid = kept(&play, &[]);
    assert_eq!(paid.matches("\"of ra\"").count(), 2, "{paid}");
}

#[test]
fn what_was_to_be_registered_behind_a_failure_is_what_it_was_before() {
    // The first was sent, the second was left out while the first was still in flight.
    for behind in
        ["{command: echo second, register: r}", "{action: '{{ m }}', vars: {m: ping}, when: false, register: r}"]
    {
        let text = format!(
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - {{command: echo first, register: r}}\n    - block:\n        \
             - shell: sleep 0.3; false\n        - {behind}\n      rescue:\n        \
             - debug: msg=\"{{{{ r.stdout | default('nothing') }}}} of it\"\n"
        );
        let ran = Play::new(&text).run(&[]);
        assert_eq!(ran.code, 0, "{}", ran.all());
        assert!(ran.all().contains("first of it"), "{behind}: {}", ran.all());
    }
}
