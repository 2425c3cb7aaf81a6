//! After a total outage: the right node brings the cluster back, and only by the explicit word.

use super::super::cluster::{self, NODES, assert_finished, assert_whole, tail, wsrep_state};
use super::super::lab::{Lab, Ran, lab};
use super::note;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("recovery: all nodes are killed and remember each other", all_killed),
    ("recovery: one disk is lost", a_lost_disk),
    ("recovery: an empty node says that it is safe to bootstrap", an_empty_claim),
    ("recovery: one survivor without quorum", a_survivor),
    ("recovery: what is not known is refused", refused),
];

fn recover(lab: &Lab, more: &[&str]) -> Ran {
    lab.deploy(&[&["playbooks/recover.yml"], more].concat())
}

/// A whole cluster with a row whose number only this scenario knows.
fn cluster_with(lab: &Lab, row: u32) {
    cluster::up(lab, &[]);
    let create = "create database if not exists app; create table if not exists app.t (a int primary key)";
    lab.ssh(NODES[0], &format!("mariadb -e '{create}; replace into app.t values ({row})'"));
}

fn kill_all(lab: &Lab, then: &str) {
    // Masked for the moment, or systemd starts them again before the outage is what the scenario wants.
    std::thread::scope(|scope| {
        for host in NODES {
            scope.spawn(move || lab.ssh(host, "systemctl mask --runtime -q mariadb; pkill -9 mariadbd; true"));
        }
    });
    NODES.iter().for_each(|host| {
        lab.ssh(host, &format!("while pidof mariadbd; do sleep 0.1; done; {then}"));
    });
    NODES.iter().for_each(|host| {
        lab.ssh(host, "systemctl unmask --runtime -q mariadb; systemctl reset-failed mariadb; true");
    });
}

fn assert_row(lab: &Lab, row: u32) {
    assert_whole(lab, Duration::from_secs(10));
    for host in NODES {
        let query = format!("mariadb -Ne 'set session wsrep_sync_wait=1; select count(*) from app.t where a={row}'");
        assert_eq!(lab.ssh(host, &query), "1", "{host} has lost the row");
    }
}

fn nobody_serves(lab: &Lab) {
    let states = NODES.map(|host| wsrep_state(lab, host));
    assert!(states.iter().all(|state| !state.starts_with("Primary")), "somebody was bootstrapped: {states:?}");
}

fn all_killed() {
    let lab = lab();
    cluster_with(&lab, 1);
    kill_all(&lab, "true");
    let began = Instant::now();
    let ran = recover(&lab, &[]);
    assert_finished(&ran);
    assert!(ran.all().contains("remember each other"), "{}", tail(&ran.all()));
    assert_row(&lab, 1);
    note(format!("back after {:.0} s without a bootstrap", began.elapsed().as_secs_f64()));
}

fn a_lost_disk() {
    let lab = lab();
    cluster_with(&lab, 2);
    kill_all(&lab, "true");
    lab.ssh(NODES[0], "rm -rf /var/lib/mysql/*");
    let check = recover(&lab, &["--check"]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    let ran = recover(&lab, &[]);
    assert!(ran.code == 2 && ran.all().contains("recover_bootstrap=galera2"), "{}", tail(&ran.all()));
    nobody_serves(&lab);
    let wrong = recover(&lab, &["-e", "recover_bootstrap=galera3"]);
    assert!(wrong.code == 2 && wrong.all().contains("not `galera3`"), "{}", tail(&wrong.all()));
    nobody_serves(&lab);
    let began = Instant::now();
    assert_finished(&recover(&lab, &["-e", "recover_bootstrap=galera2"]));
    assert_row(&lab, 2);
    note(format!("back after {:.0} s, the empty node by a state transfer", began.elapsed().as_secs_f64()));
}

fn an_empty_claim() {
    let lab = lab();
    cluster_with(&lab, 3);
    // galera3 has one write more than galera2.
    lab.ssh(NODES[1], "systemctl stop mariadb");
    lab.ssh(NODES[2], "mariadb -e 'replace into app.t values (33)'");
    kill_all(&lab, "true");
    let claim = "# GALERA saved state\\nversion: 2.1\\nuuid: 00000000-0000-0000-0000-000000000000\\nseqno: -1\\nsafe_to_bootstrap: 1\\n";
    let lie = format!(
        "rm -rf /var/lib/mysql/*; printf '{claim}' > /var/lib/mysql/grastate.dat; chown mysql: /var/lib/mysql/grastate.dat"
    );
    lab.ssh(NODES[0], &lie);
    for word in ["galera1", "galera2"] {
        let ran = recover(&lab, &["-e", &format!("recover_bootstrap={word}")]);
        assert!(ran.code == 2 && ran.all().contains("recover_bootstrap=galera3"), "{}", tail(&ran.all()));
        assert!(ran.all().contains("not a candidate: it has no state"), "{}", tail(&ran.all()));
        nobody_serves(&lab);
    }
    assert_finished(&recover(&lab, &["-e", "recover_bootstrap=galera3"]));
    assert_row(&lab, 3);
    assert_row(&lab, 33);
}

fn a_survivor() {
    let lab = lab();
    cluster_with(&lab, 4);
    let down = |host: &str| {
        lab.ssh(host, "systemctl mask --runtime -q mariadb; pkill -9 mariadbd; true");
    };
    std::thread::scope(|scope| NODES[..2].iter().for_each(|host| drop(scope.spawn(move || down(host)))));
    let limit = Instant::now() + Duration::from_secs(30);
    while wsrep_state(&lab, NODES[2]).starts_with("Primary") {
        assert!(Instant::now() < limit, "the survivor keeps its quorum");
        std::thread::sleep(Duration::from_millis(300));
    }
    for host in &NODES[..2] {
        lab.ssh(host, "systemctl unmask --runtime -q mariadb; systemctl reset-failed mariadb; true");
    }
    let ran = recover(&lab, &[]);
    assert!(ran.code == 2 && ran.all().contains("recover_bootstrap=galera3"), "{}", tail(&ran.all()));
    nobody_serves(&lab);
    let process = lab.ssh(NODES[2], "pidof mariadbd");
    assert_finished(&recover(&lab, &["-e", "recover_bootstrap=galera3"]));
    assert_row(&lab, 4);
    assert_eq!(lab.ssh(NODES[2], "pidof mariadbd"), process, "the survivor was restarted");
}

fn refused() {
    let lab = lab();
    cluster_with(&lab, 5);
    // Out of reach, and serving.
    lab.ssh(NODES[0], "systemctl stop mariadb");
    lab.ssh(NODES[1], "systemctl stop mariadb");
    let cut = |host: &str| assert!(super::super::lab::script("cut").arg(host).status().unwrap().success());
    cut(NODES[2]);
    for more in [&[][..], &["-e", "recover_bootstrap=galera1"], &["-e", "recover_bootstrap=galera2"]] {
        let ran = recover(&lab, more);
        assert!(ran.code != 0, "{}", tail(&ran.all()));
        assert_eq!([0, 1].map(|n| lab.ssh(NODES[n], "pidof mariadbd || echo down")), ["down", "down"]);
    }
    assert!(super::super::lab::script("mend").status().unwrap().success());
    // Named as lost, and there.
    let ran = recover(&lab, &["-e", "recover_lost=galera1"]);
    assert_eq!(ran.code, 0, "a served cluster is joined: {}", tail(&ran.all()));
    assert_finished(&recover(&lab, &[]));
    assert_row(&lab, 5);
    // Two states.
    kill_all(&lab, "true");
    for host in NODES {
        lab.ssh(host, "rm -f /var/lib/mysql/gvwstate.dat");
    }
    let other = "sed -i 's/^uuid: .*/uuid: 11111111-1111-11ee-8000-aaaaaaaaaaaa/;s/^seqno: .*/seqno: 999999/' /var/lib/mysql/grastate.dat";
    lab.ssh(NODES[1], &format!("cp -p /var/lib/mysql/grastate.dat /root/; {other}"));
    let ran = recover(&lab, &["-e", "recover_bootstrap=galera2"]);
    assert!(ran.code == 2 && ran.all().contains("different clusters"), "{}", tail(&ran.all()));
    nobody_serves(&lab);
    lab.ssh(NODES[1], "cp -p /root/grastate.dat /var/lib/mysql/");
    assert_finished(&recover(&lab, &["-e", "recover_bootstrap=galera1"]));
    assert_row(&lab, 5);
}
