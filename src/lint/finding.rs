//! What was found, each with its rule; suppressions by `# noqa`.

use super::rules::{self, Rule};
use crate::source::{Diag, Severity, Span};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A breach of a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What, where, and what to do.
    pub diag: Diag,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.diag.severity
    }

    /// The remedy: the breach's own, otherwise the rule's.
    pub fn remedy(&self) -> String {
        if self.diag.help.is_empty() { self.rule.remedy.to_owned() } else { self.diag.help.join("; ") }
    }
}

/// All that was found in a tree.
#[derive(Default)]
pub struct Findings {
    items: Vec<Finding>,
    seen: HashSet<(PathBuf, usize, String)>,
    canonical: HashMap<PathBuf, PathBuf>,
    /// Places of tasks: a `noqa` at the first line of one is for the whole of it.
    tasks: HashMap<PathBuf, Vec<(usize, usize)>>,
    /// Values that must not be shown, although they stand in a source.
    pub secrets: Vec<String>,
}

impl Findings {
    /// Adds a breach of a rule, once.
    pub fn add(&mut self, rule: &'static Rule, mut diag: Diag) {
        let place = diag.span().filter(|span| !span.is_generated()).cloned();
        let key = match &place {
            Some(span) => (self.canonical(&span.file.path), span.start, diag.message.clone()),
            None => (PathBuf::new(), 0, diag.message.clone()),
        };
        if !self.seen.insert(key) {
            return;
        }
        diag.code = Some(rule.id);
        self.items.push(Finding { rule, diag });
    }

    /// Adds what a loader said; what names no rule of its own breaks `otherwise`.
    pub fn add_diag(&mut self, diag: Diag, otherwise: &'static Rule) {
        let rule = diag.code.and_then(rules::find).unwrap_or(otherwise);
        let mut diag = diag;
        // What could not be looked at is no mistake.
        if rule.severity == Severity::Note {
            diag.severity = Severity::Note;
        }
        self.add(rule, diag);
    }

    /// A task stands here.
    pub fn task_at(&mut self, span: &Span) {
        let path = self.canonical(&span.file.path);
        self.tasks.entry(path).or_default().push((span.start, span.end));
    }

    /// Sorted by place, without what is suppressed or not asked for.
    pub fn finish(mut self, wanted: impl Fn(&Rule) -> bool) -> (Vec<Finding>, Vec<String>) {
        let items = std::mem::take(&mut self.items);
        let mut kept: Vec<Finding> =
            items.into_iter().filter(|finding| wanted(finding.rule) && !self.suppressed(finding)).collect();
        kept.sort_by_cached_key(|finding| {
            let place = finding.diag.span().filter(|span| !span.is_generated());
            place.map(|span| (span.file.path.clone(), span.start)).unwrap_or_default()
        });
        (kept, self.secrets)
    }

    fn canonical(&mut self, path: &Path) -> PathBuf {
        if let Some(known) = self.canonical.get(path) {
            return known.clone();
        }
        let canonical = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.canonical.insert(path.to_owned(), canonical.clone());
        canonical
    }

    fn suppressed(&mut self, finding: &Finding) -> bool {
        let Some(span) = finding.diag.span().filter(|span| !span.is_generated()) else { return false };
        let text = &span.file.text;
        if quiet(line_at(text, span.start), finding.rule) {
            return true;
        }
        let path = self.canonical(&span.file.path);
        let around = |(start, end): &&(usize, usize)| *start <= span.start && span.start < *end;
        let tasks = self.tasks.get(&path).map(Vec::as_slice).unwrap_or_default();
        tasks.iter().filter(around).any(|(start, _)| quiet(line_at(text, *start), finding.rule))
    }
}

fn line_at(text: &str, at: usize) -> &str {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

/// Whether a line says `# noqa` of all rules, or `# noqa: a, b` of this one.
fn quiet(line: &str, rule: &Rule) -> bool {
    let Some((before, after)) = line.rsplit_once("noqa") else { return false };
    if !before.trim_end().ends_with('#') {
        return false;
    }
    let after = after.trim_end_matches("#}").trim_start_matches(':').trim();
    let mut names = after.split([',', ' ']).filter(|name| !name.is_empty()).peekable();
    names.peek().is_none() || names.any(|name| name == rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noqa_is_for_the_rules_that_it_names() {
        let rule = &rules::TRUTHY;
        assert!(quiet("a: yes # noqa", rule));
        assert!(quiet("a: yes # noqa: truthy", rule));
        assert!(quiet("a: yes  #noqa octal-mode, truthy", rule));
        assert!(quiet("{# noqa: truthy #}", rule));
        assert!(!quiet("a: yes # noqa: octal-mode", rule));
        assert!(!quiet("a: noqa", rule));
        assert!(!quiet("a: yes", rule));
    }
}
