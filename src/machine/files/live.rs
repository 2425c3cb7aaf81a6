//! The file system of the host: system calls, atomic replacement.

use super::digest::{self, Digests, Hasher};
use super::fault::FsResult;
use super::leftovers::{claim, sibling};
use super::stat::{Kind, Stat, Time};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

fn optional(result: std::io::Result<std::fs::Metadata>) -> FsResult<Option<Stat>> {
    match result {
        Ok(metadata) => Ok(Some(Stat::from(&metadata))),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub fn lstat(path: &Path) -> FsResult<Option<Stat>> {
    optional(std::fs::symlink_metadata(path))
}

pub fn stat(path: &Path) -> FsResult<Option<Stat>> {
    optional(std::fs::metadata(path))
}

pub fn readlink(path: &Path) -> FsResult<PathBuf> {
    Ok(std::fs::read_link(path)?)
}

/// The path without links; only the last component need not exist.
pub fn resolve(path: &Path) -> FsResult<PathBuf> {
    match std::fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            // A dangling link, or a last component that does not exist yet.
            let path = absolute(path);
            if let Ok(target) = std::fs::read_link(&path) {
                return resolve(&path.parent().unwrap_or(Path::new("/")).join(target));
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(e.into());
            };
            Ok(std::fs::canonicalize(parent)?.join(name))
        }
        Err(e) => Err(e.into()),
    }
}

/// The path from the root, without a slash at its end.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| path.components().collect())
}

pub fn list(path: &Path) -> FsResult<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Opens a file for reading. It does not wait for the other end of a pipe, and leaves no trace in the time of access
/// where the file is our own.
pub fn open(path: &Path) -> FsResult<Box<dyn Read>> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path);
    let file = open(libc::O_NOATIME).or_else(|e| match e.kind() {
        ErrorKind::PermissionDenied => open(0),
        _ => Err(e),
    })?;
    if file.metadata()?.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    Ok(Box::new(file))
}

/// Whether the permissions `wanted` (of 7) are granted to this process.
pub fn access(path: &Path, wanted: u32) -> bool {
    let mut access = Access::EXISTS;
    for (bit, flag) in [(4, Access::READ_OK), (2, Access::WRITE_OK), (1, Access::EXEC_OK)] {
        if wanted & bit != 0 {
            access |= flag;
        }
    }
    rustix::fs::access(path, access).is_ok()
}

/// Whether entries of a directory may be changed.
pub fn may_write(directory: &Path) -> FsResult<()> {
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Bits that new files do not get.
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

/// A file under way: written beside its destination, unlinked when it is dropped before it is put in place.
pub struct Temp {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Temp {
    /// An empty file beside `destination` that only its owner can read.
    pub fn beside(destination: &Path) -> FsResult<Temp> {
        let path = sibling(destination);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        claim(&file);
        Ok(Temp { path, file, done: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything that can be read, and says what it was.
    pub fn fill(&mut self, reader: &mut dyn Read) -> FsResult<Digests> {
        let mut hasher = Hasher::new();
        digest::each_chunk(reader, |chunk| {
            hasher.update(chunk);
            self.file.write_all(chunk)
        })?;
        Ok(hasher.finish())
    }

    /// Owner, extended attributes of the file that is replaced, mode: in this order, since each may reset the next.
    pub fn dress(&self, uid: u32, gid: u32, mode: u32, like: Option<&Path>) -> FsResult<()> {
        let now = self.file.metadata()?;
        use std::os::unix::fs::MetadataExt;
        if (now.uid(), now.gid()) != (uid, gid) {
            std::os::unix::fs::fchown(&self.file, Some(uid), Some(gid))?;
        }
        if let Some(like) = like {
            copy_attributes(like, &self.file);
        }
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// Puts it in the place of `destination`. Afterwards either the old or the new contents are there, whatever happens.
    pub fn put(mut self, destination: &Path) -> FsResult<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, destination)?;
        self.done = true;
        sync_directory(destination)
    }

    /// Writes the contents into the existing file: for files that cannot be replaced (`unsafe_writes`).
    pub fn pour(self, destination: &Path) -> FsResult<()> {
        let mut from = File::open(&self.path)?;
        let mut to = OpenOptions::new().write(true).truncate(true).open(destination)?;
        std::io::copy(&mut from, &mut to)?;
        Ok(to.sync_all()?)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path); // nothing better can be done
        }
    }
}

/// Copies access lists, the security label and user attributes. What cannot be copied is left out, as `cp` does.
fn copy_attributes(from: &Path, to: &File) {
    let mut names = vec![0u8; 4096];
    let Ok(size) = rustix::fs::llistxattr(from, &mut names[..]) else {
        return;
    };
    for name in names.get(..size).unwrap_or_default().split(|b| *b == 0) {
        // A capability belongs to the contents that were there.
        if name.is_empty() || name == b"security.capability" || name.starts_with(b"security.ima") {
            continue;
        }
        let mut value = vec![0u8; 16 * 1024];
        if let Ok(size) = rustix::fs::lgetxattr(from, name, &mut value[..]) {
            let value = value.get(..size).unwrap_or_default();
            let _ = rustix::fs::fsetxattr(to, name, value, rustix::fs::XattrFlags::empty());
        }
    }
}

/// Makes the renaming in the directory of `path` durable.
fn sync_directory(path: &Path) -> FsResult<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(directory) {
        Ok(directory) => match directory.sync_all() {
            // Some file systems have nothing to synchronise in a directory.
            Err(e) if e.kind() != ErrorKind::InvalidInput => Err(e.into()),
            _ => Ok(()),
        },
        // A directory that may be written but not read.
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(e) => Err(e.into()),
    }
}

pub fn make_directory(path: &Path, uid: u32, gid: u32, mode: u32) -> FsResult<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    let made = || -> FsResult<()> {
        set_owner(path, uid, gid)?;
        set_mode(path, mode)
    };
    made().inspect_err(|_| {
        let _ = std::fs::remove_dir(path); // it was not there before
    })
}

/// Makes a link, in one step in the place of what was there.
pub fn make_link(path: &Path, target: &Path, replaces: Option<Kind>) -> FsResult<()> {
    replace_with(path, replaces, |path| Ok(std::os::unix::fs::symlink(target, path)?))
}

/// Makes another name of a file.
pub fn make_hard_link(path: &Path, source: &Path, replaces: Option<Kind>) -> FsResult<()> {
    replace_with(path, replaces, |path| Ok(std::fs::hard_link(source, path)?))
}

fn replace_with(path: &Path, replaces: Option<Kind>, make: impl Fn(&Path) -> FsResult<()>) -> FsResult<()> {
    let Some(kind) = replaces else {
        make(path)?;
        return sync_directory(path);
    };
    let temporary = sibling(path);
    make(&temporary)?;
    if kind == Kind::Directory {
        std::fs::remove_dir(path).inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })?;
    }
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })?;
    // Renaming one name of a file over another one does nothing and leaves both.
    let _ = std::fs::remove_file(&temporary);
    sync_directory(path)
}

/// Removes an entry; a directory with all that is in it. Links are removed, never followed.
pub fn remove(path: &Path, kind: Kind) -> FsResult<()> {
    match kind {
        Kind::Directory => std::fs::remove_dir_all(path)?,
        _ => std::fs::remove_file(path)?,
    }
    sync_directory(path)
}

pub fn rename(from: &Path, to: &Path) -> FsResult<()> {
    std::fs::rename(from, to)?;
    sync_directory(to)
}

/// The entry itself, whatever its last component points to later.
fn handle(path: &Path) -> FsResult<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

pub fn set_mode(path: &Path, mode: u32) -> FsResult<()> {
    let handle = handle(path)?;
    let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
    match rustix::fs::chmod(&through, Mode::from_raw_mode(mode)) {
        Err(Errno::NOENT) => Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?), // no /proc
        other => Ok(other?),
    }
}

pub fn set_owner(path: &Path, uid: u32, gid: u32) -> FsResult<()> {
    let now = std::fs::symlink_metadata(path)?;
    use std::os::unix::fs::MetadataExt;
    let uid = (uid != now.uid()).then_some(uid);
    let gid = (gid != now.gid()).then_some(gid);
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::lchown(path, uid, gid)?;
    }
    Ok(())
}

pub fn set_times(path: &Path, atime: Time, mtime: Time) -> FsResult<()> {
    let spec = |t: Time| Timespec { tv_sec: t.0, tv_nsec: t.1.into() };
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A new file or directory of its own name, that only its owner can enter.
pub fn make_temporary(directory: &Path, prefix: &str, suffix: &str, is_directory: bool) -> FsResult<PathBuf> {
    for attempt in 0..100u64 {
        let mut seed = [0u8; 8];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let path = directory.join(format!("{prefix}{:011x}{suffix}", (u64::from_le_bytes(seed) >> 20) + attempt));
        let made = if is_directory {
            std::fs::DirBuilder::new().mode(0o700).create(&path)
        } else {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map(drop)
        };
        match made {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::EXIST.into())
}
