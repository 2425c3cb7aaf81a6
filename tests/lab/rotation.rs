//! Certificates are renewed under a client that writes, and authorities are changed: no server that can read anew is
//! restarted, and who is no longer trusted is refused.

use super::cluster::{self, NODES, Watch, Writer, assert_finished, processes, restarts, run_playbook, tail};
use super::faults::kill::{Kill, cut};
use super::faults::note;
use super::lab::{Lab, Ran, lab};
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("rotation: leaves, without a restart", leaves), ("rotation: a reload that fails is undone", undone)];

/// Those that take long.
pub const FAULTS: &[(&str, fn())] = &[
    ("rotate-ca: the clients' authority", clients),
    ("rotate-ca: the cluster's authority, killed in each phase", members),
];

pub const PORTS: [(&str, &str, &str); 2] = [("4567", "cluster", ""), ("3306", "server", "-starttls mysql")];

/// Serial numbers that the ports of all nodes serve, as another node sees them.
pub fn served(lab: &Lab) -> Vec<String> {
    let mut seen = Vec::new();
    for (index, node) in NODES.iter().enumerate() {
        let from = NODES[(index + 1) % NODES.len()];
        for (port, set, how) in PORTS {
            let own = format!("-cert /etc/mysql/ssl/{set}/current/cert.pem -key /etc/mysql/ssl/{set}/current/key.pem");
            let ask = format!(
                "timeout 10 openssl s_client {how} -connect {node}:{port} {own} </dev/null 2>/dev/null | openssl x509 -noout -serial"
            );
            seen.push(lab.ssh(from, &ask));
        }
    }
    seen
}

/// Serial numbers in the files.
fn filed(lab: &Lab) -> Vec<String> {
    let ask = |node: &str, set: &str| {
        lab.ssh(node, &format!("openssl x509 -noout -serial -in /etc/mysql/ssl/{set}/current/cert.pem"))
    };
    NODES.iter().flat_map(|node| PORTS.map(|(_, set, _)| ask(node, set))).collect()
}

/// The view of the cluster: it rises with every member that comes or goes.
fn view(lab: &Lab) -> String {
    lab.ssh(NODES[0], "mariadb -Ne \"show status like 'wsrep_cluster_conf_id'\"")
}

fn leaves() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let (old, running, members) = (served(&lab), processes(&lab), view(&lab));
    assert_eq!(old, filed(&lab));
    let quiet = run_playbook(&lab, "rotate-certs", &[]);
    assert_finished(&quiet);
    assert!(NODES.iter().all(|host| quiet.count(host, "changed") == 0), "{}", tail(&quiet.all()));
    assert!(!quiet.all().contains("gate galera"), "nothing is due, so no gate is asked: {}", tail(&quiet.all()));
    let check = run_playbook(&lab, "rotate-certs", &["--check", "-e", "pki_renew=force"]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    assert!(check.all().contains("renewal is forced") && check.all().contains("order: galera1, then galera2"));
    assert_eq!(served(&lab), old);

    let writer = Writer::start(&lab, "rotation_leaves");
    let ran = run_playbook(&lab, "rotate-certs", &["-e", "pki_renew=force"]);
    let summary = writer.stop();
    assert_finished(&ran);
    note(summary.line());
    summary.assert_nothing_lost();
    assert!(
        summary.0["errors"].as_object().is_none_or(|errors| errors.values().all(|one| one == &serde_json::json!({}))),
        "{}",
        summary.0
    );
    let new = served(&lab);
    assert_eq!(new, filed(&lab));
    for (before, after) in old.iter().zip(&new) {
        assert!(before.starts_with("serial=") && after.starts_with("serial=") && before != after, "{old:?} {new:?}");
    }
    assert_eq!((processes(&lab), view(&lab)), (running, members), "nobody restarted, nobody left");
    let again = run_playbook(&lab, "rotate-certs", &[]);
    assert!(NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", tail(&again.all()));

    // What a run that was killed between the swap and the reload leaves behind, with a port that tells nothing of it.
    lab.ssh("galera2", "touch /etc/mysql/ssl/cluster/unserved");
    let next = run_playbook(&lab, "rotate-certs", &[]);
    assert_finished(&next);
    assert!(next.all().contains("files were replaced that are not served yet"), "{}", tail(&next.all()));
    assert_eq!(["galera1", "galera3"].map(|host| next.count(host, "changed")), [0, 0], "{}", tail(&next.all()));
    assert_eq!(left_unserved(&lab), [""; 3]);
}

/// Marks of sets that nobody has read yet.
fn left_unserved(lab: &Lab) -> [String; 3] {
    NODES.map(|host| lab.ssh(host, "ls /etc/mysql/ssl/*/unserved 2>/dev/null"))
}

/// Serial numbers that are not served in the end: the old set is in force again, and the next node is not touched.
fn undone() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let old = served(&lab);
    // Nobody who asks 3306 from outside gets an answer.
    let bar = "nft add table inet bar; nft 'add chain inet bar in { type filter hook input priority -10; }'; \
               nft 'add rule inet bar in iifname != lo tcp dport 3306 reject'";
    lab.ssh("galera1", bar);
    let ran = run_playbook(&lab, "rotate-certs", &["-e", "pki_renew=force"]);
    lab.ssh("galera1", "nft delete table inet bar");
    assert_eq!(ran.code, 2, "{}", tail(&ran.all()));
    assert!(ran.all().contains("the certificates of before are in force again"), "{}", tail(&ran.all()));
    assert_eq!((served(&lab), filed(&lab)), (old.clone(), old));
    assert_eq!(left_unserved(&lab), [""; 3]);
}

/// An old pair of a node, kept aside: who has it must be refused in the end.
fn keep_aside(lab: &Lab, set: &str) {
    lab.ssh("galera2", &format!("rm -rf /root/old; cp -rL /etc/mysql/ssl/{set}/current /root/old"));
}

/// Whether a port takes the pair that was kept aside. TLS 1.2, where a refusal is part of the handshake.
fn takes_old(lab: &Lab, node: &str, port: &str, how: &str) -> bool {
    let ask = format!(
        "timeout 10 openssl s_client {how} -tls1_2 -connect {node}:{port} -cert /root/old/cert.pem -key /root/old/key.pem </dev/null \
         >/dev/null 2>&1; echo $?"
    );
    lab.ssh("galera2", &ask) == "0"
}

/// An inventory in which the writer's own folder is an application's host. What reads its certificate writes a line into
/// `told` each time that it is told to, and takes as long as there is a file `busy`.
pub fn with_application(lab: &Lab) -> (String, std::path::PathBuf) {
    let place = lab.file("writer/certificate/.keep", "").parent().unwrap().display().to_string();
    let told = lab.file("told/.keep", "").with_file_name("told");
    let _ = std::fs::remove_file(&told);
    let (file, busy) = (told.display(), told.with_file_name("busy").display().to_string());
    let tell = format!("echo told >> {file}; while test -e {busy}; do sleep 0.1; done");
    let text = format!(
        "clients:\n  hosts:\n    application:\n      ansible_connection: local\n      ansible_become: false\n      \
         pki_application_path: '{place}'\n      pki_sets:\n        - name: application\n          authority: client\n          \
         profile: client\n          path: '{place}'\n          common_name: passbolt\n          directory_mode: '0755'\n          \
         key_mode: '0640'\n          ports: []\n          reload: {{command: [sh, -c, '{tell}']}}\n"
    );
    (lab.file("application.yml", &text).display().to_string(), told)
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn clients() {
    let lab = lab();
    cluster::up(&lab, &[]);
    // What an earlier scenario left there another generation may have signed.
    let _ = std::fs::remove_dir_all(lab.file("writer/certificate/.keep", "").parent().unwrap());
    let (application, told) = with_application(&lab);
    keep_aside(&lab, "server");
    let (running, old) = (processes(&lab), served(&lab));
    assert!(takes_old(&lab, "galera1", "3306", "-starttls mysql"));
    let writer = Writer::start(&lab, "rotation_clients");
    let arguments = ["-i", application.as_str(), "-e", "rotate_ca=client"];
    let again = || {
        let mut command = cluster::playbook(&lab, "rotate-ca", &arguments);
        command.env("DEPLOY_RUNS_DIR", lab.file("rotation-runs/.keep", "").parent().unwrap());
        command
    };
    // Killed between the swap and the end of the reload of a set that has no port.
    let busy = told.with_file_name("busy");
    std::fs::write(&busy, "").unwrap();
    let (cut, _) = cut(&lab, again(), Kill::Controller, Duration::from_secs(300), &mut |_| lines(&told) > 0);
    assert!(cut.is_some() && lines(&told) == 1, "{}", cut.map(|ran| tail(&ran.all())).unwrap_or_default());
    std::fs::remove_file(&busy).unwrap();
    // The writer's first certificate was another host's (localhost), and nobody replaces that.
    let stopped = Ran::of(again().output().unwrap());
    assert!(stopped.code == 2 && stopped.all().contains("-e pki_untrust_signed=yes"), "{}", tail(&stopped.all()));
    assert!(stopped.all().contains("localhost (/CN=passbolt"), "{}", tail(&stopped.all()));
    let ran = Ran::of(again().args(["-e", "pki_untrust_signed=yes"]).output().unwrap());
    assert!(lines(&told) >= 4, "told {} times: what was cut off, and then in each phase", lines(&told));
    let summary = writer.stop();
    assert_finished(&ran);
    note(summary.line());
    summary.assert_nothing_lost();
    assert_eq!(processes(&lab), running, "3306 forgets an authority without a restart");
    let new = served(&lab);
    assert_eq!(new, filed(&lab));
    for (index, (before, after)) in old.iter().zip(&new).enumerate() {
        assert_eq!(before == after, index % 2 == 0, "3306 alone: {old:?} {new:?}");
    }
    for node in NODES {
        assert!(!takes_old(&lab, node, "3306", "-starttls mysql"), "{node} takes a certificate of the old authority");
    }
}

fn members() {
    let lab = lab();
    cluster::up(&lab, &[]);
    keep_aside(&lab, "cluster");
    assert!(takes_old(&lab, "galera1", "4567", ""));
    let writer = Writer::start(&lab, "rotation_members");
    let watch = Watch::start();
    let mut killed = 0;
    for phase in ["trust", "sign", "untrust", "purge"] {
        let record = cluster::store(&lab).join("ca/cluster/authority.json");
        let mut command =
            cluster::playbook(&lab, "rotate-ca", &["-e", "rotate_ca=cluster", "-e", "pki_untrust_signed=yes"]);
        command.env("DEPLOY_RUNS_DIR", lab.file("rotation-runs/.keep", "").parent().unwrap());
        let mut since = None;
        let (ran, after) = cut(&lab, command, Kill::Controller, Duration::from_secs(600), &mut |_| {
            let at = std::fs::read_to_string(&record).unwrap_or_default();
            if at.contains(&format!("\"phase\": \"{phase}\"")) {
                // In the middle of the first node's turn: after its gate of ten seconds.
                return since.get_or_insert_with(std::time::Instant::now).elapsed() > Duration::from_secs(13);
            }
            false
        });
        assert!(ran.is_some(), "the run was over before {phase}");
        killed += 1;
        note(format!("killed in the phase {phase}, after {:.0} s", after.as_secs_f64()));
        cluster::assert_whole(&lab, Duration::from_secs(60));
    }
    assert_eq!(killed, 4);
    let mut command =
        cluster::playbook(&lab, "rotate-ca", &["-e", "rotate_ca=cluster", "-e", "pki_untrust_signed=yes"]);
    command.env("DEPLOY_RUNS_DIR", lab.file("rotation-runs/.keep", "").parent().unwrap());
    let ran = Ran::of(command.output().unwrap());
    let (history, summary) = (watch.stop(), writer.stop());
    assert_finished(&ran);
    note(summary.line());
    summary.assert_nothing_lost();
    note(format!("restarted over the five runs: {}", restarts(&history).join(", ")));
    for node in NODES {
        assert!(restarts(&history).iter().filter(|one| **one == node).count() <= 2, "{history:?}");
        assert!(!takes_old(&lab, node, "4567", ""), "{node} takes a certificate of the old authority");
    }
    assert_eq!(served(&lab), filed(&lab));
}
