//! Certificates: authorities on the controller, leaves on the hosts.

mod ca;
mod certificate;
#[cfg(feature = "controller")]
mod given;
#[cfg(feature = "controller")]
mod issued;
#[cfg(feature = "controller")]
mod issuers;
mod pending;
mod rotation;
mod set;
mod status;
#[cfg(feature = "controller")]
mod stores;
#[cfg(feature = "controller")]
mod waiting;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&ca::MODULE, &certificate::MODULE, &rotation::MODULE, &status::MODULE];

/// Whether [`preflight`] has something to say about a module.
#[cfg(feature = "controller")]
pub fn has_preflight(module: &Module) -> bool {
    module.name == ca::MODULE.name || module.name == certificate::MODULE.name
}

/// Judges a task of this family by its templated arguments alone, before any connection: a name that is none, an
/// unknown profile, a lifetime that is no lifetime, an authority that has expired. Other modules pass.
#[cfg(feature = "controller")]
pub fn preflight(
    module: &Module,
    host: &dyn super::ActionHost,
    arguments: serde_json::Map<String, serde_json::Value>,
) -> Result<(), super::ActionError> {
    match module.name {
        name if name == ca::MODULE.name => ca::preflight(host, arguments),
        name if name == certificate::MODULE.name => certificate::preflight(host, arguments),
        _ => Ok(()),
    }
}

#[cfg(all(test, feature = "controller"))]
mod tests;
