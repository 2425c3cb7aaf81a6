//! What a Galera node's status means: gates, quorum, the decision to bootstrap, state transfers, provider options,
//! lints. Everything here is a function of observed facts.

mod bootstrap;
mod causes;
mod certificates;
mod gate;
mod lints;
mod options;
mod quorum;
mod recovery;
pub mod rollback;
mod stability;
mod statements;

mod status;
mod transfer;

pub use bootstrap::{Decision, decide};
pub use causes::{explain, notable};
pub use certificates::{Certificate, Leaf, Purpose};
pub use gate::{Expected, Member, Sample, Tolerances, Verdict, gate};
pub use lints::{Finding, NodeConfig, Severity, lint};
pub use options::{OptionChange, ProviderOptions};
pub use quorum::{Votes, rolling_slack, stays_primary, sudden_losses_tolerated};
pub use recovery::{Recovery, Standing, recover, standings, table};
pub use stability::{Progress, Stability};
pub use statements::{Statement, holds_up};
pub use status::{Closer, NodeStatus, Observation, Process, SavedState, is_null_uuid};
pub use transfer::{Transfer, ist_progress, predict};
