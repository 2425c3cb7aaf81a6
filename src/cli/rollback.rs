//! `deploy rollback RUN`: undoes on its hosts what a run changed. A playbook of two plays that is written here and run as
//! any other, with the same output, options and exit codes.

use super::arguments::{RollbackArguments, RollbackUnits};
use super::{record, run};
use crate::journal::{JournalError, Kept, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::BufRead;
use std::process::ExitCode;

/// Runs the command.
pub fn rollback(arguments: RollbackArguments, words: Vec<String>) -> ExitCode {
    match prepare(arguments) {
        Ok((arguments, _scratch)) => run::run(arguments, record::Order { words, ..Default::default() }),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(super::EXIT_PARSE)
        }
    }
}

/// The playbook, in a directory that is removed when the run is over, and the run's options.
fn prepare(arguments: RollbackArguments) -> Result<(super::arguments::RunArguments, tempfile::TempDir), String> {
    let RollbackArguments { run, host, force, units, mut options } = arguments;
    if !options.playbooks.is_empty() {
        return Err("a rollback takes no playbooks: it undoes what the run did".into());
    }
    let kept = find(&run);
    let (id, hosts) = match (&kept, host.is_empty()) {
        (Ok(kept), true) => (kept.meta.id.clone(), hosts_of(kept)),
        (Ok(kept), false) => (kept.meta.id.clone(), host.clone()),
        // The hosts know the run, even when this controller does not.
        (Err(_), false) => (run.clone(), host.clone()),
        (Err(why), true) => return Err(format!("{why}; name its hosts with --host to undo it all the same")),
    };
    if let Ok(kept) = &kept {
        if kept.alive {
            return Err(format!("the run {id} is still at work: wait for its end, or stop it first"));
        }
        if options.access.sources.inventory.is_empty() {
            let there = |source: &String| match source.contains(',') {
                true => source.clone(),
                false => kept.meta.directory.join(source).display().to_string(),
            };
            options.access.sources.inventory = kept.meta.inventory.iter().map(there).collect();
        }
    }
    let scratch = tempfile::tempdir().map_err(|e| format!("cannot make a temporary directory: {e}"))?;
    let path = scratch.path().join("rollback.yml");
    let text = serde_json::to_string_pretty(&playbook(&id, &hosts, force, units, options.check))
        .map_err(|e| format!("cannot write the playbook: {e}"))?;
    std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    options.playbooks = vec![path];
    Ok((options, scratch))
}

fn find(run: &str) -> Result<Kept, JournalError> {
    Store::from_environment()?.find(run)
}

/// The hosts of a run: those of its recap; of a run that was killed those that its events name; else all.
fn hosts_of(kept: &Kept) -> Vec<String> {
    if !kept.meta.hosts.is_empty() {
        return kept.meta.hosts.keys().cloned().collect();
    }
    let mut hosts = BTreeSet::new();
    for line in kept.events().into_iter().flat_map(|events| events.lines().map_while(Result::ok)) {
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && let Some(host) = event.get("host").and_then(Value::as_str)
        {
            hosts.insert(host.to_string());
        }
    }
    if hosts.is_empty() { vec!["all".into()] } else { hosts.into_iter().collect() }
}

/// All hosts are looked at before the first one is touched; then one after the other, until one fails.
fn playbook(run: &str, hosts: &[String], force: bool, units: RollbackUnits, check: bool) -> Value {
    let arguments = json!({"run": run, "force": force, "units": units.word()});
    let tasks = |verb: &str, look: bool| -> Vec<Value> {
        let who = [("root", true), ("the login user", false)];
        let task = |(name, become_): (&str, bool)| {
            let mut task = json!({
                "name": format!("{verb} what {name} changed in run {run}"),
                "become": become_,
                "deploy.builtin.rollback": arguments,
            });
            if let (true, Some(task)) = (look, task.as_object_mut()) {
                task.extend([("check_mode".into(), json!(true)), ("diff".into(), json!(false))]);
                task.insert("changed_when".into(), json!(false));
            }
            task
        };
        who.into_iter().map(task).collect()
    };
    let play = |name: &str, serial: bool, tasks: Vec<Value>| {
        let mut play = json!({
            "name": name,
            "hosts": hosts,
            "gather_facts": false,
            "any_errors_fatal": true,
            "tasks": tasks,
        });
        if let (true, Some(play)) = (serial, play.as_object_mut()) {
            play.insert("serial".into(), json!(1));
        }
        play
    };
    let back = play(&format!("Roll back run {run}"), true, tasks("Put back", false));
    match check {
        true => json!([play(&format!("Roll back run {run}"), false, tasks("Put back", false))]),
        false => json!([play("Look whether it can be rolled back", false, tasks("Look at", true)), back]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_looked_at_before_the_first_is_touched() {
        let plays = playbook("r1", &["db1".into()], false, RollbackUnits::Restore, false);
        assert_eq!(plays[0]["tasks"][0]["check_mode"], true);
        assert_eq!(plays[0]["serial"], Value::Null);
        assert_eq!(plays[1]["tasks"][0]["check_mode"], Value::Null);
        assert_eq!((&plays[1]["serial"], &plays[1]["any_errors_fatal"]), (&json!(1), &json!(true)));
        let check = playbook("r1", &["db1".into()], true, RollbackUnits::All, true);
        assert_eq!(check.as_array().map(Vec::len), Some(1));
        assert_eq!(
            check[0]["tasks"][1]["deploy.builtin.rollback"],
            json!({"run": "r1", "force": true, "units": "all"})
        );
    }
}
