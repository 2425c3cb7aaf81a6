//! Asking the person at the terminal: passphrases, one-time codes, unknown host keys.

use crate::secret::Secret;

/// Somebody who may be asked. Calls block; the connection room makes them on a blocking thread, one at a time.
pub trait Prompter: Send + Sync {
    /// Something that must not be seen while it is typed. None when nobody can be asked.
    fn secret(&self, prompt: &str) -> Option<Secret>;
    /// A line that may be seen.
    fn line(&self, prompt: &str) -> Option<String>;
}

/// Nobody is there: every question stays unanswered.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoPrompter;

impl Prompter for NoPrompter {
    fn secret(&self, _prompt: &str) -> Option<Secret> {
        None
    }
    fn line(&self, _prompt: &str) -> Option<String> {
        None
    }
}

/// The controlling terminal, so that redirected streams do not matter.
#[derive(Debug, Default, Clone, Copy)]
pub struct TerminalPrompter;

impl Prompter for TerminalPrompter {
    fn secret(&self, prompt: &str) -> Option<Secret> {
        ask(prompt, true).map(Secret::from)
    }

    fn line(&self, prompt: &str) -> Option<String> {
        ask(prompt, false)
    }
}

fn ask(prompt: &str, hidden: bool) -> Option<String> {
    let answer = crate::ask::ask(prompt, hidden);
    if matches!(&answer, Err(error) if error.kind() == std::io::ErrorKind::Interrupted) {
        // As if it had been pressed at any other moment of the run.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
    }
    answer.ok()
}
