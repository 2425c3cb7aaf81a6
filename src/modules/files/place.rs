//! Putting contents at a destination: what copy and template have in common.

use super::common::{Common, Step, describe, ends_with_slash, expand, show};
use super::delivery::Delivered;
use super::validate::Validation;
use crate::machine::files::{Digests, Kind, WriteOptions};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::FileMode;
use crate::modules::{Content, Context, ModuleError, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What goes where, and how.
pub(super) struct Placement<'a> {
    /// Destination as the user wrote it.
    pub dest: &'a str,
    /// The source's name, for a destination that is a directory; contents written in the task have none.
    pub basename: Option<&'a str>,
    /// Mode, owner and group.
    pub common: Common<'a>,
    /// Mode of directories that are made.
    pub directory_mode: Option<&'a FileMode>,
    /// Replace an existing file.
    pub force: bool,
    /// Keep a copy of an existing file.
    pub backup: bool,
    /// Write to what a link points to.
    pub follow: bool,
    /// The command that must accept the contents.
    pub validate: Option<&'a str>,
    /// SHA-1 that the contents must have.
    pub checksum: Option<&'a str>,
}

impl Placement<'_> {
    /// The file that is meant, with the directories above it made where a trailing slash asks for them.
    pub fn destination(&self, machine: &mut Machine) -> Step<PathBuf> {
        let dest = expand(machine, self.dest)?;
        let Some(basename) = self.basename else {
            if ends_with_slash(&dest) || machine.stat(&dest)?.is_some_and(|s| s.is_dir()) {
                return Err(ModuleError::Failed("can not use content with a dir as dest".into()));
            }
            return Ok(dest);
        };
        if ends_with_slash(&dest) {
            self.make_parents(machine, &dest)?;
            return Ok(dest.join(basename));
        }
        match machine.stat(&dest)? {
            Some(stat) if stat.is_dir() => Ok(dest.join(basename)),
            _ => Ok(dest),
        }
    }

    /// Makes a directory and those above it; new ones get owner, group and `directory_mode`.
    pub fn make_parents(&self, machine: &mut Machine, directory: &Path) -> Step<()> {
        if machine.stat(directory)?.is_some_and(|s| s.is_dir()) {
            return Ok(());
        }
        let attributes = self.directories().resolve_for(machine, None, Kind::Directory)?;
        machine.make_directories(directory, &attributes)?;
        Ok(())
    }

    /// Owner, group and mode for directories.
    pub fn directories(&self) -> Common<'_> {
        Common { mode: self.directory_mode, ..self.common }
    }

    /// Puts contents at `dest`, a file's path. Answers their digests and the backup.
    pub fn put(
        &self,
        machine: &mut Machine,
        dest: &Path,
        delivered: &mut Delivered<'_>,
        outcome: &mut Outcome,
    ) -> Step<Put> {
        if !self.force && machine.stat(dest)?.is_some() {
            return Ok(Put { path: dest.to_path_buf(), existed: true, ..Put::default() });
        }
        if let (Some(checksum), Delivered::Bytes(bytes)) = (self.checksum, &*delivered) {
            let found = Digests::of(bytes).sha1;
            if found != checksum {
                return Err(ModuleError::Failed(format!(
                    "the source does not have the expected checksum: SHA-1 {found} instead of {checksum}"
                )));
            }
        }
        parent_exists(machine, dest)?;
        let attributes = self.common.resolve(machine, dest, self.follow, Kind::File)?;
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
                let written = machine.write(dest, delivered.content(), &options, Some(&mut inspect));
                written.map_err(|error| validation.refusal(error.into()))?
            }
            None => machine.write(dest, delivered.content(), &options, None)?,
        };
        outcome.warnings.extend(validation.into_iter().flat_map(|v| v.warnings));
        let backup_expected = self.backup && written.content_changed && machine.predicted();
        Ok(Put {
            path: written.path,
            existed: false,
            same: !written.content_changed,
            digests: written.digests,
            backup: written.backup,
            backup_unknown: backup_expected,
        })
    }

    /// Puts one file, with Ansible's return values.
    pub fn run(
        &self,
        machine: &mut Machine,
        context: &mut Context<'_>,
        content: &Content,
        digests: Option<&Digests>,
    ) -> Step<Outcome> {
        let mut outcome = Outcome::ok();
        self.common.check(&mut outcome)?;
        let dest = self.destination(machine)?;
        let mut delivered = Delivered::of(content, digests, context.controller)?;
        let put = self.put(machine, &dest, &mut delivered, &mut outcome);
        let mut put = put.map_err(|error| with_checksum(error, &delivered))?;
        // What Ansible reaches through a link to a directory it copies anew, and returns like that.
        let given = expand(machine, self.dest)?;
        put.same &=
            self.follow || ends_with_slash(&given) || !machine.lstat(&given)?.is_some_and(|stat| stat.is_link());
        put.report(machine, &mut outcome)?;
        Ok(outcome)
    }
}

/// What became of one file.
#[derive(Default)]
pub(super) struct Put {
    pub path: PathBuf,
    /// It was there, and was not to be replaced.
    pub existed: bool,
    /// Its contents were right.
    pub same: bool,
    pub digests: Option<Digests>,
    pub backup: Option<PathBuf>,
    pub backup_unknown: bool,
}

impl Put {
    /// Ansible's return values.
    pub fn report(&self, machine: &Machine, outcome: &mut Outcome) -> Step<()> {
        outcome.data.insert("dest".into(), show(&self.path));
        if self.existed {
            return Ok(());
        }
        if self.same {
            outcome.data.insert("path".into(), show(&self.path));
        }
        if let Some(digests) = &self.digests {
            for (name, value) in [("checksum", &digests.sha1), ("md5sum", &digests.md5)] {
                if self.same && name == "md5sum" {
                    continue; // as of Ansible's, which leaves a file that is right to another module
                }
                if value.is_empty() {
                    outcome.unknown_fields.push(name.into());
                } else {
                    outcome.data.insert(name.into(), Value::from(value.as_str()));
                }
            }
        }
        if let Some(backup) = &self.backup {
            outcome.data.insert("backup_file".into(), show(backup));
        } else if self.backup_unknown {
            outcome.unknown_fields.push("backup_file".into());
        }
        describe(machine, &self.path, outcome)
    }
}

/// A failure to put contents somewhere, with what they are.
fn with_checksum(error: ModuleError, delivered: &Delivered<'_>) -> ModuleError {
    let Delivered::Bytes(bytes) = delivered else {
        return error;
    };
    if matches!(error, ModuleError::Machine(MachineError::Unknown { .. })) {
        return error;
    }
    ModuleError::Ended(Box::new(Outcome::from(error).with("checksum", Digests::of(bytes).sha1)))
}

/// The directory of a file must be there.
pub(super) fn parent_exists(machine: &Machine, path: &Path) -> Step<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    match machine.stat(parent) {
        Ok(Some(stat)) if stat.is_dir() => Ok(()),
        Ok(Some(_)) => Err(ModuleError::Failed(format!("{} is not a directory", parent.display()))),
        Ok(None) => Err(ModuleError::Failed(format!("Destination directory {} does not exist", parent.display()))),
        Err(MachineError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(ModuleError::Failed(format!("Destination directory {} is not accessible", parent.display())))
        }
        Err(error) => Err(error.into()),
    }
}
