//! What a check foresees of the firewall.

use crate::machine::{Machine, MachineError, Mode, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tables as they would be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Firewall {
    /// The text of each; nothing for one that would be removed.
    tables: BTreeMap<String, Option<String>>,
    /// Tables of which it is not known.
    unknown: Vec<String>,
}

impl Machine {
    pub(super) fn foreseen_firewall(&self, table: &str) -> Option<Result<Option<String>>> {
        let firewall = &self.predictions.firewall;
        if firewall.unknown.iter().any(|name| name == table) {
            return Some(Err(MachineError::unknown(format!(
                "the firewall table {table} depends on a task of which it is not known whether it will run"
            ))));
        }
        firewall.tables.get(table).map(|text| Ok(text.clone()))
    }

    pub(super) fn foresee_firewall(&mut self, table: &str, text: Option<String>) {
        let tainted = self.mode() == Mode::Tainted;
        let firewall = &mut self.predictions.firewall;
        firewall.unknown.retain(|name| name != table);
        if tainted {
            firewall.unknown.push(table.to_string());
        } else {
            firewall.tables.insert(table.to_string(), text);
        }
    }
}
