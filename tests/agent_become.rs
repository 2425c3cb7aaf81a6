//! Becoming other users through real sudo, su and doas, with users made for this test. Needs root and these programs;
//! without them it says so and does nothing.

mod agent_support;

use agent_support::*;
use deploy::connection::Connection;
use deploy::connection::agent::{AgentOptions, Call, Host, OpenFuture, Session};
use deploy::secret::Secret;
use deploy::wire::{Become, BecomeMethod, OnFailure, Reply};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// With everything that has broken quoting before.
const PASSWORD: &str = r#"l'a"b \pa$$ `wo`rd%n"#;

/// Two users: one who logs in, one who is become. Gone with the test.
struct Users {
    login: String,
    other: String,
    sudoers: String,
}

impl Users {
    fn make(name: &str, sudoers: &str) -> Option<Users> {
        let has = |program: &str| {
            Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
        };
        if !rustix::process::geteuid().is_root() || !has("sudo") || !has("useradd") || !has("setpriv") {
            eprintln!("not tried: this test needs root, sudo, useradd and setpriv");
            return None;
        }
        let (login, other) = (format!("dtl{name}"), format!("dto{name}"));
        for user in [&login, &other] {
            let _ = Command::new("userdel").args(["-rf", user]).output();
            let made = Command::new("useradd").args(["-m", "-s", "/bin/sh", user]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            shell(&format!("cat > /tmp/{user}.pw"), &format!("{user}:{PASSWORD}\n"));
            assert!(
                Command::new("sh")
                    .args(["-c", &format!("chpasswd < /tmp/{user}.pw; rm /tmp/{user}.pw")])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let path = format!("/etc/sudoers.d/{login}");
        let text = sudoers.replace("LOGIN", &login).replace("OTHER", &other);
        std::fs::write(&path, text).unwrap();
        Some(Users { login, other, sudoers: path })
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.sudoers);
        for user in [&self.login, &self.other] {
            let _ = Command::new("userdel").args(["-rf", user]).output();
        }
    }
}

fn shell(command: &str, input: &str) {
    let mut process = Command::new("sh").args(["-c", command]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut process.stdin.take().unwrap(), input.as_bytes()).unwrap();
    assert!(process.wait().unwrap().success());
}

/// This machine after a login as somebody.
struct Login(Connection, String);

impl Host for Login {
    fn open<'a>(&'a self, command: &'a str) -> OpenFuture<'a> {
        let (user, quoted) = (&self.1, command.replace('\'', r"'\''"));
        let command = format!(
            "cd / && exec setpriv --reuid={user} --regid={user} --init-groups env -i HOME=/home/{user} USER={user} \
             LOGNAME={user} PATH=/usr/local/bin:/usr/bin:/bin /bin/sh -c '{quoted}'"
        );
        Box::pin(async move { Host::open(&self.0, &command).await })
    }
}

async fn login(user: &str) -> Session {
    let host = Login(local().await, user.to_string());
    Session::start(&host, programs(), &AgentOptions::default()).await.unwrap()
}

fn as_user(method: BecomeMethod, user: &str, password: Option<&str>, arguments: Value) -> Call {
    let mut call = probe(arguments);
    call.request.on_failure = OnFailure::Continue;
    call.request.become_user =
        Some(Become { method, user: user.into(), password: password.map(Secret::new), flags: Vec::new(), exe: None });
    call
}

async fn refusal(session: &Session, call: Call) -> String {
    match session.submit(call).await.unwrap().reply {
        Reply::BecomeFailed { why, .. } => {
            assert!(!why.contains("wo`rd") && !why.contains("wrong one"), "the password is shown: {why}");
            why
        }
        other => panic!("{other:?}"),
    }
}

fn uid_of(user: &str) -> u64 {
    let id = Command::new("id").args(["-u", user]).output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().parse().unwrap()
}

use BecomeMethod::{Doas, Su, Sudo};

#[tokio::test]
async fn sudo_without_a_password_and_the_copy_that_root_keeps() {
    let Some(users) = Users::make("a", "LOGIN ALL=(ALL) NOPASSWD: ALL\n") else { return };
    let session = login(&users.login).await;
    for _ in 0..2 {
        let outcome = run(&session, as_user(Sudo, "root", None, json!({"getenv": "HOME"}))).await;
        assert_eq!((&outcome.data["uid"], &outcome.data["getenv"]), (&json!(0), &json!("/root")));
        let copy = outcome.data["exe"].as_str().unwrap();
        let (file, directory) = (std::fs::metadata(copy).unwrap(), std::path::Path::new(copy).parent().unwrap());
        assert_eq!((file.uid(), file.mode() & 0o7777), (0, 0o755), "{copy}");
        let directory = std::fs::metadata(directory).unwrap();
        assert_eq!((directory.uid(), directory.mode() & 0o7777), (0, 0o755), "{copy}");
    }
    // A password that is not asked for does no harm, and never reaches the child.
    let outcome = run(&session, as_user(Sudo, &users.other, Some(PASSWORD), json!({"echo": "x"}))).await;
    assert_eq!(outcome.data["uid"], uid_of(&users.other));
    assert!(outcome.data["exe"].as_str().unwrap().starts_with("/var/lib/deploy-agent/agent-"));
    // Oneself needs nobody's leave.
    let outcome = run(&session, as_user(Sudo, &users.login, None, json!({}))).await;
    assert!(outcome.data["exe"].as_str().unwrap().starts_with("/home/"));
}

#[tokio::test]
async fn sudo_with_a_password_is_asked_once_and_never_shows_it() {
    let Some(users) = Users::make("b", "LOGIN ALL=(ALL) ALL\n") else { return };
    let session = login(&users.login).await;
    let began = Instant::now();
    let why = refusal(&session, as_user(Sudo, "root", None, json!({}))).await;
    assert!(why.contains("ansible_become_password"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(5));

    let why = refusal(&session, as_user(Sudo, "root", Some("wrong one"), json!({}))).await;
    assert!(why.contains("password is wrong"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let again = Instant::now();
    assert_eq!(refusal(&session, as_user(Sudo, "root", Some("wrong one"), json!({}))).await, why);
    assert!(again.elapsed() < Duration::from_millis(200), "a wrong password is tried again");

    let (right, watch) = (
        as_user(Sudo, "root", Some(PASSWORD), json!({"sleep_ms": 300})),
        tokio::spawn(async {
            let mut seen = Vec::new();
            for _ in 0..30 {
                seen.extend(Command::new("ps").args(["-eo", "args", "e"]).output().unwrap().stdout);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            String::from_utf8_lossy(&seen).into_owned()
        }),
    );
    assert_eq!(run(&session, right).await.data["uid"], 0);
    assert!(!watch.await.unwrap().contains("wo`rd"), "the password is on a command line or in an environment");
}

#[tokio::test]
async fn who_may_not_become_somebody_is_told_so() {
    let Some(users) = Users::make("c", "# nothing\n") else { return };
    let session = login(&users.login).await;
    let began = Instant::now();
    let why = refusal(&session, as_user(Sudo, "root", Some(PASSWORD), json!({}))).await;
    assert!(why.contains("not in the sudoers file") || why.contains("not allowed"), "{why}");
    let why = refusal(&session, as_user(Sudo, "no-such-user", None, json!({}))).await;
    assert!(why.contains("no-such-user"), "{why}");
    let mut call = as_user(Sudo, "root", None, json!({}));
    call.request.become_user.as_mut().unwrap().exe = Some("/no/such/sudo".into());
    assert!(refusal(&session, call).await.contains("has no program `/no/such/sudo`"));
    assert!(began.elapsed() < Duration::from_secs(15));
    // The failure of one identity is not that of others.
    assert_eq!(run(&session, probe(json!({}))).await.data["uid"], uid_of(&users.login));
}

#[tokio::test]
async fn somebody_without_a_copy_by_root_gets_a_private_one_that_goes_away() {
    let Some(users) = Users::make("d", "LOGIN ALL=(OTHER) NOPASSWD: ALL\n") else { return };
    // An agent that nobody else uses, so that root has no copy of it.
    let directory = tempfile::tempdir().unwrap();
    let unique = directory.path().join("agent");
    std::fs::copy(env!("CARGO_BIN_EXE_deploy-agent"), &unique).unwrap();
    std::io::Write::write_all(&mut std::fs::File::options().append(true).open(&unique).unwrap(), b"unique d").unwrap();
    let program = deploy::connection::agent::Program::from_file(std::env::consts::ARCH, &unique).unwrap();
    let host = Login(local().await, users.login.clone());
    let programs = deploy::connection::agent::Programs::of([program]);
    let session = Session::start(&host, &programs, &AgentOptions::default()).await.unwrap();
    let outcome = run(&session, as_user(Sudo, &users.other, None, json!({}))).await;
    assert_eq!(outcome.data["uid"], uid_of(&users.other));
    let exe = outcome.data["exe"].as_str().unwrap();
    let path = exe.strip_suffix(" (deleted)").unwrap_or_else(|| panic!("{exe} is still there"));
    assert!(!std::path::Path::new(path).parent().unwrap().exists(), "{path}");
}

#[tokio::test]
async fn root_becomes_anybody_without_asking() {
    let Some(users) = Users::make("e", "# nothing\n") else { return };
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let outcome = run(&session, as_user(Sudo, &users.other, None, json!({"getenv": "HOME"}))).await;
    assert_eq!(outcome.data["uid"], uid_of(&users.other));
    assert_eq!(outcome.data["getenv"], json!(format!("/home/{}", users.other)));
    assert_eq!(run(&session, as_user(Sudo, "root", None, json!({}))).await.data["uid"], 0);
    assert!(refusal(&session, as_user(Su, "no-such-user", None, json!({}))).await.contains("no such user"));
}

#[tokio::test]
async fn a_check_is_one_whoever_runs_its_tasks() {
    let Some(users) = Users::make("f", "# nothing\n") else { return };
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let knows = |who: Option<&str>| {
        let arguments = json!({"knows_user": "ghost"});
        session.submit(match who {
            Some(user) => as_user(Sudo, user, None, arguments),
            None => probe(arguments),
        })
    };
    let all = [
        knows(None),
        session.submit(as_user(Sudo, &users.other, None, json!({"foresee_user": "ghost"}))),
        knows(Some(&users.other)),
        knows(None),
        knows(Some(&users.login)),
    ];
    let mut said = Vec::new();
    for pending in all {
        said.push(done(pending.await.unwrap().reply).data.get("knows_user").and_then(Value::as_bool));
    }
    assert_eq!(said, [Some(false), None, Some(true), Some(true), Some(true)]);
}

#[tokio::test]
async fn su_asks_for_the_other_users_password() {
    let Some(users) = Users::make("g", "# nothing\n") else { return };
    let session = login(&users.login).await;
    let outcome = run(&session, as_user(Su, &users.other, Some(PASSWORD), json!({}))).await;
    assert_eq!(outcome.data["uid"], uid_of(&users.other));
    let began = Instant::now();
    let why = refusal(&session, as_user(Su, "root", Some("wrong one"), json!({}))).await;
    assert!(why.contains("password is wrong"), "{why}");
    let why = refusal(&session, as_user(Su, "root", None, json!({}))).await;
    assert!(why.contains("ansible_become_password"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn doas_asks_on_a_terminal() {
    let Some(users) = Users::make("h", "# nothing\n") else { return };
    if !std::path::Path::new("/usr/bin/doas").exists() || std::path::Path::new("/etc/doas.conf").exists() {
        eprintln!("not tried: doas is not installed, or configured already");
        return;
    }
    struct Configuration;
    impl Drop for Configuration {
        fn drop(&mut self) {
            let _ = std::fs::remove_file("/etc/doas.conf");
        }
    }
    let _configuration = Configuration;
    std::fs::write("/etc/doas.conf", format!("permit {}\npermit nopass root\n", users.login)).unwrap();
    let session = login(&users.login).await;
    let outcome = run(&session, as_user(Doas, "root", Some(PASSWORD), json!({}))).await;
    assert_eq!(outcome.data["uid"], 0);
    let why = refusal(&session, as_user(Doas, &users.other, Some("wrong one"), json!({}))).await;
    assert!(why.contains("password is wrong"), "{why}");
    let why = refusal(&session, as_user(Doas, &users.other, None, json!({}))).await;
    assert!(why.contains("ansible_become_password"), "{why}");
}
