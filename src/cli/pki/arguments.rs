//! What may be written behind `deploy pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::pki::{KeyType, Lifetime, NameRule, Profile, Purpose, San};

/// The arguments of `deploy pki`.
#[derive(Debug, Args)]
pub struct PkiArgs {
    /// Directory of the store; by default ~/.local/state/deploy/pki/NAME.
    #[arg(long, global = true, value_name = "DIR", env = "DEPLOY_PKI_STORE")]
    pub(super) store: Option<PathBuf>,
    /// Name of the store below the default directory.
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub(super) name: String,
    /// File (mode 0600) with the passphrase of the CA keys; otherwise DEPLOY_PKI_PASSPHRASE, otherwise a prompt.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: PkiCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum PkiCommand {
    /// Make the authorities that do not exist yet.
    Init(Init),
    /// Show the authorities and the certificates that they signed, by the store's own record.
    ///
    /// The exit status is 1 when something should have been renewed already, 2 when something has expired or will
    /// within a tenth of its life.
    Status(Status),
    /// Issue a certificate into a directory: cert.pem, key.pem, ca.pem.
    Issue(Issue),
    /// Print an authority's certificates: what peers must trust.
    Export(Export),
    /// Take over an authority that was made elsewhere (by openssl, for example).
    Import(Import),
    /// Judge a certificate with its key and authority, as a server would have to.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Name of the authority for replication and state transfer.
    #[arg(long, default_value = "cluster")]
    pub(super) cluster: String,
    /// Name of the authority for 3306 and its clients.
    #[arg(long, default_value = "client")]
    pub(super) client: String,
    /// How long they live.
    #[arg(long, default_value = "10y")]
    pub(super) lifetime: Lifetime,
    /// ecdsa_p256, ecdsa_p384, ed25519, rsa_3072 or rsa_4096.
    #[arg(long, default_value = "ecdsa_p256")]
    pub(super) key_type: KeyType,
    /// Organisation in their subjects.
    #[arg(long)]
    pub(super) organization: Option<String>,
    /// Domains and networks outside of which they must not sign.
    #[arg(long = "permit", value_name = "NAME")]
    pub(super) permitted: Vec<NameRule>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// How to print it.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Which authority signs.
    #[arg(long)]
    pub(super) ca: String,
    /// cluster, server or client.
    #[arg(long)]
    pub(super) profile: Profile,
    /// Common name of the subject.
    #[arg(long)]
    pub(super) common_name: String,
    /// Organisation of the subject.
    #[arg(long)]
    pub(super) organization: Option<String>,
    /// A DNS name or address; may be repeated.
    #[arg(long = "san", value_name = "NAME")]
    pub(super) sans: Vec<San>,
    /// How long it lives.
    #[arg(long, default_value = "90d")]
    pub(super) lifetime: Lifetime,
    /// ecdsa_p256, ecdsa_p384, ed25519, rsa_3072 or rsa_4096.
    #[arg(long, default_value = "ecdsa_p256")]
    pub(super) key_type: KeyType,
    /// Directory for the files; it must not hold any of them yet.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Which authority.
    pub(super) ca: String,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Its name in the store.
    pub(super) ca: String,
    /// cluster or client.
    #[arg(long)]
    pub(super) purpose: Purpose,
    /// Its certificate; behind it those of its parents, if it is an intermediate.
    #[arg(long, value_name = "FILE")]
    pub(super) cert: PathBuf,
    /// Its private key (PKCS#8, PKCS#1 or SEC1).
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// File (mode 0600) with the passphrase of that key, if it has one.
    #[arg(long, value_name = "FILE")]
    pub(super) key_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The certificate, intermediates behind it.
    #[arg(long, value_name = "FILE")]
    pub(super) cert: PathBuf,
    /// The authorities that are trusted: a file, or by default those of the store.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// What it must be good for.
    #[arg(long, default_value = "cluster")]
    pub(super) profile: Profile,
    /// A name that it must be valid for; may be repeated.
    #[arg(long = "san", value_name = "NAME")]
    pub(super) sans: Vec<San>,
}
