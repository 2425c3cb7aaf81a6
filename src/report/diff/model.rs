//! Changes as they are read: the one form that terminals, pages and tickets are written from.
//!
//! Secrets are masked in each text before it is compared: behind that, marks within lines would take them apart.

use super::certificates::{self, fold};
use super::keys::{self, Row};
use super::text::{Hunk, hunks, visible};
use crate::machine::{Change, ChangeKind, Domain, Facet};
use crate::report::Mask;
use serde_json::Value;

/// What happened to a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// In one sign.
    pub sign: Sign,
    /// `file`, `database variable`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// It was not observed.
    pub inferred: bool,
    /// What it was born with: `owner root`, `mode 0644`.
    pub born: Vec<String>,
    /// What.
    pub what: What,
}

/// A change in one sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Something is new.
    Added,
    /// Something is gone.
    Removed,
    /// Something is different.
    Changed,
    /// Nobody sees.
    Unseen,
}

impl Sign {
    /// The sign itself.
    pub fn mark(self) -> &'static str {
        match self {
            Sign::Added => "+",
            Sign::Removed => "-",
            Sign::Changed => "~",
            Sign::Unseen => "?",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A sentence.
    Sentence(String),
    /// A value, from and to, each in a few words.
    Value {
        /// `mode`, `version`, …
        aspect: String,
        /// Before.
        before: String,
        /// After.
        after: String,
    },
    /// Contents: by key, by line, or both.
    Contents {
        /// `content`, …
        aspect: String,
        /// By key.
        rows: Vec<Row>,
        /// The lines tell nothing beyond the rows.
        enough: bool,
        /// By line.
        hunks: Vec<Hunk>,
    },
}

/// The changes of a task, with `context` lines around what changed in texts; not `long` means each in a line. What a new
/// file or directory is born with (owner, group, mode) stands beside it.
pub fn deltas(changes: &[Change], mask: &Mask, context: usize, long: bool) -> Vec<Delta> {
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(change) = changes.get(index) {
        let mut delta = delta(change, mask, context, long);
        index += 1;
        while let Some((aspect, value)) = changes.get(index).filter(|_| long).and_then(|other| birth(change, other)) {
            delta.born.push(format!("{aspect} {}", visible(&mask(&value))));
            index += 1;
        }
        found.push(delta);
    }
    found
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

fn delta(change: &Change, mask: &Mask, context: usize, long: bool) -> Delta {
    let name = mask(&change.subject.name);
    let (sign, what) = match &change.kind {
        ChangeKind::Effect { what } => (Sign::Changed, What::Sentence(visible(&mask(what)))),
        ChangeKind::Opaque => (Sign::Unseen, What::Sentence("may have changed in ways that are not seen".into())),
        ChangeKind::Set { aspect, before, after } => {
            let (before, after) = (masked(before, mask), masked(after, mask));
            let sign = match (&before, &after) {
                (Facet::Absent, _) => Sign::Added,
                (_, Facet::Absent) => Sign::Removed,
                _ => Sign::Changed,
            };
            (sign, set(&name, aspect, &before, &after, context, long))
        }
    };
    Delta {
        sign,
        kind: domain(change.subject.domain),
        name: visible(&name),
        inferred: change.inferred,
        born: Vec::new(),
        what,
    }
}

fn set(name: &str, aspect: &str, before: &Facet, after: &Facet, context: usize, long: bool) -> What {
    let aspect = aspect.to_string();
    if long {
        // An empty file that came or went has no lines.
        if let (Some(old), Some(new)) = (text(before), text(after))
            && !(old.is_empty() && new.is_empty())
        {
            return texts(name, aspect, old, new, context);
        }
        if let (Facet::Value(old), Facet::Value(new)) = (before, after) {
            let rows = keys::values(old, new);
            // A plain value from one to another has no key of its own.
            if !rows.is_empty() && rows.iter().all(|row| !row.key.is_empty()) {
                return What::Contents { aspect, rows: readable(rows), enough: true, hunks: Vec::new() };
            }
        }
    }
    What::Value { aspect, before: visible(&short(before)), after: visible(&short(after)) }
}

/// One side of a comparison of texts.
fn text(facet: &Facet) -> Option<&str> {
    match facet {
        Facet::Text(text) => Some(text),
        Facet::Absent => Some(""),
        _ => None,
    }
}

fn texts(name: &str, aspect: String, before: &str, after: &str, context: usize) -> What {
    let (old, new) = (fold(before), fold(after));
    if !old.certificates.is_empty() || !new.certificates.is_empty() {
        let rows = certificates::compare(&old.certificates, &new.certificates);
        let enough = beside(&old.text) == beside(&new.text) && !rows.is_empty();
        let hunks = if enough { Vec::new() } else { hunks(&old.text, &new.text, context) };
        return What::Contents { aspect, rows: readable(rows), enough, hunks };
    }
    let compared = if before.is_empty() || after.is_empty() { None } else { keys::compare(name, &old.text, &new.text) };
    let keys = compared.unwrap_or(keys::Keys { rows: Vec::new(), enough: false });
    let hunks = hunks(&old.text, &new.text, context);
    What::Contents { aspect, rows: readable(keys.rows), enough: keys.enough, hunks }
}

/// What stands around certificates, and between which of it they stand.
fn beside(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<&str> = lines.map(|line| if line.starts_with("(certificate ") { "" } else { line }).collect();
    lines.dedup_by(|one, other| one.is_empty() && other.is_empty());
    // Where there is nothing else, there is nothing to stand between.
    if lines == [""] { Vec::new() } else { lines }
}

/// Rows without anything that would steer a terminal: their keys and values come from hosts.
fn readable(rows: Vec<Row>) -> Vec<Row> {
    let side = |side: Option<String>| side.map(|text| visible(&text));
    rows.into_iter()
        .map(|row| Row { key: visible(&row.key), before: side(row.before), after: side(row.after) })
        .collect()
}

/// A facet whose texts are masked, and which holds no private key.
fn masked(facet: &Facet, mask: &Mask) -> Facet {
    match facet {
        Facet::Text(text) => Facet::Text(mask(text)),
        Facet::Value(value) => Facet::Value(masked_value(value, mask)),
        Facet::AtApply(what) => Facet::AtApply(mask(what)),
        Facet::Absent | Facet::Bytes { .. } | Facet::Secret { .. } | Facet::Unknown => facet.clone(),
    }
}

fn masked_value(value: &Value, mask: &Mask) -> Value {
    match value {
        Value::String(text) => Value::String(fold(&mask(text)).text),
        Value::Array(items) => Value::Array(items.iter().map(|item| masked_value(item, mask)).collect()),
        Value::Object(map) => map.iter().map(|(key, value)| (mask(key), masked_value(value, mask))).collect(),
        // A number may be a password, too.
        Value::Number(number) => {
            let (plain, masked) = (number.to_string(), mask(&number.to_string()));
            if plain == masked { value.clone() } else { Value::String(masked) }
        }
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

/// Changes as they may be kept: their texts masked.
pub fn masked_changes(changes: &[Change], mask: &Mask) -> Vec<Change> {
    let one = |change: &Change| {
        let mut change = change.clone();
        change.subject.name = mask(&change.subject.name);
        match &mut change.kind {
            ChangeKind::Set { before, after, .. } => (*before, *after) = (masked(before, mask), masked(after, mask)),
            ChangeKind::Effect { what } => *what = mask(what),
            ChangeKind::Opaque => {}
        }
        change
    };
    changes.iter().map(one).collect()
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
        Facet::Value(Value::String(text)) => text.clone(),
        Facet::Value(value) => value.to_string(),
        Facet::Secret { fingerprint } => format!("(secret, fingerprint {fingerprint})"),
        Facet::AtApply(what) => format!("(at apply: {what})"),
        Facet::Unknown => "(unknown)".into(),
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
        Domain::Mount => "mount",
        Domain::Hostname => "hostname",
        Domain::Cron => "cron",
        Domain::Database => "database",
        Domain::DatabaseAccount => "database account",
        Domain::DatabaseVariable => "database variable",
        Domain::Firewall => "firewall",
        Domain::Command => "command",
        Domain::Pki => "pki",
        Domain::Cluster => "cluster",
        Domain::Setting => "setting",
    }
}
