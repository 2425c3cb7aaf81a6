//! Reports as they are written: the page, the test report and the ticket of one run with something awkward in it.

#[path = "common/play.rs"]
mod play;
use play::Play;
use std::os::unix::fs::PermissionsExt;

const PLAYBOOK: &str = r#"
- name: "first <b>play</b>"
  hosts: all
  gather_facts: false
  tasks:
    - name: "a file & more"
      copy: {content: "<script>alert('x')</script>\nsecret={{ db_password }}\n", dest: "{{ here }}/{{ inventory_hostname }}"}
    - name: not known
      command: date
      register: now
      when: ansible_check_mode
    - name: fails
      fail: {msg: "]]> ``` it's \"wrong\" {{ db_password }}"}
      ignore_errors: "{{ ignore | default(false) | bool }}"
"#;

/// A password that is escaped differently in each form.
const SECRET: &str = "hunter2&<\"'`";

fn run(more: &[&str]) -> (Play, i32) {
    let play = Play::new(PLAYBOOK);
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    let secret = serde_json::json!({"db_password": SECRET}).to_string();
    let reports = ["--report", "r.html", "--report", "r.xml", "--report", "r.md", "--diff", "-e", &secret];
    let ran = play.run(&[&reports[..], more].concat());
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    (play, ran.code)
}

#[test]
fn they_are_written_whole_and_hold_no_secret() {
    let (play, code) = run(&[]);
    assert_eq!(code, 2);
    for name in ["r.html", "r.xml", "r.md"] {
        let text = play.read(name);
        assert!(text.contains("a file &amp; more") || text.contains("a file & more"), "{name}: {text}");
        assert!(!text.contains("hunter2"), "{name}: {text}");
        let mode = std::fs::metadata(play.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let page = play.read("r.html");
    assert!(!page.contains("<script>alert") && !page.contains("<b>play"), "what comes from hosts is no markup");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)") && page.contains("class=\"i\">+&lt;script"), "{page}");
    // Equal diffs of both hosts stand there once for each file; equal failures once for both.
    assert_eq!(page.matches("<span class=\"hosts\">one two</span>").count(), 3, "skipped, failed, to look at: {page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "it needs no network");
    let xml = play.read("r.xml");
    assert_eq!(xml.matches("<testcase ").count(), 6, "{xml}");
    assert_eq!(xml.matches("<failure ").count(), 2, "{xml}");
    let parsed = std::process::Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])"])
        .arg(play.path().join("r.xml"))
        .output()
        .unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    let ticket = play.read("r.md");
    assert!(ticket.contains("### fails: failed on one, two") && ticket.contains("````\n"), "{ticket}");
}

#[test]
fn what_is_not_known_is_listed_with_its_reason() {
    let (play, code) = run(&["--check", "-e", "ignore=true"]);
    assert_eq!(code, 0);
    let page = play.read("r.html");
    assert!(page.contains("Not known before it is run") && page.contains("nothing was changed on any host"), "{page}");
    assert!(play.read("r.md").contains("### not known: unknown on one, two"));
    assert!(!play.read("r.xml").contains("<failure"), "ignored failures are none");
}

#[test]
fn a_form_that_is_not_known_is_an_error_before_anything_is_done() {
    let play =
        Play::new("- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {content: x, dest: \"{{ here }}/x\"}\n");
    let ran = play.run(&["--report", "r.pdf"]);
    assert!(ran.code == 1 && ran.err.contains("r.pdf: a report ends in .html"), "{}", ran.all());
    assert!(!play.path().join("x").exists());
}
