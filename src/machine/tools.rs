//! Programs that change files in ways that only they know (tar, git, pip): run for real, or foreseen.

use super::files::Foreseen;
use super::history::Entry;
use super::{Change, Command, Domain, Machine, MachineError, Output, Result, Subject, Undo};
use std::path::Path;

impl Machine {
    /// Runs a program that changes what is at `path` and below. It is one change of `path`, which cannot be undone. In a
    /// check nothing is run: what the module foresees of it is told by [`Machine::foresee_tool`].
    pub(crate) fn run_tool(&mut self, path: &Path, what: &str, command: &Command) -> Result<Output> {
        if self.predicted() {
            return Err(MachineError::unknown(format!("`{}` is not run in a check", command.argv.join(" "))));
        }
        let name = path.display().to_string();
        // Before it runs: it may not come back.
        self.log(Entry::Step { domain: Domain::File, name, what: what.to_string() });
        self.run_process(command)
    }

    /// What a program did: recorded once, when it is known that it changed something.
    pub(crate) fn record_tool(&mut self, path: &Path, what: impl Into<String>) {
        let subject = Subject::new(Domain::File, path.display().to_string());
        self.record(Change::effect(subject, what, Undo::None));
    }

    /// In a check: what a program would do to `path`; without more, what is there then is not known.
    pub(crate) fn foresee_tool(&mut self, path: &Path, what: impl Into<String>, entry: Option<Foreseen>) -> Result<()> {
        let what = what.into();
        let why = format!("what {} will hold is made when it is applied", path.display());
        self.foresee_file(path, entry.unwrap_or(Foreseen::Unknown(why)))?;
        self.record_tool(path, what);
        Ok(())
    }
}
