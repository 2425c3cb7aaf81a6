//! Processes: commands that may change anything, and probes that may not.

use super::history::Entry;
use super::{Change, Domain, Machine, MachineError, Result, Subject, Undo, process};

/// A process to start.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Program and arguments; no shell is involved.
    pub argv: Vec<String>,
    /// Working directory.
    pub chdir: Option<String>,
    /// Bytes for its standard input; nothing means `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Variables of this process alone, beside the task's `environment:`.
    pub environment: Vec<(String, String)>,
    /// It is the user's own: it sees the login's PATH. What a module calls for itself sees the system's directories, too.
    pub users: bool,
    /// What it is called in changes, where its program says nothing: a script.
    pub named: Option<String>,
}

impl Command {
    /// A command from its words.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Command { argv: argv.into_iter().map(Into::into).collect(), ..Default::default() }
    }

    /// What it is called in changes.
    fn name(&self) -> String {
        self.named.as_ref().or(self.argv.first()).cloned().unwrap_or_default()
    }
}

/// What a process left.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Exit status; a signal N is reported as `-N`, as Ansible does.
    pub rc: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it exited with status 0.
    pub fn success(&self) -> bool {
        self.rc == 0
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl Machine {
    /// Runs a command that may change anything: only the command family and domains' backends call this.
    /// Recorded as an effect. In a check it is not run and the answer is `Unknown`.
    pub fn exec(&mut self, command: &Command) -> Result<Output> {
        if self.predicted() {
            self.predictions.commands = true;
            let shown = match self.no_log {
                true => "a command whose words are hidden (no_log)".to_string(),
                false => format!("`{}`", command.argv.join(" ")),
            };
            return Err(MachineError::unknown(format!("{shown} is not run in a check")));
        }
        let name = command.argv.first().cloned().unwrap_or_default();
        // Before it runs: it may not come back. Its arguments may be secret, and so may be what is no program.
        let place = match &command.chdir {
            Some(directory) if name.contains('/') && !name.starts_with('/') => format!("{directory}/{name}"),
            _ => name.clone(),
        };
        let shown = if self.has_program(&place) { name.clone() } else { "a program".to_string() };
        self.log(Entry::Step { domain: Domain::Command, name: shown, what: "ran".into() });
        let output = self.run_process(command)?;
        self.record(Change::effect(
            Subject::new(Domain::Command, command.name()),
            format!("ran, exit status {}", output.rc),
            Undo::None,
        ));
        Ok(output)
    }

    /// In a check: a command that would certainly be run. What it would do to the host is not known.
    pub fn foresee_command(&mut self, command: &Command) {
        self.predictions.commands = true;
        self.record(Change::effect(
            Subject::new(Domain::Command, command.name()),
            "would be run".to_string(),
            Undo::None,
        ));
    }

    /// Runs in a check what would be a command of the run, because it can only read: it counts as run.
    pub fn exec_read(&mut self, command: &Command) -> Result<Output> {
        let output = self.run_process(command)?;
        let name = command.name();
        let what = format!("ran, exit status {}", output.rc);
        // Not `record`: nothing is different behind it.
        self.changes.push(Change::effect(Subject::new(Domain::Command, name), what, Undo::None));
        Ok(output)
    }

    /// Runs a program that says itself whether it changed anything; in a check, too: it was told that this is one.
    pub fn exec_judged(&mut self, name: &str, command: &Command) -> Result<Output> {
        if self.predicted() {
            // Nobody knows what it would have done.
            self.predictions.commands = true;
        } else {
            // Before it runs: it may not come back.
            self.log(Entry::Step { domain: Domain::Command, name: name.to_owned(), what: "ran".into() });
        }
        self.run_process(command)
    }

    /// A task was started and left running.
    pub fn note_started(&mut self, module: &str, job: &str) {
        let subject = Subject::new(Domain::Command, module);
        self.record(Change::effect(subject, format!("left running as job {job}"), Undo::None));
    }

    /// A change that a task made which was left running: nothing is kept by which it could be undone.
    pub fn adopt(&mut self, mut change: Change) {
        change.undo = Undo::None;
        self.record(change);
    }

    /// Runs a read-only program, in a check too.
    pub fn probe(&self, command: &Command) -> Result<Output> {
        self.run_process(command)
    }

    /// Starts a process and waits for it, without recording anything: for backends that record a better change.
    pub(crate) fn run_process(&self, command: &Command) -> Result<Output> {
        process::run(command, &self.environment, self.deadline, None)
    }

    /// The same with a time limit and progress: for steps that may take minutes.
    pub(crate) fn run_watched(&self, command: &Command, watch: process::Watch<'_>) -> Result<Output> {
        process::run(command, &self.environment, self.deadline, Some(watch))
    }

    /// Where the host has this program.
    pub fn find_program(&self, program: &str) -> Option<String> {
        process::find_program(program, &process::search_path(&self.environment))
    }

    /// Whether the host has this program, in PATH or in the system's own directories.
    pub fn has_program(&self, program: &str) -> bool {
        process::find_program(program, &process::search_path(&self.environment)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn a_signal_is_a_negative_status_and_streams_are_kept_apart() {
        let mut machine = Machine::new(Mode::Live);
        let output = machine.exec(&Command::new(["sh", "-c", "echo out; echo err >&2; kill -9 $$"])).unwrap();
        assert_eq!((output.rc, output.stdout_text().as_str(), output.stderr_text().as_str()), (-9, "out\n", "err\n"));
        assert_eq!(machine.take_changes().len(), 1);
    }

    #[test]
    fn a_check_runs_probes_and_no_commands() {
        let mut machine = Machine::new(Mode::Predicted);
        assert!(matches!(machine.exec(&Command::new(["true"])), Err(MachineError::Unknown { .. })));
        assert!(machine.probe(&Command::new(["true"])).unwrap().success());
        assert!(machine.take_changes().is_empty());
    }
}
