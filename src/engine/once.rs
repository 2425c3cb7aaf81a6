//! `run_once`: one host of the batch does it, all get the result.

use super::task::Finished;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A task that is run once for a batch.
pub struct Once {
    /// The host that runs it, by its number in the batch.
    pub runner: usize,
    result: watch::Sender<Option<Arc<Finished>>>,
    receiver: Mutex<watch::Receiver<Option<Arc<Finished>>>>,
}

impl Once {
    /// It will be run by `runner`.
    pub fn new(runner: usize) -> Self {
        let (result, receiver) = watch::channel(None);
        Once { runner, result, receiver: Mutex::new(receiver) }
    }

    /// The runner is done.
    pub fn publish(&self, finished: Arc<Finished>) {
        self.result.send_replace(Some(finished));
    }

    /// Waits for the runner.
    pub async fn result(&self) -> Option<Arc<Finished>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).clone();
        receiver.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}
