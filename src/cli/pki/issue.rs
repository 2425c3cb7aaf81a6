//! `deploy pki issue`: a certificate with its key, into a directory.

use std::io::Write;

use super::arguments::{Issue, PkiArgs};
use super::{PkiCommandError, new_file};
use crate::pki::{self, Request, Subject, UnixTime};

impl PkiArgs {
    pub(super) fn issue(&self, issue: &Issue, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
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
        let issued = store.issue_by_hand(&issue.ca, &issue.common_name, &request, now)?;
        std::fs::create_dir_all(&issue.out)
            .map_err(|source| PkiCommandError::File { path: issue.out.clone(), source })?;
        new_file(&issue.out.join("key.pem"), issued.key_pem.expose().as_bytes(), 0o600)?;
        new_file(&issue.out.join("cert.pem"), issued.chain_pem.as_bytes(), 0o644)?;
        new_file(&issue.out.join("ca.pem"), view.bundle_pem.as_bytes(), 0o644)?;
        for warning in &issued.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        out.write_all(pki::describe(&issued.info).as_bytes())?;
        writeln!(out, "files: {}", issue.out.display())?;
        Ok(())
    }
}
