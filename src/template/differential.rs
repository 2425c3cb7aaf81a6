//! The templates of `testdata/cases.txt` against the answers that ansible-core 2.19 gave.
//!
//! `testdata/oracle.py` makes the answers. A case that may differ stands in `DIFFERENT` with its reason; one that
//! stands there and does not differ is an error too.

use std::collections::BTreeMap;

use super::*;
use crate::source::{Diags, load_yaml_str};

/// Cases that differ on purpose, by a part of their text.
const DIFFERENT: &[(&str, &str)] = &[
    ("{{ +5 }}", "a plus sign before a number is a syntax error here"),
    ("{{ number }} == 42", "2.18 took a condition with braces, and so do we, with a warning"),
];

#[derive(serde::Deserialize, Debug)]
struct Answer {
    ok: Option<serde_json::Value>,
    error: Option<String>,
}

/// Numbers that are equal are the same: JSON has one kind of them.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.is_f64() == b.is_f64() && a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (a, b) => a == b,
    }
}

#[derive(serde::Deserialize)]
struct Answers {
    values: BTreeMap<String, Answer>,
    conditions: BTreeMap<String, Answer>,
    files: BTreeMap<String, Answer>,
}

/// As the oracle had them.
fn with_extensions() -> Templar {
    let extensions = Extensions { do_tag: true, loop_controls: true };
    Templar::new(TemplarOptions { extensions, ..Default::default() })
}

fn answers() -> (Answers, Scope) {
    let answers = serde_json::from_str(include_str!("testdata/answers.json")).expect("answers");
    let vars = load_yaml_str("vars.yml", include_str!("testdata/vars.yml"), &mut Diags::new()).expect("variables");
    let layer: Layer = vars
        .as_map()
        .expect("a dictionary")
        .iter()
        .map(|(k, v)| (k.as_arc_str().expect("a name"), Raw::Node(v.clone())))
        .collect();
    (answers, Scope::new(&with_extensions()).with(layer))
}

/// Runs every case and lists those that are not as expected.
#[track_caller]
fn compare(
    cases: &str,
    answers: &BTreeMap<String, Answer>,
    run: impl Fn(&str) -> Result<Option<serde_json::Value>, TemplateError>,
) {
    let (mut equal, mut wrong) = (0, Vec::new());
    for case in cases.lines() {
        let answer = answers.get(case).expect(case);
        let ours = run(case);
        let agrees = match (&answer.ok, &ours) {
            (Some(want), Ok(Some(got))) => same(want, got),
            (Some(_), _) => false,
            (None, Err(_) | Ok(None)) if answer.error.is_some() => true,
            // `null` is an answer as well.
            (None, Ok(Some(got))) => answer.error.is_none() && got.is_null(),
            (None, _) => false,
        };
        let listed = DIFFERENT.iter().any(|(text, _)| case.contains(text));
        if agrees {
            equal += 1;
        }
        if agrees == listed {
            let ours = match ours {
                Ok(v) => v.map_or("omit".to_owned(), |v| v.to_string()),
                Err(e) => format!("error: {e}"),
            };
            let error = answer.error.as_deref().unwrap_or_default();
            let theirs = answer.ok.as_ref().map_or(format!("error: {error}"), |v| v.to_string());
            wrong.push(format!("{case}\n   theirs: {theirs}\n   ours:   {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{equal} equal, {} not as expected:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn values_are_those_of_ansible() {
    let (answers, scope) = answers();
    compare(include_str!("testdata/cases.txt"), &answers.values, |case| {
        let value = scope.templar().template_str(case, &scope)?.value;
        Ok(if is_omit(&value) { None } else { Some(to_json(&value)) })
    });
}

#[test]
fn conditions_are_those_of_ansible() {
    let (answers, scope) = answers();
    compare(include_str!("testdata/conditions.txt"), &answers.conditions, |case| {
        let held = scope.templar().condition(&Node::string(Span::generated(), case), &scope)?;
        Ok(Some(serde_json::Value::Bool(held.value)))
    });
}

#[test]
fn files_are_those_of_ansible() {
    let (answers, scope) = answers();
    compare(include_str!("testdata/files.txt"), &answers.files, |case| {
        let text = case.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace('\0', "\\");
        let rendered =
            scope.templar().render_file(std::path::Path::new("t.j2"), &text, RenderOptions::default(), &scope)?;
        Ok(Some(serde_json::Value::String(rendered.value)))
    });
}
