//! One run of a job at a time on this controller: a file that is locked as long as the process lives.

use crate::engine::IfLocked;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Who has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Holder {
    owner: String,
    pid: u32,
    since: i64,
    doing: String,
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct JobLock(#[allow(dead_code)] File);

/// Why there is none.
#[derive(Debug)]
pub enum Refused {
    /// Another process has it: who, since when, for what.
    Held(String),
    /// It cannot be had at all.
    Broken(String),
}

/// Takes the lock of a job. Whoever waits is told once for whom.
pub fn take(
    path: &Path,
    owner: &str,
    doing: &str,
    policy: IfLocked,
    tell: &mut dyn FnMut(&str),
) -> Result<JobLock, Refused> {
    let broken = |error: std::io::Error| Refused::Broken(format!("the lock {}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(broken)?;
    }
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(broken)?;
    let (began, mut told) = (Instant::now(), false);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(broken(error.into())),
        }
        let why = held_by(&mut file);
        if began.elapsed() >= policy.patience() {
            return Err(Refused::Held(why));
        }
        if !std::mem::replace(&mut told, true) {
            tell(&format!("waiting: {why}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let holder =
        Holder { owner: owner.into(), pid: std::process::id(), since: crate::pki::now(), doing: doing.to_string() };
    let text = serde_json::to_string(&holder).unwrap_or_default();
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(broken)?;
    Ok(JobLock(file))
}

fn held_by(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let holder: Holder = serde_json::from_str(&text).unwrap_or_default();
    format!(
        "this job is being run by {} since {} (process {}): {}",
        holder.owner,
        crate::pki::date(holder.since),
        holder.pid,
        holder.doing
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it_and_waits_or_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schedule/job.lock");
        let silent = &mut |said: &str| panic!("{said}");
        let first = take(&path, "alice@control", "rotating", IfLocked::Fail, silent).unwrap();
        for policy in [IfLocked::Leave, IfLocked::Fail] {
            let Err(Refused::Held(why)) = take(&path, "bob@control", "x", policy, silent) else { panic!("{policy}") };
            for part in ["alice@control", "rotating", "since 20", &std::process::id().to_string()] {
                assert!(why.contains(part), "{part}: {why}");
            }
        }
        let mut told = Vec::new();
        let short = IfLocked::Wait(Some(Duration::from_millis(150)));
        let waited = take(&path, "bob@control", "x", short, &mut |said| told.push(said.to_string()));
        assert!(matches!(waited, Err(Refused::Held(_))) && told.len() == 1, "{told:?}");
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || take(&path, "bob@control", "x", IfLocked::Wait(None), &mut |_| {}).is_ok()
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.join().unwrap());
        // Who is gone holds nothing, whatever the file says.
        assert!(take(&path, "carol@control", "x", IfLocked::Fail, silent).is_ok());
    }
}
