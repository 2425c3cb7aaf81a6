//! The shipped playbooks are as the schemas say, and a misspelt word is not.

use super::{Document, schema};
use crate::source::{Diags, load_yaml_str};
use regex_lite::Regex;
use serde_json::{Value, json};
use std::path::Path;

/// Where a value is not as a schema says. It knows the words of draft-07 that the schemas use, and stops at any other, so
/// that none is passed over; `tools/schema-check` asks a whole validator.
fn breaches(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let map = match schema {
        Value::Bool(true) => return Vec::new(),
        Value::Bool(false) => return vec![format!("{at}: is not allowed")],
        other => other.as_object().unwrap(),
    };
    let passes = |schema: &Value| breaches(root, schema, value, at).is_empty();
    let mut found = Vec::new();
    for (word, said) in map {
        match word.as_str() {
            "$schema" | "title" | "definitions" | "description" | "then" | "else" => {}
            "$ref" => {
                let name = said.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                let other = root["definitions"].get(name).unwrap_or_else(|| panic!("no definition {name}"));
                found.extend(breaches(root, other, value, at));
            }
            "type" => {
                let types: Vec<&str> = match said {
                    Value::String(one) => vec![one],
                    many => many.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
                };
                let is = |name: &str| match name {
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("type {other}"),
                };
                if !types.into_iter().any(is) {
                    found.push(format!("{at}: is no {said}"));
                }
            }
            "enum" if !said.as_array().unwrap().contains(value) => found.push(format!("{at}: is none of {said}")),
            "enum" => {}
            "pattern" => {
                let fits = |text: &str| Regex::new(said.as_str().unwrap()).unwrap().is_match(text);
                if value.as_str().is_some_and(|text| !fits(text)) {
                    found.push(format!("{at}: does not fit {said}"));
                }
            }
            "minimum" => {
                if value.as_i64().is_some_and(|number| number < said.as_i64().unwrap()) {
                    found.push(format!("{at}: is below {said}"));
                }
            }
            "anyOf" => {
                if !said.as_array().unwrap().iter().any(passes) {
                    let all = said.as_array().unwrap().iter();
                    let why: Vec<String> = all.flat_map(|one| breaches(root, one, value, at)).collect();
                    found.push(format!("{at}: [{}]", why.join("; ")));
                }
            }
            "if" => {
                let branch = if passes(said) { "then" } else { "else" };
                found.extend(map.get(branch).map_or_else(Vec::new, |branch| breaches(root, branch, value, at)));
            }
            "required" => {
                for name in said.as_array().unwrap() {
                    if value.as_object().is_some_and(|map| !map.contains_key(name.as_str().unwrap())) {
                        found.push(format!("{at}: has no {name}"));
                    }
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(breaches(root, said, item, &format!("{at}/{number}")));
                }
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
                    found.extend(breaches(root, said, &Value::from(name.as_str()), &format!("{at}/{name}")));
                }
            }
            "properties" | "patternProperties" => {}
            "additionalProperties" => {}
            other => panic!("the word {other} is not known here"),
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        let mut known = false;
        if let Some(own) = map.get("properties").and_then(|all| all.get(name)) {
            known = true;
            found.extend(breaches(root, own, inner, &place));
        }
        for (pattern, own) in map.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if Regex::new(pattern).unwrap().is_match(name) {
                known = true;
                found.extend(breaches(root, own, inner, &place));
            }
        }
        if let (false, Some(other)) = (known, map.get("additionalProperties")) {
            found.extend(breaches(root, other, inner, &place));
        }
    }
    found
}

fn of(document: Document, text: &str) -> Vec<String> {
    let value = load_yaml_str("x.yml", text, &mut Diags::new()).unwrap().to_json();
    let schema = schema(document, &["mine".to_owned()]);
    breaches(&schema, &schema, &value, "")
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "yml") {
            found.push(path);
        }
    }
}

#[test]
fn the_shipped_files_are_as_the_schemas_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    ["playbooks", "roles", "docs/examples"].iter().for_each(|name| files(&root.join(name), &mut all));
    all.push(root.join("inventory/hosts.yml"));
    let mut looked_at = 0;
    for path in all {
        let inside = path.strip_prefix(root).unwrap();
        let within = |part: &str| inside.components().any(|name| name.as_os_str() == part);
        let document = if within("group_vars") || within("host_vars") || within("defaults") || within("vars") {
            Document::Vars
        } else if within("tasks") || within("handlers") {
            Document::Tasks
        } else if within("meta") {
            Document::Meta
        } else if path.file_name().is_some_and(|name| name == "hosts.yml") {
            Document::Inventory
        } else if within("playbooks") {
            Document::Playbook
        } else {
            continue;
        };
        looked_at += 1;
        let found = of(document, &std::fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:#?}", path.display());
    }
    assert!(looked_at > 40, "only {looked_at} files");
}

#[test]
fn misspelt_words_are_refused() {
    for (document, text) in [
        (Document::Playbook, "- hosts: all\n  taks: []\n"),
        (Document::Playbook, "- name: a\n  tasks: []\n"),
        (Document::Playbook, "- hosts: all\n  gather_facts: perhaps\n"),
        (Document::Playbook, "- import_playbook: a.yml\n  hosts: all\n"),
        (Document::Playbook, "- hosts: all\n  rolling: {sok: 1}\n"),
        (Document::Tasks, "- copy: {sorce: a, dest: b}\n"),
        (Document::Tasks, "- coppy: {src: a, dest: b}\n"),
        (Document::Tasks, "- command: x\n  wen: y\n"),
        (Document::Tasks, "- block:\n    - command: x\n      wen: y\n"),
        (Document::Tasks, "- file: {path: /a, state: dir}\n"),
        (Document::Tasks, "- command: x\n  loop_control: {lable: a}\n"),
        (Document::Tasks, "- command: x\n  retries: many\n"),
        (Document::Inventory, "all:\n  host: {a: null}\n"),
        (Document::Vars, "a-b: 1\n"),
        (Document::Meta, "dependecies: []\n"),
    ] {
        assert!(!of(document, text).is_empty(), "{text}");
    }
}

#[test]
fn what_is_right_is_accepted() {
    for (document, text) in [
        (Document::Playbook, "- hosts: [a, b]\n  rolling: {}\n  roles: [x, {role: y, any: 1}]\n  tasks:\n"),
        (Document::Tasks, "- command: ls\n  with_items: [1]\n  when: [a, b]\n  become: '{{ x }}'\n"),
        (Document::Tasks, "- mine: {any: thing}\n- set_fact: {a: 1}\n- ansible.builtin.file: path=/a state=absent\n"),
        (Document::Tasks, "- file: {path: /a, state: '{{ s }}', mode: 0644}\n- meta: flush_handlers\n"),
        (Document::Inventory, "all:\n  hosts: {a: null, b: {x: 1}}\n  children: {g: {vars: {y: 2}}}\n"),
    ] {
        let found = of(document, text);
        assert!(found.is_empty(), "{text}: {found:#?}");
    }
    assert_eq!(schema(Document::Vars, &[])["$schema"], json!("http://json-schema.org/draft-07/schema#"));
}
