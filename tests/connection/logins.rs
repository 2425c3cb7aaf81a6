//! Every way to log in.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use deploy::connection::{ConnectionError, Identity, Methods, Target};
use deploy::secret::Secret;

use crate::sshd::{Sshd, keygen, run, user};
use crate::{Answers, connector};

/// Logs in and proves that commands run.
async fn works(target: &Target) {
    let connection = connector().connect(target).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(connection.exec("echo in", b"").await.unwrap().stdout, b"in\n");
}

/// The message of a login that must fail.
async fn refused(target: &Target) -> String {
    match connector().connect(target).await {
        Err(error @ ConnectionError::Auth { .. }) => {
            assert!(error.is_unreachable());
            error.to_string()
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

fn only(target: &mut Target, path: impl AsRef<Path>) {
    target.auth.identities = vec![Identity { path: path.as_ref().to_path_buf(), explicit: true }];
}

/// A key made beside the server's files; `authorize` lets it in.
fn key(directory: &Path, name: &str, kind: &str, passphrase: &str, authorize: bool) {
    keygen(&directory.join(name), kind, passphrase);
    if authorize {
        let mut all = std::fs::read_to_string(directory.join("authorized_keys")).unwrap();
        all.push_str(&std::fs::read_to_string(directory.join(format!("{name}.pub"))).unwrap());
        std::fs::write(directory.join("authorized_keys"), all).unwrap();
    }
}

/// An ssh-agent with keys in it.
struct Agent {
    child: Child,
    socket: std::path::PathBuf,
}

impl Agent {
    fn start(directory: &Path) -> Agent {
        let socket = directory.join("agent.sock");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        for _ in 0..100 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Agent { child, socket }
    }

    fn add(&self, path: &Path) {
        let output = Command::new("ssh-add").arg("-q").arg(path).env("SSH_AUTH_SOCK", &self.socket).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_types_and_formats() {
    let server = Sshd::prepare(|d| {
        for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa")] {
            key(d, name, kind, "", true);
        }
        // Old formats of the same keys.
        for (name, format) in [("rsa", "PEM"), ("ecdsa", "PKCS8")] {
            let copy = d.join(format!("{name}-{format}"));
            std::fs::copy(d.join(name), &copy).unwrap();
            run("ssh-keygen", &["-q", "-p", "-N", "", "-m", format, "-f", copy.to_str().unwrap()]);
        }
        // An RSA key must sign with SHA-512 to be taken.
        "PubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed25519,ecdsa-sha2-nistp256".to_string()
    });
    let mut target = server.target();
    for name in ["client", "rsa", "ecdsa", "rsa-PEM", "ecdsa-PKCS8"] {
        only(&mut target, server.path(name));
        works(&target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_once_for_many_hosts() {
    let server = Sshd::prepare(|d| {
        key(d, "locked", "ed25519", "open sesame", true);
        String::new()
    });
    let mut target = server.target();
    only(&mut target, server.path("locked"));
    let (connector, asked) = Answers::connector("open sesame");
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (connector, target) = (connector.clone(), target.clone());
            tokio::spawn(async move { connector.connect(&target).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // Nobody there, a wrong answer, and one known beforehand.
    assert!(refused(&target).await.contains("passphrase"));
    let (wrong, asked) = Answers::connector("wrong");
    let error = wrong.connect(&target).await.err().unwrap().to_string();
    assert!(error.contains("wrong three times"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    target.auth.passphrase = Some(Secret::new("open sesame"));
    works(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_not_asked_for_a_key_that_the_server_does_not_want() {
    let server = Sshd::prepare(|d| {
        key(d, "locked", "ed25519", "open sesame", false);
        String::new()
    });
    let mut target = server.target();
    target.auth.identities.insert(0, Identity { path: server.path("locked"), explicit: true });
    let (connector, asked) = Answers::connector("open sesame");
    connector.connect(&target).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_signs_with_every_kind_of_key() {
    let server = Sshd::prepare(|d| {
        key(d, "rsa", "rsa", "", true);
        key(d, "stranger", "ed25519", "", false);
        "PubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed25519".to_string()
    });
    for name in ["client", "rsa"] {
        let directory = tempfile::tempdir().unwrap();
        let agent = Agent::start(directory.path());
        agent.add(&server.path("stranger"));
        agent.add(&server.path(name));
        let mut target = server.target();
        target.auth.identities.clear();
        target.auth.agent = Some(agent.socket.clone());
        works(&target).await;
        target.auth.identities_only = true;
        assert!(refused(&target).await.contains("nothing to try"));
        // A public key selects the one of the agent.
        only(&mut target, server.path(&format!("{name}.pub")));
        works(&target).await;
    }
    let mut target = server.target();
    target.auth.agent = Some("/does/not/exist.sock".into());
    works(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_certificates() {
    let me = user();
    let server = Sshd::prepare(|d| {
        keygen(&d.join("ca"), "ed25519", "");
        for (name, kind) in [("ed", "ed25519"), ("rsa", "rsa"), ("other", "ed25519")] {
            key(d, name, kind, "", false);
        }
        let sign = |name: &str| {
            let path = d.join(format!("{name}.pub"));
            let ca = d.join("ca");
            run("ssh-keygen", &["-q", "-s", ca.to_str().unwrap(), "-I", "me", "-n", &me, path.to_str().unwrap()]);
        };
        ["ed", "rsa", "other"].iter().for_each(|name| sign(name));
        std::fs::rename(d.join("other-cert.pub"), d.join("elsewhere")).unwrap();
        format!("TrustedUserCAKeys {}/ca.pub", d.display())
    });
    let mut target = server.target();
    for name in ["ed", "rsa"] {
        only(&mut target, server.path(name));
        works(&target).await;
    }
    only(&mut target, server.path("other"));
    let message = refused(&target).await;
    assert!(message.contains("other") && message.contains("refused"), "{message}");
    target.auth.certificates = vec![server.path("elsewhere")];
    works(&target).await;

    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path());
    agent.add(&server.path("rsa"));
    let mut target = server.target();
    target.auth.identities.clear();
    target.auth.agent = Some(agent.socket.clone());
    works(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_what_was_tried_and_what_to_do() {
    let server = Sshd::prepare(|d| {
        key(d, "stranger", "ed25519", "", false);
        key(d, "open", "ed25519", "", false);
        std::fs::set_permissions(d.join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        String::new()
    });
    let mut target = server.target();
    target.auth.identities = ["stranger", "missing", "open"]
        .iter()
        .map(|name| Identity { path: server.path(name), explicit: true })
        .collect();
    let message = refused(&target).await;
    for part in [
        "web1: ",
        "127.0.0.1",
        "stranger: refused",
        "missing: no such file",
        "0644",
        "the server takes publickey",
        "ansible_ssh_private_key_file",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_keys_are_explained() {
    let server = Sshd::prepare(|d| {
        (0..8).for_each(|i| key(d, &format!("k{i}"), "ed25519", "", false));
        String::new()
    });
    let mut target = server.target();
    target.auth.identities = (0..8).map(|i| Identity { path: server.path(&format!("k{i}")), explicit: true }).collect();
    let message = refused(&target).await;
    assert!(message.contains("MaxAuthTries"), "{message}");
}

/// An account with a password, removed afterwards.
struct Account(String);

impl Account {
    fn new(suffix: &str, password: &str) -> Account {
        assert_eq!(user(), "root", "password logins are tested with an account made for it: run the tests as root");
        let name = format!("dt{suffix}{}", std::process::id());
        run("useradd", &["-m", "-s", "/bin/sh", &name]);
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        use std::io::Write;
        chpasswd.stdin.take().unwrap().write_all(format!("{name}:{password}\n").as_bytes()).unwrap();
        assert!(chpasswd.wait().unwrap().success());
        Account(name)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-rf", &self.0]).stderr(Stdio::null()).status();
    }
}

const PASSWORD: &str = r#"it's "a" \$ pass"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_the_servers_questions() {
    let account = Account::new("p", PASSWORD);
    for (config, method) in [
        ("UsePAM yes\nPasswordAuthentication yes", "password"),
        ("UsePAM yes\nKbdInteractiveAuthentication yes", "keyboard-interactive/pam"),
    ] {
        let server = Sshd::with(config);
        let mut target = server.target();
        target.user = account.0.clone();
        target.auth.identities.clear();
        assert!(refused(&target).await.contains("-k"));
        target.auth.password = Some(Secret::new(PASSWORD));
        works(&target).await;
        assert!(server.log().contains(&format!("Accepted {method}")), "{}", server.log());
        target.auth.methods = Methods { password: false, keyboard_interactive: false, publickey: true };
        refused(&target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_sent_once_and_never_shown() {
    let account = Account::new("w", PASSWORD);
    let server = Sshd::with("UsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes");
    let mut target = server.target();
    target.user = account.0.clone();
    target.auth.identities.clear();
    target.auth.password = Some(Secret::new("wrong horse"));
    let message = refused(&target).await;
    assert!(message.contains("password: refused") && !message.contains("horse"), "{message}");
    assert_eq!(server.log().matches("Failed password").count(), 1, "{}", server.log());
    assert!(!server.log().contains("Failed keyboard-interactive"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_password_together() {
    let account = Account::new("b", PASSWORD);
    let server = Sshd::with("UsePAM yes\nPasswordAuthentication yes\nAuthenticationMethods publickey,password");
    let mut target = server.target();
    target.user = account.0.clone();
    let message = refused(&target).await;
    assert!(message.contains("wants more"), "{message}");
    target.auth.password = Some(Secret::new(PASSWORD));
    works(&target).await;
}
