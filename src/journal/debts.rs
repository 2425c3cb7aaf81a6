//! What failed and killed runs left undone: the file `owed.json`, whose debts later runs pay.

use super::error::JournalError;
use super::fold::Progress;
use super::record::HandlerId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What has to be done some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "due", rename_all = "snake_case")]
pub enum Due {
    /// A handler was notified, and has not run since.
    Handler(HandlerId),
    /// A unit has to be restarted.
    Restart {
        /// The unit.
        unit: String,
        /// Why it was not restarted at once.
        #[serde(default)]
        reason: String,
    },
}

impl Due {
    /// Whether paying one pays the other.
    pub fn same(&self, other: &Due) -> bool {
        match (self, other) {
            (Due::Handler(one), Due::Handler(other)) => one == other,
            (Due::Restart { unit: one, .. }, Due::Restart { unit: other, .. }) => one == other,
            _ => false,
        }
    }

    /// In words: `the handler db : restart`.
    pub fn describe(&self) -> String {
        match self {
            Due::Handler(handler) if handler.role.is_empty() => format!("the handler `{}`", handler.name),
            Due::Handler(handler) => format!("the handler `{} : {}`", handler.role, handler.name),
            Due::Restart { unit, reason } if reason.is_empty() => format!("a restart of {unit}"),
            Due::Restart { unit, reason } => format!("a restart of {unit} ({reason})"),
        }
    }
}

/// Something owed to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The host.
    pub host: String,
    /// What.
    #[serde(flatten)]
    pub due: Due,
    /// The run that owes it.
    pub run: String,
    /// Since when, seconds since 1970.
    pub since: i64,
    /// The inventory in which the host has this name.
    pub inventory: Vec<String>,
}

/// Takes what a run paid off the list, and puts what it owes on it.
pub fn settle(debts: &mut Vec<Debt>, run: &str, inventory: &[String], progress: &Progress) {
    let mine =
        |debt: &Debt, host: &str, due: &Due| debt.inventory == inventory && debt.host == host && debt.due.same(due);
    debts.retain(|debt| !progress.paid.iter().any(|(host, due)| mine(debt, host, due)));
    for (host, due, since) in &progress.owed {
        if !debts.iter().any(|debt| mine(debt, host, due)) {
            debts.push(Debt {
                host: host.clone(),
                due: due.clone(),
                run: run.to_string(),
                since: *since,
                inventory: inventory.to_vec(),
            });
        }
    }
}

/// The file.
pub(super) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub fn new(runs: &Path) -> Ledger {
        Ledger { path: runs.join("owed.json") }
    }

    /// All debts.
    pub fn read(&self) -> Result<Vec<Debt>, JournalError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(JournalError::at(&self.path)(error)),
        };
        serde_json::from_slice(&text)
            .map_err(|error| JournalError::Unreadable { path: self.path.clone(), why: error.to_string() })
    }

    /// Changes the debts; runs that end at the same time wait for each other.
    pub fn change<T>(&self, work: impl FnOnce(&mut Vec<Debt>) -> T) -> Result<T, JournalError> {
        let guard_path = self.path.with_extension("lock");
        let at = || JournalError::at(&guard_path);
        let guard = File::options().write(true).create(true).truncate(false).mode(0o600).open(&guard_path);
        let guard = guard.map_err(at())?;
        flock(&guard, FlockOperation::LockExclusive).map_err(|error| at()(error.into()))?;
        let before = self.read()?;
        let mut debts = before.clone();
        let done = work(&mut debts);
        if debts != before {
            write_whole(&self.path, &serde_json::to_vec_pretty(&debts).unwrap_or_default())?;
        }
        Ok(done)
    }
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), JournalError> {
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    let write = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(contents)?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(JournalError::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(name: &str) -> Due {
        Due::Handler(HandlerId { file: "/p/x.yml".into(), role: String::new(), name: name.into() })
    }

    #[test]
    fn debts_are_taken_over_paid_and_struck_off() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(directory.path());
        let inventory = vec!["/p/inventory".to_string()];
        let owes = Progress { owed: vec![("a".into(), due("x"), 5)], ..Progress::default() };
        ledger.change(|debts| settle(debts, "r1", &inventory, &owes)).unwrap();
        // Owed again by another run: the first keeps it.
        ledger.change(|debts| settle(debts, "r2", &inventory, &owes)).unwrap();
        assert_eq!(ledger.read().unwrap().iter().map(|d| d.run.as_str()).collect::<Vec<_>>(), ["r1"]);
        // The same name in another inventory is another host.
        let paid = Progress { paid: vec![("a".into(), due("x"))], ..Progress::default() };
        ledger.change(|debts| settle(debts, "r3", &["/q".to_string()], &paid)).unwrap();
        assert_eq!(ledger.read().unwrap().len(), 1);
        ledger.change(|debts| settle(debts, "r3", &inventory, &paid)).unwrap();
        assert!(ledger.read().unwrap().is_empty());
    }

    #[test]
    fn a_broken_file_is_said_and_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("owed.json"), "{").unwrap();
        let ledger = Ledger::new(directory.path());
        assert!(ledger.change(|debts| debts.clear()).is_err());
        assert_eq!(std::fs::read(directory.path().join("owed.json")).unwrap(), b"{");
    }
}
