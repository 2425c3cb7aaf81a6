//! What can go wrong with certificates, each with what to do.

/// An error of the certificate room.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A lifetime that is none.
    #[error(
        "`{text}` is no lifetime: write a number with s, m, h, d, w or y (90d), at least one minute and at most 100y"
    )]
    Lifetime {
        /// As written.
        text: String,
    },
    /// A subject alternative name that is no name.
    #[error("`{text}` cannot be a certificate's name: {why}")]
    Name {
        /// As written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A common name or organisation that X.509 does not take.
    #[error("`{text}` cannot be a certificate's subject: {why}")]
    Subject {
        /// As written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A word that is not among the known ones.
    #[error("`{text}` is no {what}: known are {known}")]
    Word {
        /// What was asked for.
        what: &'static str,
        /// As written.
        text: String,
        /// What would have been understood.
        known: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("{what} is no certificate that can be read: {why}")]
    Certificate {
        /// Where it came from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A signing request that is not granted.
    #[error("{what} is not signed: {why}")]
    Request {
        /// Where it came from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate that somebody else signed, and that cannot be used.
    #[error("{what} is not put in place: {why}")]
    Answer {
        /// Where it came from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// An issuer that did not sign.
    #[error("{issuer} signed nothing for {host}: {why}")]
    Issuer {
        /// Who.
        issuer: String,
        /// For whom.
        host: String,
        /// What it said, and what to do.
        why: String,
    },
    /// What the inventory says about issuers.
    #[error(transparent)]
    Spec(#[from] super::SpecError),
    /// A private key that cannot be read.
    #[error("{what} is no private key that can be read: {why}")]
    Key {
        /// Where it came from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase does not open {what}: give the one that it was encrypted with")]
    WrongPassphrase {
        /// Which key.
        what: String,
    },
    /// No passphrase, and one is needed.
    #[error("no passphrase for the CA keys: {why}")]
    NoPassphrase {
        /// What was tried, and what to set.
        why: String,
    },
    /// An authority that the store does not hold.
    #[error("there is no authority `{name}` in {store}: make it with `pki_ca` or `deploy pki init`, or import one")]
    NoAuthority {
        /// Its name.
        name: String,
        /// Where it was looked for.
        store: String,
    },
    /// An authority that may not be replaced.
    #[error(
        "the authority `{name}` exists already in {store}, and every certificate depends on it: it is not replaced"
    )]
    AuthorityExists {
        /// Its name.
        name: String,
        /// Where it is.
        store: String,
    },
    /// An authority that has run out.
    #[error(
        "the authority `{name}` expired at {date}: nothing it signs is valid, and every certificate below it is over. \
             Where the store signs for it, `deploy playbooks/recover-certs.yml -e recover_authority={name}` puts another one into its place \
             (docs/recovery.md)"
    )]
    AuthorityExpired {
        /// Its name.
        name: String,
        /// Its last moment.
        date: String,
    },
    /// An authority that does not fit what is asked of it.
    #[error("the authority `{name}` cannot be used: {why}")]
    Authority {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A profile that the authority must not sign.
    #[error("the {purpose} authority `{name}` must not sign a {profile} certificate: {why}")]
    Forbidden {
        /// The authority's name.
        name: String,
        /// What it is for.
        purpose: &'static str,
        /// What was asked for.
        profile: &'static str,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The store's place is not private.
    #[error("the certificate store {path} is refused: {why}")]
    Unsafe {
        /// Where.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The store could not be read or written.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// Where.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else works on the store.
    #[error("the certificate store {path} is locked by {holder}; waited {seconds} s")]
    Locked {
        /// Where.
        path: String,
        /// Who, as far as it is known.
        holder: String,
        /// How long this run has waited.
        seconds: u64,
    },
    /// A record in the store that cannot be understood.
    #[error("{path} in the certificate store is damaged: {why}; restore it from a backup")]
    Damaged {
        /// Which record.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cryptography refused.
    #[error("cannot {doing}: {why}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        why: String,
    },
}

impl PkiError {
    pub(crate) fn crypto(doing: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
        move |error| PkiError::Crypto { doing, why: error.to_string() }
    }
}
