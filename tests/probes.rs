//! What a check runs, what it does not, and how it tells of what it could not know.

#[path = "common/play.rs"]
mod play;
use play::Play;

const CHAIN: &str = r#"
- hosts: here
  gather_facts: false
  tasks:
    - name: declared
      command: echo one
      register: declared
      changed_when: false
    - name: wanted
      shell: "echo two > {{ here }}/wanted; echo two"
      register: wanted
      check_mode: false
    - name: reads
      command: cat /etc/hostname
      register: reads
    - name: writes
      shell: "date > {{ here }}/written"
      register: writes
    - name: of the declared one
      copy: {content: "{{ declared.stdout }}", dest: "{{ here }}/declared"}
    - name: of the wanted one
      copy: {content: "{{ wanted.stdout }}", dest: "{{ here }}/of-wanted"}
    - name: of the one that reads
      copy: {content: "{{ reads.stdout }}", dest: "{{ here }}/of-reads"}
    - name: of the one that writes
      set_fact: {when_written: "{{ writes.start }}"}
    - name: of that again
      copy: {content: "{{ when_written }}", dest: "{{ here }}/last"}
      register: last
    - name: and again
      debug: {msg: "{{ last.checksum }}"}
"#;

fn unknown(play: &Play, more: &[&str]) -> (Vec<String>, serde_json::Value) {
    let ran = play.run(&[&["--check", "--format", "json"], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.all());
    let events: Vec<serde_json::Value> = ran.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |event: &serde_json::Value| {
        let hit = event["event"] == "task_done" && event["status"] == "unknown";
        hit.then(|| event["task"]["name"].as_str().unwrap_or_default().to_string())
    };
    let names = events.iter().filter_map(of).collect();
    (names, events.iter().rfind(|event| event["event"] == "unknowns").cloned().unwrap_or_default())
}

#[test]
fn the_switch_says_which_commands_a_check_runs() {
    let of_writes = ["writes", "of the one that writes", "of that again", "and again"];
    let of_reads = ["reads", "of the one that reads"];
    let of_declared = ["declared", "wanted", "of the declared one", "of the wanted one"];
    for (which, expected, wanted) in [
        ("all", of_writes.to_vec(), true),
        ("declared", [&of_reads[..], &of_writes].concat(), true),
        ("none", [&of_declared[..], &of_reads, &of_writes].concat(), false),
    ] {
        let play = Play::new(CHAIN);
        let (mut names, list) = unknown(&play, &["--probes", which]);
        let mut expected: Vec<String> = expected.iter().map(|name| name.to_string()).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected, "--probes {which}");
        assert_eq!(list["tasks"].as_array().unwrap().len(), expected.len(), "{list}");
        assert_eq!(play.path().join("wanted").exists(), wanted, "--probes {which}");
        assert!(!play.path().join("written").exists(), "--probes {which}");
    }
}

#[test]
fn a_command_that_reads_counts_as_it_does_when_it_is_run() {
    let text =
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - command: cat /etc/hostname\n    - shell: ls / | wc -l\n";
    let play = Play::new(text);
    let check = play.run(&["--check", "--probes", "all"]);
    let run = play.run(&[]);
    let counts = |ran: &play::Ran| ran.recap().split(':').nth(1).unwrap_or_default().to_string();
    assert!(counts(&check).contains("changed=2"), "{}", check.all());
    assert_eq!(counts(&check), counts(&run));
}

#[test]
fn what_is_not_known_is_told_with_its_chain_wherever_the_check_is_told() {
    let play = Play::new(CHAIN);
    let (_, list) = unknown(&play, &[]);
    let last = list["tasks"].as_array().unwrap().iter().find(|task| task["task"]["name"] == "and again").unwrap();
    let variables: Vec<&str> =
        last["chain"].as_array().unwrap().iter().map(|link| link["variable"].as_str().unwrap()).collect();
    assert_eq!(variables, ["writes.start", "when_written", "last.checksum"], "{last}");
    assert!(last["reason"].as_str().unwrap().ends_with("is not run in a check"), "{last}");
    assert_eq!(last["hosts"], serde_json::json!(["here"]));

    let way = "`writes` → `writes.start` → `of the one that writes` → `when_written` → `of that again` → `last.checksum` → `and again`";
    let ran = play.run(&["--check", "--report", "r.html", "--report", "r.md"]);
    assert!(ran.out.contains("NOT KNOWN BEFORE IT IS RUN") && ran.out.contains(way), "{}", ran.all());
    assert!(play.read("r.html").contains("→ when_written".trim_start_matches("→ ")), "{}", play.read("r.html"));
    assert!(play.read("r.html").contains(way), "the page has the chain");
    assert!(play.read("r.md").contains("Not known before it is run"), "{}", play.read("r.md"));
    // A run has nothing of the kind.
    let ran = play.run(&[]);
    assert!(ran.code == 0 && !ran.out.contains("NOT KNOWN"), "{}", ran.all());
}

#[test]
fn words_of_a_hidden_command_are_not_the_reason() {
    let text = "- hosts: here\n  gather_facts: false\n  tasks:\n    - name: hidden\n      command: frobnicate --pin 4711\n      no_log: \
                true\n      register: hidden\n    - debug: {msg: \"{{ hidden.stdout }}\"}\n";
    let play = Play::new(text);
    for more in [&["-vvv"][..], &["--format", "json"], &["--report", "r.html"]] {
        let ran = play.run(&[&["--check"], more].concat());
        assert!(ran.code == 0 && !ran.all().contains("4711") && !play.read("r.html").contains("4711"), "{}", ran.all());
        assert!(ran.out.contains("hidden (no_log)"), "{}", ran.all());
    }
}

/// A program that is not there.
const MISSING: &str = r#"
- hosts: here
  gather_facts: false
  tasks:
    - copy: {content: new, dest: "{{ here }}/new"}
      check_mode: "{{ looked_at | bool }}"
    - name: of the run
      command: no-such-program-here
      check_mode: false
"#;

#[test]
fn a_check_does_not_fail_at_a_program_that_it_would_install_and_a_run_does() {
    for (arguments, code) in [
        (&["--check", "-e", "looked_at=true"][..], 0),
        (&["-e", "looked_at=true"], 2),
        // Nothing was foreseen before it: the file is made in the check itself.
        (&["--check", "-e", "looked_at=false"], 2),
    ] {
        let ran = Play::new(MISSING).run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.all());
        assert_eq!(ran.all().contains("has no `no-such-program-here` yet"), code == 0, "{}", ran.all());
    }
}
