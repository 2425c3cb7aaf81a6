//! A play's run: batches, meeting points, handlers, blocks, loops.

mod board;
pub mod event;
mod position;
