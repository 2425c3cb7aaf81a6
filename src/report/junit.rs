//! A run as JUnit XML: a suite for each play, a case for each task and host.

use super::markup;
use super::story::{Outcome, Story};
use crate::engine::event::TaskStatus;
use std::fmt::Write;

/// The whole document.
pub fn junit(story: &Story) -> String {
    let totals = story.totals();
    let failures = totals.failed + totals.unreachable;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"deploy\" tests=\"{}\" failures=\"{failures}\" \
         time=\"{:.3}\">\n",
        story
            .plays
            .iter()
            .flat_map(|play| &play.tasks)
            .flat_map(|task| &task.outcomes)
            .map(|o| o.hosts.len())
            .sum::<usize>(),
        story.seconds
    );
    for play in &story.plays {
        let _ = writeln!(out, "  <testsuite name=\"{}\">", escaped(&play.name));
        for task in &play.tasks {
            for outcome in &task.outcomes {
                for (host, _, seconds) in &outcome.hosts {
                    let item = outcome.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
                    let name = escaped(&format!("[{host}] {}{item}", task.task.name));
                    let place = escaped(&task.task.place);
                    let head = format!("    <testcase name=\"{name}\" classname=\"{place}\" time=\"{seconds:.3}\"");
                    match verdict(outcome) {
                        None => writeln!(out, "{head}/>"),
                        Some(verdict) => writeln!(out, "{head}>{verdict}</testcase>"),
                    }
                    .ok();
                }
            }
        }
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

fn verdict(outcome: &Outcome) -> Option<String> {
    let msg = escaped(outcome.msg.as_deref().unwrap_or_default());
    match outcome.status {
        TaskStatus::Failed | TaskStatus::Unreachable if !outcome.ignored => {
            Some(format!("<failure message=\"{msg}\"></failure>"))
        }
        TaskStatus::Skipped => Some(format!("<skipped message=\"{msg}\"></skipped>")),
        TaskStatus::Unknown => Some(format!("<skipped message=\"unknown: {msg}\"></skipped>")),
        _ => None,
    }
}

/// Text of an attribute, in which a reader takes line ends for spaces.
fn escaped(text: &str) -> String {
    markup::escaped(text).replace('\n', "&#10;")
}
