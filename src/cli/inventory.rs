//! `deploy inventory`: what `ansible-inventory` prints.

use super::EXIT_PARSE;
use super::arguments::InventoryArguments;
use super::settings::settings;
use crate::engine::FactCache;
use crate::inventory::{Constructing, Inventory, KnownFacts, graph, host_json, list_json};
use crate::redact::Redactor;
use crate::source::{Diag, Diags};
use crate::template::{Extensions, Layer, Raw, Templar, TemplarOptions, from_json};
use std::path::{Path, PathBuf};
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
    let sources = sources(&given.inventory);
    if sources.is_empty() {
        diags.push(Diag::warning("there is no inventory: none is named, and there is no folder `inventory`"));
    }
    let mut inventory = Inventory::load(&sources, &hook, &with, &mut diags);
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

/// Where the inventory is when nobody says so.
pub const USUAL: &str = "inventory/";

/// The inventory sources: the default when none is named, and none at all where that is not there.
pub fn sources(named: &[String]) -> Vec<String> {
    match named.is_empty() {
        false => named.to_vec(),
        true => Path::new(USUAL).exists().then(|| USUAL.to_string()).into_iter().collect(),
    }
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
