//! A lab of the suite's own: hosts that are machines, and `deploy` run against them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Hosts of the suite, beside the three nodes of the site.
pub const BOXES: [&str; 3] = ["box1", "box2", "box3"];

/// The lab, up.
pub struct Lab {
    /// Path of its inventory.
    pub inventory: PathBuf,
    work: tempfile::TempDir,
}

/// Takes the lab down when the test program ends, however its tests ended.
struct Down;
impl Drop for Down {
    fn drop(&mut self) {
        let _ = script("down").status();
    }
}

static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();

/// The lab, for one test at a time.
pub fn lab() -> MutexGuard<'static, Lab> {
    let lab = LAB.get_or_init(|| {
        boot();
        let path = script("inventory").output().unwrap();
        assert!(path.status.success(), "lab/inventory: {}", String::from_utf8_lossy(&path.stderr));
        let inventory = PathBuf::from(String::from_utf8(path.stdout).unwrap().trim());
        Mutex::new(Lab { inventory, work: tempfile::tempdir().unwrap() })
    });
    lab.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn boot() {
    let hosts = format!("galera1,galera2,galera3,{}", BOXES.join(","));
    let up = script("up").args(["--hosts", &hosts]).output().unwrap();
    assert!(up.status.success(), "lab/up: {}", String::from_utf8_lossy(&up.stderr));
}

/// Other hosts of the same names.
pub fn renew() {
    down();
    boot();
}

/// A script of the lab, for the suite's own lab.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(name));
    // A lab of its own, unless somebody wants to run it beside another one.
    let name = std::env::var("DEPLOY_LAB_NAME").unwrap_or_else(|_| "suite".into());
    command.env("DEPLOY_LAB_NAME", name).stdin(Stdio::null());
    command
}

/// What a run of `deploy` said.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Of a process that ended.
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Everything it said.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }

    /// The JSON events, when it was asked for them.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// (host, task, status, handlers notified) of every task, in order of tasks and hosts.
    pub fn results(&self) -> Vec<(String, String, String, Vec<String>)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let done = self.events().into_iter().filter(|event| event["event"] == "task_done");
        let mut results: Vec<_> = done
            .map(|event| {
                let notified = event["notified"].as_array().into_iter().flatten().map(text).collect();
                (text(&event["host"]), text(&event["task"]["name"]), text(&event["status"]), notified)
            })
            .collect();
        // Hosts of one task may answer in any order.
        let mut order: Vec<String> = Vec::new();
        for (_, task, ..) in &results {
            if !order.contains(task) {
                order.push(task.clone());
            }
        }
        results.sort_by_key(|(host, task, ..)| (order.iter().position(|known| known == task), host.clone()));
        results
    }

    /// The recap counter of a host.
    pub fn count(&self, host: &str, counter: &str) -> u64 {
        let line = self.out.lines().find(|line| line.starts_with(host) && line.contains(" : ")).unwrap_or_default();
        let cell = line.split_whitespace().find_map(|cell| cell.strip_prefix(&format!("{counter}=")));
        cell.and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
    }
}

impl Lab {
    /// Runs `deploy` from the project's folder with the suite's inventory.
    pub fn deploy(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// `deploy` about to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(&self.inventory, arguments)
    }

    /// The same with another inventory.
    pub fn command_on(&self, inventory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.arg("-i").arg(inventory).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("NO_COLOR", "1").env_remove("DEPLOY_INVENTORY").stdin(Stdio::null());
        // What one scenario's failed run owes is not to be paid by the next; those about journals name a folder.
        command.env("DEPLOY_RUNS_DIR", "off");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a playbook given as text.
    pub fn play(&self, text: &str, arguments: &[&str]) -> Ran {
        let path = self.file("play.yml", text);
        let mut all = vec![path.to_str().unwrap()];
        all.extend(arguments);
        self.deploy(&all)
    }

    /// Writes a file beside the playbooks of [`Lab::play`].
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a shell command as root on a host, without `deploy`, and returns what it printed.
    pub fn ssh(&self, host: &str, command: &str) -> String {
        let output = script("ssh").args([host, command]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_string()
    }

    /// A host's address.
    pub fn address(&self, host: &str) -> String {
        let text = std::fs::read_to_string(&self.inventory).unwrap();
        let mut lines = text.lines().skip_while(|line| line.trim() != format!("{host}:"));
        let found = lines.find_map(|line| line.trim().strip_prefix("ansible_host: ").map(String::from));
        found.unwrap_or_else(|| panic!("{host} is not in {text}"))
    }

    /// A clean disk.
    pub fn reset(&self, host: &str) {
        let output = script("reset").arg(host).output().unwrap();
        assert!(output.status.success(), "lab/reset {host}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Ends the lab; the last test of the suite calls it.
pub fn down() {
    drop(Down);
}
