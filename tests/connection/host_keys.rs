//! Who the host is.

use std::sync::atomic::Ordering;

use deploy::connection::{ConnectionError, HostKeyPolicy, HostKeyProblem, Target};

use crate::sshd::{Sshd, keygen, run};
use crate::{Answers, connector};

async fn refused(target: &Target) -> (HostKeyProblem, String) {
    match connector().connect(target).await {
        Err(error) => {
            assert!(error.is_unreachable());
            match &error {
                ConnectionError::HostKey { kind, .. } => (*kind, error.to_string()),
                other => panic!("{other}"),
            }
        }
        Ok(_) => panic!("the host was trusted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_stops_with_both_fingerprints_before_any_login() {
    let server = Sshd::prepare(|d| {
        keygen(&d.join("old"), "ed25519", "");
        String::new()
    });
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::Ask, HostKeyPolicy::AcceptNew] {
        let mut target = server.target();
        target.host_key.policy = policy;
        server.know(&std::fs::read_to_string(server.path("old.pub")).unwrap());
        let (kind, message) = refused(&target).await;
        assert_eq!(kind, HostKeyProblem::Changed);
        for name in ["old.pub", "host.pub"] {
            let shown = run("ssh-keygen", &["-l", "-f", server.path(name).to_str().unwrap()]);
            let print = shown.split_whitespace().nth(1).unwrap();
            assert!(message.contains(print), "{print} is not in {message}");
        }
        assert!(message.contains("known_hosts:1"), "{message}");
    }
    assert!(!server.log().contains("publickey"), "nobody tried to log in: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_is_refused_learned_or_asked_about() {
    let server = Sshd::start();
    let mut target = server.target();
    std::fs::remove_file(server.path("known_hosts")).unwrap();
    assert_eq!(refused(&target).await.0, HostKeyProblem::Unknown);
    target.host_key.policy = HostKeyPolicy::Ask;
    assert_eq!(refused(&target).await.0, HostKeyProblem::Unknown, "nobody is there");
    assert!(!server.path("known_hosts").exists());

    let (no, asked) = Answers::connector("no");
    assert!(no.connect(&target).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // Several connections to one new host ask once.
    let (yes, asked) = Answers::connector("yes");
    let (a, b, c) = tokio::join!(yes.connect(&target), yes.connect(&target), yes.connect(&target));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    std::fs::remove_file(server.path("known_hosts")).unwrap();

    target.host_key.policy = HostKeyPolicy::AcceptNew;
    target.host_key.hash_names = true;
    let connector = connector();
    let (a, b, c) = tokio::join!(connector.connect(&target), connector.connect(&target), connector.connect(&target));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let text = std::fs::read_to_string(server.path("known_hosts")).unwrap();
    assert!(text.starts_with("|1|") && text.lines().count() == 1, "{text}");

    // What was learned holds, also against the policy that learned it.
    target.host_key.policy = HostKeyPolicy::Strict;
    crate::connector().connect(&target).await.unwrap();
    let found = run(
        "ssh-keygen",
        &["-F", &format!("[127.0.0.1]:{}", server.port), "-f", server.path("known_hosts").to_str().unwrap()],
    );
    assert!(found.contains("ssh-ed25519"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_trusted() {
    let server = Sshd::start();
    let mut target = server.target();
    target.host_key.policy = HostKeyPolicy::AcceptNew;
    std::fs::remove_file(server.path("known_hosts")).unwrap();
    target.host_key.user_files = vec![server.path("client").join("known_hosts")];
    let error = connector().connect(&target).await.err().expect("it was trusted");
    assert!(error.to_string().contains("client/known_hosts"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_algorithm_is_asked_for() {
    let server = Sshd::prepare(|d| {
        keygen(&d.join("host_rsa"), "rsa", "");
        format!("HostKey {}/host_rsa", d.display())
    });
    let target = server.target();
    for name in ["host.pub", "host_rsa.pub"] {
        server.know(&std::fs::read_to_string(server.path(name)).unwrap());
        connector().connect(&target).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_and_revoked_keys() {
    let server = Sshd::start();
    let mut target = server.target();
    let public = std::fs::read_to_string(server.path("host.pub")).unwrap();
    std::fs::remove_file(server.path("known_hosts")).unwrap();
    target.host_key.pinned = vec![public.trim().to_string()];
    connector().connect(&target).await.unwrap();
    std::fs::write(server.path("revoked"), &public).unwrap();
    target.host_key.revoked_files = vec![server.path("revoked")];
    assert_eq!(refused(&target).await.0, HostKeyProblem::Revoked);
    target.host_key.revoked_files = vec![server.path("missing")];
    assert!(connector().connect(&target).await.is_err(), "a list that cannot be read fails closed");
    target.host_key.revoked_files.clear();
    target.host_key.pinned = vec!["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_string()];
    assert_eq!(refused(&target).await.0, HostKeyProblem::Changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_certificate_is_trusted_through_its_authority() {
    for (principal, expected) in [("127.0.0.1", None), ("somebody", Some(HostKeyProblem::Certificate))] {
        let server = Sshd::prepare(|d| {
            keygen(&d.join("ca"), "ed25519", "");
            let (ca, host) = (d.join("ca"), d.join("host.pub"));
            let args = ["-q", "-s", ca.to_str().unwrap(), "-h", "-I", "web1", "-n", principal, host.to_str().unwrap()];
            run("ssh-keygen", &args);
            format!("HostCertificate {}/host-cert.pub", d.display())
        });
        let target = server.target();
        let authority = std::fs::read_to_string(server.path("ca.pub")).unwrap();
        let line = format!("@cert-authority [127.0.0.1]:{} {authority}", server.port);
        std::fs::write(server.path("known_hosts"), line).unwrap();
        match expected {
            None => {
                connector().connect(&target).await.unwrap();
            }
            Some(expected) => assert_eq!(refused(&target).await.0, expected),
        }
        // Without the authority the plain key decides, and the server with a certificate still shows it.
        server.know(&std::fs::read_to_string(server.path("host.pub")).unwrap());
        connector().connect(&target).await.unwrap();
    }
}
