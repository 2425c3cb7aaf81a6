//! What the modules that edit a file have in common: reading it, and putting the new contents in place.

use super::common::{Common, Step, expand};
use super::validate::Validation;
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::pattern::{Flags, Pattern, PatternError};
use crate::modules::{ModuleError, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Larger files are not edited.
const LIMIT: u64 = 64 * 1024 * 1024;

/// A file to be edited.
pub(in crate::modules) struct Edit<'a> {
    pub path: PathBuf,
    /// Its contents, if it exists.
    pub before: Option<Vec<u8>>,
    pub common: Common<'a>,
    pub backup: bool,
    pub validate: Option<&'a str>,
    /// What a link points to is edited; otherwise a file takes the link's place.
    pub follow: bool,
}

impl<'a> Edit<'a> {
    /// Reads the file.
    pub fn open(
        machine: &Machine,
        path: &str,
        common: Common<'a>,
        backup: bool,
        validate: Option<&'a str>,
    ) -> Step<Edit<'a>> {
        let path = expand(machine, path)?;
        let before = match machine.stat(&path)? {
            Some(stat) if stat.is_dir() => {
                return Err(ModuleError::with_rc(format!("Path {} is a directory !", path.display()), 256));
            }
            Some(_) => Some(machine.read_file(&path, LIMIT)?),
            None => None,
        };
        Ok(Edit { path, before, common, backup, validate, follow: true })
    }

    /// Makes the directories above a file that is about to be made.
    pub fn make_parents(&self, machine: &mut Machine) -> Step<()> {
        if self.before.is_none()
            && let Some(parent) = self.path.parent()
        {
            machine.make_directories(parent, &Default::default())?;
        }
        Ok(())
    }

    /// Puts new contents in place, if there are any, and sets the attributes. `message` says what the edit did.
    /// The name of a backup is returned under `backup_name`.
    pub fn finish(
        self,
        machine: &mut Machine,
        after: Option<Vec<u8>>,
        message: &str,
        backup_name: &str,
    ) -> Step<Outcome> {
        let mut outcome = Outcome::ok();
        self.common.check(&mut outcome)?;
        let mut message = message.to_string();
        let stat = machine.stat(&self.path)?;
        let attributes = self.common.resolve_for(machine, stat.as_ref(), Kind::File)?;
        let fresh = machine.umask();
        let (mode, uid, gid) = stat
            .as_ref()
            .map_or((0o666 & !fresh, rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()), |s| {
                (s.mode, s.uid, s.gid)
            });
        let differs = attributes.mode.is_some_and(|m| m != mode)
            || attributes.owner.is_some_and(|o| o != uid)
            || attributes.group.is_some_and(|g| g != gid);
        let changed = after.is_some();
        match after {
            Some(bytes) => {
                let options = WriteOptions {
                    attributes,
                    follow: self.follow,
                    backup: self.backup,
                    unsafe_writes: self.common.unsafe_writes,
                    sensitive: false,
                };
                let mut validation = Validation::parse(self.validate)?;
                let written = match &mut validation {
                    Some(validation) => {
                        let mut inspect = |machine: &Machine, file: &Path| validation.run(machine, file);
                        machine.write(&self.path, NewContent::Bytes(&bytes), &options, Some(&mut inspect))?
                    }
                    None => machine.write(&self.path, NewContent::Bytes(&bytes), &options, None)?,
                };
                outcome.warnings.extend(validation.into_iter().flat_map(|v| v.warnings));
                if let Some(backup) = written.backup {
                    outcome.data.insert(backup_name.into(), Value::from(backup.to_string_lossy()));
                } else if self.backup && stat.is_some() && machine.predicted() {
                    outcome.unknown_fields.push(backup_name.into());
                }
            }
            None if stat.is_some() => {
                machine.set_attributes(&self.path, &attributes, true)?;
            }
            None => {}
        }
        if differs && (changed || stat.is_some()) {
            if changed {
                message.push_str(" and ");
            }
            message.push_str("ownership, perms or SE linux context changed");
        }
        outcome.msg = Some(message);
        Ok(outcome)
    }
}

/// A pattern given as the argument `name`, for text in bytes.
pub(in crate::modules) fn pattern(name: &str, text: &str, flags: Flags) -> Step<Pattern> {
    Pattern::of_bytes(text, flags).map_err(|e| ModuleError::argument(name, e.to_string()))
}

/// A search that was given up.
pub(in crate::modules) fn given_up(error: PatternError) -> ModuleError {
    ModuleError::Failed(error.to_string())
}

/// Lines with their ends; a line ends at `\n`.
pub(in crate::modules) fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// A line without its end.
pub(in crate::modules) fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |at| at + 1);
    line.get(..end).unwrap_or_default()
}
