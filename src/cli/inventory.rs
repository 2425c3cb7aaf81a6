//! `deploy inventory`: what `ansible-inventory` prints.

use super::EXIT_PARSE;
use super::arguments::InventoryArguments;
use super::settings::settings;
use crate::engine::FactCache;
use crate::inventory::{Constructing, Inventory, KnownFacts, graph, host_json, list_json};
use crate::redact::Redactor;
use crate::source::Diags;
use crate::template::{Extensions, Layer, Raw, Templar, TemplarOptions, from_json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the command.
pub fn run(arguments: &InventoryArguments) -> ExitCode {
    let redactor = Redactor::new();
    let mut given = arguments.sources.clone();
    settings().fill_sources(&mut given);
    let vault = match super::vault::open(&given, &redactor) {
        Ok(vault) => Arc::new(vault),
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(EXIT_PARSE);
        }
    };
    if !arguments.graph && arguments.group != "all" {
        eprintln!("error: `{}` is no action: a group belongs to --graph, a host to --host", arguments.group);
        return ExitCode::from(5);
    }
    let mut diags = Diags::new();
    let hook = |bytes: &[u8], _: &std::path::Path| vault.decrypt(bytes).map_err(|e| e.to_string());
    let options = TemplarOptions {
        vault: Some(vault.clone()),
        redactor: redactor.clone(),
        extensions: Extensions::named(&super::settings::settings().jinja2_extensions),
        ..TemplarOptions::default()
    };
    let with = constructing(&Templar::new(options), &Arc::default());
    let mut inventory = Inventory::load(&sources(&given.inventory), &hook, &with, &mut diags);
    let default = PathBuf::from("playbooks");
    let directory = arguments.playbook_dir.clone().or_else(|| default.is_dir().then_some(default));
    inventory.load_vars(directory.as_deref(), &hook, &mut diags);
    super::say(&redactor, &diags.render(false));
    if diags.has_errors() {
        return ExitCode::from(EXIT_PARSE);
    }
    let text = if let Some(host) = &arguments.host {
        if !inventory.hosts.contains_key(host.as_str()) {
            eprintln!("error: the inventory has no host `{host}`");
            return ExitCode::from(5);
        }
        host_json(&inventory, host, directory.as_deref())
    } else if arguments.graph {
        graph(&inventory, &arguments.group, directory.as_deref(), arguments.vars)
    } else {
        list_json(&inventory, directory.as_deref(), false)
    };
    // This command's purpose is to show variables; only what a vault protected stays hidden.
    super::show(&format!("{}\n", redactor.mask(text.trim_end())));
    ExitCode::SUCCESS
}

/// The inventory sources, the default when none is named.
pub fn sources(named: &[String]) -> Vec<String> {
    if named.is_empty() { vec!["inventory/".to_string()] } else { named.to_vec() }
}

/// What constructed inventories are evaluated with: facts are those that the cache has.
pub fn constructing(templar: &Templar, extra: &Arc<Layer>) -> Constructing {
    let facts = settings().fact_cache.as_ref().map(|(directory, prefix, timeout)| {
        let cache = FactCache::new(directory.clone(), prefix.clone(), *timeout, false, true);
        // What is wrong with a cache is said where a run opens it.
        let known = move |host: &str| -> Layer {
            let facts = cache.open(host).unwrap_or_default();
            facts.iter().map(|(name, value)| (Arc::from(name.as_str()), Raw::Value(from_json(value)))).collect()
        };
        Arc::new(known) as Arc<KnownFacts>
    });
    Constructing { templar: templar.clone(), extra: extra.clone(), facts, merge_hashes: settings().merge_hashes }
}
