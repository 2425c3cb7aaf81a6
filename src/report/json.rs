//! One JSON event a line, for other programs.

use super::{Mask, Masked, Reporter};
use crate::engine::event::Event;
use std::io::Write;

/// Writes events as JSON lines.
pub struct JsonLines<W: Write> {
    out: Masked<W>,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W, mask: Mask) -> Self {
        JsonLines { out: Masked::new(out, mask) }
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        let line = serde_json::to_string(event)?;
        self.out.text(&(line + "\n"))
    }
}
