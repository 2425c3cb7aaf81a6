//! What is wrong, where, and what to do about it, as the user sees it.

use super::excerpt::Shown;
use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::file::{Span, floor_boundary};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs.
    Error,
    /// It runs, perhaps not as meant.
    Warning,
    /// For information.
    Note,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diag {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Places with a short text each; the first is where it is wrong, others explain.
    pub labels: Vec<(Span, String)>,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
    /// The rule of `deploy lint` that it breaks, where it is one of several that its file can break.
    pub code: Option<&'static str>,
}

impl Diag {
    fn new(severity: Severity, message: impl Into<String>) -> Self {
        Diag { severity, message: message.into(), labels: Vec::new(), notes: Vec::new(), help: Vec::new(), code: None }
    }

    /// An error.
    pub fn error(message: impl Into<String>) -> Self {
        Diag::new(Severity::Error, message)
    }

    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Diag::new(Severity::Warning, message)
    }

    /// Adds a place.
    pub fn at(self, span: &Span) -> Self {
        self.label(span, "")
    }

    /// Adds a place with a text.
    pub fn label(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push((span.clone(), text.into()));
        self
    }

    /// Names the rule of `deploy lint` that it breaks.
    pub fn coded(mut self, rule: &'static str) -> Self {
        self.code = Some(rule);
        self
    }

    /// Information.
    pub fn note(message: impl Into<String>) -> Self {
        Diag::new(Severity::Note, message)
    }

    /// Adds a fact.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a remedy.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds "did you mean", if there is something to mean.
    pub fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.with_help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// The main place.
    pub fn span(&self) -> Option<&Span> {
        self.labels.first().map(|(span, _)| span)
    }

    /// Whether it stops the run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// One line: `site.yml:3:5: message`.
    pub fn one_line(&self) -> String {
        match self.span() {
            Some(span) if !span.is_generated() => format!("{span}: {}", self.message),
            _ => self.message.clone(),
        }
    }

    /// As rustc prints: the message, the lines it is about with carets, notes and help.
    pub fn render(&self, color: bool) -> String {
        self.draw(Group::with_title(self.level().primary_title(self.message.as_str())), color)
    }

    /// The same with the name of a rule behind the severity: `warning[octal-mode]: …`
    pub fn render_as(&self, rule: &str, color: bool) -> String {
        self.draw(Group::with_title(self.level().primary_title(self.message.as_str()).id(rule)), color)
    }

    fn level(&self) -> Level<'static> {
        match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        }
    }

    /// The places, notes and help alone, for where the message was said already.
    pub fn render_places(&self, color: bool) -> String {
        match self.labels.iter().all(|(span, _)| span.is_generated()) && self.notes.is_empty() && self.help.is_empty() {
            true => String::new(),
            false => self.draw(Group::with_level(Level::ERROR), color),
        }
    }

    fn draw<'a>(&'a self, mut group: Group<'a>, color: bool) -> String {
        for (at, (span, text)) in self.labels.iter().enumerate() {
            if span.is_generated() {
                if !text.is_empty() {
                    group = group.element(Level::NOTE.message(text.as_str()));
                }
                continue;
            }
            let path = span.file.path.display().to_string();
            if span.file.sensitive || span.file.text.is_empty() {
                // Never quote a line that came out of a vault.
                let (line, column) = span.line_col();
                group = group.element(Origin::path(path).line(line).char_column(column));
                if !text.is_empty() {
                    group = group.element(Level::NOTE.message(text.as_str()));
                }
                continue;
            }
            // Labels of one file share a snippet; the first occurrence of the file draws them all.
            if self.labels.iter().take(at).any(|(other, _)| other.file.path == span.file.path) {
                continue;
            }
            let (window, first_line, shift) = window(&self.labels, span);
            let shown = Shown::of(window);
            let mut snippet = Snippet::source(shown.text.clone()).path(path).line_start(first_line);
            for (n, (other, text)) in self.labels.iter().enumerate() {
                if other.file.path != span.file.path {
                    continue;
                }
                let kind = if n == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let range = visible_range(&span.file.text, other);
                let range = shown.at(range.start - shift)..shown.at(range.end - shift);
                let mut annotation = kind.span(range);
                if !text.is_empty() {
                    annotation = annotation.label(text.as_str());
                }
                snippet = snippet.annotation(annotation);
            }
            group = group.element(snippet);
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        // Nothing is cut off: what is masked afterwards is known by its whole.
        let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(LONGEST_LINE);
        renderer.render(&[group])
    }
}

/// Columns that a line may have, more than any has.
const LONGEST_LINE: usize = 1 << 20;

/// The lines of a file from the first label to the last, so that a large file is not searched for each message:
/// the text, the number of its first line, and where it begins.
fn window<'a>(labels: &[(Span, String)], of: &'a Span) -> (&'a str, usize, usize) {
    let text = &of.file.text;
    let ranges =
        labels.iter().filter(|(span, _)| span.file.path == of.file.path).map(|(span, _)| visible_range(text, span));
    let (first, last) =
        ranges.fold((text.len(), 0), |(first, last), range| (first.min(range.start), last.max(range.end)));
    let start = text.get(..first).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text.get(last..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| last + at);
    (text.get(start..end).unwrap_or_default(), of.file.line_col(start).0, start)
}

/// The part of a span on its first line: a whole task underlined says less than its first word.
fn visible_range(text: &str, span: &Span) -> std::ops::Range<usize> {
    let start = floor_boundary(text, span.start);
    let end = floor_boundary(text, span.end).max(start);
    let first_line = text.get(start..end).and_then(|part| part.split(['\n', '\r']).next());
    start..start + first_line.map_or(0, str::len)
}

/// For programs: the first place by itself, the others under `related`.
impl Serialize for Diag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("severity", severity)?;
        map.serialize_entry("message", &self.message)?;
        let mut places = self.labels.iter().filter(|(span, _)| !span.is_generated()).map(Place::of);
        if let Some(first) = places.next() {
            map.serialize_entry("file", &first.file)?;
            map.serialize_entry("line", &first.line)?;
            map.serialize_entry("column", &first.column)?;
        }
        let related: Vec<Place<'_>> = places.collect();
        if !related.is_empty() {
            map.serialize_entry("related", &related)?;
        }
        if !self.notes.is_empty() {
            map.serialize_entry("notes", &self.notes)?;
        }
        if !self.help.is_empty() {
            map.serialize_entry("help", &self.help)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Place<'a> {
    file: String,
    line: usize,
    column: usize,
    text: &'a str,
}

impl Place<'_> {
    fn of((span, text): &(Span, String)) -> Place<'_> {
        let (line, column) = span.line_col();
        Place { file: span.file.path.display().to_string(), line, column, text }
    }
}

impl fmt::Display for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line())
    }
}

impl std::error::Error for Diag {}

/// Everything that is wrong in a tree.
#[derive(Clone, Debug, Default)]
pub struct Diags {
    items: Vec<Diag>,
}

impl Diags {
    /// Nothing is wrong yet.
    pub fn new() -> Self {
        Diags::default()
    }

    /// Adds one, unless the very same is there: a role that is used twice is wrong once. Nobody reads a thousand
    /// of them, so what comes after is dropped.
    pub fn push(&mut self, diag: Diag) {
        let full = self.items.len() >= 1000 && (!diag.is_error() || self.has_errors());
        if !full && !self.items.contains(&diag) {
            self.items.push(diag);
        }
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Diag>) {
        for diag in other {
            self.push(diag);
        }
    }

    /// Whether anything stops the run.
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(Diag::is_error)
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// In the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Diag> {
        self.items.iter()
    }

    /// Errors only.
    pub fn errors(&self) -> impl Iterator<Item = &Diag> {
        self.items.iter().filter(|diag| diag.is_error())
    }

    /// Warnings only.
    pub fn warnings(&self) -> impl Iterator<Item = &Diag> {
        self.items.iter().filter(|diag| diag.severity == Severity::Warning)
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<Diag> {
        std::mem::take(&mut self.items)
    }

    /// All of them, rendered, with a blank line between.
    pub fn render(&self, color: bool) -> String {
        self.items.iter().map(|diag| diag.render(color)).collect::<Vec<_>>().join("\n\n")
    }
}

impl IntoIterator for Diags {
    type Item = Diag;
    type IntoIter = std::vec::IntoIter<Diag>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}
