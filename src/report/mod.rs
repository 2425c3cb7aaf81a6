//! Events to terminal, JSON lines, and what is written at the end of a run (HTML, JUnit, Markdown, a
//! trace): the only place that prints.

mod behind;
mod diff;
mod drift;
mod files;
mod grouped;
mod html;
mod json;
mod junit;
mod markdown;
mod markup;
mod story;
mod terminal;
mod trace;

pub use behind::Behind;
pub use diff::{DiffOptions, Layout, changes};
pub use drift::Drift;
pub use files::Reports;
pub use json::JsonLines;
pub use terminal::{Style, Terminal};
pub use trace::{Settings as TraceSettings, Tracer};

use crate::engine::event::{Event, Sink};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Hides secrets in text that is about to leave the process.
pub type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Writes events somewhere in some form.
pub trait Reporter: Send {
    /// Takes an event.
    fn report(&mut self, event: &Event) -> std::io::Result<()>;
}

/// Hands events to reporters. Everything they write passes the mask.
pub struct Reporters(Mutex<Vec<Box<dyn Reporter>>>);

impl Reporters {
    /// Reporters that will be told of every event, in this order.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Reporters(Mutex::new(reporters))
    }
}

impl Sink for Reporters {
    fn emit(&self, event: Event) {
        let mut reporters = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A reader that went away (`deploy | head`) must not end a run in the middle of a restart.
        reporters.retain_mut(|reporter| reporter.report(&event).is_ok());
    }
}

/// A writer whose text passes the mask, line by line of what is written at once.
pub struct Masked<W: Write> {
    inner: W,
    mask: Mask,
}

impl<W: Write> Masked<W> {
    /// What hides secrets.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Masks what goes to `inner`.
    pub fn new(inner: W, mask: Mask) -> Self {
        Masked { inner, mask }
    }

    /// Writes text, masked, and flushes.
    pub fn text(&mut self, text: &str) -> std::io::Result<()> {
        self.inner.write_all((self.mask)(text).as_bytes())?;
        self.inner.flush()
    }
}
