//! `deploy runs`: what this controller did.

use super::arguments::{RunsArguments, Shape};
use super::record::moment;
use super::table::table;
use crate::journal::{Debt, Ending, JournalError, Kept, Meta, Store, TurnOutcome};
use serde_json::{Value, json};
use std::io::BufRead;
use std::process::ExitCode;

/// Runs the command.
pub fn run(arguments: &RunsArguments) -> ExitCode {
    match answer(arguments) {
        Ok(text) => {
            super::show(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

fn answer(arguments: &RunsArguments) -> Result<String, JournalError> {
    let store = Store::from_environment()?;
    store.settle_killed()?;
    let Some(name) = &arguments.run else {
        let mut kept = store.list();
        kept.truncate(arguments.number);
        return Ok(match arguments.format {
            Shape::Json => format!("{:#}\n", json!(kept.iter().map(summary).collect::<Vec<_>>())),
            Shape::Text if kept.is_empty() => format!("there are no runs below {}\n", store.root().display()),
            Shape::Text => rows(&kept, ""),
        });
    };
    let kept = store.find(name)?;
    let mut text = String::new();
    if arguments.forgive {
        for debt in store.forgive(&kept.meta.id)? {
            text.push_str(&format!("struck off: {} of {}\n", debt.due.describe(), debt.host));
        }
    }
    let debts: Vec<Debt> = store.debts()?.into_iter().filter(|debt| debt.run == kept.meta.id).collect();
    let failures = failures(&kept);
    Ok(match arguments.format {
        Shape::Json => {
            let document = json!({"run": kept.meta, "alive": kept.alive, "turns": kept.progress().turns,
                                  "failed": failures, "owed": debts, "directory": kept.directory});
            format!("{document:#}\n")
        }
        Shape::Text => text + &details(&kept, &failures, &debts),
    })
}

/// How it ended, in a word or two.
pub fn ending(meta: &Meta, alive: bool) -> String {
    match (alive, meta.ending, meta.exit_code) {
        (true, ..) => "running".into(),
        (_, Some(Ending::Killed) | None, _) => "killed".into(),
        (_, Some(Ending::Interrupted), _) => "interrupted".into(),
        (_, Some(Ending::Finished), Some(0)) => "ok".into(),
        (_, Some(Ending::Finished), Some(10)) => "changed".into(),
        (_, Some(Ending::Finished), Some(2)) => "failed".into(),
        (_, Some(Ending::Finished), Some(4)) => "host unreachable, or refused at the start".into(),
        (_, Some(Ending::Finished), code) => format!("exit code {}", code.unwrap_or(0)),
    }
}

/// A run in a line of JSON.
pub fn summary(kept: &Kept) -> Value {
    let meta = &kept.meta;
    json!({"id": meta.id, "user": meta.user, "started": meta.started, "ended": meta.ended, "alive": kept.alive,
           "ending": ending(meta, kept.alive), "exit_code": meta.exit_code, "playbooks": meta.playbooks,
           "inventory": meta.inventory, "arguments": meta.arguments, "resumes": meta.resumes})
}

/// Runs as a table.
pub fn rows(kept: &[Kept], indent: &str) -> String {
    let mut rows = vec![["RUN", "STARTED", "TOOK", "BY", "ENDED", "COMMAND"].map(String::from).to_vec()];
    for kept in kept {
        let meta = &kept.meta;
        rows.push(vec![
            meta.id.clone(),
            moment(meta.started),
            meta.ended.map_or("-".into(), |ended| format!("{} s", ended.saturating_sub(meta.started))),
            meta.user.clone(),
            ending(meta, kept.alive),
            format!("deploy {}", words(&meta.arguments)),
        ]);
    }
    table(&rows, indent)
}

/// Words as a shell would take them.
fn words(words: &[String]) -> String {
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// A task that failed.
#[derive(serde::Serialize)]
struct Failure {
    host: String,
    task: String,
    place: String,
    msg: String,
}

/// The tasks that failed and were not ignored, from the events.
fn failures(kept: &Kept) -> Vec<Failure> {
    let Ok(events) = kept.events() else { return Vec::new() };
    let mut failures = Vec::new();
    for line in events.lines().map_while(Result::ok) {
        // Most lines are long and no failures.
        if !(line.contains("\"failed\"") || line.contains("\"unreachable\"")) {
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let status = event.get("status").and_then(Value::as_str).unwrap_or_default();
        let ignored = event.get("ignored").and_then(Value::as_bool).unwrap_or(false);
        if event.get("event").and_then(Value::as_str) != Some("task_done")
            || ignored
            || !matches!(status, "failed" | "unreachable")
        {
            continue;
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_string();
        let task = event.get("task");
        failures.push(Failure {
            host: text(event.get("host")),
            task: text(task.and_then(|task| task.get("name"))),
            place: text(task.and_then(|task| task.get("place"))),
            msg: text(event.get("msg")),
        });
    }
    failures
}

fn details(kept: &Kept, failures: &[Failure], debts: &[Debt]) -> String {
    let meta = &kept.meta;
    let mut text = format!("run {}: {}\n", meta.id, ending(meta, kept.alive));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<10} {value}\n"));
    line("command", format!("deploy {}", words(&meta.arguments)));
    line("in", meta.directory.display().to_string());
    line("by", format!("{} (process {}, version {})", meta.user, meta.pid, meta.version));
    line("inventory", meta.inventory.join(", "));
    line("started", moment(meta.started));
    if let Some(ended) = meta.ended {
        line("ended", format!("{}, after {} s", moment(ended), ended.saturating_sub(meta.started)));
    }
    if let Some(code) = meta.exit_code {
        line("exit code", code.to_string());
    }
    if let Some(resumes) = &meta.resumes {
        line("resumes", resumes.clone());
    }
    line("journal", kept.directory.display().to_string());
    let turns = kept.progress().turns;
    if !turns.is_empty() {
        text.push_str("turns:\n");
        let mut rows = Vec::new();
        for turn in &turns {
            let outcome = match turn.outcome {
                Some(TurnOutcome::Done) => "done",
                Some(TurnOutcome::Failed) => "failed",
                Some(TurnOutcome::RolledBack) => "rolled back",
                None if kept.alive => "at work",
                None => "cut off",
            };
            let took = turn.ended.map_or("-".into(), |ended| format!("{} s", ended - turn.began));
            let gate = if turn.gate.is_empty() { String::new() } else { format!("gate: {}", turn.gate) };
            let number = if turn.turn > 0 { format!("turn {}", turn.turn) } else { String::new() };
            rows.push(vec![format!("play {}", turn.play), number, turn.host.clone(), outcome.into(), took, gate]);
        }
        text.push_str(&table(&rows, "  "));
    }
    if !meta.hosts.is_empty() {
        text.push_str("hosts:\n");
        let rows: Vec<Vec<String>> = meta
            .hosts
            .iter()
            .map(|(host, counters)| {
                let counters = counters.as_object().into_iter().flatten();
                let shown = counters.filter(|(_, n)| n.as_u64() != Some(0)).map(|(name, n)| format!("{name}={n}"));
                vec![host.clone(), shown.collect::<Vec<_>>().join(" ")]
            })
            .collect();
        text.push_str(&table(&rows, "  "));
    }
    if !failures.is_empty() {
        text.push_str("failed:\n");
        for failure in failures {
            let msg = failure.msg.lines().next().unwrap_or_default();
            text.push_str(&format!("  {}: {} ({}): {msg}\n", failure.host, failure.task, failure.place));
        }
    }
    if !debts.is_empty() {
        text.push_str("owed:\n");
        for debt in debts {
            text.push_str(&format!("  {}: {} since {}\n", debt.host, debt.due.describe(), moment(debt.since)));
        }
    }
    if !kept.alive && !matches!(meta.exit_code, Some(0 | 10 | 11)) {
        text.push_str(&format!("go on with it: deploy resume {}\n", meta.id));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_in_words() {
        let meta = |ending, exit_code| Meta { ending, exit_code, ..Meta::default() };
        for (meta, alive, expected) in [
            (meta(None, None), true, "running"),
            (meta(None, None), false, "killed"),
            (meta(Some(Ending::Killed), None), false, "killed"),
            (meta(Some(Ending::Interrupted), Some(99)), false, "interrupted"),
            (meta(Some(Ending::Finished), Some(0)), false, "ok"),
            (meta(Some(Ending::Finished), Some(2)), false, "failed"),
            (meta(Some(Ending::Finished), Some(11)), false, "exit code 11"),
        ] {
            assert_eq!(ending(&meta, alive), expected);
        }
    }
}
