//! Modules and their arguments, out of their own structs.

use super::reference;
use crate::modules::{self, Argument, Arguments, FreeForm, Module};
use serde_json::{Map, Value, json};

/// Modules whose arguments are the user's own words.
const ANY: [&str; 3] = ["ansible.builtin.set_fact", "ansible.builtin.add_host", "deploy.builtin.own_module"];

/// One definition for each module.
pub fn definitions() -> Map<String, Value> {
    all().map(|module| (key(module), described(module))).collect()
}

/// Every name that a task may have as a key, with what it is.
pub fn by_name(own: &[String]) -> Map<String, Value> {
    let names = modules::names().into_iter().filter_map(|name| modules::find(name).map(|module| (name, module)));
    let known = names.map(|(name, module)| (name.to_owned(), reference(&key(module))));
    let own = own.iter().map(|name| (name.clone(), json!({"description": "A module of your own."})));
    known.chain(own).collect()
}

fn all() -> impl Iterator<Item = &'static Module> {
    let known = |name: &&'static str| modules::find(name).filter(|module| module.name == *name);
    modules::names().into_iter().filter_map(move |name| known(&name))
}

fn key(module: &Module) -> String {
    format!("module {}", module.name).replace(' ', "_")
}

fn described(module: &Module) -> Value {
    let mut properties = Map::new();
    for argument in module.taken() {
        if argument.name.starts_with('_') {
            continue;
        }
        let whose = |name: &&'static str| modules::find(name).map(|module| &module.arguments);
        let whose = std::iter::once(&module.arguments).chain(module.behind().iter().filter_map(whose));
        let own = whose.clone().find(|of| of.names().contains(&argument.name)).unwrap_or(&module.arguments);
        let mut value = taken(own, &argument);
        if let (Some(map), false) = (value.as_object_mut(), argument.doc.is_empty()) {
            let doc = argument.doc.split_whitespace().collect::<Vec<_>>().join(" ");
            map.insert("description".into(), doc.into());
        }
        for alias in argument.aliases {
            properties.insert(alias, value.clone());
        }
        properties.insert(argument.name, value);
    }
    let mut arguments = json!({"type": "object", "properties": properties});
    if let (Some(map), false) = (arguments.as_object_mut(), ANY.contains(&module.name)) {
        map.insert("additionalProperties".into(), false.into());
    }
    // `key=value` words and templates are strings, and a command may be a number that is a program.
    let text = match module.free_form {
        FreeForm::Raw => json!({"type": ["string", "number", "boolean", "null"]}),
        FreeForm::KeyValue => json!({"type": ["string", "null"]}),
    };
    let text_of_doc = module.arguments.description();
    let first = text_of_doc.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    json!({"description": first, "anyOf": [arguments, text]})
}

/// What an argument takes. A type that has a few words names them when it is given another one.
fn taken(arguments: &Arguments, argument: &Argument) -> Value {
    let nonsense = Value::from("no such word");
    if let Err(wrong) = arguments.check(&argument.name, &nonsense)
        && !wrong.choices.is_empty()
    {
        let words = json!({"enum": wrong.choices});
        // `yes` without quotes may be one of the words.
        return json!({"anyOf": [words, {"type": ["boolean", "null", "number"]}, reference("template")]});
    }
    let outer = argument.kind.split('<').next().unwrap_or(&argument.kind);
    match outer.rsplit("::").next().unwrap_or(outer) {
        "Flag" | "bool" => json!({"anyOf": [reference("truth")]}),
        "Int" => json!({"anyOf": [
            {"type": ["integer", "null"]}, {"type": "string", "pattern": r"^\s*-?[0-9]+\s*$"}, reference("template"),
        ]}),
        "Text" | "String" | "Password" | "Secret" => json!({"anyOf": [reference("text")]}),
        _ => json!({}),
    }
}
