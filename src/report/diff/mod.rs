//! Changes as a person reads them. One model (what changed, by key and by line, certificates in words, nothing secret) is
//! drawn on terminals here, and on pages and tickets beside.

mod certificates;
mod keys;
mod model;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

pub use keys::Row;
pub use model::{Delta, Sign, What, deltas, masked_changes};
pub use terminal::draw;
pub use text::{Hunk, Tag, changed};

use super::{Mask, Style};
use crate::machine::Change;

/// How texts are set beside each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// By key where that tells all, otherwise as a unified diff.
    #[default]
    Auto,
    /// Always as a unified diff.
    Unified,
    /// Before on the left, after on the right.
    SideBySide,
}

/// How changes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffOptions {
    /// Lines around those that changed.
    pub context: usize,
    /// How texts are set.
    pub layout: Layout,
    /// Columns that both sides beside each other may take.
    pub width: usize,
}

impl Default for DiffOptions {
    fn default() -> Self {
        DiffOptions { context: 3, layout: Layout::Auto, width: 120 }
    }
}

/// A task's changes for a terminal, secrets masked.
pub fn changes(changes: &[Change], mask: &Mask, style: Style, options: DiffOptions) -> String {
    draw(&deltas(changes, mask, options.context, true), style, options)
}

/// The changes in one line each.
pub fn changes_short(changes: &[Change], mask: &Mask, style: Style) -> String {
    draw(&deltas(changes, mask, 0, false), style, DiffOptions::default())
}
