//! What a run reads on the controller while it is under way, as hashes: sources of `copy`, templates, files of variables,
//! task files. A plan holds them, so that it is refused when one of them has changed since.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What was read. Its clones write into the same list; by default nothing is noted.
#[derive(Clone, Default)]
pub struct Reads(Option<Arc<Mutex<Noted>>>);

#[derive(Default)]
struct Noted {
    paths: BTreeSet<PathBuf>,
    hashes: BTreeMap<String, String>,
}

impl Reads {
    /// A list that is kept.
    pub fn kept() -> Reads {
        Reads(Some(Arc::default()))
    }

    /// A file, or a folder with all that is in it, is about to be read. It is hashed as it is now, once.
    pub fn note(&self, path: &Path) {
        let Some(noted) = &self.0 else { return };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        if !noted.lock().unwrap_or_else(PoisonError::into_inner).paths.insert(path.clone()) {
            return;
        }
        let hashes = hashes_of(std::iter::once(&path));
        noted.lock().unwrap_or_else(PoisonError::into_inner).hashes.extend(hashes);
    }

    /// What was read, and the hashes of all files that belong to it.
    pub fn take(&self) -> (BTreeSet<PathBuf>, BTreeMap<String, String>) {
        let Some(noted) = &self.0 else { return Default::default() };
        let noted = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
        (noted.paths, noted.hashes)
    }
}

/// SHA-256 of files, and of all files below folders, by path; links are followed. What cannot be read has no contents.
pub fn hashes_of<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    paths.into_iter().for_each(|path| add(path, &mut Vec::new(), &mut hashes));
    hashes
}

/// `within` are the folders that we are in, to see a link that leads back into one.
fn add(path: &Path, within: &mut Vec<PathBuf>, hashes: &mut BTreeMap<String, String>) {
    if path.is_dir() {
        let Some(real) = std::fs::canonicalize(path).ok().filter(|real| !within.contains(real)) else { return };
        within.push(real);
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            add(&entry.path(), within, hashes);
        }
        within.pop();
        return;
    }
    if let Some(hash) = hash(path) {
        hashes.insert(path.display().to_string(), hash);
    }
}

fn hash(path: &Path) -> Option<String> {
    // A pipe would be waited for.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece).ok()? {
            0 => break,
            read => hasher.update(piece.get(..read)?),
        }
    }
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_hashed_whole_and_as_it_was_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("tree/.hidden")).unwrap();
        std::fs::write(path("tree/.hidden/x"), "x").unwrap();
        std::os::unix::fs::symlink(path("tree"), path("tree/circle")).unwrap();
        let large = vec![b'a'; 3 * 1024 * 1024];
        std::fs::write(path("large"), &large).unwrap();
        let off = Reads::default();
        off.note(&path("large"));
        assert!(off.take().0.is_empty());
        let reads = Reads::kept();
        for name in ["large", "tree", "not there"] {
            reads.clone().note(&path(name));
        }
        let mut other = large;
        other[2_000_000] = b'b';
        std::fs::write(path("large"), &other).unwrap();
        // It was noted before.
        reads.note(&path("large"));
        let (paths, hashes) = reads.take();
        assert_eq!(paths.len(), 3);
        let now = hashes_of(&paths);
        let differing: Vec<&String> = hashes.keys().filter(|path| now.get(*path) != hashes.get(*path)).collect();
        assert_eq!(differing, [&path("large").display().to_string()], "of the same size");
        assert!(hashes.contains_key(&path("tree/.hidden/x").display().to_string()));
        std::fs::write(path("tree/new"), "").unwrap();
        assert!(hashes_of(&paths).len() > hashes.len());
    }
}
