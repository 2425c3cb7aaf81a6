//! Host patterns: `galera:&dc1:!db3`, globs, `~regex`, `group[0]`, `--limit`.

use std::sync::Arc;

use indexmap::IndexSet;

use super::data::LOCALHOST;
use super::{HostName, Inventory};
use crate::source::{Diag, Diags, Span};

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Adds, keeps (`&`) or removes (`!`).
    pub kind: PatternKind,
    /// The text without its sign.
    pub text: String,
}

/// What a part does with the hosts found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatternKind {
    /// Adds hosts.
    Union,
    /// Keeps only these.
    Intersection,
    /// Removes these.
    Exclusion,
}

/// The hosts a pattern selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In inventory order of the pattern.
    pub hosts: Vec<HostName>,
}

/// Splits `a:b,c` into its parts; ranges, ports and IPv6 addresses stay whole.
pub fn split_patterns(text: &str) -> Vec<String> {
    let parts: Vec<&str> = if text.contains(',') {
        text.split(',').collect()
    } else if is_address(text.trim()) {
        vec![text]
    } else {
        let mut parts = Vec::new();
        let mut depth = 0_usize;
        let mut start = 0;
        for (at, c) in text.char_indices() {
            match c {
                // `(?:…)` of a regular expression is not the end of it.
                '[' | '(' => depth += 1,
                ']' | ')' => depth = depth.saturating_sub(1),
                ':' if depth == 0 => {
                    parts.push(text.get(start..at).unwrap_or_default());
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(text.get(start..).unwrap_or_default());
        parts
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A colon in an address separates nothing.
fn is_address(text: &str) -> bool {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    match text.rsplit_once(':') {
        Some((host, port)) => {
            !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && !host.is_empty()
                && (host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
                    || host.starts_with('[') && host.ends_with(']'))
        }
        None => false,
    }
}

impl Pattern {
    /// A part with its sign.
    pub fn parse(text: &str) -> Self {
        let (kind, rest) = match text.as_bytes().first() {
            Some(b'!') => (PatternKind::Exclusion, text.get(1..)),
            Some(b'&') => (PatternKind::Intersection, text.get(1..)),
            _ => (PatternKind::Union, None),
        };
        Pattern { kind, text: rest.unwrap_or(text).to_owned() }
    }
}

impl Inventory {
    /// The hosts of a play's `hosts:` (or of any patterns), reduced by `limit` patterns if there are any.
    ///
    /// What matches nothing is warned of, as Ansible does. `span` is where the patterns were written.
    pub fn select(&mut self, patterns: &[String], limit: &[String], span: &Span, diags: &mut Diags) -> Selection {
        let mut hosts = self.evaluate(patterns, span, diags);
        if !limit.is_empty() {
            let keep = self.evaluate(limit, &Span::generated(), diags);
            hosts.retain(|host| keep.contains(host));
        }
        Selection { hosts: hosts.into_iter().collect() }
    }

    /// The patterns of `--limit`: lists, and `@file` with a pattern on each line.
    pub fn limit_patterns(limit: &str, diags: &mut Diags) -> Vec<String> {
        let mut patterns = Vec::new();
        for part in split_patterns(limit) {
            let Some(path) = part.strip_prefix('@') else {
                patterns.push(part);
                continue;
            };
            match std::fs::read_to_string(path) {
                Ok(text) => {
                    patterns.extend(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned));
                }
                Err(error) => diags.push(Diag::error(format!(
                    "cannot read the limit file {path}: {}",
                    crate::source::io_reason(&error)
                ))),
            }
        }
        patterns
    }

    fn evaluate(&mut self, patterns: &[String], span: &Span, diags: &mut Diags) -> IndexSet<HostName> {
        let mut parts: Vec<Pattern> =
            patterns.iter().flat_map(|text| split_patterns(text)).map(|part| Pattern::parse(&part)).collect();
        // Ansible's order: everything is added first, then intersected, then removed.
        parts.sort_by_key(|part| part.kind);
        if !parts.is_empty() && parts.iter().all(|part| part.kind != PatternKind::Union) {
            parts.insert(0, Pattern { kind: PatternKind::Union, text: "all".into() });
        }
        let mut hosts: IndexSet<HostName> = IndexSet::new();
        for part in parts {
            let matched = match self.hosts.get_key_value(part.text.as_str()) {
                Some((name, _)) if !self.groups.contains_key(part.text.as_str()) || part.kind == PatternKind::Union => {
                    IndexSet::from([name.clone()])
                }
                _ => self.match_one(&part.text, span, diags),
            };
            match part.kind {
                PatternKind::Union => hosts.extend(matched),
                PatternKind::Intersection => hosts.retain(|host| matched.contains(host)),
                PatternKind::Exclusion => hosts.retain(|host| !matched.contains(host)),
            }
        }
        hosts
    }

    fn match_one(&mut self, text: &str, span: &Span, diags: &mut Diags) -> IndexSet<HostName> {
        let (expression, subscript) = split_subscript(text);
        let hosts = self.enumerate(expression, span, diags);
        let Some((start, end)) = subscript else { return hosts };
        if hosts.is_empty() {
            return hosts;
        }
        let count = hosts.len() as i64;
        let place = |at: i64| if at < 0 { at + count } else { at };
        let picked: IndexSet<HostName> = match end {
            // A range may reach beyond the end, a single index may not.
            Some(end) => {
                let end = end.unwrap_or(count - 1);
                hosts
                    .into_iter()
                    .enumerate()
                    .filter(|(at, _)| (start..=end).contains(&(*at as i64)))
                    .map(|(_, host)| host)
                    .collect()
            }
            None => {
                usize::try_from(place(start)).ok().and_then(|at| hosts.get_index(at).cloned()).into_iter().collect()
            }
        };
        if picked.is_empty() && end.is_none() {
            diags.push(Diag::error(format!("no host matches `{text}`: `{expression}` has {count}")).at(span));
        }
        picked
    }

    fn enumerate(&mut self, expression: &str, span: &Span, diags: &mut Diags) -> IndexSet<HostName> {
        let matcher = match Matcher::new(expression) {
            Ok(matcher) => matcher,
            Err(why) => {
                diags.push(Diag::error(format!("`{expression}` is no pattern: {why}")).at(span));
                return IndexSet::new();
            }
        };
        let groups: Vec<Arc<str>> = match &matcher {
            Matcher::Exact(name) => {
                self.groups.get_key_value(name.as_str()).map(|(k, _)| k.clone()).into_iter().collect()
            }
            _ => self.groups.keys().filter(|name| matcher.matches(name)).cloned().collect(),
        };
        let mut found: IndexSet<HostName> = groups.iter().flat_map(|group| self.group_hosts(group)).collect();
        if groups.is_empty() || expression.contains(['.', '?', '*', '[']) || expression.starts_with('~') {
            match &matcher {
                Matcher::Exact(name) => found.extend(self.hosts.get_key_value(name.as_str()).map(|(k, _)| k.clone())),
                _ => found.extend(self.hosts.keys().filter(|name| matcher.matches(name.as_str())).cloned()),
            }
        }
        if found.is_empty() && LOCALHOST.contains(&expression) {
            found.extend(self.ensure_localhost(expression));
        }
        if found.is_empty() && groups.is_empty() && expression != "all" {
            diags
                .push(Diag::warning(format!("Could not match supplied host pattern, ignoring: {expression}")).at(span));
        }
        found
    }
}

/// `web[0]`, `web[1:3]`, `web[-1]`, `web[2:]`: the expression, the start, and for a range its end (`None`: open).
#[allow(clippy::type_complexity)]
fn split_subscript(text: &str) -> (&str, Option<(i64, Option<Option<i64>>)>) {
    let plain = (text, None);
    if text.starts_with('~') {
        return plain;
    }
    let Some((expression, inside)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) else {
        return plain;
    };
    if expression.is_empty() {
        return plain;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let single = inside.strip_prefix('-').unwrap_or(inside);
    if digits(single) {
        return match inside.parse() {
            Ok(at) => (expression, Some((at, None))),
            Err(_) => plain,
        };
    }
    match inside.split_once([':', '-']) {
        Some((start, end)) if digits(start) && (end.is_empty() || digits(end)) => match start.parse() {
            Ok(start) => (expression, Some((start, Some(end.parse().ok())))),
            Err(_) => plain,
        },
        _ => plain,
    }
}

enum Matcher {
    Exact(String),
    Glob(String),
    Regex(fancy_regex::Regex),
}

impl Matcher {
    fn new(expression: &str) -> Result<Self, String> {
        if let Some(regex) = expression.strip_prefix('~') {
            // Python's `match` begins at the start of the name and need not reach its end.
            let anchored = format!("^(?:{regex})");
            return fancy_regex::Regex::new(&anchored).map(Matcher::Regex).map_err(|error| error.to_string());
        }
        Ok(if expression.contains(['*', '?', '[']) {
            Matcher::Glob(expression.to_owned())
        } else {
            Matcher::Exact(expression.to_owned())
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Matcher::Exact(exact) => exact == name,
            Matcher::Glob(glob) => fnmatch(glob, name),
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// Python's `fnmatch`: `*`, `?`, `[a-z]`, `[!x]`.
pub(super) fn fnmatch(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match class(&pattern, p, *c) {
                Some((true, next)) => Some(next),
                Some((false, _)) => None,
                None => (*c == '[').then_some(p + 1),
            },
            Some(literal) => (literal == c).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((star_p, star_n))) => {
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// Whether `c` is in the class that opens at `at`, and where the class ends. `None`: it never closes.
fn class(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut from = at + 1;
    let negated = pattern.get(from) == Some(&'!');
    from += usize::from(negated);
    let mut end = from;
    // A bracket right at the start belongs to the class.
    if pattern.get(end) == Some(&']') {
        end += 1;
    }
    while *pattern.get(end)? != ']' {
        end += 1;
    }
    let members = pattern.get(from..end)?;
    let mut found = false;
    let mut i = 0;
    while let Some(low) = members.get(i) {
        match (members.get(i + 1), members.get(i + 2)) {
            (Some('-'), Some(high)) => {
                found |= (*low..=*high).contains(&c);
                i += 3;
            }
            _ => {
                found |= *low == c;
                i += 1;
            }
        }
    }
    Some((found != negated, end + 1))
}
