//! What is made to go wrong. Scenarios that take long run only with `DEPLOY_TEST_FAULTS=1` (`make test-faults`), which
//! leaves a dated result in `docs/results/`.
//!
//! To add one: a file here with `pub const SCENARIOS`, and a line in [`all`]. A scenario prints what it measured with
//! [`note`], which shows it and puts it into the result.

pub mod bad_sets;
pub mod clients;
pub mod expiry;
pub mod kill;
pub mod killed_controller;
pub mod kills;
pub mod links;
pub mod live;
pub mod membership;
pub mod plans;
pub mod recovery;
pub mod schedule;
pub mod starts;
pub mod tls;
pub mod upgrade;

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// The scenarios of `make test-faults`.
pub fn all() -> impl Iterator<Item = &'static (&'static str, fn())> {
    let every = [
        kills::SCENARIOS,
        bad_sets::SCENARIOS,
        expiry::SCENARIOS,
        clients::SCENARIOS,
        super::killed::SCENARIOS,
        super::rollback::FAULTS,
        plans::SCENARIOS,
        recovery::SCENARIOS,
        starts::SCENARIOS,
        membership::SCENARIOS,
        tls::SCENARIOS,
        upgrade::SCENARIOS,
        killed_controller::SCENARIOS,
        links::SCENARIOS,
        super::rotation::FAULTS,
        schedule::SCENARIOS,
        super::sets::SCENARIOS,
        super::forty::SCENARIOS,
    ];
    every.into_iter().flatten()
}

/// Whether they were asked for.
pub fn wanted() -> bool {
    std::env::var_os("DEPLOY_TEST_FAULTS").is_some()
}

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says a figure of the scenario that runs.
pub fn note(text: impl Into<String>) {
    let text = text.into();
    eprintln!("  {text}");
    NOTES.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(text);
}

/// Takes down how a scenario ended, in the result of the day: anew after each scenario, so that a suite that is ended
/// leaves what it saw. What other runs of the day said of other scenarios stays.
pub fn record(name: &str, passed: bool, took: Duration) {
    let date = output("date", &["-u", "+%Y-%m-%d"]);
    let commit = output("git", &["describe", "--always", "--dirty"]);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output("uname", &["-r"]);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_string();
    let path = format!("{}/docs/results/{date}-faults.md", env!("CARGO_MANIFEST_DIR"));
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let title = format!("{name}: ");
    let mut sections: Vec<String> = old.split("\n## ").skip(1).map(|text| text.trim_end().to_string()).collect();
    sections.retain(|section| !section.starts_with(&title));
    let word = if passed { "passed" } else { "FAILED" };
    let seconds = took.as_secs_f64();
    let mut section = format!("{title}{word}\n\nAt {commit}, in {seconds:.0} s, load average {load}.");
    let notes = std::mem::take(&mut *NOTES.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(section, "{}- {note}", if index == 0 { "\n\n" } else { "\n" });
    }
    sections.push(section);
    let mut text = format!("# Faults, {date}\n\n`make test-faults`: {cpus} CPUs, Linux {kernel}.\n");
    for section in sections {
        let _ = write!(text, "\n## {section}\n");
    }
    if let Err(error) = std::fs::write(&path, text) {
        eprintln!("cannot write {path}: {error}");
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}
