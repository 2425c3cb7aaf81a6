//! The timer on the host that puts the old rules back, unless it is disarmed.
//!
//! Its files are in `/run`, so a reboot forgets them, and the rules that were not confirmed with them.

use super::ruleset::removal;
use crate::machine::{Command, Machine, MachineError, Result};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

const DIRECTORY: &str = "/run/deploy-firewall";

fn path(table: &str, kind: &str) -> String {
    format!("{DIRECTORY}/{table}.{kind}")
}

fn unit(table: &str) -> String {
    format!("deploy-firewall-{}", table.replace('_', "-"))
}

/// Writes down how to go back and starts the timer.
pub(super) fn arm(machine: &Machine, table: &str, seconds: u64) -> Result<()> {
    let mut back = removal(table);
    if let Some(listing) = machine.listing(table)? {
        back.push_str(&listing);
    }
    write(&path(table, "revert"), &back)?;
    let file = path(table, "revert");
    let seconds = seconds.max(5).to_string();
    // The mark goes too, so that a confirmation that comes too late knows it.
    let script = format!("nft -f {file} && rm -f {file} {}", path(table, "applied"));
    if machine.has_program("systemd-run") && std::fs::metadata("/run/systemd/system").is_ok() {
        let words = [
            "systemd-run",
            "--quiet",
            "--collect",
            &format!("--unit={}", unit(table)),
            &format!("--on-active={seconds}"),
            "--timer-property=AccuracySec=100ms",
            "--description=Puts back firewall rules that were not confirmed",
            "/bin/sh",
            "-c",
            &script,
        ];
        let output = machine.run_process(&Command::new(words))?;
        if output.success() {
            return Ok(());
        }
        return Err(MachineError::failed(format!(
            "the timer that would undo the firewall rules cannot be set, so they are not put in force: {}",
            output.stderr_text().trim()
        )));
    }
    // Without systemd: a process of its own session, that survives the connection and does nothing when disarmed.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let token = format!("{}-{}", std::process::id(), since.as_nanos());
    let mark = path(table, "sleeper");
    write(&mark, &token)?;
    let sleeper = sleeper(&seconds, &mark, &token, &script);
    let words = ["setsid", "-f", "sh", "-c", &format!("({sleeper}) </dev/null >/dev/null 2>&1")];
    let output = machine.run_process(&Command::new(words))?;
    match output.success() {
        true => Ok(()),
        false => Err(MachineError::failed(format!(
            "the process that would undo the firewall rules cannot be started, so they are not put in force: {}",
            output.stderr_text().trim()
        ))),
    }
}

/// What sleeps and then acts, unless it was disarmed meanwhile: its token is gone then, or another's stands there. A
/// sleeper of an earlier run must not undo what a later one has not confirmed yet.
fn sleeper(seconds: &str, mark: &str, token: &str, script: &str) -> String {
    format!("sleep {seconds}; [ \"$(cat {mark})\" = {token} ] && rm -f {mark} && {script}")
}

/// Remembers what is in force now, unconfirmed.
pub(super) fn applied(_: &Machine, table: &str, listing: &str) -> Result<()> {
    write(&path(table, "applied"), listing)
}

/// Whether the rules that wait for a confirmation are still in force.
pub(super) fn is_applied(table: &str, listing: &str) -> bool {
    std::fs::read_to_string(path(table, "applied")).is_ok_and(|known| known == listing)
}

/// Stops the timer.
pub(super) fn disarm(machine: &Machine, table: &str) -> Result<()> {
    // The file first: the sleeper looks for it, and a timer that fires now finds nothing to load.
    for kind in ["sleeper", "revert", "applied"] {
        match std::fs::remove_file(path(table, kind)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(MachineError::io(format!("cannot remove {}", path(table, kind)), error)),
        }
    }
    if machine.has_program("systemctl") {
        machine.run_process(&Command::new(["systemctl", "stop", &format!("{}.timer", unit(table))]))?;
    }
    Ok(())
}

/// Rules of a run that was cut off before it could confirm them are undone now, not when their timer ends.
pub(super) fn settle(machine: &Machine, table: &str) -> Result<()> {
    let file = path(table, "revert");
    if std::fs::metadata(&file).is_err() {
        return Ok(());
    }
    machine.nft(&["-f", &file], None)?;
    disarm(machine, table)
}

/// Writes a file that only root can read.
fn write(path: &str, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(DIRECTORY) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|e| MachineError::io(format!("cannot write {path}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_that_was_disarmed_leaves_what_a_later_one_guards_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let run = |token: &str| {
            let done = folder.path().join(token);
            let text = sleeper("0", &mark.display().to_string(), token, &format!("touch {}", done.display()));
            std::process::Command::new("sh").args(["-c", &text]).status().unwrap();
            done.exists()
        };
        std::fs::write(&mark, "second").unwrap();
        assert!(!run("first"), "its token was replaced");
        assert!(run("second"), "it is the one that was armed last");
        assert!(!run("second-again"), "it was disarmed");
    }
}
