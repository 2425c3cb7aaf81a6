//! What a check found to be different, as a list: a line for each task and host, or one JSON document.

use super::diff::{DiffOptions, changes, changes_short};
use super::{Mask, Reporter, Style};
use crate::engine::event::{Event, HostResult, TaskStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// Collects what differs. Its clones are the same list.
#[derive(Clone)]
pub struct Drift {
    found: Arc<Mutex<Found>>,
    mask: Mask,
    /// Contents are shown, too.
    long: bool,
    options: DiffOptions,
}

#[derive(Default)]
struct Found {
    hosts: BTreeSet<String>,
    results: Vec<HostResult>,
    remarks: Vec<String>,
}

impl Drift {
    /// An empty list.
    pub fn new(mask: Mask, long: bool, options: DiffOptions) -> Drift {
        Drift { found: Arc::default(), mask, long, options }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let found = self.found();
        let mut text = String::new();
        for remark in &found.remarks {
            text += &style.magenta(&format!("{}\n", remark.trim_end()));
        }
        for result in &found.results {
            let item = result.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
            let line = format!("{}: {}{item} ({})", result.host, result.task.name, result.task.place);
            let msg = result.msg.as_deref().unwrap_or("it could not be told");
            text += &match result.status {
                TaskStatus::Changed => style.yellow(&line),
                TaskStatus::Unknown => match result.because.as_ref().filter(|because| !because.chain.is_empty()) {
                    Some(because) => {
                        let way = because.way(&result.task.name);
                        style.magenta(&format!("{line}: unknown: {way}: {}", because.reason))
                    }
                    None => style.magenta(&format!("{line}: unknown: {msg}")),
                },
                _ => style.red(&format!("{line}: {msg}")),
            };
            text.push('\n');
            text += &match self.long {
                true => changes(&result.changes, &self.mask, style, self.options),
                false => changes_short(&result.changes, &self.mask, style),
            };
        }
        let away: BTreeSet<&str> = found.results.iter().map(|result| &*result.host).collect();
        let as_described = found.hosts.iter().filter(|host| !away.contains(host.as_str())).count();
        text += &format!("{as_described} of {} hosts are as the playbooks say\n", found.hosts.len());
        (self.mask)(&text)
    }

    /// For programs.
    pub fn json(&self) -> String {
        let found = self.found();
        let results: Vec<Value> = found.results.iter().map(entry).collect();
        let document = json!({"hosts": found.hosts, "drift": results, "remarks": found.remarks});
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        (self.mask)(&(text + "\n"))
    }
}

fn entry(result: &HostResult) -> Value {
    json!({
        "host": result.host,
        "task": result.task.name,
        "place": result.task.place,
        "item": result.item,
        "status": result.status,
        "msg": result.msg,
        "because": result.because,
        "changes": result.changes,
        "handlers": result.notified,
    })
}

impl Reporter for Drift {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        let mut found = self.found();
        match event {
            Event::PlayStarted { hosts, .. } => found.hosts.extend(hosts.iter().map(|host| host.to_string())),
            Event::ItemDone(result) | Event::TaskDone(result) => {
                let differs = match result.status {
                    TaskStatus::Ok | TaskStatus::Skipped => false,
                    TaskStatus::Changed | TaskStatus::Unknown => !result.sums_up_a_loop(),
                    TaskStatus::Failed | TaskStatus::Unreachable => !result.ignored,
                };
                if differs {
                    found.results.push(result.clone());
                }
            }
            Event::Warning { message } => found.remarks.push(format!("[WARNING]: {message}")),
            Event::Diagnostic { text, .. } => found.remarks.push(text.clone()),
            Event::PlayStopped { reason } => found.remarks.push(reason.clone()),
            _ => {}
        }
        Ok(())
    }
}
