//! All certificates of a cluster are over: while it runs, when its nodes have lost each other, and when it was restarted into it.

use super::super::cluster::{
    self, NODES, Writer, assert_finished, assert_whole, processes, run_playbook, tail, wsrep_state,
};
use super::super::lab::{Lab, lab, script};
use super::note;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("expiry: the cluster runs", while_it_runs),
    ("expiry: one node was restarted into it", one_restarted),
    ("expiry: the whole cluster was restarted into it", all_restarted),
    ("expiry: an arbitrator, and another set on a node", arbitrator),
    ("expiry: the authority itself", the_authority),
];

/// A set on galera1 that something else than the database serves, and what tells it; the arbitrator on box1.
const MORE: &str = r#"
all:
  children:
    arbitrators: {hosts: {box1: {}}}
  hosts:
    galera1:
      pki_sets:
        - {name: cluster, authority: cluster, profile: cluster, path: /etc/mysql/ssl/cluster, group: mysql, owner: root,
           directory_mode: '0750', key_mode: '0640', readable_by: mysql, ports: [{port: 4567, protocol: tls}], reload: galera}
        - {name: server, authority: client, profile: server, path: /etc/mysql/ssl/server, group: mysql, owner: root,
           directory_mode: '0750', key_mode: '0640', readable_by: mysql, ports: [{port: 3306, protocol: mysql}], reload: galera}
        - {name: balancer, authority: client, profile: server, path: /srv/balancer, reload: {command: [touch, /srv/told]}}
"#;

/// A life that is over soon: a host's clock cannot be set. The cluster runs, and everything it has is new.
fn short_lived(lab: &Lab, table: &str) -> (Writer, Instant) {
    cluster::up(lab, &[]);
    let writer = Writer::start(lab, table);
    let brief = run_playbook(lab, "rotate-certs", &["-e", "pki_renew=force", "-e", "pki_lifetime=100s"]);
    assert_finished(&brief);
    (writer, Instant::now() + Duration::from_secs(102))
}

fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// How many of the nodes' six certificates are over.
fn over(lab: &Lab) -> usize {
    let look = "for s in cluster server; do openssl x509 -in /etc/mysql/ssl/$s/current/cert.pem -noout -checkend 0 >/dev/null || echo over; done";
    NODES.iter().map(|host| lab.ssh(host, look).lines().count()).sum()
}

/// Nobody who verifies is let in; who is in stays.
fn nobody_new_gets_in(lab: &Lab) {
    let ask = "timeout 10 openssl s_client -starttls mysql -verify_return_error -connect galera1:3306 -CAfile \
               /etc/mysql/ssl/server/current/ca.pem </dev/null 2>&1";
    assert!(lab.ssh("galera2", ask).contains("certificate has expired"));
}

/// What load balancers are told of each node.
fn healthy(lab: &Lab) -> [bool; 3] {
    NODES.map(|host| lab.ssh("galera1", &format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{host}/9200; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; head -1 <&3'")).contains("200"))
}

/// What is served on both ports of each node is valid, and is what lies there.
fn assert_served(lab: &Lab) {
    for (index, node) in NODES.iter().enumerate() {
        let from = NODES[(index + 1) % NODES.len()];
        for (port, set, how) in [("4567", "cluster", ""), ("3306", "server", "-starttls mysql")] {
            let dir = format!("/etc/mysql/ssl/{set}/current");
            let ask = format!(
                "timeout 10 openssl s_client {how} -verify_return_error -connect {node}:{port} -CAfile {dir}/ca.pem -cert {dir}/cert.pem \
                 -key {dir}/key.pem </dev/null 2>/dev/null | openssl x509 -noout -serial"
            );
            let lies = lab.ssh(node, &format!("openssl x509 -noout -serial -in {dir}/cert.pem"));
            assert_eq!(lab.ssh(from, &ask), lies, "{node}:{port}");
        }
    }
    assert_eq!(over(lab), 0);
}

fn while_it_runs() {
    let lab = lab();
    let (writer, end) = short_lived(&lab, "expiry_runs");
    let running = processes(&lab);
    wait(end);
    assert_eq!(over(&lab), 6);
    assert_whole(&lab, Duration::from_secs(5));
    nobody_new_gets_in(&lab);
    assert_eq!(healthy(&lab), [true; 3], "those that are in are served");
    let began = Instant::now();
    let ran = run_playbook(&lab, "rotate-certs", &[]);
    assert_finished(&ran);
    note(format!("renewed on all nodes after {:.0} s", began.elapsed().as_secs_f64()));
    assert_eq!(processes(&lab), running, "nobody was restarted");
    assert_whole(&lab, Duration::from_secs(5));
    assert_served(&lab);
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
}

fn one_restarted() {
    let lab = lab();
    let (writer, end) = short_lived(&lab, "expiry_one");
    wait(end);
    assert_eq!(over(&lab), 6);
    let before = processes(&lab);
    lab.ssh(NODES[2], "systemctl stop mariadb; systemctl start --no-block mariadb");
    std::thread::sleep(Duration::from_secs(12));
    assert!(!wsrep_state(&lab, NODES[2]).starts_with("Primary"), "it is let in with a certificate that is over");
    // Whoever needs a whole cluster cannot help here, and says so.
    let gated = run_playbook(&lab, "rotate-certs", &[]);
    assert_eq!(gated.code, 2, "{}", tail(&gated.all()));
    let check = run_playbook(&lab, "recover", &["--check"]);
    assert_eq!((check.code, over(&lab)), (0, 6), "{}", tail(&check.all()));
    let began = Instant::now();
    assert_finished(&run_playbook(&lab, "recover", &[]));
    assert_whole(&lab, Duration::from_secs(10));
    note(format!("whole again after {:.0} s", began.elapsed().as_secs_f64()));
    assert_served(&lab);
    assert_eq!(processes(&lab)[..2], before[..2], "those that served went on serving");
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
}

fn all_restarted() {
    let lab = lab();
    let (writer, end) = short_lived(&lab, "expiry_all");
    wait(end);
    assert_eq!(over(&lab), 6);
    // The power comes back after it was gone everywhere.
    NODES.iter().for_each(|host| assert!(script("power").args([host, "off"]).status().unwrap().success()));
    // A host is up when all its units are, and these wait in vain: nobody waits for that, or the lab would be locked.
    for host in NODES {
        let mut on = script("power").args([host, "on"]).spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while lab.ssh(host, "systemctl show -p ActiveState --value mariadb") != "activating" {
            assert!(Instant::now() < limit, "{host} does not come up");
            std::thread::sleep(Duration::from_millis(500));
        }
        let _ = on.kill();
        let _ = on.wait();
    }
    std::thread::sleep(Duration::from_secs(15));
    let states = NODES.map(|host| wsrep_state(&lab, host));
    assert!(
        states.iter().all(|state| !state.starts_with("Primary")),
        "they find each other with certificates that are over: {states:?}"
    );
    let began = Instant::now();
    let mut ran = run_playbook(&lab, "recover", &[]);
    if ran.code == 2 && ran.all().contains("recover_bootstrap=") {
        // What they remember of each other was given up in vain starts: the explicit word is asked for.
        let text = ran.all();
        let host = NODES.iter().find(|host| text.contains(&format!("recover_bootstrap={host}"))).unwrap();
        note(format!("the explicit word was asked for: {host}"));
        ran = run_playbook(&lab, "recover", &["-e", &format!("recover_bootstrap={host}")]);
    }
    assert_finished(&ran);
    assert_whole(&lab, Duration::from_secs(10));
    note(format!("whole again after {:.0} s", began.elapsed().as_secs_f64()));
    assert_served(&lab);
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    let again = run_playbook(&lab, "recover-certs", &[]);
    assert!(again.code == 0 && NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", tail(&again.all()));
}

/// The members are whole, and an arbitrator beside them has a certificate that is over: it votes on, and once it has lost them it is
/// let in by nobody. Beside it a load balancer's set on a node.
fn arbitrator() {
    let lab = lab();
    let also = lab.file("expiry-more.yml", MORE).display().to_string();
    let more = ["-i", also.as_str()];
    cluster::up(&lab, &more);
    let writer = Writer::start(&lab, "expiry_arbitrator");
    let forced = ["-e", "pki_renew=force", "-e", "pki_lifetime=100s"];
    assert_finished(&run_playbook(&lab, "rotate-certs", &[&more[..], &forced].concat()));
    let end = Instant::now() + Duration::from_secs(102);
    wait(end);
    let garb_over = || {
        lab.ssh("box1", "openssl x509 -in /etc/garbd/tls/current/cert.pem -noout -checkend 0 >/dev/null || echo over")
            == "over"
    };
    assert!(over(&lab) == 6 && garb_over());
    // A member and the arbitrator begin anew, and are let in by nobody.
    lab.ssh("box1", "systemctl restart --no-block garb");
    lab.ssh(NODES[2], "systemctl stop mariadb; systemctl start --no-block mariadb");
    lab.ssh("galera1", "rm -f /srv/told");
    std::thread::sleep(Duration::from_secs(12));
    let size = "mariadb --skip-ssl -Ne \"show global status like 'wsrep_cluster_size'\" | cut -f2";
    assert_eq!(lab.ssh("galera1", size), "2", "somebody is let in with a certificate that is over");
    let began = Instant::now();
    assert_finished(&run_playbook(&lab, "recover", &more));
    let limit = Instant::now() + Duration::from_secs(60);
    while NODES.iter().any(|host| lab.ssh(host, size) != "4") {
        assert!(Instant::now() < limit, "{:?}", NODES.map(|host| lab.ssh(host, size)));
        std::thread::sleep(Duration::from_millis(500));
    }
    note(format!("four members again after {:.0} s", began.elapsed().as_secs_f64()));
    assert!(!garb_over());
    assert_served(&lab);
    let told = lab.ssh(
        "galera1",
        "ls /srv/told; openssl x509 -in /srv/balancer/current/cert.pem -noout -checkend 0; ls /srv/balancer",
    );
    assert!(told.starts_with("/srv/told") && told.contains("will not expire") && !told.contains("unserved"), "{told}");
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    let again = run_playbook(&lab, "recover-certs", &more);
    assert!(again.code == 0 && NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", tail(&again.all()));
    lab.ssh("box1", "systemctl disable --now garb");
}

/// Nothing that the authority of the cluster has signed is valid any more, and it signs nothing: only the explicit word helps.
fn the_authority() {
    let lab = lab();
    NODES.iter().for_each(|host| lab.reset(host));
    let _ = std::fs::remove_dir_all(cluster::store(&lab));
    let _ = std::fs::remove_dir_all(lab.file("writer/certificate/.keep", "").parent().unwrap());
    let began = Instant::now();
    cluster::up(&lab, &["-e", "pki_authority_lifetime=240s"]);
    note(format!("the site was up {:.0} s after its authorities were made for 240 s", began.elapsed().as_secs_f64()));
    let writer = Writer::start(&lab, "expiry_authority");
    let application = super::super::rotation::with_application(&lab).0;
    let before = processes(&lab);
    // They were made some way into the run, and every certificate ends with them.
    let limit = began + Duration::from_secs(400);
    while over(&lab) < 6 {
        assert!(Instant::now() < limit, "{} of six are over", over(&lab));
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_whole(&lab, Duration::from_secs(5));
    for (name, arguments) in
        [("rotate-certs", &[][..]), ("rotate-ca", &["-e", "rotate_ca=cluster"]), ("recover-certs", &[])]
    {
        let refused = run_playbook(&lab, name, arguments);
        assert!(
            refused.code != 0 && refused.all().contains("-e recover_authority="),
            "{name}: {}",
            tail(&refused.all())
        );
    }
    let word = ["-i", application.as_str(), "-e", "recover_authority=cluster,client"];
    let check = run_playbook(&lab, "recover-certs", &[&word[..], &["--check"]].concat());
    assert_eq!((check.code, over(&lab)), (0, 6), "{}", tail(&check.all()));
    // One of them begins anew, and is let in by nobody: recover.yml does both.
    lab.ssh(NODES[2], "systemctl stop mariadb; systemctl start --no-block mariadb");
    std::thread::sleep(Duration::from_secs(12));
    let began = Instant::now();
    let ran = run_playbook(&lab, "recover", &word);
    assert_finished(&ran);
    assert_whole(&lab, Duration::from_secs(10));
    note(format!("whole again after {:.0} s", began.elapsed().as_secs_f64()));
    assert_served(&lab);
    assert_eq!(processes(&lab)[..2], before[..2], "those that served went on serving");
    let subject = lab.ssh("galera1", "openssl x509 -in /etc/mysql/ssl/cluster/current/ca.pem -noout -subject");
    assert!(subject.contains("cluster CA G2"), "{subject}");
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    let again = run_playbook(&lab, "recover-certs", &word);
    assert!(again.code == 0 && NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", tail(&again.all()));
}
