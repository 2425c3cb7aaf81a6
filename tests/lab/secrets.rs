//! Secrets of awkward shape must not leave the process, in whatever form.

use super::lab::lab;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("no secret in any output", nowhere)];

const SECRET: &str = r#"s3cr'et "quo\te$HOME"#;

fn nowhere() {
    let lab = lab();
    lab.reset("box3");
    let yaml = serde_json::to_string(SECRET).unwrap();
    let play = format!(
        r#"
- hosts: box3
  gather_facts: false
  become: true
  vars:
    app_password: {yaml}
  tasks:
    - name: account
      user: {{name: app, password: "{{{{ app_password | password_hash('sha512') }}}}"}}
      no_log: true
    - name: learns the value by its name
      debug: {{msg: "nothing"}}
      vars: {{ansible_become_password: "{{{{ app_password }}}}"}}
    - name: in a file
      copy: {{content: "password = {{{{ app_password }}}}\n", dest: /srv/secret, mode: "0600"}}
      vars: {{ansible_become_password: "{{{{ app_password }}}}"}}
    - name: in a command that fails
      command: sh -c 'echo "$0"; echo "$0" >&2; exit 3' "{{{{ app_password }}}}"
      ignore_errors: true
    - name: encoded
      command: echo {{{{ app_password | b64encode }}}} {{{{ app_password | urlencode }}}}
      changed_when: false
    - name: in a structure
      debug: {{msg: {{a: ["{{{{ app_password }}}}"]}}}}
"#
    );
    for arguments in [vec!["--check", "--diff", "-v"], vec!["--diff", "-v"], vec!["--format", "json", "--diff"]] {
        let ran = lab.play(&play, &arguments);
        let all = ran.all();
        for form in forms() {
            assert!(!all.contains(&form), "{arguments:?} shows `{form}` in:\n{all}");
        }
    }
    assert_eq!(lab.ssh("box3", "cat /srv/secret"), format!("password = {SECRET}"));
    let logs = lab.ssh("box3", "journalctl --no-pager -q 2>/dev/null; grep -r . /home/deploy/.cache/deploy /var/lib/deploy --include=*.json 2>/dev/null");
    assert!(!logs.contains("s3cr'et"), "a log of the host has it");
}

/// The secret as it might be written somewhere.
fn forms() -> Vec<String> {
    let json = serde_json::to_string(SECRET).unwrap();
    vec![
        SECRET.to_string(),
        json.trim_matches('"').to_string(),
        SECRET.replace('\'', r"'\''"),
        "czNjcidldCAicXVvXHRlJEhPTUU".into(),
        "s3cr%27et%20%22quo%5Cte%24HOME".into(),
    ]
}
