//! Secrets of awkward shape must not leave the process, in whatever form.

use super::lab::{Lab, lab, script};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("no secret in any output", nowhere), ("a sudo that records is told of, in a check already", recorded)];

const SECRET: &str = r#"s3cr'et "quo\te$HOME"#;

fn recorded() {
    let lab = lab();
    lab.reset("box1");
    let play = "- {hosts: 'box1,box2', gather_facts: false, tasks: [{copy: {content: a, dest: /srv/recorded}, become: true}, {command: 'true', become: true}]}\n";
    let quiet = lab.play(play, &["--check"]);
    assert!(quiet.code == 0 && !quiet.all().contains("records"), "{}", quiet.all());
    lab.ssh("box1", "printf 'Defaults log_input\\n' > /etc/sudoers.d/recorded; chmod 440 /etc/sudoers.d/recorded");
    let told = lab.play(play, &["--check"]);
    lab.ssh("box1", "rm /etc/sudoers.d/recorded");
    assert_eq!(told.code, 0, "{}", told.all());
    let lines: Vec<String> =
        told.all().lines().filter(|line| line.contains("records what passes")).map(Into::into).collect();
    assert_eq!(lines.len(), 1, "once for a host: {}", told.all());
    assert!(lines[0].contains("box1") && lines[0].contains("`log_input`, /etc/sudoers.d/recorded:1"), "{}", lines[0]);
}

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
        assert_hidden(&format!("{arguments:?}"), &all, SECRET);
    }
    assert_eq!(lab.ssh("box3", "cat /srv/secret"), format!("password = {SECRET}"));
    assert_hidden("a log of box3", &logs(&lab, "box3"), SECRET);
}

/// A secret as it might be written somewhere: itself, and in the encodings it travels in.
pub fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap();
    let quoted = secret.replace('\\', "\\\\").replace('\'', "\\'");
    vec![
        secret.to_string(),
        json.trim_matches('"').to_string(),
        secret.replace('\'', r"'\''"),
        secret.replace('\'', r#"'"'"'"#),
        secret.replace('\'', "''"),
        quoted,
        BASE64.encode(secret),
        BASE64.encode(format!("{secret}\n")).trim_end_matches('=').to_string(),
        secret
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                    (b as char).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect(),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
    ]
}

/// An output, event stream or log must not have a secret in any form.
pub fn assert_hidden(what: &str, text: &str, secret: &str) {
    for form in forms(secret) {
        // (the whole text is not repeated: it may be long)
        let line = text.lines().find(|line| line.contains(&form));
        assert!(
            line.is_none(),
            "{what} shows `{form}`: {}",
            line.unwrap_or_default().chars().take(600).collect::<String>()
        );
    }
}

/// Everything a host might have written down of what was done to it.
pub fn logs(lab: &Lab, host: &str) -> String {
    lab.ssh(host, "journalctl --no-pager -q -o export 2>/dev/null | grep -av '^__'; find /var/log /var/lib/deploy /var/lib/deploy-agent /home/deploy /root /run /var/tmp /tmp -xdev -type f -size -2M -not -name 'agent-*' -not -path '*/journal/*' -not -path '/run/systemd/*' -exec cat {} + 2>/dev/null")
}

/// Looks at the command lines and environments of all processes of hosts, all the time.
pub struct Processes(Vec<std::process::Child>);

impl Processes {
    /// Starts looking for a secret.
    pub fn watch(hosts: &[&str], secret: &str) -> Processes {
        // A bracket around the first character keeps the search from finding itself.
        let pattern = |form: &String| {
            let escaped: String =
                form.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { ".".into() }).collect();
            format!("-e '[{}]{}'", &escaped[..1], &escaped[1..])
        };
        let patterns: Vec<String> = forms(secret).iter().map(pattern).collect();
        let look = format!(
            "while read -t 0.1 _; [ $? -gt 128 ]; do for f in $(grep -la {} /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null); do echo $f; tr '\\0' ' ' <$f; echo; done; done",
            patterns.join(" ")
        );
        let start = |host: &&str| {
            script("ssh")
                .args([host, look.as_str()])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        Processes(hosts.iter().map(start).collect())
    }

    /// Where it was seen.
    pub fn stop(self) -> String {
        let mut seen = String::new();
        for mut child in self.0 {
            drop(child.stdin.take()); // its loop ends with its input
            use std::io::Read;
            let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut seen));
            let _ = child.wait();
        }
        seen
    }
}
