//! For what is shown at the end only: meanwhile one line of the terminal says how far it is.

use super::{Mask, Masked, Reporter};
use crate::engine::event::Event;
use std::io::Write;
use std::time::{Duration, Instant};

/// The line is written no more often.
const PAUSE: Duration = Duration::from_millis(100);

/// Hands events on, and says how far they are.
pub struct Behind<R: Reporter, W: Write> {
    inner: R,
    line: Option<Masked<W>>,
    last: Option<Instant>,
    shown: bool,
}

impl<R: Reporter, W: Write> Behind<R, W> {
    /// Hands events to `inner`; the line goes to `out`, where that is a terminal: in a file it would be nothing but escapes.
    pub fn new(inner: R, out: Option<W>, mask: Mask) -> Self {
        Behind { inner, line: out.map(|out| Masked::new(out, mask)), last: None, shown: false }
    }

    fn say(&mut self, text: &str) {
        let Some(line) = self.line.as_mut().filter(|_| self.last.is_none_or(|last| last.elapsed() >= PAUSE)) else {
            return;
        };
        self.last = Some(Instant::now());
        self.shown = true;
        let text: String = text.chars().filter(|c| !c.is_control()).take(78).collect();
        // Who cannot be told how far it is still is told everything at the end.
        let _ = line.text(&format!("\r\x1b[2K{text}"));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = self.line.as_mut().map(|line| line.text("\r\x1b[2K"));
        }
        self.last = None;
    }
}

impl<R: Reporter, W: Write + Send> Reporter for Behind<R, W> {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::PlayStarted { name, .. } => self.say(&format!("… PLAY [{name}]")),
            Event::ItemDone(result) | Event::TaskDone(result) => {
                self.say(&format!("… {} on {}", result.task.name, result.host));
            }
            Event::StillRunning { task, hosts, seconds, .. } => {
                self.last = None;
                self.say(&format!("… {} on {} hosts ({seconds} s)", task.name, hosts.len()));
                return Ok(());
            }
            Event::Recap { .. } | Event::Diagnostic { .. } => self.clear(),
            _ => {}
        }
        self.inner.report(event)
    }
}

impl<R: Reporter, W: Write> Drop for Behind<R, W> {
    fn drop(&mut self) {
        self.clear();
    }
}
