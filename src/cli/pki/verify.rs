//! `deploy pki verify`: would a server work with these files.

use std::io::Write;
use std::process::ExitCode;

use super::arguments::{PkiArgs, Verify};
use super::{PkiCommandError, read};
use crate::pki::{self, CertSet, KeyEvidence, UnixTime, VerifyPolicy};

impl PkiArgs {
    pub(super) fn verify(
        &self,
        verify: &Verify,
        now: UnixTime,
        out: &mut dyn Write,
    ) -> Result<ExitCode, PkiCommandError> {
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
        let policy = VerifyPolicy::of(verify.profile, &verify.sans);
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
