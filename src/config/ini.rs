//! The text of `ansible.cfg`, as Python's `configparser` reads it with Ansible's options.

use super::ConfigError;
use std::path::{Path, PathBuf};

/// One setting as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `defaults`
    pub section: String,
    /// In small letters: `forks`
    pub key: String,
    /// Its text; lines that are set in go on with it.
    pub value: String,
    /// The line it begins on.
    pub line: usize,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ini {
    /// The file.
    pub path: PathBuf,
    /// Its settings, in order.
    pub entries: Vec<Entry>,
}

impl Ini {
    /// Reads a text. `#` and `;` begin a line that is a comment, and a `;` behind a blank one within a line.
    pub fn parse(path: &Path, text: &str) -> Result<Ini, ConfigError> {
        let wrong = |line: usize, what: String| ConfigError::Line { path: path.to_path_buf(), line, what };
        let mut entries: Vec<Entry> = Vec::new();
        let mut section: Option<String> = None;
        let mut open = false; // whether a line that is set in goes on with a value
        for (number, raw) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            let line = without_comment(raw);
            let trimmed = line.trim();
            if trimmed.is_empty() {
                continue;
            }
            let indented = raw.starts_with([' ', '\t']);
            if let Some(last) = entries.last_mut().filter(|_| indented && open) {
                last.value.push('\n');
                last.value.push_str(trimmed);
                continue;
            }
            if let Some(rest) = trimmed.strip_prefix('[') {
                let Some((name, _)) = rest.rsplit_once(']') else {
                    return Err(wrong(number, format!("a section ends in `]`: `{trimmed}`")));
                };
                section = Some(name.to_string());
                open = false;
                continue;
            }
            let Some(section) = &section else {
                return Err(wrong(number, format!("`{trimmed}` stands before the first section, such as [defaults]")));
            };
            let Some((key, value)) = trimmed.split_once(['=', ':']) else {
                return Err(wrong(number, format!("`{trimmed}` is neither `name = value`, a [section] nor a comment")));
            };
            entries.push(Entry {
                section: section.clone(),
                key: key.trim().to_lowercase(),
                value: value.trim().to_string(),
                line: number,
            });
            open = true;
        }
        Ok(Ini { path: path.to_path_buf(), entries })
    }

    /// The last entry of this name.
    pub fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.section == section && entry.key == key)
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let starts = line.match_indices(';').map(|(at, _)| at);
    let comment = starts.into_iter().find(|at| line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t'])));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}
