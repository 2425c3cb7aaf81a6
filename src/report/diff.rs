//! Changes as a person reads them: unified diffs with the changed words highlighted, values as `before → after`.

use super::terminal::Style;
use crate::machine::{Change, ChangeKind, Domain, Facet};
use similar::{ChangeTag, TextDiff};
use std::fmt::Write;

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// The diffs of a task's changes. What a new file or directory is born with (owner, group, mode) stands in one line.
pub fn render_all(changes: &[Change], style: Style) -> String {
    let mut out = String::new();
    let mut index = 0;
    while let Some(change) = changes.get(index) {
        let mut born = Vec::new();
        let mut next = index + 1;
        while let Some((aspect, value)) = changes.get(next).and_then(|other| birth(change, other)) {
            born.push(format!("{aspect} {value}"));
            next += 1;
        }
        let mut text = render(change, style, true);
        if !born.is_empty() {
            let end = text.find('\n').unwrap_or(text.len());
            text.insert_str(end, &style.dim(&format!("  {}", born.join(", "))));
        }
        out += &text;
        index = next;
    }
    out
}

/// The changes in one line each.
pub fn render_short(changes: &[Change], style: Style) -> String {
    changes.iter().map(|change| render(change, style, false)).collect()
}

/// What `other` says of the birth of the subject of `first`, if that was born.
fn birth<'a>(first: &Change, other: &'a Change) -> Option<(&'a str, String)> {
    let is_born = matches!(&first.kind, ChangeKind::Set { before: Facet::Absent, .. });
    match &other.kind {
        ChangeKind::Set { aspect, before: Facet::Absent, after: after @ Facet::Value(_) }
            if is_born && first.subject == other.subject && matches!(aspect.as_str(), "owner" | "group" | "mode") =>
        {
            Some((aspect, short(after)))
        }
        _ => None,
    }
}

/// The diff of one change, indented by two, ending in a newline; `long` shows contents, otherwise one line.
pub fn render(change: &Change, style: Style, long: bool) -> String {
    let subject = format!("{} {}", domain(change.subject.domain), change.subject.name);
    let note = if change.inferred { style.dim("  (inferred)") } else { String::new() };
    let mut out = String::new();
    match &change.kind {
        ChangeKind::Effect { what } => {
            let _ = writeln!(out, "  {} {subject}: {what}{note}", style.yellow("~"));
        }
        ChangeKind::Opaque => {
            let _ =
                writeln!(out, "  {} {subject}: may have changed in ways that are not seen{note}", style.yellow("?"));
        }
        ChangeKind::Set {
            aspect,
            before: before @ (Facet::Text(_) | Facet::Absent),
            after: after @ (Facet::Text(_) | Facet::Absent),
        } if long && (matches!(before, Facet::Text(_)) || matches!(after, Facet::Text(_))) => {
            let _ = writeln!(out, "  {} {subject} ({aspect}){note}", sign(before, after, style));
            out.push_str(&unified(text(before), text(after), style));
        }
        ChangeKind::Set { aspect, before, after } => {
            let _ = writeln!(
                out,
                "  {} {subject}: {aspect} {} → {}{note}",
                sign(before, after, style),
                style.red(&short(before)),
                style.green(&short(after))
            );
        }
    }
    out
}

fn text(facet: &Facet) -> &str {
    match facet {
        Facet::Text(text) => text,
        _ => "",
    }
}

fn sign(before: &Facet, after: &Facet, style: Style) -> String {
    match (before, after) {
        (Facet::Absent, _) => style.green("+"),
        (_, Facet::Absent) => style.red("-"),
        _ => style.yellow("~"),
    }
}

fn domain(domain: Domain) -> &'static str {
    match domain {
        Domain::File => "file",
        Domain::Package => "package",
        Domain::Unit => "unit",
        Domain::User => "user",
        Domain::Group => "group",
        Domain::Sysctl => "sysctl",
        Domain::Hostname => "hostname",
        Domain::Cron => "cron",
        Domain::Database => "database",
        Domain::DatabaseAccount => "database account",
        Domain::DatabaseVariable => "database variable",
        Domain::Firewall => "firewall",
        Domain::Command => "command",
        Domain::Pki => "pki",
        Domain::Cluster => "cluster",
    }
}

/// A facet in a few words.
fn short(facet: &Facet) -> String {
    match facet {
        Facet::Absent => "absent".into(),
        Facet::Text(text) => match text.lines().count() {
            0 => "empty".into(),
            1 if text.len() <= 60 => format!("{:?}", text.trim_end()),
            lines => format!("{lines} lines"),
        },
        Facet::Bytes { size, sha256 } => format!("{size} bytes, sha256 {}", sha256.get(..12).unwrap_or(sha256)),
        Facet::Value(serde_json::Value::String(text)) => text.clone(),
        Facet::Value(value) => value.to_string(),
        Facet::Secret { fingerprint } => format!("(secret, fingerprint {fingerprint})"),
        Facet::AtApply(what) => format!("(at apply: {what})"),
        Facet::Unknown => "(unknown)".into(),
    }
}

/// A unified diff, indented by four, with the words that changed highlighted.
fn unified(before: &str, after: &str, style: Style) -> String {
    let diff = TextDiff::configure().timeout(std::time::Duration::from_secs(2)).diff_lines(before, after);
    let mut out = String::new();
    for group in diff.grouped_ops(CONTEXT) {
        if let (Some(first), Some(last)) = (group.first(), group.last()) {
            let (old, new) =
                (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
            let header = format!("@@ -{},{} +{},{} @@", old.start + 1, old.len(), new.start + 1, new.len());
            let _ = writeln!(out, "    {}", style.cyan(&header));
        }
        for op in &group {
            for change in diff.iter_inline_changes(op) {
                let (mark, paint): (&str, fn(Style, &str) -> String) = match change.tag() {
                    ChangeTag::Delete => ("-", |s, t| s.red(t)),
                    ChangeTag::Insert => ("+", |s, t| s.green(t)),
                    ChangeTag::Equal => (" ", |_, t| t.to_string()),
                };
                let mut line = paint(style, mark);
                for (emphasised, part) in change.iter_strings_lossy() {
                    let part = visible(part.trim_end_matches(['\n', '\r']));
                    line += &if emphasised { style.emphasis(&paint(style, &part)) } else { paint(style, &part) };
                }
                let _ = writeln!(out, "    {line}");
                if change.missing_newline() {
                    let _ = writeln!(out, "    \\ No newline at end of file");
                }
            }
        }
    }
    out
}

/// Control characters of a host's file must not steer the user's terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Subject;

    #[test]
    fn a_text_change_is_a_unified_diff() {
        let before = "a\nb\nc\n";
        let change = Change::set(
            Subject::new(Domain::File, "/etc/x"),
            "content",
            Facet::Text(before.into()),
            Facet::Text("a\nB\x1b[31m\nc".into()),
        );
        insta::assert_snapshot!(render(&change, Style::plain(), true), @r"
          ~ file /etc/x (content)
            @@ -1,3 +1,3 @@
             a
            -b
            -c
            +B�[31m
            +c
            \ No newline at end of file
        ");
    }

    #[test]
    fn values_and_secrets_take_one_line() {
        let subject = Subject::new(Domain::File, "/etc/x");
        let mode = Change::set(subject.clone(), "mode", Facet::Value("0600".into()), Facet::Value("0644".into()));
        assert_eq!(render(&mode, Style::plain(), true), "  ~ file /etc/x: mode 0600 → 0644\n");
        let key = Change::set(subject, "content", Facet::Absent, Facet::Secret { fingerprint: "ab12".into() });
        assert_eq!(
            render(&key, Style::plain(), true),
            "  + file /etc/x: content absent → (secret, fingerprint ab12)\n"
        );
    }
}
