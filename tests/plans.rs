//! Plans as a user makes, shows and applies them; "here" is a folder of the test.

#[path = "common/play.rs"]
mod play;
use play::{Play, Ran};
use std::process::Command;

const PLAYBOOK: &str = r#"
- hosts: here
  gather_facts: false
  tasks:
    - name: a file
      copy: {content: "port {{ port | default(1) }}\n", dest: "{{ here }}/conf", mode: "0600"}
      notify: told
    - name: a line
      lineinfile: {path: "{{ here }}/list", line: one, create: true}
    - name: a secret
      copy: {content: "{{ db_password | default('correct horse battery') }}", dest: "{{ here }}/secret"}
      no_log: true
  handlers:
    - name: told
      copy: {content: yes, dest: "{{ here }}/told"}
"#;

fn new(text: &str) -> Play {
    Play::new(text)
}

/// A subcommand on the plan of this folder.
fn on_plan(play: &Play, words: &[&str]) -> Ran {
    let (name, more) = words.split_first().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.args([*name, "change.plan"]).args(more).current_dir(play.path()).env("NO_COLOR", "1");
    command.env("DEPLOY_RUNS_DIR", "off").env("DEPLOY_PLAN_KEY", play.path().join("key/plan.key"));
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn check(play: &Play, more: &[&str]) -> Ran {
    let mut command = play.command(&[&["--check", "--diff", "--out", "change.plan"], more].concat());
    let output = command.env("DEPLOY_PLAN_KEY", play.path().join("key/plan.key")).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn planned(text: &str) -> Play {
    let play = new(text);
    let ran = check(&play, &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    play
}

fn refused(play: &Play, words: &[&str], why: &str) {
    let before = listing(play);
    let ran = on_plan(play, words);
    assert_eq!(ran.code, 12, "{}", ran.all());
    assert!(ran.err.contains(why) && ran.err.contains("nothing was done"), "{}", ran.all());
    assert_eq!(listing(play), before, "nothing was done");
}

fn listing(play: &Play) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(play.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_shown_is_done_and_once_only() {
    let play = planned(PLAYBOOK);
    assert!(!play.path().join("conf").exists());
    let shown = on_plan(&play, &["show"]);
    let first = check(&play, &[]);
    assert_eq!((shown.code, &shown.out), (0, &first.out), "it is shown as the check was");
    assert!(shown.out.contains("+port 1"), "{}", shown.out);
    let applied = on_plan(&play, &["apply"]);
    assert_eq!(applied.code, 0, "{}", applied.all());
    assert_eq!(
        (play.read("conf"), play.read("list"), play.read("told")),
        ("port 1\n".into(), "one\n".into(), "True".into())
    );
    // What was planned was a change from nothing.
    refused(&play, &["apply"], "the plan does not hold for here");
}

#[test]
fn a_host_that_has_moved_is_refused_and_it_is_said_how() {
    let play = planned(PLAYBOOK);
    play.file("list", "one\n");
    refused(&play, &["apply"], "a line (play.yml:8:7): the plan says changed, now it is ok");
    std::fs::remove_file(play.path().join("list")).unwrap();
    play.file("conf", "port 2\n");
    refused(&play, &["apply"], "changed, but in another way than the plan says");
    let ran = on_plan(&play, &["apply"]);
    assert!(ran.err.contains("-port 2"), "{}", ran.all());
}

#[test]
fn the_others_are_gone_on_with_by_choice() {
    let text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: a file\n      copy: {content: new, dest: \
                \"{{ here }}/{{ inventory_hostname }}\"}\n";
    let play = new(text);
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    assert_eq!(check(&play, &[]).code, 0);
    play.file("two", "theirs");
    refused(&play, &["apply"], "or go on without them: --moved skip");
    let ran = on_plan(&play, &["apply", "--moved", "skip"]);
    assert_eq!(ran.code, 12, "{}", ran.all());
    assert_eq!((play.read("one"), play.read("two")), ("new".into(), "theirs".into()), "{}", ran.all());
    assert!(ran.err.contains("nothing was done on two"), "{}", ran.all());
}

#[test]
fn other_files_other_variables_and_tampering_are_refused() {
    let play = planned(PLAYBOOK);
    let plan = play.read("change.plan");
    play.file("change.plan", &plan.replacen("port 1", "port 9", 1));
    refused(&play, &["apply"], "its seal does not fit");
    assert_eq!(on_plan(&play, &["show"]).code, 12);
    play.file("change.plan", "{}\n{}\n");
    refused(&play, &["apply"], "is no plan");
    play.file("change.plan", &plan);
    let playbook = play.read("play.yml");
    play.file("play.yml", &playbook.replace("one", "two"));
    refused(&play, &["apply"], "play.yml has changed");
    play.file("play.yml", &playbook);
    play.file("group_vars/all.yml", "port: 2\n");
    refused(&play, &["apply"], "all.yml is new");
    std::fs::remove_file(play.path().join("group_vars/all.yml")).unwrap();
    std::fs::remove_dir_all(play.path().join("key")).unwrap();
    refused(&play, &["apply"], "plan.key");
}

#[test]
fn secrets_of_the_command_line_are_given_again_and_are_in_no_plan() {
    let play = new(PLAYBOOK);
    // A path is no secret, whatever its variable is called.
    let ran = check(&play, &["-e", "db_password_file=/run/secrets/db"]);
    assert!(ran.code == 0 && play.read("change.plan").contains("/run/secrets/db"), "{}", ran.all());
    let ran = check(&play, &["-e", "db_password=hunter2-tr0ub4dor"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let plan = play.read("change.plan");
    assert!(!plan.contains("hunter2") && !ran.all().contains("hunter2"), "{plan}");
    refused(&play, &["apply"], "give them again with -e");
    refused(&play, &["apply", "-e", "db_password=another"], "other extra variables");
    let ran = on_plan(&play, &["apply", "-e", "db_password=hunter2-tr0ub4dor"]);
    assert_eq!((ran.code, play.read("secret")), (0, "hunter2-tr0ub4dor".into()), "{}", ran.all());
}

#[test]
fn what_a_check_cannot_tell_has_to_be_allowed_by_name() {
    let text = "- hosts: here\n  gather_facts: false\n  tasks:\n    - name: a probe\n      command: date\n      register: now\n\
                \x20   - name: its answer\n      copy: {content: \"{{ now.stdout }}\", dest: \"{{ here }}/date\"}\n    - name: \
                a file\n      copy: {content: x, dest: \"{{ here }}/x\"}\n";
    let play = planned(text);
    refused(&play, &["apply"], "--allow-unknown 'its answer'");
    refused(&play, &["apply", "--allow-unknown", "a file"], "no unknown task of this name");
    let ran = on_plan(&play, &["apply", "--allow-unknown", "a probe", "--allow-unknown", "its answer"]);
    assert_eq!((ran.code, play.read("x")), (0, "x".into()), "{}", ran.all());
    assert!(!play.read("date").is_empty());
}

#[test]
fn a_run_that_does_something_else_is_stopped() {
    let text = "- hosts: here\n  gather_facts: false\n  tasks:\n    - name: sly\n      copy: {content: x, dest: \"{{ here }}/sly\"}\n      \
                when: not ansible_check_mode\n    - name: later\n      pause: {seconds: 1}\n    - name: last\n      copy: \
                {content: x, dest: \"{{ here }}/last\"}\n";
    let play = planned(text);
    let ran = on_plan(&play, &["apply"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.err.contains("[here] sly (play.yml:4:7) changed something"), "{}", ran.all());
    assert!(!play.path().join("last").exists(), "{}", ran.all());
}

#[test]
fn a_signature_can_be_asked_for() {
    let play = new(PLAYBOOK);
    let key = play.path().join("alice");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    play.file("signers", &format!("alice {}", play.read("alice.pub")));
    assert_eq!(check(&play, &[]).code, 0);
    refused(&play, &["apply", "--allowed-signers", "signers"], "there is no signature");
    assert_eq!(check(&play, &["--sign", "alice"]).code, 0);
    let ran = on_plan(&play, &["apply", "--allowed-signers", "signers"]);
    assert!(ran.code == 0 && ran.err.contains("signed by alice"), "{}", ran.all());
}

#[test]
fn a_check_that_fails_leaves_no_plan() {
    let play = new("- hosts: here\n  gather_facts: false\n  tasks:\n    - fail:\n");
    let ran = check(&play, &[]);
    assert!(ran.code == 2 && ran.err.contains("no plan was written"), "{}", ran.all());
    assert!(!play.path().join("change.plan").exists());
    let ran = play.run(&["--out", "x"]);
    assert!(ran.code == 5 && ran.err.contains("--check"), "{}", ran.all());
}

#[test]
fn what_only_the_running_play_reads_is_held_too() {
    let play = new(
        "- hosts: here\n  gather_facts: false\n  vars_files: [more.yml]\n  tasks:\n    - include_vars: {file: \
                    other.yml}\n    - include_tasks: later.yml\n    - copy: {src: tree/, dest: \"{{ here }}/copied\"}\n",
    );
    let files = [
        ("more.yml", "a: 1\n"),
        ("other.yml", "b: 2\n"),
        (
            "later.yml",
            "- template: {src: t.j2, dest: \"{{ here }}/out\"}\n- debug: {msg: \"{{ lookup('file', 'note') }}\"}\n",
        ),
        ("templates/t.j2", "{{ a }}{% include 'part.j2' %}\n"),
        ("templates/part.j2", "{{ b }}\n"),
        ("files/note", "read\n"),
        ("files/tree/.hidden/x", "x"),
    ];
    files.iter().for_each(|(name, text)| play.file(name, text));
    let ran = check(&play, &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    for (name, text) in files {
        // What comes of it is the same.
        let other = if name.ends_with('x') { "y".into() } else { format!("{text}{{# #}}").replace("{# #}", "# x\n") };
        play.file(name, &other);
        let file = name.rsplit('/').next().unwrap();
        refused(&play, &["apply"], &format!("{file} has changed"));
        play.file(name, text);
    }
    play.file("files/tree/new", "");
    refused(&play, &["apply"], "tree/new is new");
    std::fs::remove_file(play.path().join("files/tree/new")).unwrap();
    let ran = on_plan(&play, &["apply"]);
    assert_eq!((ran.code, play.read("out")), (0, "12\n".into()), "{}", ran.all());
}

#[test]
fn what_no_log_hides_is_held_by_its_digest() {
    let play = planned(PLAYBOOK);
    play.file("secret", "another's");
    refused(&play, &["apply"], "a secret (play.yml:10:7): changed, but in another way than the plan says");
    let ran = on_plan(&play, &["apply"]);
    assert!(!ran.all().contains("battery") && !play.read("change.plan").contains("battery"), "{}", ran.all());
    let play = planned(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - name: sly\n      copy: {content: \"{{ ansible_check_mode }}\", \
         dest: \"{{ here }}/sly\"}\n      no_log: true\n",
    );
    let ran = on_plan(&play, &["apply"]);
    assert!(ran.code == 2 && ran.err.contains("changed something else than the plan says"), "{}", ran.all());
}

#[test]
fn what_is_delegated_is_held_against_the_host_it_is_done_on() {
    let play = new(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: a file\n      copy: {content: new, dest: \"{{ here \
                    }}/{{ inventory_hostname }}\"}\n    - name: for one\n      copy: {content: new, dest: \"{{ here }}/shared\"}\n      \
                    delegate_to: two\n      when: inventory_hostname == 'one'\n",
    );
    play.file("hosts.yml", "all: {hosts: {one: , two: , three: }, vars: {ansible_connection: local}}\n");
    assert_eq!(check(&play, &[]).code, 0);
    play.file("shared", "theirs");
    refused(&play, &["apply"], "the plan does not hold for one, two: make it anew");
    std::fs::remove_file(play.path().join("shared")).unwrap();
    play.file("two", "theirs");
    let ran = on_plan(&play, &["apply", "--moved", "skip"]);
    assert_eq!(ran.code, 12, "{}", ran.all());
    assert!(ran.err.contains("one would change something on a host that is not as the plan saw it"), "{}", ran.all());
    assert_eq!((play.read("three"), play.read("two")), ("new".into(), "theirs".into()), "{}", ran.all());
    assert!(!play.path().join("one").exists() && !play.path().join("shared").exists(), "{}", ran.all());
}

#[test]
fn a_resumed_run_is_held_against_its_plan() {
    let play = planned(
        "- hosts: here\n  gather_facts: false\n  vars: {flag: \"{{ lookup('fileglob', here ~ '/flag') | length > 0 }}\"}\n  tasks:\n    - \
         name: first\n      copy: {content: x, dest: \"{{ here }}/first\"}\n    - name: once\n      fail:\n      when: not \
         ansible_check_mode and not (flag | bool)\n    - name: second\n      copy: {content: x, dest: \"{{ here }}/second\"}\n    - \
         name: sly\n      copy: {content: x, dest: \"{{ here }}/sly\"}\n      when: not ansible_check_mode\n    - name: later\n      \
         pause: {seconds: 1}\n    - name: last\n      copy: {content: x, dest: \"{{ here }}/last\"}\n",
    );
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command
            .args(words)
            .current_dir(play.path())
            .env("NO_COLOR", "1")
            .env("DEPLOY_RUNS_DIR", play.path().join("runs"));
        let output = command.env("DEPLOY_PLAN_KEY", play.path().join("key/plan.key")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run(&["apply", "change.plan"]);
    assert!(code == 2 && !play.path().join("second").exists(), "{said}");
    play.file("flag", "");
    // The plan's own file is of no matter any more: the journal has it.
    std::fs::remove_file(play.path().join("change.plan")).unwrap();
    let (code, said) = run(&["resume", "last"]);
    assert!(code == 2 && said.contains("[here] sly (play.yml:12:7) changed something"), "{said}");
    assert!(play.path().join("second").exists() && !play.path().join("last").exists(), "{said}");
    // And so is a run that resumes that one.
    std::fs::remove_file(play.path().join("sly")).unwrap();
    let (code, said) = run(&["resume", "last"]);
    assert!(code == 2 && said.contains("changed something, and the plan says that it does not"), "{said}");
}

#[test]
fn drift_is_a_list_and_a_code_of_its_own() {
    let play = planned(PLAYBOOK);
    let drift = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.args(["drift", "-i", "hosts.yml", "play.yml", "-e"]).arg(format!("here={}", play.path().display()));
        command.args(more).current_dir(play.path()).env("NO_COLOR", "1").env("DEPLOY_RUNS_DIR", "off");
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = drift(&[]);
    assert!(code == 10 && text.contains("here: a file (play.yml:5:7)"), "{text}");
    assert!(text.ends_with("0 of 1 hosts are as the playbooks say\n"), "{text}");
    let (code, text) = drift(&["--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, document["drift"].as_array().unwrap().len()), (10, 4), "{text}");
    assert!(!text.contains("battery"), "{text}");
    let (code, text) = drift(&["--diff", "--report", "drift.html", "--report", "drift.md"]);
    assert!(code == 10 && text.contains("+port 1"), "{text}");
    let (page, ticket) = (play.read("drift.html"), play.read("drift.md"));
    assert!(page.contains("nothing was changed on any host") && page.contains("a file"), "{page}");
    assert!(ticket.contains("# Check of") && ticket.contains("+port 1") && !ticket.contains("battery"), "{ticket}");
    assert_eq!(drift(&["--report", "drift.pdf"]).0, 1);
    assert_eq!(drift(&["--report", "no/such/folder/drift.md"]).0, 1);
    assert_eq!(drift(&["--check", "--out", "x.plan"]).0, 5, "a drift is no plan, and says so");
    assert_eq!(play.run(&[]).code, 0);
    let (code, text) = drift(&[]);
    assert_eq!((code, text.as_str()), (0, "1 of 1 hosts are as the playbooks say\n"));
}

#[test]
fn a_script_that_is_certainly_run_is_planned_and_applied() {
    let play = new("- hosts: here\n  gather_facts: false\n  tasks:\n    \
         - {script: 'files/s.sh {{ here }}/made', args: {creates: '{{ here }}/made'}}\n");
    play.file("files/s.sh", "#!/bin/sh\ntouch $1\n");
    let ran = check(&play, &[]);
    assert!(ran.recap().contains("changed=1"), "{}", ran.all());
    let ran = on_plan(&play, &["apply"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(play.path().join("made").exists());
}
