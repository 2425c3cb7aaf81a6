//! `deploy`, its connections and its agents are killed at many moments of the site's run. Whatever is cut: no file is
//! torn, no node stays down, the next run ends well, and the one after it has nothing to do.

use super::super::cluster::{
    self, NODES, Watch, Writer, assert_finished, assert_whole, bad_certificates, files, left_over, processes, restarts,
};
use super::super::lab::{Lab, lab};
use super::kill::{Kill, killed, node};
use super::note;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("faults: a first deployment killed at many moments", first_deployments),
    ("faults: a rolling change killed at many moments", rolling_changes),
];

/// How many cuts a scenario makes.
fn cuts() -> usize {
    std::env::var("DEPLOY_TEST_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

fn kind(number: usize) -> Kill {
    match number % 4 {
        0 | 2 => Kill::Controller,
        1 => Kill::Connection(node(number / 4)),
        _ => Kill::Agent(node(number / 4)),
    }
}

fn first_deployments() {
    let lab = lab();
    NODES.iter().for_each(|host| lab.reset(host));
    let began = Instant::now();
    cluster::up(&lab, &[]);
    let whole = began.elapsed();
    note(format!("a first deployment that nobody disturbs: {:.0} s", whole.as_secs_f64()));
    let number = cuts();
    for index in 0..number {
        let at = whole.mul_f64((index as f64 + 0.5) / number as f64);
        first_deployment(&lab, kind(index), at);
    }
}

/// A first deployment, cut after `at`, and what follows.
pub fn first_deployment(lab: &Lab, kill: Kill, at: Duration) {
    NODES.iter().for_each(|host| lab.reset(host));
    let bare = files(lab);
    let began = Instant::now();
    let (cut, after) = killed(lab, &[], kill, at, &mut |_| false);
    let seen = files(lab);
    let certificates = bad_certificates(lab);
    assert_eq!(certificates, [""; 0], "{kill:?} after {after:?}");
    let next = cluster::deploy_site(lab, &[]);
    let took = began.elapsed() - after;
    assert!(next.code == 0, "{kill:?} after {after:?}, the next run:\n{}", cluster::tail(&next.all()));
    assert_finished(&next);
    assert_whole(lab, Duration::from_secs(10));
    finish(lab, &[], &bare, &seen, kill, after);
    let code = cut.map_or("it was over".into(), |ran| format!("exit {}", ran.code));
    note(format!("{kill:?} after {:.1} s ({code}): next run {:.0} s, whole", after.as_secs_f64(), took.as_secs_f64()));
}

/// After the next run: nothing is torn or left over, and a third run has nothing to do.
fn finish(
    lab: &Lab,
    more: &[&str],
    before: &BTreeMap<(String, String), String>,
    seen: &BTreeMap<(String, String), String>,
    kill: Kill,
    at: Duration,
) {
    let end = files(lab);
    for (place, content) in seen {
        let known = [before.get(place), end.get(place)];
        assert!(
            known.contains(&Some(content)) || content.starts_with("as-packaged"),
            "{kill:?} after {at:?}: torn: {place:?} {content}, not one of {known:?}"
        );
    }
    assert_eq!(bad_certificates(lab), [""; 0], "{kill:?} after {at:?}");
    assert_eq!(left_over(lab), [""; 0], "{kill:?} after {at:?}");
    let running = processes(lab);
    let third = cluster::deploy_site(lab, more);
    assert_finished(&third);
    for host in NODES {
        assert_eq!(third.count(host, "changed"), 0, "{kill:?} after {at:?}: {}", cluster::tail(&third.all()));
    }
    assert_eq!(processes(lab), running, "{kill:?} after {at:?}: the third run restarted something");
}

fn rolling_changes() {
    let lab = lab();
    cluster::up(&lab, &["-e", "galera_gcache_size=128M"]);
    let began = Instant::now();
    cluster::up(&lab, &["-e", "galera_gcache_size=129M"]);
    let whole = began.elapsed();
    note(format!("a rolling change that nobody disturbs: {:.0} s", whole.as_secs_f64()));
    let number = cuts();
    let writer = Writer::start(&lab, "suite_faults");
    for index in 0..number {
        let at = whole.mul_f64((index as f64 + 0.5) / number as f64);
        rolling_change(&lab, kind(index), at, 130 + index);
    }
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
}

/// A change of gcache.size, cut after `at`, and what follows. Never are two nodes down.
pub fn rolling_change(lab: &Lab, kill: Kill, at: Duration, size: usize) {
    let size = format!("galera_gcache_size={size}M");
    let more = ["-e", size.as_str()];
    let before = files(lab);
    let watch = Watch::start();
    let (cut, after) = killed(lab, &more, kill, at, &mut |_| false);
    let seen = files(lab);
    assert_eq!(bad_certificates(lab), [""; 0], "{kill:?} after {after:?}");
    // What was under way on the hosts is finished there, without us.
    assert_whole(lab, Duration::from_secs(90));
    let next = cluster::deploy_site(lab, &more);
    let history = watch.stop();
    assert!(next.code == 0, "{kill:?} after {after:?}, the next run:\n{}", cluster::tail(&next.all()));
    assert_finished(&next);
    let order = restarts(&history);
    finish(lab, &more, &before, &seen, kill, after);
    let code = cut.map_or("it was over".into(), |ran| format!("exit {}", ran.code));
    note(format!(
        "{kill:?} after {:.1} s ({code}): restarted over both runs: {}",
        after.as_secs_f64(),
        order.join(", ")
    ));
}
