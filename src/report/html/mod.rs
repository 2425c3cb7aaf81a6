//! A run as one page that needs nothing else: summary, timeline, gates, every task with its diffs.

use super::markup::escaped;
use super::story::{Chapter, Mood, Outcome, Scene, Story};
use super::{Style, changes};
use crate::engine::event::{Counters, TaskStatus};
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub fn html(story: &Story) -> String {
    let what = if story.check { "Check" } else { "Run" };
    let title = format!("{what} of {}", story.playbooks.join(", "));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\n{STYLE}</style></head><body>\n\
         <h1>{title}</h1><p class=\"sub\">{} hosts, {:.1} s{}</p>\n",
        story.recap.len(),
        story.seconds,
        if story.check { "; nothing was changed on any host" } else { "" },
        title = escaped(&title),
    );
    out += "<nav><a href=\"#summary\">Summary</a><a href=\"#timeline\">Timeline</a><a href=\"#tasks\">Tasks</a><label \
            class=\"quiet\">filter <input id=\"filter\" type=\"search\"></label><span class=\"quiet\">/ filter · n next · p \
            previous · e unfold</span></nav>\n";
    summary(story, &mut out);
    timeline(story, &mut out);
    out += "<section id=\"tasks\">";
    for play in &story.plays {
        let _ = writeln!(
            out,
            "<h2>{} <span class=\"quiet\">on {}</span></h2>",
            escaped(&play.name),
            match play.hosts.as_slice() {
                [host] => escaped(host),
                hosts => format!("{} hosts", hosts.len()),
            }
        );
        steps(play, &mut out);
        play.tasks.iter().for_each(|scene| task(scene, &mut out));
    }
    let _ = write!(out, "</section>\n<script>\n{SCRIPT}</script>\n</body></html>\n");
    out
}

fn summary(story: &Story, out: &mut String) {
    *out += "<section id=\"summary\"><h2>Summary</h2><table><thead><tr><th>host</th>";
    let totals = story.totals();
    let columns: Vec<(&str, fn(&Counters) -> u32)> = vec![
        ("ok", |c| c.ok),
        ("changed", |c| c.changed),
        ("unreachable", |c| c.unreachable),
        ("failed", |c| c.failed),
        ("skipped", |c| c.skipped),
        ("unknown", |c| c.unknown),
    ];
    for (name, _) in &columns {
        let _ = write!(out, "<th>{name}</th>");
    }
    *out += "</tr></thead><tbody>";
    let all = [("all".to_string(), totals)];
    for (host, counters) in all.iter().chain(&story.recap) {
        let _ = write!(out, "<tr><td>{}</td>", escaped(host));
        for (name, count) in &columns {
            let count = count(counters);
            let class = if count == 0 { "quiet" } else { name };
            let _ = write!(out, "<td class=\"{class}\">{count}</td>");
        }
        *out += "</tr>";
    }
    *out += "</tbody></table>";
    for (host, handlers) in &story.owed {
        let _ = write!(
            out,
            "<p class=\"changed\">{}: notified and not run: {}</p>",
            escaped(host),
            escaped(&handlers.join(", "))
        );
    }
    let unknown: Vec<&Scene> =
        tasks(story).filter(|scene| scene.outcomes.iter().any(|o| o.status == TaskStatus::Unknown)).collect();
    if !unknown.is_empty() {
        *out += "<h2>Not known before it is run</h2><ul>";
        for scene in unknown {
            let why = scene.outcomes.iter().filter(|o| o.status == TaskStatus::Unknown).find_map(|o| o.msg.as_deref());
            let _ = write!(
                out,
                "<li class=\"unknown\">{}: {}</li>",
                escaped(&scene.task.name),
                escaped(why.unwrap_or("no reason is known"))
            );
        }
        *out += "</ul>";
    }
    for remark in &story.remarks {
        let _ = write!(out, "<pre>{}</pre>", escaped(remark.trim_end()));
    }
    *out += "</section>\n";
}

fn tasks(story: &Story) -> impl Iterator<Item = &Scene> {
    story.plays.iter().flat_map(|play| &play.tasks)
}

/// A row for each host: when it was at work, play by play, in the colour of the worst.
fn timeline(story: &Story, out: &mut String) {
    *out += "<section id=\"timeline\"><h2>Timeline</h2>";
    let whole = story.seconds.max(0.001);
    let mut rows: BTreeMap<&str, String> = BTreeMap::new();
    for play in &story.plays {
        let mut spans: BTreeMap<&str, (f64, f64, TaskStatus)> = BTreeMap::new();
        for outcome in play.tasks.iter().flat_map(|scene| &scene.outcomes) {
            for (host, ended, seconds) in &outcome.hosts {
                let began = (ended - seconds).max(play.began);
                let span = spans.entry(host).or_insert((began, *ended, TaskStatus::Ok));
                *span = (span.0.min(began), span.1.max(*ended), worse(span.2, outcome));
            }
        }
        for (host, (began, ended, status)) in spans {
            let _ = write!(
                rows.entry(host).or_default(),
                "<i class=\"{}\" style=\"left:{:.2}%;width:{:.2}%\" title=\"{}: {began:.1} s to {ended:.1} s\"></i>",
                status.word(),
                100.0 * began / whole,
                100.0 * (ended - began) / whole,
                escaped(&play.name),
            );
        }
    }
    for (host, bars) in rows {
        let _ = write!(out, "<div class=\"line\"><span>{}</span><div class=\"bar\">{bars}</div></div>", escaped(host));
    }
    *out += "</section>\n";
}

fn worse(one: TaskStatus, other: &Outcome) -> TaskStatus {
    let rank = |status: TaskStatus| match status {
        TaskStatus::Skipped | TaskStatus::Ok => 0,
        TaskStatus::Changed => 1,
        TaskStatus::Unknown => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Unreachable => 4,
    };
    let other = if other.ignored { TaskStatus::Ok } else { other.status };
    if rank(other) > rank(one) { other } else { one }
}

fn steps(play: &Chapter, out: &mut String) {
    if play.steps.is_empty() {
        return;
    }
    *out += "<ul class=\"steps\">";
    for (at, mood, text) in &play.steps {
        let class = match mood {
            Mood::Good => "ok",
            Mood::Plain => "",
            Mood::Bad => "failed",
        };
        let _ = write!(out, "<li class=\"{class}\"><time>{at:.1} s</time>{}</li>", escaped(text));
    }
    *out += "</ul>";
}

fn task(scene: &Scene, out: &mut String) {
    let told = scene.outcomes.iter().any(|o| !matches!(o.status, TaskStatus::Ok | TaskStatus::Skipped));
    let told = if told { " data-told=\"1\"" } else { "" };
    let kind = if scene.task.handler { "handler: " } else { "" };
    let _ = write!(out, "<details class=\"task\"{told}><summary>{kind}{}", escaped(&scene.task.name));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in &scene.outcomes {
        *counts.entry(outcome.status.word()).or_default() += outcome.hosts.len();
    }
    for (status, count) in counts {
        let _ = write!(out, " <span class=\"{status}\">{status} {count}</span>");
    }
    let _ = write!(out, "</summary><div class=\"quiet\"><code>{}</code></div>", escaped(&scene.task.place));
    for outcome in &scene.outcomes {
        let hosts: Vec<&str> = outcome.hosts.iter().map(|(host, ..)| host.as_str()).collect();
        let _ = write!(
            out,
            "<div class=\"outcome\"><span class=\"{status}\">{status}{}</span> <span class=\"hosts\">{}</span>",
            if outcome.ignored { " (ignored)" } else { "" },
            escaped(&hosts.join(" ")),
            status = outcome.status.word(),
        );
        if let Some(item) = &outcome.item {
            let _ = write!(out, " <code>{}</code>", escaped(item));
        }
        if let Some(msg) = &outcome.msg {
            let _ = write!(out, "<pre>{}</pre>", escaped(msg.trim_end()));
        }
        if !outcome.changes.is_empty() {
            let _ = write!(out, "<pre>{}</pre>", coloured(&changes(&outcome.changes, Style::plain())));
        }
        if !outcome.notified.is_empty() {
            let _ = write!(out, "<div class=\"quiet\">notifies {}</div>", escaped(&outcome.notified.join(", ")));
        }
        *out += "</div>";
    }
    *out += "</details>\n";
}

/// A diff whose lines have the colour of their sign.
fn coloured(diff: &str) -> String {
    let mut out = String::with_capacity(diff.len() * 2);
    for line in diff.lines() {
        // Contents are indented by four, what they belong to by two.
        let class = match line.strip_prefix("    ").and_then(|rest| rest.chars().next()) {
            Some('+') => "i",
            Some('-') => "d",
            Some('@') => "h",
            _ => "",
        };
        let _ = match class {
            "" => writeln!(out, "{}", escaped(line)),
            class => writeln!(out, "<span class=\"{class}\">{}</span>", escaped(line)),
        };
    }
    out
}
