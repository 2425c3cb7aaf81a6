//! Files, directories and links: read here, changed in `write`, `entries` and `attributes`.
//!
//! Every operation works on the host's own file system in a real run and on the overlay in a check. Mutating
//! operations say whether they changed anything, and record what.

mod attributes;
mod digest;
mod entries;
mod facet;
mod fault;
mod leftovers;
mod live;
mod overlay;
mod stat;
mod write;

pub use attributes::{Attributes, TimeSpec};
pub use digest::{Algorithm, Digests, hex, sha256};
pub use entries::Foreseen;
pub use facet::TEXT_LIMIT;
pub(crate) use facet::fingerprint;
pub(crate) use overlay::Files;
pub use stat::{Identity, Kind, Stat, Time};
pub use write::{FileSource, NewContent, Source, Verdict, WriteOptions, Written};
pub(crate) use write::{Kept, civil};

use super::{Machine, MachineError, Result};
use fault::At;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

impl Machine {
    /// State of an entry, links followed; nothing where there is none.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Option<Stat>> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.stat(path) } else { live::stat(path) }.at("cannot look at", path)
    }

    /// State of an entry itself, a last link not followed.
    pub fn lstat(&self, path: impl AsRef<Path>) -> Result<Option<Stat>> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.lstat(path) } else { live::lstat(path) }.at("cannot look at", path)
    }

    /// Whether there is something at `path`, links followed.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }

    /// Opens a file for reading.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<Box<dyn Read>> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.open(path) } else { live::open(path) }.at("cannot read", path)
    }

    /// The contents of a file, which must not be larger than `limit`.
    pub fn read_file(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        let mut reader = self.open_file(path)?.take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes).at("cannot read", path)?;
        if bytes.len() as u64 > limit {
            return Err(MachineError::failed(format!("{} is larger than {limit} bytes", path.display())));
        }
        Ok(bytes)
    }

    /// The contents of a file, or nothing where there is none.
    pub fn read_file_if_exists(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        match self.stat(path)? {
            None => Ok(None),
            Some(_) => self.read_file(path, limit).map(Some),
        }
    }

    /// Where a link points, as it is written in the link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.readlink(path) } else { live::readlink(path) }
            .at("cannot read the link", path)
    }

    /// The path without links. Only the last component need not exist.
    pub fn real_path(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.resolve(path, true) } else { live::resolve(path) }
            .at("cannot find", path)
    }

    /// Names in a directory, sorted.
    pub fn list_directory(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let path = path.as_ref();
        if self.predicted() { self.predictions.files.list(path) } else { live::list(path) }.at("cannot list", path)
    }

    /// The digest of a file's contents, hex.
    pub fn file_digest(&self, path: impl AsRef<Path>, algorithm: Algorithm) -> Result<String> {
        let path = path.as_ref();
        if self.predicted()
            && let Some(known) = self.predictions.files.known_digests(path)
        {
            let digest = match algorithm {
                Algorithm::Md5 => known.md5,
                Algorithm::Sha1 => known.sha1,
                Algorithm::Sha256 => known.sha256,
                _ => String::new(),
            };
            if !digest.is_empty() {
                return Ok(digest);
            }
        }
        algorithm.digest(&mut *self.open_file(path)?).at("cannot read", path)
    }

    /// SHA-256, SHA-1 and MD5 of a file's contents in one reading.
    pub fn file_digests(&self, path: impl AsRef<Path>) -> Result<Digests> {
        let path = path.as_ref();
        if self.predicted()
            && let Some(known) = self.predictions.files.known_digests(path)
        {
            return Ok(known);
        }
        Digests::of_reader(&mut *self.open_file(path)?).at("cannot read", path)
    }

    /// Whether this identity may do all of `wanted` (4 read, 2 write, 1 execute) with an existing entry.
    pub fn may_access(&self, path: impl AsRef<Path>, wanted: u32) -> Result<bool> {
        let path = path.as_ref();
        if self.predicted() {
            self.predictions.files.may(path, wanted).at("cannot look at", path)
        } else {
            Ok(live::access(path, wanted))
        }
    }

    /// Whether two paths are names of one file (hard links).
    pub fn same_file(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) -> Result<bool> {
        let (one, other) = (one.as_ref(), other.as_ref());
        if self.predicted() {
            return self.predictions.files.same_file(one, other).at("cannot look at", one);
        }
        let identity = |stat: Option<Stat>| stat.and_then(|s| s.identity).map(|i| (i.device, i.inode));
        let one = identity(self.lstat(one)?);
        Ok(one.is_some() && one == identity(self.lstat(other)?))
    }

    /// The bits that new files do not get.
    pub fn umask(&self) -> u32 {
        live::umask()
    }

    /// In a check: predict as this user instead of the process's own.
    #[cfg(test)]
    pub fn predict_as(&mut self, uid: u32, gid: u32) {
        self.predictions.files.identity = Some(overlay::Identity { uid, gid, groups: vec![gid] });
    }

    /// The entry that a change of `path` is about: with `follow`, what a last link points to.
    fn subject_path(&self, path: &Path, follow: bool) -> Result<PathBuf> {
        let path = match self.lstat(path)? {
            Some(stat) if follow && stat.is_link() => self.real_path(path)?,
            _ => live::absolute(path),
        };
        if !self.predicted() {
            leftovers::sweep_beside(&path);
        }
        Ok(path)
    }
}
