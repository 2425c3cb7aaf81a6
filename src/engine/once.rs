//! `run_once`: one host of the batch does it, all get the result.

use super::task::Finished;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How far the runner is.
enum Ending {
    Awaited,
    Done(Arc<Finished>),
    Abandoned,
}

/// A task that is run once for a batch.
pub struct Once {
    /// The host that runs it, by its number in the batch.
    pub runner: usize,
    result: watch::Sender<Ending>,
    receiver: Mutex<watch::Receiver<Ending>>,
}

impl Once {
    /// It will be run by `runner`.
    pub fn new(runner: usize) -> Self {
        let (result, receiver) = watch::channel(Ending::Awaited);
        Once { runner, result, receiver: Mutex::new(receiver) }
    }

    /// The runner is done.
    pub fn publish(&self, finished: Arc<Finished>) {
        self.result.send_replace(Ending::Done(finished));
    }

    /// The runner was stopped before it had a result.
    pub fn abandon(&self) {
        self.result.send_replace(Ending::Abandoned);
    }

    /// Waits for the runner; nothing when it was stopped.
    pub async fn result(&self) -> Option<Arc<Finished>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let ending = receiver.wait_for(|ending| !matches!(ending, Ending::Awaited)).await.ok()?;
        match &*ending {
            Ending::Done(finished) => Some(finished.clone()),
            _ => None,
        }
    }
}
