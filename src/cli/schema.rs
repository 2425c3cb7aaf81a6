//! `deploy schema`: a JSON Schema for editors.

use crate::lint::{Document, schema};
use clap::{Args, ValueEnum};
use std::process::ExitCode;

/// Options of `deploy schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArguments {
    /// What the files are
    #[arg(value_name = "KIND", default_value = "playbook")]
    pub kind: SchemaKind,
    /// A module of your own (library/), which takes any arguments; may be given several times
    #[arg(long, value_name = "NAME")]
    pub own: Vec<String>,
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// A list of plays.
    Playbook,
    /// A list of tasks or handlers.
    Tasks,
    /// Groups and hosts.
    Inventory,
    /// Variables of groups, hosts or roles.
    Vars,
    /// meta/main.yml of a role.
    Meta,
}

/// Runs the command.
pub fn run(arguments: &SchemaArguments) -> ExitCode {
    let document = match arguments.kind {
        SchemaKind::Playbook => Document::Playbook,
        SchemaKind::Tasks => Document::Tasks,
        SchemaKind::Inventory => Document::Inventory,
        SchemaKind::Vars => Document::Vars,
        SchemaKind::Meta => Document::Meta,
    };
    let text = serde_json::to_string_pretty(&schema(document, &arguments.own)).unwrap_or_default();
    super::show(&format!("{text}\n"));
    ExitCode::SUCCESS
}
