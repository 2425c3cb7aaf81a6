//! What is known of one entry of the file system.

use serde::{Deserialize, Serialize};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// Ansible's word for it, where it has one.
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Link => "link",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharacterDevice => "character device",
            Kind::BlockDevice => "block device",
        }
    }
}

/// A point in time: seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub i64, pub u32);

impl Time {
    /// Now.
    pub fn now() -> Time {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Time(now.as_secs() as i64, now.subsec_nanos())
    }

    /// As a floating point number, the way Ansible shows it.
    pub fn seconds(self) -> f64 {
        self.0 as f64 + f64::from(self.1) / 1e9
    }
}

/// State of an entry. What a check cannot know (inode numbers, times of application) is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included (`0o7777`).
    pub mode: u32,
    /// Owner. In a check it may be an id that is made up ([`crate::machine::accounts::is_predicted_id`]).
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of the contents.
    pub mtime: Option<Time>,
    /// Last change of anything.
    pub ctime: Option<Time>,
    /// What only an existing entry has.
    pub identity: Option<Identity>,
}

/// What only an existing entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Inode number.
    pub inode: u64,
    /// Device it is on.
    pub device: u64,
    /// Hard links to it.
    pub links: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
    /// Preferred block size.
    pub block_size: u64,
    /// Device that it stands for.
    pub device_type: u64,
}

impl From<&std::fs::Metadata> for Stat {
    fn from(m: &std::fs::Metadata) -> Stat {
        let kind = m.file_type();
        let kind = match () {
            () if kind.is_dir() => Kind::Directory,
            () if kind.is_symlink() => Kind::Link,
            () if kind.is_fifo() => Kind::Fifo,
            () if kind.is_socket() => Kind::Socket,
            () if kind.is_char_device() => Kind::CharacterDevice,
            () if kind.is_block_device() => Kind::BlockDevice,
            () => Kind::File,
        };
        Stat {
            kind,
            mode: m.mode() & 0o7777,
            uid: m.uid(),
            gid: m.gid(),
            size: Some(m.size()),
            atime: Some(Time(m.atime(), m.atime_nsec() as u32)),
            mtime: Some(Time(m.mtime(), m.mtime_nsec() as u32)),
            ctime: Some(Time(m.ctime(), m.ctime_nsec() as u32)),
            identity: Some(Identity {
                inode: m.ino(),
                device: m.dev(),
                links: m.nlink(),
                blocks: m.blocks(),
                block_size: m.blksize(),
                device_type: m.rdev(),
            }),
        }
    }
}

impl Stat {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind == Kind::Link
    }

    /// The mode as Ansible writes it: `"0644"`.
    pub fn mode_text(&self) -> String {
        format!("{:04o}", self.mode)
    }
}
