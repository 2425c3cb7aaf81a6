//! `deploy pki backup`: the store in one file.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::arguments::{Backup, PkiArgs};
use super::{PkiCommandError, days_left, new_file};
use crate::pki::{self, Archive, Passphrase, UnixTime};

impl PkiArgs {
    pub(super) fn backup(
        &self,
        backup: &Backup,
        now: UnixTime,
        out: &mut dyn Write,
    ) -> Result<ExitCode, PkiCommandError> {
        if let Some(path) = &backup.verify {
            return self.verify_backup(path, now, out);
        }
        let Some(path) = &backup.file else { return Ok(ExitCode::FAILURE) };
        let store = self.open()?;
        let files = store.files()?;
        if store.authorities()?.is_empty() {
            let why = format!("there is no authority in {}: there is nothing to keep", store.location());
            return Err(PkiCommandError::Refused(why));
        }
        let packed = pki::pack(&files, now)?;
        // Nobody's disk is to hold a backup that nobody could use.
        let (authorities, issued) = Archive::read(&packed, &path.display().to_string())?.verify(None)?;
        new_file(path, &packed, 0o600)?;
        writeln!(
            out,
            "{}: {} authorities, {issued} certificates, {} bytes\nThe CA keys in it are encrypted with the store's \
             passphrase: keep that elsewhere, a backup without it is worth nothing.\nTo go back to it: make an empty \
             directory of mode 0700, and `tar -xpf` the file there.",
            path.display(),
            authorities.len(),
            packed.len()
        )?;
        Ok(ExitCode::SUCCESS)
    }

    fn verify_backup(&self, path: &Path, now: UnixTime, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
        let bytes = std::fs::read(path).map_err(|source| PkiCommandError::File { path: path.to_path_buf(), source })?;
        let passphrase = Passphrase::from(self.passphrase_file.clone());
        let closed = passphrase.at_hand().err();
        if let (Some(_), Some(why)) = (&self.passphrase_file, &closed) {
            return Err(PkiCommandError::Refused(format!("the keys were not tried: {why}")));
        }
        let open = closed.is_none().then_some(&passphrase);
        let (authorities, issued) = Archive::read(&bytes, &path.display().to_string())?.verify(open)?;
        for view in &authorities {
            let key = if closed.is_none() { "its key opens" } else { "its key was not tried" };
            writeln!(
                out,
                "{}: {} ({} authority), {} days left, {key}",
                view.name,
                view.info.subject,
                view.purpose.name(),
                days_left(&view.info, now)
            )?;
        }
        if authorities.is_empty() {
            let why = format!("{}: there is no authority in it", path.display());
            return Err(PkiCommandError::Refused(why));
        }
        writeln!(out, "{issued} certificates recorded")?;
        match closed {
            None => writeln!(out, "good")?,
            Some(why) => writeln!(out, "whole; whether the keys open is not known: {why}")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
