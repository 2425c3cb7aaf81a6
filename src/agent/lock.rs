//! One run at a time on a host. Sessions of the same run share the lock, checks take none; a run that waits for another one
//! elsewhere lets it in where it has nothing to do.

use crate::wire::{Start, WAITING_FOR_ANOTHER_RUN};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Root's runs meet here whoever logged in; it is gone after a reboot, as locks should be.
const ROOT: &str = "/run/deploy-agent.lock";
/// Waiting is said after this time.
const SILENT: Duration = Duration::from_secs(2);
/// And said again after this time.
const AGAIN: Duration = Duration::from_secs(10);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One that an earlier version wrote does not say since when.
        let held =
            if self.since > 0 { format!(", for {} s", clock().saturating_sub(self.since)) } else { String::new() };
        write!(f, "{}{held} (agent process {})", self.who, self.pid)
    }
}

/// The lock of the user we are.
pub(super) struct RunLock {
    path: PathBuf,
    start: Start,
    held: Option<File>,
}

/// Written into the file by who holds it.
#[derive(Serialize, Deserialize)]
struct Holder {
    run: String,
    who: String,
    pid: u32,
    /// Seconds since 1970, by the host's clock.
    #[serde(default)]
    since: u64,
}

impl RunLock {
    /// The lock for our user; an ordinary user's is in `directory`.
    pub fn new(directory: &Path, start: Start) -> Self {
        let path = match rustix::process::geteuid().is_root() {
            true => PathBuf::from(ROOT),
            false => directory.join("lock"),
        };
        RunLock { path, start, held: None }
    }

    /// Takes the lock. `wait` is told why it takes longer than two seconds, and says whether to go on waiting; it is
    /// called often with nothing to tell. Without a place for the lock (a full disk, which a task may be about to
    /// clear) there is none.
    pub fn acquire(&mut self, wait: &mut dyn FnMut(Option<&str>) -> bool) -> bool {
        let began = Instant::now();
        let mut said: Option<Instant> = None;
        while self.held.is_none() {
            let holder = match self.attempt() {
                Ok(None) => return true,
                Ok(Some(holder)) => holder,
                Err(_) => return true,
            };
            let speak = began.elapsed() >= SILENT && said.is_none_or(|said| said.elapsed() >= AGAIN);
            if speak {
                said = Some(Instant::now());
            }
            let text = format!("{WAITING_FOR_ANOTHER_RUN}: {holder}");
            if !wait(speak.then_some(text.as_str())) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Lets other runs in until the next [`RunLock::acquire`].
    ///
    /// It is given back and not only closed: a program that is just being started holds copies of all that is open here.
    pub fn release(&mut self) {
        if let Some(file) = self.held.take() {
            let _ = flock(&file, FlockOperation::Unlock);
        }
    }

    /// One attempt; says who has it instead.
    fn attempt(&mut self) -> std::io::Result<Option<Holder>> {
        // Changing the lock from exclusive to shared is not atomic; who tries at all holds the guard.
        let guard = open(&self.path.with_extension("guard"))?;
        flock(&guard, FlockOperation::LockExclusive)?;
        let mut file = open(&self.path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let holder = Holder {
                run: self.start.run.clone(),
                who: self.start.who.clone(),
                pid: std::process::id(),
                since: clock(),
            };
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
            flock(&file, FlockOperation::LockShared)?;
            self.held = Some(file);
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let unknown = || Holder { run: String::new(), who: "unknown".into(), pid: 0, since: 0 };
        let holder = serde_json::from_str(&text).unwrap_or_else(|_| unknown());
        if !self.start.run.is_empty()
            && holder.run == self.start.run
            && flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
        {
            self.held = Some(file);
            return Ok(None);
        }
        Ok(Some(holder))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        self.release();
    }
}

fn clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(directory: &Path, run: &str) -> RunLock {
        let start = Start { run: run.into(), who: format!("user of {run}"), patience: 0, exclusive: true };
        RunLock { path: directory.join("lock"), start, held: None }
    }

    #[test]
    fn one_run_at_a_time_but_its_sessions_together() {
        let directory = tempfile::tempdir().unwrap();
        let (mut a, mut a2, mut b) =
            (lock(directory.path(), "a"), lock(directory.path(), "a"), lock(directory.path(), "b"));
        let never = &mut |_: Option<&str>| false;
        assert!(a.acquire(never));
        assert!(a2.acquire(never));
        assert!(!b.acquire(never));
        drop(a);
        assert!(!b.acquire(never), "the run's second session still works");
        drop(a2);
        assert!(b.acquire(never));
        assert!(!lock(directory.path(), "a").acquire(never));
    }

    #[test]
    fn waiting_is_said_with_the_holder_after_two_seconds() {
        let directory = tempfile::tempdir().unwrap();
        let mut a = lock(directory.path(), "a");
        assert!(a.acquire(&mut |_| false));
        let began = Instant::now();
        let mut text = String::new();
        let got = lock(directory.path(), "b").acquire(&mut |said| {
            text.push_str(said.unwrap_or_default());
            text.is_empty()
        });
        assert!(!got && began.elapsed() >= SILENT, "{text}");
        assert!(text.contains("user of a"), "{text}");
    }

    #[test]
    fn without_a_place_there_is_no_lock() {
        assert!(lock(Path::new("/nonexistent"), "a").acquire(&mut |_| false));
    }
}
