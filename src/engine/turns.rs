//! Turns at a task that only so many hosts may run at a time, in the batch's order.

use super::board::Board;
use super::position::Position;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns at one task.
pub struct Turns {
    free: Arc<Semaphore>,
    begun: Mutex<BTreeSet<usize>>,
}

/// A turn; it ends when this is dropped.
pub struct Turn(#[allow(dead_code)] Option<OwnedSemaphorePermit>);

impl Turns {
    /// So many hosts at a time.
    pub fn new(limit: usize) -> Self {
        Turns { free: Arc::new(Semaphore::new(limit)), begun: Mutex::default() }
    }

    /// Waits until the hosts before this one that stand at `position` have begun, and a turn is free. One that goes away
    /// from there without a turn (it fails, or its own limit is another) is waited for no longer.
    pub async fn take(&self, board: &Board, position: &Position, index: usize) -> Turn {
        let first = || {
            let begun = self.begun.lock().unwrap_or_else(|p| p.into_inner());
            board
                .standing_at(position)
                .into_iter()
                .take_while(|other| *other < index)
                .all(|other| begun.contains(&other))
        };
        board.wait_until(first).await;
        let permit = self.free.clone().acquire_owned().await.ok(); // never closed
        self.begun.lock().unwrap_or_else(|p| p.into_inner()).insert(index);
        board.nudge();
        Turn(permit)
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

    fn standing(hosts: usize) -> (Arc<Board>, Position) {
        let (board, place) = (Arc::new(Board::new(hosts, true, Arc::new(Nobody))), Position::start().child(3));
        (0..hosts).for_each(|host| board.arrive(host, &place));
        (board, place)
    }

    #[tokio::test]
    async fn hosts_take_turns_in_order() {
        let turns = Arc::new(Turns::new(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        let (board, place) = standing(3);
        let mut tasks = Vec::new();
        for index in [2usize, 0, 1] {
            let (turns, order, board, place) = (turns.clone(), order.clone(), board.clone(), place.clone());
            tasks.push(tokio::spawn(async move {
                let turn = turns.take(&board, &place, index).await;
                order.lock().unwrap().push(index);
                tokio::task::yield_now().await;
                drop(turn);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_host_that_goes_away_is_not_waited_for() {
        let (board, place) = standing(2);
        let (other, there) = (board.clone(), place.clone());
        let waiter = tokio::spawn(async move { drop(Turns::new(1).take(&other, &there, 1).await) });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        board.leave(0);
        waiter.await.unwrap();
    }
}
