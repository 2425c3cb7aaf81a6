//! A run as one page that needs nothing else: summary, timeline, batches, gates, rollbacks, every task with its diffs.

mod changes;
mod summary;
mod timeline;

use super::DiffOptions;
use super::markup::escaped;
use super::story::{Chapter, Mood, Outcome, Scene, Story};
use crate::engine::event::TaskStatus;
use changes::Contents;
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// So many names stand in a line; more are folded.
const NAMES: usize = 12;

/// The whole page.
pub fn html(story: &Story, diffs: DiffOptions) -> String {
    let what = if story.check { "Check" } else { "Run" };
    let title = escaped(&format!("{what} of {}", story.playbooks.join(", ")));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>\n{STYLE}</style></head><body>\n<header><h1>{title}</h1>"
    );
    let _ = writeln!(out, "<p class=\"sub\">{}</p></header>", summary::sub(story));
    navigation(story, &mut out);
    summary::summary(story, &mut out);
    timeline::timeline(story, &mut out);
    timeline::portions(story, &mut out);
    timeline::gates(story, &mut out);
    let mut contents = Contents::new(diffs.context);
    rollbacks(story, &mut contents, &mut out);
    out += "<section id=\"tasks\"><h2>Tasks</h2>";
    let mut number = 0;
    for (index, play) in story.plays.iter().enumerate() {
        let _ = writeln!(
            out,
            "<h3 id=\"p{index}\">{} <span class=\"quiet\">on {}, {}</span></h3>",
            escaped(&play.name),
            match play.hosts.as_slice() {
                [host] => escaped(host),
                hosts => format!("{} hosts", hosts.len()),
            },
            duration(play.ended - play.began),
        );
        steps(play, &mut out);
        for scene in &play.tasks {
            task(number, play, scene, &mut contents, &mut out);
            number += 1;
        }
    }
    let _ = write!(out, "</section>\n<script>\n{SCRIPT}</script>\n</body></html>\n");
    out
}

fn navigation(story: &Story, out: &mut String) {
    *out += "<nav><a href=\"#summary\">Summary</a><a href=\"#timeline\">Timeline</a>";
    if story.plays.iter().any(|play| !play.portions.is_empty()) {
        *out += "<a href=\"#batches\">Batches</a>";
    }
    if story.plays.iter().any(|play| !play.gates.is_empty()) {
        *out += "<a href=\"#gates\">Gates</a>";
    }
    if !story.rollbacks.is_empty() {
        *out += "<a href=\"#rollbacks\">Rolled back</a>";
    }
    *out += "<a href=\"#tasks\">Tasks</a><input id=\"filter\" type=\"search\" placeholder=\"filter: task, host, file\" \
             aria-label=\"filter tasks\"><button id=\"theme\" type=\"button\" title=\"dark or light (t)\">◐</button><span \
             class=\"keys quiet\"><kbd>/</kbd> filter <kbd>n</kbd> <kbd>p</kbd> next, previous <kbd>Enter</kbd> unfold \
             <kbd>o</kbd> diffs <kbd>e</kbd> all</span></nav>\n";
}

/// All tasks with the number that each has on the page.
fn numbered(story: &Story) -> impl Iterator<Item = (usize, &Scene)> {
    story.plays.iter().flat_map(|play| &play.tasks).enumerate()
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{} min {:02} s", (s / 60.0) as u64, (s % 60.0) as u64),
    }
}

/// Names in a line, many of them folded.
fn names(hosts: &[&str], of: usize) -> String {
    match hosts.len() {
        count if count > NAMES && count == of => format!("<span class=\"hosts all\">all {count} hosts</span>"),
        count if count > NAMES => {
            format!("<details class=\"hosts\"><summary>{count} hosts</summary>{}</details>", escaped(&hosts.join(" ")))
        }
        _ => format!("<span class=\"hosts\">{}</span>", escaped(&hosts.join(" "))),
    }
}

fn rollbacks(story: &Story, contents: &mut Contents, out: &mut String) {
    if story.rollbacks.is_empty() {
        return;
    }
    *out += "<section id=\"rollbacks\"><h2>Rolled back</h2>";
    for rollback in &story.rollbacks {
        let _ = write!(
            out,
            "<div class=\"outcome\"><b>{}</b> <span class=\"quiet\">turn {}, at {}</span><p>{}</p>",
            escaped(&rollback.host),
            rollback.turn,
            duration(rollback.at),
            escaped(&rollback.sentence)
        );
        contents.write(&rollback.changes, true, out);
        for what in &rollback.not_undone {
            let _ = write!(out, "<p class=\"failed\">not put back: {}</p>", escaped(what));
        }
        *out += "</div>";
    }
    *out += "</section>\n";
}

fn steps(play: &Chapter, out: &mut String) {
    if play.steps.is_empty() {
        return;
    }
    let folded = if play.steps.len() > 2 * NAMES { "" } else { " open" };
    let _ = write!(out, "<details class=\"steps\"{folded}><summary>{} steps</summary><ul>", play.steps.len());
    for (at, mood, text) in &play.steps {
        let class = match mood {
            Mood::Good => "ok",
            Mood::Plain => "",
            Mood::Bad => "failed",
        };
        let _ = write!(out, "<li class=\"{class}\"><time>{}</time>{}</li>", duration(*at), escaped(text));
    }
    *out += "</ul></details>";
}

/// Something happened that is more than an answer.
fn is_told(outcome: &Outcome) -> bool {
    !matches!(outcome.status, TaskStatus::Ok | TaskStatus::Skipped)
}

fn task(number: usize, play: &Chapter, scene: &Scene, contents: &mut Contents, out: &mut String) {
    let told = scene.outcomes.iter().filter(|outcome| is_told(outcome)).count();
    let mark = if told > 0 { " data-told=\"1\"" } else { "" };
    let kind = if scene.task.handler { "<span class=\"quiet\">handler</span> " } else { "" };
    let _ = write!(
        out,
        "<details class=\"task\" id=\"t{number}\"{mark}><summary>{kind}<span class=\"name\">{}</span>",
        escaped(&scene.task.name)
    );
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in &scene.outcomes {
        *counts.entry(outcome.status.word()).or_default() += outcome.hosts.len();
    }
    for (status, count) in counts {
        let _ = write!(out, " <span class=\"badge {status}\">{status} {count}</span>");
    }
    let _ = write!(
        out,
        "</summary><div class=\"quiet place\">{} · <code>{}</code></div>",
        escaped(&scene.task.action),
        escaped(&scene.task.place)
    );
    // What happened stands before what did not.
    let mut outcomes: Vec<&Outcome> = scene.outcomes.iter().collect();
    outcomes.sort_by_key(|outcome| !is_told(outcome));
    for outcome in outcomes {
        let hosts: Vec<&str> = outcome.hosts.iter().map(|(host, ..)| host.as_str()).collect();
        let _ = write!(
            out,
            "<div class=\"outcome\"><span class=\"badge {status}\">{status}{}</span> {}",
            if outcome.ignored { " (ignored)" } else { "" },
            names(&hosts, play.hosts.len()),
            status = outcome.status.word(),
        );
        if let Some(item) = &outcome.item {
            let _ = write!(out, " <code>{}</code>", escaped(item));
        }
        if let Some(msg) = &outcome.msg {
            let _ = write!(out, "<pre>{}</pre>", escaped(msg.trim_end()));
        }
        contents.write(&outcome.changes, told < 4, out);
        if !outcome.notified.is_empty() {
            let _ = write!(out, "<div class=\"quiet\">notifies {}</div>", escaped(&outcome.notified.join(", ")));
        }
        *out += "</div>";
    }
    *out += "</details>\n";
}
