//! The journal of the run that is going on.

use super::debts::{Debt, Due, settle, write_whole};
use super::error::JournalError;
use super::fold::{Progress, fold};
use super::record::{Ending, HandlerId, Meta, Step, Timed, TurnOutcome};
use super::sources::SourceHashes;
use super::store::Store;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// The journal of the run that is going on. Steps are in the system's hands as soon as they are said, so a killed
/// process leaves them; they are on the disk at the ends of turns, where a controller that loses power must find them.
pub struct Journal {
    store: Store,
    directory: PathBuf,
    meta: Mutex<Meta>,
    steps: Mutex<Steps>,
    /// Debts of earlier runs to hosts of this run's inventory.
    debts: Vec<Debt>,
    /// Held while the run lives.
    _lock: File,
}

struct Steps {
    file: File,
    all: Vec<Timed>,
    /// The first thing that could not be written.
    broken: Option<String>,
}

impl Journal {
    /// Opens the journal of a new run, and looks after runs that were killed. Returns those, too.
    pub fn begin(store: &Store, meta: Meta) -> Result<(Arc<Journal>, Vec<Meta>), JournalError> {
        store.make()?;
        let killed = store.settle_killed()?;
        let debts = store.debts()?.into_iter().filter(|debt| debt.inventory == meta.inventory_id).collect();
        let directory = store.directory(&meta.id);
        std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(JournalError::at(&directory))?;
        let open = |name: &str| {
            let path = directory.join(name);
            File::options().append(true).create(true).mode(0o600).open(&path).map_err(JournalError::at(path))
        };
        // Under its name it is locked from the beginning: nobody may take a run that starts for a dead one.
        let lock = open("lock.new")?;
        let path = directory.join("lock");
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| JournalError::at(&path)(error.into()))?;
        std::fs::rename(directory.join("lock.new"), &path).map_err(JournalError::at(&path))?;
        let steps = Steps { file: open("steps.jsonl")?, all: Vec::new(), broken: None };
        let journal = Journal {
            store: store.clone(),
            directory,
            meta: Mutex::new(meta),
            steps: Mutex::new(steps),
            debts,
            _lock: lock,
        };
        journal.write_meta()?;
        Ok((Arc::new(journal), killed))
    }

    /// The run's name.
    pub fn id(&self) -> String {
        self.meta().id.clone()
    }

    /// The store it is kept in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where events are written to, a JSON object a line.
    pub fn event_log(&self) -> Result<EventLog, JournalError> {
        let path = self.directory.join("events.jsonl");
        let file = File::options().append(true).create(true).mode(0o600).open(&path).map_err(JournalError::at(path))?;
        Ok(EventLog(file))
    }

    /// Keeps what the run was made of.
    pub fn keep_sources(&self, hashes: &SourceHashes) -> Result<(), JournalError> {
        write_whole(&self.directory.join("sources.json"), &serde_json::to_vec(hashes).unwrap_or_default())
    }

    /// Keeps something else beside it.
    pub fn keep(&self, name: &str, contents: &[u8]) -> Result<(), JournalError> {
        write_whole(&self.directory.join(name), contents)
    }

    fn meta(&self) -> MutexGuard<'_, Meta> {
        self.meta.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write_meta(&self) -> Result<(), JournalError> {
        let text = serde_json::to_vec_pretty(&*self.meta()).unwrap_or_default();
        write_whole(&self.directory.join("meta.json"), &text)
    }

    fn step(&self, step: Step, durably: bool) {
        let mut steps = self.steps();
        let timed = Timed { time: now(), step };
        let mut line = serde_json::to_vec(&timed).unwrap_or_default();
        line.push(b'\n');
        steps.all.push(timed);
        let written = steps.file.write_all(&line).and_then(|()| if durably { steps.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            steps.broken.get_or_insert(error.to_string());
        }
    }

    /// Why the journal is not whole, if so; said once.
    pub fn take_trouble(&self) -> Option<String> {
        let why = self.steps().broken.take()?;
        Some(format!("{}: the journal of this run is not complete: {why}", self.directory.display()))
    }

    /// A host's turn in a rolling play begins; `turn` is its number in the run.
    pub fn turn_began(&self, play: usize, host: &str, turn: u32) {
        self.step(Step::TurnBegan { play, host: host.into(), run: self.id(), turn }, true);
    }

    /// A host's turn is over; `gate` is what the gate said behind it.
    pub fn turn_ended(&self, play: usize, host: &str, outcome: TurnOutcome, gate: &str) {
        self.step(Step::TurnEnded { play, host: host.into(), outcome, gate: gate.into() }, true);
    }

    /// A handler was notified.
    pub fn notified(&self, play: usize, host: &str, handler: HandlerId) {
        self.step(Step::Notified { play, host: host.into(), handler }, false);
    }

    /// A handler ran and did not fail: it is owed no longer, by this run or any other.
    pub fn ran(&self, host: &str, handler: HandlerId) {
        self.step(Step::Ran { host: host.into(), handler }, false);
    }

    /// A handler that this play has notified is not to run after all; earlier plays and runs still owe what they owe.
    pub fn withdrawn(&self, play: usize, host: &str, handler: HandlerId) {
        self.step(Step::Withdrawn { play, host: host.into(), handler }, false);
    }

    /// A unit will have to be restarted, but not now.
    pub fn owes_restart(&self, host: &str, unit: &str, reason: &str) {
        self.step(Step::OwesRestart { host: host.into(), unit: unit_name(unit), reason: reason.into() }, true);
    }

    /// A unit was restarted: no restart of it is owed any longer.
    pub fn restarted(&self, host: &str, unit: &str) {
        self.step(Step::Restarted { host: host.into(), unit: unit_name(unit) }, false);
    }

    /// What this run's steps come to so far.
    pub fn progress(&self) -> Progress {
        fold(&self.steps().all)
    }

    /// What earlier runs owe to hosts of this inventory and this run has not paid yet.
    pub fn outstanding(&self) -> Vec<Debt> {
        if self.debts.is_empty() {
            return Vec::new();
        }
        let paid = self.progress().paid;
        let open = |debt: &&Debt| !paid.iter().any(|(host, due)| *host == debt.host && due.same(&debt.due));
        self.debts.iter().filter(open).cloned().collect()
    }

    /// Handlers that earlier runs owe to `host`, and this one has not run.
    pub fn owed_handlers(&self, host: &str) -> Vec<HandlerId> {
        let debts = self.outstanding().into_iter().filter(|debt| debt.host == host);
        debts.filter_map(|debt| if let Due::Handler(handler) = debt.due { Some(handler) } else { None }).collect()
    }

    /// Units of `host` whose restart is owed, by earlier runs or by this one.
    pub fn owed_restarts(&self, host: &str) -> Vec<String> {
        let own = self.progress().owed.into_iter().map(|(host, due, _)| (host, due));
        let all = self.outstanding().into_iter().map(|debt| (debt.host, debt.due)).chain(own);
        let mut units: Vec<String> = all
            .filter(|(other, _)| other == host)
            .filter_map(|(_, due)| if let Due::Restart { unit, .. } = due { Some(unit) } else { None })
            .collect();
        units.sort();
        units.dedup();
        units
    }

    /// The run is over. `mask` hides secrets that became known since it began.
    pub fn finish(
        &self,
        ending: Ending,
        exit_code: u8,
        hosts: BTreeMap<String, serde_json::Value>,
        mask: &dyn Fn(&str) -> String,
    ) -> Result<(), JournalError> {
        let progress = self.progress();
        {
            let mut meta = self.meta();
            (meta.ended, meta.ending, meta.exit_code, meta.hosts) = (Some(now()), Some(ending), Some(exit_code), hosts);
            let masked: Vec<String> = meta.arguments.iter().map(|argument| mask(argument)).collect();
            meta.masked |= masked != meta.arguments;
            meta.arguments = masked;
        }
        self.write_meta()?;
        if !progress.owed.is_empty() || !progress.paid.is_empty() {
            let (id, inventory) = (self.id(), self.meta().inventory_id.clone());
            self.store.ledger().change(|debts| settle(debts, &id, &inventory, &progress))?;
        }
        let lock = self.directory.join("lock");
        std::fs::remove_file(&lock).map_err(JournalError::at(&lock))?;
        self.store.prune(now());
        Ok(())
    }
}

/// `mariadb` is `mariadb.service`, as changes call it.
fn unit_name(unit: &str) -> String {
    if unit.contains('.') { unit.to_string() } else { format!("{unit}.service") }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Where events are written to.
pub struct EventLog(File);

impl Write for EventLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(name: &str) -> HandlerId {
        HandlerId { file: "/p/x.yml".into(), role: String::new(), name: name.into() }
    }

    fn meta(id: &str) -> Meta {
        Meta { id: id.into(), started: now(), inventory_id: vec!["/i".into()], ..Meta::default() }
    }

    fn begin(store: &Store, id: &str) -> (Arc<Journal>, Vec<String>) {
        let (journal, killed) = Journal::begin(store, meta(id)).unwrap();
        (journal, killed.into_iter().map(|meta| meta.id).collect())
    }

    fn finish(journal: &Journal) {
        journal.finish(Ending::Finished, 2, BTreeMap::new(), &|text| text.replace("secret", "***")).unwrap();
    }

    #[test]
    fn a_killed_run_leaves_its_debts_and_the_next_pays_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("runs"));
        let began = now();
        let id = |n: i64| super::super::new_id(began + n, n as u32);
        let (first, killed) = begin(&store, &id(1));
        assert!(killed.is_empty());
        first.notified(1, "a", handler("restart"));
        first.notified(1, "a", handler("reload"));
        first.ran("a", handler("reload"));
        first.owes_restart("b", "m.service", "the other node died");
        assert_eq!(store.alive(&id(1)), Some(true));
        assert!(store.settle_killed().unwrap().is_empty(), "a living run is left alone");
        drop(first); // as a killed process leaves it
        assert_eq!(store.alive(&id(1)), Some(false));

        let (second, killed) = begin(&store, &id(2));
        assert_eq!(killed, [id(1)]);
        assert_eq!(second.owed_handlers("a"), [handler("restart")]);
        assert_eq!(second.owed_restarts("b"), ["m.service"]);
        assert!(second.owed_handlers("b").is_empty());
        second.ran("a", handler("restart"));
        assert!(second.owed_handlers("a").is_empty());
        finish(&second);
        assert_eq!(store.debts().unwrap().len(), 1, "the restart is still owed");

        let (third, killed) = begin(&store, &id(3));
        assert!(killed.is_empty(), "told once");
        third.restarted("b", "m.service");
        finish(&third);
        assert!(store.debts().unwrap().is_empty());
        assert_eq!(store.list().iter().map(|kept| kept.meta.id.clone()).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!(store.find(&id(1)).unwrap().meta.ending, Some(Ending::Killed));
        assert_eq!(store.find("last").unwrap().meta.id, id(3));
        assert_eq!(store.find("000002").unwrap().meta.id, id(2));
        assert!(matches!(store.find("nothing"), Err(JournalError::NoRun(_))));
        assert!(matches!(store.find("2"), Err(JournalError::Ambiguous { .. })));
    }

    #[test]
    fn a_run_that_is_not_known_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("runs"));
        for id in ["", "../x", "20260101-000000-abcdef", ".", "a/b"] {
            assert_eq!(store.alive(id), None, "{id}");
        }
    }

    #[test]
    fn others_cannot_read_it_and_what_is_too_much_goes() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("runs"));
        let old = super::super::new_id(now() - 100 * 24 * 3600, 1);
        let (first, _) = begin(&store, &old);
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.root().to_path_buf()), 0o700);
        assert_eq!(mode(store.root().join(&old)), 0o700);
        assert_eq!(mode(store.root().join(&old).join("meta.json")), 0o600);
        assert_eq!(mode(store.root().join(&old).join("steps.jsonl")), 0o600);
        finish(&first);
        assert!(store.list().is_empty(), "it is too old to be kept");
    }

    #[test]
    fn secrets_learned_later_are_masked_in_the_arguments() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("runs"));
        let id = super::super::new_id(now(), 7);
        let arguments = vec!["-e".to_string(), "word=secret".to_string()];
        let (journal, _) = Journal::begin(&store, Meta { arguments, ..meta(&id) }).unwrap();
        finish(&journal);
        let kept = store.find(&id).unwrap();
        assert!(kept.meta.masked && kept.meta.arguments[1] == "word=***", "{:?}", kept.meta);
    }
}
