//! The commands, on a store of their own.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Whole {
    #[command(flatten)]
    pki: PkiArgs,
}

fn deploy_pki(words: &[&str]) -> (String, String) {
    let args = match Whole::try_parse_from(std::iter::once(&"deploy-pki").chain(words)) {
        Ok(args) => args,
        Err(error) => return (String::new(), error.to_string()),
    };
    let mut out = Vec::new();
    match run(&args.pki, &mut out) {
        Ok(code) => (String::from_utf8(out).unwrap(), format!("{code:?}")),
        Err(error) => (String::from_utf8(out).unwrap(), error.to_string()),
    }
}

#[test]
fn a_store_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("pass"), "secret").unwrap();
    std::fs::set_permissions(path("pass"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (store, pass, leaf) = (path("store"), path("pass"), path("leaf"));
    let with = |words: &[&str]| deploy_pki(&[&["--store", &store, "--passphrase-file", &pass], words].concat());
    let fine = format!("{:?}", ExitCode::SUCCESS);
    let (said, code) = with(&["init", "--organization", "Example"]);
    assert!(code == fine && said.contains("cluster: made, /O=Example/CN=cluster CA"), "{said} {code}");
    assert!(with(&["init"]).0.contains("client: exists"));
    let issue = ["issue", "--ca", "cluster", "--profile", "cluster", "--common-name", "galera1", "--out", &leaf];
    assert!(with(&issue).1.contains("at least one DNS name"));
    assert!(with(&[&issue[..], &["--san", "10.0.0.300"]].concat()).1.contains("10.0.0.300"));
    let (said, code) = with(&[&issue[..], &["--san", "galera1", "--san", "10.0.0.1"]].concat());
    assert!(code == fine && said.contains("name: IP:10.0.0.1"), "{said} {code}");
    let (cert, key) = (path("leaf/cert.pem"), path("leaf/key.pem"));
    let verify = ["verify", "--cert", &cert, "--key", &key, "--san"];
    assert_eq!(with(&[&verify[..], &["galera1"]].concat()).1, fine);
    assert!(with(&[&verify[..], &["galera2"]].concat()).0.contains("bad: it is not valid for DNS:galera2"));
    let (table, code) = with(&["status", "--store-only"]);
    assert!(code == fine && table.contains("cluster cluster") && table.contains("/CN=galera1"), "{table}");
    let document: serde_json::Value =
        serde_json::from_str(&with(&["status", "--store-only", "--format", "json"]).0).unwrap();
    assert_eq!(document["certificates"][0]["host"], "galera1");
    assert!(with(&["export", "client"]).0.starts_with("-----BEGIN CERTIFICATE-----"));
    let refused =
        with(&["issue", "--ca", "cluster", "--profile", "client", "--common-name", "app", "--out", &path("x")]);
    assert!(refused.1.contains("can join replication"), "{refused:?}");
}

#[test]
fn signing_revoking_and_keeping_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("pass"), "secret").unwrap();
    std::fs::set_permissions(path("pass"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (store, pass) = (path("store"), path("pass"));
    let with = |words: &[&str]| deploy_pki(&[&["--store", &store, "--passphrase-file", &pass], words].concat());
    let fine = format!("{:?}", ExitCode::SUCCESS);
    assert!(with(&["backup", &path("early.tar")]).1.contains("there is no authority"));
    assert_eq!(with(&["init"]).1, fine);
    let made = std::process::Command::new("openssl")
        .args(["req", "-new", "-nodes", "-newkey", "ed25519", "-subj", "/CN=app", "-keyout", &path("key.pem")])
        .args(["-out", &path("req.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (request, out) = (path("req.pem"), path("app.pem"));
    let sign = ["sign", "--csr", &request, "--profile", "client", "--out", &out, "--ca"];
    assert!(with(&[&sign[..], &["cluster"]].concat()).1.contains("can join replication"));
    let (said, code) = with(&[&sign[..], &["client"]].concat());
    assert!(code == fine && said.contains("subject: /CN=app"), "{said} {code}");
    assert!(with(&[&sign[..], &["client"]].concat()).1.contains("exists"));
    let verify = ["verify", "--cert", &out, "--profile", "client"];
    assert_eq!(with(&verify).1, fine);

    let listed: serde_json::Value =
        serde_json::from_str(&with(&["status", "--store-only", "--format", "json"]).0).unwrap();
    let serial = listed["certificates"][0]["info"]["serial"].as_str().unwrap().to_string();
    assert!(with(&["revoke", "ffff"]).1.contains("has signed no certificate"));
    let (said, code) = with(&["revoke", &serial[..8], "--reason", "laptop lost"]);
    assert!(code == fine && said.contains("is revoked since") && said.contains("ACCOUNT LOCK"), "{said} {code}");
    assert!(with(&["revoke", &serial]).0.contains("was revoked already"));
    let (table, code) = with(&["status", "--store-only"]);
    assert!(table.contains("CRITICAL") && code == format!("{:?}", ExitCode::from(2)), "{table} {code}");

    let kept = path("kept.tar");
    let (said, code) = with(&["backup", &kept]);
    assert!(code == fine && said.contains("2 authorities, 1 certificates"), "{said} {code}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&kept).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(with(&["backup", &kept]).1.contains("exists"), "a backup is never written over");
    let (said, code) = with(&["backup", "--verify", &kept]);
    assert!(code == fine && said.contains("its key opens") && said.ends_with("good\n"), "{said} {code}");
    std::fs::write(&pass, "another").unwrap();
    assert!(with(&["backup", "--verify", &kept]).1.contains("passphrase does not open"));
}

#[test]
fn an_offline_root_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (name, secret) in [("pass", "secret"), ("rootpass", "of the root")] {
        std::fs::write(path(name), secret).unwrap();
        std::fs::set_permissions(path(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let (store, pass, usb, rootpass) = (path("store"), path("pass"), path("usb"), path("rootpass"));
    let with = |words: &[&str]| deploy_pki(&[&["--store", &store, "--passphrase-file", &pass], words].concat());
    let root = ["--offline-root", &usb, "--root-passphrase-file", &rootpass];
    let fine = format!("{:?}", ExitCode::SUCCESS);
    let refused = with(&["init", "--offline-root", &store, "--root-passphrase-file", &rootpass]).1;
    assert!(refused.contains("the roots' directory is the store itself"), "{refused}");
    let (said, code) = with(&[&["init", "--organization", "Example", "--permit", "example.org"], &root[..]].concat());
    assert!(code == fine && said.contains("client: made, /O=Example/CN=client CA intermediate"), "{said} {code}");
    assert!(said.contains("keep it away from here"), "{said}");
    // The passphrases are two.
    let listed = deploy_pki(&["--store", &usb, "--passphrase-file", &rootpass, "status", "--store-only"]).0;
    assert!(listed.contains("client root CA"), "{listed}");
    // Unplugged: certificates are issued, and nothing else is missed.
    std::fs::rename(path("usb"), path("drawer")).unwrap();
    assert!(with(&["init", "--offline-root", &usb]).0.contains("cluster: exists"));
    let leaf = path("leaf");
    let issue = ["issue", "--ca", "client", "--profile", "server", "--common-name", "db", "--san", "db.example.org"];
    assert_eq!(with(&[&issue[..], &["--out", &leaf]].concat()).1, fine);
    let chain = std::fs::read_to_string(path("leaf/cert.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN").count(), 3);
    // Renewed by what is carried between the two machines.
    let (csr, cert) = (path("client.csr"), path("client.pem"));
    assert_eq!(with(&["intermediate", "request", "--ca", "client", "--out", &csr]).1, fine);
    let sign = ["intermediate", "sign", "--ca", "client", "--csr", &csr, "--out", &cert];
    let drawer = path("drawer");
    let signed = deploy_pki(&[&sign[..], &["--offline-root", &drawer, "--root-passphrase-file", &rootpass]].concat());
    assert!(signed.1 == fine && signed.0.contains("intermediate G2"), "{signed:?}");
    let installed = with(&["intermediate", "install", "--ca", "client", "--cert", &cert]);
    assert!(installed.1 == fine && installed.0.contains("its root is the same"), "{installed:?}");
    let renewed = with(&[
        "intermediate",
        "renew",
        "--ca",
        "cluster",
        "--offline-root",
        &drawer,
        "--root-passphrase-file",
        &rootpass,
    ]);
    assert!(renewed.1 == fine && renewed.0.contains("cluster CA intermediate G2"), "{renewed:?}");
    // One that is its own root is not put below another by chance.
    let other = path("other");
    let plain = |words: &[&str]| deploy_pki(&[&["--store", &other, "--passphrase-file", &pass], words].concat());
    assert_eq!(plain(&["init"]).1, fine);
    let refused = plain(&["init", "--offline-root", &drawer, "--root-passphrase-file", &rootpass]).1;
    assert!(refused.contains("is its own root"), "{refused}");
}
