//! `deploy pki sign`: somebody else's request.

use std::io::Write;

use super::arguments::{PkiArgs, Sign};
use super::{PkiCommandError, new_file, read};
use crate::pki::{self, SigningRequest, UnixTime};

impl PkiArgs {
    pub(super) fn sign(&self, sign: &Sign, now: UnixTime, out: &mut dyn Write) -> Result<(), PkiCommandError> {
        let request = SigningRequest::read(&read(&sign.csr)?, &sign.csr.display().to_string())?;
        request.judge(sign.profile, &sign.sans)?;
        if sign.out.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(PkiCommandError::File { path: sign.out.clone(), source });
        }
        let host = sign.host.as_deref().unwrap_or(&request.subject.common_name);
        let signed = self.open()?.sign(&sign.ca, host, &request, sign.profile, sign.lifetime, now)?;
        new_file(&sign.out, signed.chain_pem.as_bytes(), 0o644)?;
        for warning in &signed.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        out.write_all(pki::describe(&signed.info).as_bytes())?;
        writeln!(out, "file: {}", sign.out.display())?;
        Ok(())
    }
}
