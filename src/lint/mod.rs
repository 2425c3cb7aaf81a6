//! `deploy lint`: everything that is wrong in a tree, at once, without a connection.
//!
//! The tree is read by the loaders that a run uses, so what would stop a run is found by the same code. The checks of this
//! room look for what runs, and not as its author meant: each is a function over tasks, plays or YAML values, and each
//! finding belongs to a [`Rule`].

mod checks;
mod discover;
mod finding;
mod load;
mod output;
mod rules;
mod schema;
mod walk;

pub use discover::discover;
pub use finding::{Finding, Findings};
pub use load::Reader;
pub use output::{json, sarif};
pub use rules::{ALL, Rule, find};
pub use schema::{Document, schema};

use crate::template::Templar;
use std::path::PathBuf;

/// Looks at everything below these paths.
///
/// # Errors
/// A path that was named cannot be read.
pub fn lint(paths: &[PathBuf], reader: &Reader<'_>, templar: &Templar) -> Result<Findings, String> {
    let found = discover(paths)?;
    let mut findings = Findings::default();
    let tree = reader.read(&found, &mut findings);
    walk::tasks(&tree, &mut |visit| findings.task_at(&visit.task.span));
    checks::all(&tree, templar, &mut findings);
    Ok(findings)
}

#[cfg(test)]
mod tests;
