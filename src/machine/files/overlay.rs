//! The file system as a check predicts it: entries laid over the live tree.
//!
//! Paths are resolved component by component, the way the kernel does it, so that predicted links, directories
//! that do not exist yet and permissions behave as they will.

use super::digest::Digests;
use super::fault::{Fault, FsResult};
use super::live;
use super::stat::{Kind, Stat, Time};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::path::{Component, Path, PathBuf};

/// Links followed in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// What a check knows about files beyond the host's own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Files {
    /// Entries by absolute path without links, in the order of names.
    nodes: BTreeMap<String, Node>,
    /// Packages are foreseen into which nobody looked, and why: what is not there now may be brought by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unread: Option<String>,
    /// Who predicts, when it is not this process (tests).
    #[serde(skip)]
    pub(super) identity: Option<Identity>,
}

/// The user whose permissions count.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl Identity {
    /// This process.
    pub fn process() -> Identity {
        Identity {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: rustix::process::getgroups().unwrap_or_default().into_iter().map(|g| g.as_raw()).collect(),
        }
    }

    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether the permission bits `wanted` (of 7) are granted.
    fn may(&self, stat: &Stat, wanted: u32) -> bool {
        let granted = match () {
            () if self.uid == 0 => return true,
            () if stat.uid == self.uid => stat.mode >> 6,
            () if self.in_group(stat.gid) => stat.mode >> 3,
            () => stat.mode,
        };
        granted & wanted == wanted
    }
}

/// One predicted entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Node {
    /// It is gone.
    Absent,
    /// It is there.
    Present(Present),
    /// It may be there or not.
    Unknown(String),
}

/// An entry that will be there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Present {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    #[serde(default)]
    pub atime: Option<Time>,
    #[serde(default)]
    pub mtime: Option<Time>,
    /// It replaces what is on the disk: another inode, a directory without what the live one holds.
    pub fresh: bool,
    /// Where a link points.
    #[serde(default)]
    pub target: Option<String>,
    /// Contents of a file.
    pub body: Body,
    /// The file that this is another name of.
    #[serde(default)]
    pub origin: Option<String>,
    /// Its mode and owner are not known, and why.
    #[serde(default)]
    pub unknown: Option<String>,
}

/// Contents of a predicted file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// Nothing to read (directories, links).
    None,
    /// Text.
    Text(String),
    /// Other bytes, in base64.
    Base64(String),
    /// Those of this file on the disk.
    Live(String),
    /// Too large to keep: only digests are known.
    Digests(Digests),
    /// Made when it is applied: why.
    AtApply(String),
    /// Not known: why.
    Unknown(String),
}

impl Body {
    /// Contents in memory.
    pub fn of(bytes: &[u8]) -> Body {
        use base64::Engine;
        match std::str::from_utf8(bytes) {
            Ok(text) => Body::Text(text.to_string()),
            Err(_) => Body::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }

    fn size(&self) -> Option<u64> {
        match self {
            Body::Text(text) => Some(text.len() as u64),
            Body::Base64(text) => {
                let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
                Some((text.len() / 4 * 3).saturating_sub(padding) as u64)
            }
            Body::Live(path) => live::stat(Path::new(path)).ok().flatten().and_then(|s| s.size),
            Body::Digests(digests) => Some(digests.size),
            Body::None | Body::AtApply(_) | Body::Unknown(_) => None,
        }
    }
}

impl Present {
    /// The live entry at `path`, as the start of a change of its attributes.
    fn of_live(path: &str, stat: &Stat, target: Option<String>) -> Present {
        Present {
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            atime: stat.atime,
            mtime: stat.mtime,
            fresh: false,
            target,
            body: if stat.is_file() { Body::Live(path.to_string()) } else { Body::None },
            origin: None,
            unknown: None,
        }
    }

    /// A new entry.
    pub fn new(kind: Kind, mode: u32, uid: u32, gid: u32) -> Present {
        Present {
            kind,
            mode,
            uid,
            gid,
            atime: None,
            mtime: None,
            fresh: true,
            target: None,
            body: Body::None,
            origin: None,
            unknown: None,
        }
    }

    fn stat(&self, path: &str) -> Stat {
        let live = if self.fresh { None } else { live::lstat(Path::new(path)).ok().flatten() };
        Stat {
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: match self.kind {
                Kind::File => self.body.size(),
                Kind::Link => self.target.as_ref().map(|t| t.len() as u64),
                _ => live.as_ref().and_then(|l| l.size),
            },
            atime: self.atime,
            mtime: self.mtime,
            ctime: None,
            identity: live.and_then(|l| l.identity),
        }
    }
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn components(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

impl Files {
    /// Packages are foreseen into which nobody looked, and why.
    pub(crate) fn leave_unread(&mut self, why: String) {
        self.unread.get_or_insert(why);
    }

    /// Why what packages bring is not known.
    pub(crate) fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone().unwrap_or_else(Identity::process)
    }

    /// Whether an entry on the disk shows through the predicted ones.
    fn live_shows(&self, path: &Path) -> bool {
        self.nodes.is_empty()
            || path.ancestors().skip(1).all(|ancestor| match self.nodes.get(&key(ancestor)) {
                None => true,
                Some(Node::Present(present)) => !present.fresh && present.kind == Kind::Directory,
                Some(Node::Absent | Node::Unknown(_)) => false,
            })
    }

    /// The entry at a path without links, not followed.
    fn entry(&self, path: &Path) -> FsResult<Option<Stat>> {
        match self.nodes.get(&key(path)) {
            Some(Node::Absent) => Ok(None),
            Some(Node::Unknown(why)) => Err(Fault::Unknown(why.clone())),
            Some(Node::Present(present)) => Ok(Some(present.stat(&key(path)))),
            None if self.live_shows(path) => match live::lstat(path)? {
                None => self.perhaps_brought(path).map_or(Ok(None), Err),
                found => Ok(found),
            },
            None => Ok(None),
        }
    }

    /// Something that is not there, where packages may bring it that nobody looked into.
    fn perhaps_brought(&self, path: &Path) -> Option<Fault> {
        let why = self.unread.as_ref()?;
        let local = path.starts_with("/usr/local") || path.starts_with("/var/tmp");
        let theirs = ["/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/var", "/opt", "/boot"];
        let theirs = !local && theirs.iter().any(|tree| path.starts_with(tree));
        theirs.then(|| Fault::Unknown(why.clone()))
    }

    fn target(&self, path: &Path) -> FsResult<PathBuf> {
        match self.nodes.get(&key(path)) {
            Some(Node::Present(present)) => Ok(PathBuf::from(present.target.clone().unwrap_or_default())),
            _ => live::readlink(path),
        }
    }

    /// The path without links. Only the last component need not exist.
    pub(super) fn resolve(&self, path: &Path, follow_last: bool) -> FsResult<PathBuf> {
        let mut rest: VecDeque<OsString> = components(&live::absolute(path)).collect();
        let mut current = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                current.pop();
                continue;
            }
            self.may_search(&current)?;
            let next = current.join(&name);
            let last = rest.is_empty();
            if last && !follow_last {
                return Ok(next);
            }
            match self.entry(&next)? {
                None if last => return Ok(next),
                None => return Err(Errno::NOENT.into()),
                Some(stat) if stat.is_link() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = self.target(&next)?;
                    if target.is_absolute() {
                        current = PathBuf::from("/");
                    }
                    for name in components(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                Some(stat) if !last && !stat.is_dir() => return Err(Errno::NOTDIR.into()),
                Some(_) => current = next,
            }
        }
        Ok(current)
    }

    /// Entering a directory: those on the disk are asked by the kernel when their entries are read.
    fn may_search(&self, directory: &Path) -> FsResult<()> {
        match self.nodes.get(&key(directory)) {
            Some(Node::Present(p)) => {
                let stat = p.stat(&key(directory));
                if self.identity().may(&stat, 1) { Ok(()) } else { Err(Errno::ACCESS.into()) }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn lstat(&self, path: &Path) -> FsResult<Option<Stat>> {
        self.stat_entry(path, false)
    }

    pub(super) fn stat(&self, path: &Path) -> FsResult<Option<Stat>> {
        self.stat_entry(path, true)
    }

    fn stat_entry(&self, path: &Path, follow: bool) -> FsResult<Option<Stat>> {
        let real = match self.resolve(path, follow) {
            Ok(real) => real,
            Err(fault) if fault.is_absent() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if let Some(Node::Present(Present { unknown: Some(why), .. })) = self.nodes.get(&key(&real)) {
            return Err(Fault::Unknown(why.clone()));
        }
        self.entry(&real)
    }

    pub(super) fn readlink(&self, path: &Path) -> FsResult<PathBuf> {
        let real = self.resolve(path, false)?;
        match self.entry(&real)? {
            Some(stat) if stat.is_link() => self.target(&real),
            Some(_) => Err(Errno::INVAL.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn open(&self, path: &Path) -> FsResult<Box<dyn Read>> {
        let real = self.resolve(path, true)?;
        let present = match self.nodes.get(&key(&real)) {
            Some(Node::Absent) => return Err(Errno::NOENT.into()),
            Some(Node::Unknown(why)) => return Err(Fault::Unknown(why.clone())),
            Some(Node::Present(present)) => present,
            None if self.live_shows(&real) => {
                self.entry(&real)?;
                return live::open(&real);
            }
            None => return Err(Errno::NOENT.into()),
        };
        if !self.identity().may(&present.stat(&key(&real)), 4) {
            return Err(Errno::ACCESS.into());
        }
        match &present.body {
            Body::None => Err(if present.kind == Kind::Directory { Errno::ISDIR.into() } else { Errno::NXIO.into() }),
            Body::Text(text) => Ok(Box::new(Cursor::new(text.clone().into_bytes()))),
            Body::Base64(text) => {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|e| Fault::Io(std::io::Error::other(e)))?;
                Ok(Box::new(Cursor::new(bytes)))
            }
            Body::Live(path) => live::open(Path::new(path)),
            Body::Digests(_) => {
                Err(Fault::Unknown(format!("the contents of {} are transferred when it is applied", path.display())))
            }
            Body::AtApply(why) | Body::Unknown(why) => Err(Fault::Unknown(why.clone())),
        }
    }

    /// Digests that are known without reading.
    pub(super) fn known_digests(&self, path: &Path) -> Option<Digests> {
        let real = self.resolve(path, true).ok()?;
        match self.nodes.get(&key(&real)) {
            Some(Node::Present(Present { body: Body::Digests(digests), .. })) => Some(digests.clone()),
            _ => None,
        }
    }

    /// The file on the disk that has the contents of `path`, if one has.
    pub(super) fn live_body(&self, path: &Path) -> Option<PathBuf> {
        let real = self.resolve(path, true).ok()?;
        match self.nodes.get(&key(&real)) {
            Some(Node::Present(Present { body: Body::Live(path), .. })) => Some(path.into()),
            None if self.live_shows(&real) => Some(real),
            _ => None,
        }
    }

    pub(super) fn list(&self, path: &Path) -> FsResult<Vec<OsString>> {
        let real = self.resolve(path, true)?;
        let stat = self.entry(&real)?.ok_or(Errno::NOENT)?;
        if !stat.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        let mut names = match self.nodes.get(&key(&real)) {
            Some(Node::Present(p)) if p.fresh => Vec::new(),
            None if !self.live_shows(&real) => Vec::new(),
            _ => live::list(&real)?,
        };
        if let Some(Node::Present(_)) = self.nodes.get(&key(&real))
            && !self.identity().may(&stat, 4)
        {
            return Err(Errno::ACCESS.into());
        }
        for (path, node) in self.below(&real) {
            let path = Path::new(path);
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            if parent != real {
                continue;
            }
            match node {
                Node::Unknown(why) => return Err(Fault::Unknown(why.clone())),
                Node::Absent => names.retain(|n| n != name),
                Node::Present(_) if !names.iter().any(|n| n == name) => names.push(name.to_os_string()),
                Node::Present(_) => {}
            }
        }
        names.sort();
        Ok(names)
    }

    /// Predicted entries inside a directory, at any depth.
    fn below(&self, directory: &Path) -> impl Iterator<Item = (&String, &Node)> {
        let mut prefix = key(directory);
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        self.nodes.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Whether the permissions `wanted` (of 7) are granted on an existing entry.
    pub(super) fn may(&self, path: &Path, wanted: u32) -> FsResult<bool> {
        let real = match self.resolve(path, true) {
            Ok(real) => real,
            Err(Fault::Io(_)) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        match self.entry(&real)? {
            None => Ok(false),
            Some(stat) if self.nodes.contains_key(&key(&real)) || self.identity.is_some() => {
                Ok(self.identity().may(&stat, wanted))
            }
            Some(_) => Ok(live::access(&real, wanted)),
        }
    }

    /// Whether an entry may be made, replaced or removed in the directory of `path` (a path without links).
    pub(super) fn may_modify(&self, path: &Path, victim: Option<&Stat>) -> FsResult<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let stat = self.entry(directory)?.ok_or(Errno::NOENT)?;
        if !stat.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        let identity = self.identity();
        if self.nodes.contains_key(&key(directory)) || self.identity.is_some() {
            if !identity.may(&stat, 3) {
                return Err(Errno::ACCESS.into());
            }
        } else {
            live::may_write(directory)?;
        }
        match victim {
            Some(victim)
                if stat.mode & 0o1000 != 0
                    && identity.uid != 0
                    && identity.uid != victim.uid
                    && identity.uid != stat.uid =>
            {
                Err(Errno::PERM.into())
            }
            _ => Ok(()),
        }
    }

    /// Lays an entry over a path without links. What was below a replaced or removed directory is forgotten.
    pub(super) fn put(&mut self, path: &Path, node: Node) {
        let keeps_children = matches!(&node, Node::Present(p) if p.kind == Kind::Directory && !p.fresh)
            || matches!((&node, self.nodes.get(&key(path))), (Node::Present(a), Some(Node::Present(b)))
                if a.kind == Kind::Directory && b.kind == Kind::Directory);
        if !keeps_children {
            let gone: Vec<String> = self.below(path).map(|(path, _)| path.clone()).collect();
            for path in gone {
                self.nodes.remove(&path);
            }
        }
        self.nodes.insert(key(path), node);
    }

    /// The entry at a path without links as a predicted one, to be changed and laid down again.
    pub(super) fn present(&self, path: &Path) -> FsResult<Option<Present>> {
        if let Some(Node::Present(present)) = self.nodes.get(&key(path)) {
            return Ok(Some(present.clone()));
        }
        let Some(stat) = self.entry(path)? else {
            return Ok(None);
        };
        let target = if stat.is_link() { Some(key(&live::readlink(path)?)) } else { None };
        Ok(Some(Present::of_live(&key(path), &stat, target)))
    }

    /// Whether two paths are names of one file.
    pub(super) fn same_file(&self, one: &Path, other: &Path) -> FsResult<bool> {
        let origin = |path: &Path| -> FsResult<PathBuf> {
            let real = self.resolve(path, false)?;
            Ok(match self.nodes.get(&key(&real)) {
                Some(Node::Present(Present { origin: Some(origin), .. })) => PathBuf::from(origin),
                _ => real,
            })
        };
        let (one, other) = (origin(one)?, origin(other)?);
        if one == other {
            return Ok(true);
        }
        let identity = |path: &Path| -> FsResult<_> {
            Ok(self.entry(path)?.and_then(|s| s.identity).map(|i| (i.device, i.inode)))
        };
        let one = identity(&one)?;
        Ok(one.is_some() && one == identity(&other)?)
    }
}
