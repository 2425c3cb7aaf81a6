//! `deploy schedule run` as a timer runs it: silent, or loud, and whoever wants to know is told. The host is this machine.

use deploy::pki::{
    self, AuthoritySpec, DirStorage, KeyType, Lifetime, Passphrase, Profile, Purpose, Request, Store, Subject,
};
use std::path::Path;
use std::process::{Command, Output};

const DAY: i64 = 86_400;

/// A project with one host and one playbook, and a certificate that was issued some days ago for a hundred.
fn project(age: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let storage = DirStorage::open(&here.join("store")).unwrap();
    let store = Store::new(Box::new(storage), Passphrase::given(deploy::secret::Secret::new("x")));
    let then = pki::now() - age * DAY;
    store.ensure(&AuthoritySpec::new("cluster", Purpose::Cluster).unwrap(), then).unwrap();
    let request = Request {
        profile: Profile::Cluster,
        subject: Subject::new("here", None).unwrap(),
        sans: vec!["here".parse().unwrap()],
        key_type: KeyType::EcdsaP256,
        lifetime: Lifetime::days(100),
    };
    let issued = store.issue("cluster", "here", &request, then).unwrap();
    let set = here.join("set/current");
    std::fs::create_dir_all(&set).unwrap();
    let bundle = store.require("cluster").unwrap().bundle_pem;
    for (name, text) in
        [("cert.pem", issued.chain_pem.as_str()), ("key.pem", issued.key_pem.expose()), ("ca.pem", bundle.as_str())]
    {
        std::fs::write(set.join(name), text).unwrap();
    }
    let hosts = format!(
        "all:\n  hosts:\n    here:\n      ansible_connection: local\n      deploy_agent_dir: {here}/agent\n      pki_store: \
         {here}/store\n      pki_sets: [{{name: cluster, authority: cluster, profile: cluster, path: {here}/set}}]\n      \
         hook_password: hunter2-hunter2\n      schedule_notify: {{command: 'tee {here}/told', events: [changed, failed, left]}}\n",
        here = here.display()
    );
    std::fs::write(here.join("hosts.yml"), hosts).unwrap();
    let play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: A word\n      copy: {content: \"{{ word | default('') }}\\n\", \
                dest: '{{ inventory_dir }}/word', mode: '0644'}\n    - {name: A wall, fail: {msg: 'no, {{ hook_password }}'}, when: \
                wall is defined}\n    - {name: A nap, command: 'sleep {{ nap }}', when: nap is defined}\n";
    std::fs::write(here.join("play.yml"), play).unwrap();
    folder
}

fn command(here: &Path, job: &[&str], run: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.args(["schedule", "run"]).args(job).args(["--", "-i", "hosts.yml", "play.yml"]).args(run).current_dir(here);
    command.env("XDG_STATE_HOME", here.join("state")).env_remove("DEPLOY_RUNS_DIR").env_remove("JOURNAL_STREAM");
    command
}

/// Exit code, standard output, standard error, what was told.
fn ran(here: &Path, job: &[&str], run: &[&str]) -> (i32, String, String, Option<serde_json::Value>) {
    let _ = std::fs::remove_file(here.join("told"));
    let Output { status, stdout, stderr } = command(here, job, run).output().unwrap();
    let told = std::fs::read_to_string(here.join("told")).ok().map(|text| serde_json::from_str(&text).unwrap());
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (status.code().unwrap(), text(&stdout), text(&stderr), told)
}

/// The look at certificates is root's.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("left out: needs root");
    }
    root
}

#[test]
fn a_job_is_silent_when_nothing_was_done_and_tells_what_was() {
    if !root() {
        return;
    }
    let folder = project(1);
    let here = folder.path();
    let (code, out, err, told) = ran(here, &[], &[]);
    assert!(
        code == 0 && out.contains("play: done in ") && out.contains("here: changed by A word"),
        "{code} {out} {err}"
    );
    let told = told.unwrap();
    assert_eq!(
        (told["result"].as_str(), told["job"].as_str(), told["exit_code"].as_i64()),
        (Some("changed"), Some("play"), Some(0))
    );
    assert_eq!(told["changed"]["here"][0], "A word");
    assert_eq!(ran(here, &[], &[]), (0, String::new(), String::new(), None), "and now there is nothing to do");
    // The run knows when the next one comes.
    let word = |job: &[&str]| {
        assert_eq!(ran(here, job, &["-e", "{\"word\": \"{{ pki_next_run }}\"}"]).0, 0);
        std::fs::read_to_string(here.join("word")).unwrap().trim().to_string()
    };
    let hours = word(&["--on-calendar", "hourly"]).trim_end_matches('s').parse::<i64>().unwrap();
    assert!((60..=3600 + 360 + 150).contains(&hours), "{hours}");
    assert_eq!(word(&["--on-calendar", "*:*:0/10"]), "60s");
    // It is a run like any other.
    let runs = Command::new(env!("CARGO_BIN_EXE_deploy"))
        .arg("runs")
        .env("XDG_STATE_HOME", here.join("state"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&runs.stdout).contains("play.yml"), "{runs:?}");
}

#[test]
fn a_job_is_loud_when_it_fails_and_when_a_certificate_is_late() {
    if !root() {
        return;
    }
    let folder = project(70);
    let here = folder.path();
    assert_eq!(ran(here, &[], &[]).0, 0, "due, and not late");
    let (code, out, err, told) = ran(here, &["--notify-command", "false"], &["-e", "wall=1"]);
    assert!(
        code == 2 && out.is_empty() && err.contains("FAILED with 2") && err.contains("`A wall` failed: no, "),
        "{out} {err}"
    );
    assert!(err.contains("warning: the command false was not told: false: exit status: 1"), "{err}");
    assert_eq!(told.unwrap()["failures"][0]["task"], "A wall");
    let (code, _, err, told) = ran(here, &[], &["--limit", "nobody"]);
    assert!(code == 4 && err.contains("leaves no host to work on") && told.is_none(), "{err}");
    assert!(err.contains("schedule_notify) is not known"), "who would be told is said to be unknown: {err}");

    let folder = project(81);
    let here = folder.path();
    let (code, out, err, told) = ran(here, &[], &[]);
    assert!(code == 1 && out.is_empty(), "{code} {out} {err}");
    assert!(
        err.contains("certificates are late")
            && err.contains("WARNING: here, cluster: it was not renewed: four fifths"),
        "{err}"
    );
    let told = told.unwrap();
    assert_eq!((told["result"].as_str(), told["late"][0]["state"].as_str()), (Some("late"), Some("warning")));
}

#[test]
fn the_second_of_two_leaves_waits_or_fails() {
    if !root() {
        return;
    }
    let folder = project(1);
    let here = folder.path();
    assert_eq!(ran(here, &[], &[]).0, 0);
    let mut first = command(here, &[], &["-e", "nap=12"]).spawn().unwrap();
    let lock = here.join("state/deploy/schedule/play.lock");
    let held = |_: &u32| std::fs::read_to_string(&lock).is_ok_and(|text| text.contains(&first.id().to_string()));
    assert!((0..100).inspect(|_| std::thread::sleep(std::time::Duration::from_millis(50))).any(|n| held(&n)));
    for (policy, code) in [("leave", 0), ("fail", 2), ("wait:1s", 2)] {
        let (ended, out, err, told) = ran(here, &["--if-locked", policy], &[]);
        let said = format!("{out}{err}");
        assert_eq!(ended, code, "{policy}: {said}");
        for part in ["this job is being run by ", " since 20", &format!("(process {})", first.id())] {
            assert!(said.contains(part), "{policy}, {part}: {said}");
        }
        // `left` is no failure; it is told to those who want to know.
        assert_eq!(told.unwrap()["result"], if code == 0 { "left" } else { "failed" });
    }
    let (code, out, err, _) = ran(here, &["--if-locked", "wait"], &[]);
    assert!(code == 0 && !out.contains("changed by A nap") && err.starts_with("waiting: this job"), "{out} {err}");
    assert!(first.wait().unwrap().success());
}
