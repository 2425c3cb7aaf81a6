//! CA, issuing, inspection, renewal policy: pure decisions, storage behind a trait.
//!
//! Decisions are functions of observed facts and of a clock reading that is passed in, so that all of them are
//! tested by tables. What touches a disk is behind [`Storage`]. The three small files that a host needs to judge its own
//! pair ([`pem`], [`der`], [`mod@public_half`]) are built without the `controller` feature, the rest is not.

pub mod der;
pub mod pem;
pub mod public_half;

pub use public_half::{KeyEvidence, public_half};

#[cfg(feature = "controller")]
mod archive;
#[cfg(feature = "controller")]
mod authority;
#[cfg(feature = "controller")]
mod csr;
#[cfg(feature = "controller")]
mod describe;
#[cfg(feature = "controller")]
mod error;
#[cfg(feature = "controller")]
mod inspect;
#[cfg(feature = "controller")]
mod intermediate;
#[cfg(feature = "controller")]
mod issue;
#[cfg(feature = "controller")]
pub mod issuer;
#[cfg(feature = "controller")]
mod key;
#[cfg(feature = "controller")]
mod lifetime;
#[cfg(feature = "controller")]
mod name;
#[cfg(feature = "controller")]
mod passphrase;
#[cfg(feature = "controller")]
mod peers;
#[cfg(feature = "controller")]
pub mod probe;
#[cfg(feature = "controller")]
mod profile;
#[cfg(feature = "controller")]
mod renewal;
#[cfg(feature = "controller")]
mod rotation;
#[cfg(feature = "controller")]
mod sets;
#[cfg(feature = "controller")]
mod storage;
#[cfg(feature = "controller")]
mod store;
#[cfg(feature = "controller")]
mod verify;
#[cfg(feature = "controller")]
mod watch;

#[cfg(feature = "controller")]
pub use {
    archive::{Archive, pack},
    authority::{Authority, AuthoritySpec, NameRule},
    csr::{Signed, SigningRequest},
    describe::{describe, describe_foreign, describe_foreseen, describe_planned, diff},
    error::PkiError,
    inspect::{CertInfo, KeyKind, inspect, inspect_all, to_root},
    intermediate::Installed,
    issue::{Issued, Request},
    issuer::{Anchor, Answer, Issuer, IssuerSpec, Order, Pending, SpecError},
    key::{KeyType, PrivateKey},
    lifetime::{Lifetime, UnixTime, date, now},
    name::{San, Subject},
    passphrase::Passphrase,
    peers::distrust,
    profile::{Profile, Purpose},
    renewal::{Decision, Found, Reason, RenewalPolicy, Signer, Wanted, cluster_seed, early, renew_at, renewal},
    rotation::{Phase, Rotation},
    sets::{Port, Protocol, SetSpec},
    storage::{DirStorage, Locked, OverlayStorage, Storage},
    store::{AuthorityView, IssuedRecord, Revocation, Store, default_path},
    verify::{Admitted, CertSet, Problem, VerifyPolicy, admit, sentence, trusts, verify},
    watch::{
        FilesSeen, Finding, Knowledge, PortReport, SetReport, State, judge_authority, judge_port, judge_set, short,
        worst,
    },
};

#[cfg(all(test, feature = "controller"))]
mod tests;
