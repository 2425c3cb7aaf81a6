//! What is usually behind a text that is no YAML: missing quotes, tabs, indentation.

use std::sync::Arc;

use super::diag::Diag;
use super::file::{SourceFile, Span, floor_boundary};
use super::loader::MAX_DEPTH;
use super::node::Node;

/// A list or dictionary as a key is nearly always a template without quotes.
pub(super) fn bad_key(file: &Arc<SourceFile>, key: &Node) -> Diag {
    let start = key.span.start;
    let before = file.text.get(..start).unwrap_or_default();
    let outer = before.trim_end_matches([' ', '\n']);
    if key.as_map().is_some() && outer.ends_with('{') {
        let open = outer.len() - 1;
        let rest = file.text.get(open..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let value = line.find(" #").map_or(line, |at| line.get(..at).unwrap_or(line)).trim_end();
        let quote = if value.contains('"') { '\'' } else { '"' };
        let diag = Diag::error("a template that begins a value must be in quotes").at(&Span::new(
            file,
            open,
            open + value.len(),
        ));
        return match value.contains(quote) {
            true => diag.with_help("quote the whole value"),
            false => diag.with_help(format!("quote it: {quote}{value}{quote}")),
        };
    }
    Diag::error(format!("a key cannot be {}", key.kind())).at(&key.span)
}

/// The scanner's message, and what is usually behind it.
pub(super) fn explain_scan_error(file: &Arc<SourceFile>, offset: usize, info: &str) -> Diag {
    let text = &file.text;
    let offset = floor_boundary(text, offset);
    // Errors are often noticed at the end of a line or behind it: point to a character that can be seen.
    let before = text.get(..offset).unwrap_or_default();
    let at_nothing = text.get(offset..).is_none_or(|rest| rest.trim_start_matches(['\n', '\r']).is_empty());
    let place = if at_nothing { before.trim_end().len().saturating_sub(1) } else { offset };
    let place = floor_boundary(text, place);
    // Of a tab the scanner says where the value before it began, or what stands behind it.
    let behind_colon = info.contains("valid YAML whitespace") && before.ends_with('\t');
    let place = if behind_colon { before.trim_end_matches('\t').len() } else { place };
    let place = if info.contains("tab") { tab_from(text, place).unwrap_or(place) } else { place };
    let width = text.get(place..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let what = match info {
        "recursion limit exceeded" => format!("nested deeper than {MAX_DEPTH} levels"),
        _ => format!("this is not YAML: {info}"),
    };
    let mut diag = Diag::error(what).at(&Span::new(file, place, place + width));
    if behind_colon {
        return diag.with_help("put a blank behind the colon: YAML takes no tabs here");
    }
    // The line of the place, and the one before it, where quotes and braces went wrong.
    let line_start = text.get(..place).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
    let previous_start = text.get(..line_start.saturating_sub(1)).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let lines = [line, text.get(previous_start..line_start).unwrap_or_default().trim_end()];
    let indent_has_tab = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    if lines.iter().any(|line| indent_has_tab(line)) {
        diag = diag.with_help("indent with spaces: YAML takes no tabs");
        return diag;
    }
    for line in lines {
        let value = value_of(line);
        if value.starts_with("{{") || value.starts_with("{%") {
            return diag.with_help("a value that begins with a template must be in quotes, all of it: \"{{ … }} …\"");
        }
        if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let rest = value.get(1..).unwrap_or_default();
            match rest.find(quote) {
                Some(end) => {
                    let tail = rest.get(end + 1..).unwrap_or_default().trim_start();
                    if !tail.is_empty() && !tail.starts_with(['#', ',', ':', ']', '}']) {
                        return diag.with_help(
                            "a value that begins with a quote must end with it: put the whole value in quotes",
                        );
                    }
                }
                None => {
                    return diag.with_help(format!("the quote `{quote}` is not closed on this line"));
                }
            }
        } else if value.contains(": ") && info.contains("mapping values") {
            return diag.with_help("a value that contains `: ` must be in quotes");
        } else if value.starts_with(['@', '`', '%']) {
            return diag.with_help(format!(
                "a value cannot begin with `{}`: put it in quotes",
                value.chars().next().unwrap_or_default()
            ));
        }
    }
    if info.contains("mapping values") || info.contains("simple key") {
        diag = diag.with_help("check the indentation of this line and of the one before it");
    }
    diag
}

/// The first tab that indents a line, from the line of `place` on.
fn tab_from(text: &str, place: usize) -> Option<usize> {
    let start = text.get(..place)?.rfind('\n').map_or(0, |at| at + 1);
    let mut at = start;
    for line in text.get(start..)?.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..indent).and_then(|indent| indent.find('\t')) {
            return Some(at + tab);
        }
        at += line.len();
    }
    None
}

/// What follows the key or the dash of a line.
fn value_of(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("- ").map_or(line, str::trim_start);
    match line.find(": ") {
        Some(at) if !line.starts_with(['"', '\'', '{']) => line.get(at + 2..).unwrap_or_default().trim_start(),
        _ => line,
    }
}
