//! What a Galera node's status means: gates, quorum, the decision to bootstrap, state transfers, provider options,
//! lints. Everything here is a function of observed facts.

mod bootstrap;
mod causes;
mod gate;
mod lints;
mod options;
mod quorum;
mod recovery;
mod status;
mod transfer;

pub use bootstrap::{Decision, decide};
pub use causes::{explain, notable};
pub use gate::{Member, Sample, Tolerances, Verdict, gate};
pub use lints::{Finding, NodeConfig, Severity, lint};
pub use options::{OptionChange, ProviderOptions};
pub use quorum::{Votes, stays_primary, sudden_losses_tolerated};
pub use recovery::{Recovery, Standing, recover, standings, table};
pub use status::{NodeStatus, Observation, Process, SavedState, is_null_uuid};
pub use transfer::{Transfer, ist_progress, predict};
