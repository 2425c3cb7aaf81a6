//! What a Galera node's status means: gates, quorum, the decision to bootstrap, state transfers, provider options,
//! lints. Everything here is a function of observed facts.

mod balancers;
mod bootstrap;
mod causes;
mod certificates;
mod forecast;
mod gate;
mod lints;
mod options;
mod peers;
mod quorum;
mod recovery;
pub mod rollback;
mod settings;
mod stability;
mod statements;

mod status;
mod transfer;

pub use balancers::{Seen, haproxy_command, haproxy_servers, maxscale_command, proxysql_statements};
pub use bootstrap::{Decision, decide};
pub use causes::{explain, notable};
pub use certificates::{Certificate, Leaf, Purpose};
pub use forecast::{Before, Forecast, Kind, forecast, human};
pub use gate::{Expected, Member, Sample, Tolerances, Verdict, gate, trouble};
pub use lints::{Finding, NodeConfig, Severity, lint, period_ms};
pub use options::{OptionChange, ProviderOptions, size};
pub use peers::Peers;
pub use quorum::{Topology, Voter, Votes, stays_primary, sudden_losses_tolerated};
pub use recovery::{Recovery, Standing, recover, standings, table};
pub use settings::{
    Action, Circumstances, Effect, Pending, Running, SETTINGS, Setting, Wanted, choose, pending, pending_options,
    same_value,
};
pub use stability::{Progress, Stability};
pub use statements::{Statement, holds_up};
pub use status::{Closer, Links, NodeStatus, Observation, Process, SavedState, is_null_uuid};
pub use transfer::{Transfer, ist_progress, predict};
