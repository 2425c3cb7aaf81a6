//! `deploy` is killed with -9 at each step of a node's turn, and the run is resumed at once: no node is restarted twice, none
//! stays down, nothing stays locked.

use super::super::cluster::{self, NODES, Watch, Writer, assert_whole, restarts, tail};
use super::super::lab::{Lab, Ran, lab};
use super::live::{Live, journal, journalled, kind, on_host, restarted, with_journal};
use super::note;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("faults: deploy killed when the order is made, and resumed", || killed_at(Moment::Order)),
    ("faults: deploy killed in the first gate, and resumed", || killed_at(Moment::Gate)),
    ("faults: deploy killed while a node drains, and resumed", || killed_at(Moment::Drain)),
    ("faults: deploy killed while a node stops, and resumed", || killed_at(Moment::Stop)),
    ("faults: deploy killed while a node is down, and resumed", || killed_at(Moment::Down)),
    ("faults: deploy killed during a state transfer, and resumed", || killed_at(Moment::Transfer)),
    ("faults: deploy killed while a node soaks, and resumed", || killed_at(Moment::Soak)),
    ("faults: deploy killed between two turns, and resumed", || killed_at(Moment::Between)),
];

/// When it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Order,
    Gate,
    Drain,
    Stop,
    Down,
    Transfer,
    Soak,
    Between,
}

const LONG: Duration = Duration::from_secs(120);

/// Waits for the moment: by what the run tells, or by what is seen on the first node.
fn wait_for(lab: &Lab, run: &mut Live, moment: Moment) {
    let state = |words: &str| format!("s=$(systemctl is-active mariadb); case $s in {words}) true;; *) false;; esac");
    let seen = |condition: &str| assert!(on_host(lab, NODES[0], condition, LONG), "{moment:?}: not seen");
    match moment {
        Moment::Order => run.until_told("the order", LONG, |event| kind(event, "rolling_order")),
        // The closer look of a gate asks the server what its option files mean. (In brackets, or it finds itself.)
        Moment::Gate => seen("pgrep -f '[m]ariadbd.*--verbose' >/dev/null"),
        Moment::Drain => seen("[ -e /var/tmp/clustercheck.disabled ]"),
        Moment::Stop => seen(&state("deactivating")),
        Moment::Down => seen(&state("inactive|activating")),
        Moment::Transfer => seen("pgrep -f '[w]srep_sst_' >/dev/null"),
        Moment::Soak => run.until_told("the restart", LONG, |event| restarted(event, NODES[0])),
        Moment::Between => run.until_told("the first turn's end", LONG, |event| kind(event, "turn_done")),
    }
}

fn killed_at(moment: Moment) {
    let lab = lab();
    cluster::up(&lab, &[]);
    assert_whole(&lab, LONG);
    let runs = journal(&lab, "killed-controller");
    let (writer, watch) = (Writer::start(&lab, "links_controller"), Watch::start());
    let mut run =
        Live::start(journalled(&lab, &runs, "playbooks/rolling-restart.yml", &["-e", "galera_drain_timeout=4"]));
    wait_for(&lab, &mut run, moment);
    run.kill();
    let began = Instant::now();
    let resumed = Ran::of(with_journal(&lab, &runs, &["resume", "last"]).output().unwrap());
    let (history, summary) = (watch.stop(), writer.stop());
    assert_eq!(resumed.code, 0, "{}", tail(&resumed.all()));
    note(format!("resumed in {:.0} s; {}", began.elapsed().as_secs_f64(), summary.line()));
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), NODES, "each node once over both runs: {history:?}\n{}", tail(&resumed.all()));
    assert_whole(&lab, LONG);
    for host in NODES {
        let left = lab.ssh(host, "ls /run/deploy/cluster-*.lock /var/tmp/clustercheck.disabled 2>/dev/null");
        assert_eq!(left, "", "{host}");
    }
    let again = Ran::of(with_journal(&lab, &runs, &["resume", "last"]).output().unwrap());
    assert!(again.code == 4 && again.err.contains("good end"), "{}", again.all());
}
