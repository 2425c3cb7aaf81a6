//! Python's regular expressions, for arguments that Ansible documents as such (`regexp`, `insertafter`, `contains` …).
//!
//! Roles use look-around, back-references and `$` before a last newline, and their meaning is Python's `re`. A library
//! with those (fancy-regex) makes the compressed agent a third larger even without its Unicode tables, which it then
//! does not work without; the small one (regex-lite) has none of them. Hence this backtracking matcher: patterns
//! are compiled to a small program, and a limit of steps takes the place of Python's endless patience.

mod parse;
mod program;
#[cfg(test)]
mod tests;

use parse::Parsed;
use program::Program;

/// What a pattern means beyond its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `re.IGNORECASE`
    pub ignore_case: bool,
    /// `re.MULTILINE`: `^` and `$` at every line.
    pub multiline: bool,
    /// `re.DOTALL`: `.` matches a newline too.
    pub dot_all: bool,
    /// `re.VERBOSE`: blanks and comments in the pattern mean nothing.
    pub verbose: bool,
    /// `re.ASCII`, and patterns of bytes: `\w`, `\d` and `\s` are ASCII's.
    pub ascii: bool,
}

/// Why a pattern cannot be used, or took too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl PatternError {
    fn new(text: impl Into<String>) -> Self {
        PatternError(text.into())
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    program: Program,
    names: Vec<(String, usize)>,
    groups: usize,
}

/// Where a pattern matched: the start and end of each group, the whole first, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    spans: Vec<Option<(usize, usize)>>,
}

impl Match {
    /// Where the match starts.
    pub fn start(&self) -> usize {
        self.span(0).map_or(0, |s| s.0)
    }

    /// Where it ends.
    pub fn end(&self) -> usize {
        self.span(0).map_or(0, |s| s.1)
    }

    /// Where a group matched, if it took part.
    pub fn span(&self, group: usize) -> Option<(usize, usize)> {
        self.spans.get(group).copied().flatten()
    }
}

/// Text as the matcher wants it.
pub fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Bytes as characters of the same number: how patterns of bytes see them.
pub fn bytes_as_characters(bytes: &[u8]) -> Vec<char> {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// The way back from [`bytes_as_characters`].
pub fn characters_as_bytes(characters: &[char]) -> Vec<u8> {
    characters.iter().map(|c| u8::try_from(u32::from(*c)).unwrap_or(b'?')).collect()
}

impl Pattern {
    /// Compiles a pattern of text.
    pub fn new(pattern: &str, flags: Flags) -> Result<Pattern, PatternError> {
        Pattern::compile(&characters(pattern), flags).map_err(|e| PatternError(format!("`{pattern}`: {}", e.0)))
    }

    /// Compiles a pattern of bytes: it is matched against [`bytes_as_characters`].
    pub fn of_bytes(pattern: &str, flags: Flags) -> Result<Pattern, PatternError> {
        Pattern::compile(&bytes_as_characters(pattern.as_bytes()), Flags { ascii: true, ..flags })
            .map_err(|e| PatternError(format!("`{pattern}`: {}", e.0)))
    }

    fn compile(pattern: &[char], flags: Flags) -> Result<Pattern, PatternError> {
        let Parsed { node, names, groups } = parse::parse(pattern, flags)?;
        Ok(Pattern { program: Program::new(&node, groups)?, names, groups })
    }

    /// The first match at or after `from`.
    pub fn search(&self, subject: &[char], from: usize) -> Result<Option<Match>, PatternError> {
        self.program.search(subject, from, false)
    }

    /// A match that starts at the start.
    pub fn match_start(&self, subject: &[char]) -> Result<Option<Match>, PatternError> {
        self.program.match_at(subject, 0)
    }

    /// Whether it matches anywhere.
    pub fn is_match(&self, subject: &[char]) -> Result<bool, PatternError> {
        Ok(self.search(subject, 0)?.is_some())
    }

    /// The number of a group of this name.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(n, _)| n == name).map(|(_, index)| *index)
    }

    /// Every match replaced, and how many there were (`re.subn`).
    pub fn replace_all(&self, subject: &[char], template: &Template) -> Result<(Vec<char>, usize), PatternError> {
        let (mut result, mut count, mut copied, mut from, mut advance) = (Vec::new(), 0, 0, 0, false);
        while let Some(found) = self.program.search(subject, from, advance)? {
            result.extend_from_slice(subject.get(copied..found.start()).unwrap_or_default());
            template.expand(subject, &found, &mut result);
            count += 1;
            (copied, from) = (found.end(), found.end());
            advance = found.start() == found.end();
        }
        result.extend_from_slice(subject.get(copied..).unwrap_or_default());
        Ok((result, count))
    }
}

/// What takes the place of a match: text with `\1`, `\g<name>` and escapes.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<char>),
    Group(usize),
}

impl Template {
    /// Reads a template for the groups of `pattern`; its characters are text, or bytes where the pattern is of bytes.
    pub fn new(template: &[char], pattern: &Pattern) -> Result<Template, PatternError> {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut rest = template.iter().copied().peekable();
        let group = |index: usize, text: &mut Vec<char>, parts: &mut Vec<Part>| {
            if index > pattern.groups {
                return Err(PatternError::new(format!("invalid group reference {index} in the replacement")));
            }
            parts.push(Part::Text(std::mem::take(text)));
            parts.push(Part::Group(index));
            Ok(())
        };
        while let Some(c) = rest.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match rest.next() {
                None => return Err(PatternError::new("bad escape (end of replacement)")),
                Some('g') => {
                    if rest.next() != Some('<') {
                        return Err(PatternError::new("missing < after \\g in the replacement"));
                    }
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('>') => break,
                            Some(c) => name.push(c),
                            None => return Err(PatternError::new("missing > after \\g< in the replacement")),
                        }
                    }
                    let index = match name.parse() {
                        Ok(index) => index,
                        Err(_) => pattern.group(&name).ok_or_else(|| {
                            PatternError::new(format!("unknown group name `{name}` in the replacement"))
                        })?,
                    };
                    group(index, &mut text, &mut parts)?;
                }
                Some(d @ '1'..='9') => {
                    let mut digits = vec![d];
                    digits.extend(rest.next_if(char::is_ascii_digit));
                    if digits.len() == 2
                        && d <= '3'
                        && digits.iter().all(|d| ('0'..='7').contains(d))
                        && let Some(third) = rest.next_if(|c| ('0'..='7').contains(c))
                    {
                        digits.push(third);
                        text.extend(number(&digits, 8).and_then(char::from_u32));
                        continue;
                    }
                    group(number(&digits, 10).unwrap_or(u32::MAX) as usize, &mut text, &mut parts)?;
                }
                Some('0') => {
                    let mut digits = vec!['0'];
                    while let Some(d) = rest.next_if(|c| ('0'..='7').contains(c) && digits.len() < 3) {
                        digits.push(d);
                    }
                    text.extend(number(&digits, 8).and_then(char::from_u32));
                }
                Some(c) => match parse::simple_escape(c) {
                    Some(plain) => text.push(plain),
                    None if c.is_ascii_alphabetic() => {
                        return Err(PatternError::new(format!("bad escape \\{c} in the replacement")));
                    }
                    None if c == '\\' => text.push('\\'),
                    None => text.extend(['\\', c]),
                },
            }
        }
        parts.push(Part::Text(text));
        Ok(Template { parts })
    }

    /// The template with the groups of a match filled in.
    pub fn expand(&self, subject: &[char], found: &Match, result: &mut Vec<char>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => result.extend_from_slice(text),
                Part::Group(index) => {
                    if let Some((start, end)) = found.span(*index) {
                        result.extend_from_slice(subject.get(start..end).unwrap_or_default());
                    }
                }
            }
        }
    }
}

fn number(digits: &[char], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, d| sum.checked_mul(radix)?.checked_add(d.to_digit(radix)?))
}
