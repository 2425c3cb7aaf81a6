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
mod refused;
mod rotation;
mod set;
mod status;
#[cfg(feature = "controller")]
mod stores;
#[cfg(feature = "controller")]
mod waiting;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] =
    &[&ca::MODULE, &certificate::MODULE, &refused::MODULE, &rotation::MODULE, &status::MODULE];

/// Whether [`preflight`] has something to say about a module.
#[cfg(feature = "controller")]
pub fn has_preflight(module: &Module) -> bool {
    [ca::MODULE.name, certificate::MODULE.name, status::MODULE.name].contains(&module.name)
}

/// Refuses what the variable `pki_sets` cannot say, wherever a task of this family may go by it.
#[cfg(feature = "controller")]
fn lint_sets(host: &dyn super::ActionHost) -> Result<(), super::ActionError> {
    // What is not known yet, or cannot be evaluated, is another's to report.
    let Ok(Some(sets)) = host.variable("pki_sets") else { return Ok(()) };
    crate::pki::SetSpec::list(&sets).map(drop).map_err(super::ActionError::Failed)
}

/// Judges a task of this family by its templated arguments alone, before any connection: a name that is none, an
/// unknown profile, a lifetime that is no lifetime, an authority that has expired, a word in `pki_sets` that nobody reads. Other
/// modules pass.
#[cfg(feature = "controller")]
pub fn preflight(
    module: &Module,
    host: &dyn super::ActionHost,
    arguments: serde_json::Map<String, serde_json::Value>,
) -> Result<(), super::ActionError> {
    match module.name {
        name if name == ca::MODULE.name => ca::preflight(host, arguments),
        name if name == certificate::MODULE.name => {
            lint_sets(host)?;
            certificate::preflight(host, arguments)
        }
        name if name == status::MODULE.name => lint_sets(host),
        _ => Ok(()),
    }
}

#[cfg(all(test, feature = "controller"))]
mod tests;
