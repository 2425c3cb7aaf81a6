//! `validate`: a command that must accept new contents before they go live.

use super::common::Step;
use crate::machine::files::Verdict;
use crate::machine::{Command, Machine, MachineError, Output, Result};
use crate::modules::commands::{lines, words};
use crate::modules::{ModuleError, Outcome};
use std::path::Path;

/// A command with `%s` where the file's name goes.
pub(super) struct Validation {
    words: Vec<String>,
    /// What the command said when it refused.
    refused: Option<Output>,
    /// Sentences about validations that a check could not make.
    pub warnings: Vec<String>,
}

impl Validation {
    /// Reads the command. It is run without a shell.
    pub fn parse(command: Option<&str>) -> Step<Option<Validation>> {
        let Some(command) = command else {
            return Ok(None);
        };
        if !command.contains("%s") {
            return Err(ModuleError::argument("validate", format!("validate must contain %s: {command}")));
        }
        let words = words::split(command).map_err(|why| ModuleError::argument("validate", why))?;
        Ok(Some(Validation { words, refused: None, warnings: Vec::new() }))
    }

    /// Runs the command on a file.
    ///
    /// In a check the file is a private copy. What earlier tasks would have done is not there for the command to
    /// see, so then only its approval counts: with a refusal nobody knows what a run would do.
    pub fn run(&mut self, machine: &Machine, file: &Path) -> Result<Verdict> {
        let name = file.to_string_lossy();
        let argv: Vec<String> = self.words.iter().map(|w| w.replace("%s", &name).replace("%%", "%")).collect();
        let early = machine.foresees_anything() || machine.foresees_commands();
        let program = argv.first().cloned().unwrap_or_default();
        if !machine.has_program(&program) {
            if early {
                self.warnings.push(format!("not validated in this check: `{program}` is not there yet"));
                return Ok(Verdict::Untested);
            }
            return Err(MachineError::MissingProgram { program, hint: " (for `validate`)".into() });
        }
        let output = machine.probe(&Command::new(argv))?;
        if output.success() {
            return Ok(Verdict::Good);
        }
        if early {
            return Ok(Verdict::Doubtful(format!(
                "`{program}` refuses the contents (status {}), which may be for want of what earlier tasks bring",
                output.rc
            )));
        }
        let error = if machine.no_log { "(hidden by no_log)".to_string() } else { output.stderr_text() };
        let why = format!("failed to validate: rc:{} error:{}", output.rc, error.trim_end());
        self.refused = (!machine.no_log).then_some(output);
        Err(MachineError::failed(why))
    }

    /// The failure of a write with what the command said, as `copy` and `template` return it.
    pub fn refusal(&self, error: ModuleError) -> ModuleError {
        let Some(output) = &self.refused else {
            return error;
        };
        let (stdout, stderr) = (output.stdout_text(), output.stderr_text());
        let outcome = Outcome::from(error)
            .with("exit_status", output.rc)
            .with("stdout_lines", lines(&stdout))
            .with("stderr_lines", lines(&stderr))
            .with("stdout", stdout)
            .with("stderr", stderr);
        ModuleError::Ended(Box::new(outcome))
    }
}
