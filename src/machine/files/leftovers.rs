//! What a process that was killed while it wrote left beside its destination, removed by the next one that works there.
//!
//! A file under way is named by its process and locked for as long as that process lives, so that what nobody writes
//! any more can be told from what another run writes at this moment.

use super::stat::Time;
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const PREFIX: &str = ".deploy-";
const SUFFIX: &str = ".tmp";

/// A file that is younger may not be locked yet by the process that has just made it.
const SETTLED: i64 = 60;

static COUNTER: AtomicU64 = AtomicU64::new(0);
static SWEPT: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

/// A name beside `path` that nobody uses: hidden, and with no ending that a configuration directory would read.
pub fn sibling(path: &Path) -> PathBuf {
    let time = Time::now();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{PREFIX}{}-{:x}{:x}-{number}{SUFFIX}", std::process::id(), time.0, time.1))
}

/// Says that a file under way is written; it is let go when the file is closed, however that comes about.
pub fn claim(file: &File) {
    // Where there are no locks, nothing is ever taken for a leftover.
    let _ = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Removes what ended processes left in the directory of `path`: once in a process for each directory.
pub fn sweep_beside(path: &Path) {
    let Some(directory) = path.parent() else { return };
    let first = {
        let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
        swept.get_or_insert_default().insert(directory.to_path_buf())
    };
    if first {
        sweep(directory);
    }
}

fn sweep(directory: &Path) {
    // What cannot be read or removed stays, and does no harm there.
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(pid) = name.to_str().and_then(maker)
            && is_left_over(&entry.path(), pid)
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The process that made a file of this name, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    let inner = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let mut parts = inner.split('-');
    let (pid, time, number) = (parts.next()?, parts.next()?, parts.next()?);
    let ours = parts.next().is_none()
        && !time.is_empty()
        && time.bytes().all(|b| b.is_ascii_hexdigit())
        && number.parse::<u64>().is_ok();
    pid.parse().ok().filter(|_| ours)
}

fn is_left_over(path: &Path, pid: u32) -> bool {
    let Ok(stat) = std::fs::symlink_metadata(path) else { return false };
    let gone = pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists();
    let old = Time::now().0.saturating_sub(stat.ctime()) > SETTLED;
    // Another process may have the number by now, so an old one counts as well.
    if stat.uid() != rustix::process::geteuid().as_raw() && !rustix::process::geteuid().is_root() || !(gone || old) {
        return false;
    }
    match stat.file_type() {
        kind if kind.is_symlink() => true,
        kind if kind.is_file() => {
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
            file.is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No process has this number (it is above the kernel's limit).
    const NOBODY: u32 = 4_194_305;

    #[test]
    fn only_what_nobody_writes_any_more_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: String| scratch.path().join(name);
        let left = at(format!(".deploy-{NOBODY}-6921f00a1b2c-0.tmp"));
        let link = at(format!(".deploy-{NOBODY}-6921f00a1b2c-1.tmp"));
        let locked = at(format!(".deploy-{NOBODY}-6921f00a1b2c-2.tmp"));
        let own = sibling(&at("conf".into()));
        let others =
            [".deploy-notes.tmp", ".deploy-12-zz-0.tmp", ".deploy-12-aa-0-1.tmp", "conf"].map(|n| at(n.into()));
        std::os::unix::fs::symlink("conf", &link).unwrap();
        for path in [&left, &locked, &own].into_iter().chain(&others) {
            std::fs::write(path, "x").unwrap();
        }
        let held = File::open(&locked).unwrap();
        claim(&held);
        sweep_beside(&at("conf".into()));
        assert!(!left.exists() && std::fs::symlink_metadata(&link).is_err());
        assert!(locked.exists() && own.exists() && others.iter().all(|path| path.exists()));
        // Once only: a directory of thousands of files is not read for each of them.
        drop(held);
        sweep_beside(&at("conf".into()));
        assert!(locked.exists());
        sweep(scratch.path());
        assert!(!locked.exists());
    }
}
