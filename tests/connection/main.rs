//! The connection room against a real sshd.

#[path = "../common/sshd.rs"]
mod sshd;

mod commands;
mod failures;
mod host_keys;
mod local;
mod logins;
mod routes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deploy::connection::{Connector, NoPrompter, Prompter};
use deploy::secret::Secret;

/// A connector that can ask nobody.
fn connector() -> Connector {
    Connector::new(Arc::new(NoPrompter))
}

/// Answers every question with the same text, and counts them.
struct Answers {
    text: String,
    asked: Arc<AtomicUsize>,
}

impl Answers {
    fn connector(text: &str) -> (Connector, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        (Connector::new(Arc::new(Answers { text: text.to_string(), asked: asked.clone() })), asked)
    }
}

impl Prompter for Answers {
    fn secret(&self, prompt: &str) -> Option<Secret> {
        self.line(prompt).map(Secret::from)
    }

    fn line(&self, _prompt: &str) -> Option<String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Slow enough that others come to wait for the same answer.
        std::thread::sleep(std::time::Duration::from_millis(100));
        Some(self.text.clone())
    }
}
