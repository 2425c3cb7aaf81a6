//! A run for a ticket: what was changed or would be, by task, with the diffs; in Markdown.

use super::diff::{DiffOptions, changes};
use super::story::{Mood, Story};
use super::{Mask, Style};
use crate::engine::event::TaskStatus;
use crate::machine::Change;
use std::fmt::Write;
use std::sync::Arc;

/// The whole text.
pub fn markdown(story: &Story, diffs: DiffOptions) -> String {
    let what = if story.check { "Check" } else { "Run" };
    let mut out = format!("# {what} of {}\n\n", code(&story.playbooks.join(" ")));
    out += "| host | ok | changed | unreachable | failed | skipped | unknown |\n|---|---|---|---|---|---|---|\n";
    for (host, c) in &story.recap {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code(host),
            c.ok,
            c.changed,
            c.unreachable,
            c.failed,
            c.skipped,
            c.unknown
        );
    }
    for remark in &story.remarks {
        let _ = write!(out, "\n{}", block("", remark));
    }
    for rollback in &story.rollbacks {
        let _ = writeln!(
            out,
            "\n## Rolled back: {} (turn {})\n\n{}",
            line(&rollback.host),
            rollback.turn,
            line(&rollback.sentence)
        );
        if !rollback.changes.is_empty() {
            let _ = write!(out, "\n{}", block("diff", &patch(&rollback.changes, diffs)));
        }
        for what in &rollback.not_undone {
            let _ = writeln!(out, "\n- **not put back**: {}", line(what));
        }
    }
    for (host, handlers) in &story.owed {
        let _ = writeln!(out, "\n{}: notified and not run: {}", code(host), line(&handlers.join(", ")));
    }
    if !story.unknowns.is_empty() {
        out += "\n## Not known before it is run\n\n";
        for lines in &story.unknowns {
            let _ = writeln!(out, "- {}", line(&lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" — ")));
        }
    }
    for play in &story.plays {
        let told: Vec<_> = play
            .tasks
            .iter()
            .flat_map(|task| task.outcomes.iter().map(move |outcome| (task, outcome)))
            .filter(|(_, outcome)| !matches!(outcome.status, TaskStatus::Ok | TaskStatus::Skipped))
            .collect();
        if told.is_empty() && play.steps.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n## {}\n", line(&play.name));
        for (_, mood, text) in &play.steps {
            let mark = if *mood == Mood::Bad { "**!** " } else { "" };
            let _ = writeln!(out, "- {mark}{}", line(text));
        }
        for (task, outcome) in told {
            let hosts: Vec<&str> = outcome.hosts.iter().map(|(host, ..)| host.as_str()).collect();
            let item = outcome.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
            let status = outcome.status.word();
            let _ = writeln!(
                out,
                "\n### {}{}: {status} on {}\n\n{}",
                line(&task.task.name),
                line(&item),
                line(&hosts.join(", ")),
                code(&task.task.place)
            );
            if let Some(msg) = &outcome.msg {
                let _ = write!(out, "\n{}", block("", msg));
            }
            if !outcome.changes.is_empty() {
                let _ = write!(out, "\n{}", block("diff", &patch(&outcome.changes, diffs)));
            }
        }
    }
    out
}

/// Changes as a patch is coloured: lines that came and went begin with their sign. The story is masked already.
fn patch(changed: &[Change], diffs: DiffOptions) -> String {
    let mask: Mask = Arc::new(str::to_string);
    let drawn = changes(changed, &mask, Style::plain(), diffs);
    drawn.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

/// A fence longer than any in the text.
fn block(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    format!("{fence}{text}{fence}").replace('|', "\\|")
}

/// Text in a line: nothing in it is markup.
fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
