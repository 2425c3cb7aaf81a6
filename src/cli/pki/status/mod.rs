//! `deploy pki status`: the certificates of all hosts, in their files and on their ports, judged.

mod html;
pub(super) mod look;
mod metrics;
pub(super) mod report;
mod served;
mod store_only;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::PkiCommandError;
use super::arguments::{Format, PkiArgs, Status};
use crate::cli::access;
use crate::pki::{State, UnixTime};

impl PkiArgs {
    /// What went wrong with the look itself is `unknown`: 1 and 2 are judgements.
    pub(super) fn status(&self, status: &Status, now: UnixTime, out: &mut dyn Write) -> ExitCode {
        self.judged(status, now, out).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::from(State::Unknown.code())
        })
    }

    fn judged(&self, status: &Status, now: UnixTime, out: &mut dyn Write) -> Result<ExitCode, PkiCommandError> {
        let written = |text: &str, out: &mut dyn Write| match &status.out {
            Some(path) => replace(path, text.as_bytes()),
            // Whoever reads it may have seen enough (`| head`): that is no fault.
            None => {
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                Ok(())
            }
        };
        if status.store_only {
            let mut text = Vec::new();
            let code = self.store_only(status.format, now, &mut text)?;
            written(&String::from_utf8_lossy(&text), out)?;
            return Ok(code);
        }
        let access = match access::open(status.access.clone(), "looking at certificates") {
            Ok(access) => Arc::new(access),
            Err((said, _)) => {
                eprint!("{said}");
                return Ok(ExitCode::from(State::Unknown.code()));
            }
        };
        let report = match look::look(&self.choice(), &access, now) {
            Ok(report) => report,
            Err(why) => {
                eprintln!("error: {}", access.redactor.mask(&why));
                return Ok(ExitCode::from(State::Unknown.code()));
            }
        };
        for remark in access.take_remarks().iter().chain(&report.store_trouble) {
            eprintln!("warning: {}", access.redactor.mask(remark));
        }
        let text = match status.format {
            Format::Table => table::text(&report),
            Format::Json => format!("{:#}\n", report.json()),
            Format::Prometheus => metrics::text(&report),
            Format::Html => html::text(&report),
        };
        written(&access.redactor.mask(&text), out)?;
        Ok(ExitCode::from(report.state().code()))
    }
}

/// Replaces a file in one step: whoever reads it at the same time sees the old or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), PkiCommandError> {
    let failed = |source| PkiCommandError::File { path: path.to_path_buf(), source };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut file = tempfile::Builder::new().prefix(".pki-status.").tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    // Whoever collects metrics is another user than we.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A set or port in few words: what the table, the page and the metrics share.
fn days(end: UnixTime, now: UnixTime) -> i64 {
    (end - now).div_euclid(86_400)
}

#[cfg(test)]
mod tests;
