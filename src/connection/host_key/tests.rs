use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use russh::keys::PublicKey;

use super::super::known_hosts::parse;
use super::*;

/// Keys and certificates made by ssh-keygen.
struct Shop {
    directory: tempfile::TempDir,
}

impl Shop {
    fn new() -> Shop {
        Shop { directory: tempfile::tempdir().unwrap() }
    }

    fn keygen(&self, args: &[&str]) {
        let output = Command::new("ssh-keygen").current_dir(self.directory.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A public key line without its comment.
    fn key(&self, name: &str, kind: &str) -> String {
        self.keygen(&["-q", "-t", kind, "-N", "", "-C", "", "-f", name]);
        std::fs::read_to_string(self.directory.path().join(format!("{name}.pub"))).unwrap().trim().to_string()
    }

    /// A certificate for the key `name`.
    fn certificate(&self, name: &str, authority: &str, args: &[&str]) -> PublicKeyOrCertificate {
        let public = format!("{name}.pub");
        let mut all = vec!["-q", "-s", authority, "-I", "the id"];
        all.extend_from_slice(args);
        all.push(&public);
        self.keygen(&all);
        let path = self.directory.path().join(format!("{name}-cert.pub"));
        PublicKeyOrCertificate::Certificate(Certificate::from_openssh(&std::fs::read_to_string(path).unwrap()).unwrap())
    }
}

fn presented(line: &str) -> PublicKeyOrCertificate {
    PublicKey::from_openssh(line).unwrap().into()
}

fn target(policy: HostKeyPolicy) -> Target {
    let mut target = Target::plain("inventory-name", "web1", 22, "root");
    target.host_key.policy = policy;
    target.host_key.user_files = vec!["/home/me/.ssh/known_hosts".into()];
    target
}

fn known(text: &str) -> KnownHosts {
    KnownHosts::new(vec![Arc::new(parse(Path::new("/home/me/.ssh/known_hosts"), text))])
}

fn refused(verdict: Verdict) -> (HostKeyProblem, String) {
    match verdict {
        Verdict::Refused(problem, reason) => (problem, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn recorded_changed_unknown_under_every_policy() {
    let shop = Shop::new();
    let (good, bad) = (shop.key("good", "ed25519"), shop.key("bad", "ed25519"));
    let other_kind = shop.key("other", "ecdsa");
    let record = format!("web1 {good}");
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::Ask, HostKeyPolicy::AcceptNew] {
        let target = target(policy);
        assert_eq!(judge(&target, &known(&record), &presented(&good)), Verdict::Trusted);
        // A comment is no part of the key.
        assert_eq!(judge(&target, &known(&record), &presented(&format!("{good} me@here"))), Verdict::Trusted);
        for wrong in [&bad, &other_kind] {
            let (problem, reason) = refused(judge(&target, &known(&record), &presented(wrong)));
            assert_eq!(problem, HostKeyProblem::Changed);
            let print = |line: &str| PublicKey::from_openssh(line).unwrap().fingerprint(HashAlg::Sha256).to_string();
            for part in [print(&good), print(wrong), "/home/me/.ssh/known_hosts:1".into(), "ssh-keygen -R".into()] {
                assert!(reason.contains(&part), "{part} is not in {reason}");
            }
        }
        let verdict = judge(&target, &known(""), &presented(&good));
        match policy {
            HostKeyPolicy::Strict => assert_eq!(refused(verdict).0, HostKeyProblem::Unknown),
            HostKeyPolicy::Ask => assert!(matches!(verdict, Verdict::Ask(_))),
            HostKeyPolicy::AcceptNew => assert!(matches!(verdict, Verdict::Learn(_))),
        }
    }
}

#[test]
fn a_revoked_key_is_refused_even_when_it_is_recorded_or_pinned() {
    let shop = Shop::new();
    let key = shop.key("key", "ed25519");
    let records = known(&format!("web1 {key}\n@revoked * {key}\n"));
    let mut target = target(HostKeyPolicy::AcceptNew);
    assert_eq!(refused(judge(&target, &records, &presented(&key))).0, HostKeyProblem::Revoked);
    target.host_key.pinned = vec![key.clone()];
    let (problem, reason) = refused(judge(&target, &records, &presented(&key)));
    assert_eq!(problem, HostKeyProblem::Revoked);
    assert!(reason.contains("known_hosts:2"), "{reason}");
}

#[test]
fn other_ports_and_aliases() {
    let shop = Shop::new();
    let (key, other) = (shop.key("key", "ed25519"), shop.key("other", "ed25519"));
    let mut target = target(HostKeyPolicy::Strict);
    target.port = 2222;
    assert_eq!(judge(&target, &known(&format!("[web1]:2222 {key}")), &presented(&key)), Verdict::Trusted);
    assert_eq!(judge(&target, &known(&format!("web1 {key}")), &presented(&key)), Verdict::Trusted);
    let different = refused(judge(&target, &known(&format!("web1 {key}")), &presented(&other)));
    assert_eq!(different.0, HostKeyProblem::Unknown, "port 22 may be another machine: {}", different.1);
    let both = format!("web1 {key}\n[web1]:2222 {other}");
    assert_eq!(refused(judge(&target, &known(&both), &presented(&key))).0, HostKeyProblem::Changed);
    target.host_key.alias = Some("Cluster".to_string());
    assert_eq!(judge(&target, &known(&format!("cluster {key}")), &presented(&key)), Verdict::Trusted);
    assert_eq!(learn_name(&target), "cluster");
}

#[test]
fn pins_decide_alone() {
    let shop = Shop::new();
    let (key, other) = (shop.key("key", "ed25519"), shop.key("other", "ed25519"));
    let print = PublicKey::from_openssh(&key).unwrap().fingerprint(HashAlg::Sha256).to_string();
    for pin in [key.clone(), format!("{key} a comment"), print] {
        let mut target = target(HostKeyPolicy::AcceptNew);
        target.host_key.pinned = vec![pin];
        assert_eq!(judge(&target, &known(""), &presented(&key)), Verdict::Trusted);
        let recorded = known(&format!("web1 {other}"));
        let (problem, reason) = refused(judge(&target, &recorded, &presented(&other)));
        assert_eq!(problem, HostKeyProblem::Changed);
        assert!(reason.contains("ansible_ssh_host_key"), "{reason}");
    }
}

#[test]
fn recorded_algorithms_come_first_and_certificates_only_with_an_authority() {
    let shop = Shop::new();
    let rsa = shop.key("rsa", "rsa");
    let target = target(HostKeyPolicy::Strict);
    let (order, certificates) = preferred_algorithms(&target, &known(&format!("web1 {rsa}")));
    let names: Vec<&str> = order.iter().map(Algorithm::as_str).collect();
    assert_eq!(names.first(), Some(&"rsa-sha2-512"), "{names:?}");
    assert!(names.contains(&"ssh-ed25519") && !names.contains(&"ssh-rsa"));
    assert!(certificates.is_empty());
    let (order, certificates) = preferred_algorithms(&target, &known(&format!("@cert-authority web* {rsa}")));
    assert_eq!(order.first(), Some(&Algorithm::Ed25519));
    assert!(!certificates.is_empty());
}

#[test]
fn host_certificates() {
    let shop = Shop::new();
    let authority = shop.key("ca", "ed25519");
    let stranger = shop.key("stranger", "ed25519");
    shop.key("host", "ed25519");
    let target = target(HostKeyPolicy::Strict);
    let trusted = known(&format!("@cert-authority web1 {authority}"));

    for principals in ["web1", "other,web1", "WEB1", "web*"] {
        let certificate = shop.certificate("host", "ca", &["-h", "-n", principals, "-V", "-1h:+1h"]);
        assert_eq!(judge(&target, &trusted, &certificate), Verdict::Trusted, "{principals}");
    }

    let table: &[(&[&str], &str)] = &[
        (&["-h", "-n", "web2", "-V", "-1h:+1h"], "names web2, not web1"),
        (&["-h", "-V", "-1h:+1h"], "names nobody"),
        (&["-h", "-n", "web1", "-V", "-2h:-1h"], "expired"),
        (&["-h", "-n", "web1", "-V", "+1h:+2h"], "not valid before"),
        (&["-n", "web1", "-V", "-1h:+1h"], "user certificate"),
        (&["-h", "-n", "web1", "-O", "critical:force-command=x", "-V", "-1h:+1h"], "critical option"),
    ];
    for (args, expected) in table {
        let certificate = shop.certificate("host", "ca", args);
        let (problem, reason) = refused(judge(&target, &trusted, &certificate));
        assert_eq!(problem, HostKeyProblem::Certificate, "{reason}");
        assert!(reason.contains(expected) && reason.contains("the id"), "{expected}: {reason}");
    }

    // Signed by somebody we do not know: the plain key inside decides.
    let certificate = shop.certificate("host", "stranger", &["-h", "-n", "web1", "-V", "-1h:+1h"]);
    let (problem, reason) = refused(judge(&target, &trusted, &certificate));
    assert_eq!(problem, HostKeyProblem::Unknown);
    assert!(reason.contains("no @cert-authority line"), "{reason}");
    let plain = std::fs::read_to_string(shop.directory.path().join("host.pub")).unwrap();
    assert_eq!(judge(&target, &known(&format!("web1 {plain}")), &certificate), Verdict::Trusted);

    // A revoked authority vouches for nobody.
    let certificate = shop.certificate("host", "ca", &["-h", "-n", "web1", "-V", "-1h:+1h"]);
    let revoked = known(&format!("@cert-authority web1 {authority}\n@revoked * {authority}"));
    assert_eq!(refused(judge(&target, &revoked, &certificate)).0, HostKeyProblem::Revoked);
    let elsewhere = known(&format!("@cert-authority db* {authority}\n@cert-authority web1 {stranger}"));
    assert_eq!(refused(judge(&target, &elsewhere, &certificate)).0, HostKeyProblem::Unknown);
}
