//! What is kept of a run on the controller: who asked for what, what happened, which turns of a rolling play are over,
//! and what is still owed to which host. Nothing in here is ever taken for the state of a host.

mod debts;
mod error;
mod fold;
mod id;
mod live;
mod record;
mod sources;
mod store;

pub use debts::{Debt, Due};
pub use error::JournalError;
pub use fold::{Progress, Turn, fold};
pub use id::new_id;
pub use live::{EventLog, Journal};
pub use record::{Applies, Ending, HandlerId, Meta, Step, TurnOutcome};
pub use sources::{SourceHashes, differences, hash_files};
pub use store::{Kept, Store};
