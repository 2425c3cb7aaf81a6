//! Mistakes as the user sees them: one clear error, with its line and a caret.

#[path = "common/play.rs"]
mod play;
use play::Play;

#[test]
fn what_fails_on_a_host_is_shown_with_its_line() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  vars: {outer: "{{ inner }}", inner: "{{ 1 + missing }}"}
  tasks:
    - name: an argument
      copy: {dest: /none, content: "hello {{ missing }}"}
      ignore_errors: true
    - name: a condition
      debug: {msg: hi}
      when: [true, missing.x == 3]
      ignore_errors: true
    - name: a loop
      debug: {msg: "{{ item }}"}
      loop: "{{ missing }}"
      ignore_errors: true
    - name: an item of a loop
      debug: {msg: "{{ item.x }}"}
      loop: [1]
      ignore_errors: true
    - name: no list
      debug:
      loop: "{{ 'a' }}"
      ignore_errors: true
    - name: the environment
      command: echo
      environment: {A: "{{ missing }}"}
      ignore_errors: true
    - name: "a name {{ missing }}, and a filter"
      debug: {msg: "{{ 'x' | from_json }}"}
      ignore_errors: true
    - name: a type
      debug: {msg: "{{ 3 + 'a' }}"}
      ignore_errors: true
    - name: a variable of a variable
      debug: {msg: "{{ outer }}"}
      ignore_errors: true
    - name: a block of text
      debug:
        msg: |
          one

            two {{ 'é' }}
          three {{ missing }}
      ignore_errors: true
    - name: folded text
      debug:
        msg: it's one
          and two {{ missing }}
      ignore_errors: true
    - name: quoted text
      debug: {msg: 'it''s {{ missing }}'}
      ignore_errors: true
    - name: a keyword
      debug:
      run_once: "{{ 'perhaps' }}"
      ignore_errors: true
    - name: hidden
      debug: {msg: "{{ missing }}"}
      no_log: true
      ignore_errors: true
    - name: a password beside it
      mysql_user: {name: "{{ missing }}", password: correct horse}
      ignore_errors: true
    - name: a template
      template: {src: undefined.j2, dest: /none}
      ignore_errors: true
    - name: a template in a template
      template: {src: includes.j2, dest: /none}
      ignore_errors: true
    - name: a file that is not there
      include_tasks: "{{ 'no' }}.yml"
"#,
    );
    play.file("templates/undefined.j2", "#jinja2: trim_blocks: True\none\ntwo {{ missing }}\n");
    play.file("templates/includes.j2", "{% include 'undefined.j2' %}\n");
    let ran = play.run(&[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_mistake_that_hosts_share_is_drawn_once_and_programs_are_told_its_place() {
    let play = Play::new("- hosts: all\n  gather_facts: false\n  tasks:\n    - debug: {msg: \"{{ missing }}\"}\n");
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    // Which of the two comes first, nobody knows.
    let shown = play.run(&[]).out.replace("[one]", "[host]").replace("[two]", "[host]");
    insta::assert_snapshot!(shown);
    let json = play.run(&["--format", "json"]).out;
    let done = json.lines().find(|line| line.contains("task_done")).unwrap();
    let done: serde_json::Value = serde_json::from_str(done).unwrap();
    let problem = &done["problem"];
    assert_eq!((&problem["file"], &problem["line"], &problem["column"]), (&"play.yml".into(), &4.into(), &24.into()));
    assert_eq!(problem["message"], "'missing' is undefined");
}

#[test]
fn a_template_file_with_a_syntax_error_is_shown_itself() {
    let task = "- hosts: here\n  tasks:\n    - name: the motd\n      template: {src: motd.j2, dest: /none}\n";
    let play = Play::new(task);
    play.file("templates/motd.j2", "#jinja2: trim_blocks: True\none\n{% if x %}\ntwo {{ a b }}\n");
    let ran = play.run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.all());
    insta::assert_snapshot!(ran.err);
}

#[test]
fn values_that_an_argument_does_not_take_are_errors_at_their_line() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  tasks:
    - file: {path: /tmp/x, state: dir}
    - file: path=/tmp/x state=absnt
    - copy: {content: a, dest: /b, backup: maybe, mode: 0644}
    - service: {name: x, state: start}
    - wait_for: {port: ssh, timeout: 60}
    - template: {src: [a], dest: /b}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "nothing runs: {}", ran.all());
    insta::assert_snapshot!(ran.err);
}

#[test]
fn values_that_are_known_on_the_host_only_fail_there_with_their_line() {
    let play = Play::new(
        r#"
- hosts: here
  gather_facts: false
  module_defaults: {file: {state: dir}}
  tasks:
    - file: {path: /none/x, state: "{{ 'dir' }}"}
      ignore_errors: true
    - file: {path: /none/x, state: dir}
      when: true
      ignore_errors: true
    - file: {path: /none/x}
      ignore_errors: true
    - file: {path: /none/x, state: absent}
"#,
    );
    let ran = play.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_tab_is_pointed_at() {
    for (text, place) in [
        ("- hosts: all\n  vars:\n    a: b\n\tc: d\n", "play.yml:4:1"),
        ("- hosts: all\n  tasks:\n  - debug: msg=x\n  \twhen: x\n", "play.yml:4:3"),
        ("- hosts: all\n  tasks:\n    - debug:\n\tmsg: x\n", "play.yml:4:1"),
        ("- hosts: all\n  vars:\n    a:\tb\n    c: d\n", "play.yml:3:7"),
    ] {
        let ran = Play::new(text).run(&[]);
        assert!(ran.err.contains(place) && ran.err.contains("no tabs"), "{text:?}: {}", ran.all());
    }
}

#[test]
fn a_role_that_is_nowhere_was_looked_for_once_in_each_folder() {
    let ran = Play::new("- hosts: here\n  roles: [nope]\n").run(&[]);
    let mut searched: Vec<&str> = ran.err.lines().filter(|line| line.contains("searched: ")).collect();
    let all = searched.len();
    searched.dedup();
    assert!(all >= 2 && searched.len() == all && !ran.err.contains("./"), "{}", ran.all());
}

#[test]
fn tags_that_no_task_has_are_named() {
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - ping:\n      tags: [web, 'db,cache']\n    - include_tasks: more.yml\n      tags: more\n",
    );
    play.file("more.yml", "- ping:\n  tags: deep\n");
    let ran = play.run(&["-t", "nosuch"]);
    let said = "[WARNING]: --tags: no task has the tag `nosuch`; there are cache, db, more, web\n";
    assert_eq!((ran.code, ran.out.matches(said).count()), (0, 1), "{}", ran.all());
    // What an include will bring is not known; an include that is not selected brings nothing.
    for (tags, warned) in [("db", false), ("more,deep", false), ("deep", true), ("all", false), ("never", false)] {
        let ran = play.run(&["-t", tags]);
        assert_eq!(ran.out.contains("--tags"), warned, "{tags}: {}", ran.all());
    }
}

#[test]
fn a_vault_value_that_cannot_be_opened_is_shown_where_it_stands() {
    let redactor = deploy::redact::Redactor::default();
    let mut vault = deploy::vars::vault::Vault::new(redactor);
    vault.add_password("default", deploy::secret::Secret::new("right".to_string()));
    let sealed = vault.encrypt(b"hidden value", None).unwrap();
    let lines: String = sealed.lines().map(|line| format!("      {line}\n")).collect();
    let text = "- hosts: here\n  gather_facts: false\n  vars:\n    sealed: !vault |\nLINES  tasks:\n    - debug: {msg: \"it is {{ sealed }}\"}\n      ignore_errors: true\n    - debug: {msg: \"{{ other }}\"}\n      vars: {other: \"{{ sealed }}\"}\n      ignore_errors: true\n";
    let play = Play::new(&text.replace("LINES", &lines));
    play.file("wrong", "wrong password\n");
    let none = play.run(&[]);
    assert_eq!(none.out.matches("no vault password was given").count(), 2, "{}", none.all());
    assert_eq!(none.out.matches(" --> play.yml:4:13").count(), 2, "{}", none.all());
    let wrong = play.run(&["--vault-password-file", "wrong"]);
    assert_eq!(wrong.out.matches("none of the 1 vault passwords opens it").count(), 2, "{}", wrong.all());
    assert_eq!(wrong.out.matches(" --> play.yml:4:13").count(), 2, "{}", wrong.all());
    play.file("sealed.yml", &sealed);
    play.file("play.yml", "- hosts: here\n  vars_files:\n    - sealed.yml\n  tasks: []\n");
    let file = play.run(&[]);
    assert!(file.out.contains("sealed.yml") && file.out.contains(" --> play.yml:3:7"), "{}", file.all());
}

#[test]
fn what_is_owed_to_hosts_outside_the_run_is_not_told_each_time() {
    let play = Play::new(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - file: {path: \"{{ here }}/{{ inventory_hostname }}\", state: touch}\n      notify: later\n    - fail:\n      when: fails is defined\n  handlers:\n    - name: later\n      ping:\n",
    );
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    let run = |arguments: &[&str]| {
        let mut command = play.command(arguments);
        let output = command.env("DEPLOY_RUNS_DIR", play.path().join("runs")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["--limit", "one", "-e", "fails=1"]);
    let owed = "[one] the handler `later` is owed";
    let check = run(&["--check"]);
    assert!(check.contains(owed), "{check}");
    let other = run(&["--limit", "two"]);
    assert!(!other.contains("owed"), "{other}");
    let loud = run(&["--limit", "two", "-v"]);
    assert!(!loud.contains(owed) && loud.matches("owed to hosts outside this run, too: one").count() == 1, "{loud}");
    let paid = run(&[]);
    assert!(paid.contains(owed), "{paid}");
}

#[test]
fn a_password_on_a_wrong_line_is_not_shown() {
    // Found when it is read, when it is templated on the host, and where a line is far longer than a terminal.
    let far = "x".repeat(300);
    for (task, mistake) in [
        ("mysql_user: {name: x, password: hunter2-word, append_privs: nope}", "nope"),
        ("mysql_user: name=x password=hunter2-word append_privs=nope", "nope"),
        ("mysql_user: {name: \"{{ nobody }}\", password: hunter2-word, state: present}", "nobody"),
    ] {
        let task = format!("{task} # {far}");
        let play = Play::new(&format!("- hosts: here\n  gather_facts: false\n  tasks:\n    - {task}\n"));
        let ran = play.run(&[]);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(ran.code != 0 && said.contains(mistake), "{said}");
        assert!(!said.contains("hunter2") && said.contains("********"), "{said}");
    }
    // What is wrong with a value of a task that hides its values is hidden, too.
    let play = Play::new(
        "- hosts: here\n  gather_facts: false\n  vars: {word: no-such-profile}\n  tasks:\n    - name: hides\n      \
         pki_certificate: {ca: cluster, profile: '{{ word }}', path: /none}\n      no_log: true\n",
    );
    let ran = play.run(&["-e", "pki_store=/none/such"]);
    assert!(ran.all().contains("hidden by its `no_log`") && !ran.all().contains("no-such-profile"), "{}", ran.all());
}

#[test]
fn what_is_wrong_with_a_rolling_play_is_said_at_its_line_before_any_connection() {
    let hosts: String = (1..=5).map(|n| format!("    node{n}: {{ansible_host: 192.0.2.{n}}}\n")).collect();
    let mut shown = String::new();
    for keys in [
        "    order: [node2, nod3]",
        "    order: \"{{ 'nowhere' if false else missing( }}\"",
        "    window: 2020-02-01 22:00-23:00 UTC",
        "    window: Sut 22:00-23:00",
        "    max_unavailable: 3\n    gate: galera",
        "    max_unavailable: 2\n    gate: galera\n    group: heavy",
        "    max_unavailable: none",
        "    gate: galeria",
    ] {
        let play = Play::new(&format!(
            "- hosts: nodes\n  gather_facts: false\n  tasks: [ping: ]\n\
             - hosts: nodes\n  gather_facts: false\n  rolling:\n{keys}\n  tasks:\n    - command: /bin/true\n"
        ));
        let heavy = match keys.contains("heavy") {
            true => {
                "heavy: {hosts: {node1: {galera_provider_options: {pc.weight: 3}}, node2: , node3: , node4: , node5: }}\n"
            }
            false => "",
        };
        play.file("hosts.yml", &format!("nodes:\n  hosts:\n{hosts}{heavy}"));
        let ran = play.run(&[]);
        assert_eq!(ran.code, 4, "{keys}: {}", ran.all());
        shown += &(ran.out + &ran.err);
    }
    insta::assert_snapshot!(shown);
}
