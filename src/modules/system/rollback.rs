//! `rollback`: undoes on this host what a run of `deploy` changed.

use crate::machine::Machine;
use crate::machine::history::{Leave, Rollback as Done, RunTurn};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, Status, decode};
use serde_json::{Map, Value};

/// `deploy.builtin.rollback`
pub const ROLLBACK: Module = Module {
    name: "deploy.builtin.rollback",
    aliases: &["rollback"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Rollback::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Undoes on the host what a run of `deploy` changed there: files with their modes and owners, directories, links,
    /// units, kernel parameters, crontabs, firewall tables and global variables of the database server.
    ///
    /// The host keeps a log of each run, for root and for every other user apart; a task undoes what its own user
    /// changed. When somebody else has changed one of these things since, nothing is touched and the task fails.
    /// What cannot be undone (packages, commands, accounts, SQL) is named in `not_undone`. A second rollback does
    /// nothing. `deploy rollback RUN` is this module on all hosts of a run.
    pub struct Rollback {
        /// Name of the run.
        pub run: Text,
        /// Only what was changed in this turn of a rolling play, by its number in the run (`deploy runs RUN` names it).
        /// Without it everything.
        pub turn: Option<Int>,
        /// Turns of earlier runs to be undone with it as if all were one, the newest first: a list of `run` and `turn`.
        /// A rolling play that takes a turn up again fills it in.
        pub earlier: Option<Value>,
        /// Put back also what somebody else has changed since.
        #[serde(default)]
        pub force: Flag,
        /// What happens to units that the run started, stopped, restarted or reloaded: `restore` brings them back to
        /// the state before, and restarts those that run with what was put back, but for database servers, which are
        /// left to their cluster; `all` does it with these too; `leave` does it with none. `restore` when not given.
        pub units: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Rollback = decode(arguments)?;
    let leave = match arguments.units.as_deref().unwrap_or("restore") {
        "restore" => Leave::Servers,
        "all" => Leave::Nothing,
        "leave" => Leave::All,
        other => {
            return Err(ModuleError::argument("units", format!("`{other}` is unknown: write restore, all or leave")));
        }
    };
    let turn = arguments.turn.map(|turn| u32::try_from(turn.0));
    let turn = turn.transpose().map_err(|_| ModuleError::argument("turn", "a turn is counted from 1"))?;
    let controller = &mut *context.controller;
    let mut progress = |text: &str| controller.progress(text, None, None);
    let run: &str = arguments.run.as_ref();
    let earlier: Vec<RunTurn> = match arguments.earlier {
        None => Vec::new(),
        Some(list) => serde_json::from_value(list)
            .map_err(|error| ModuleError::argument("earlier", format!("a list of `run` and `turn` is due: {error}")))?,
    };
    let mut turns: Vec<RunTurn> = earlier.into_iter().rev().collect();
    turns.push(RunTurn { run: run.to_string(), turn: turn.unwrap_or(0) });
    let done = machine.roll_back(&turns, arguments.force.0, leave, &mut progress)?;
    Ok(outcome(run, &done, arguments.force.0, machine.changed()))
}

fn outcome(run: &str, done: &Done, force: bool, changed: bool) -> Outcome {
    let mut outcome = Outcome::ok().with("run", run);
    if let Ok(Value::Object(report)) = serde_json::to_value(done) {
        outcome.data.extend(report);
    }
    let failed: Vec<String> =
        done.not_undone.iter().filter(|s| s.failed).map(|s| format!("{}: {}", s.name, s.why)).collect();
    if !done.refused.is_empty() && !force {
        let list: Vec<String> = done.refused.iter().map(|r| format!("{}: {}", r.name, r.why)).collect();
        outcome.status = Status::Failed;
        outcome.msg = Some(format!(
            "nothing was rolled back, because this has changed since run {run}: {}; look at it, then use `force: true` \
             (`--force`) to put the state before the run in its place",
            list.join("; ")
        ));
    } else if !failed.is_empty() {
        outcome.status = Status::Failed;
        outcome.msg = Some(format!("not everything could be put back: {}", failed.join("; ")));
    } else {
        outcome.msg = Some(match (done.known, changed, done.settled) {
            (false, ..) => format!("this host has no log of a run {run} by this user: nothing to roll back"),
            (true, false, Some(_)) => format!("run {run} is rolled back here already"),
            (true, false, None) => "everything is as before the run".to_string(),
            (true, true, _) => "rolled back".to_string(),
        });
    }
    for step in done.not_undone.iter().filter(|step| !step.failed) {
        outcome.warnings.push(format!("not undone: {} {}, {}: {}", word(step), step.name, step.what, step.why));
    }
    for unit in done.units.iter().filter(|unit| unit.owed) {
        outcome.warnings.push(format!("{} runs with the state that was taken back until it is restarted", unit.unit));
    }
    outcome
}

fn word(step: &crate::machine::history::NotUndone) -> String {
    let value = serde_json::to_value(step.domain).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('_', " ")
}
