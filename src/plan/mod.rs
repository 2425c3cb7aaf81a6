//! Plans: what a check showed, kept so that exactly that is carried out later, or nothing.
//!
//! A plan holds the events of a check as they were shown (masked), and beside each result its *mark*: a keyed digest of
//! what the result said before it was masked. Applying a plan checks the hosts anew and compares the marks; where they
//! differ the host has moved. While the plan is carried out, each result is held against the plan again.

mod compare;
mod file;
mod guard;
mod key;
mod mark;
mod recorder;
mod signature;

pub use compare::{Difference, Moved, compare, refused};
pub use file::{Made, Order, Plan, PlanFile, program_hash};
pub use guard::Guard;
pub use key::Key;
pub use mark::{Mark, Place, Reached};
pub use recorder::{Recorder, Recording};
pub use signature::{Signed, sign, signature_path, verify};

use std::path::PathBuf;

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no plan.
    #[error("{} is no plan of `deploy --check --out`: {why}", path.display())]
    NoPlan {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It was written by a version that writes plans in another way.
    #[error(
        "{} is a plan of format {found}, and this version of deploy reads format {known}: make it anew",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What we read.
        known: u64,
    },
    /// Its contents are not those that were sealed.
    #[error("{} was changed after it was made: its seal does not fit. Make it anew", path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
    },
    /// It was sealed with another key.
    #[error(
        "{} was made with another key ({theirs}, here it is {ours}): a plan is applied where it was made, or where \
         DEPLOY_PLAN_KEY names a copy of that controller's key file",
        path.display()
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Name of the key that sealed it.
        theirs: String,
        /// Name of our key.
        ours: String,
    },
    /// The key's file is not fit to be one.
    #[error("{}: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What the check showed cannot be kept: masked, it does not have its form any more.
    #[error(
        "what was shown cannot be kept, because a secret is also a part of its form (a very short or common word?): {0}"
    )]
    Event(String),
    /// Signing or verifying failed.
    #[error("{0}")]
    Signature(String),
}

impl PlanError {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> PlanError {
        let path = path.into();
        move |source| PlanError::File { path, source }
    }
}
