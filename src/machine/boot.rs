//! The host's own start: rebooting it.

use super::history::Entry;
use super::{Change, Command, Domain, Machine, Output, Result, Subject, Undo};

impl Machine {
    /// Runs the command that boots the host anew, or foresees that. The answer may never come: the host goes down.
    pub fn reboot(&mut self, command: &Command) -> Result<Output> {
        let subject = || Subject::new(Domain::Command, "reboot");
        let change = || Change::effect(subject(), "rebooted", Undo::None);
        if self.predicted() {
            self.record(change());
            return Ok(Output::default());
        }
        // Before it runs: afterwards nothing may be written any more.
        self.log(Entry::Step { domain: Domain::Command, name: "reboot".into(), what: "rebooted".into() });
        let output = self.run_process(command)?;
        if output.success() {
            self.record(change());
        }
        Ok(output)
    }
}
