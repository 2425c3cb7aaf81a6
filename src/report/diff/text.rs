//! Two texts, line by line: the hunks of their difference, with the words of a line that changed.

use similar::{ChangeTag, TextDiff};
use std::ops::Range;
use std::time::Duration;

/// Two large texts that have little in common are compared for no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines that changed, with those around them.
#[derive(Clone, Debug, PartialEq)]
pub struct Hunk {
    /// Lines of the text before, from 0.
    pub old: Range<usize>,
    /// Lines of the text after, from 0.
    pub new: Range<usize>,
    /// Both, in order.
    pub lines: Vec<Line>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It stands on both sides.
    Same,
    /// It stood there before.
    Removed,
    /// It stands there after.
    Added,
}

impl Tag {
    /// As patches write it.
    pub fn mark(self) -> &'static str {
        match self {
            Tag::Same => " ",
            Tag::Removed => "-",
            Tag::Added => "+",
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What became of it.
    pub tag: Tag,
    /// Its text in pieces; those that are true changed.
    pub parts: Vec<(bool, String)>,
    /// The text ends here, without a newline.
    pub no_newline: bool,
}

impl Hunk {
    /// Its first line, as patches write it.
    pub fn header(&self) -> String {
        let side = |range: &Range<usize>| format!("{},{}", range.start + usize::from(!range.is_empty()), range.len());
        format!("@@ -{} +{} @@", side(&self.old), side(&self.new))
    }
}

/// How many lines of `hunks` have changed.
pub fn changed(hunks: &[Hunk]) -> usize {
    hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag != Tag::Same).count()
}

/// What differs, with `context` lines around.
pub fn hunks(before: &str, after: &str, context: usize) -> Vec<Hunk> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let mut hunks = Vec::new();
    for group in diff.grouped_ops(context) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let mut lines = Vec::new();
        for change in group.iter().flat_map(|op| diff.iter_inline_changes(op)) {
            let tag = match change.tag() {
                ChangeTag::Delete => Tag::Removed,
                ChangeTag::Insert => Tag::Added,
                ChangeTag::Equal => Tag::Same,
            };
            let mut parts: Vec<(bool, String)> = Vec::new();
            for (emphasised, part) in change.iter_strings_lossy() {
                let part = visible(part.trim_end_matches(['\n', '\r']));
                match parts.last_mut() {
                    _ if part.is_empty() => {}
                    Some((was, text)) if *was == emphasised => text.push_str(&part),
                    _ => parts.push((emphasised, part)),
                }
            }
            lines.push(Line { tag, parts, no_newline: change.missing_newline() });
        }
        hunks.push(Hunk {
            old: first.old_range().start..last.old_range().end,
            new: first.new_range().start..last.new_range().end,
            lines,
        });
    }
    hunks
}

/// Control characters of a host's file must not steer the user's terminal.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
