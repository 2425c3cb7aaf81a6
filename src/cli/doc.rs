//! `deploy doc`: module documentation out of the modules' own argument structs.

use super::arguments::DocArguments;
use crate::modules::{self, Module, Reach};
use crate::playbook::Place;
use crate::source::did_you_mean;
use crate::template::{filter_names, lookup_names, test_names};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Runs the command.
pub fn run(arguments: &DocArguments) -> ExitCode {
    if arguments.names {
        super::show(&format!("{:#}\n", names()));
        return ExitCode::SUCCESS;
    }
    if let Some(directory) = &arguments.pages {
        return match pages(directory) {
            Ok(count) => {
                println!("{count} pages written to {}", directory.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: cannot write pages to {}: {error}", directory.display());
                ExitCode::from(1)
            }
        };
    }
    match arguments.module.as_deref().filter(|_| !arguments.list) {
        None => {
            let lines = all().into_iter().map(|module| format!("{:<45} {}\n", module.name, first_sentence(module)));
            super::show(&lines.collect::<String>());
            ExitCode::SUCCESS
        }
        Some(name) => match modules::find(name) {
            Some(module) => {
                super::show(&page(module));
                ExitCode::SUCCESS
            }
            None => {
                let hint = modules::instead(name).map(|instead| format!(": {instead}")).or_else(|| {
                    let near = did_you_mean(name, modules::names().iter().copied());
                    near.map(|near| format!("; did you mean `{near}`?"))
                });
                eprintln!("error: there is no module `{name}`{}", hint.unwrap_or_default());
                ExitCode::from(1)
            }
        },
    }
}

fn all() -> Vec<&'static Module> {
    let mut all: Vec<&Module> = modules::names().iter().filter_map(|name| modules::find(name)).collect();
    all.sort_by_key(|module| module.name);
    all.dedup_by_key(|module| module.name);
    all
}

/// Every name of the language, for `docs/compatibility.md` and for whoever asks whether a role can run.
fn names() -> Value {
    let places = [
        ("play", Place::Play),
        ("role", Place::Role),
        ("block", Place::Block),
        ("task", Place::Task),
        ("handler", Place::Handler),
    ];
    let sorted = |names: Vec<&'static str>| {
        let mut names = names;
        names.sort_unstable();
        names.dedup();
        names
    };
    let keywords: Map<String, Value> =
        places.into_iter().map(|(name, place)| (name.into(), json!(sorted(place.keywords().collect())))).collect();
    let modules: Vec<Value> = all()
        .into_iter()
        .map(|module| {
            let unverified = module.arguments.description().to_lowercase().contains("unverified");
            json!({"name": module.name, "aliases": module.aliases, "unverified": unverified})
        })
        .collect();
    json!({
        "keywords": keywords,
        "filters": sorted(filter_names()),
        "tests": sorted(test_names()),
        "lookups": sorted(lookup_names()),
        "modules": modules,
    })
}

fn first_sentence(module: &Module) -> String {
    let text = module.arguments.description();
    let first = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    match first.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => first,
    }
}

/// The documentation of a module, as Markdown.
pub fn page(module: &Module) -> String {
    let mut out = format!("# {}\n\n{}\n\n", module.name, module.arguments.description());
    if !module.aliases.is_empty() {
        let _ = writeln!(out, "Also known as: {}.\n", module.aliases.join(", "));
    }
    let reach = match module.reach {
        Reach::Host => "Reach: this host only; under `strategy: linear` a host may run ahead of the others through it.",
        Reach::World => "Reach: the world; it starts when every host of the batch has finished all earlier tasks.",
        Reach::Control => "Runs on the controller, as part of the play.",
    };
    let _ = writeln!(out, "{reach}\n");
    let arguments = module.arguments.list();
    if !arguments.is_empty() {
        out.push_str("| argument | type | meaning |\n| --- | --- | --- |\n");
    }
    for argument in arguments {
        let required = if argument.required { " **(required)**" } else { "" };
        let aliases = match argument.aliases.as_slice() {
            [] => String::new(),
            aliases => format!(" (also `{}`)", aliases.join("`, `")),
        };
        let doc = argument.doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let _ = writeln!(out, "| `{}`{aliases}{required} | {} | {doc} |", argument.name, type_word(&argument.kind));
    }
    if !module.behind().is_empty() {
        let names: Vec<String> = module.behind().iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "\nArguments of {} are handed on to it where the host has that.", names.join(" and "));
    }
    out
}

/// A Rust type in Ansible's words; what is none of them is one of a few words, which its text names.
fn type_word(kind: &str) -> &'static str {
    let outer = kind.split('<').next().unwrap_or(kind);
    match outer.rsplit("::").next().unwrap_or(outer) {
        "Text" | "String" | "Password" | "Secret" => "str",
        "Flag" => "bool",
        "Int" => "int",
        "f64" => "float",
        "TextList" | "Vec" => "list",
        "Map" | "BTreeMap" => "dict",
        "Value" | "FileMode" | "Content" => "raw",
        _ => "choice",
    }
}

fn pages(directory: &std::path::Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(directory)?;
    let modules = all();
    let mut index =
        String::from("# Modules\n\nGenerated from the modules' argument structs by `deploy doc --pages`.\n\n");
    for module in &modules {
        std::fs::write(directory.join(format!("{}.md", module.name)), page(module))?;
        let _ = writeln!(index, "- [{0}]({0}.md): {1}", module.name, first_sentence(module));
    }
    std::fs::write(directory.join("README.md"), index)?;
    Ok(modules.len())
}
