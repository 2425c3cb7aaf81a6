//! `group`: groups of users.

use crate::machine::Machine;
use crate::machine::accounts::{GroupWish, is_predicted_id};
use crate::modules::scalars::{Flag, Int};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.builtin.group`
pub const GROUP: Module = Module {
    name: "ansible.builtin.group",
    aliases: &["group", "ansible.legacy.group"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Group::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Whether an account shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is made when it is missing.
    #[default]
    Present,
    /// It is removed.
    Absent,
}

crate::arguments! {
    /// Makes, changes or removes a group.
    pub struct Group {
        /// Name.
        pub name: String,
        /// Group id.
        pub gid: Option<Int>,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// A system group: its id comes from the system's range.
        #[serde(default)]
        pub system: Flag,
        /// Only in the host's own files, where a central directory is in use (needs libuser).
        #[serde(default)]
        pub local: Flag,
        /// Allow an id that another group has.
        #[serde(default)]
        pub non_unique: Flag,
        /// Remove it even when it is the primary group of a user.
        #[serde(default)]
        pub force: Flag,
        /// The least id of a new group.
        pub gid_min: Option<Int>,
        /// The greatest id of a new group.
        pub gid_max: Option<Int>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Group = decode(arguments)?;
    check_name(&arguments.name)?;
    if arguments.gid_min.is_some() || arguments.gid_max.is_some() {
        return Err(ModuleError::argument("gid_min", "ranges of ids are not supported yet: give a `gid`"));
    }
    let outcome = Outcome::ok().with("name", arguments.name.clone());
    if arguments.state == State::Absent {
        machine.remove_group(&arguments.name, arguments.force.0)?;
        return Ok(outcome.with("state", "absent"));
    }
    let wish = GroupWish {
        name: arguments.name.clone(),
        gid: arguments.gid.map(|gid| id("gid", gid)).transpose()?,
        non_unique: arguments.non_unique.0,
        system: arguments.system.0,
        local: arguments.local.0,
    };
    if let Err(error) = machine.set_group(&wish) {
        // Unknown stays unknown, and a failure says which group it is.
        return Ok(Outcome::from(ModuleError::from(error)).with("name", arguments.name));
    }
    let mut outcome = outcome.with("state", "present").with("system", arguments.system.0);
    if let Some(group) = machine.group_by_name(&arguments.name)? {
        if is_predicted_id(group.gid) {
            outcome.unknown_fields.push("gid".into());
        } else {
            outcome = outcome.with("gid", group.gid);
        }
    }
    Ok(outcome)
}

/// An id in range.
pub(super) fn id(name: &str, value: Int) -> Result<u32, ModuleError> {
    u32::try_from(value.0)
        .ok()
        .filter(|id| *id < u32::MAX)
        .ok_or_else(|| ModuleError::argument(name, format!("{} is no id", value.0)))
}

/// A name that no tool takes for an option.
pub(super) fn check_name(name: &str) -> Result<(), ModuleError> {
    if name.is_empty() || name.starts_with('-') || name.contains([':', ',', '\n', '/', ' ']) {
        return Err(ModuleError::argument("name", format!("`{name}` is no account name")));
    }
    Ok(())
}
