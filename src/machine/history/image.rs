//! An entry of the file system as a rollback must know it.

use crate::machine::files::{Algorithm, Kind, Stat};
use crate::machine::{Machine, Result, before};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// State of a path. Contents are not in it, only their digest; whether they were kept it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it is; nothing where there is no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Permission bits.
    #[serde(default)]
    pub mode: u32,
    /// Owner.
    #[serde(default)]
    pub uid: u32,
    /// Group.
    #[serde(default)]
    pub gid: u32,
    /// SHA-256 of a file's contents; where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// The contents are among the before-images; a directory holds nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Access lists, labels and the like, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Image {
    /// Nothing is there.
    pub fn absent() -> Image {
        Image::default()
    }

    /// An entry.
    pub fn of(kind: Kind, mode: u32, uid: u32, gid: u32, holds: Option<String>) -> Image {
        Image { kind: Some(kind), mode, uid, gid, holds, ..Image::default() }
    }

    /// What is at `path` now, or would be after earlier tasks of a check.
    pub fn read(machine: &Machine, path: &Path) -> Result<Image> {
        match machine.lstat(path)? {
            None => Ok(Image::absent()),
            Some(stat) => Image::from_stat(machine, path, &stat),
        }
    }

    /// What is at `path`, whose state is known.
    pub fn from_stat(machine: &Machine, path: &Path, stat: &Stat) -> Result<Image> {
        let holds = match stat.kind {
            Kind::File => Some(machine.file_digest(path, Algorithm::Sha256)?),
            Kind::Link => Some(machine.read_link(path)?.to_string_lossy().into_owned()),
            _ => None,
        };
        Ok(Image::of(stat.kind, stat.mode, stat.uid, stat.gid, holds))
    }

    /// As [`Image::from_stat`], for what is about to be changed: contents are kept, attributes read.
    pub fn keep(machine: &Machine, path: &Path, stat: Option<&Stat>) -> Result<Image> {
        let Some(stat) = stat else { return Ok(Image::absent()) };
        let kept = if stat.is_file() { before::keep(path, stat) } else { None };
        let mut image = match kept {
            Some(sha256) => {
                let image = Image::of(stat.kind, stat.mode, stat.uid, stat.gid, Some(sha256));
                Image { kept: true, ..image }
            }
            None => Image::from_stat(machine, path, stat)?,
        };
        // An empty directory can be made again.
        image.kept |= stat.is_dir() && machine.list_directory(path).is_ok_and(|names| names.is_empty());
        image.attributes = attributes(path);
        Ok(image)
    }

    /// Whether both are the same to whoever looks at them.
    pub fn same(&self, other: &Image) -> bool {
        self.kind == other.kind
            && (self.kind.is_none()
                || self.holds == other.holds
                    && (self.uid, self.gid) == (other.uid, other.gid)
                    && (self.mode == other.mode || self.kind == Some(Kind::Link)))
    }

    /// What of this state is in none of `known`, in words; nothing where all is.
    pub fn strange_to(&self, known: &[&Image]) -> Option<String> {
        let Some(kind) = self.kind else {
            return known.iter().all(|image| image.kind.is_some()).then(|| "it was removed".to_string());
        };
        let alike: Vec<&&Image> = known.iter().filter(|image| image.kind == self.kind).collect();
        if alike.is_empty() {
            return Some(match known.last().is_some_and(|image| image.kind.is_none()) {
                true => format!("there is a {} again", kind.word()),
                false => format!("it is a {} now", kind.word()),
            });
        }
        let is = |same: &dyn Fn(&Image) -> bool| alike.iter().any(|image| same(image));
        let mut strange = Vec::new();
        if !is(&|image| image.holds == self.holds) {
            strange.push(if kind == Kind::Link { "its target" } else { "its contents" });
        }
        if kind != Kind::Link && !is(&|image| image.mode == self.mode) {
            strange.push("its mode");
        }
        if !is(&|image| image.uid == self.uid) {
            strange.push("its owner");
        }
        if !is(&|image| image.gid == self.gid) {
            strange.push("its group");
        }
        (!strange.is_empty()).then(|| format!("{} changed", strange.join(" and ")))
    }
}

/// Access lists, the security label, capabilities and user attributes of an entry.
fn attributes(path: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut names = vec![0u8; 4096];
    let Ok(size) = rustix::fs::llistxattr(path, &mut names[..]) else { return found };
    for name in names.get(..size).unwrap_or_default().split(|b| *b == 0) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        if text.is_empty() || text.starts_with("security.ima") || text.starts_with("security.evm") {
            continue;
        }
        let mut value = vec![0u8; 16 * 1024];
        if let Ok(size) = rustix::fs::lgetxattr(path, name, &mut value[..]) {
            found.insert(text.to_string(), BASE64_STANDARD.encode(value.get(..size).unwrap_or_default()));
        }
    }
    found
}

/// Gives an entry these attributes and takes those away that it did not have. What the file system refuses is left.
pub(super) fn set_attributes(path: &Path, wanted: &BTreeMap<String, String>) {
    let present = attributes(path);
    for name in present.keys().filter(|name| !wanted.contains_key(*name) && !name.starts_with("security.selinux")) {
        let _ = rustix::fs::lremovexattr(path, name.as_str());
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(*name) != Some(value)) {
        if let Ok(bytes) = BASE64_STANDARD.decode(value) {
            let _ = rustix::fs::lsetxattr(path, name.as_str(), &bytes, rustix::fs::XattrFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_changed_is_named() {
        let file = |text: &str, mode, uid| Image::of(Kind::File, mode, uid, 0, Some(text.into()));
        let (old, new) = (file("old", 0o644, 0), file("new", 0o600, 5));
        let known = [&old, &new];
        for (present, expected) in [
            (file("new", 0o600, 5), None),
            (file("old", 0o644, 0), None),
            (file("old", 0o600, 0), None), // half-way between the two: we were cut off
            (file("their", 0o600, 5), Some("its contents changed")),
            (file("new", 0o640, 7), Some("its mode and its owner changed")),
            (Image::absent(), Some("it was removed")),
            (Image::of(Kind::Directory, 0o755, 0, 0, None), Some("it is a directory now")),
        ] {
            assert_eq!(present.strange_to(&known).as_deref(), expected, "{present:?}");
        }
        let gone = Image::absent();
        assert_eq!(gone.strange_to(&[&old, &gone]), None);
        let again = Image::of(Kind::Link, 0o777, 0, 0, Some("x".into()));
        assert_eq!(again.strange_to(&[&old, &gone]).as_deref(), Some("there is a link again"));
    }
}
