//! `deploy pki`: certificates by hand, and what is to be said about those of the hosts.

mod arguments;
mod authority;
mod backup;
mod intermediate;
mod issue;
mod renew;
mod revoke;
mod sign;
mod status;
mod verify;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::access::Access;
use crate::pki::{self, CertInfo, DirStorage, Passphrase, PkiError, State, Store, UnixTime};

pub use arguments::PkiArgs;
use arguments::PkiCommand;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum PkiCommandError {
    /// The certificate room said so.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A file of the user's.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No place for the store.
    #[error("neither XDG_STATE_HOME nor HOME is set: name the store with --store")]
    NoHome,
    /// The output could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// Runs the command; what it has to say goes to `out`.
pub fn run(args: &PkiArgs, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
    let now = pki::now();
    let done = ExitCode::SUCCESS;
    match &args.command {
        PkiCommand::Init(init) => args.init(init, now, out).map(|()| done),
        PkiCommand::Status(status) => Ok(args.status(status, now, out)),
        PkiCommand::Issue(issue) => args.issue(issue, now, out).map(|()| done),
        PkiCommand::Sign(sign) => args.sign(sign, now, out).map(|()| done),
        PkiCommand::Renew(renew) => renew::renew(args, renew),
        PkiCommand::Revoke(revoke) => args.revoke(revoke, now, out).map(|()| done),
        PkiCommand::Export(export) => {
            out.write_all(args.open()?.require(&export.ca)?.bundle_pem.as_bytes())?;
            Ok(done)
        }
        PkiCommand::Import(import) => args.import(import, now, out).map(|()| done),
        PkiCommand::Intermediate(intermediate) => args.intermediate(intermediate, now, out).map(|()| done),
        PkiCommand::Verify(verify) => args.verify(verify, now, out),
        PkiCommand::Backup(backup) => args.backup(backup, now, out),
    }
}

/// Which store is meant.
#[derive(Clone, Debug)]
struct StoreChoice {
    /// Its directory, when it is named.
    place: Option<PathBuf>,
    /// Its name below the default directory.
    name: String,
    passphrase_file: Option<PathBuf>,
}

impl StoreChoice {
    /// The store at a place, or at the usual one.
    fn open_at(&self, place: Option<PathBuf>) -> Result<Store, PkiCommandError> {
        let place = place.or_else(|| pki::default_path(&self.name)).ok_or(PkiCommandError::NoHome)?;
        let storage = DirStorage::open(&place)?;
        Ok(Store::new(Box::new(storage), Passphrase::from(self.passphrase_file.clone())))
    }
}

impl PkiArgs {
    fn choice(&self) -> StoreChoice {
        StoreChoice {
            place: self.store.clone(),
            name: self.name.clone(),
            passphrase_file: self.passphrase_file.clone(),
        }
    }

    /// The store that the command line names.
    fn open(&self) -> Result<Store, PkiCommandError> {
        self.choice().open_at(self.store.clone())
    }
}

/// What `deploy pki status` would say of all hosts that needs somebody's attention, each with what it is about. Nothing where no
/// host has sets of certificates. An authority is only named when it is critical: its own end is known for a year.
pub(super) async fn judgement(access: &Arc<Access>) -> Result<Vec<(State, String, String)>, String> {
    let place = std::env::var_os("DEPLOY_PKI_STORE").map(PathBuf::from);
    let choice = StoreChoice { place, name: "default".into(), passphrase_file: None };
    let Some(report) = status::look::look_at_all(&choice, access, pki::now()).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for row in report.rows() {
        let of = status::report::whom(&row);
        let bad = row.findings.iter().filter(|(state, _)| *state != State::Ok);
        found.extend(bad.map(|(state, why)| (*state, of.clone(), why.to_string())));
    }
    for line in &report.authorities {
        let bad = line.findings.iter().filter(|finding| finding.state == State::Critical);
        found.extend(bad.map(|one| (one.state, format!("the authority {}", line.view.name), one.why.clone())));
    }
    found.extend(report.store_trouble.map(|why| (State::Unknown, "the store".to_string(), why)));
    Ok(found)
}

fn days_left(info: &CertInfo, now: UnixTime) -> i64 {
    (info.not_after - now).div_euclid(86_400)
}

fn read(path: &Path) -> Result<String, PkiCommandError> {
    std::fs::read_to_string(path).map_err(|source| PkiCommandError::File { path: path.to_path_buf(), source })
}

/// Writes a file that must not be there yet.
fn new_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiCommandError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| PkiCommandError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests;
