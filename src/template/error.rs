//! What went wrong in a template, where, and why; never with a variable's value.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::source::{Diag, SourceFile, Span};

/// What kind of error a template met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// It cannot be parsed.
    Syntax,
    /// It names a filter or test that does not exist.
    UnknownName,
    /// It used something undefined.
    Undefined,
    /// A variable refers to itself.
    Loop,
    /// It ran too long or too deep.
    Limit,
    /// Anything else that failed while it ran.
    Runtime,
}

/// An error of a template or expression.
#[derive(Debug, Clone)]
pub struct TemplateError {
    /// The kind.
    pub kind: TemplateErrorKind,
    /// What happened, without any variable's value.
    pub message: String,
    /// The place in a YAML file: of the value that was templated, or of the part of it that failed.
    pub span: Option<Span>,
    /// The template file, for a rendered file.
    pub file: Option<PathBuf>,
    line: Option<NonZeroU32>,
    column: Option<NonZeroU32>,
    /// Bytes of the template that it is about, from there on.
    length: u32,
    /// The name that is undefined.
    pub undefined: Option<Box<str>>,
    /// Why, step by step.
    pub causes: Box<[String]>,
}

impl TemplateError {
    /// An error with nothing but a message.
    pub fn new(kind: TemplateErrorKind, message: impl Into<String>) -> Self {
        TemplateError {
            kind,
            message: message.into(),
            span: None,
            file: None,
            line: None,
            column: None,
            length: 0,
            undefined: None,
            causes: Box::default(),
        }
    }

    /// A failure while running.
    pub(super) fn runtime(message: impl Into<String>) -> Self {
        TemplateError::new(TemplateErrorKind::Runtime, message)
    }

    /// Line in the template, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line.map(|n| n.get() as usize)
    }

    /// Column in the template, from 1.
    pub fn column(&self) -> Option<usize> {
        self.column.map(|n| n.get() as usize)
    }

    /// Sets the line in the template.
    pub(super) fn set_line(&mut self, line: Option<usize>) {
        self.line = line.and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new);
    }

    /// Sets the column in the template.
    pub(super) fn set_column(&mut self, column: Option<usize>) {
        self.column = column.and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new);
    }

    /// Sets how many bytes it is about.
    pub(super) fn set_length(&mut self, bytes: usize) {
        self.length = u32::try_from(bytes).unwrap_or(0);
    }

    /// Adds a reason.
    pub(super) fn because(&mut self, cause: String) {
        let mut causes = std::mem::take(&mut self.causes).into_vec();
        causes.push(cause);
        self.causes = causes.into_boxed_slice();
    }

    /// What Ansible says of it: the innermost reason alone, and no place.
    pub fn innermost(&self) -> String {
        let text = self.causes.last().unwrap_or(&self.message);
        let text = text.rsplit("; ").next().unwrap_or(text);
        let text = text.split_once(" (at ").filter(|(_, place)| place.ends_with(')')).map_or(text, |(what, _)| what);
        // `'d.x' is undefined: object of type …`
        text.split_once("' is undefined: ").map_or(text, |(_, why)| why).to_owned()
    }

    /// Adds a place unless it has one.
    pub fn at(mut self, span: &Span) -> Self {
        if self.span.is_none() && !span.is_generated() {
            self.span = Some(span.clone());
        }
        self
    }

    /// Whether it is about something undefined.
    pub fn is_undefined(&self) -> bool {
        self.kind == TemplateErrorKind::Undefined
    }

    /// The error with its line and a caret, for the user.
    pub fn into_diag(self) -> Diag {
        let in_file = self.place_in_file();
        let mut diag = Diag::error(if in_file.is_some() { self.message.clone() } else { self.headline() });
        match self.kind {
            TemplateErrorKind::UnknownName => diag = diag.coded("unknown-filter"),
            TemplateErrorKind::Syntax => diag = diag.coded("jinja-syntax"),
            _ => {}
        }
        for span in in_file.iter().chain(&self.span) {
            diag = diag.at(span);
        }
        for cause in &self.causes {
            diag = diag.with_note(cause.as_str());
        }
        diag
    }

    /// The place in a template file that can be read and quoted.
    fn place_in_file(&self) -> Option<Span> {
        let text = std::fs::read_to_string(self.file.as_ref()?).ok()?;
        if crate::vars::vault::is_encrypted(&text) {
            return None;
        }
        let path = self.file.as_ref().map(|path| path.strip_prefix(".").unwrap_or(path))?;
        let file = SourceFile::new(path, text);
        match (self.line(), self.column()) {
            (Some(line), Some(column)) => Span::at_line(&file, line, column, self.length as usize),
            (Some(line), None) => {
                let written = file.text.lines().nth(line - 1)?;
                let indent = written.chars().take_while(|c| c.is_whitespace()).count();
                Span::at_line(&file, line, indent + 1, written.trim().len())
            }
            (None, _) => None,
        }
    }

    fn headline(&self) -> String {
        match (&self.file, self.line(), self.column()) {
            (Some(file), Some(line), Some(column)) => format!("{}:{line}:{column}: {}", file.display(), self.message),
            (Some(file), Some(line), None) => format!("{}:{line}: {}", file.display(), self.message),
            (Some(file), None, _) => format!("{}: {}", file.display(), self.message),
            _ => self.message.clone(),
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        for cause in &self.causes {
            write!(f, "; {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}
