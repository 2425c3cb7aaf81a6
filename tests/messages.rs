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
    insta::assert_snapshot!(play.run(&[]).out);
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
