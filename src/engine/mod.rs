//! A play's run: batches, meeting points, handlers, blocks, loops.

mod action;
mod batches;
mod board;
mod call;
mod completion;
mod control;
pub mod event;
mod facts;
mod finish;
mod fleet;
mod frame;
mod host;
mod include;
mod loops;
mod once;
mod play;
mod position;
mod preflight;
mod prepare;
mod prompts;
mod role_spec;
mod run;
mod synthetic;
mod task;
mod turns;
mod variables;
mod walker;
mod watch;

pub use fleet::Fleet;
pub use include::Loader;
pub use play::{Next, run_play};
pub use preflight::{preflight, report};
pub use run::{BecomeOptions, Options, Parts, Run, Verdict};
