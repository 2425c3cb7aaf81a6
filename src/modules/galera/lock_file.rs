//! The lock of a cluster on one host: a file under /run, and the heartbeat of who holds it.
//!
//! The beats are written by a thread of the agent's process that took the lock. That process lives as long as the
//! run's session, and through the request it has in hand when the session is cut: so the beats end when nothing is done
//! on this host in the run's name any longer, and not before. They are counted by this host's own clock, which runs
//! on while it sleeps and is not set by anybody.

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds between two beats.
pub const BEAT: u64 = 5;
/// So many beats may be missed.
pub const MISSED: u64 = 3;

/// Who has the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The cluster.
    pub cluster: String,
    /// The run.
    pub run: String,
    /// `alice@control`
    pub owner: String,
    /// The controller's own mark: whose journal knows whether the run lives.
    pub controller: String,
    /// What for.
    pub reason: String,
    /// Since when, seconds since 1970 by this host's clock.
    pub since: u64,
    /// The boot of this host in which it was taken.
    pub boot: String,
    /// The last beat, seconds since that boot.
    pub beat: u64,
}

impl Holder {
    /// Seconds since the last beat; nothing when the host was booted since, so that nobody beats any longer.
    pub fn age(&self, boot: &str, now: u64) -> Option<u64> {
        (self.boot == boot).then(|| now.saturating_sub(self.beat))
    }

    /// Whether more beats than may be were missed.
    pub fn is_stale(&self, boot: &str, now: u64) -> bool {
        self.age(boot, now).is_none_or(|age| age > BEAT * MISSED)
    }
}

/// The file of a cluster's lock.
pub struct LockFile {
    directory: PathBuf,
    path: PathBuf,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is ours.
    Held,
    /// Somebody else has it.
    Refused(Holder),
}

/// The locks that a thread of this process beats for: path and run.
static BEATING: Mutex<BTreeSet<(PathBuf, String)>> = Mutex::new(BTreeSet::new());

impl LockFile {
    /// The lock of `cluster` below `directory`.
    pub fn new(directory: &Path, cluster: &str) -> LockFile {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = cluster.chars().map(safe).collect();
        LockFile { directory: directory.into(), path: directory.join(format!("cluster-{name}.lock")) }
    }

    /// All locks below `directory`.
    pub fn all(directory: &Path) -> std::io::Result<Vec<Holder>> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("cluster-") && name.ends_with(".lock") {
                found.extend(read(&path)?);
            }
        }
        found.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        Ok(found)
    }

    /// Who has it.
    pub fn holder(&self) -> std::io::Result<Option<Holder>> {
        read(&self.path)
    }

    /// Takes it, or finds that the run has it already; `instead_of` is a run that is known to be dead.
    pub fn take(&self, mut wanted: Holder, instead_of: &str) -> std::io::Result<Attempt> {
        match std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let _guard = self.guard()?;
        match self.holder()? {
            Some(holder) if holder.run == wanted.run => wanted.since = holder.since,
            Some(holder) if !instead_of.is_empty() && holder.run == instead_of => {}
            Some(holder) => return Ok(Attempt::Refused(holder)),
            None => {}
        }
        self.write(&wanted)?;
        self.beat_on(&wanted.run);
        Ok(Attempt::Held)
    }

    /// Gives it back, if `run` has it.
    pub fn release(&self, run: &str) -> std::io::Result<bool> {
        if !self.directory.is_dir() {
            return Ok(false);
        }
        let _guard = self.guard()?;
        match self.holder()? {
            Some(holder) if holder.run == run => std::fs::remove_file(&self.path).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Removes it if `run` has it and its beats have stopped; otherwise says who has it.
    pub fn break_stale(&self, run: &str) -> std::io::Result<Result<(), Option<Holder>>> {
        if !self.directory.is_dir() {
            return Ok(Err(None));
        }
        let _guard = self.guard()?;
        match self.holder()? {
            Some(holder) if holder.run == run && holder.is_stale(&boot(), uptime()) => {
                std::fs::remove_file(&self.path).map(Ok)
            }
            other => Ok(Err(other)),
        }
    }

    /// Whoever reads and then writes holds this.
    fn guard(&self) -> std::io::Result<File> {
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(self.path.with_extension("guard"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn write(&self, holder: &Holder) -> std::io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
        file.write_all(&serde_json::to_vec(holder)?)?;
        std::fs::rename(&temporary, &self.path)
    }

    /// Beats as long as `run` has it, unless a thread of ours does already.
    fn beat_on(&self, run: &str) {
        let key = (self.path.clone(), run.to_string());
        let mut beating = BEATING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !beating.insert(key.clone()) {
            return;
        }
        let lock = LockFile { directory: self.directory.clone(), path: self.path.clone() };
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(BEAT));
                let mut beating = BEATING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // A place that cannot be written to now may be again.
                if matches!(lock.beat(&key.1), Ok(false)) {
                    beating.remove(&key);
                    return;
                }
            }
        });
    }

    /// One beat; false when the lock is not the run's any longer.
    fn beat(&self, run: &str) -> std::io::Result<bool> {
        if !self.directory.is_dir() {
            return Ok(false);
        }
        let _guard = self.guard()?;
        match self.holder()? {
            Some(holder) if holder.run == run => {
                self.write(&Holder { boot: boot(), beat: uptime(), ..holder })?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

fn read(path: &Path) -> std::io::Result<Option<Holder>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            std::io::Error::other(format!(
                "{} is not a lock of ours ({error}); look at it and remove it",
                path.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of this boot.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// Seconds since this boot, times of sleep included.
pub fn uptime() -> u64 {
    u64::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec).unwrap_or(0)
}

/// Seconds since 1970.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(run: &str) -> Holder {
        Holder { cluster: "db".into(), run: run.into(), boot: boot(), beat: uptime(), since: 7, ..Holder::default() }
    }

    #[test]
    fn one_run_has_it_until_it_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockFile::new(&directory.path().join("deploy"), "db");
        assert!(!lock.release("a").unwrap(), "there is none");
        assert_eq!(lock.take(holder("a"), "").unwrap(), Attempt::Held);
        assert_eq!(lock.take(Holder { since: 9, ..holder("a") }, "").unwrap(), Attempt::Held, "its own it may have");
        let Attempt::Refused(first) = lock.take(holder("b"), "").unwrap() else { panic!("taken twice") };
        assert_eq!((first.run.as_str(), first.since), ("a", 7));
        assert!(!lock.release("b").unwrap(), "not another's");
        assert!(lock.release("a").unwrap());
        assert_eq!(lock.take(holder("b"), "").unwrap(), Attempt::Held);
        assert_eq!(LockFile::all(&directory.path().join("deploy")).unwrap().len(), 1);
        assert!(LockFile::all(&directory.path().join("nothing")).unwrap().is_empty());
    }

    #[test]
    fn only_a_run_that_is_named_as_dead_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockFile::new(directory.path(), "db");
        lock.take(holder("a"), "").unwrap();
        assert!(matches!(lock.take(holder("c"), "b").unwrap(), Attempt::Refused(_)));
        assert_eq!(lock.take(holder("c"), "a").unwrap(), Attempt::Held);
        assert!(!lock.beat("a").unwrap(), "the old run's thread sees that it is over");
        assert_eq!(lock.holder().unwrap().unwrap().run, "c");
    }

    #[test]
    fn only_a_stale_lock_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockFile::new(directory.path(), "db");
        lock.take(holder("a"), "").unwrap();
        assert!(lock.break_stale("a").unwrap().is_err(), "it beats");
        lock.write(&Holder { beat: uptime().saturating_sub(BEAT * MISSED + 1), ..holder("a") }).unwrap();
        assert!(lock.break_stale("b").unwrap().is_err(), "that is not whom we saw");
        assert!(lock.break_stale("a").unwrap().is_ok());
        assert_eq!(lock.break_stale("a").unwrap(), Err(None));
    }

    #[test]
    fn staleness_by_the_hosts_own_clock() {
        for (boot, beat, now, stale) in [
            ("x", 100, 100, false),
            ("x", 100, 100 + BEAT * MISSED, false),
            ("x", 100, 101 + BEAT * MISSED, true),
            ("x", 200, 100, false), // no clock of ours goes back, but a wrong one is not a dead run
            ("y", 100, 100, true),  // the host was booted since
        ] {
            let holder = Holder { boot: boot.into(), beat, ..Holder::default() };
            assert_eq!(holder.is_stale("x", now), stale, "{boot} {beat} {now}");
        }
    }

    #[test]
    fn names_stay_in_their_folder() {
        let lock = LockFile::new(Path::new("/run/deploy"), "../x/y z");
        assert_eq!(lock.path, Path::new("/run/deploy/cluster-.._x_y_z.lock"));
    }

    #[test]
    fn a_broken_file_is_nobodys() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockFile::new(directory.path(), "db");
        std::fs::write(&lock.path, "{").unwrap();
        assert!(lock.take(holder("a"), "").is_err());
    }
}
