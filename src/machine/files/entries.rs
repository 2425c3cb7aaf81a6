//! Directories, links, removal, renaming, temporary files.

use super::attributes::{Attributes, Meta, doubt};
use super::fault::{At, Fault, FsResult};
use super::live;
use super::overlay::{Body, Node, Present};
use super::stat::{Kind, Stat};
use crate::machine::history::Image;
use crate::machine::{Change, Facet, Machine, MachineError, Mode, Result, Undo};
use rustix::io::Errno;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An entry that a check foresees from another source than a module's own writing: what a package brings.
#[derive(Clone, Debug)]
pub enum Foreseen {
    /// A file; without contents where they are not known.
    File {
        /// Its contents.
        contents: Option<Vec<u8>>,
        /// Mode, owner and group: root's 0644 where they are not given.
        attributes: Attributes,
    },
    /// A directory; what it holds on the disk stays.
    Directory(Attributes),
    /// A link.
    Link(PathBuf),
    /// It will be gone.
    Absent,
    /// It cannot be said.
    Unknown(String),
}

fn word(kind: Kind) -> Facet {
    Facet::Value(Value::from(kind.word()))
}

impl Machine {
    /// Mode, owner and group of a new entry.
    pub(super) fn new_meta(&self, path: &Path, attributes: &Attributes, default_mode: u32) -> Result<Meta> {
        let identity = self.predictions.files.identity();
        let parent = path.parent().map(|p| self.stat(p)).transpose()?.flatten();
        let inherited = parent.filter(|p| p.mode & 0o2000 != 0);
        Ok(Meta {
            mode: attributes.mode.unwrap_or(default_mode),
            uid: attributes.owner.unwrap_or(identity.uid),
            gid: attributes.group.unwrap_or(inherited.map_or(identity.gid, |p| p.gid)),
        })
    }

    /// In a check: whether the identity may give a new entry to that owner.
    pub(super) fn may_give(&self, path: &Path, meta: Meta) -> Result<()> {
        let identity = self.predictions.files.identity();
        if identity.uid != 0 && (meta.uid != identity.uid || !identity.in_group(meta.gid)) {
            let inherited = path.parent().map(|p| self.stat(p)).transpose()?.flatten().map(|p| p.gid);
            if meta.uid != identity.uid || inherited != Some(meta.gid) {
                return Err(Errno::PERM).at("cannot change the owner of", path);
            }
        }
        Ok(())
    }

    /// Lays a predicted entry down, as an unknown one where it is not known whether the task runs.
    pub(super) fn foretell(&mut self, path: &Path, victim: Option<&Stat>, node: Node, verb: &str) -> Result<()> {
        let tainted = self.mode == Mode::Tainted;
        let files = &mut self.predictions.files;
        let mut lay = || -> FsResult<()> {
            let real = files.resolve(path, false)?;
            files.may_modify(&real, victim)?;
            files.put(&real, if tainted { Node::Unknown(doubt(path)) } else { node.clone() });
            Ok(())
        };
        lay().at(verb, path)
    }

    /// Makes a directory whose parent exists. An existing one is left as it is.
    pub fn make_directory(&mut self, path: impl AsRef<Path>, attributes: &Attributes) -> Result<bool> {
        let path = live::absolute(path.as_ref());
        if let Some(stat) = self.stat(&path)? {
            return if stat.is_dir() { Ok(false) } else { Err(Errno::EXIST).at("cannot make the directory", &path) };
        }
        let meta = self.new_meta(&path, attributes, 0o777 & !live::umask())?;
        if self.predicted() {
            self.may_give(&path, meta)?;
            let present = Present::new(Kind::Directory, meta.mode, meta.uid, meta.gid);
            self.foretell(&path, None, Node::Present(present), "cannot make the directory")?;
        } else {
            self.log_file(&path, None, Image::of(Kind::Directory, meta.mode, meta.uid, meta.gid, None), false);
            match live::make_directory(&path, meta.uid, meta.gid, meta.mode) {
                // Somebody else was quicker: two tasks on one host, or a program of its own.
                Err(Fault::Io(error))
                    if error.kind() == std::io::ErrorKind::AlreadyExists
                        && self.stat(&path)?.is_some_and(|stat| stat.is_dir()) =>
                {
                    return Ok(false);
                }
                made => made.at("cannot make the directory", &path)?,
            }
        }
        self.record(Change::set(Self::file_subject(&path), "state", Facet::Absent, word(Kind::Directory)));
        self.record_meta(&path, None, meta);
        Ok(true)
    }

    /// Makes a directory and those above it that do not exist; all that are new get the attributes.
    /// Answers what was made, the outermost first.
    pub fn make_directories(&mut self, path: impl AsRef<Path>, attributes: &Attributes) -> Result<Vec<PathBuf>> {
        let path = live::absolute(path.as_ref());
        let mut missing = Vec::new();
        for ancestor in path.ancestors() {
            if self.stat(ancestor)?.is_some() {
                break;
            }
            missing.push(ancestor.to_path_buf());
        }
        missing.reverse();
        for directory in &missing {
            self.make_directory(directory, attributes)?;
        }
        if missing.is_empty() {
            self.make_directory(&path, attributes)?; // says what is wrong when it is no directory
        }
        Ok(missing)
    }

    /// Makes a symbolic link, in the place of anything but a directory that holds something.
    pub fn make_link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<bool> {
        let (path, target) = (live::absolute(path.as_ref()), target.as_ref());
        let old = self.lstat(&path)?;
        let before = match &old {
            Some(stat) if stat.is_link() => {
                let present = self.read_link(&path)?;
                if present == target {
                    return Ok(false);
                }
                Facet::Value(Value::from(format!("link to {}", present.display())))
            }
            Some(stat) => {
                self.refuse_full_directory(&path, stat)?;
                word(stat.kind)
            }
            None => Facet::Absent,
        };
        let identity = self.predictions.files.identity();
        let new = Image::of(Kind::Link, 0o777, identity.uid, identity.gid, target.to_str().map(str::to_string));
        let kept = self.log_file(&path, old.as_ref(), new, false);
        if self.predicted() {
            let mut present = Present::new(Kind::Link, 0o777, identity.uid, identity.gid);
            present.target = Some(target.to_string_lossy().into_owned());
            self.foretell(&path, old.as_ref(), Node::Present(present), "cannot make the link")?;
        } else {
            super::leftovers::sweep_beside(&path);
            live::make_link(&path, target, old.as_ref().map(|s| s.kind)).at("cannot make the link", &path)?;
        }
        let after = Facet::Value(Value::from(format!("link to {}", target.display())));
        self.record_state(&path, before, after, kept);
        Ok(true)
    }

    /// Makes another name of a file, in the place of anything but a directory that holds something.
    pub fn make_hard_link(&mut self, path: impl AsRef<Path>, source: impl AsRef<Path>) -> Result<bool> {
        let (path, source) = (live::absolute(path.as_ref()), source.as_ref());
        let old = self.lstat(&path)?;
        if old.is_some() && self.same_file(&path, source)? {
            return Ok(false);
        }
        if let Some(stat) = &old {
            self.refuse_full_directory(&path, stat)?;
        }
        let before = old.as_ref().map_or(Facet::Absent, |s| word(s.kind));
        let kept = match self.predicted() {
            true => self.log_file(&path, old.as_ref(), Image::absent(), false),
            false => {
                let after = Image::read(self, source)?;
                self.log_file(&path, old.as_ref(), after, false)
            }
        };
        if self.predicted() {
            let files = &self.predictions.files;
            let real = files.resolve(source, false).at("cannot find", source)?;
            let present = files.present(&real).at("cannot look at", source)?;
            let mut present = present.ok_or(Errno::NOENT).at("cannot look at", source)?;
            present.fresh = true;
            present.origin.get_or_insert_with(|| real.to_string_lossy().into_owned());
            self.foretell(&path, old.as_ref(), Node::Present(present), "cannot make the hard link")?;
        } else {
            super::leftovers::sweep_beside(&path);
            live::make_hard_link(&path, source, old.as_ref().map(|s| s.kind)).at("cannot make the hard link", &path)?;
        }
        let after = Facet::Value(Value::from(format!("hard link to {}", source.display())));
        self.record_state(&path, before, after, kept);
        Ok(true)
    }

    fn refuse_full_directory(&self, path: &Path, stat: &Stat) -> Result<()> {
        if stat.is_dir() && !self.list_directory(path)?.is_empty() {
            return Err(MachineError::failed(format!(
                "the directory {} is not empty, so it is not replaced by a link",
                path.display()
            )));
        }
        Ok(())
    }

    fn record_state(&mut self, path: &Path, before: Facet, after: Facet, kept: bool) {
        let mut change = Change::set(Self::file_subject(path), "state", before, after);
        change.undo = if kept { Undo::Exact } else { Undo::None };
        self.record(change);
    }

    /// Removes an entry; a directory with all that is in it. Links are removed, not followed.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> Result<bool> {
        let path = live::absolute(path.as_ref());
        let Some(stat) = self.lstat(&path)? else {
            return Ok(false);
        };
        let (aspect, before) = match stat.kind {
            Kind::File => ("content", self.present_content_facet(&path, stat.size, false)?),
            Kind::Link => ("state", Facet::Value(Value::from(format!("link to {}", self.read_link(&path)?.display())))),
            kind => ("state", word(kind)),
        };
        let empty = stat.is_dir() && self.list_directory(&path).is_ok_and(|names| names.is_empty());
        let kept = self.log_file(&path, Some(&stat), Image::absent(), false) && (empty || !stat.is_dir());
        if self.predicted() {
            self.foretell(&path, Some(&stat), Node::Absent, "cannot remove")?;
        } else {
            live::remove(&path, stat.kind).at("cannot remove", &path)?;
        }
        let mut change = Change::set(Self::file_subject(&path), aspect, before, Facet::Absent);
        change.undo = if kept { Undo::Exact } else { Undo::None };
        self.record(change);
        Ok(true)
    }

    /// Gives a file or link another name, in one step in the place of what is there.
    pub fn rename(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (live::absolute(from.as_ref()), live::absolute(to.as_ref()));
        let stat = self.lstat(&from)?.ok_or(Errno::NOENT).at("cannot rename", &from)?;
        let old = self.lstat(&to)?;
        let before = match &old {
            Some(old) if old.is_file() => self.present_content_facet(&to, old.size, false)?,
            Some(old) => word(old.kind),
            None => Facet::Absent,
        };
        let after = match stat.kind {
            Kind::File => self.present_content_facet(&from, stat.size, false)?,
            kind => word(kind),
        };
        let moved = match self.predicted() {
            true => Image::absent(),
            false => Image::from_stat(self, &from, &stat)?,
        };
        // A directory's contents are not kept: they are where it was moved to.
        let given = self.log_file(&from, Some(&stat), Image::absent(), false) && !stat.is_dir();
        let kept = self.log_file(&to, old.as_ref(), moved, false) && !stat.is_dir();
        if self.predicted() {
            if stat.is_dir() {
                return Err(MachineError::unknown(format!("the renaming of the directory {}", from.display())));
            }
            let files = &self.predictions.files;
            let real = files.resolve(&from, false).at("cannot rename", &from)?;
            let present = files.present(&real).at("cannot rename", &from)?;
            let mut present = present.ok_or(Errno::NOENT).at("cannot rename", &from)?;
            present.fresh = true;
            self.foretell(&to, old.as_ref(), Node::Present(present), "cannot rename to")?;
            self.foretell(&from, Some(&stat), Node::Absent, "cannot rename")?;
        } else {
            live::rename(&from, &to).at("cannot rename", &from)?;
        }
        let aspect = if stat.is_file() { "content" } else { "state" };
        let mut change = Change::set(Self::file_subject(&to), aspect, before, after);
        change.undo = if kept { Undo::Exact } else { Undo::None };
        self.record(change);
        self.record_state(&from, word(stat.kind), Facet::Absent, given);
        Ok(())
    }

    /// Makes a temporary file or directory that only this user can enter. In a check its name is not known.
    pub fn make_temporary(
        &mut self,
        directory: &Path,
        prefix: &str,
        suffix: &str,
        is_directory: bool,
    ) -> Result<Option<PathBuf>> {
        let pattern = directory.join(format!("{prefix}*{suffix}"));
        let made = if self.predicted() {
            let files = &self.predictions.files;
            let allowed = || files.may_modify(&files.resolve(&pattern, false)?, None);
            allowed().at("cannot make a temporary file in", directory)?;
            None
        } else {
            let made = live::make_temporary(directory, prefix, suffix, is_directory);
            Some(made.at("cannot make a temporary file in", directory)?)
        };
        let kind = if is_directory { Kind::Directory } else { Kind::File };
        // What is put there goes by with it, unseen.
        self.record_state(&pattern, Facet::Absent, word(kind), false);
        Ok(made)
    }

    /// In a check: this entry will be there, with the directories above it. It is no change of its own; whoever
    /// foresees it records what brings it.
    pub fn foresee_file(&mut self, path: impl AsRef<Path>, entry: Foreseen) -> Result<()> {
        let path = path.as_ref();
        if !self.predicted() {
            return Err(MachineError::failed("only a check foresees files"));
        }
        let tainted = self.mode == Mode::Tainted;
        let files = &mut self.predictions.files;
        let mut missing = Vec::new();
        for ancestor in path.ancestors().skip(1) {
            if files.stat(ancestor).at("cannot look at", ancestor)?.is_some() {
                break;
            }
            missing.push(ancestor.to_path_buf());
        }
        for directory in missing.into_iter().rev() {
            let real = files.resolve(&directory, true).at("cannot find", &directory)?;
            files.put(&real, Node::Present(Present::new(Kind::Directory, 0o755, 0, 0)));
        }
        let real = files.resolve(path, false).at("cannot find", path)?;
        let new = |kind, attributes: &Attributes, mode| {
            let (owner, group) = (attributes.owner.unwrap_or(0), attributes.group.unwrap_or(0));
            Present::new(kind, attributes.mode.unwrap_or(mode), owner, group)
        };
        let node = match entry {
            _ if tainted => Node::Unknown(doubt(path)),
            Foreseen::Absent => Node::Absent,
            Foreseen::Unknown(why) => Node::Unknown(why),
            Foreseen::File { contents, attributes } => {
                let mut present = new(Kind::File, &attributes, 0o644);
                present.body = match contents {
                    Some(bytes) => Body::of(&bytes),
                    None => {
                        Body::Unknown(format!("the contents of {} are not known before it is applied", path.display()))
                    }
                };
                Node::Present(present)
            }
            Foreseen::Directory(attributes) => {
                let mut present = new(Kind::Directory, &attributes, 0o755);
                present.fresh = files.stat(path).at("cannot look at", path)?.is_none();
                Node::Present(present)
            }
            Foreseen::Link(target) => {
                let mut present = new(Kind::Link, &Attributes::default(), 0o777);
                present.target = Some(target.to_string_lossy().into_owned());
                Node::Present(present)
            }
        };
        files.put(&real, node);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_somebody_else_makes_meanwhile_is_there() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = dir.path().join(format!("{round}/a/b/c"));
            let made: usize = std::thread::scope(|scope| {
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut machine = Machine::new(Mode::Live);
                            machine.make_directories(&path, &Attributes::default()).unwrap();
                            usize::from(path.is_dir())
                        })
                    })
                    .collect();
                tasks.into_iter().map(|task| task.join().unwrap()).sum()
            });
            assert_eq!(made, 4);
        }
    }
}
