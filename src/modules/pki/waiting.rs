//! Requests that wait in a folder on the controller until somebody has signed them.

use std::path::Path;

use crate::machine::Machine;
use crate::machine::files::{Attributes, NewContent, WriteOptions};
use crate::modules::{ActionError, ActionHost};
use crate::pki::issuer::{ANSWERS, Received, Waits};

/// Where answers go that were put in place.
const INSTALLED: &str = "installed";

/// Puts a request into its folder. Says how many wait there.
pub fn put(host: &dyn ActionHost, waits: &Waits) -> Result<usize, ActionError> {
    let folder = waits.file.parent().unwrap_or(Path::new("/"));
    // A key that a check has made is not the one that will be asked for.
    let foreseen = host.check() && waits.key.is_some();
    let mut number = 0;
    host.with_controller(&mut |machine| {
        machine.make_directories(folder, &mode(0o755)).map_err(wrong)?;
        let there = machine.read_file_if_exists(&waits.file, 1 << 20).map_err(wrong)?;
        if there.as_deref() != Some(waits.request.as_bytes()) {
            let content = match foreseen {
                true => NewContent::AtApply("made at apply"),
                false => NewContent::Bytes(waits.request.as_bytes()),
            };
            let options = WriteOptions { attributes: mode(0o644), ..WriteOptions::default() };
            machine.write(&waits.file, content, &options, None).map_err(wrong)?;
        }
        number = waiting(machine, folder)?;
        Ok(())
    })?;
    Ok(number)
}

/// Puts an answer aside that is in force now, and its request with it.
pub fn settle(host: &dyn ActionHost, received: &Received) -> Result<(), ActionError> {
    let file = &received.file;
    let folder = file.parent().unwrap_or(Path::new("/")).join(INSTALLED);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!("{stem}.{}.pem", received.signed.info.serial));
    host.with_controller(&mut |machine| {
        machine.make_directories(&folder, &mode(0o755)).map_err(wrong)?;
        let options = WriteOptions { attributes: mode(0o644), ..WriteOptions::default() };
        let chain = NewContent::Bytes(received.signed.chain_pem.as_bytes());
        machine.write(&aside, chain, &options, None).map_err(wrong)?;
        machine.remove(file.with_extension("csr")).map_err(wrong)?;
        machine.remove(file).map_err(wrong)?;
        Ok(())
    })
}

/// How many requests in a folder have no answer beside them.
fn waiting(machine: &Machine, folder: &Path) -> Result<usize, ActionError> {
    let names = machine.list_directory(folder).map_err(wrong)?;
    let unanswered = |name: &&std::ffi::OsString| {
        let path = Path::new(name);
        let answered =
            ANSWERS.iter().any(|end| names.iter().any(|other| *other == *path.with_extension(end).as_os_str()));
        path.extension().is_some_and(|end| end == "csr") && !answered
    };
    Ok(names.iter().filter(unanswered).count())
}

fn mode(mode: u32) -> Attributes {
    Attributes { mode: Some(mode), ..Attributes::default() }
}

fn wrong(error: impl std::fmt::Display) -> ActionError {
    ActionError::Failed(error.to_string())
}
