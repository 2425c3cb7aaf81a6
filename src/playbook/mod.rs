//! Plays, blocks, tasks, roles: typed, spanned, validated; runs nothing.

mod model;

pub use model::*;
