//! Changes on the page: each in a line, contents folded below it.

use crate::machine::Change;
use crate::report::Mask;
use crate::report::diff::{Delta, Hunk, Row, Sign, Tag, What, changed, deltas};
use crate::report::markup::escaped;
use std::fmt::Write;
use std::sync::Arc;

/// The page takes no more contents, so that it can be opened and sent: 15 MB are what a page may have.
const ROOM: usize = 12 * 1024 * 1024;

/// A diff of more lines is folded.
const LINES: usize = 40;

/// Writes changes, as long as there is room.
pub struct Contents {
    context: usize,
    room: usize,
}

impl Contents {
    /// A page without contents.
    pub fn new(context: usize) -> Contents {
        Contents { context, room: ROOM }
    }

    /// Writes the changes of an outcome; few and small ones need not be unfolded.
    pub fn write(&mut self, changes: &[Change], open: bool, out: &mut String) {
        // The story is masked.
        let mask: Mask = Arc::new(str::to_string);
        for delta in deltas(changes, &mask, self.context, true) {
            self.delta(&delta, open, out);
        }
    }

    fn delta(&mut self, delta: &Delta, open: bool, out: &mut String) {
        let class = match delta.sign {
            Sign::Added => "i",
            Sign::Removed => "d",
            Sign::Changed | Sign::Unseen => "c",
        };
        let (mark, kind) = (delta.sign.mark(), delta.kind);
        let mut head = format!("<b class=\"{class}\">{mark}</b> {kind} <code>{}</code>", escaped(&delta.name));
        let mut note = String::new();
        if delta.inferred {
            note += " <span class=\"quiet\">inferred</span>";
        }
        if !delta.born.is_empty() {
            let _ = write!(note, " <span class=\"quiet\">{}</span>", escaped(&delta.born.join(", ")));
        }
        match &delta.what {
            What::Sentence(sentence) => {
                let _ = write!(out, "<div class=\"delta\">{head} {}{note}</div>", escaped(sentence));
            }
            What::Value { aspect, before, after } => {
                let (before, after) = (escaped(before), escaped(after));
                let _ = write!(
                    out,
                    "<div class=\"delta\">{head} {} <del>{before}</del> → <ins>{after}</ins>{note}</div>",
                    escaped(aspect)
                );
            }
            What::Contents { aspect, rows, enough, hunks } => {
                let _ = write!(head, " {}{}{note}", escaped(aspect), amounts(rows, hunks));
                let body = body(rows, *enough, hunks);
                let Some(room) = self.room.checked_sub(body.len()) else {
                    let _ = write!(out, "<div class=\"delta\">{head} <i>not shown: the page is full</i></div>");
                    return;
                };
                self.room = room;
                let small = *enough || changed(hunks) <= LINES;
                let open = if open && small { " open" } else { "" };
                let _ = write!(out, "<details class=\"delta\"{open}><summary>{head}</summary>{body}</details>");
            }
        }
    }
}

fn amounts(rows: &[Row], hunks: &[Hunk]) -> String {
    let mut text = String::new();
    let differ = rows.iter().filter(|row| row.before != row.after).count();
    if differ > 0 {
        let _ = write!(text, " <span class=\"quiet\">{differ} {}</span>", if differ == 1 { "value" } else { "values" });
    }
    let count = |tag: Tag| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag == tag).count();
    let (added, removed) = (count(Tag::Added), count(Tag::Removed));
    if added > 0 {
        let _ = write!(text, " <span class=\"i\">+{added}</span>");
    }
    if removed > 0 {
        let _ = write!(text, " <span class=\"d\">−{removed}</span>");
    }
    text
}

/// By key, and by line; where the keys tell all, the lines are folded once more.
fn body(rows: &[Row], enough: bool, hunks: &[Hunk]) -> String {
    let mut out = String::new();
    if !rows.is_empty() {
        out += "<table class=\"keys\">";
        rows.iter().for_each(|row| keyed(row, &mut out));
        out += "</table>";
    }
    if hunks.is_empty() {
        return out;
    }
    if enough {
        out += "<details><summary class=\"quiet\">by line</summary>";
    }
    out += "<pre class=\"diff\">";
    for hunk in hunks {
        let _ = writeln!(out, "<span class=\"h\">{}</span>", hunk.header());
        for line in &hunk.lines {
            let class = match line.tag {
                Tag::Same => "",
                Tag::Removed => "d",
                Tag::Added => "i",
            };
            if !class.is_empty() {
                let _ = write!(out, "<span class=\"{class}\">");
            }
            out += line.tag.mark();
            for (emphasised, part) in &line.parts {
                match emphasised {
                    true => {
                        let _ = write!(out, "<mark>{}</mark>", escaped(part));
                    }
                    false => out += &escaped(part),
                }
            }
            out += if class.is_empty() { "\n" } else { "</span>\n" };
            if line.no_newline {
                out += "<span class=\"quiet\">\\ No newline at end of file</span>\n";
            }
        }
    }
    out += "</pre>";
    if enough {
        out += "</details>";
    }
    out
}

fn keyed(row: &Row, out: &mut String) {
    let key = escaped(&row.key);
    let _ = match (&row.before, &row.after) {
        (Some(before), Some(after)) if before == after => {
            write!(out, "<tr class=\"quiet\"><td><td>{key}<td>{}", escaped(after))
        }
        (Some(before), Some(after)) => write!(
            out,
            "<tr><td class=\"c\">~<td>{key}<td><del>{}</del> → <ins>{}</ins>",
            escaped(before),
            escaped(after)
        ),
        (None, Some(after)) => write!(out, "<tr><td class=\"i\">+<td>{key}<td><ins>{}</ins>", escaped(after)),
        (Some(before), None) => write!(out, "<tr><td class=\"d\">-<td>{key}<td><del>{}</del>", escaped(before)),
        (None, None) => Ok(()),
    };
}
