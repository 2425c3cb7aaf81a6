//! `deploy inventory`: what `ansible-inventory` prints.

use super::EXIT_PARSE;
use super::arguments::InventoryArguments;
use crate::inventory::{Inventory, graph, host_json, list_json};
use crate::redact::Redactor;
use crate::source::Diags;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the command.
pub fn run(arguments: &InventoryArguments) -> ExitCode {
    let redactor = Redactor::new();
    let mut given = arguments.sources.clone();
    super::settings::settings().fill_sources(&mut given);
    let vault = match super::vault::open(&given, &redactor) {
        Ok(vault) => vault,
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
    let mut inventory = Inventory::load(&sources(&given.inventory), &hook, &mut diags);
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
