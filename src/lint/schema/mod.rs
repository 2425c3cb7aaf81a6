//! JSON Schemas (draft-07, which editors read best) of the files of a tree, out of the tables that the loader reads with.
//!
//! A schema is for completion and for misspelt words. What it cannot say well (that a task has one module only, that an
//! argument needs another) `deploy lint` says.

mod modules;
#[cfg(test)]
mod tests;

use crate::playbook::{LOOP_CONTROL, Place, ROLLING_KEYS, Takes, takes};
use serde_json::{Map, Value, json};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A list of plays.
    Playbook,
    /// A list of tasks or handlers.
    Tasks,
    /// Groups and hosts.
    Inventory,
    /// Variables.
    Vars,
    /// A role's meta.
    Meta,
}

/// The schema of a kind of files; `own` are modules that the program does not have.
pub fn schema(document: Document, own: &[String]) -> Value {
    let (title, root) = match document {
        Document::Playbook => ("A playbook", json!({"type": "array", "items": {"$ref": "#/definitions/entry"}})),
        Document::Tasks => ("A file of tasks or handlers", reference("handlers")),
        Document::Inventory => (
            "An inventory",
            json!({
                "type": "object", "additionalProperties": {"$ref": "#/definitions/group"},
            }),
        ),
        Document::Vars => ("A file of variables", json!({"anyOf": [reference("variables"), {"type": "null"}]})),
        Document::Meta => ("What a role says of itself", meta()),
    };
    let mut definitions = match document {
        Document::Playbook | Document::Tasks => of_tasks(own),
        Document::Inventory => inventory(),
        Document::Vars | Document::Meta => Map::new(),
    };
    definitions.extend(common());
    if document == Document::Playbook {
        definitions.insert("entry".into(), entry());
        definitions.insert("play".into(), play());
    }
    if document == Document::Meta {
        definitions.insert("role".into(), role());
    }
    let mut all = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": format!("{title}, of deploy {}", env!("CARGO_PKG_VERSION")),
        "definitions": definitions,
    });
    if let (Some(all), Value::Object(root)) = (all.as_object_mut(), root) {
        all.extend(root);
    }
    all
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// Parts that several documents have.
fn common() -> Map<String, Value> {
    let text = json!({"type": ["string", "number", "boolean"]});
    let truth_words = ["yes", "no", "on", "off", "true", "false", "True", "False", "y", "n", "1", "0"];
    object([
        ("template", json!({"type": "string", "pattern": r"\{\{|\{%"})),
        (
            "truth",
            json!({"anyOf": [
                {"type": "boolean"}, {"enum": [0, 1]}, {"enum": truth_words}, reference("template"), {"type": "null"},
            ]}),
        ),
        (
            "whole",
            json!({"anyOf": [
                {"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]+\s*$"}, reference("template"),
                {"type": "null"},
            ]}),
        ),
        (
            "number",
            json!({"anyOf": [
                {"type": "number"}, {"type": "string", "pattern": r"^\s*[0-9.]+\s*%?$"}, reference("template"),
                {"type": "null"},
            ]}),
        ),
        ("text", json!({"type": ["string", "number", "boolean", "null"]})),
        ("texts", json!({"anyOf": [text.clone(), {"type": "array", "items": text}, {"type": "null"}]})),
        ("conditions", json!({"type": ["string", "number", "boolean", "null", "array"]})),
        (
            "variables",
            json!({
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            }),
        ),
        ("options", json!({"type": ["object", "array", "string", "null"]})),
    ])
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a keyword takes: what is one scalar is known to the loader, the others are few.
fn keyword(word: &str) -> Value {
    match takes(word) {
        Takes::Truth => return reference("truth"),
        Takes::Whole => return reference("whole"),
        Takes::Number => return reference("number"),
        Takes::Text => return reference("text"),
        Takes::Other => {}
    }
    match word {
        "when" | "until" | "changed_when" | "failed_when" => reference("conditions"),
        "tags" | "notify" | "listen" | "collections" | "hosts" => reference("texts"),
        "vars" => json!({"anyOf": [reference("variables"), {"type": ["array", "null"]}]}),
        "environment" | "module_defaults" | "args" | "vars_prompt" => reference("options"),
        "block" | "rescue" | "always" | "tasks" | "pre_tasks" | "post_tasks" => {
            json!({"anyOf": [reference("tasks"), {"type": "null"}]})
        }
        "handlers" => json!({"anyOf": [reference("handlers"), {"type": "null"}]}),
        "name" | "register" | "role" | "import_playbook" | "ansible.builtin.import_playbook" => reference("text"),
        "loop_control" => json!({
            "type": "object",
            "properties": LOOP_CONTROL.iter().map(|word| ((*word).to_owned(), json!({}))).collect::<Map<_, _>>(),
            "additionalProperties": false,
        }),
        "rolling" => json!({"anyOf": [
            {
                "type": "object",
                "properties": ROLLING_KEYS.iter().map(|word| ((*word).to_owned(), json!({}))).collect::<Map<_, _>>(),
                "additionalProperties": false,
            },
            {"type": "null"},
        ]}),
        "serial" => json!({"type": ["integer", "string", "array"]}),
        "vars_files" => json!({"type": ["array", "string", "null"]}),
        "roles" => json!({"anyOf": [{"type": "array", "items": reference("role")}, {"type": "null"}]}),
        "action" | "local_action" => json!({"type": ["string", "object"]}),
        _ => json!({}),
    }
}

fn keywords(place: Place) -> Map<String, Value> {
    place.keywords().map(|word| (word.to_owned(), keyword(word))).collect()
}

fn closed(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// A play, or an import of other plays.
fn entry() -> Value {
    let import = ["import_playbook", "ansible.builtin.import_playbook"].map(|word| json!({"required": [word]}));
    json!({
        "if": {"type": "object", "anyOf": import},
        "then": closed(keywords(Place::Import)),
        "else": reference("play"),
    })
}

fn play() -> Value {
    let mut play = closed(keywords(Place::Play));
    if let Some(map) = play.as_object_mut() {
        map.insert("required".into(), json!(["hosts"]));
    }
    play
}

/// A role where it is used: what is no keyword is a parameter.
fn role() -> Value {
    json!({"anyOf": [{"type": "string"}, {"type": "object", "properties": keywords(Place::Role)}]})
}

/// Tasks, blocks, handlers.
fn of_tasks(own: &[String]) -> Map<String, Value> {
    let mut definitions = modules::definitions();
    let step = |place: &str| {
        let block = ["block", "rescue", "always"].map(|word| json!({"required": [word]}));
        let step = json!({
            "if": {"type": "object", "anyOf": block},
            "then": reference("block"),
            "else": reference(place),
        });
        json!({"type": "array", "items": step})
    };
    let task = |place: Place| {
        let mut properties = keywords(place);
        // Where a keyword has the name of a module it is the keyword.
        for (name, value) in modules::by_name(own) {
            properties.entry(name).or_insert(value);
        }
        let mut task = closed(properties);
        if let Some(map) = task.as_object_mut() {
            map.insert("patternProperties".into(), json!({"^with_[a-z_.]+$": {}}));
        }
        task
    };
    definitions.extend(object([
        ("tasks", step("task")),
        ("handlers", step("handler")),
        ("task", task(Place::Task)),
        ("handler", task(Place::Handler)),
        ("block", closed(keywords(Place::Block))),
        ("role", role()),
    ]));
    definitions
}

fn inventory() -> Map<String, Value> {
    let vars = json!({"anyOf": [reference("variables"), {"type": "null"}]});
    object([(
        "group",
        json!({"anyOf": [
            {
                "type": "object",
                "properties": {
                    "hosts": {"anyOf": [
                        {"type": "object", "additionalProperties": vars.clone()}, {"type": ["string", "null"]},
                    ]},
                    "vars": vars,
                    "children": {"anyOf": [
                        {"type": "object", "additionalProperties": reference("group")}, {"type": "null"},
                    ]},
                },
                "additionalProperties": false,
            },
            {"type": "null"},
        ]}),
    )])
}

fn meta() -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {
            "dependencies": {"anyOf": [{"type": "array", "items": reference("role")}, {"type": "null"}]},
            "allow_duplicates": reference("truth"),
            "galaxy_info": {"type": ["object", "null"]},
            "argument_specs": {"type": ["object", "null"]},
            "collections": reference("texts"),
        },
        "additionalProperties": false,
    })
}
