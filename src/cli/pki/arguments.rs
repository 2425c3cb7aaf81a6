//! What may be written behind `deploy pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::arguments::AccessArguments;
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
    /// Judge the certificates of the hosts: what lies in their files, what their ports serve, when they end.
    ///
    /// Every host of the inventory with the variable `pki_sets` is looked at, all at the same time. What a port serves is
    /// asked from outside, through the agent of another host that serves the same. Exit code, as monitoring plugins
    /// have it: 0 all is well, 1 warning, 2 critical, 3 something could not be seen. A renewal that did not happen is a
    /// warning after four fifths of a certificate's life, and critical after nine tenths.
    Status(Box<Status>),
    /// Issue a certificate into a directory: cert.pem, key.pem, ca.pem.
    Issue(Issue),
    /// Sign somebody else's request (CSR), after judging what it asks for.
    Sign(Sign),
    /// Renew the sets of hosts now, whether they are due or not: runs playbooks/rotate-certs.yml.
    Renew(Box<Renew>),
    /// Mark a certificate as one that must not be used any more, and say what that does and what it does not.
    Revoke(Revoke),
    /// Print an authority's certificates: what peers must trust.
    Export(Export),
    /// Take over an authority that was made elsewhere (by openssl, for example).
    Import(Import),
    /// An authority whose root is offline: its intermediate is requested, signed by the root, and put in place.
    #[command(subcommand)]
    Intermediate(Intermediate),
    /// Judge a certificate with its key and authority, as a server would have to.
    Verify(Verify),
    /// Copy the store into one tar file, CA keys encrypted as they are; or judge such a file.
    Backup(Backup),
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
    /// Make the roots in this directory, or take those that are in it, and keep in the store only intermediates below them.
    /// The directory may be unplugged afterwards.
    #[arg(long, value_name = "DIR")]
    pub(super) offline_root: Option<PathBuf>,
    #[command(flatten)]
    pub(super) root: RootPassphrase,
    /// How long new roots live.
    #[arg(long, default_value = "20y", requires = "offline_root")]
    pub(super) root_lifetime: Lifetime,
}

#[derive(Debug, Args)]
pub(super) struct RootPassphrase {
    /// File (mode 0600) with the passphrase of the offline roots' keys; otherwise DEPLOY_PKI_ROOT_PASSPHRASE, otherwise a prompt.
    #[arg(long, value_name = "FILE")]
    pub(super) root_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Intermediate {
    /// Make a key in the store and a request (CSR) for an intermediate of it.
    Request {
        /// The authority, which need not exist yet.
        #[arg(long)]
        ca: String,
        /// cluster or client; needed where the authority does not exist yet and its name is neither.
        #[arg(long)]
        purpose: Option<Purpose>,
        /// ecdsa_p256, ecdsa_p384, ed25519, rsa_3072 or rsa_4096.
        #[arg(long, default_value = "ecdsa_p256")]
        key_type: KeyType,
        /// Organisation in its subject.
        #[arg(long)]
        organization: Option<String>,
        /// File for the request; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign such a request with a root; no store is needed, so that it may be done on a machine without a network.
    Sign {
        /// The directory of the roots.
        #[arg(long, value_name = "DIR")]
        offline_root: PathBuf,
        #[command(flatten)]
        root: RootPassphrase,
        /// Which root.
        #[arg(long)]
        ca: String,
        /// The request (PEM).
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// How long it lives.
        #[arg(long, default_value = "10y")]
        lifetime: Lifetime,
        /// File for the certificate, the root behind it; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Put the signed certificate in place: the intermediate signs from now on.
    Install {
        /// The authority.
        #[arg(long)]
        ca: String,
        /// cluster or client, as it was requested.
        #[arg(long)]
        purpose: Option<Purpose>,
        /// The intermediate, its root behind it unless that is the present one.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
    },
    /// The three in one, where the root is plugged in.
    Renew {
        /// The authority.
        #[arg(long)]
        ca: String,
        /// The directory of the roots.
        #[arg(long, value_name = "DIR")]
        offline_root: PathBuf,
        #[command(flatten)]
        root: RootPassphrase,
        /// How long it lives.
        #[arg(long, default_value = "10y")]
        lifetime: Lifetime,
    },
}

/// How what was found is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// Metrics, for the node exporter's folder of text files.
    Prometheus,
    /// One page that needs nothing else.
    Html,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) access: AccessArguments,
    /// How to write what was found.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,
    /// Write it into this file, in one step, instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Look at no host: show the authorities and what they signed, by the store's own record.
    #[arg(long)]
    pub(super) store_only: bool,
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// Which authority signs.
    #[arg(long)]
    pub(super) ca: String,
    /// cluster, server or client: what the certificate will be good for, whatever the request asks.
    #[arg(long)]
    pub(super) profile: Profile,
    /// The request (PEM).
    #[arg(long, value_name = "FILE")]
    pub(super) csr: PathBuf,
    /// A name that it may ask for; may be repeated. Any it asks for, when none is given.
    #[arg(long = "san", value_name = "NAME")]
    pub(super) sans: Vec<San>,
    /// For which host it is recorded; its common name when missing.
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// How long it lives.
    #[arg(long, default_value = "90d")]
    pub(super) lifetime: Lifetime,
    /// File for the certificate, intermediates behind it; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    #[command(flatten)]
    pub(super) access: AccessArguments,
    /// A host whose sets are renewed; may be repeated.
    #[arg(long = "host", value_name = "HOST", required = true, value_delimiter = ',')]
    pub(super) hosts: Vec<String>,
    /// Only predict what would be changed.
    #[arg(short = 'C', long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Its serial number, or the beginning of it.
    pub(super) serial: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file; it must not be there yet.
    #[arg(value_name = "FILE", required_unless_present = "verify")]
    pub(super) file: Option<PathBuf>,
    /// Judge this backup instead: is it whole, and does the passphrase open every CA key in it.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(super) verify: Option<PathBuf>,
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
