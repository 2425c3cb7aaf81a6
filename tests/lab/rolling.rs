//! A cluster that takes writes all the time is changed one node at a time, also when the first try is killed.

use super::cluster::{
    self, Watch, Writer, assert_finished, assert_whole, bad_certificates, left_over, processes, restarts,
};
use super::faults::kill::{Kill, killed};
use super::lab::{Lab, lab};
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("rolling: gcache.size changes under a client that writes", gcache),
    ("rolling: killed, and finished by the next run", killed_once),
];

/// What the server says of its gcache, on each node.
fn gcache_sizes(lab: &Lab) -> [String; 3] {
    let query = "mariadb -Ne 'select @@wsrep_provider_options' | grep -o 'gcache.size = [0-9]*M'";
    cluster::NODES.map(|host| lab.ssh(host, query))
}

fn gcache() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let before = processes(&lab);
    let writer = Writer::start(&lab, "suite_gcache");
    let watch = Watch::start();
    let ran = cluster::deploy_site(&lab, &["-e", "galera_gcache_size=192M"]);
    let history = watch.stop();
    let summary = writer.stop();
    assert_finished(&ran);
    eprintln!("  {}", summary.line());
    eprintln!("  gaps {}", summary.0["gaps"]);
    eprintln!("  writes by node {}, errors {}", summary.0["writes"], summary.0["errors"]);
    summary.assert_nothing_lost();
    let order = restarts(&history);
    eprintln!("  restarted in this order: {}", order.join(", "));
    assert_eq!(order, cluster::NODES, "each node once, in the group's order: {history:?}");
    for (old, new) in before.iter().zip(processes(&lab)) {
        assert!(*old != new && new != "0", "{before:?} {history:?}");
    }
    assert_eq!(gcache_sizes(&lab), ["gcache.size = 192M"; 3]);
    // A connection that was in the air when its server went away waits for nothing else than the next node.
    assert!(summary.longest_gap() < 5.0, "{}", summary.0);
}

fn killed_once() {
    let lab = lab();
    cluster::up(&lab, &["-e", "galera_gcache_size=192M"]);
    let before = processes(&lab);
    let writer = Writer::start(&lab, "suite_killed");
    let watch = Watch::start();
    let change = ["-e", "galera_gcache_size=160M"];
    // While the first node restarts.
    let old = before.clone();
    killed(&lab, &change, Kill::Controller, Duration::from_secs(120), &mut |lab| processes(lab)[0] != old[0]);
    assert_whole(&lab, Duration::from_secs(60));
    assert_eq!(bad_certificates(&lab), [""; 0]);
    let ran = cluster::deploy_site(&lab, &change);
    let history = watch.stop();
    let summary = writer.stop();
    assert_finished(&ran);
    eprintln!("  {}", summary.line());
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), cluster::NODES, "each node once over both runs: {history:?}");
    assert_eq!(gcache_sizes(&lab), ["gcache.size = 160M"; 3]);
    assert_eq!(left_over(&lab), [""; 0]);
    let running = processes(&lab);
    let again = cluster::deploy_site(&lab, &change);
    assert_finished(&again);
    assert!(cluster::NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", cluster::tail(&again.all()));
    assert_eq!(processes(&lab), running);
}
