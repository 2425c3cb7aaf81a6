//! The host's own log of what each run changed, per turn: what is needed to undo it.
//!
//! An operation of a domain writes down the state before, then changes the host. A process that is killed in between
//! leaves an entry whose change did not come about, which the host's present state shows; so the log is never behind.
//! What cannot be undone (a command, a package) is written down too, to be named by the rollback.

mod entry;
mod image;
mod plan;
mod restore;
mod store;
#[cfg(test)]
mod tests;

pub use entry::Entry;
use entry::Line;
pub(crate) use image::Image;
pub use restore::{Leave, NotUndone, Refused, Rollback, RunTurn, UnitLeft};
pub(crate) use store::History;

use super::files::Stat;
use super::units::UnitAction;
use super::{Change, ChangeKind, Domain, Facet, Machine, Undo};
use std::path::Path;

impl Machine {
    /// From here on live changes are logged for a rollback of `run`; an empty name logs nothing.
    pub fn begin_history(&mut self, run: &str, turn: u32, task: &str) {
        self.history = store::directory_of(run).map(|directory| History::new(directory, turn, task));
    }

    /// When the task that runs now, in an earlier run of the given name, last started or restarted a unit on this host: by
    /// the host's own clock, seconds since 1970. What was cut off in between may not have come about. A task of that name
    /// may be in several plays: `turn` is the one that counts, where it is known.
    pub fn unit_started_by(&self, run: &str, turn: Option<u32>, unit: &str) -> Option<i64> {
        let task = self.history.as_ref()?.task();
        let lines = store::read(&store::directory_of(run)?).ok()??;
        let starts = |entry: &Entry| {
            let Entry::Unit { unit: name, action, .. } = entry else { return false };
            name == unit && matches!(action, UnitAction::Start | UnitAction::Restart)
        };
        let mine = |line: &Line| line.task == task && turn.is_none_or(|turn| turn == line.turn);
        lines.iter().rev().find(|line| mine(line) && starts(&line.entry)).map(|line| line.time)
    }

    /// Why the log of the task that just ran is not complete.
    pub fn end_history(&mut self) -> Option<String> {
        self.history.take()?.broken
    }

    /// Logs what is about to be changed. Answers whether it can be found again; nothing is logged, and that is fine,
    /// in a check and outside of runs.
    pub(crate) fn log(&mut self, entry: Entry) -> bool {
        if self.predicted() {
            return true;
        }
        self.history.as_mut().is_none_or(|history| history.append(entry))
    }

    /// Logs that an entry of the file system is about to be changed, and keeps its contents. Answers whether it can
    /// be brought back.
    pub(crate) fn log_file(&mut self, path: &Path, old: Option<&Stat>, after: Image, secret: bool) -> bool {
        let restorable = match old {
            None => true,
            Some(stat) if stat.is_file() || stat.is_link() || stat.is_dir() => true,
            Some(_) => false, // pipes, sockets and devices
        };
        if self.predicted() {
            let small = |stat: &Stat| stat.size.is_none_or(|size| size <= super::before::FILE_LIMIT);
            return restorable && old.is_none_or(|stat| !stat.is_file() || small(stat));
        }
        let Some(text) = path.to_str().map(str::to_string) else {
            return false; // such a name cannot be written down
        };
        let Ok(before) = Image::keep(self, path, old) else { return false };
        // A change of mode or owner needs no contents.
        let same_contents = before.holds.is_some() && before.holds == after.holds;
        let kept = before.kept || same_contents || old.is_none_or(|stat| !stat.is_file());
        let logged = self.log(Entry::File { path: text, before, after, secret: secret || self.no_log });
        restorable && kept && logged
    }

    /// Logs that mode or owner are about to be changed: contents stay.
    pub(crate) fn log_attributes(&mut self, path: &Path, old: &Stat, after: Image) -> bool {
        let (Some(text), Ok(before)) = (path.to_str(), Image::from_stat(self, path, old)) else { return false };
        self.log(Entry::File { path: text.to_string(), before, after, secret: true })
    }

    /// Logs a recorded change that cannot be undone, to be named by a rollback.
    pub(super) fn log_step(&mut self, change: &Change) {
        if change.undo == Undo::None && change.subject.domain != Domain::Command {
            let what = match &change.kind {
                ChangeKind::Effect { what } => what.clone(),
                ChangeKind::Opaque => "may have changed".to_string(),
                ChangeKind::Set { aspect, before, after } => match (short(before), short(after)) {
                    (Some(before), Some(after)) => format!("{aspect}: {before} → {after}"),
                    _ => aspect.clone(),
                },
            };
            let what = if self.no_log { "changed".to_string() } else { what };
            self.log(Entry::step(&change.subject, what));
        }
    }
}

/// A side of a change, where it is short and no secret.
fn short(facet: &Facet) -> Option<String> {
    match facet {
        Facet::Absent => Some("absent".to_string()),
        Facet::Value(serde_json::Value::String(text)) if text.len() <= 80 => Some(text.clone()),
        Facet::Value(value) if !value.is_string() => Some(value.to_string()),
        _ => None,
    }
}
