//! Forty secrets of awkward shapes, planted wherever a value can stand: none of them may be found in anything that is shown
//! or kept.

use super::lab::{Lab, Ran, lab, script};
use super::secrets::forms;
use deploy::redact::Redactor;
use deploy::secret::Secret;
use deploy::vars::vault::Vault;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("forty secrets of awkward shapes are found nowhere", nowhere)];

const HOST: &str = "box1";

/// The secret that is the login user's password, which sudo asks for.
const BECOME: usize = 2;

/// Shapes around a core that no other text has. The core itself has no character that any encoding changes.
fn shapes() -> Vec<String> {
    let core = |number: usize| format!("Zq{number:02}vK7w{:02}Rj", 97 - number);
    let made: Vec<fn(&str) -> String> = vec![
        |c| c.to_string(),
        |c| format!("it's{c}'"),
        |c| format!("\"{c}\"x"),
        |c| format!("a\\{c}\\n\\\\b"),
        |c| format!("$HOME{c}`id`$(id)"),
        |c| format!("two words {c} and more"),
        |c| format!("ü€{c}😀ß"),
        |c| format!("first line {c}\nsecond {c}x\nthird y{c}"),
        |c| {
            let line = format!("MIIE{c}{c}{c}{c}{c}");
            format!("-----BEGIN PRIVATE KEY-----\n{line}\n{line}AB\n-----END PRIVATE KEY-----\n")
        },
        |c| format!("a/b?{c}&x=1#y%z+1"),
        |c| format!("<b>{c}</b>&amp;"),
        |c| format!("{{\"key\": \"{c}\"}}"),
        |c| format!("key: [{c}, 'x"),
        |c| format!("{c}{{ braces }}"),
        |c| format!("tab\t{c}\tend"),
        |c| format!("{c}{c}"),
        |c| format!("{c}more"),
        |c| format!("%41{c}%20"),
        |c| format!("c2Vj{c}cmV0=="),
        |c| format!("deadbeef{c}cafe"),
        |c| format!("line{c}\r\nother{c}"),
        |c| format!("--{c}=x"),
        |c| format!("!{c}!!"),
        |c| format!("{c}\\"),
        |c| format!(";|&<>(){c}*?[]"),
        |c| format!("user:{c}@host:1/x"),
        |c| format!(".*{c}+?^$"),
        |c| format!("' OR '1'='1{c}--"),
        |c| format!("nb\u{a0}{c}\u{200b}x"),
        |c| format!("****{c}****"),
        |c| format!("{c}-41d4-a716-446655440000"),
        |c| format!("$6$salt${c}/./"),
        |c| format!("@{c}"),
        |c| format!("~{c}~"),
        |c| format!("0x{c}"),
        |c| format!("#{c} no comment"),
        |c| format!("{}{c}{}", "long ".repeat(30), "and longer".repeat(20)),
    ];
    let mut all: Vec<String> = made.iter().enumerate().map(|(number, shape)| shape(&core(number))).collect();
    all.push(format!("around {} it", all[0])); // another secret within it
    all.push(format!("{}9", &all[0][..10])); // nearly the beginning of another
    all.push("q7#Z".into()); // short
    assert_eq!(all.len(), 40);
    all
}

/// What a secret would be found by: its core, which most encodings leave alone, and the others.
fn needles(secret: &str) -> Vec<String> {
    let mut needles = forms(secret);
    let words = secret.split(|c: char| !c.is_ascii_alphanumeric());
    needles.extend(words.filter(|word| word.contains("vK7w")).map(str::to_string));
    needles.retain(|needle| needle.len() >= 4);
    needles
}

fn found(what: &str, text: &str, secrets: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (number, secret) in secrets.iter().enumerate() {
        for needle in needles(secret) {
            if let Some(line) = text.lines().find(|line| line.contains(&needle)) {
                let at = line.find(&needle).unwrap_or(0);
                let near: String = line.chars().skip(line[..at].chars().count().saturating_sub(80)).take(240).collect();
                all.push(format!("{what}: secret {number} as `{needle}`: … {near}"));
                break;
            }
        }
    }
    all
}

fn playbook() -> String {
    let each = r##"
    - name: in a file
      copy: {content: "password = {{ item.value }}\n", dest: "/srv/forty/{{ item.name }}", mode: "0600"}
      loop: "{{ forty }}"
    - name: a line
      lineinfile: {path: /srv/forty/lines, line: "x {{ item.value | replace('\n', ' ') | replace('\r', ' ') }}", create: true}
      loop: "{{ forty }}"
      loop_control: {label: "{{ item.value }}"}
    - name: a block
      blockinfile: {path: /srv/forty/block, block: "{{ item.value }}", marker: "# {mark} {{ item.name }}", create: true}
      loop: "{{ forty }}"
    - name: a command
      command: {argv: [printf, "%s", "{{ item.value }}"]}
      loop: "{{ forty }}"
      register: commands
      changed_when: false
    - name: a shell
      shell: "printf %s {{ item.value | quote }}; printf '%s\n' {{ item.value | quote }} >&2; exit 3"
      loop: "{{ forty }}"
      register: shells
      ignore_errors: true
      changed_when: false
    - name: no program
      command: {argv: ["/no/such/{{ item.value }}"]}
      loop: "{{ forty }}"
      ignore_errors: true
      changed_when: false
    - name: a hidden one
      command: {argv: [printf, "%s", "{{ item.value }}"]}
      loop: "{{ forty }}"
      no_log: true
      changed_when: false
    - name: results
      debug: {var: commands}
    - name: errors
      debug: {var: shells.results}
    - name: encoded
      debug:
        msg:
          - "{{ item.value | b64encode }}"
          - "{{ item.value | urlencode }}"
          - "{{ item.value | to_json }}"
          - "{{ item.value | to_nice_yaml }}"
          - "{{ item.value | quote }}"
          - "{{ ('x' ~ item.value) | b64encode }}"
          - "https://user:{{ item.value | urlencode }}@example.com/"
          - "{{ {item.value: item.name} }}"
          - "{{ {item.value: [item.value]} | to_json | to_json }}"
      loop: "{{ forty }}"
    - name: a fact
      set_fact: {kept: "{{ item.value }} kept"}
      loop: "{{ forty }}"
    - name: asserted
      assert: {that: "item.value == 'no'", fail_msg: "{{ item.value }} is not no"}
      loop: "{{ forty }}"
      ignore_errors: true
    - name: failed
      fail: {msg: "{{ item.value }}"}
      loop: "{{ forty }}"
      ignore_errors: true
    - name: an error in an expression
      debug: {msg: "{{ (item.value ~ 'x') | int + [] }}"}
      loop: "{{ forty }}"
      ignore_errors: true
    - name: not a choice
      file: {path: /srv/forty/x, state: "{{ item.value }}"}
      loop: "{{ forty }}"
      ignore_errors: true
    - name: no path
      stat: {path: "/srv/{{ item.value | replace('\n', '') | replace('/', '') }}"}
      loop: "{{ forty }}"
      ignore_errors: true
    - name: "named {{ one_secret }}"
      debug: {msg: "{{ one_secret }}"}
    - name: environment
      command: env
      environment: {TOKEN: "{{ one_secret }}", OTHER: "{{ forty[9].value }}"}
      changed_when: false
    - name: what stood there before
      copy: {content: "nothing any more\n", dest: /srv/before}
    - name: a template
      template: {src: forty.j2, dest: /srv/forty/all}
    - name: nested
      debug: {var: applications}
    - name: short
      debug: {msg: "pin {{ forty[39].value }}"}
"##;
    format!(
        "- hosts: {HOST}\n  become: true\n  vars_files: [forty.yml]\n  tasks:\n    - file: {{path: /srv/forty, state: directory}}{each}"
    )
}

/// The variables: a third of the secrets in vault strings, a third under names that say so, a third given with `-e`.
fn variables(secrets: &[String], vault: &Vault) -> (String, String) {
    let mut text = String::new();
    let mut extra = serde_json::Map::new();
    let mut list = String::from("forty:\n");
    for (number, secret) in secrets.iter().enumerate() {
        let name = format!("app{number}_password");
        match number % 3 {
            0 => {
                let sealed = vault.encrypt(secret.as_bytes(), None).unwrap();
                let lines: String = sealed.lines().map(|line| format!("  {line}\n")).collect();
                text += &format!("{name}: !vault |\n{lines}");
            }
            // What has braces is no template.
            1 => text += &format!("{name}: !unsafe {}\n", serde_json::to_string(secret).unwrap()),
            _ => {
                extra.insert(name.clone(), json!(secret));
            }
        }
        list += &format!("  - {{name: n{number}, value: \"{{{{ {name} }}}}\"}}\n");
    }
    text += &list;
    text += "one_secret: \"{{ app4_password }}\"\n";
    extra.insert("ansible_become_password".into(), json!(secrets[BECOME]));
    text += &format!("applications: [{{name: a, password: {}}}]\n", serde_json::to_string(&nested()).unwrap());
    (text, Value::Object(extra).to_string())
}

fn nested() -> String {
    "a 'nested' NeSt77vK7wEd one".into()
}

fn nowhere() {
    let lab = lab();
    lab.reset(HOST);
    let mut secrets = shapes();
    let mut vault = Vault::new(Redactor::new());
    let password = "the vault's Vp88vK7wPv word";
    vault.add_password("default", Secret::new(password));
    let (text, extra) = variables(&secrets, &vault);
    lab.file("forty.yml", &text);
    lab.file("forty.j2", "{% for item in forty %}\n{{ item.value }}\n{% endfor %}\n");
    let play = lab.file("forty-play.yml", &playbook());
    let sealed = lab.file("vault-password", password);
    let extra = lab.file("extra.json", &extra);
    let token = "the collector's tk66vK7wTk token";
    secrets.extend([nested(), password.into(), token.into()]);
    let encoded = base64_of(&format!("deploy:{}\n", secrets[BECOME]));
    lab.ssh(HOST, &format!("echo {encoded} | base64 -d | chpasswd"));
    lab.ssh(HOST, "echo 'deploy ALL=(ALL:ALL) ALL' > /etc/sudoers.d/deploy");
    let refused = lab.ssh(HOST, "runuser -u deploy -- sudo -n true 2>&1");
    assert!(refused.contains("password"), "sudo asks for none: {refused}");
    // What is on the host already is shown by a diff, too. (Not by heredoc: its log is looked at later.)
    lab.ssh(HOST, &format!("printf %s {} | base64 -d > /srv/before", base64_of(&secrets[..36].join("\n"))));
    let runs = lab.file("forty-runs/.keep", "").parent().unwrap().to_path_buf();
    let out = |name: &str| lab.file(&format!("forty-out/{name}"), "");
    let (plan, key) = (out("forty.plan"), lab.file("forty-key/.keep", "").with_file_name("key"));
    let (html, xml, markdown) = (out("r.html"), out("r.xml"), out("r.md"));
    let (endpoint, traces) = collector();
    let token: String = token.bytes().map(|b| format!("%{b:02X}")).collect();
    let deploy = |words: &[&str]| -> Ran {
        // A subcommand comes first.
        let (first, words) = words.split_at(usize::from(words[0] == "drift"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.args(first).arg("-i").arg(&lab.inventory).args(words).env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("Authorization=Bearer%20{token}"));
        command.env("DEPLOY_RUNS_DIR", &runs).env("DEPLOY_PLAN_KEY", &key);
        Ran::of(command.output().unwrap())
    };
    let secret_words = ["--vault-password-file", sealed.to_str().unwrap(), "-e", &format!("@{}", extra.display())];
    let mut leaks = Vec::new();
    let processes = Processes::watch(HOST);
    let mut run = |name: &str, words: &[&str], code: i32| {
        let ran = deploy(&[words, &secret_words[..]].concat());
        if ran.code != code {
            let all = ran.all();
            let failed =
                |line: &&str| line.starts_with("failed: ") || line.starts_with("error") || line.starts_with("TASK");
            let last: Vec<&str> = all.lines().filter(failed).collect();
            let last: String = last[last.len().saturating_sub(4)..].join("\n  ").chars().take(900).collect();
            leaks.push(format!("{name}: exit code {} instead of {code}: {last}", ran.code));
        }
        leaks.extend(found(name, &ran.all(), &secrets));
    };
    let play = play.to_str().unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_string();
    run("check", &[play, "--check", "--diff", "-vvv", "--out", &path(&plan)], 0);
    run("check, JSON", &[play, "--check", "--diff", "--format", "json"], 0);
    run("drift", &["drift", play, "--diff"], 11);
    run("drift, JSON", &["drift", play, "--format", "json"], 11);
    let reports = ["--report", &path(&html), "--report", &path(&xml), "--report", &path(&markdown)];
    run("run", &[&[play, "--diff", "-vvv"], &reports[..]].concat(), 0);
    run("run, JSON", &[play, "--diff", "--format", "json", "-vvv"], 0);
    let processes = processes.stop();
    if !(processes.contains("/agent-") && processes.contains("printf %s")) {
        let lines: Vec<&str> = processes.lines().filter(|line| line.contains("cmdline")).collect();
        leaks.push(format!("the commands were not seen among the processes: {}", lines.join("\n  ")));
    }
    leaks.extend(found("a process", &without_what_was_asked_for(&processes), &secrets));
    let traces = traces.lock().unwrap().clone();
    let sent = traces.matches("\"resourceSpans\"").count();
    if sent < 6 {
        leaks.push(format!("{sent} traces were sent, which is not one of each run"));
    }
    leaks.extend(found("a trace", &traces, &secrets));
    for words in
        [&["show", plan.to_str().unwrap(), "-vvv"][..], &["runs", "last"], &["runs", "last", "--format", "json"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.args(words).env("DEPLOY_RUNS_DIR", &runs).env("DEPLOY_PLAN_KEY", &key).env("NO_COLOR", "1");
        let ran = Ran::of(command.output().unwrap());
        if ran.code != 0 || ran.out.len() < 200 {
            let end: Vec<&str> = ran.err.lines().rev().take(3).collect();
            leaks.push(format!("{words:?}: exit code {} with {} bytes: {end:?}", ran.code, ran.out.len()));
        }
        leaks.extend(found(words[0], &ran.all(), &secrets));
    }
    for folder in [&runs, plan.parent().unwrap()] {
        let mut names = Vec::new();
        files(folder, &mut names);
        assert!(!names.is_empty(), "{}", folder.display());
        for name in names {
            let text = String::from_utf8_lossy(&std::fs::read(&name).unwrap()).into_owned();
            leaks.extend(found(&name.display().to_string(), &text, &secrets));
        }
    }
    let files = format!("{}\n", lab.ssh(HOST, "cat /srv/forty/all"));
    if !secrets[..3].iter().all(|secret| files.contains(secret)) {
        leaks.push("the secrets were not written".into());
    }
    leaks.extend(found("the host's files", &written(&lab), &secrets));
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    // Others become root here without a password.
    lab.reset(HOST);
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(text)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path => found.push(path),
        }
    }
}

/// Everything that the host might have written down of what was done to it: its journal, its logs, what is kept of runs (the
/// lists of changes, too). Before-images alone are left out: they are the host's own files, kept for a rollback where only root
/// can read them.
fn written(lab: &Lab) -> String {
    let open = lab.ssh(
        HOST,
        "find /var/lib/deploy/runs /var/lib/deploy/before -maxdepth 0 -perm /077 2>/dev/null; find /var/lib/deploy -type f -perm /077",
    );
    assert_eq!(open, "", "what is kept of runs is for root alone");
    let changes = lab.ssh(HOST, "cat /var/lib/deploy/runs/*/changes | wc -l");
    assert!(changes.parse::<u32>().is_ok_and(|lines| lines > 50), "the lists of changes have {changes} lines");
    let text = lab.ssh(
        HOST,
        "journalctl --no-pager -q -o export 2>/dev/null | grep -av '^__'; \
         find /var/log /var/lib/deploy /var/lib/deploy-agent /home/deploy /root /run /var/tmp /tmp -xdev -type f -size -8M \
         -not -name 'agent-*' -not -path '*/journal/*' -not -path '/run/systemd/*' \
         -not -regex '/var/lib/deploy/before/[0-9a-f]*' -exec grep -aH '' {} + 2>/dev/null",
    );
    // A search that looks at nothing finds nothing.
    for place in ["/var/lib/deploy/runs/", "/changes:", "/var/log/", "MESSAGE="] {
        assert!(text.contains(place), "{place} was not looked at");
    }
    text
}

/// A collector of traces that takes everything: its address, and what it was sent.
fn collector() -> (String, Arc<Mutex<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let taken: Arc<Mutex<String>> = Arc::default();
    let sent = taken.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                let header = line.to_lowercase();
                length = header.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            // In lines, as everything else that is searched.
            let body: Value = serde_json::from_slice(&body).unwrap();
            sent.lock().unwrap().push_str(&serde_json::to_string_pretty(&body).unwrap());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    (address, taken)
}

/// Looks at all processes of a host, fifty times a second: their programs, command lines and environments.
struct Processes {
    child: Child,
    seen: JoinHandle<String>,
}

impl Processes {
    fn watch(host: &str) -> Processes {
        // Ends with its input.
        let look = r##"
            $| = 1;
            my %seen;
            while (1) {
                my $ready = "";
                vec($ready, 0, 1) = 1;
                last if select($ready, undef, undef, 0.02) > 0;
                for my $place (glob "/proc/[0-9]*") {
                    my $program = readlink("$place/exe") // next;
                    for my $name ("cmdline", "environ") {
                        open(my $file, "<", "$place/$name") or next;
                        local $/;
                        my $text = <$file> // "";
                        next if $seen{"$program $name $text"}++;
                        $text =~ s/[\0\r\n]/ /g;
                        print "$program ($name): $text\n";
                    }
                }
            }
        "##;
        let command = format!("exec perl -e \"$(echo {} | base64 -d)\"", base64_of(look));
        let mut child =
            script("ssh").args([host, &command]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let seen = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Processes { child, seen }
    }

    /// What was seen, a line for each.
    fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        self.seen.join().unwrap()
    }
}

/// The playbook itself asks for commands with secrets among their words, and for one in whose environment they are: these show
/// them, and nobody else may.
fn without_what_was_asked_for(processes: &str) -> String {
    let asked = |line: &&str| {
        let program = line.split(' ').next().unwrap_or_default();
        program.ends_with("/printf") || program.ends_with("/env") || line.contains("(cmdline): /bin/sh -c printf %s ")
    };
    processes.lines().filter(|line| !asked(line)).map(|line| format!("{line}\n")).collect()
}
