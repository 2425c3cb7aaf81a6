//! Files to YAML nodes with spans (Ansible's scalar rules) to diagnostics.
//!
//! [`SourceFile::read`] → [`load_yaml`] → [`Node`]; whatever is wrong becomes a [`Diag`] at its place.
//! JSON is read by the same loader: for our purposes it is a subset of YAML.

#[cfg(feature = "controller")]
pub(crate) mod codec;
mod de;
mod diag;
mod excerpt;
mod explain;
mod file;
mod layout;
mod loader;
mod name;
mod node;
mod reads;
mod scalar;
mod suggest;
mod vaulted;

pub use de::DeError;
pub use diag::{Diag, Diags, Severity};
pub(crate) use file::io_reason;
pub use file::{SourceFile, Span};
pub use loader::{load_yaml, load_yaml_str};
pub use name::is_variable_name;
pub use node::{KeyId, Mapping, Node, NodeData, NodeValue, ScalarStyle};
pub use reads::{Reads, hashes_of};
pub use scalar::{large_integer, parse_bool, resolve_plain};
pub use suggest::did_you_mean;
pub use vaulted::{VAULT_HEADER, VaultHook, load_yaml_file, no_vault, read_maybe_vaulted};

#[cfg(test)]
mod tests;
