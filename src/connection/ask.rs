//! One question at a time, and no deadline runs while somebody thinks about the answer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::prompt::Prompter;
use crate::secret::Secret;

/// The prompter as many connections share it.
#[derive(Clone)]
pub(crate) struct Asker {
    prompter: Arc<dyn Prompter>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Questions asked or waiting for their turn, and questions answered so far.
    open: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Asker {
    pub(crate) fn new(prompter: Arc<dyn Prompter>) -> Self {
        Asker { prompter, turn: Arc::default(), open: Arc::default(), answered: Arc::default() }
    }

    /// Takes the turn: questions that depend on each other (is this host known by now?) are checked again under it.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let counted = Counted { open: self.open.clone(), answered: self.answered.clone() };
        Turn { prompter: &self.prompter, _lock: self.turn.lock().await, _counted: counted }
    }

    /// Runs `work` for at most `limit`, not counting the time in which somebody is being asked.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let answered = self.answered.load(Ordering::SeqCst);
            tokio::select! {
                done = &mut work => return Some(done),
                () = tokio::time::sleep(limit) => {
                    let asking = self.open.load(Ordering::SeqCst) > 0;
                    if !asking && answered == self.answered.load(Ordering::SeqCst) {
                        return None;
                    }
                }
            }
        }
    }
}

/// The right to ask.
pub(crate) struct Turn<'a> {
    prompter: &'a Arc<dyn Prompter>,
    _lock: tokio::sync::MutexGuard<'a, ()>,
    _counted: Counted,
}

struct Counted {
    open: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turn<'_> {
    /// Asks for something secret.
    pub(crate) async fn secret(&self, prompt: String) -> Option<Secret> {
        let prompter = self.prompter.clone();
        tokio::task::spawn_blocking(move || prompter.secret(&prompt)).await.ok().flatten()
    }

    /// Asks for a line.
    pub(crate) async fn line(&self, prompt: String) -> Option<String> {
        let prompter = self.prompter.clone();
        tokio::task::spawn_blocking(move || prompter.line(&prompt)).await.ok().flatten()
    }
}
