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
        rpassword::prompt_password(prompt).ok().map(Secret::from)
    }

    fn line(&self, prompt: &str) -> Option<String> {
        use std::io::{BufRead, BufReader, Write};
        let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        terminal.write_all(prompt.as_bytes()).ok()?;
        let mut line = String::new();
        match BufReader::new(terminal).read_line(&mut line) {
            Ok(n) if n > 0 => Some(line.trim_end_matches(['\r', '\n']).to_string()),
            _ => None,
        }
    }
}
