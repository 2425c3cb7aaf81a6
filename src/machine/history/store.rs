//! Where the log is kept: a directory a run that only its owner can enter, one line of JSON a change.
//!
//! Root's is `/var/lib/deploy/runs/RUN/changes`, another user's is below their cache directory. A log is read only by
//! the user who wrote it: nobody can have root put back what root did not see.

use super::entry::{Entry, Line};
use crate::machine::before;
use crate::machine::files::Time;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A run that changes more than this is not logged further.
const RUN_LIMIT: u64 = 32 * 1024 * 1024;
/// All logs together stay below this; the oldest go first.
const TOTAL_LIMIT: u64 = 128 * 1024 * 1024;
/// Older runs are forgotten.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
/// The file in a run's directory.
const FILE: &str = "changes";

/// The log of one task's changes.
#[derive(Debug)]
pub(crate) struct History {
    directory: PathBuf,
    turn: u32,
    task: String,
    /// Why the log is not complete.
    pub broken: Option<String>,
}

impl History {
    /// The log of a task of `run`.
    pub fn new(directory: PathBuf, turn: u32, task: &str) -> History {
        History { directory, turn, task: task.to_string(), broken: None }
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Writes an entry, so that it outlives a crash. Says whether it could.
    pub fn append(&mut self, entry: Entry) -> bool {
        let line = Line { time: Time::now().0, turn: self.turn, task: self.task.clone(), entry };
        match append(&self.directory, &line) {
            Ok(()) => true,
            Err(error) => {
                self.broken.get_or_insert(error.to_string());
                false
            }
        }
    }
}

/// Where this identity keeps the logs of all runs.
pub(super) fn base() -> Option<PathBuf> {
    before::home().map(|home| home.join("runs"))
}

/// The directory of a run's log; nothing for a name that is none.
pub(super) fn directory_of(run: &str) -> Option<PathBuf> {
    let good = !run.is_empty()
        && run.len() <= 128
        && !run.starts_with('.')
        && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    base().filter(|_| good).map(|base| base.join(run))
}

fn append(directory: &Path, line: &Line) -> std::io::Result<()> {
    let path = directory.join(FILE);
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let mut file = match open() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            prepare(directory)?;
            open()?
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(std::io::Error::other(format!("{} belongs to somebody else", path.display())));
    }
    if metadata.len() > RUN_LIMIT {
        return Err(std::io::Error::other("this run has changed more than its log may hold"));
    }
    // What was cut off in the middle of a line stays a line of its own.
    if metadata.len() > 0 && !ends_with_newline(&path)? {
        bytes.insert(0, b'\n');
    }
    file.write_all(&bytes)?;
    file.sync_data()?;
    if metadata.len() == 0 {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn ends_with_newline(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let mut last = [0u8];
    file.read_exact_at(&mut last, file.metadata()?.len().saturating_sub(1))?;
    Ok(last == [b'\n'])
}

/// Makes the directory of a run, and room for it.
fn prepare(directory: &Path) -> std::io::Result<()> {
    let base = directory.parent().unwrap_or(directory);
    for directory in [base, directory] {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let owner = std::fs::symlink_metadata(directory)?;
        if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() || owner.mode() & 0o077 != 0 {
            return Err(std::io::Error::other(format!("{} belongs to somebody else", directory.display())));
        }
    }
    retain(base, directory, TOTAL_LIMIT)?;
    File::open(base)?.sync_all()
}

/// Forgets what is too old or too much; `newest` stays.
fn retain(base: &Path, newest: &Path, limit: u64) -> std::io::Result<()> {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(base)? {
        let path = entry?.path();
        if path != newest
            && let Ok(metadata) = std::fs::symlink_metadata(path.join(FILE))
        {
            runs.push((metadata.modified()?, metadata.len(), path));
        }
    }
    runs.sort();
    let mut total: u64 = runs.iter().map(|(_, size, _)| size).sum();
    for (time, size, path) in runs {
        if total > limit || time.elapsed().is_ok_and(|age| age > RETENTION) {
            // Another agent of the same identity may be at it, too.
            match std::fs::remove_dir_all(&path) {
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
            total -= size;
        }
    }
    Ok(())
}

/// A run's log, oldest first; nothing where there is none. A line that was cut off is left out: its change was not made.
pub(super) fn read(directory: &Path) -> std::io::Result<Option<Vec<Line>>> {
    let path = directory.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let metadata = std::fs::symlink_metadata(&path)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(std::io::Error::other("it belongs to somebody else, or others can write it"));
    }
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    Ok(Some(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Domain;

    fn step(name: &str) -> Entry {
        Entry::Step { domain: Domain::Command, name: name.into(), what: "ran".into() }
    }

    #[test]
    fn lines_survive_a_crash_and_others_cannot_read_them() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("runs/abc");
        let mut history = History::new(directory.clone(), 2, "a task");
        assert!(history.append(step("one")));
        // The agent was killed while it wrote.
        OpenOptions::new().append(true).open(directory.join(FILE)).unwrap().write_all(b"{\"time\":1,\"ent").unwrap();
        assert!(history.append(step("two")));
        let lines = read(&directory).unwrap().unwrap();
        assert_eq!(
            lines.iter().map(|l| (l.turn, l.entry.clone())).collect::<Vec<_>>(),
            [(2, step("one")), (2, step("two"))]
        );
        assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(directory.join(FILE)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&scratch.path().join("runs/none")).unwrap(), None);
        std::fs::set_permissions(directory.join(FILE), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(!history.append(step("three")));
        assert!(history.broken.is_some());
        assert!(read(&directory).is_err());
    }

    #[test]
    fn the_oldest_runs_are_forgotten_and_names_stay_below() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().join("runs");
        for name in ["a", "b", "c"] {
            assert!(History::new(base.join(name), 0, "").append(step(name)));
            std::thread::sleep(Duration::from_millis(20));
        }
        let size = std::fs::metadata(base.join("a").join(FILE)).unwrap().len();
        retain(&base, &base.join("c"), size).unwrap();
        assert!(!base.join("a").exists() && base.join("b").exists() && base.join("c").exists());
        for bad in ["", "..", ".x", "a/b", "a b", &"x".repeat(200)] {
            assert_eq!(directory_of(bad), None, "{bad}");
        }
        assert!(directory_of("20261122-021407-ab12").is_some());
    }
}
