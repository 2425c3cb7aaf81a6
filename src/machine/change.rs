//! Changes are data: what a task did, or in a check would do.

use serde::{Deserialize, Serialize};

/// The part of a host that a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A file, directory or link; the name is its absolute path.
    File,
    /// A package of the system's package manager.
    Package,
    /// A systemd unit (or a service of another init).
    Unit,
    /// A user account.
    User,
    /// A group.
    Group,
    /// A kernel parameter.
    Sysctl,
    /// A mount; the name is its point.
    Mount,
    /// The host's name.
    Hostname,
    /// An entry of a crontab.
    Cron,
    /// A database.
    Database,
    /// An account of the database server.
    DatabaseAccount,
    /// A variable of the database server.
    DatabaseVariable,
    /// A firewall table.
    Firewall,
    /// A command that was run.
    Command,
    /// A certificate authority, certificate or key in a store.
    Pki,
    /// A cluster (bootstrap, join).
    Cluster,
    /// A setting that a program of the host keeps: the time zone, an answer for debconf, SELinux.
    Setting,
}

/// What was changed: `File /etc/hosts`, `Unit mariadb.service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Part of the host.
    pub domain: Domain,
    /// Name inside the domain.
    pub name: String,
}

impl Subject {
    /// A subject of `domain`.
    pub fn new(domain: Domain, name: impl Into<String>) -> Self {
        Subject { domain, name: name.into() }
    }
}

/// One side of a `Set`: a state before or after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// It did not, or will not, exist.
    Absent,
    /// Text to be shown as a unified diff (valid UTF-8, at most 1 MiB).
    Text(String),
    /// Contents too large or not text: size in bytes and SHA-256 in hex.
    Bytes {
        /// Bytes.
        size: u64,
        /// SHA-256, hex.
        sha256: String,
    },
    /// A small value: a mode `"0644"`, an owner, a version, a unit state.
    Value(serde_json::Value),
    /// Something secret: only a keyed or truncated digest is shown.
    Secret {
        /// Short fingerprint that differs when the contents differ.
        fingerprint: String,
    },
    /// Known only when it is applied (a new key, a serial number).
    AtApply(String),
    /// Cannot be predicted.
    Unknown,
}

/// What happened to the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// An aspect of the state went from `before` to `after`.
    Set {
        /// `content`, `mode`, `owner`, `group`, `state`, `version`, `enabled`, …
        aspect: String,
        /// State before.
        before: Facet,
        /// State after.
        after: Facet,
    },
    /// Something happened that is no state: a command ran, a unit was restarted, SQL was executed.
    Effect {
        /// A short sentence in the past tense: `restarted (pid 812 → 1290)`.
        what: String,
    },
    /// Something may have changed that we cannot see.
    Opaque,
}

/// Whether and how a change can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The state before can be restored exactly.
    Exact,
    /// Another action makes up for it (start what was stopped).
    Compensating,
    /// It cannot be undone.
    None,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was changed.
    pub subject: Subject,
    /// How.
    pub kind: ChangeKind,
    /// Whether it can be undone.
    pub undo: Undo,
    /// In a check: inferred from rules (what a package brings) instead of observed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
}

impl Change {
    /// A change of one aspect, exactly undoable.
    pub fn set(subject: Subject, aspect: impl Into<String>, before: Facet, after: Facet) -> Self {
        Change {
            subject,
            kind: ChangeKind::Set { aspect: aspect.into(), before, after },
            undo: Undo::Exact,
            inferred: false,
        }
    }

    /// The same change, which cannot be undone.
    pub fn lasting(mut self) -> Self {
        self.undo = Undo::None;
        self
    }

    /// Something that happened.
    pub fn effect(subject: Subject, what: impl Into<String>, undo: Undo) -> Self {
        Change { subject, kind: ChangeKind::Effect { what: what.into() }, undo, inferred: false }
    }
}
