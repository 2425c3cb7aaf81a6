//! Says what a run is waiting for: after two seconds, and then ever more rarely. When that is another run, it is asked
//! whether to go on waiting.

use super::event::Event;
use super::play::Batch;
use super::run::Run;
use crate::wire::WAITING_FOR_ANOTHER_RUN;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Watches a batch until it is aborted.
pub async fn watch(batch: Arc<Batch>, run: Arc<Run>) {
    let mut next_after = Duration::from_secs(2);
    let mut shown = None;
    let mut began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Some((task, hosts, progress)) = batch.board.oldest() else {
            shown = None;
            continue;
        };
        if shown.as_ref() != Some(&task.position) {
            shown = Some(task.position.clone());
            began = Instant::now();
            next_after = Duration::from_secs(2);
        }
        let elapsed = began.elapsed();
        let hosts: Vec<Arc<str>> = hosts.into_iter().map(|index| batch.hosts[index].name.clone()).collect();
        progress.iter().for_each(|progress| super::if_locked::busy(&run, &hosts, progress, elapsed));
        if elapsed >= next_after {
            if progress.iter().any(|progress| progress.starts_with(WAITING_FOR_ANOTHER_RUN)) {
                run.fleet.give_way();
            }
            next_after = (next_after * 2).min(elapsed + Duration::from_secs(60));
            run.sink.emit(Event::StillRunning { task, hosts, seconds: elapsed.as_secs(), progress });
        }
    }
}
