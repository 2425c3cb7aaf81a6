//! What is made to go wrong. Scenarios that take long run only with `DEPLOY_TEST_FAULTS=1` (`make test-faults`), which
//! leaves a dated result in `docs/results/`.
//!
//! To add one: a file here with `pub const SCENARIOS`, and a line in [`all`]. A scenario prints what it measured with
//! [`note`], which shows it and puts it into the result.

pub mod kill;
pub mod kills;
pub mod membership;
pub mod recovery;
pub mod tls;
pub mod upgrade;

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// The scenarios of `make test-faults`.
pub fn all() -> impl Iterator<Item = &'static (&'static str, fn())> {
    let every = [
        kills::SCENARIOS,
        super::killed::SCENARIOS,
        super::rollback::FAULTS,
        recovery::SCENARIOS,
        membership::SCENARIOS,
        tls::SCENARIOS,
        upgrade::SCENARIOS,
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

/// The result file under way: written anew after each scenario, so that a suite that is ended leaves what it saw.
#[derive(Default)]
pub struct Results {
    text: String,
}

impl Results {
    /// Takes down how a scenario ended.
    pub fn add(&mut self, name: &str, passed: bool, took: Duration) {
        let notes = std::mem::take(&mut *NOTES.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let word = if passed { "passed" } else { "FAILED" };
        let _ = writeln!(self.text, "\n## {name}: {word} ({:.0} s)\n", took.as_secs_f64());
        for note in notes {
            let _ = writeln!(self.text, "- {note}");
        }
        let date = output("date", &["-u", "+%Y-%m-%d"]);
        let commit = output("git", &["describe", "--always", "--dirty"]);
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = output("uname", &["-r"]);
        let head = format!("# Faults, {date}\n\n`make test-faults` at {commit}: {cpus} CPUs, Linux {kernel}.\n");
        let path = format!("{}/docs/results/{date}-faults.md", env!("CARGO_MANIFEST_DIR"));
        if let Err(error) = std::fs::write(&path, head + &self.text) {
            eprintln!("cannot write {path}: {error}");
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}
