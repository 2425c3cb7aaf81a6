//! Nodes come and go under a client that writes all the time.

use super::super::cluster::{self, NODES, Writer, tail};
use super::super::lab::{Lab, Ran, lab, renew, script};
use super::note;
use std::path::{Path, PathBuf};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("membership: a node is added, one removed, a dead one replaced", comings)];

/// The host that joins, beside the site's three.
const FOURTH: &str = "galera4";

/// The lab's inventory with the fourth node in it, whether it runs or not.
fn four(lab: &Lab) -> PathBuf {
    assert!(script("up").args(["--hosts", FOURTH]).status().unwrap().success());
    let text = std::fs::read_to_string(&lab.inventory).unwrap();
    let path = lab.file("four/inventory.yml", &text);
    let beside = lab.inventory.parent().unwrap().join("group_vars");
    let _ = std::os::unix::fs::symlink(beside, path.with_file_name("group_vars"));
    path
}

fn run(lab: &Lab, inventory: &Path, playbook: &str, more: &[&str]) -> Ran {
    let arguments = cluster::arguments(lab);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let all = [&[playbook], &arguments[..], more].concat();
    Ran::of(lab.command_on(inventory, &all).output().unwrap())
}

/// What each of the hosts counts, all Synced.
fn assert_size(lab: &Lab, hosts: &[&str], size: usize) {
    for host in hosts {
        assert_eq!(cluster::wsrep_state(lab, host), format!("Primary Synced {size}"), "{host}");
    }
}

fn comings() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let inventory = four(&lab);
    let ours = cluster::processes(&lab);
    let writer = Writer::start(&lab, "membership");

    let check = run(&lab, &inventory, "playbooks/add-node.yml", &["-e", "node=galera4", "--check"]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    let added = run(&lab, &inventory, "playbooks/add-node.yml", &["-e", "node=galera4"]);
    assert_eq!(added.code, 0, "{}", tail(&added.all()));
    for host in NODES.iter().chain(&[FOURTH]) {
        assert_eq!(check.count(host, "changed"), added.count(host, "changed"), "{host}: {}", tail(&check.all()));
    }
    assert_size(&lab, &["galera1", "galera2", "galera3", "galera4"], 4);
    let again = run(&lab, &inventory, "playbooks/add-node.yml", &["-e", "node=galera4"]);
    assert!(again.code == 0 && again.count(FOURTH, "changed") == 0, "{}", tail(&again.all()));

    let removed = run(&lab, &inventory, "playbooks/remove-node.yml", &["-e", "node=galera4"]);
    assert_eq!(removed.code, 0, "{}", tail(&removed.all()));
    assert_size(&lab, &NODES, 3);
    assert_eq!(lab.ssh(FOURTH, "pidof mariadbd || systemctl is-enabled mariadb"), "disabled");
    assert_eq!(cluster::processes(&lab), ours, "somebody was restarted");

    let summary = writer.stop();
    note(format!("a node added and removed: {}", summary.line()));
    summary.assert_nothing_lost();
    assert!(summary.longest_gap() <= 1.0, "{}", summary.line());

    // The plug of galera3 is pulled, and it never comes back. The group misses it only after its timeout of 5 s.
    lab.reset(FOURTH);
    assert!(script("power").args(["galera3", "off"]).status().unwrap().success());
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while cluster::wsrep_state(&lab, NODES[0]) != "Primary Synced 2" {
        assert!(std::time::Instant::now() < limit, "the others still count galera3");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let writer = Writer::start(&lab, "replacement");
    let replaced = run(&lab, &inventory, "playbooks/replace-node.yml", &["-e", "old=galera3 new=galera4"]);
    assert_eq!(replaced.code, 0, "{}", tail(&replaced.all()));
    assert_size(&lab, &["galera1", "galera2", "galera4"], 3);
    assert_eq!(cluster::processes(&lab)[..2], ours[..2], "somebody was restarted");
    let addresses = lab.ssh("galera1", "grep ^wsrep_cluster_address /etc/mysql/mariadb.conf.d/70-galera.cnf");
    assert!(addresses.split(',').count() == 3, "{addresses}");

    let summary = writer.stop();
    note(format!("a dead node replaced: {}", summary.line()));
    assert_eq!(summary.0["lost"], 0, "{}", summary.0);
    assert!(summary.acknowledged() > 100, "{}", summary.0);
    // The suite's own hosts again, new ones: on its old disk galera3 would try to join those that have forgotten it.
    renew();
}
