//! A mistake of every rule is found, and what is no mistake is not.

use super::{ALL, Finding, Reader, json, lint, sarif};
use crate::source::{Severity, no_vault};
use crate::template::{Templar, TemplarOptions};
use std::path::{Path, PathBuf};

fn look(paths: &[PathBuf]) -> Vec<Finding> {
    let template = |text: &str, _: &crate::playbook::Variables| Err(format!("`{text}` is not known"));
    let reader = Reader { vault: &no_vault, roles_path: Vec::new(), template: &template };
    lint(paths, &reader, &Templar::new(TemplarOptions::default())).unwrap().finish(|_| true).0
}

/// A tree of these files, each `=== path` and its text, and what is found in it.
fn found(text: &str) -> Vec<Finding> {
    let dir = tempfile::tempdir().unwrap();
    for part in text.split("=== ").skip(1) {
        let (name, text) = part.split_once('\n').unwrap();
        let path = dir.path().join(name.trim());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    look(&[dir.path().to_owned()])
}

/// A play of these tasks.
fn tasks(text: &str) -> String {
    let text = text.trim_end().replace('\n', "\n    ");
    format!("=== site.yml\n- hosts: all\n  tasks:\n    {}\n", text.trim_start())
}

fn told(found: &[Finding]) -> Vec<String> {
    found.iter().map(|finding| format!("{} {}", finding.rule.id, finding.diag.one_line())).collect()
}

/// One mistake for each rule.
fn mistakes() -> Vec<(&'static str, String)> {
    let play = |text: &str| format!("=== site.yml\n- hosts: all\n{text}");
    vec![
        ("yaml-syntax", "=== site.yml\n- hosts: [all\n".into()),
        ("duplicate-key", tasks("- command: x\n  args: {chdir: /a}\n  args: {chdir: /b}")),
        ("base-60", "=== group_vars/all.yml\nat: 12:30\n".into()),
        ("playbook", "=== site.yml\n- hosts:\n  tasks: []\n".into()),
        ("unknown-keyword", tasks("- command: x\n  wen: y")),
        ("unknown-module", tasks("- coppy: {src: a, dest: /b}\n- nosuch: {}\n  when: x")),
        ("unknown-argument", tasks("- copy: {sorce: a, dest: /b}")),
        ("missing-argument", tasks("- copy: {content: a}")),
        ("wrong-value", tasks("- file: {path: /a, state: dir}")),
        ("variable-name", tasks("- command: x\n  register: a-b")),
        ("missing-file", tasks("- import_tasks: none.yml")),
        ("static-name", tasks("- import_tasks: \"{{ x }}.yml\"")),
        ("encrypted", "=== group_vars/all.yml\n$ANSIBLE_VAULT;1.1;AES256\n3131\n".into()),
        ("inventory", "=== inventory/hosts.yml\nall: [a]\n".into()),
        ("jinja-syntax", tasks("- debug: {msg: \"{{ a b }}\"}")),
        ("unknown-filter", "=== roles/r/tasks/main.yml\n[]\n=== roles/r/templates/x.j2\n{{ a | uper }}\n".into()),
        ("unknown-lookup", tasks("- debug: {msg: \"{{ lookup('fiel', 'x') }}\"}")),
        ("no-effect", tasks("- command: x\n  debugger: on_failed")),
        ("handler-missing", tasks("- command: x\n  notify: nobody")),
        ("handler-unused", play("  handlers:\n    - name: lonely\n      command: x\n")),
        (
            "unknown-group",
            "=== inventory/hosts.yml\nall: {children: {galera: {hosts: {a: null}}}}\n=== site.yml\n- hosts: galrea\n"
                .into(),
        ),
        ("reserved-name", "=== group_vars/all.yml\nenvironment: a\n".into()),
        ("when-braces", tasks("- command: x\n  when: \"{{ a }}\"")),
        ("become-user", tasks("- command: x\n  become_user: a")),
        ("reserved-tag", tasks("- command: x\n  name: a\n  tags: [all]")),
        (
            "tag-typo",
            tasks(
                "- {name: a, command: x, tags: install}\n- {name: a, command: x, tags: install}\n- {name: a, command: x, tags: install}\n- {name: a, command: x, tags: instal}",
            ),
        ),
        ("octal-mode", tasks("- file: {path: /a, mode: 644}")),
        ("octal-value", "=== group_vars/all.yml\ncode: 0123\n".into()),
        ("truthy", tasks("- lineinfile: {path: /a, line: on}")),
        ("version-float", "=== group_vars/all.yml\nmariadb_version: 10.10\n".into()),
        ("secret-no-log", tasks("- command: login -p {{ db_password }}")),
        ("plain-secret", "=== group_vars/all.yml\ndb_password: open-sesame\n".into()),
        ("cluster-restart", tasks("- service: {name: mariadb, state: restarted}")),
        ("ignored-errors", tasks("- service: {name: x, state: stopped}\n  ignore_errors: true")),
        ("pipe-to-shell", tasks("- shell: curl https://a/b | sh")),
        ("unverified-peer", tasks("- get_url: {url: https://a, dest: /b, validate_certs: false}")),
        ("world-writable", tasks("- file: {path: /a, mode: '0777'}")),
        ("deprecated", tasks("- include: x.yml").to_string() + "=== x.yml\n- command: x\n"),
        ("templated-module", tasks("- action: '{{ ansible_pkg_mgr }} name=x'")),
        ("unverified-module", tasks("- dnf: {name: x}")),
    ]
}

#[test]
fn a_mistake_of_every_rule_is_found() {
    let mistakes = mistakes();
    for rule in ALL {
        let Some((_, text)) = mistakes.iter().find(|(id, _)| *id == rule.id) else {
            panic!("no mistake is made for {}", rule.id);
        };
        let found = found(text);
        let hit = found.iter().find(|finding| finding.rule.id == rule.id);
        assert!(hit.is_some(), "{}: {:#?}", rule.id, told(&found));
        let place = hit.unwrap().diag.span().is_some_and(|span| !span.is_generated());
        assert!(place, "{} has no place", rule.id);
    }
}

#[test]
fn the_shipped_tree_is_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<PathBuf> =
        ["playbooks", "roles", "inventory/hosts.yml", "docs/examples"].iter().map(|name| root.join(name)).collect();
    let found = look(&paths);
    assert!(found.is_empty(), "{:#?}", told(&found));
}

#[test]
fn noqa_keeps_a_rule_quiet_on_a_line_and_in_a_task() {
    let with = |noqa: &str| found(&tasks(&format!("- file: # {noqa}\n    path: /a\n    mode: 644")));
    assert_eq!(with("nothing").len(), 1);
    assert!(with("noqa: octal-mode").is_empty());
    assert!(with("noqa").is_empty());
    assert_eq!(with("noqa: truthy").len(), 1);
}

#[test]
fn unknown_modules_behind_conditions_are_warnings() {
    let found = found(&tasks("- nosuch: {}\n  when: false\n- nosuch2: {}"));
    let of = |name: &str| found.iter().find(|f| f.diag.message.contains(name)).unwrap().severity();
    assert_eq!((of("`nosuch`"), of("`nosuch2`")), (Severity::Warning, Severity::Error));
}

#[test]
fn what_a_rolling_play_restarts_is_no_mistake() {
    let text =
        "=== site.yml\n- hosts: galera\n  rolling: {}\n  tasks:\n    - service: {name: mariadb, state: restarted}\n";
    let found = found(text);
    assert!(!found.iter().any(|finding| finding.rule.id == "cluster-restart"), "{:#?}", told(&found));
}

#[test]
fn handlers_of_roles_are_known_by_their_names_and_topics() {
    let text = "=== site.yml\n- hosts: all\n  roles: [web]\n=== roles/web/tasks/main.yml\n\
        - command: x\n  notify: [restart web, 'web : restart web', topic]\n=== roles/web/handlers/main.yml\n\
        - name: restart web\n  command: x\n  listen: topic\n";
    assert!(told(&found(text)).is_empty(), "{:#?}", told(&found(text)));
}

#[test]
fn one_mistake_is_one_finding_however_often_a_role_is_used() {
    let text = "=== a.yml\n- hosts: all\n  roles: [web]\n=== b.yml\n- hosts: all\n  roles: [web]\n\
        === roles/web/tasks/main.yml\n- copy: {sorce: a, dest: /b}\n";
    assert_eq!(found(text).len(), 1, "{:#?}", told(&found(text)));
}

#[test]
fn secrets_are_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("group_vars");
    std::fs::create_dir(&path).unwrap();
    // What lint says itself cannot be masked without telling what the value is.
    let text = "db_password: open-sesame\nweb_password: password\nhunter2_password: hunter2\n";
    std::fs::write(path.join("all.yml"), text).unwrap();
    let template = |_: &str, _: &crate::playbook::Variables| Err(String::new());
    let reader = Reader { vault: &no_vault, roles_path: Vec::new(), template: &template };
    let findings = lint(&[dir.path().to_owned()], &reader, &Templar::new(TemplarOptions::default())).unwrap();
    assert_eq!(findings.finish(|_| true).1, ["open-sesame"]);
}

#[test]
fn a_switch_is_no_secret() {
    for (value, secret) in [
        ("\"no\"", false),
        ("'Yes'", false),
        ("'False'", false),
        ("no", false),
        ("'3'", false),
        ("3", false),
        ("'12'", true),
        ("'none'", true),
        ("open-sesame", true),
    ] {
        let found = found(&format!("=== group_vars/all.yml\nssh_permit_empty_password: {value}\n"));
        let plain = found.iter().any(|finding| finding.rule.id == "plain-secret");
        assert_eq!(plain, secret, "{value}: {:#?}", told(&found));
    }
}

#[test]
fn arguments_that_a_module_hands_on_are_looked_at() {
    for task in ["- apt: {name: x, default_release: on}", "- package: {name: x, default_release: on}"] {
        let found = found(&tasks(task));
        assert!(found.iter().any(|finding| finding.rule.id == "truthy"), "{task}: {:#?}", told(&found));
    }
}

#[test]
fn sarif_names_rules_by_their_index_and_places_by_lines() {
    let found = found(&tasks("- file: {path: /a, mode: 644}"));
    let log = sarif(&found);
    let run = &log["runs"][0];
    let result = &run["results"][0];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!((region["startLine"].clone(), region["startColumn"].clone()), (3.into(), 30.into()));
    assert_eq!(region["snippet"]["text"], "    - file: {path: /a, mode: 644}");
    let document = json(&found);
    assert_eq!(document["summary"], serde_json::json!({"errors": 0, "warnings": 1, "notes": 0}));
    assert_eq!(document["findings"][0]["rule"], "octal-mode");
    assert!(document["findings"][0]["excerpt"].as_str().unwrap().contains("mode: 644"));
}
