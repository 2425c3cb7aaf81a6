//! A source file's text, and places in it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::diag::Diag;

/// A file that was read, or a text that stands for one (`<extra vars>`).
pub struct SourceFile {
    /// The path as the user named it, or a name in angle brackets.
    pub path: PathBuf,
    /// The whole text, without a byte order mark.
    pub text: Arc<str>,
    /// The text was decrypted: it must not be quoted in a message.
    pub sensitive: bool,
    line_starts: OnceLock<Vec<usize>>,
}

impl SourceFile {
    /// A file of this name with this text.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Arc<Self> {
        let text: Arc<str> = text.into();
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => Arc::from(rest),
            None => text,
        };
        Arc::new(SourceFile { path: path.into(), text, sensitive: false, line_starts: OnceLock::new() })
    }

    /// As [`SourceFile::new`], for a text that came out of a vault.
    pub fn new_sensitive(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Arc<Self> {
        let text: Arc<str> = text.into();
        Arc::new(SourceFile { path: path.into(), text, sensitive: true, line_starts: OnceLock::new() })
    }

    /// Reads a file. What stops it is a diagnostic that names the path.
    pub fn read(path: &Path) -> Result<Arc<Self>, Diag> {
        let bytes = std::fs::read(path).map_err(|error| {
            Diag::error(format!("cannot read {}: {}", path.display(), io_reason(&error))).coded("missing-file")
        })?;
        Self::from_bytes(path, bytes)
    }

    /// A file of this name with these bytes, which must be UTF-8.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Arc<Self>, Diag> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(
                Diag::error(format!("{} is UTF-16, not UTF-8", path.display())).with_help("save the file as UTF-8")
            );
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let bytes = error.into_bytes();
                let before = bytes.get(..at).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
                let byte = bytes.get(at).copied().unwrap_or_default();
                Err(Diag::error(format!("{}:{line}:{column}: byte 0x{byte:02x} is not UTF-8", path.display()))
                    .with_help("save the file as UTF-8"))
            }
        }
    }

    /// Line and column of a byte offset, both from 1, the column in characters.
    pub fn line_col(&self, offset: usize) -> (usize, usize) {
        let starts = self
            .line_starts
            .get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let offset = floor_boundary(&self.text, offset);
        let line = starts.partition_point(|start| *start <= offset);
        let start = starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        (line.max(1), column + 1)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({})", self.path.display())
    }
}

/// A range of bytes of a source file. Cheap to clone.
#[derive(Clone)]
pub struct Span {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The range `start..end` of `file`.
    pub fn new(file: &Arc<SourceFile>, start: usize, end: usize) -> Self {
        Span { file: file.clone(), start, end: end.max(start) }
    }

    /// The place of something that no file holds.
    pub fn generated() -> Self {
        static FILE: OnceLock<Arc<SourceFile>> = OnceLock::new();
        Span { file: FILE.get_or_init(|| SourceFile::new("<generated>", "")).clone(), start: 0, end: 0 }
    }

    /// `bytes` bytes from a line and column on, both from 1; nothing where the file is shorter.
    pub fn at_line(file: &Arc<SourceFile>, line: usize, column: usize, bytes: usize) -> Option<Self> {
        let before: usize = file.text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
        let rest = file.text.get(before..).filter(|rest| !rest.is_empty() || line == 1)?;
        let wanted = rest.split(['\n', '\r']).next().unwrap_or_default();
        let column = column.checked_sub(1)?;
        let at = wanted.char_indices().nth(column).map_or(wanted.len(), |(at, _)| at);
        let end = floor_boundary(&file.text, before + at + bytes);
        Some(Span::new(file, before + at, end))
    }

    /// The beginning of a file.
    pub fn start_of(file: &Arc<SourceFile>) -> Self {
        Span { file: file.clone(), start: 0, end: 0 }
    }

    /// Whether this is [`Span::generated`].
    pub fn is_generated(&self) -> bool {
        self.file.path.as_os_str() == "<generated>"
    }

    /// Line and column, both from 1.
    pub fn line_col(&self) -> (usize, usize) {
        self.file.line_col(self.start)
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line_col().0
    }

    /// The text of the range.
    pub fn text(&self) -> &str {
        let start = floor_boundary(&self.file.text, self.start);
        let end = floor_boundary(&self.file.text, self.end);
        self.file.text.get(start..end.max(start)).unwrap_or_default()
    }

    /// A part of this range, by offsets from its start.
    pub fn part(&self, from: usize, to: usize) -> Self {
        let start = floor_boundary(&self.file.text, (self.start + from).min(self.end));
        let end = floor_boundary(&self.file.text, (self.start + to).min(self.end));
        Span::new(&self.file, start, end)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_col();
        write!(f, "{}:{line}:{column}", self.file.path.display())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start && self.end == other.end && self.file.path == other.file.path
    }
}
impl Eq for Span {}
impl Hash for Span {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.start, self.end).hash(state);
        self.file.path.hash(state);
    }
}

/// The largest character boundary that is at most `offset`.
pub(super) fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// An I/O error as a sentence part, without Rust's `(os error 2)`.
pub(crate) fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}
