//! Mode, owner, group and times of what exists.

use super::fault::{At, Fault};
use super::live;
use super::overlay::Node;
use super::stat::{Stat, Time};
use crate::machine::history::{Entry, Image};
use crate::machine::{Change, Facet, Machine, Mode, Result};
use rustix::io::Errno;
use serde_json::Value;
use std::path::Path;

/// What an entry's mode, owner and group shall be; nothing leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits (`0o7777`).
    pub mode: Option<u32>,
    /// Owner.
    pub owner: Option<u32>,
    /// Group.
    pub group: Option<u32>,
}

/// A time that an entry shall have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeSpec {
    /// As it is.
    #[default]
    Preserve,
    /// The time of application.
    Now,
    /// This.
    At(Time),
}

/// Mode and owner of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl From<&Stat> for Meta {
    fn from(stat: &Stat) -> Meta {
        Meta { mode: stat.mode, uid: stat.uid, gid: stat.gid }
    }
}

impl Machine {
    /// Sets mode, owner and group where they differ. With `follow`, of what a last link points to; the mode of a
    /// link itself cannot be set and is left alone.
    pub fn set_attributes(&mut self, path: impl AsRef<Path>, attributes: &Attributes, follow: bool) -> Result<bool> {
        let path = self.subject_path(path.as_ref(), follow)?;
        let stat = self.lstat(&path)?.ok_or(Errno::NOENT).at("cannot look at", &path)?;
        let before = Meta::from(&stat);
        let after = Meta {
            mode: attributes.mode.filter(|_| !stat.is_link()).unwrap_or(before.mode),
            uid: attributes.owner.unwrap_or(before.uid),
            gid: attributes.group.unwrap_or(before.gid),
        };
        if before == after {
            return Ok(false);
        }
        if self.predicted() {
            self.predict_meta(&path, before, after)?;
        } else {
            let present = Image::from_stat(self, &path, &stat)?;
            let new = Image { mode: after.mode, uid: after.uid, gid: after.gid, ..present };
            self.log_attributes(&path, &stat, new);
            if (before.uid, before.gid) != (after.uid, after.gid) {
                live::set_owner(&path, after.uid, after.gid).at("cannot change the owner of", &path)?;
            }
            // A change of the owner may have cleared the set-id bits.
            if !stat.is_link() {
                live::set_mode(&path, after.mode).at("cannot change the mode of", &path)?;
            }
        }
        self.record_meta(&path, Some(before), after);
        Ok(true)
    }

    fn predict_meta(&mut self, path: &Path, before: Meta, after: Meta) -> Result<()> {
        let files = &mut self.predictions.files;
        let identity = files.identity();
        if identity.uid != 0 {
            let chown = after.uid != before.uid || after.gid != before.gid && !identity.in_group(after.gid);
            if chown || identity.uid != before.uid {
                let verb = if chown || after.mode == before.mode {
                    "cannot change the owner of"
                } else {
                    "cannot change the mode of"
                };
                return Err(Errno::PERM).at(verb, path);
            }
        }
        let real = files.resolve(path, false).at("cannot look at", path)?;
        let mut present =
            files.present(&real).and_then(|p| p.ok_or(Fault::from(Errno::NOENT))).at("cannot look at", path)?;
        if self.mode == Mode::Tainted {
            present.unknown = Some(doubt(path));
        } else {
            (present.mode, present.uid, present.gid) = (after.mode, after.uid, after.gid);
        }
        files.put(&real, Node::Present(present));
        Ok(())
    }

    /// Records what is different; without a state before, all.
    pub(super) fn record_meta(&mut self, path: &Path, before: Option<Meta>, after: Meta) {
        let text = |mode: u32| Value::from(format!("{mode:04o}"));
        let sides = [
            (
                "owner",
                before.map(|b| self.owner_value(b.uid)),
                self.owner_value(after.uid),
                before.map(|b| b.uid) == Some(after.uid),
            ),
            (
                "group",
                before.map(|b| self.group_value(b.gid)),
                self.group_value(after.gid),
                before.map(|b| b.gid) == Some(after.gid),
            ),
            ("mode", before.map(|b| text(b.mode)), text(after.mode), before.map(|b| b.mode) == Some(after.mode)),
        ];
        for (aspect, before, after, same) in sides {
            if !same {
                let before = before.map_or(Facet::Absent, Facet::Value);
                self.record(Change::set(Self::file_subject(path), aspect, before, Facet::Value(after)));
            }
        }
    }

    fn owner_value(&self, uid: u32) -> Value {
        self.user_name(uid).map_or_else(|| Value::from(uid), Value::from)
    }

    fn group_value(&self, gid: u32) -> Value {
        self.group_name(gid).map_or_else(|| Value::from(gid), Value::from)
    }

    /// Sets the times of an entry where they differ.
    pub fn set_times(
        &mut self,
        path: impl AsRef<Path>,
        atime: TimeSpec,
        mtime: TimeSpec,
        follow: bool,
    ) -> Result<bool> {
        let path = self.subject_path(path.as_ref(), follow)?;
        let stat = self.lstat(&path)?.ok_or(Errno::NOENT).at("cannot look at", &path)?;
        let now = Time::now();
        let wanted = |spec: TimeSpec, present: Option<Time>| match spec {
            TimeSpec::Preserve => present,
            TimeSpec::Now => Some(now),
            TimeSpec::At(time) => Some(time),
        };
        let (after_atime, after_mtime) = (wanted(atime, stat.atime), wanted(mtime, stat.mtime));
        if (after_atime, after_mtime) == (stat.atime, stat.mtime) && atime != TimeSpec::Now && mtime != TimeSpec::Now {
            return Ok(false);
        }
        if self.predicted() {
            let files = &mut self.predictions.files;
            let identity = files.identity();
            if identity.uid != 0 && identity.uid != stat.uid {
                return Err(Errno::PERM).at("cannot change the times of", &path);
            }
            let real = files.resolve(&path, false).at("cannot look at", &path)?;
            let present = files.present(&real).at("cannot look at", &path)?;
            if let Some(mut present) = present {
                let spec = |spec, after: Option<Time>| if spec == TimeSpec::Now { None } else { after };
                (present.atime, present.mtime) = (spec(atime, after_atime), spec(mtime, after_mtime));
                files.put(&real, Node::Present(present));
            }
        } else {
            let (Some(atime), Some(mtime)) = (after_atime, after_mtime) else {
                return Ok(false);
            };
            if let (Some(text), Some(old_atime), Some(old_mtime)) = (path.to_str(), stat.atime, stat.mtime) {
                self.log(Entry::Times { path: text.to_string(), before: (old_atime, old_mtime) });
            }
            live::set_times(&path, atime, mtime).at("cannot change the times of", &path)?;
        }
        for (aspect, spec, before, after) in
            [("mtime", mtime, stat.mtime, after_mtime), ("atime", atime, stat.atime, after_atime)]
        {
            if before != after || spec == TimeSpec::Now {
                let after = match (spec, after) {
                    (TimeSpec::Now, _) => Facet::AtApply("the time of application".into()),
                    (_, Some(time)) => Facet::Value(Value::from(time.seconds())),
                    (_, None) => Facet::Unknown,
                };
                let before = before.map_or(Facet::Unknown, |t| Facet::Value(Value::from(t.seconds())));
                self.record(Change::set(Self::file_subject(&path), aspect, before, after));
            }
        }
        Ok(true)
    }
}

/// Why an entry is not known after a task that may not run.
pub(super) fn doubt(path: &Path) -> String {
    format!("a task before, of which it is not known whether it runs, changes {}", path.display())
}
