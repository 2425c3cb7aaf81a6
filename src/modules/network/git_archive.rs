//! `archive` of `git`: what the repository holds at a version, packed into one file.

use super::git_calls::Git;
use crate::machine::files::{NewContent, WriteOptions};
use crate::machine::{Machine, Scratch};
use crate::modules::files::common::{Step, expand};
use crate::modules::{ModuleError, Outcome};
use std::path::PathBuf;

/// A file to be packed.
pub(super) struct Archive {
    path: PathBuf,
    format: &'static str,
    prefix: Option<String>,
}

impl Archive {
    /// What is asked for: how it is packed is told by the end of its name.
    pub fn of(archive: Option<&str>, prefix: Option<&str>, machine: &Machine) -> Step<Option<Archive>> {
        let Some(archive) = archive else {
            return match prefix {
                Some(_) => Err(ModuleError::argument("archive_prefix", "it goes with `archive` alone")),
                None => Ok(None),
            };
        };
        let path = expand(machine, archive)?;
        let end = path.extension().map(|end| end.to_string_lossy().into_owned()).unwrap_or_default();
        let format = match end.as_str() {
            "zip" => "zip",
            "gz" => "tar.gz",
            "tar" => "tar",
            "tgz" => "tgz",
            _ => {
                let why = format!("`{archive}` does not end in .zip, .tar, .tar.gz or .tgz");
                return Err(ModuleError::argument("archive", why));
            }
        };
        Ok(Some(Archive { path, format, prefix: prefix.map(str::to_string) }))
    }

    /// Packs it. Git packs the same commit into the same bytes, so a file that is right stays as it is.
    pub fn pack(&self, git: &Git<'_>, machine: &mut Machine, outcome: &Outcome) -> Step<()> {
        // In a check the commit may not be there yet; only what is checked out and stays can be packed.
        let stays = outcome.data.get("before").is_some_and(|before| outcome.data.get("after") == Some(before));
        if machine.predicted() && !(stays && git.is_there(machine)?) {
            machine.foresee_tool(&self.path, "packed by git", None)?;
            return Ok(());
        }
        let scratch = Scratch::new("git-archive")?;
        let packed = scratch.path().join("packed");
        let output = packed.to_string_lossy();
        let mut words = vec!["archive", "--format", self.format, "--output", &output];
        words.extend(self.prefix.iter().flat_map(|prefix| ["--prefix", prefix]));
        words.push(&git.version);
        git.answer(machine, &words)?;
        let mut source = machine.file_source(&packed)?;
        machine.write(&self.path, NewContent::Stream(&mut source), &WriteOptions::default(), None)?;
        Ok(())
    }
}
