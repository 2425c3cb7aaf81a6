//! Indentation that PyYAML accepts and the scanner does not.
//!
//! Inside brackets and quotes YAML 1.2 wants every line to be indented; PyYAML does not care, and playbooks close
//! a list with `]` at the margin. The scanner's complaint tells the line; it is padded with blanks, which mean
//! nothing there, and the text is scanned again. Places keep pointing into the file as it is.

use std::borrow::Cow;

/// A text as it is scanned, and where each of its characters stands in the file.
pub(super) struct Layout<'a> {
    pub(super) text: Cow<'a, str>,
    /// The byte in the file of each character; empty as long as both are the same.
    bytes: Vec<usize>,
    original: usize,
    /// How much may still be scanned again.
    budget: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = if text.is_ascii() { Vec::new() } else { table(text) };
        Layout { text: Cow::Borrowed(text), bytes, original: text.len(), budget: 8_000_000 + 20 * text.len() }
    }

    /// The byte in the file of a character of the scanned text.
    pub(super) fn byte(&self, character: usize) -> usize {
        match self.bytes.is_empty() {
            true => character.min(self.original),
            false => self.bytes.get(character).copied().unwrap_or(self.original),
        }
    }

    /// Pads what the scanner complained of. `false` if there is nothing to pad.
    pub(super) fn repair(&mut self, character: usize, complaint: &str) -> bool {
        let quoted = match complaint {
            "invalid indentation in quoted scalar" => true,
            "invalid indentation" | "invalid indentation in flow construct" | "tab cannot be used as indentation" => {
                false
            }
            _ => return false,
        };
        if self.budget < self.text.len() {
            return false;
        }
        self.budget -= self.text.len();
        let Some(at) = self.text.char_indices().map(|(at, _)| at).chain([self.text.len()]).nth(character) else {
            return false;
        };
        let lines = match quoted {
            true => self.quoted_lines(at),
            false => vec![line_start(&self.text, at)],
        };
        let before = self.text.get(..at).unwrap_or_default();
        let mut width = before.lines().rev().take(200).map(block_column).max().unwrap_or(0) + 1;
        if quoted {
            width = width.max(at - line_start(&self.text, at));
        }
        let mut padded = false;
        // From the last line on, so that earlier offsets stay valid.
        for start in lines.into_iter().rev() {
            let line = self.text.get(start..).unwrap_or_default();
            let missing = width.saturating_sub(indentation(line));
            if missing > 0 {
                self.pad(start, missing);
                padded = true;
            }
        }
        padded
    }

    /// The starts of the lines of a quoted scalar, from its second on, that say anything.
    fn quoted_lines(&self, start: usize) -> Vec<usize> {
        let text = self.text.get(start..).unwrap_or_default();
        let mut chars = text.char_indices();
        let Some((_, quote)) = chars.next() else { return Vec::new() };
        let mut lines = Vec::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quote == '"' => {
                    // An escaped line break is one all the same.
                    if let Some((at, '\n')) = chars.next() {
                        lines.push(start + at + 1);
                    }
                }
                '\n' => lines.push(start + at + 1),
                // A doubled quote ends here and begins anew on the same line: nothing is lost by stopping late.
                c if c == quote && !(quote == '\'' && text.get(at + 1..).is_some_and(|t| t.starts_with('\''))) => {
                    break;
                }
                c if c == quote => {
                    chars.next();
                }
                _ => {}
            }
        }
        lines.retain(|start| {
            let line = self.text.get(*start..).and_then(|rest| rest.lines().next());
            line.is_some_and(|line| !line.trim().is_empty())
        });
        lines
    }

    fn pad(&mut self, start: usize, blanks: usize) {
        if self.bytes.is_empty() {
            self.bytes = table(&self.text);
        }
        let character = self.text.get(..start).map_or(0, |before| before.chars().count());
        let place = self.byte(character);
        self.bytes.splice(character..character, std::iter::repeat_n(place, blanks));
        self.text.to_mut().insert_str(start, &" ".repeat(blanks));
    }
}

fn table(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

fn indentation(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

/// How far right the blocks that a line opens can begin: blanks, and dashes with a blank behind.
fn block_column(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-', '?']).len()
}
