//! `run_once`: one host of the batch does it, all get the result.

use super::board::Board;
use super::position::Position;
use super::task::Finished;
use std::sync::{Arc, OnceLock};

/// A task that is run once for a batch.
pub struct Once {
    /// The host that runs it, by its number in the batch.
    pub runner: usize,
    result: OnceLock<Arc<Finished>>,
}

impl Once {
    /// It will be run by `runner`.
    pub fn new(runner: usize) -> Self {
        Once { runner, result: OnceLock::new() }
    }

    /// The runner is done.
    pub fn publish(&self, finished: Arc<Finished>, board: &Board) {
        let _ = self.result.set(finished); // a task has one runner, and that has one result
        board.nudge();
    }

    /// Waits for the runner; nothing when it went away from `position` without a result: it failed, was lost or stopped.
    pub async fn result(&self, board: &Board, position: &Position) -> Option<Arc<Finished>> {
        board.wait_until(|| self.result.get().is_some() || !board.stands_at(self.runner, position)).await;
        self.result.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::{Event, Sink};

    struct Nobody;
    impl Sink for Nobody {
        fn emit(&self, _: Event) {}
    }

    #[tokio::test]
    async fn who_waits_for_a_runner_that_goes_away_is_told() {
        let board = Arc::new(Board::new(2, true, Arc::new(Nobody)));
        let place = Position::start().child(3);
        board.arrive(0, &place);
        board.arrive(1, &place);
        let (waiting, there) = (board.clone(), place.clone());
        let waiter = tokio::spawn(async move { Once::new(0).result(&waiting, &there).await.is_none() });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        board.leave(0);
        assert!(waiter.await.unwrap());
    }
}
