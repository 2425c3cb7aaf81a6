//! Who was at work when: hosts, batches and turns, what gates said.

use super::super::markup::escaped;
use super::super::story::{Outcome, Story, Verdict};
use super::{duration, names};
use crate::engine::event::{GateState, TaskStatus};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Hosts are in the order of the recap, each with a bar for every play in the colour of the worst.
pub fn timeline(story: &Story, out: &mut String) {
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
                "<i class=\"{}\" style=\"{}\" title=\"{}: {} to {}\"></i>",
                status.word(),
                place(began, ended, whole),
                escaped(&play.name),
                duration(began),
                duration(ended),
            );
        }
    }
    *out += "<section id=\"timeline\"><h2>Timeline</h2>";
    axis(whole, out);
    *out += "<div class=\"lines\" tabindex=\"0\" role=\"region\" aria-label=\"hosts over time\">";
    let named: Vec<&str> = story.recap.iter().map(|(host, _)| host.as_str()).collect();
    let others: Vec<&str> = rows.keys().filter(|host| !named.contains(host)).copied().collect();
    for host in named.into_iter().chain(others) {
        let bars = rows.get(host).map(String::as_str).unwrap_or_default();
        let _ = write!(out, "<div class=\"line\"><span>{}</span><div class=\"bar\">{bars}</div></div>", escaped(host));
    }
    *out += "</div></section>\n";
}

fn place(began: f64, ended: f64, whole: f64) -> String {
    format!("left:{:.2}%;width:{:.2}%", 100.0 * began / whole, 100.0 * (ended - began).max(0.0) / whole)
}

fn axis(whole: f64, out: &mut String) {
    *out += "<div class=\"line axis\"><span></span><div class=\"bar\">";
    for quarter in 0..=4u32 {
        let share = f64::from(quarter) / 4.0;
        let _ = write!(out, "<time style=\"left:{}%\">{}</time>", 100.0 * share, duration(whole * share));
    }
    *out += "</div></div>";
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

/// Batches and turns: who was at work together, when, and how it ended.
pub fn portions(story: &Story, out: &mut String) {
    if story.plays.iter().all(|play| play.portions.is_empty()) {
        return;
    }
    let whole = story.seconds.max(0.001);
    *out += "<section id=\"batches\"><h2>Batches and turns</h2>";
    axis(whole, out);
    for play in story.plays.iter().filter(|play| !play.portions.is_empty()) {
        let _ = write!(out, "<h3>{}</h3>", escaped(&play.name));
        for portion in &play.portions {
            let ended = portion.ended.unwrap_or(play.ended);
            let class = match portion.ok {
                Some(false) => "failed",
                Some(true) => "ok",
                None => "plain",
            };
            let hosts: Vec<&str> = portion.hosts.iter().map(String::as_str).collect();
            let _ = write!(
                out,
                "<div class=\"line\"><span>{}</span><div class=\"bar\"><i class=\"{class}\" style=\"{}\" \
                 title=\"{} to {}\"></i></div></div><div class=\"who\">{} <span class=\"quiet\">{}</span></div>",
                escaped(&portion.name),
                place(portion.began, ended, whole),
                duration(portion.began),
                duration(ended),
                names(&hosts, usize::MAX),
                duration(ended - portion.began),
            );
        }
    }
    *out += "</section>\n";
}

/// What each gate said, over time: a strip, and its words.
pub fn gates(story: &Story, out: &mut String) {
    let mut gates: BTreeMap<&str, Vec<&Verdict>> = BTreeMap::new();
    for play in &story.plays {
        for verdict in &play.gates {
            gates.entry(&verdict.gate).or_default().push(verdict);
        }
    }
    if gates.is_empty() {
        return;
    }
    let whole = story.seconds.max(0.001);
    *out += "<section id=\"gates\"><h2>Gates</h2>";
    axis(whole, out);
    for (name, verdicts) in gates {
        let _ = write!(out, "<div class=\"line\"><span>{}</span><div class=\"bar\">", escaped(name));
        let mut before = 0.0f64;
        for verdict in &verdicts {
            // It looked, and waited, until it said so.
            let began = (verdict.at - verdict.seconds as f64).max(before);
            let _ = write!(
                out,
                "<i class=\"changed looking\" style=\"{}\"></i><i class=\"{}\" style=\"{}\" title=\"{}: {}\"></i>",
                place(began, verdict.at, whole),
                class(verdict.state),
                place(verdict.at, verdict.at, whole),
                word(verdict.state),
                escaped(&verdict.sentence)
            );
            before = verdict.at;
        }
        *out += "</div></div><table class=\"verdicts\">";
        for verdict in &verdicts {
            let _ = write!(
                out,
                "<tr><td><time>{}</time><td><span class=\"badge {}\">{}</span><td>{} s<td>{}",
                duration(verdict.at),
                class(verdict.state),
                word(verdict.state),
                verdict.seconds,
                escaped(&verdict.sentence)
            );
        }
        *out += "</table>";
    }
    *out += "</section>\n";
}

fn word(state: GateState) -> &'static str {
    match state {
        GateState::Open => "open",
        GateState::Closed => "closed",
        GateState::Waiting => "waiting",
        GateState::Unknown => "not known in a check",
    }
}

fn class(state: GateState) -> &'static str {
    match state {
        GateState::Open => "ok",
        GateState::Closed => "failed",
        GateState::Waiting => "changed",
        GateState::Unknown => "unknown",
    }
}
