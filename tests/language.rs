//! Plays on this machine, without ssh: what the language means, seen through the program.

#[path = "common/play.rs"]
mod play;
use play::Play;
use std::process::Command;

#[test]
fn all_items_of_a_loop_are_run_and_nothing_behind_a_failed_loop() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - copy: {content: "{{ item }}", dest: "{{ here }}/{{ item }}"}
      loop: [a, no/such/folder, c]
      register: made
      ignore_errors: true
    - assert:
        that:
          - made.results | map(attribute='failed') | list == [false, true, false]
          - made.results | map(attribute='item') | list == ['a', 'no/such/folder', 'c']
          - made is failed
    - lineinfile: {path: "{{ here }}/order", line: "{{ i }}{{ ansible_loop.last }}", create: true}
      loop: "{{ range(300) | list }}"
      loop_control: {loop_var: i, extended: true, extended_allitems: false}
    - file: {path: "{{ here }}/{{ item }}", state: touch}
      loop: [d, no/such/folder/e, f]
      register: touched
    - file: {path: "{{ here }}/behind", state: touch}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert_eq!((play.read("a"), play.read("c")), ("a".into(), "c".into()));
    let expected: String = (0..300).map(|i| format!("{i}{}\n", if i == 299 { "True" } else { "False" })).collect();
    assert_eq!(play.read("order"), expected);
    assert!(play.path().join("f").exists(), "an item behind a failed one is run\n{}", ran.all());
    assert!(!play.path().join("behind").exists(), "a task behind a failed loop is not\n{}", ran.all());
    let lines: Vec<&str> = ran.out.lines().filter(|l| l.contains("(item=d)") || l.contains("(item=f)")).collect();
    assert_eq!(lines.len(), 2, "{}", ran.all());
    assert!(ran.recap().contains("failed=1"), "{}", ran.all());
}

#[test]
fn an_item_sees_what_the_one_before_it_brought() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - command: echo {{ (before.stdout | default('0') | int) + item }}
      loop: [1, 2, 3]
      register: before
      changed_when: false
    - assert: {that: "before.results | map(attribute='stdout') | list == ['1', '3', '6']"}
    - command: echo {{ item }}
      loop: [1, 2, 3]
      loop_control: {break_when: "last.stdout == '2'"}
      register: last
      changed_when: false
    - assert: {that: "last.results | length == 2"}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
}

#[test]
fn a_check_judges_each_item_of_a_list_that_is_partly_known() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - command: "true"
      register: unknown
    - copy: {content: x, dest: "{{ here }}/{{ item }}"}
      loop: [known, "{{ unknown.stdout }}"]
      register: made
    - debug: msg={{ made.results[0].dest }}
    - debug: msg={{ made.results[1].dest }}
"#,
    );
    let ran = play.run(&["--check"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.out.contains("changed: [here] => (item=known)"), "{}", ran.all());
    assert!(ran.recap().contains("ok=2"), "{}", ran.all());
    assert!(ran.recap().contains("unknown=2"), "{}", ran.all());
}

#[test]
fn a_check_does_not_guess_which_handlers_are_notified() {
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - {command: echo told, register: r}\n    \
         - {command: echo, loop: '{{ r.stdout_lines }}', notify: '{{ item }}'}\n    \
         - {copy: {content: x, dest: '{{ here }}/x'}, notify: '{{ r.stdout }}'}\n    \
         - {copy: {content: '{{ nobody }}', dest: '{{ here }}/y'}, when: r.stdout == 'x'}\n    \
         - {command: echo, notify: nobodys, when: r.stdout == 'x'}\n  \
         handlers: [{name: told, debug: {msg: a}}]\n",
    );
    let ran = play.run(&["--check"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.recap().contains("changed=1") && ran.recap().contains("unknown=5"), "{}", ran.all());
    assert!(ran.out.contains("copy (play.yml:6:7) on here\n  `command` → `r.stdout` → `copy`"), "{}", ran.all());
    assert!(ran.out.contains("which handlers it notifies depends on `r.stdout`"), "{}", ran.all());
}

#[test]
fn a_task_that_may_be_skipped_stops_nothing_in_a_check() {
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - {command: echo x, register: r}\n    \
         - {copy: {remote_src: true, src: /nonexistent, dest: '{{ here }}/x'}, when: r.stdout == 'y'}\n    \
         - {copy: {content: x, dest: '{{ here }}/y'}}\n    - {stat: {path: '{{ here }}/y'}, register: there}\n    \
         - {debug: {msg: 'it is there: {{ there.stat.exists }}'}}\n",
    );
    let ran = play.run(&["--check"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.recap().contains("ok=3") && ran.recap().contains("unknown=2"), "{}", ran.all());
    assert!(ran.out.contains("it is there: True"), "{}", ran.all());
}

#[test]
fn who_is_become_is_who_the_user_is_by_now() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: this test makes users, which needs root");
        return;
    }
    let who = "become: true, become_user: deploytestnow, args: {chdir: /}";
    let play = Play::new(&format!(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    \
         - block:\n        - {{command: id -un, {who}, ignore_errors: true, register: nobody}}\n        \
         - {{user: {{name: deploytestnow, create_home: false}}}}\n        - {{group: {{name: deploytestnow2}}}}\n        \
         - {{command: id -Gn, {who}}}\n        - {{command: usermod -aG deploytestnow2 deploytestnow}}\n        \
         - {{command: id -Gn, {who}, register: told}}\n        - {{command: usermod -u 54321 deploytestnow}}\n        \
         - {{command: id -u, {who}, register: number}}\n        \
         - {{debug: {{msg: '{{{{ nobody is failed }}}} {{{{ told.stdout }}}} {{{{ number.stdout }}}}'}}}}\n        \
         - {{user: {{name: deploytestnow, state: absent}}}}\n      always:\n        \
         - {{shell: userdel -f deploytestnow; groupdel deploytestnow2, failed_when: false}}\n"
    ));
    let ran = play.run(&[]);
    assert!(ran.out.contains("True deploytestnow deploytestnow2 54321"), "{}", ran.all());
    assert_eq!(ran.code, 0, "{}", ran.all());
}

#[test]
fn a_task_that_takes_too_long_fails_and_its_processes_are_gone() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - shell: sleep 300 & echo $! > {{ here }}/pid; wait
      timeout: 1
      register: slow
      ignore_errors: true
    - assert:
        that:
          - slow is failed
          - slow.msg == 'Timed out after 1 second(s).'
          - slow.timedout.period == 1
    - wait_for: {path: "{{ here }}/never", timeout: 60}
      timeout: 1
      register: waited
      ignore_errors: true
    - assert: {that: [waited is failed, waited.timedout.period == 1]}
    - pause: {seconds: 60}
      timeout: 1
      register: paused
      ignore_errors: true
    - assert: {that: [paused is failed]}
    - command: "true"
      timeout: 10
"#,
    );
    let began = std::time::Instant::now();
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(began.elapsed().as_secs() < 30, "{}", ran.all());
    let pid = play.read("pid");
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z "), "{status}");
    assert!(ran.recap().contains("ignored=3"), "{}", ran.all());
}

#[test]
fn a_wrong_setting_is_a_failure_and_no_lost_host() {
    let play = Play::new("- hosts: here\n  gather_facts: false\n  tasks: [{command: 'true'}]\n");
    let ran = play.run(&["-e", "ansible_connection=carrier_pigeon"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.recap().contains("unreachable=0") && ran.recap().contains("failed=1"), "{}", ran.all());
}

#[test]
fn a_role_is_checked_against_the_entry_point_it_is_entered_by() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - import_role: {name: small, tasks_from: other}
      vars: {number: 3}
    - include_role: {name: small, tasks_from: other.yml}
      vars: {number: 4}
    - include_role: {name: small, tasks_from: other}
      vars: {number: word}
"#,
    );
    play.file("roles/small/tasks/main.yml", "- debug: msg=main\n");
    play.file("roles/small/tasks/other.yml", "- debug: msg=other{{ number }}\n");
    play.file(
        "roles/small/meta/argument_specs.yml",
        "argument_specs:\n  main: {options: {never_given: {required: true}}}\n  other: {short_description: Another, options: {number: {type: int, required: true}}}\n",
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("arg spec 'other' - Another"), "{}", ran.all());
    assert!(
        ran.out.contains("other3") && ran.out.contains("other4") && !ran.out.contains("otherword"),
        "{}",
        ran.all()
    );
    assert!(
        ran.all().contains("argument 'number' is of type str and we were unable to convert to int"),
        "{}",
        ran.all()
    );
}

#[test]
fn numbers_and_nothing_are_printed_as_python_does() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  vars: {nothing: null, half: 1.0}
  tasks:
    - name: name {{ half }} and {{ [true, none, 1.0] }}
      debug: msg=x
      loop: [true, 1.0]
    - name: delays
      debug: msg=x
      delay: "{{ half }}"
      no_log: "{{ nothing }}"
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.out.contains("name 1.0 and [True, None, 1.0]"), "{}", ran.all());
    assert!(ran.out.contains("item=True") && ran.out.contains("item=1.0"), "{}", ran.all());
}

#[test]
fn a_task_that_is_left_running_is_asked_for_later() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  environment: {ANSIBLE_ASYNC_DIR: "{{ here }}/jobs"}
  tasks:
    - name: started
      shell: sleep 2; echo done-in-{{ here }}; touch {{ here }}/made
      async: 60
      poll: 0
      register: job
    - assert: {that: [job is changed, job.started == 1, job.finished == 0, job.ansible_job_id is match('j')]}
    - assert: {that: "'made' not in lookup('fileglob', here ~ '/*')"}
    - async_status: {jid: "{{ job.ansible_job_id }}"}
      register: now
    - assert: {that: [now is not finished, now.finished == 0]}
    - name: waited for
      async_status: {jid: "{{ job.ansible_job_id }}"}
      register: then
      until: then is finished
      retries: 30
      delay: 1
    - assert: {that: [then.stdout == 'done-in-' ~ here, then.rc == 0, then is changed]}
    - async_status: {jid: "{{ job.ansible_job_id }}", mode: cleanup}
    - async_status: {jid: "{{ job.ansible_job_id }}"}
      register: none_there
      failed_when: none_there is not failed
    - command: sleep 300
      async: 1
      poll: 0
      register: slow
    - async_status: {jid: "{{ slow.ansible_job_id }}"}
      register: ended
      until: ended is finished
      retries: 20
      delay: 1
      ignore_errors: true
    - assert: {that: ["'maximum time limit of 1 seconds' in ended.msg", ended is failed]}
    - command: "false"
      async: 60
      poll: 0
      register: bad
    - async_status: {jid: "{{ bad.ansible_job_id }}"}
      register: ended
      until: ended is finished
      retries: 20
      delay: 1
      ignore_errors: true
    - assert: {that: [ended is failed, ended.rc == 1]}
    - command: sleep 300
      async: 1
      poll: 1
      ignore_errors: true
      register: waited
    - assert: {that: [waited is failed]}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    std::fs::remove_file(play.path().join("made")).unwrap();
    let check = play.run(&["--check"]);
    assert_eq!(check.code, 0, "{}", check.all());
    assert!(check.recap().contains("failed=0"), "{}", check.all());
}

#[test]
fn an_inventory_is_read_again_and_what_plays_added_stays() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - add_host: {name: added, groups: late, colour: blue}
    - assert: {that: "groups.late == ['added']"}
    - copy:
        content: "all: {hosts: {here: {ansible_connection: local, size: 2}, fresh: {ansible_connection: local}}}\n"
        dest: "{{ here }}/hosts.yml"
    - meta: refresh_inventory
    - assert: {that: [size == 2, "hostvars['added'].colour == 'blue'", "'fresh' in groups['all']"]}
- hosts: all:!added
  gather_facts: false
  tasks: [{debug: "msg=on-{{ inventory_hostname }}"}]
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.out.contains("on-fresh") && ran.out.contains("on-here"), "{}", ran.all());
}

#[test]
fn keywords_without_a_meaning_here_are_told_once() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  collections: [community.general]
  debugger: on_failed
  tasks:
    - debug: msg=x
      debugger: always
    - debug: msg={{ ansible_loop.allitems is defined }}
      loop: [1, 2]
      loop_control: {extended: true, extended_allitems: false}
      debugger: never
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(ran.err.matches("`debugger` has no effect").count(), 1, "{}", ran.all());
    assert_eq!(ran.err.matches("`collections` has no effect").count(), 1, "{}", ran.all());
    assert!(ran.out.contains("\"msg\": false") && !ran.out.contains("\"msg\": true"), "{}", ran.all());
}

#[test]
fn what_is_done_on_the_controller_is_not_done_behind_a_failure_either() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - block:
        - {name: the cause, command: /bin/false}
        - set_fact: {reached: true}
        - debug: msg=never
        - {name: another, set_fact: {x: "{{ nope.y }}"}}
      rescue:
        - debug: msg="{{ ansible_failed_task.name }}, reached {{ reached | default('not') }}"
    - {name: left out, command: /bin/true, when: false, register: left_out}
    - command: touch {{ here }}/after
      when: left_out is skipped
    - command: /bin/false
    - copy: {content: "{{ nope }}", dest: "{{ here }}/never"}
    - include_tasks: nowhere.yml
    - {name: skipped, command: /bin/true, when: false}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.out.contains("the cause, reached not"), "{}", ran.all());
    assert!(!ran.out.contains("never") && !ran.out.contains("nowhere"), "{}", ran.all());
    for count in ["ok=2 ", "failed=1 ", "skipped=1 ", "rescued=1 "] {
        assert!(ran.recap().contains(count), "{count}: {}", ran.all());
    }
    assert!(play.path().join("after").exists());
}

#[test]
fn a_failed_task_is_told_as_it_was_given_and_not_under_no_log() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - block:
        - {command: "/bin/false {{ lookup('pipe', 'echo once >> ' ~ here ~ '/looked; echo given') }}"}
      rescue:
        - debug: msg="{{ ansible_failed_task.args._raw_params }} as {{ ansible_failed_task.connection }}"
    - block:
        - command: /bin/false hidden
          no_log: true
          environment: {HIDDEN: hidden}
          vars: {hidden: hidden}
          module_defaults: {command: {chdir: hidden}}
          args: {chdir: /}
      rescue:
        - debug: msg="{{ ansible_failed_task.action }} {{ ansible_failed_task.args is defined }}"
        - debug: var=ansible_failed_task
    - block:
        - {command: "/bin/false {{ item }}", loop: [hidden], no_log: true}
      rescue:
        - debug: var=ansible_failed_task
    - block:
        - {command: "/bin/false {{ item }}", loop: [1]}
      rescue:
        - debug: var=ansible_failed_task.args._raw_params
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.out.contains("/bin/false given as "), "{}", ran.all());
    assert_eq!(std::fs::read_to_string(play.path().join("looked")).unwrap(), "once\n");
    assert!(ran.out.contains("command False"), "{}", ran.all());
    assert!(!ran.out.to_lowercase().contains("/bin/false hidden"), "{}", ran.all());
    assert!(!ran.out.contains("\"HIDDEN\"") && !ran.out.contains("\"hidden\""), "{}", ran.all());
    assert!(ran.out.contains("/bin/false {{ item }}"), "{}", ran.all());
}

#[test]
fn a_run_that_is_terminated_ends_in_order() {
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - shell: touch {{ here }}/began; sleep 2; touch {{ here }}/ended\n    \
         - shell: touch {{ here }}/after\n",
    );
    for signal in ["TERM", "HUP"] {
        for name in ["began", "ended"] {
            let _ = std::fs::remove_file(play.path().join(name));
        }
        let child = play.command(&[]).spawn().unwrap();
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !play.path().join("began").exists() {
            assert!(std::time::Instant::now() < limit, "the first task never began");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(99), "{signal}: {said}");
        assert!(play.path().join("ended").exists() && !play.path().join("after").exists(), "{signal}: {said}");
        assert!(said.contains("interrupted"), "{said}");
    }
}

#[test]
fn a_task_to_start_at_that_there_is_not_is_an_error() {
    let play = Play::new("- hosts: here\n  gather_facts: false\n  tasks:\n    - {name: one, command: /bin/true}\n");
    let ran = play.run(&["--start-at-task", "two"]);
    assert_eq!(ran.code, 4, "{}", ran.all());
    assert!(ran.all().contains("no task is called `two`"), "{}", ran.all());
    assert_eq!(play.run(&["--start-at-task", "one"]).code, 0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let play = Play::new("");
    let hosts: String = (0..3000).map(|index| format!("    host{index}: {{}}\n")).collect();
    play.file("hosts.yml", &format!("all:\n  hosts:\n{hosts}"));
    let line =
        format!("{} inventory -i hosts.yml --list | head -n 1; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_deploy"));
    let output = Command::new("bash").args(["-c", &line]).current_dir(play.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(0) && said.is_empty(), "{:?} {said}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "{");
}

#[test]
fn the_first_contact_leaves_the_umask_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {content: x, dest: \"{{ here }}/{{ which }}\"}\n",
    );
    let modes = ["first", "second"].map(|which| {
        assert_eq!(play.run(&["-e", &format!("which={which}")]).code, 0);
        std::fs::metadata(play.path().join(which)).unwrap().permissions().mode() & 0o777
    });
    let control = play.path().join("control");
    std::fs::write(&control, "").unwrap();
    let usual = std::fs::metadata(control).unwrap().permissions().mode() & 0o777;
    assert_eq!(modes, [usual; 2], "the agent is brought before the first, and found before the second");
}

#[test]
fn a_playbook_without_an_inventory_knows_this_machine() {
    let play = Play::new(
        r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - command: echo {{ inventory_hostname }}
      changed_when: false
      register: said
    - assert: {that: "said.stdout == 'localhost' and groups.all == []"}
- hosts: all
  gather_facts: false
  tasks: [{fail: {msg: localhost is not among all}}]
"#,
    );
    let run = |inventory: &[&str]| {
        let agent = format!("deploy_agent_dir={}", play.path().join("agent").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.args(inventory).args(["play.yml", "-e", &agent]).current_dir(play.path());
        command.env("DEPLOY_RUNS_DIR", "off").env_remove("DEPLOY_INVENTORY").env_remove("ANSIBLE_INVENTORY");
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, out, err) = run(&[]);
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert!(err.contains("only localhost is available"), "{err}");
    assert!(out.contains("no hosts matched"), "{out}");
    // One that is named must be there.
    let (code, _, err) = run(&["-i", "inventory/"]);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("cannot read the inventory inventory/"), "{err}");
}
