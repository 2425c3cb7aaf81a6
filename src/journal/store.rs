//! The folder of all runs: one folder a run, named by its id.

use super::debts::{Debt, Ledger, settle, write_whole};
use super::error::JournalError;
use super::fold::{Progress, fold};
use super::record::{Ending, Meta, Timed};
use super::sources::SourceHashes;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// So many runs are kept …
const KEPT: usize = 200;
/// … and no older ones than this, in seconds.
const AGE: i64 = 90 * 24 * 3600;

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct Store {
    /// `$XDG_STATE_HOME/deploy/runs`
    root: PathBuf,
    kept: usize,
}

/// A run that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// `meta.json`
    pub meta: Meta,
    /// It still runs.
    pub alive: bool,
    /// Its folder.
    pub directory: PathBuf,
}

impl Kept {
    /// What its steps come to.
    pub fn progress(&self) -> Progress {
        fold(&read_steps(&self.directory))
    }

    /// What its steps come to, after those of the runs that it resumes.
    pub fn progress_with_resumed(&self, store: &Store) -> Progress {
        let mut steps = read_steps(&self.directory);
        let mut runs = vec![self.meta.id.clone()];
        let mut before = self.meta.resumes.clone();
        // A run cannot resume itself, but a file can be edited.
        for _ in 0..100 {
            let Some(id) = before else { break };
            let earlier = store.directory(&id);
            steps.splice(0..0, read_steps(&earlier));
            runs.push(id.clone());
            before = store.read(&id).ok().and_then(|kept| kept.meta.resumes);
        }
        Progress { runs, ..fold(&steps) }
    }

    /// What it was made of.
    pub fn sources(&self) -> Option<SourceHashes> {
        serde_json::from_slice(&std::fs::read(self.directory.join("sources.json")).ok()?).ok()
    }

    /// Its events, one JSON object a line.
    pub fn events(&self) -> Result<std::io::BufReader<File>, JournalError> {
        let path = self.directory.join("events.jsonl");
        File::open(&path).map(std::io::BufReader::new).map_err(JournalError::at(path))
    }
}

/// The steps of a run; a line that was cut off by a crash is left out.
fn read_steps(directory: &Path) -> Vec<Timed> {
    let text = std::fs::read_to_string(directory.join("steps.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl Store {
    /// The store at `root`.
    pub fn at(root: PathBuf) -> Store {
        Store { root, kept: KEPT }
    }

    /// The store that the environment names: `DEPLOY_RUNS_DIR` (`off` for none), or beside the certificate store.
    pub fn from_environment() -> Result<Store, JournalError> {
        let kept = std::env::var("DEPLOY_RUNS_KEEP").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(KEPT);
        let root = match std::env::var_os("DEPLOY_RUNS_DIR").filter(|value| !value.is_empty()) {
            Some(value) if value == "off" => return Err(JournalError::Off),
            Some(value) => std::path::absolute(&value).map_err(JournalError::at(PathBuf::from(&value)))?,
            None => {
                let absolute =
                    |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
                let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".local/state")));
                state.ok_or(JournalError::NoHome)?.join("deploy/runs")
            }
        };
        Ok(Store { root, kept })
    }

    /// What tells this journal from any other: machine, user and folder.
    pub fn mark(&self) -> String {
        use sha2::{Digest, Sha256};
        let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let user = rustix::process::geteuid().as_raw();
        let text = format!("{}\n{user}\n{}", machine.trim(), self.root.display());
        Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a run.
    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::new(&self.root)
    }

    /// Makes the folder, for its owner alone.
    pub(super) fn make(&self) -> Result<(), JournalError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(JournalError::at(&self.root))
    }

    /// The ids of all runs, oldest first.
    fn ids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut ids: Vec<String> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        ids
    }

    /// Whether the run's process lives: it holds the lock in its folder. `None` when the run is not known here, which
    /// proves nothing.
    pub fn alive(&self, id: &str) -> Option<bool> {
        if id.is_empty() || id.contains(['/', '\0']) || id.starts_with('.') {
            return None;
        }
        let directory = self.directory(id);
        if !directory.join("meta.json").is_file() {
            return None;
        }
        match File::open(directory.join("lock")) {
            Ok(file) => match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => Some(false),
                Err(rustix::io::Errno::WOULDBLOCK) => Some(true),
                Err(_) => None,
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(false),
            Err(_) => None,
        }
    }

    fn read(&self, id: &str) -> Result<Kept, JournalError> {
        let directory = self.directory(id);
        let path = directory.join("meta.json");
        let text = std::fs::read(&path).map_err(JournalError::at(&path))?;
        let meta =
            serde_json::from_slice(&text).map_err(|error| JournalError::Unreadable { path, why: error.to_string() })?;
        Ok(Kept { meta, alive: self.alive(id) == Some(true), directory })
    }

    /// All runs that are kept, newest first.
    pub fn list(&self) -> Vec<Kept> {
        self.ids().iter().rev().filter_map(|id| self.read(id).ok()).collect()
    }

    /// The run of this name, of which the beginning is enough; `last` is the newest.
    pub fn find(&self, name: &str) -> Result<Kept, JournalError> {
        let mut found: Vec<String> = self.ids();
        if name == "last" {
            return found.pop().map_or(Err(JournalError::NoRun(name.into())), |id| self.read(&id));
        }
        if !found.iter().any(|id| id == name) {
            found.retain(|id| id.starts_with(name) || id.rsplit('-').next() == Some(name));
        } else {
            found = vec![name.to_string()];
        }
        match found.as_slice() {
            [id] => self.read(id),
            [] => Err(JournalError::NoRun(name.into())),
            _ => Err(JournalError::Ambiguous { name: name.into(), runs: found }),
        }
    }

    /// Everything that is owed, to hosts of any inventory.
    pub fn debts(&self) -> Result<Vec<Debt>, JournalError> {
        self.ledger().read()
    }

    /// Strikes off what a run owes, because somebody says so. Returns what was struck off.
    pub fn forgive(&self, run: &str) -> Result<Vec<Debt>, JournalError> {
        self.ledger().change(|debts| {
            let (gone, stay) = std::mem::take(debts).into_iter().partition(|debt| debt.run == run);
            *debts = stay;
            gone
        })
    }

    /// Looks after runs that were killed: what they owe is taken down. Returns those that were found so.
    pub fn settle_killed(&self) -> Result<Vec<Meta>, JournalError> {
        let mut killed = Vec::new();
        for id in self.ids() {
            let lock = self.directory(&id).join("lock");
            // A run that ended in order took its lock away.
            let Ok(file) = File::open(&lock) else { continue };
            // Exclusively: of two that look after the same run one does it.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let Ok(mut kept) = self.read(&id) else { continue };
            let progress = kept.progress();
            self.ledger().change(|debts| settle(debts, &id, &kept.meta.inventory_id, &progress))?;
            if kept.meta.ending.is_none() {
                kept.meta.ending = Some(Ending::Killed);
                write_whole(
                    &kept.directory.join("meta.json"),
                    &serde_json::to_vec_pretty(&kept.meta).unwrap_or_default(),
                )?;
                killed.push(kept.meta);
            }
            std::fs::remove_file(&lock).map_err(JournalError::at(&lock))?;
        }
        Ok(killed)
    }

    /// Removes runs that are too many or too old, as `now` is. Those that live or were not looked after stay.
    pub(super) fn prune(&self, now: i64) {
        let ids = self.ids();
        let surplus = ids.len().saturating_sub(self.kept);
        let oldest = super::new_id(now.saturating_sub(AGE), 0);
        for (index, id) in ids.iter().enumerate() {
            if index >= surplus && *id >= oldest {
                break;
            }
            let directory = self.directory(id);
            if !directory.join("lock").exists() && directory.join("meta.json").exists() {
                let _ = std::fs::remove_dir_all(directory); // the next run tries again
            }
        }
    }
}
