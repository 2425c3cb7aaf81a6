//! What runs, and perhaps not as its author meant: one file a topic.

mod cluster;
mod danger;
mod deprecated;
mod groups;
mod handlers;
mod modules;
mod names;
mod scalars;
mod secrets;
mod tags;
mod templates;

use super::finding::Findings;
use super::load::Tree;
use super::walk;
use crate::template::Templar;

/// All checks.
pub fn all(tree: &Tree, templar: &Templar, findings: &mut Findings) {
    let becomes = names::becomes(tree);
    walk::tasks(tree, &mut |visit| {
        modules::task(visit, findings);
        scalars::task(visit, findings);
        secrets::task(visit, findings);
        danger::task(visit, findings);
        names::task(visit, becomes, findings);
        deprecated::task(visit, findings);
    });
    for file in &tree.files {
        scalars::file(file, findings);
        secrets::file(file, findings);
        names::file(file, findings);
        deprecated::file(file, findings);
    }
    for inventory in &tree.inventories {
        let layers = inventory.groups.values().map(|group| &group.vars);
        for vars in layers.chain(inventory.hosts.values().map(|host| &host.vars)) {
            for (name, value) in vars.iter() {
                secrets::variable(name, value, findings);
                names::inventory_variable(name, value, findings);
                deprecated::variable(name, value, findings);
                danger::variable(name, value, findings);
            }
        }
    }
    templates::all(tree, templar, findings);
    cluster::all(tree, findings);
    groups::all(tree, findings);
    handlers::all(tree, findings);
    tags::all(tree, findings);
}
