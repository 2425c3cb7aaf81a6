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
    ("lipsum is defined", "there is no lipsum"),
    ("{{ varargs }}", "macros take no surplus arguments here"),
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

#[test]
fn answers_are_those_of_ansible() {
    let answers: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("testdata/answers.json")).expect("answers");
    let vars = load_yaml_str("vars.yml", include_str!("testdata/vars.yml"), &mut Diags::new()).expect("variables");
    let layer: Layer = vars
        .as_map()
        .expect("a dictionary")
        .iter()
        .map(|(k, v)| (k.as_arc_str().expect("a name"), Raw::Node(v.clone())))
        .collect();
    let templar = Templar::default();
    let scope = Scope::new(&templar).with(layer);
    let (mut equal, mut wrong) = (0, Vec::new());
    for case in include_str!("testdata/cases.txt").lines() {
        let answer: Answer = serde_json::from_value(answers.get(case).expect(case).clone()).expect(case);
        let ours =
            templar.template_str(case, &scope).map(|e| if is_omit(&e.value) { None } else { Some(to_json(&e.value)) });
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
            let theirs = answer.ok.map_or(format!("error: {}", answer.error.unwrap_or_default()), |v| v.to_string());
            wrong.push(format!("{case}\n   theirs: {theirs}\n   ours:   {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{equal} equal, {} not as expected:\n{}", wrong.len(), wrong.join("\n"));
}
