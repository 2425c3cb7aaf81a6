//! The network: firewalls, our own and those that hosts have, and what is asked of web servers.

pub(super) mod ask;
mod checksum;
mod firewall;
mod firewalld;
mod firewalld_wish;
mod get_url;
mod git;
mod git_archive;
mod git_calls;
mod iptables;
mod iptables_rule;
mod ufw;
mod ufw_state;
mod uri;
mod uri_body;

pub(super) use uri_body::read as contents;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &firewall::FIREWALL,
    &firewalld::FIREWALLD,
    &get_url::GET_URL,
    &git::GIT,
    &iptables::IPTABLES,
    &ufw::UFW,
    &uri::URI,
];
