//! Results that no controller received, kept for the next one: status and changed things, never contents or values.

use crate::machine::{Change, ChangeKind};
use crate::modules::Status;
use crate::wire::{Leftover, Reply, TaskRequest};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shown results are kept this long.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// And no more than this many.
const KEPT: usize = 200;

/// The directory `spool` beside the agent.
pub(super) struct Spool {
    directory: PathBuf,
}

impl Spool {
    pub fn new(directory: &Path) -> Self {
        Spool { directory: directory.join("spool") }
    }

    /// What is to be told.
    pub fn leftovers(&self) -> Vec<Leftover> {
        let mut all: Vec<Leftover> = self
            .files("json")
            .iter()
            .filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok())
            .collect();
        all.sort_by_key(|l| l.time);
        all
    }

    /// It was told; what is old goes.
    pub fn told(&self) {
        for path in self.files("json") {
            let _ = std::fs::rename(&path, path.with_extension("told"));
        }
        let mut told: Vec<(SystemTime, PathBuf)> = self
            .files("told")
            .into_iter()
            .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        told.sort();
        let surplus = told.len().saturating_sub(KEPT);
        for (index, (time, path)) in told.iter().enumerate() {
            if index < surplus || time.elapsed().is_ok_and(|age| age > RETENTION) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Keeps a result.
    pub fn keep(&self, leftover: &Leftover) -> std::io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.directory) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let nanos = now().as_nanos();
        let path = self.directory.join(format!("{nanos}-{}.json", std::process::id()));
        let temporary = path.with_extension("new");
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(leftover)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == extension));
        files
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What may be kept of a result.
pub(super) fn leftover(who: &str, request: &TaskRequest, reply: &Reply) -> Leftover {
    let (status, msg, changes) = match reply {
        Reply::Done(outcome) => {
            let status = match outcome.status {
                Status::Ok => "ok",
                Status::Failed => "failed",
                Status::Skipped => "skipped",
                Status::Unknown => "unknown",
            };
            (status, outcome.msg.clone(), outcome.changes.iter().map(describe).collect())
        }
        Reply::NotRun => ("not_run", None, Vec::new()),
        Reply::BecomeFailed { why, .. } => ("become_failed", Some(why.clone()), Vec::new()),
    };
    Leftover {
        who: who.to_string(),
        time: now().as_secs(),
        label: request.label.clone(),
        module: request.module.clone(),
        status: status.to_string(),
        // A failure's text may quote arguments, so it is cut where they are secret, and short anyway.
        msg: msg.filter(|_| !request.no_log).map(|m| m.lines().next().unwrap_or_default().chars().take(300).collect()),
        changes,
        perhaps_received: false,
    }
}

fn describe(change: &Change) -> String {
    let subject = format!("{:?} {}", change.subject.domain, change.subject.name);
    match &change.kind {
        ChangeKind::Set { aspect, .. } => format!("{subject}: {aspect}"),
        ChangeKind::Effect { what } => format!("{subject}: {what}"),
        ChangeKind::Opaque => subject,
    }
}
