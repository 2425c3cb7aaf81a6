//! Modules that are part of the play's logic: the engine carries them out on the controller, no host is asked.

mod add_host;
mod assert;
mod debug;
mod fail;
mod group_by;
mod include;
mod meta;
mod pause;
mod set_fact;
mod set_stats;
mod validate_argument_spec;
mod wait_for_connection;

pub use add_host::AddHost;
pub use assert::Assert;
pub use debug::Debug;
pub use fail::Fail;
pub use group_by::GroupBy;
pub use include::{HashBehaviour, IncludeRole, IncludeTasks, IncludeVars};
pub use meta::{Meta, MetaAction};
pub use pause::Pause;
pub use set_fact::SetFact;
pub use set_stats::SetStats;
pub use validate_argument_spec::ValidateArgumentSpec;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &add_host::MODULE,
    &assert::MODULE,
    &debug::MODULE,
    &fail::MODULE,
    &group_by::MODULE,
    &include::IMPORT_ROLE,
    &include::IMPORT_TASKS,
    &include::INCLUDE_ROLE,
    &include::INCLUDE_TASKS,
    &include::INCLUDE_VARS,
    &meta::MODULE,
    &pause::MODULE,
    &set_fact::MODULE,
    &set_stats::MODULE,
    &validate_argument_spec::MODULE,
    &wait_for_connection::MODULE,
];

/// A module of this family.
pub(super) const fn control(
    name: &'static str,
    aliases: &'static [&'static str],
    free_form: super::FreeForm,
    arguments: super::Arguments,
) -> Module {
    Module {
        name,
        aliases,
        reach: super::Reach::Control,
        free_form,
        arguments,
        run: None,
        #[cfg(feature = "controller")]
        action: None,
    }
}
