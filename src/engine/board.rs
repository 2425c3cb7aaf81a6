//! The board of a batch: how far each host is, so that hosts can run ahead until they must meet.

use super::event::{Event, Sink, TaskInfo};
use super::position::Position;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// How far one host is.
#[derive(Debug, Default)]
struct Place {
    /// Where its walker stands: everything before was submitted.
    at: Position,
    /// Submitted and not yet answered, with how many requests each.
    in_flight: BTreeMap<Position, usize>,
    /// It takes part no longer: done, failed or unreachable.
    gone: bool,
    /// The tasks in flight, for the user.
    tasks: BTreeMap<Position, Arc<TaskInfo>>,
    /// What the host last said of its progress.
    progress: Option<String>,
}

impl Place {
    /// The first position that is not complete, or nothing when the host is through.
    fn frontier(&self) -> Option<&Position> {
        if self.gone && self.in_flight.is_empty() {
            return None;
        }
        match self.in_flight.keys().next() {
            Some(oldest) if self.gone || *oldest < self.at => Some(oldest),
            _ => Some(&self.at),
        }
    }
}

#[derive(Default)]
struct State {
    places: Vec<Place>,
    /// Events that must wait until every host has finished what stands before them.
    held: BTreeMap<Position, Vec<Event>>,
}

/// Positions of the hosts of one batch, and the events that keep the order of tasks.
pub struct Board {
    state: Mutex<State>,
    moved: Notify,
    sink: Arc<dyn Sink>,
    /// `strategy: free`: nobody waits, and events are shown as they come.
    ordered: bool,
}

impl Board {
    /// A board for `hosts` hosts.
    pub fn new(hosts: usize, ordered: bool, sink: Arc<dyn Sink>) -> Self {
        let places = (0..hosts).map(|_| Place::default()).collect();
        Board { state: Mutex::new(State { places, held: BTreeMap::new() }), moved: Notify::new(), sink, ordered }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves positions that are still meaningful.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The host's walker arrived at `position`.
    pub fn arrive(&self, host: usize, position: &Position) {
        self.change(|state| state.places[host].at = position.clone());
    }

    /// The host submitted a request of the task at `position`.
    pub fn submitted(&self, host: usize, task: &Arc<TaskInfo>) {
        self.change(|state| {
            let place = &mut state.places[host];
            *place.in_flight.entry(task.position.clone()).or_default() += 1;
            place.tasks.insert(task.position.clone(), task.clone());
        });
    }

    /// The host says how far its task is.
    pub fn progress(&self, host: usize, text: String) {
        self.lock().places[host].progress = Some(text);
    }

    /// The oldest task in flight, the hosts that are at it, and what one of them says of its progress.
    pub fn oldest(&self) -> Option<(Arc<TaskInfo>, Vec<usize>, Option<String>)> {
        let state = self.lock();
        let first = state.places.iter().filter_map(|place| place.tasks.first_key_value()).min_by_key(|(at, _)| *at)?;
        let (position, task) = (first.0.clone(), first.1.clone());
        let hosts: Vec<usize> =
            (0..state.places.len()).filter(|&i| state.places[i].tasks.contains_key(&position)).collect();
        let progress = hosts.iter().find_map(|&i| state.places[i].progress.clone());
        Some((task, hosts, progress))
    }

    /// A request of the task at `position` was answered and its consequences are recorded.
    pub fn answered(&self, host: usize, position: &Position) {
        self.change(|state| {
            let place = &mut state.places[host];
            if let Some(count) = place.in_flight.get_mut(position) {
                *count -= 1;
                if *count == 0 {
                    place.in_flight.remove(position);
                    place.tasks.remove(position);
                    place.progress = None;
                }
            }
        });
    }

    /// The host takes part no longer.
    pub fn leave(&self, host: usize) {
        self.change(|state| state.places[host].gone = true);
    }

    /// The hosts that stand exactly at `position`, in the batch's order.
    pub fn standing_at(&self, position: &Position) -> Vec<usize> {
        let state = self.lock();
        (0..state.places.len()).filter(|&i| !state.places[i].gone && state.places[i].at == *position).collect()
    }

    /// Whether a host stands exactly at `position`.
    pub fn stands_at(&self, host: usize, position: &Position) -> bool {
        let state = self.lock();
        !state.places[host].gone && state.places[host].at == *position
    }

    /// Whether a host has finished `position` and stands behind it, or takes part no longer.
    pub fn passed(&self, host: usize, position: &Position) -> bool {
        self.lock().places[host].frontier().is_none_or(|frontier| frontier > position)
    }

    /// Whether every host has finished everything before `position`.
    pub fn all_reached(&self, position: &Position) -> bool {
        self.lock().places.iter().all(|place| place.frontier().is_none_or(|frontier| frontier >= position))
    }

    /// Whether one host has finished everything before `position`.
    pub fn reached(&self, host: usize, position: &Position) -> bool {
        self.lock().places[host].frontier().is_none_or(|frontier| frontier >= position)
    }

    /// Waits until every host has finished everything before `position`.
    pub async fn meet(&self, position: &Position) {
        self.wait_until(|| self.all_reached(position)).await;
    }

    /// Waits until this host's own requests before `position` are answered, wherever its walker stands.
    pub async fn settle(&self, host: usize, position: &Position) {
        let settled = || self.lock().places[host].in_flight.keys().next().is_none_or(|oldest| oldest >= position);
        self.wait_until(settled).await;
    }

    /// Waits until a condition over the board holds; it is asked again after every movement.
    pub async fn wait_until(&self, condition: impl Fn() -> bool) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable(); // before the look, so that no movement between is lost
            if condition() {
                return;
            }
            moved.await;
        }
    }

    /// Wakes everyone who waits: something that is not on the board changed.
    pub fn nudge(&self) {
        self.moved.notify_waiters();
    }

    /// Emits an event of the task at `position`, when its turn has come.
    pub fn emit(&self, position: &Position, event: Event) {
        if !self.ordered {
            return self.sink.emit(event);
        }
        self.change(|state| state.held.entry(position.clone()).or_default().push(event));
    }

    /// Emits what is still held: the batch is over.
    pub fn release_all(&self) {
        let held = std::mem::take(&mut self.lock().held);
        held.into_values().flatten().for_each(|event| self.sink.emit(event));
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        work(&mut state);
        if self.ordered && !state.held.is_empty() {
            // Released under the lock, so that two hosts cannot swap their lines.
            let limit = state.places.iter().filter_map(Place::frontier).min().cloned();
            while let Some(entry) = state.held.first_entry() {
                if limit.as_ref().is_some_and(|limit| entry.key() > limit) {
                    break;
                }
                entry.remove().into_iter().for_each(|event| self.sink.emit(event));
            }
        }
        drop(state);
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl Sink for Lines {
        fn emit(&self, event: Event) {
            if let Event::Warning { message } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    fn at(index: usize) -> Position {
        Position::start().child(index)
    }

    fn task(index: usize) -> Arc<TaskInfo> {
        let (name, action, place) = (String::new(), String::new(), String::new());
        Arc::new(TaskInfo { position: at(index), name, action, place, handler: false, role: None })
    }

    fn say(board: &Board, index: usize, text: &str) {
        board.emit(&at(index), Event::Warning { message: text.into() });
    }

    #[test]
    fn events_of_a_host_that_ran_ahead_wait_for_the_others() {
        let lines = Arc::new(Lines::default());
        let board = Board::new(2, true, lines.clone());
        board.arrive(0, &at(1));
        board.arrive(1, &at(0));
        say(&board, 0, "a0");
        say(&board, 1, "a1");
        assert_eq!(*lines.0.lock().unwrap(), ["a0"]);
        say(&board, 0, "b0");
        board.arrive(1, &at(1));
        assert_eq!(*lines.0.lock().unwrap(), ["a0", "b0", "a1"]);
    }

    #[test]
    fn a_request_in_flight_holds_the_frontier_back() {
        let board = Board::new(2, true, Arc::new(Lines::default()));
        board.submitted(0, &task(0));
        board.arrive(0, &at(5));
        board.arrive(1, &at(5));
        assert!(!board.all_reached(&at(5)));
        board.answered(0, &at(0));
        assert!(board.all_reached(&at(5)) && !board.all_reached(&at(6)));
        board.leave(1);
        board.arrive(0, &at(6));
        assert!(board.all_reached(&at(6)));
    }

    #[tokio::test]
    async fn a_meeting_ends_when_the_last_host_arrives_or_leaves() {
        let board = Arc::new(Board::new(3, true, Arc::new(Lines::default())));
        board.arrive(0, &at(2));
        let other = board.clone();
        let waiter = tokio::spawn(async move { other.meet(&at(2)).await });
        board.arrive(1, &at(3));
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        board.leave(2);
        waiter.await.unwrap();
    }
}
