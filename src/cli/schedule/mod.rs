//! `deploy schedule`: a job that runs by itself, written for systemd or cron, and what it does when it runs.

mod account;
mod arguments;
mod calendar;
mod files;
mod job;
mod key;
mod lock;
mod notify;
mod summary;
mod unit;
mod write;

pub use arguments::ScheduleArgs;
use arguments::ScheduleCommand;
use clap::Parser as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::arguments::{Arguments, RunArguments};

/// What is run when nothing else is named.
const PLAYBOOK: &str = "playbooks/rotate-certs.yml";

/// Runs the command.
pub fn run(args: &ScheduleArgs) -> ExitCode {
    let done = match &args.command {
        Some(ScheduleCommand::Run(run)) => return job::run(run),
        Some(ScheduleCommand::Key(key)) => key::show(key.file.clone()),
        None => write::write(&args.write),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(1)
        }
    }
}

/// The words of the run, with the playbook where none is named.
fn words_of(run: &[String]) -> Result<(Vec<String>, RunArguments), String> {
    let parse = |words: &[String]| {
        let words = std::iter::once("deploy".to_string()).chain(words.iter().cloned());
        Arguments::try_parse_from(words).map_err(|error| error.to_string().trim_end().to_string())
    };
    let mut words = run.to_vec();
    let mut parsed = parse(&words)?;
    if parsed.command.is_some() {
        return Err(format!(
            "behind `--` stand playbooks and options of a run, and not the command `{}`",
            run.join(" ")
        ));
    }
    if parsed.run.playbooks.is_empty() {
        words.push(PLAYBOOK.into());
        parsed = parse(&words)?;
    }
    for (set, option) in [
        (parsed.run.if_locked().is_some(), "--if-locked"),
        (parsed.run.step, "--step"),
        (parsed.run.access.ask_pass, "--ask-pass"),
        (parsed.run.access.ask_become_pass, "--ask-become-pass"),
        (parsed.run.access.sources.ask_vault_pass, "--ask-vault-pass"),
    ] {
        if set {
            let instead = if option == "--if-locked" { "it belongs before the `--`" } else { "nobody is there to ask" };
            return Err(format!("{option} among the options of the run: {instead}"));
        }
    }
    Ok((words, parsed.run))
}

/// The job's name, where it is not told: that of its first playbook.
fn name_of(given: Option<&String>, run: &RunArguments) -> String {
    let stem = run.playbooks.first().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    let name = given.cloned().or(stem).unwrap_or_else(|| "job".into());
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

/// Where a user keeps the state of `deploy`, this process's own user.
fn state_directory() -> Result<PathBuf, String> {
    let store = crate::pki::default_path("default").ok_or("neither XDG_STATE_HOME nor HOME is set")?;
    store.ancestors().nth(2).map(PathBuf::from).ok_or_else(|| "there is no state directory".into())
}

/// `90`, `90s`, `15m`, `2h`, `1d`
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: Option<u64> = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let number = digits.parse().ok().zip(unit).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
    number
        .filter(|number| *number <= 366 * 86_400)
        .ok_or_else(|| format!("`{text}` is no time: write 90s, 15m, 2h or 1d"))
}

/// Names of users and jobs become parts of files' names and lines.
fn plain_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if good { Ok(text.to_string()) } else { Err("use letters, digits, `.`, `_` and `-`".into()) }
}

#[cfg(test)]
mod tests;
