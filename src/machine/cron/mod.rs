//! Crontabs of users.

use super::files::fingerprint;
use super::history::Entry;
use super::{Change, Command, Domain, Facet, Machine, MachineError, Mode, Result, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a check foresees of crontabs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cron {
    /// Text by user; nothing where it is not known.
    crontabs: BTreeMap<String, Option<String>>,
}

impl Machine {
    /// The crontab of a user; empty where there is none.
    pub fn crontab(&self, user: &str) -> Result<String> {
        if self.predicted()
            && let Some(text) = self.predictions.cron.crontabs.get(user)
        {
            return text.clone().ok_or_else(|| {
                MachineError::unknown(format!("the crontab of {user} depends on a task that may not run"))
            });
        }
        let output = match self.run_process(&crontab(user, "-l")) {
            Ok(output) => output,
            // A check of a host that has no cron yet, but will have.
            Err(MachineError::MissingProgram { .. }) if self.predicted() && self.exists("/usr/bin/crontab")? => {
                return Ok(String::new());
            }
            Err(MachineError::MissingProgram { program, .. }) => {
                return Err(MachineError::MissingProgram {
                    program,
                    hint: "; install the package cron (cronie)".into(),
                });
            }
            Err(other) => return Err(other),
        };
        let complaint = output.stderr_text();
        match output.rc {
            0 => Ok(output.stdout_text()),
            // Every cron says it in this way: no crontab for USER.
            _ if complaint.contains("no crontab") => Ok(String::new()),
            rc => Err(MachineError::failed(format!(
                "cannot read the crontab of {user} (status {rc}): {}",
                complaint.trim()
            ))),
        }
    }

    /// Replaces the crontab of a user, and records one of its entries as what was changed. A table without lines stays, empty.
    pub fn set_crontab(
        &mut self,
        user: &str,
        text: &str,
        entry: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<()> {
        self.put_crontab(user, text, entry, (before, after), false)
    }

    /// Replaces the crontab of a user, or takes it away where nothing is to be in it and `remove` says so.
    pub(super) fn put_crontab(
        &mut self,
        user: &str,
        text: &str,
        entry: &str,
        (before, after): (Option<&str>, Option<&str>),
        remove: bool,
    ) -> Result<()> {
        let remove = remove && text.is_empty();
        if self.predicted() {
            let known = (self.mode() == Mode::Predicted).then(|| text.to_string());
            self.predictions.cron.crontabs.insert(user.to_string(), known);
        } else {
            let present = self.crontab(user)?;
            self.log(Entry::Crontab { user: user.to_string(), before: present, after: text.to_string() });
            let command = if remove {
                crontab(user, "-r")
            } else {
                Command { stdin: Some(text.as_bytes().to_vec()), ..crontab(user, "-") }
            };
            let output = self.run_process(&command)?;
            let complaint = output.stderr_text();
            let none = remove && complaint.contains("no crontab");
            if !(output.success() || none) {
                return Err(MachineError::failed(format!(
                    "crontab did not take the new table of {user}: {}",
                    complaint.trim()
                )));
            }
        }
        let facet = |line: Option<&str>| match line {
            None => Facet::Absent,
            Some(line) if self.no_log => Facet::Secret { fingerprint: fingerprint(line) },
            Some(line) => Facet::Value(line.into()),
        };
        let change =
            Change::set(Subject::new(Domain::Cron, format!("{user}: {entry}")), "entry", facet(before), facet(after));
        self.record(change);
        Ok(())
    }
}

impl Machine {
    /// Keeps what was in a user's crontab, in a file of `directory` that only its owner can read. In a check nothing is returned.
    pub fn back_up_crontab(&mut self, directory: &Path, text: &str) -> Result<Option<PathBuf>> {
        let made = self.make_temporary(directory, "crontab", "", false)?;
        if let Some(path) = &made {
            std::fs::write(path, text)
                .map_err(|error| MachineError::io(format!("cannot write {}", path.display()), error))?;
        }
        Ok(made)
    }
}

/// A call of `crontab` for a user; one's own needs no `-u`.
fn crontab(user: &str, action: &str) -> Command {
    let mut argv = vec!["crontab".to_string()];
    if rustix::process::geteuid().is_root() {
        argv.extend(["-u".into(), user.to_string()]);
    }
    argv.push(action.into());
    let mut command = Command::new(argv);
    command.environment.push(("LC_ALL".into(), "C".into()));
    command
}
