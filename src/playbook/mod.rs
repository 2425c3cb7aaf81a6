//! Plays, blocks, tasks, roles: typed, spanned, validated; runs nothing.
//!
//! [`load_playbook`] reads a playbook with all that it imports statically and reports everything that is wrong at
//! once. What is included dynamically is loaded by the engine when it gets there, with [`load_tasks`] and
//! [`load_role`]. Nothing is templated here: keywords and arguments stay [`Node`](crate::source::Node)s.

mod action;
mod argument_spec;
mod free_form;
mod index;
mod keywords;
mod listing;
mod load;
mod model;
mod own;
mod play;
mod role;
mod rolling;
mod steps;
mod tags;
mod task;

pub use crate::window::Window;
pub use action::{named_task, wrong_value};
pub use argument_spec::{python_type, violations};
pub use free_form::{join_args, parse_kv, split_args, unquote};
pub use index::{ModuleArgument, ModuleIndex, ModuleInfo, RegisteredModules};
pub use keywords::{Keywords, Place, Takes, takes};
pub use listing::{ListOptions, list, unknown_tags};
pub use load::{LoadOptions, TaskContext, find_tasks_file, load_playbook, load_tasks, no_templates};
pub use model::{
    Action, Block, BlockKind, LoadedRole, LoopControl, LoopKind, LoopSpec, Play, Playbook, Role, Step, Task, Variables,
};
pub use own::library_path;
pub use role::{RoleFrom, RoleRequest, find_role, load_role};
pub use rolling::{Gate, KEYS as ROLLING_KEYS, Limit, OnFailure, Rolling};
pub use tags::TagSelection;
pub use task::LOOP_CONTROL;

#[cfg(test)]
mod tests;
