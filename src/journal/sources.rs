//! What a run was made of: hashes of its playbooks, roles and inventories, so that a resumed run is the same one.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// SHA-256 by path.
pub type SourceHashes = BTreeMap<String, String>;

/// Larger files are told apart by their size.
const LARGE: u64 = 1024 * 1024;
/// Folders deeper than this are not a project's.
const DEPTH: usize = 12;

/// Hashes files, and all files below folders. What cannot be read is left out: it was not read for the run either.
pub fn hash_files(paths: &[PathBuf]) -> SourceHashes {
    let mut hashes = SourceHashes::new();
    for path in paths {
        add(path, 0, &mut hashes);
    }
    hashes
}

fn add(path: &Path, depth: usize, hashes: &mut SourceHashes) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    if meta.is_dir() {
        if depth > DEPTH || hidden && depth > 0 {
            return;
        }
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            add(&entry.path(), depth + 1, hashes);
        }
        return;
    }
    let name = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string();
    if hashes.contains_key(&name) {
        return;
    }
    let hash = if meta.len() > LARGE {
        format!("size {}", meta.len())
    } else if let Ok(contents) = std::fs::read(path) {
        Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect()
    } else {
        return;
    };
    hashes.insert(name, hash);
}

/// The files that differ, are new, or are gone.
pub fn differences(before: &SourceHashes, now: &SourceHashes) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (path, hash) in before {
        match now.get(path) {
            None => found.push(format!("{path} is gone")),
            Some(other) if other != hash => found.push(format!("{path} has changed")),
            Some(_) => {}
        }
    }
    found.extend(now.keys().filter(|path| !before.contains_key(*path)).map(|path| format!("{path} is new")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("roles")).unwrap();
        std::fs::create_dir(path("roles/.git")).unwrap();
        for (name, text) in [("site.yml", "a"), ("roles/x.yml", "b"), ("roles/y.yml", "c"), ("roles/.git/z", "d")] {
            std::fs::write(path(name), text).unwrap();
        }
        let all = [path("site.yml"), path("roles"), path("not-there")];
        let before = hash_files(&all);
        assert_eq!(before.len(), 3);
        assert!(differences(&before, &hash_files(&all)).is_empty());
        std::fs::write(path("site.yml"), "changed").unwrap();
        std::fs::remove_file(path("roles/x.yml")).unwrap();
        std::fs::write(path("roles/new.yml"), "").unwrap();
        let found = differences(&before, &hash_files(&all));
        let ends = |end: &str| found.iter().any(|line| line.ends_with(end));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(ends("site.yml has changed") && ends("x.yml is gone") && ends("new.yml is new"), "{found:?}");
    }
}
