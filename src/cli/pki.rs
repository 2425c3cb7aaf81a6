//! `deploy pki`: the certificate store by hand.

mod arguments;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::pki::{
    self, AuthoritySpec, AuthorityView, CertSet, DirStorage, IssuedRecord, KeyEvidence, Passphrase, PkiError, Purpose,
    Request, Store, Subject, UnixTime, VerifyPolicy,
};
use crate::secret::Secret;

pub use arguments::PkiArgs;
use arguments::{Format, Import, Init, Issue, PkiCommand, Status, Verify};

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
}

/// Runs the command; what it has to say goes to `out`.
pub fn run(args: &PkiArgs, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
    let now = pki::now();
    let done = ExitCode::SUCCESS;
    match &args.command {
        PkiCommand::Init(init) => args.init(init, now, out).map(|()| done),
        PkiCommand::Status(status) => args.status(status, now, out),
        PkiCommand::Issue(issue) => args.issue(issue, now, out).map(|()| done),
        PkiCommand::Export(export) => {
            out.write_all(args.open()?.require(&export.ca)?.bundle_pem.as_bytes())?;
            Ok(done)
        }
        PkiCommand::Import(import) => args.import(import, now, out).map(|()| done),
        PkiCommand::Verify(verify) => args.verify(verify, now, out),
    }
}

impl PkiArgs {
    fn open(&self) -> Result<Store, PkiCommandError> {
        let place = self.store.clone().or_else(|| pki::default_path(&self.name)).ok_or(PkiCommandError::NoHome)?;
        let storage = DirStorage::open(&place)?;
        Ok(Store::new(Box::new(storage), Passphrase::from(self.passphrase_file.clone())))
    }

    fn init(&self, init: &Init, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let store = self.open()?;
        for (name, purpose) in [(&init.cluster, Purpose::Cluster), (&init.client, Purpose::Client)] {
            let mut spec = AuthoritySpec::new(name, purpose)?;
            spec.lifetime = init.lifetime;
            spec.key_type = init.key_type;
            spec.permitted = init.permitted.clone();
            spec.subject = Subject::new(&spec.subject.common_name, init.organization.as_deref())?;
            let (view, made) = store.ensure(&spec, now)?;
            let word = if made { "made" } else { "exists" };
            writeln!(out, "{name}: {word}, {}", one_line(&view, now))?;
        }
        writeln!(out, "store: {}", store.location())?;
        Ok(())
    }

    fn status(&self, status: &Status, now: UnixTime, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
        let store = self.open()?;
        let mut authorities = Vec::new();
        for name in store.authorities()? {
            authorities.push(store.require(&name)?);
        }
        // Of each host, authority and subject only the newest counts: what came before has been replaced.
        let mut newest: BTreeMap<(String, String, String), IssuedRecord> = BTreeMap::new();
        for record in store.issued()? {
            newest.insert((record.host.clone(), record.authority.clone(), record.info.subject.clone()), record);
        }
        let worst = authorities
            .iter()
            .map(|view| &view.info)
            .chain(newest.values().map(|record| &record.info))
            .map(|info| urgency(info, now))
            .max()
            .unwrap_or(0);
        match status.format {
            Format::Json => {
                let authorities: Vec<_> = authorities
                    .iter()
                    .map(|view| {
                        json!({"name": view.name, "purpose": view.purpose, "info": view.info,
                               "days_left": days_left(&view.info, now), "state": word(urgency(&view.info, now))})
                    })
                    .collect();
                let certificates: Vec<_> = newest
                    .values()
                    .map(|record| {
                        json!({"host": record.host, "authority": record.authority, "profile": record.profile,
                               "issued_at": record.issued_at, "info": record.info,
                               "days_left": days_left(&record.info, now), "state": word(urgency(&record.info, now))})
                    })
                    .collect();
                let document =
                    json!({"store": store.location(), "authorities": authorities, "certificates": certificates});
                writeln!(out, "{document:#}")?;
            }
            Format::Table => {
                writeln!(out, "store {}", store.location())?;
                let mut rows = vec![["", "NAME", "FOR", "SUBJECT", "DAYS LEFT", "UNTIL", "SERIAL"].map(String::from)];
                let row = |name: &str, what: &str, info: &pki::CertInfo| {
                    [
                        word(urgency(info, now)).to_string(),
                        name.to_string(),
                        what.to_string(),
                        info.subject.clone(),
                        days_left(info, now).to_string(),
                        pki::date(info.not_after),
                        info.serial.clone(),
                    ]
                };
                rows.extend(authorities.iter().map(|view| row(&view.name, "authority", &view.info)));
                rows.extend(
                    newest.values().map(|r| row(&r.host, &format!("{} {}", r.authority, r.profile.name()), &r.info)),
                );
                table(&rows, out)?;
            }
        }
        Ok(ExitCode::from(worst))
    }

    fn issue(&self, issue: &Issue, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let request = Request {
            profile: issue.profile,
            subject: Subject::new(&issue.common_name, issue.organization.as_deref())?,
            sans: issue.sans.clone(),
            key_type: issue.key_type,
            lifetime: issue.lifetime,
        };
        let store = self.open()?;
        let view = store.require(&issue.ca)?;
        let in_the_way = ["cert.pem", "key.pem", "ca.pem"].map(|name| issue.out.join(name));
        if let Some(path) = in_the_way.into_iter().find(|path| path.exists()) {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(PkiCommandError::File { path, source });
        }
        let issued = store.issue(&issue.ca, &issue.common_name, &request, now)?;
        std::fs::create_dir_all(&issue.out)
            .map_err(|source| PkiCommandError::File { path: issue.out.clone(), source })?;
        new_file(&issue.out.join("key.pem"), issued.key_pem.expose(), 0o600)?;
        new_file(&issue.out.join("cert.pem"), &issued.chain_pem, 0o644)?;
        new_file(&issue.out.join("ca.pem"), &view.bundle_pem, 0o644)?;
        for warning in &issued.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        out.write_all(pki::describe(&issued.info).as_bytes())?;
        writeln!(out, "files: {}", issue.out.display())?;
        Ok(())
    }

    fn import(&self, import: &Import, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let store = self.open()?;
        let key = Secret::new(read(&import.key)?);
        let own = Passphrase::from(import.key_passphrase_file.clone());
        let (view, warnings) =
            store.import(&import.ca, import.purpose, &read(&import.cert)?, &key, &|| own.get(), now)?;
        for warning in warnings {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(out, "{}: imported, {}", view.name, one_line(&view, now))?;
        Ok(())
    }

    fn verify(&self, verify: &Verify, now: UnixTime, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
        let trust = match &verify.ca {
            Some(path) => read(path)?,
            None => {
                let store = self.open()?;
                let mut all = String::new();
                for name in store.authorities()? {
                    all.push_str(&store.require(&name)?.bundle_pem);
                }
                all
            }
        };
        let cert = read(&verify.cert)?;
        let key = match &verify.key {
            Some(path) => pki::public_half(&read(path)?),
            // Without a key there is nothing to compare: judged as if it fitted.
            None => KeyEvidence::Public(pki::inspect(&cert, &verify.cert.display().to_string())?.public_key_sha256),
        };
        let policy = VerifyPolicy {
            server_auth: verify.profile.server_auth(),
            client_auth: verify.profile.client_auth(),
            names: verify.sans.clone(),
        };
        match pki::verify(CertSet { cert: &cert, trust: &trust, key: &key }, &policy, now) {
            Ok(info) => {
                out.write_all(pki::describe(&info).as_bytes())?;
                writeln!(out, "good")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problems) => {
                for problem in problems {
                    writeln!(out, "bad: {problem}")?;
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn one_line(view: &AuthorityView, now: UnixTime) -> String {
    format!(
        "{} ({} authority), {} days left, sha256 {}",
        view.info.subject,
        view.purpose.name(),
        days_left(&view.info, now),
        view.info.fingerprint_colons()
    )
}

fn days_left(info: &pki::CertInfo, now: UnixTime) -> i64 {
    (info.not_after - now).div_euclid(86_400)
}

/// 0 while all is well, 1 when 80 % of the life are over, 2 when nine tenths are.
fn urgency(info: &pki::CertInfo, now: UnixTime) -> u8 {
    let life = (info.not_after - info.not_before).max(1);
    match (info.not_after - now).saturating_mul(10) {
        left if left <= life => 2,
        left if left <= life.saturating_mul(2) => 1,
        _ => 0,
    }
}

fn word(urgency: u8) -> &'static str {
    match urgency {
        0 => "ok",
        1 => "WARNING",
        _ => "CRITICAL",
    }
}

fn table(rows: &[[String; 7]], out: &mut dyn Write) -> std::io::Result<()> {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, PkiCommandError> {
    std::fs::read_to_string(path).map_err(|source| PkiCommandError::File { path: path.to_path_buf(), source })
}

fn new_file(path: &Path, text: &str, mode: u32) -> Result<(), PkiCommandError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| PkiCommandError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Whole {
        #[command(flatten)]
        pki: PkiArgs,
    }

    fn deploy_pki(words: &[&str]) -> (String, String) {
        let args = match Whole::try_parse_from(std::iter::once(&"deploy-pki").chain(words)) {
            Ok(args) => args,
            Err(error) => return (String::new(), error.to_string()),
        };
        let mut out = Vec::new();
        match run(&args.pki, &mut out) {
            Ok(code) => (String::from_utf8(out).unwrap(), format!("{code:?}")),
            Err(error) => (String::from_utf8(out).unwrap(), error.to_string()),
        }
    }

    #[test]
    fn a_store_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("pass"), "secret").unwrap();
        std::fs::set_permissions(path("pass"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let (store, pass, leaf) = (path("store"), path("pass"), path("leaf"));
        let with = |words: &[&str]| deploy_pki(&[&["--store", &store, "--passphrase-file", &pass], words].concat());
        let fine = format!("{:?}", ExitCode::SUCCESS);
        let (said, code) = with(&["init", "--organization", "Example"]);
        assert!(code == fine && said.contains("cluster: made, /O=Example/CN=cluster CA"), "{said} {code}");
        assert!(with(&["init"]).0.contains("client: exists"));
        let issue = ["issue", "--ca", "cluster", "--profile", "cluster", "--common-name", "galera1", "--out", &leaf];
        assert!(with(&issue).1.contains("at least one DNS name"));
        assert!(with(&[&issue[..], &["--san", "10.0.0.300"]].concat()).1.contains("10.0.0.300"));
        let (said, code) = with(&[&issue[..], &["--san", "galera1", "--san", "10.0.0.1"]].concat());
        assert!(code == fine && said.contains("name: IP:10.0.0.1"), "{said} {code}");
        let (cert, key) = (path("leaf/cert.pem"), path("leaf/key.pem"));
        let verify = ["verify", "--cert", &cert, "--key", &key, "--san"];
        assert_eq!(with(&[&verify[..], &["galera1"]].concat()).1, fine);
        assert!(with(&[&verify[..], &["galera2"]].concat()).0.contains("bad: it is not valid for DNS:galera2"));
        let (table, code) = with(&["status"]);
        assert!(code == fine && table.contains("cluster cluster") && table.contains("/CN=galera1"), "{table}");
        let document: serde_json::Value = serde_json::from_str(&with(&["status", "--format", "json"]).0).unwrap();
        assert_eq!(document["certificates"][0]["host"], "galera1");
        assert!(with(&["export", "client"]).0.starts_with("-----BEGIN CERTIFICATE-----"));
        let refused =
            with(&["issue", "--ca", "cluster", "--profile", "client", "--common-name", "app", "--out", &path("x")]);
        assert!(refused.1.contains("can join replication"), "{refused:?}");
    }
}
