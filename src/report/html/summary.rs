//! The page's beginning: how it ended, counts, what needs a look, what is not known.

use super::super::markup::escaped;
use super::super::story::{Outcome, Story};
use super::{duration, names, numbered};
use crate::engine::event::{Counters, GateState, TaskStatus};
use std::fmt::Write;
use std::time::UNIX_EPOCH;

/// Up to so many hosts, the table of hosts is unfolded.
const FEW: usize = 30;

/// The line below the title.
pub fn sub(story: &Story) -> String {
    let hosts = match story.recap.len() {
        1 => "1 host".to_string(),
        count => format!("{count} hosts"),
    };
    let began = story.moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    let began = began.map(|since| format!("{}, ", crate::pki::date(since.as_secs() as i64))).unwrap_or_default();
    let check = if story.check { "; nothing was changed on any host" } else { "" };
    format!("{}{hosts}, {}{check}", escaped(&began), duration(story.seconds))
}

/// The section.
pub fn summary(story: &Story, out: &mut String) {
    *out += "<section id=\"summary\"><h2 hidden>Summary</h2>";
    tiles(story, out);
    attention(story, out);
    unknown(story, out);
    for (host, handlers) in &story.owed {
        let _ = write!(
            out,
            "<p class=\"changed\">{}: notified and not run: {}</p>",
            escaped(host),
            escaped(&handlers.join(", "))
        );
    }
    for remark in &story.remarks {
        let _ = write!(out, "<pre>{}</pre>", escaped(remark.trim_end()));
    }
    hosts(story, out);
    *out += "</section>\n";
}

fn tiles(story: &Story, out: &mut String) {
    let c = story.totals();
    let verdict = match c.failed + c.unreachable {
        0 if story.stopped() => ("failed", "stopped early"),
        0 if c.unknown > 0 => ("unknown", "not all is known"),
        0 if story.check && c.changed > 0 => ("changed", "would change hosts"),
        0 if c.changed > 0 => ("changed", "changed hosts"),
        0 => ("ok", "nothing to change"),
        _ => ("failed", "failed"),
    };
    let _ = write!(out, "<div class=\"tiles\"><div class=\"tile verdict {}\"><b>{}</b></div>", verdict.0, verdict.1);
    let back = story.rollbacks.len() as u32;
    for (name, class, count) in [
        ("ok", "ok", c.ok),
        ("changed", "changed", c.changed),
        ("failed", "failed", c.failed),
        ("unreachable", "unreachable", c.unreachable),
        ("unknown", "unknown", c.unknown),
        ("skipped", "skipped", c.skipped),
        ("rolled back", "failed", back),
    ] {
        let class = if count == 0 { "quiet" } else { class };
        let _ = write!(out, "<div class=\"tile {class}\"><b>{count}</b><span>{name}</span></div>");
    }
    *out += "</div>";
}

/// Failures, closed gates, rollbacks and early ends, each with the way to it.
fn attention(story: &Story, out: &mut String) {
    let mut found = String::new();
    for (number, scene) in numbered(story) {
        let failed = |o: &&Outcome| matches!(o.status, TaskStatus::Failed | TaskStatus::Unreachable) && !o.ignored;
        for outcome in scene.outcomes.iter().filter(failed) {
            let hosts: Vec<&str> = outcome.hosts.iter().map(|(host, ..)| host.as_str()).collect();
            let msg = outcome.msg.as_deref().unwrap_or_default();
            let _ = write!(
                found,
                "<li><span class=\"badge {status}\">{status}</span> <a href=\"#t{number}\">{}</a> on {}: {}</li>",
                escaped(&scene.task.name),
                names(&hosts, usize::MAX),
                escaped(msg.lines().next().unwrap_or_default()),
                status = outcome.status.word(),
            );
        }
    }
    for rollback in &story.rollbacks {
        let _ = write!(
            found,
            "<li><span class=\"badge failed\">rolled back</span> <a href=\"#rollbacks\">{}</a>: {}</li>",
            escaped(&rollback.host),
            escaped(&rollback.sentence)
        );
    }
    for (index, play) in story.plays.iter().enumerate() {
        for verdict in play.verdicts().into_iter().filter(|verdict| verdict.state == GateState::Closed) {
            let _ = write!(
                found,
                "<li><span class=\"badge failed\">gate closed</span> <a href=\"#gates\">{}</a>: {}</li>",
                escaped(&verdict.gate),
                escaped(&verdict.sentence)
            );
        }
        if let Some(reason) = &play.stopped {
            let _ = write!(
                found,
                "<li><span class=\"badge failed\">stopped</span> <a href=\"#p{index}\">{}</a>: {}</li>",
                escaped(&play.name),
                escaped(reason)
            );
        }
    }
    if !found.is_empty() {
        let _ = write!(out, "<h2>Needs a look</h2><ul class=\"list\">{found}</ul>");
    }
}

fn unknown(story: &Story, out: &mut String) {
    let mut found = String::new();
    for (number, scene) in numbered(story) {
        let mut outcomes = scene.outcomes.iter().filter(|outcome| outcome.status == TaskStatus::Unknown).peekable();
        if outcomes.peek().is_none() {
            continue;
        }
        let (mut hosts, mut why) = (0, None);
        for outcome in outcomes {
            hosts += outcome.hosts.len();
            why = why.or(outcome.msg.as_deref());
        }
        // How the task came to depend on what is not known.
        let place = format!("{} ({})", scene.task.name, scene.task.place);
        let ways = story.unknowns.iter().filter(|lines| lines.first().is_some_and(|line| line.starts_with(&place)));
        let mut ways = ways.flat_map(|lines| lines.iter().skip(1)).filter(|line| line.contains(" → ")).peekable();
        let told = ways.peek().map(|way| format!("<br>{}", escaped(way.trim()))).unwrap_or_default();
        let _ = write!(
            found,
            "<li><a href=\"#t{number}\">{}</a> <span class=\"quiet\">on {hosts}</span>: {}{told}</li>",
            escaped(&scene.task.name),
            escaped(why.unwrap_or("no reason is known"))
        );
    }
    if !found.is_empty() {
        let _ = write!(out, "<h2>Not known before it is run</h2><ul class=\"list unknowns\">{found}</ul>");
    }
}

fn hosts(story: &Story, out: &mut String) {
    let columns: [(&str, fn(&Counters) -> u32); 8] = [
        ("ok", |c| c.ok),
        ("changed", |c| c.changed),
        ("unreachable", |c| c.unreachable),
        ("failed", |c| c.failed),
        ("skipped", |c| c.skipped),
        ("rescued", |c| c.rescued),
        ("ignored", |c| c.ignored),
        ("unknown", |c| c.unknown),
    ];
    let open = if story.recap.len() <= FEW { " open" } else { "" };
    let _ = write!(
        out,
        "<details class=\"recap\"{open}><summary>{} hosts</summary><table><thead><tr><th>host",
        story.recap.len()
    );
    for (name, _) in &columns {
        let _ = write!(out, "<th>{name}");
    }
    *out += "</thead><tbody>";
    for (host, counters) in &story.recap {
        let _ = write!(out, "<tr><td>{}", escaped(host));
        for (name, count) in &columns {
            let count = count(counters);
            let class = match *name {
                _ if count == 0 => "quiet",
                "rescued" | "ignored" => "changed",
                name => name,
            };
            let _ = write!(out, "<td class=\"{class}\">{count}");
        }
    }
    *out += "</tbody></table></details>";
}
