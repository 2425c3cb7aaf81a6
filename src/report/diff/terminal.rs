//! Changes on a terminal: by key, as a unified diff, or both sides beside each other.

use super::keys::Row;
use super::model::{Delta, Sign, What};
use super::text::{Hunk, Line, Tag};
use super::{DiffOptions, Layout};
use crate::report::Style;
use std::fmt::Write;
use unicode_width::UnicodeWidthChar;

/// Columns of a tab.
const TAB: usize = 4;

/// The changes, indented by two, contents by four; each line ends in a newline.
pub fn draw(deltas: &[Delta], style: Style, options: DiffOptions) -> String {
    let mut out = String::new();
    for delta in deltas {
        let subject = format!("{} {}", delta.kind, delta.name);
        let mark = delta.sign.mark();
        let sign = match delta.sign {
            Sign::Added => style.green(mark),
            Sign::Removed => style.red(mark),
            Sign::Changed | Sign::Unseen => style.yellow(mark),
        };
        let mut note = String::new();
        if delta.inferred {
            note += &style.dim("  (inferred)");
        }
        if !delta.born.is_empty() {
            note += &style.dim(&format!("  {}", delta.born.join(", ")));
        }
        match &delta.what {
            What::Sentence(sentence) => {
                let _ = writeln!(out, "  {sign} {subject}: {sentence}{note}");
            }
            What::Value { aspect, before, after } => {
                let (before, after) = (style.red(before), style.green(after));
                let _ = writeln!(out, "  {sign} {subject}: {aspect} {before} → {after}{note}");
            }
            What::Contents { aspect, rows, enough, hunks } => {
                let alone = *enough && options.layout == Layout::Auto || hunks.is_empty();
                let by_key = if rows.is_empty() { "" } else { ", by key" };
                let _ = writeln!(out, "  {sign} {subject} ({aspect}{by_key}){note}");
                rows.iter().for_each(|row| out.push_str(&keyed(row, style)));
                match options.layout {
                    _ if alone => {}
                    Layout::SideBySide => hunks.iter().for_each(|hunk| beside(hunk, style, options.width, &mut out)),
                    Layout::Auto | Layout::Unified => hunks.iter().for_each(|hunk| unified(hunk, style, &mut out)),
                }
            }
        }
    }
    out
}

fn keyed(row: &Row, style: Style) -> String {
    let Row { key, before, after } = row;
    match (before, after) {
        (Some(before), Some(after)) if before == after => format!("      {}\n", style.dim(&format!("{key}: {after}"))),
        (Some(before), Some(after)) => {
            format!("    {} {key}: {} → {}\n", style.yellow("~"), style.red(before), style.green(after))
        }
        (None, Some(after)) => format!("    {} {key}: {}\n", style.green("+"), style.green(after)),
        (Some(before), None) => format!("    {} {key}: {}\n", style.red("-"), style.red(before)),
        (None, None) => String::new(),
    }
}

fn paint(style: Style, tag: Tag, text: &str) -> String {
    match tag {
        Tag::Same => text.to_string(),
        Tag::Removed => style.red(text),
        Tag::Added => style.green(text),
    }
}

fn unified(hunk: &Hunk, style: Style, out: &mut String) {
    let _ = writeln!(out, "    {}", style.cyan(&hunk.header()));
    for Line { tag, parts, no_newline } in &hunk.lines {
        let mut line = paint(style, *tag, tag.mark());
        for (emphasised, part) in parts {
            let part = paint(style, *tag, part);
            line += &if *emphasised { style.emphasis(&part) } else { part };
        }
        let _ = writeln!(out, "    {line}");
        if *no_newline {
            let _ = writeln!(out, "    \\ No newline at end of file");
        }
    }
}

/// Both sides beside each other: what was removed on the left, what was added on the right.
fn beside(hunk: &Hunk, style: Style, width: usize, out: &mut String) {
    let _ = writeln!(out, "    {}", style.cyan(&hunk.header()));
    // Indent, two marks with a space behind, a bar with spaces around.
    let half = (width.saturating_sub(4 + 3) / 2).max(12);
    let (mut left, mut right): (Vec<&Line>, Vec<&Line>) = (Vec::new(), Vec::new());
    let pair = |left: &mut Vec<&Line>, right: &mut Vec<&Line>, out: &mut String| {
        for index in 0..left.len().max(right.len()) {
            cells(left.get(index).copied(), right.get(index).copied(), style, half, out);
        }
        left.clear();
        right.clear();
    };
    for line in &hunk.lines {
        match line.tag {
            Tag::Removed if right.is_empty() => left.push(line),
            Tag::Removed => {
                pair(&mut left, &mut right, out);
                left.push(line);
            }
            Tag::Added => right.push(line),
            Tag::Same => {
                pair(&mut left, &mut right, out);
                cells(Some(line), Some(line), style, half, out);
            }
        }
    }
    pair(&mut left, &mut right, out);
}

/// One line of each side, in as many rows as the longer of them takes.
fn cells(left: Option<&Line>, right: Option<&Line>, style: Style, half: usize, out: &mut String) {
    let (left, right) = (wrapped(left, style, half), wrapped(right, style, half));
    for index in 0..left.len().max(right.len()) {
        let blank = (String::new(), 0);
        let (text, used) = left.get(index).unwrap_or(&blank);
        let (other, _) = right.get(index).unwrap_or(&blank);
        let row = format!("    {text}{} {} {other}", " ".repeat(half.saturating_sub(*used)), style.dim("│"));
        out.push_str(row.trim_end());
        out.push('\n');
    }
}

/// A line in rows of at most `half` columns, each with the columns that it takes.
fn wrapped(line: Option<&Line>, style: Style, half: usize) -> Vec<(String, usize)> {
    let Some(Line { tag, parts, no_newline }) = line else { return Vec::new() };
    let mut rows = Vec::new();
    let mut row = paint(style, *tag, tag.mark()) + " ";
    let mut used = 2;
    let ending = no_newline.then(|| (false, " (no newline)".to_string()));
    for (emphasised, part) in parts.iter().chain(&ending) {
        let mut piece = String::new();
        let paint = |piece: &str| {
            let painted = paint(style, *tag, piece);
            if *emphasised { style.emphasis(&painted) } else { painted }
        };
        for c in part.replace('\t', &" ".repeat(TAB)).chars() {
            let columns = c.width().unwrap_or(0);
            if used + columns > half {
                rows.push((std::mem::take(&mut row) + &paint(&std::mem::take(&mut piece)), used));
                row = "  ".to_string();
                used = 2;
            }
            piece.push(c);
            used += columns;
        }
        row += &paint(&piece);
    }
    rows.push((row, used));
    rows
}
