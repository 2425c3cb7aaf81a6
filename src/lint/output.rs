//! Findings for programs: JSON, and SARIF 2.1.0 for code hosting sites and editors.

use super::finding::Finding;
use super::rules::{ALL, PLAIN_SECRET, Rule};
use crate::source::{Severity, Span};
use serde_json::{Value, json};

/// One document: `{"findings": [...], "summary": {...}}`.
pub fn json(findings: &[Finding]) -> Value {
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity() == severity).count();
    json!({
        "findings": findings.iter().map(one).collect::<Vec<_>>(),
        "summary": {
            "errors": count(Severity::Error),
            "warnings": count(Severity::Warning),
            "notes": count(Severity::Note),
        },
    })
}

fn one(finding: &Finding) -> Value {
    let mut value = serde_json::to_value(&finding.diag).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("rule".into(), finding.rule.id.into());
        map.insert("why".into(), finding.rule.why.into());
        map.insert("remedy".into(), finding.remedy().into());
        map.remove("help");
        if let Some(excerpt) = place(finding).filter(|_| shows(finding)).and_then(excerpt) {
            map.insert("excerpt".into(), excerpt.into());
        }
    }
    value
}

/// A log of SARIF 2.1.0, with the rules' descriptions.
pub fn sarif(findings: &[Finding]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "deploy lint",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": ALL.iter().map(|rule| described(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": format!("{}: {}.", rule.title, rule.why)},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(finding: &Finding) -> Value {
    let index = ALL.iter().position(|rule| rule.id == finding.rule.id);
    let text = format!("{} ({})", finding.diag.message, finding.remedy());
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.severity()),
        "message": {"text": text},
        "locations": [],
    });
    let Some(map) = result.as_object_mut() else { return result };
    if let Some(span) = place(finding) {
        map.insert("locations".into(), json!([{"physicalLocation": physical(span, shows(finding))}]));
    }
    let related: Vec<Value> = finding
        .diag
        .labels
        .iter()
        .skip(1)
        .filter(|(span, _)| !span.is_generated())
        .map(|(span, text)| json!({"physicalLocation": physical(span, shows(finding)), "message": {"text": text}}))
        .collect();
    if !related.is_empty() {
        map.insert("relatedLocations".into(), related.into());
    }
    result
}

/// A secret's own line is not shown: a short one is masked in drawings only.
fn shows(finding: &Finding) -> bool {
    finding.rule.id != PLAIN_SECRET.id
}

fn physical(span: &Span, shows: bool) -> Value {
    let (line, column) = span.line_col();
    let mut region = json!({"startLine": line, "startColumn": column});
    // The first line only: a whole task underlined says less than its first word.
    let first = span.text().lines().next().unwrap_or_default().chars().count();
    if let (Some(map), true) = (region.as_object_mut(), first > 0) {
        map.insert("endLine".into(), line.into());
        map.insert("endColumn".into(), (column + first).into());
        if let Some(text) = excerpt(span).filter(|_| shows) {
            map.insert("snippet".into(), json!({"text": text}));
        }
    }
    json!({"artifactLocation": {"uri": uri(&span.file.path.to_string_lossy())}, "region": region})
}

/// A path as a relative reference: bytes that mean something in one are written as %XX.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    if path.starts_with('/') { format!("file://{out}") } else { out }
}

fn place(finding: &Finding) -> Option<&Span> {
    finding.diag.span().filter(|span| !span.is_generated())
}

/// The line of a place as it was written; never one that came out of a vault.
fn excerpt(span: &Span) -> Option<String> {
    if span.file.sensitive || span.file.text.is_empty() {
        return None;
    }
    let (line, _) = span.line_col();
    span.file.text.lines().nth(line.checked_sub(1)?).map(str::to_owned)
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
