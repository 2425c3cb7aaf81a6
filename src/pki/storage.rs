//! Where a store's files are: a private directory, or the same seen through a layer that forgets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::PkiError;

/// Held while a store is changed; dropped to let others in.
pub struct Locked(#[allow(dead_code, reason = "the open file is the lock")] Option<fs::File>);

impl Locked {
    /// Of what needs no lock.
    pub(super) fn nothing() -> Locked {
        Locked(None)
    }
}

/// A place for named files. Names are relative, with `/` between their parts.
pub trait Storage: Send + Sync {
    /// A file's bytes, or nothing.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PkiError>;
    /// Replaces a file in one step.
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), PkiError>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, name: &str) -> Result<(), PkiError>;
    /// The names of all files whose name begins with `prefix`, sorted.
    fn list(&self, prefix: &str) -> Result<Vec<String>, PkiError>;
    /// Waits for the sole right to write.
    fn lock(&self) -> Result<Locked, PkiError>;
    /// Whether what is written stays.
    fn keeps(&self) -> bool {
        true
    }
    /// Whether this file is one that a check only imagines.
    fn is_predicted(&self, _name: &str) -> bool {
        false
    }
    /// What to call it in messages.
    fn location(&self) -> String;
}

/// Files below one directory, which is made at the first write.
#[derive(Debug)]
pub struct DirStorage {
    root: PathBuf,
    patience: Duration,
}

impl DirStorage {
    /// Opens a place after looking whether it is private. It need not exist yet; nothing is made here.
    pub fn open(root: &Path) -> Result<Self, PkiError> {
        let root = std::path::absolute(root).map_err(|source| io_error(root, "find", source))?;
        let storage = DirStorage { root, patience: Duration::from_secs(60) };
        storage.refuse_unsafe()?;
        Ok(storage)
    }

    /// How long `lock` waits for another run.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn refuse_unsafe(&self) -> Result<(), PkiError> {
        let refused = |why: String| PkiError::Unsafe { path: self.root.display().to_string(), why };
        match fs::metadata(&self.root) {
            Ok(found) if !found.is_dir() => return Err(refused("it is not a directory".into())),
            Ok(found) => {
                let mode = found.mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(refused(format!("others can reach it (mode {mode:04o}); `chmod 0700` it")));
                }
                let me = rustix::process::geteuid().as_raw();
                if found.uid() != me && me != 0 {
                    return Err(refused(format!("it belongs to user id {}, and this is {me}", found.uid())));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(io_error(&self.root, "look at", source)),
        }
        // Symbolic links are followed, because git sees the place that they lead to.
        let existing = self.root.ancestors().find_map(|ancestor| {
            let real = ancestor.canonicalize().ok()?;
            Some(real.join(self.root.strip_prefix(ancestor).ok()?))
        });
        let real = existing.unwrap_or_else(|| self.root.clone());
        if let Some(tree) = real.ancestors().find(|ancestor| ancestor.join(".git").exists()) {
            let reason = match ignored_by_git(tree, &real.join("ca/key.pem")) {
                Ok(true) => return Ok(()),
                Ok(false) => "which does not ignore it".to_string(),
                Err(why) => format!("and whether that ignores it cannot be told ({why})"),
            };
            return Err(refused(format!(
                "it lies in the git work tree {}, {reason}: a commit would publish CA keys; set `pki_store` elsewhere, or let git ignore it",
                tree.display()
            )));
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Result<PathBuf, PkiError> {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if name.split('/').all(plain) {
            Ok(self.root.join(name))
        } else {
            let why = "it is no name inside the store".to_string();
            Err(PkiError::Damaged { path: name.to_string(), why })
        }
    }

    fn make_dir(&self, dir: &Path) -> Result<(), PkiError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| io_error(dir, "make", source))
    }
}

impl Storage for DirStorage {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PkiError> {
        let path = self.path(name)?;
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(io_error(&path, "read", source)),
        };
        let mode = file.metadata().map_err(|source| io_error(&path, "look at", source))?.mode();
        if name.ends_with("key.pem") && mode & 0o077 != 0 {
            let why = format!("others can reach it (mode {:04o}); `chmod 0600` it", mode & 0o7777);
            return Err(PkiError::Unsafe { path: path.display().to_string(), why });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| io_error(&path, "read", source))?;
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
        let path = self.path(name)?;
        let dir = path.parent().unwrap_or(&self.root);
        self.make_dir(dir)?;
        let temporary = dir.join(format!(".new.{}", std::process::id()));
        let written = (|| {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(dir)?.sync_all()
        })();
        written.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            io_error(&path, "write", source)
        })
    }

    fn remove(&self, name: &str) -> Result<(), PkiError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(&path, "remove", error)),
            _ => Ok(()),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PkiError> {
        let mut names = Vec::new();
        let mut pending = vec![self.root.clone()];
        while let Some(dir) = pending.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(io_error(&dir, "list", source)),
            };
            for entry in entries {
                let entry = entry.map_err(|source| io_error(&dir, "list", source))?;
                let path = entry.path();
                let Some(name) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else {
                    continue;
                };
                let kind = entry.file_type().map_err(|source| io_error(&path, "look at", source))?;
                if kind.is_dir() {
                    if name.starts_with(prefix) || prefix.starts_with(name) {
                        pending.push(path);
                    }
                } else if name.starts_with(prefix) && !entry.file_name().to_string_lossy().starts_with('.') {
                    names.push(name.to_string());
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn lock(&self) -> Result<Locked, PkiError> {
        self.make_dir(&self.root)?;
        let path = self.root.join(".lock");
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| io_error(&path, "open", source))?;
        let begin = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if begin.elapsed() < self.patience => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    let holder = if holder.is_empty() { "another run".to_string() } else { holder };
                    let path = self.root.display().to_string();
                    return Err(PkiError::Locked { path, holder, seconds: begin.elapsed().as_secs() });
                }
                Err(errno) => return Err(io_error(&path, "lock", errno.into())),
            }
        }
        // Who holds it is only for people; the lock itself is the kernel's.
        let noted =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "process {}", std::process::id()));
        noted.map_err(|source| io_error(&path, "write", source))?;
        Ok(Locked(Some(file)))
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

/// Reads through to another storage and keeps what is written in memory: a check leaves the store alone.
pub struct OverlayStorage<S> {
    below: S,
    written: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl<S: Storage> OverlayStorage<S> {
    /// A layer over `below`.
    pub fn over(below: S) -> Self {
        OverlayStorage { below, written: Mutex::new(BTreeMap::new()) }
    }

    fn written(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.written.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<S: Storage> Storage for OverlayStorage<S> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PkiError> {
        match self.written().get(name) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.below.read(name),
        }
    }

    fn write(&self, name: &str, bytes: &[u8], _mode: u32) -> Result<(), PkiError> {
        self.written().insert(name.to_string(), Some(bytes.to_vec()));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), PkiError> {
        self.written().insert(name.to_string(), None);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PkiError> {
        let mut names = self.below.list(prefix)?;
        let written = self.written();
        names.retain(|name| written.get(name).is_none_or(Option::is_some));
        names.extend(
            written
                .iter()
                .filter(|(name, bytes)| name.starts_with(prefix) && bytes.is_some())
                .map(|(name, _)| name.clone()),
        );
        drop(written);
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn lock(&self) -> Result<Locked, PkiError> {
        Ok(Locked(None))
    }

    fn keeps(&self) -> bool {
        false
    }

    fn is_predicted(&self, name: &str) -> bool {
        self.written().get(name).is_some_and(Option::is_some)
    }

    fn location(&self) -> String {
        self.below.location()
    }
}

fn io_error(path: &Path, doing: &'static str, source: std::io::Error) -> PkiError {
    PkiError::Io { path: path.display().to_string(), doing, source }
}

/// Whether git would leave `path` out.
fn ignored_by_git(tree: &Path, path: &Path) -> Result<bool, String> {
    let asked = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(["check-ignore", "--quiet", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    match asked.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(String::from_utf8_lossy(&asked.stderr).trim().replace('\n', " ")),
    }
}
