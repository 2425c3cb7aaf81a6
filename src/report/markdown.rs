//! A run for a ticket: what was changed or would be, by task, with the diffs; in Markdown.

use super::story::{Mood, Story};
use super::{Style, changes};
use crate::engine::event::TaskStatus;
use std::fmt::Write;

/// The whole text.
pub fn markdown(story: &Story) -> String {
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
                let _ = write!(out, "\n{}", block("diff", &changes(&outcome.changes, Style::plain())));
            }
        }
    }
    out
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
