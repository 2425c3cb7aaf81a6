//! Plays, blocks, tasks, roles: typed, spanned, validated; runs nothing.

mod index;
mod keywords;
mod model;
mod tags;

pub use index::{ModuleArgument, ModuleIndex, ModuleInfo, RegisteredModules};
pub use keywords::{Keywords, Place};
pub use model::{
    Action, Block, BlockKind, LoadedRole, LoopControl, LoopKind, LoopSpec, Play, Playbook, Role, Step, Task, Variables,
};
pub use tags::TagSelection;
