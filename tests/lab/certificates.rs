//! `deploy pki` on the site: what status says of it when all is well, and of everything that can be wrong.

use super::cluster::{self, NODES};
use super::lab::{Lab, Ran, lab, script};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("certificates: status sees what lies there and what is served", status)];

/// `deploy pki status` on the suite's site, with its store.
fn pki(lab: &Lab, more: &[&str]) -> Ran {
    let store = cluster::store(lab);
    let passphrase = lab.file("passphrase", &format!("{}\n", cluster::PASSPHRASE));
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1").env_remove("DEPLOY_INVENTORY");
    command.arg("pki").arg("--store").arg(store).arg("--passphrase-file").arg(passphrase).args(more);
    if more.first() == Some(&"status") {
        command.arg("-i").arg(&lab.inventory);
        if !more.contains(&"--limit") {
            command.args(["--limit", "galera"]);
        }
    }
    Ran::of(command.stdin(std::process::Stdio::null()).output().unwrap())
}

fn json(lab: &Lab, more: &[&str]) -> (i32, Value) {
    let ran = pki(lab, &[&["status", "--format", "json"], more].concat());
    let document = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.all()));
    (ran.code, document)
}

/// A set of a host out of the document.
fn set<'a>(document: &'a Value, host: &str, name: &str) -> &'a Value {
    let hosts = document["hosts"].as_array().unwrap();
    let found = hosts.iter().find(|one| one["host"] == host).unwrap_or_else(|| panic!("{host} in {document:#}"));
    let sets = found["sets"].as_array().unwrap_or_else(|| panic!("{found:#}"));
    sets.iter().find(|one| one["name"] == name).unwrap()
}

/// All that is said of a set, in one text.
fn why(set: &Value) -> String {
    let ports = set["ports"].as_array().unwrap().iter().flat_map(|port| port["findings"].as_array().unwrap());
    let all = set["findings"].as_array().unwrap().iter().chain(ports);
    all.map(|one| one["why"].as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

fn status() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let (code, document) = json(&lab, &[]);
    assert_eq!((code, &document["state"]), (0, &Value::from("ok")), "{document:#}");
    for host in NODES {
        for (name, port) in [("cluster", 4567), ("server", 3306)] {
            let set = set(&document, host, name);
            // What the host itself says, without us.
            let path = format!("/etc/mysql/ssl/{name}/current/cert.pem");
            let serial = lab.ssh(host, &format!("openssl x509 -in {path} -noout -serial | cut -d= -f2 | tr A-F a-f"));
            let served = &set["ports"][0];
            assert_eq!(set["file"]["serial"], serial, "{set:#}");
            assert_eq!((&served["port"], &served["served"]["serial"]), (&Value::from(port), &Value::from(serial)));
            // Another host has asked, not the one that is judged.
            let from = served["seen_from"].as_str().unwrap();
            assert!(from != host && NODES.contains(&from), "{set:#}");
            assert!(set["renew_at"].is_i64() && set["trusts"].as_array().unwrap().len() == 1, "{set:#}");
        }
    }
    let table = pki(&lab, &["status"]);
    assert!(table.code == 0 && table.out.contains("ok: 3 hosts: 6 ok"), "{}", table.all());
    let metrics = lab.file("metrics/pki.prom", "");
    let written = pki(&lab, &["status", "--format", "prometheus", "--out", metrics.to_str().unwrap()]);
    let text = std::fs::read_to_string(&metrics).unwrap();
    assert!(written.code == 0 && written.out.is_empty() && text.contains("deploy_pki_state 0\n"), "{}", written.all());
    assert_eq!(text.matches("deploy_pki_served_is_file{").count(), 6, "{text}");

    // Nobody is shut out by being looked at: a server lets nobody in after a hundred broken handshakes in a row.
    let counted = || {
        let query = "mariadb -Ne 'show global status like \"Aborted_connects_preauth\"'";
        NODES.map(|host| lab.ssh(host, query))
    };
    let before = counted();
    for _ in 0..3 {
        assert_eq!(pki(&lab, &["status"]).code, 0);
    }
    assert_eq!(counted(), before, "a broken handshake was counted");

    // A file that was replaced and that nobody has read: every port still serves the old one, and says so.
    let variables = cluster::arguments(&lab);
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    let play = "- hosts: galera2\n  become: true\n  gather_facts: false\n  tasks:\n    - pki_certificate: {ca: cluster, profile: \
                cluster, path: /etc/mysql/ssl/cluster, force: true, dns: [galera2], owner: root, group: mysql, key_mode: '0640', \
                directory_mode: '0750'}\n";
    let ran = lab.play(play, &variables);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let (code, document) = json(&lab, &[]);
    let replaced = set(&document, "galera2", "cluster");
    assert_eq!((code, &replaced["state"]), (1, &Value::from("warning")), "{document:#}");
    assert!(why(replaced).contains("it was replaced and not reloaded (FLUSH LOCAL SSL)"), "{replaced:#}");
    assert_ne!(replaced["file"]["serial"], replaced["ports"][0]["served"]["serial"]);
    assert_eq!(set(&document, "galera2", "server")["state"], "ok");
    let table = pki(&lab, &["status"]);
    assert!(
        table.code == 1 && table.out.contains("WARNING: galera2, cluster, 4567: port 4567 serves"),
        "{}",
        table.all()
    );

    // What is served was revoked: that is no longer a warning.
    let old = replaced["ports"][0]["served"]["serial"].as_str().unwrap();
    let revoked = pki(&lab, &["revoke", old, "--reason", "the suite says so"]);
    assert!(revoked.code == 0 && revoked.out.contains("reads no revocation list"), "{}", revoked.all());
    let (code, document) = json(&lab, &["--limit", "galera2"]);
    let served = set(&document, "galera2", "cluster");
    assert_eq!((code, &served["state"]), (2, &Value::from("critical")), "{document:#}");
    assert!(why(served).contains("(the suite says so) and port 4567 still serves it"), "{served:#}");
    lab.ssh("galera2", "mariadb -e 'FLUSH LOCAL SSL'");
    let (code, document) = json(&lab, &[]);
    assert_eq!(code, 0, "{document:#}");

    // A key that belongs to another certificate.
    let (key, kept) = ("/etc/mysql/ssl/server/current/key.pem", "/root/key.pem");
    lab.ssh(
        "galera3",
        &format!("cp -p {key} {kept}; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}"),
    );
    let (code, document) = json(&lab, &["--limit", "galera3"]);
    let wrong = set(&document, "galera3", "server");
    assert!(code == 2 && why(wrong).contains("its private key belongs to another certificate"), "{document:#}");
    // Only what was asked for is shown; whoever had to help is not.
    assert_eq!(document["hosts"].as_array().unwrap().len(), 1, "{document:#}");
    assert_ne!(wrong["ports"][0]["seen_from"], "galera3");
    lab.ssh("galera3", &format!("cp -p {kept} {key}; rm {kept}"));

    // A server that is down: its files are judged, and what it would serve is unknown.
    lab.ssh("galera3", "systemctl stop mariadb");
    let (code, document) = json(&lab, &[]);
    let stopped = set(&document, "galera3", "cluster");
    assert_eq!((code, &stopped["state"]), (3, &Value::from("unknown")), "{document:#}");
    assert!(why(stopped).contains("what port 4567 serves is not known"), "{stopped:#}");
    assert_eq!(set(&document, "galera1", "cluster")["state"], "ok", "another peer asks: {document:#}");

    // A host that is off is unreachable, and the others are looked at nevertheless.
    assert!(script("power").args(["galera3", "off"]).status().unwrap().success());
    let began = Instant::now();
    let (code, document) = json(&lab, &["-T", "3"]);
    assert!(code == 3 && began.elapsed() < Duration::from_secs(20), "{code} after {:?}", began.elapsed());
    let hosts = document["hosts"].as_array().unwrap();
    let off = hosts.iter().find(|one| one["host"] == "galera3").unwrap();
    assert!(off["state"] == "unknown" && off["error"].is_string(), "{off:#}");
    for host in ["galera1", "galera2"] {
        assert_eq!(set(&document, host, "server")["state"], "ok", "{document:#}");
    }
    assert!(script("power").args(["galera3", "on"]).status().unwrap().success());
    lab.ssh("galera3", "systemctl start mariadb");
    cluster::assert_whole(&lab, Duration::from_secs(120));
}
