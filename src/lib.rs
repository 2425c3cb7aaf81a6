//! `deploy`: an Ansible-style declarative deployment agent.
//!
//! A folder is a room, a file is one concept. Data flows one way:
//! `cli → source → inventory/playbook → engine → (template, vars) → connection → wire → agent → modules → machine`,
//! and results come back as events to `report`. Rooms below know nothing of rooms above; the rooms of the agent
//! (`wire`, `agent`, `machine`, the host half of `modules`) are built without the `controller` feature.

pub mod agent;
pub mod galera;
pub mod machine;
pub mod modules;
pub mod pki;
pub mod secret;
pub mod wire;

#[cfg(feature = "controller")]
pub mod ask;
#[cfg(feature = "controller")]
pub mod cli;
#[cfg(feature = "controller")]
pub mod config;
#[cfg(feature = "controller")]
pub mod connection;
#[cfg(feature = "controller")]
pub mod credential;
#[cfg(feature = "controller")]
pub mod engine;
#[cfg(feature = "controller")]
pub mod http;
#[cfg(feature = "controller")]
pub mod inventory;
#[cfg(feature = "controller")]
pub mod journal;
#[cfg(feature = "controller")]
pub mod lint;
#[cfg(feature = "controller")]
pub mod plan;
#[cfg(feature = "controller")]
pub mod playbook;
#[cfg(feature = "controller")]
pub mod redact;
#[cfg(feature = "controller")]
pub mod report;
#[cfg(feature = "controller")]
pub mod source;
#[cfg(feature = "controller")]
pub mod template;
#[cfg(feature = "controller")]
pub mod vars;
#[cfg(feature = "controller")]
pub mod window;
