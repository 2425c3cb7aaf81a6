//! What failed and killed runs owe: handlers that were notified and never ran, restarts that were put off. It is written
//! down as it arises, and the next run that has the handler for the host pays it.

use super::handlers::Handler;
use super::position::Position;
use super::run::Run;
use super::walker::Walker;
use crate::journal::{Debt, Due, HandlerId};
use crate::machine::{Change, ChangeKind, Domain, Facet};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Debts of earlier runs, as this run sees them.
#[derive(Default)]
pub struct Debts {
    /// For runs without a journal: checks.
    known: Vec<Debt>,
    /// Handlers that this run has notified for their sake: once is enough, whatever becomes of them.
    claimed: Mutex<HashSet<(Arc<str>, HandlerId)>>,
}

impl Debts {
    /// Debts to hosts of this run's inventory.
    pub fn new(known: Vec<Debt>) -> Debts {
        Debts { known, claimed: Mutex::default() }
    }
}

/// What tells a handler from all others, in any run.
pub fn identity(handler: &Handler) -> HandlerId {
    let path = &handler.task.file.path;
    let path = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.clone());
    let role = handler.role();
    let name = handler.task.title();
    let name = match role {
        Some(role) => name.strip_prefix(&format!("{} : ", role.name)).unwrap_or(&name).to_string(),
        None => name,
    };
    HandlerId { file: path.display().to_string(), role: role.map(|r| r.name.to_string()).unwrap_or_default(), name }
}

impl Run {
    /// What earlier runs owe to hosts of this inventory and this one has not paid.
    pub fn outstanding(&self) -> Vec<Debt> {
        match &self.journal {
            Some(journal) => journal.outstanding(),
            None => self.debts.known.clone(),
        }
    }

    /// Units of `host` that have to be restarted some time, by the word of this run or of an earlier one.
    pub fn owed_restarts(&self, host: &str) -> Vec<String> {
        if let Some(journal) = &self.journal {
            return journal.owed_restarts(host);
        }
        let debts = self.debts.known.iter().filter(|debt| debt.host == host);
        debts
            .filter_map(|debt| if let Due::Restart { unit, .. } = &debt.due { Some(unit.clone()) } else { None })
            .collect()
    }

    /// A handler was notified in a play of this number.
    pub fn note_notified(&self, play: usize, host: &str, handler: &Handler) {
        if let Some(journal) = &self.journal {
            journal.notified(play, host, identity(handler));
        }
    }

    /// A handler ran and did not fail.
    pub fn note_ran(&self, host: &str, handler: &Handler) {
        if let Some(journal) = &self.journal {
            journal.ran(host, identity(handler));
        }
    }

    /// A handler was notified, and others of its name are to run in its place.
    pub fn note_withdrawn(&self, play: usize, host: &str, handler: &Handler) {
        if let Some(journal) = &self.journal {
            journal.withdrawn(play, host, identity(handler));
        }
    }

    /// Sees units being started and restarted, whoever asked for it: an owed restart is paid by any.
    pub fn note_changes(&self, host: &str, changes: &[Change]) {
        let Some(journal) = &self.journal else { return };
        for change in changes.iter().filter(|change| change.subject.domain == Domain::Unit && starts(&change.kind)) {
            if journal.owed_restarts(host).contains(&change.subject.name) {
                journal.restarted(host, &change.subject.name);
            }
        }
    }
}

fn starts(kind: &ChangeKind) -> bool {
    match kind {
        ChangeKind::Set { aspect, after: Facet::Value(value), .. } => aspect == "state" && value == "started",
        ChangeKind::Effect { what } => what.starts_with("restarted"),
        _ => false,
    }
}

/// Where handlers are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush<'a> {
    /// At the end of the play's tasks, or later: everything that was to be put right is.
    End,
    /// By `meta: flush_handlers` in a role, or in the play itself (`None`).
    Inside(Option<&'a str>),
}

impl Walker {
    /// The handlers that earlier runs owe to this host.
    pub fn debts(&self) -> Vec<HandlerId> {
        let debts = self.this.play.run.outstanding().into_iter().filter(|debt| debt.host == *self.this.host.name);
        debts.filter_map(|debt| if let Due::Handler(handler) = debt.due { Some(handler) } else { None }).collect()
    }

    /// Notifies the handlers that earlier runs owe to this host. A role's handlers are not paid before the role itself has
    /// come to its flush: the run that owes them may have failed because of what the role puts right now.
    pub fn pay(&self, flush: Flush<'_>) {
        let run = &self.this.play.run;
        let host = &self.this.host.name;
        let owed = self.debts();
        if owed.is_empty() {
            return;
        }
        // Of a role that was brought more than once the last, as for a name that is notified.
        for (rank, handler) in self.this.handlers(&Position::end()).iter().rev() {
            let id = identity(handler);
            let here = match flush {
                Flush::End => true,
                Flush::Inside(role) => id.role == role.unwrap_or_default(),
            };
            if !here || !owed.contains(&id) {
                continue;
            }
            let mut claimed = run.debts.claimed.lock().unwrap_or_else(|p| p.into_inner());
            if claimed.insert((host.clone(), id)) {
                self.this.host.notify(rank, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Subject, Undo};

    #[test]
    fn what_starts_a_unit_pays_its_restart() {
        let unit = || Subject::new(Domain::Unit, "m.service");
        let state = |text: &str| Facet::Value(text.into());
        for (change, expected) in [
            (Change::effect(unit(), "restarted (pid 1 → 2)", Undo::None), true),
            (Change::set(unit(), "state", state("stopped"), state("started")), true),
            (Change::set(unit(), "state", state("started"), state("stopped")), false),
            (Change::effect(unit(), "reloaded its configuration", Undo::None), false),
            (Change::set(unit(), "enabled", state("no"), state("started")), false),
        ] {
            assert_eq!(starts(&change.kind), expected, "{change:?}");
        }
    }
}
