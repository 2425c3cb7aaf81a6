//! Before-images: what a live change is about to overwrite or remove, kept on the host for a rollback.
//!
//! Contents are stored once, under their SHA-256, in a directory that only its owner can enter: root's is
//! `/var/lib/deploy/before`, another user's is below their cache directory. `index` has one line of JSON for each
//! image: when, which path, which contents, mode and owner.

use super::files::{Stat, Time, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Larger files are not kept.
pub(crate) const FILE_LIMIT: u64 = 8 * 1024 * 1024;

/// All images together stay below this; the oldest go first.
const TOTAL_LIMIT: u64 = 256 * 1024 * 1024;

/// The index is cut to its younger half above this size.
const INDEX_LIMIT: u64 = 4 * 1024 * 1024;

/// One kept image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeforeImage {
    /// When it was kept: seconds since 1970.
    pub time: i64,
    /// The file's path.
    pub path: String,
    /// SHA-256 of its contents: the name of the image.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Where this identity keeps what is needed to undo its changes.
pub(super) fn home() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(if cfg!(test) { std::env::temp_dir().join("deploy-test") } else { "/var/lib/deploy".into() });
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("deploy"))
}

/// Where this identity keeps its images.
fn directory() -> Option<PathBuf> {
    home().map(|home| home.join("before"))
}

/// Keeps the contents of a file, so that they outlive a crash. Answers their SHA-256, or nothing when they cannot be
/// brought back; that is no reason not to make the change, but the change says so.
pub(crate) fn keep(path: &Path, stat: &Stat) -> Option<String> {
    let directory = directory()?;
    stat.size.filter(|size| *size <= FILE_LIMIT)?;
    keep_in(&directory, path, stat).ok()
}

/// The contents of an image, where they are still kept and whole.
pub(crate) fn image(sha256: &str) -> Option<Vec<u8>> {
    if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = std::fs::read(directory()?.join(sha256)).ok()?;
    (hex(&Sha256::digest(&bytes)) == sha256).then_some(bytes)
}

fn keep_in(directory: &Path, path: &Path, stat: &Stat) -> std::io::Result<String> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let owner = std::fs::symlink_metadata(directory)?;
    if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() || owner.mode() & 0o077 != 0 {
        return Err(std::io::Error::other("the directory of the before-images belongs to somebody else"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(std::io::Error::other("too large"));
    }
    let sha256 = hex(&Sha256::digest(&bytes));
    let image = directory.join(&sha256);
    if !image.exists() {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = directory.join(format!(".{sha256}.{}.{number}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, &image)?;
        File::open(directory)?.sync_all()?;
        retain(directory, &sha256, TOTAL_LIMIT)?;
    } else {
        // Needed again: it goes later.
        let _ = File::options().write(true).open(&image).and_then(|file| file.set_modified(SystemTime::now()));
    }
    let entry = BeforeImage {
        time: Time::now().0,
        path: path.to_string_lossy().into_owned(),
        sha256: sha256.clone(),
        size: bytes.len() as u64,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
    };
    let mut line = serde_json::to_vec(&entry)?;
    line.push(b'\n');
    let index = directory.join("index");
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&index)?;
    file.write_all(&line)?;
    if file.metadata()?.len() > INDEX_LIMIT {
        let text = std::fs::read_to_string(&index)?;
        let half = text.len() / 2;
        let young = text
            .char_indices()
            .find(|(at, c)| *at >= half && *c == '\n')
            .map_or("", |(at, _)| text.get(at + 1..).unwrap_or(""));
        let temporary = directory.join(format!(".index.{}", std::process::id()));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?
            .write_all(young.as_bytes())?;
        std::fs::rename(&temporary, &index)?;
    }
    Ok(sha256)
}

/// Removes the oldest images until all together are below the limit; the one just kept stays. Another agent of the same
/// identity may be at it, too: what has gone meanwhile is no error.
fn retain(directory: &Path, newest: &str, limit: u64) -> std::io::Result<()> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(gone) if gone.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        if metadata.is_file() && entry.file_name() != "index" {
            images.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    images.sort();
    let mut total: u64 = images.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in images {
        if total <= limit {
            break;
        }
        if path.file_name().is_some_and(|name| name != newest) {
            match std::fs::remove_file(&path) {
                Err(gone) if gone.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
            total -= size;
        }
    }
    Ok(())
}

/// The images of a path, the newest first, with the file that holds the contents of each.
pub fn images_of(path: &Path) -> Vec<(BeforeImage, PathBuf)> {
    let Some(directory) = directory() else {
        return Vec::new();
    };
    let wanted = path.to_string_lossy();
    let index = std::fs::read_to_string(directory.join("index")).unwrap_or_default();
    let entries = index.lines().rev().filter_map(|line| serde_json::from_str::<BeforeImage>(line).ok());
    entries
        .filter(|entry| entry.path == wanted)
        .map(|entry| (directory.join(&entry.sha256), entry))
        .filter(|(image, _)| image.exists())
        .map(|(image, entry)| (entry, image))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_private_found_by_path_and_the_oldest_go_first() {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("before");
        let file = scratch.path().join("app.conf");
        for (number, text) in ["one", "twotwo", "threethree"].iter().enumerate() {
            std::fs::write(&file, text).unwrap();
            let stat = Stat::from(&std::fs::symlink_metadata(&file).unwrap());
            keep_in(&store, &file, &stat).unwrap();
            assert_eq!(std::fs::read_dir(&store).unwrap().count(), number + 2, "an image each, and the index");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(std::fs::metadata(&store).unwrap().mode() & 0o777, 0o700);
        let newest = hex(&Sha256::digest(b"threethree"));
        retain(&store, &newest, 12).unwrap();
        assert!(store.join(&newest).exists());
        assert!(!store.join(hex(&Sha256::digest(b"one"))).exists());
        std::fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let stat = Stat::from(&std::fs::symlink_metadata(&file).unwrap());
        assert!(keep_in(&store, &file, &stat).is_err(), "a store that others can read is not used");
    }
}
