//! Facts: what the host is, read from the kernel and from files.

mod hardware;
mod local;
mod network;
mod platform;
mod rare;
mod virtualization;

use crate::machine::process::Watch;
use crate::machine::{Command, Machine};
use serde_json::{Map, Value};
use std::time::Duration;

/// What was gathered.
#[derive(Default)]
pub struct Gathered {
    /// Facts by their full names.
    pub facts: Map<String, Value>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

impl Gathered {
    /// Adds a fact under its full name.
    fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(format!("ansible_{name}"), value.into());
    }
}

/// Gathers parts of the facts.
pub fn gather(machine: &Machine, parts: &[&str], fact_path: &str) -> Gathered {
    let mut gathered = Gathered::default();
    for part in parts {
        match *part {
            "platform" => platform::platform(&mut gathered, machine),
            "distribution" => platform::distribution(&mut gathered),
            "lsb" => platform::lsb(&mut gathered),
            "date_time" => platform::date_time(&mut gathered),
            "env" => platform::env(machine, &mut gathered),
            "user" => platform::user(machine, &mut gathered),
            "cmdline" => platform::cmdline(&mut gathered),
            "python" => platform::python(machine, &mut gathered),
            "pkg_mgr" => platform::pkg_mgr(machine, &mut gathered),
            "service_mgr" => platform::service_mgr(&mut gathered),
            "selinux" => platform::selinux(&mut gathered),
            "apparmor" => platform::apparmor(&mut gathered),
            "fips" => platform::fips(&mut gathered),
            "ssh" => platform::ssh(machine, &mut gathered),
            "local" => local::local(machine, fact_path, &mut gathered),
            "cpu" => hardware::cpu(&mut gathered),
            "memory" => hardware::memory(&mut gathered),
            "devices" => hardware::devices(&mut gathered),
            "mounts" => hardware::mounts(&mut gathered),
            "dmi" => hardware::dmi(&mut gathered),
            "uptime" => hardware::uptime(&mut gathered),
            "initiators" => rare::initiators(&mut gathered),
            "lvm" => rare::lvm(machine, &mut gathered),
            "capabilities" => rare::capabilities(machine, &mut gathered),
            "systemd" => rare::systemd(machine, &mut gathered),
            "interfaces" => network::interfaces(&mut gathered),
            "virtual" => virtualization::virtualization(&mut gathered),
            _ => {}
        }
    }
    gathered
}

/// How long facts wait for a program.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a program prints; nothing where it fails, or does not answer in time.
fn said(machine: &Machine, argv: &[&str], patience: Duration) -> Option<String> {
    let watch = Watch { timeout: Some(patience), progress: &mut |_, _| {} };
    let output = machine.run_watched(&Command::new(argv.iter().copied()), watch).ok()?;
    output.success().then(|| output.stdout_text())
}

/// A file's text without the white space around it; nothing for one that cannot be read.
fn read(path: impl AsRef<std::path::Path>) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_string())
}

/// Names in a directory, sorted.
fn names(path: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Whether a shell pattern matches a whole name.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut expression = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' | ']' => expression.push(c),
            c => expression.push_str(&regex_lite::escape(&c.to_string())),
        }
    }
    expression.push('$');
    regex_lite::Regex::new(&expression).is_ok_and(|r| r.is_match(name))
}
