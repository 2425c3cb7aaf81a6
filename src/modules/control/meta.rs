//! `meta`: steer the play itself.

use super::control;
use crate::modules::{FreeForm, Module};

/// What `meta` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaAction {
    /// `noop`
    Noop,
    /// `flush_handlers`
    FlushHandlers,
    /// `refresh_inventory`
    RefreshInventory,
    /// `clear_facts`
    ClearFacts,
    /// `clear_host_errors`
    ClearHostErrors,
    /// `end_play`
    EndPlay,
    /// `end_batch`
    EndBatch,
    /// `end_host`
    EndHost,
    /// `end_role`
    EndRole,
    /// `reset_connection`
    ResetConnection,
}

impl MetaAction {
    /// All of them by name.
    pub const ALL: &[(&str, MetaAction)] = &[
        ("noop", MetaAction::Noop),
        ("flush_handlers", MetaAction::FlushHandlers),
        ("refresh_inventory", MetaAction::RefreshInventory),
        ("clear_facts", MetaAction::ClearFacts),
        ("clear_host_errors", MetaAction::ClearHostErrors),
        ("end_play", MetaAction::EndPlay),
        ("end_batch", MetaAction::EndBatch),
        ("end_host", MetaAction::EndHost),
        ("end_role", MetaAction::EndRole),
        ("reset_connection", MetaAction::ResetConnection),
    ];

    /// The action of this name.
    pub fn parse(name: &str) -> Option<MetaAction> {
        MetaAction::ALL.iter().find(|(known, _)| *known == name.trim()).map(|(_, action)| *action)
    }
}

crate::arguments! {
    /// Execute actions of the play itself: `flush_handlers`, `clear_facts`, `clear_host_errors`, `end_host`,
    /// `end_batch`, `end_play`, `end_role`, `refresh_inventory`, `reset_connection`, `noop`.
    pub struct Meta {
        /// The action; usually written as `meta: flush_handlers`.
        #[serde(rename = "_raw_params")]
        pub free_form: String,
    }
}

/// The module.
pub static MODULE: Module =
    control("ansible.builtin.meta", &["meta", "ansible.legacy.meta"], FreeForm::Raw, Meta::ARGUMENTS);
