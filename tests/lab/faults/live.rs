//! A run of `deploy` that is watched by its events while it goes on, so that something happens to it at a known moment.

use super::super::cluster::tail;
use super::super::lab::{Lab, Ran};
use serde_json::Value;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run under way.
pub struct Live {
    child: Child,
    seen: Arc<Mutex<Vec<Value>>>,
    out: JoinHandle<String>,
    err: JoinHandle<String>,
}

/// Where a scenario keeps its journal: a controller of its own.
pub fn journal(lab: &Lab, name: &str) -> PathBuf {
    let folder = lab.file(&format!("journals/{name}/.keep"), "").parent().unwrap().to_path_buf();
    std::fs::remove_dir_all(&folder).unwrap();
    folder
}

/// A playbook about to be run with a journal, telling its events.
pub fn journalled(lab: &Lab, journal: &Path, playbook: &str, more: &[&str]) -> Command {
    let mut command = lab.command(&[&[playbook, "--format", "json"], more].concat());
    command.env("DEPLOY_RUNS_DIR", journal);
    command
}

/// Another command of `deploy` with the same journal.
pub fn with_journal(lab: &Lab, journal: &Path, words: &[&str]) -> Command {
    let mut command = lab.command(&[]);
    let program = command.get_program().to_os_string();
    let folder = command.get_current_dir().unwrap().to_path_buf();
    command = Command::new(program);
    command.args(words).current_dir(folder).env("DEPLOY_RUNS_DIR", journal).env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    command
}

impl Live {
    /// Starts it.
    pub fn start(mut command: Command) -> Live {
        let mut child = command.spawn().unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let told = seen.clone();
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
                text.push_str(&line);
                text.push('\n');
                if let Ok(event) = serde_json::from_str(&line) {
                    told.lock().unwrap().push(event);
                }
            }
            text
        });
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = err.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Live { child, seen, out, err }
    }

    fn events(&self) -> MutexGuard<'_, Vec<Value>> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether something was told.
    pub fn told(&self, what: impl Fn(&Value) -> bool) -> bool {
        self.events().iter().any(what)
    }

    /// Waits until something holds, while the run goes on.
    pub fn until(&mut self, what: &str, within: Duration, mut holds: impl FnMut(&Live) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            let over = self.child.try_wait().unwrap();
            if over.is_some() || began.elapsed() > within {
                let told: Vec<String> = self.events().iter().map(Value::to_string).collect();
                panic!("{what}: not seen within {:?} (ended: {over:?})\n{}", began.elapsed(), tail(&told.join("\n")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has told something.
    pub fn until_told(&mut self, what: &str, within: Duration, is: impl Fn(&Value) -> bool) {
        self.until(what, within, |live| live.told(&is));
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.end();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        let (out, err) = (self.out.join().unwrap(), self.err.join().unwrap());
        Ran { code: status.code().unwrap_or(-1), out, err }
    }
}

/// An event of a kind.
pub fn kind(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

/// The restart of a host is done.
pub fn restarted(event: &Value, host: &str) -> bool {
    kind(event, "task_done") && event["host"] == host && event["task"]["action"].as_str().is_some_and(is_restart)
}

fn is_restart(action: &str) -> bool {
    action.ends_with("galera_restart")
}

/// Everything a run said in sentences: reasons, messages, warnings.
pub fn sentences(ran: &Ran) -> String {
    let mut all = Vec::new();
    for event in ran.events() {
        for key in ["msg", "message", "reason", "sentence", "text"] {
            all.extend(event[key].as_str().map(String::from));
        }
    }
    all.push(ran.err.clone());
    all.join("\n")
}

/// Waits for a condition of a host, looked at there twenty times a second.
pub fn on_host(lab: &Lab, host: &str, condition: &str, within: Duration) -> bool {
    let tries = within.as_millis() / 50;
    let look = format!("for i in $(seq {tries}); do if {condition}; then echo yes; exit; fi; sleep 0.05; done");
    lab.ssh(host, &look) == "yes"
}
