//! Turns at a task that only so many hosts may run at a time, in the batch's order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The turns at one task.
pub struct Turns {
    free: Arc<Semaphore>,
    begun: Mutex<BTreeSet<usize>>,
    moved: Notify,
}

/// A turn; it ends when this is dropped.
pub struct Turn(#[allow(dead_code)] Option<OwnedSemaphorePermit>);

impl Turns {
    /// So many hosts at a time.
    pub fn new(limit: usize) -> Self {
        Turns { free: Arc::new(Semaphore::new(limit)), begun: Mutex::default(), moved: Notify::new() }
    }

    /// Waits until the hosts `before` have begun and a turn is free.
    pub async fn take(&self, index: usize, before: &[usize]) -> Turn {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let begun = self.begun.lock().unwrap_or_else(|p| p.into_inner()).clone();
            if before.iter().all(|other| begun.contains(other)) {
                break;
            }
            moved.await;
        }
        let permit = self.free.clone().acquire_owned().await.ok(); // never closed
        self.begun.lock().unwrap_or_else(|p| p.into_inner()).insert(index);
        self.moved.notify_waiters();
        Turn(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_take_turns_in_order() {
        let turns = Arc::new(Turns::new(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for index in [2usize, 0, 1] {
            let (turns, order) = (turns.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let before: Vec<usize> = (0..index).collect();
                let turn = turns.take(index, &before).await;
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
}
