//! Writes down what a check shows, and the marks of its results.

use super::mark::{Counter, Mark, Place};
use super::{Key, PlanError};
use crate::engine::event::{Event, HostResult};
use crate::machine::{ChangeKind, Facet};
use crate::report::{Mask, Reporter};
use std::sync::{Arc, Mutex};

/// Results larger than this are not kept for `deploy show -v`, in bytes.
const LARGE: usize = 64 * 1024;

/// What was written down.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The events, masked.
    pub events: Vec<Event>,
    /// The mark of each result among them, in the same order.
    pub marks: Vec<Mark>,
    /// Why it is not whole, if so.
    pub broken: Option<String>,
}

impl Recording {
    /// Its results, each with its place and mark.
    pub fn results(&self) -> Vec<(Place, &HostResult, &Mark)> {
        let mut counter = Counter::default();
        let mut marks = self.marks.iter();
        let mut found = Vec::with_capacity(self.marks.len());
        for event in &self.events {
            match event {
                Event::PlayStarted { .. } => counter.play(),
                Event::ItemDone(result) | Event::TaskDone(result) => {
                    let Some(mark) = marks.next() else { break };
                    found.push((counter.place(result, mark), result, mark));
                }
                _ => {}
            }
        }
        found
    }
}

/// Listens to a run. Its clones write into the same recording.
#[derive(Clone)]
pub struct Recorder {
    recording: Arc<Mutex<Recording>>,
    key: Key,
    mask: Mask,
}

impl Recorder {
    /// A recorder that has heard nothing yet.
    pub fn new(key: Key, mask: Mask) -> Recorder {
        Recorder { recording: Arc::default(), key, mask }
    }

    /// What was heard so far.
    pub fn take(&self) -> Recording {
        std::mem::take(&mut *self.recording.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// An event as it may be kept: masked, and without what only this process can use.
    fn keep(&self, event: &Event) -> Result<Event, PlanError> {
        let mut event = event.clone();
        if let Event::ItemDone(result) | Event::TaskDone(result) = &mut event {
            self.conceal(result);
        }
        let wrong = |error: serde_json::Error| PlanError::Event(error.to_string());
        let text = serde_json::to_string(&event).map_err(wrong)?;
        serde_json::from_str(&(self.mask)(&text)).map_err(wrong)
    }

    /// Digests of secrets are keyed before they leave the process: a short password could be guessed from a plain one.
    fn conceal(&self, result: &mut HostResult) {
        for change in &mut result.changes {
            if let ChangeKind::Set { before, after, .. } = &mut change.kind {
                for facet in [before, after] {
                    if let Facet::Secret { fingerprint } = facet {
                        *fingerprint = self.key.digest("secret", fingerprint.as_bytes()).chars().take(12).collect();
                    }
                }
            }
        }
        if result.result.to_string().len() > LARGE {
            result.result = serde_json::Value::Null;
        }
    }
}

impl Reporter for Recorder {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        // Progress is of the moment; a diagnostic ends the run, and then there is no plan.
        if matches!(event, Event::StillRunning { .. } | Event::Diagnostic { .. }) {
            return Ok(());
        }
        let kept = self.keep(event);
        let mut recording = self.recording.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                recording.broken.get_or_insert(error.to_string());
                return Ok(());
            }
        };
        if let Event::ItemDone(result) | Event::TaskDone(result) = event {
            recording.marks.push(Mark::of(result, &self.key));
        }
        recording.events.push(kept);
        Ok(())
    }
}
