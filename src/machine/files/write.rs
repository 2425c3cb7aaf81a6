//! Writing a file's contents: compared first, staged beside the destination, inspected, put in place in one step.

use super::attributes::{Attributes, Meta, doubt};
use super::digest::Digests;
use super::fault::{At, Fault};
use super::live::{self, Temp};
use super::overlay::{Body, Node, Present};
use super::stat::{Kind, Stat};
use crate::machine::history::Image;
use crate::machine::{Change, Facet, Machine, MachineError, Mode, Result, Undo};
use rustix::io::Errno;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Contents up to this size are kept in memory by a check.
const KEPT_LIMIT: u64 = 1024 * 1024;

/// What a file shall contain.
pub enum NewContent<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What is read from somewhere, never all in memory.
    Stream(&'a mut dyn Source),
    /// In a check: contents that are made when it is applied, and why.
    AtApply(&'a str),
}

/// Contents that are read when they are needed.
pub trait Source {
    /// Bytes.
    fn size(&self) -> u64;
    /// SHA-256, hex.
    fn sha256(&self) -> &str;
    /// All digests, where they are known without reading.
    fn digests(&self) -> Option<Digests> {
        None
    }
    /// The file of this host that has these contents, if one has.
    fn origin(&self) -> Option<PathBuf> {
        None
    }
    /// Starts reading.
    fn open(&mut self) -> std::io::Result<Box<dyn Read + '_>>;
}

/// A file of this host as the source of another one.
pub struct FileSource {
    path: PathBuf,
    digests: Digests,
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.digests.size
    }

    fn sha256(&self) -> &str {
        &self.digests.sha256
    }

    fn digests(&self) -> Option<Digests> {
        Some(self.digests.clone())
    }

    fn origin(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }

    fn open(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(std::fs::File::open(&self.path)?))
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Mode, owner and group; what is not given is kept, or the usual for a new file.
    pub attributes: Attributes,
    /// Write to what a link points to, instead of replacing the link.
    pub follow: bool,
    /// Keep a copy of the old file beside it.
    pub backup: bool,
    /// Write into the file itself where it cannot be replaced in one step.
    pub unsafe_writes: bool,
    /// Keep the contents out of diffs and logs.
    pub sensitive: bool,
}

/// What an inspection of staged contents found. A bad file is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are good.
    Good,
    /// In a check: they could not be tested here and now.
    Untested,
    /// In a check: nobody can tell whether they would be taken, and why.
    Doubtful(String),
}

/// Looks at staged contents before they are put in place.
pub type Inspect<'a> = &'a mut dyn FnMut(&Machine, &Path) -> Result<Verdict>;

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Whether anything was changed: contents, mode or owner.
    pub changed: bool,
    /// Whether the contents were.
    pub content_changed: bool,
    /// The file that was written, after a link was followed.
    pub path: PathBuf,
    /// Digests of its contents; in a check of contents made at application there are none.
    pub digests: Option<Digests>,
    /// The copy of the old file; in a check its name is not known.
    pub backup: Option<PathBuf>,
}

/// What was kept of a file before it went.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// There is no file.
    Nothing,
    /// In a check: a copy, whose name is not known.
    AtApply,
    /// This copy.
    At(PathBuf),
}

impl Machine {
    /// Gives a file these contents and attributes. Nothing is done where it has them.
    pub fn write_file(&mut self, path: impl AsRef<Path>, bytes: &[u8], options: &WriteOptions) -> Result<bool> {
        Ok(self.write(path, NewContent::Bytes(bytes), options, None)?.changed)
    }

    /// Gives a file contents and attributes, with an inspection of new contents before they go live.
    pub fn write(
        &mut self,
        path: impl AsRef<Path>,
        mut content: NewContent<'_>,
        options: &WriteOptions,
        inspect: Option<Inspect<'_>>,
    ) -> Result<Written> {
        let path = self.subject_path(path.as_ref(), options.follow)?;
        let old = self.lstat(&path)?;
        match old.as_ref().map(|s| s.kind) {
            None | Some(Kind::File | Kind::Link) => {}
            Some(Kind::Directory) => return Err(Errno::ISDIR).at("cannot write", &path),
            Some(kind) => {
                return Err(MachineError::failed(format!("{} is a {}, not a file", path.display(), kind.word())));
            }
        }
        if let Some(digests) = self.has_content(&path, old.as_ref(), &mut content)? {
            let changed = self.set_attributes(&path, &options.attributes, false)?;
            return Ok(Written { changed, path, digests: Some(digests), ..Written::default() });
        }
        // Small contents are read at once, in a check too: they are worth a diff.
        if let NewContent::Stream(source) = &mut content
            && source.size() <= super::TEXT_LIMIT
        {
            let (size, sha256) = (source.size(), source.sha256().to_string());
            let mut small = Vec::new();
            let mut reader = source.open().at("cannot get the contents of", &path)?;
            reader.read_to_end(&mut small).at("cannot get the contents of", &path)?;
            let digests = Digests { size: small.len() as u64, sha256: super::sha256(&small), ..Digests::default() };
            arrived(&path, &digests, size, &sha256)?;
            drop(reader);
            return self.write(&path, NewContent::Bytes(&small), options, inspect);
        }
        let before = match &old {
            None => Facet::Absent,
            Some(stat) if stat.is_link() => {
                Facet::Value(Value::from(format!("link to {}", self.read_link(&path)?.display())))
            }
            Some(stat) => self.present_content_facet(&path, stat.size, options.sensitive)?,
        };
        let first = self.changes_so_far();
        let meta = self.meta_after(&path, old.as_ref(), &options.attributes)?;
        let staged = if self.predicted() {
            self.predict_content(&path, old.as_ref(), &mut content, meta, options, inspect)?
        } else {
            self.apply_content(&path, old.as_ref(), &mut content, meta, options, inspect)?
        };
        let after = match (&content, &staged.digests) {
            (NewContent::Bytes(bytes), _) => self.content_facet(&path, bytes, options.sensitive),
            (NewContent::AtApply(why), _) => Facet::AtApply(why.to_string()),
            (NewContent::Stream(_), Some(digests)) => self.digest_facet(digests, options.sensitive),
            (NewContent::Stream(_), None) => Facet::Unknown,
        };
        let mut change = Change::set(Self::file_subject(&path), "content", before, after);
        change.undo = if staged.kept { Undo::Exact } else { Undo::None };
        change.inferred = staged.verdict == Verdict::Untested;
        self.insert_change(first, change);
        self.record_meta(&path, old.as_ref().filter(|s| s.is_file()).map(Meta::from), meta);
        Ok(Written { changed: true, content_changed: true, path, digests: staged.digests, backup: staged.backup })
    }

    /// A file of this host, to be written elsewhere as [`NewContent::Stream`].
    pub fn file_source(&self, path: impl AsRef<Path>) -> Result<FileSource> {
        let path = path.as_ref();
        let digests = self.file_digests(path)?;
        let path = if self.predicted() {
            // Contents that only the overlay has are small and are read instead.
            self.predictions.files.live_body(path).unwrap_or_default()
        } else {
            live::absolute(path)
        };
        Ok(FileSource { path, digests })
    }

    /// Whether a file has these contents already.
    pub fn has_contents_of(&self, path: impl AsRef<Path>, follow: bool, source: &mut dyn Source) -> Result<bool> {
        let path = self.subject_path(path.as_ref(), follow)?;
        let old = self.lstat(&path)?;
        Ok(self.has_content(&path, old.as_ref(), &mut NewContent::Stream(source))?.is_some())
    }

    /// The digests of the file when it has the contents already.
    fn has_content(&self, path: &Path, old: Option<&Stat>, content: &mut NewContent<'_>) -> Result<Option<Digests>> {
        let Some(old) = old.filter(|s| s.is_file()) else {
            return Ok(None);
        };
        Ok(match content {
            NewContent::AtApply(_) => None,
            NewContent::Bytes(bytes) => {
                // An unreadable or unknown old file is told apart here: it cannot be said whether it changes.
                let same = old.size.is_none_or(|size| size == bytes.len() as u64) && self.file_is(path, bytes)?;
                same.then(|| Digests::of(bytes))
            }
            NewContent::Stream(source) => {
                if old.size.is_some_and(|size| size != source.size()) {
                    return Ok(None);
                }
                let digests = self.file_digests(path)?;
                (digests.sha256 == source.sha256())
                    .then(|| source.digests().filter(|known| !known.sha1.is_empty()).unwrap_or(digests))
            }
        })
    }

    fn file_is(&self, path: &Path, bytes: &[u8]) -> Result<bool> {
        if let Some(known) = self.predicted().then(|| self.predictions.files.known_digests(path)).flatten() {
            return Ok(known.sha256 == super::sha256(bytes));
        }
        let mut present = Vec::with_capacity(bytes.len() + 1);
        let mut reader = self.open_file(path)?.take(bytes.len() as u64 + 1);
        reader.read_to_end(&mut present).at("cannot read", path)?;
        Ok(present == bytes)
    }

    /// Mode and owner that the written file will have.
    fn meta_after(&self, path: &Path, old: Option<&Stat>, attributes: &Attributes) -> Result<Meta> {
        let Some(old) = old.filter(|s| s.is_file()) else {
            return self.new_meta(path, attributes, 0o666 & !live::umask());
        };
        // Who is not root cannot give the new file to somebody else: then it is theirs, as in Ansible.
        let identity = self.predictions.files.identity();
        let (uid, gid) = match identity.uid {
            0 => (old.uid, old.gid),
            uid => (uid, if identity.in_group(old.gid) { old.gid } else { identity.gid }),
        };
        Ok(Meta {
            mode: attributes.mode.unwrap_or(old.mode),
            uid: attributes.owner.unwrap_or(uid),
            gid: attributes.group.unwrap_or(gid),
        })
    }

    fn apply_content(
        &mut self,
        path: &Path,
        old: Option<&Stat>,
        content: &mut NewContent<'_>,
        meta: Meta,
        options: &WriteOptions,
        inspect: Option<Inspect<'_>>,
    ) -> Result<Staged> {
        let mut temp = match Temp::beside(path) {
            Err(Fault::Io(e)) if options.unsafe_writes && old.is_some() => {
                // The directory may not be written: stage elsewhere and write into the file.
                Temp::beside(&std::env::temp_dir().join("staged")).map_err(|_| Fault::Io(e))
            }
            other => other,
        }
        .at("cannot write", path)?;
        let digests = match content {
            NewContent::Bytes(bytes) => temp.fill(&mut &bytes[..]).at("cannot write", path)?,
            NewContent::Stream(source) => {
                let (size, sha256) = (source.size(), source.sha256().to_string());
                let mut reader = source.open().at("cannot get the contents of", path)?;
                let digests = temp.fill(&mut *reader).at("cannot write", path)?;
                arrived(path, &digests, size, &sha256)?;
                digests
            }
            NewContent::AtApply(_) => {
                return Err(MachineError::failed(format!("{} was given no contents", path.display())));
            }
        };
        let like = old.filter(|s| s.is_file()).map(|_| path);
        temp.dress(meta.uid, meta.gid, meta.mode, like).at("cannot set owner and mode of", path)?;
        let verdict = match inspect {
            Some(inspect) => inspect(self, temp.path())?,
            None => Verdict::Good,
        };
        let after = Image::of(Kind::File, meta.mode, meta.uid, meta.gid, Some(digests.sha256.clone()));
        let kept = self.log_file(path, old, after, options.sensitive);
        let backup = match old.filter(|s| options.backup && s.is_file()) {
            Some(stat) => Some(self.back_up(path, stat)?),
            None => None,
        };
        let elsewhere = temp.path().parent() != path.parent();
        if elsewhere {
            temp.pour(path).at("cannot write", path)?;
        } else if options.unsafe_writes && old.is_some_and(Stat::is_file) {
            let staged = temp.path().to_path_buf();
            if let Err(fault) = temp.put(path) {
                // A file that is a mount point (in a container) cannot be replaced.
                let again = Temp::beside(path).and_then(|mut copy| {
                    copy.fill(&mut *self.predicted_or_staged(&staged, content)?)?;
                    copy.pour(path)
                });
                again.map_err(|_| fault).at("cannot write", path)?;
            }
        } else {
            temp.put(path).at("cannot write", path)?;
        }
        Ok(Staged { digests: Some(digests), backup, verdict, kept })
    }

    /// The contents once more, for a second way of writing them.
    fn predicted_or_staged<'a>(
        &self,
        staged: &Path,
        content: &'a mut NewContent<'_>,
    ) -> super::fault::FsResult<Box<dyn Read + 'a>> {
        Ok(match content {
            NewContent::Bytes(bytes) => Box::new(&bytes[..]),
            NewContent::Stream(source) => source.open()?,
            NewContent::AtApply(_) => live::open(staged)?,
        })
    }

    fn predict_content(
        &mut self,
        path: &Path,
        old: Option<&Stat>,
        content: &mut NewContent<'_>,
        meta: Meta,
        options: &WriteOptions,
        inspect: Option<Inspect<'_>>,
    ) -> Result<Staged> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if !options.attributes_possible(self, meta, old) {
            return Err(Errno::PERM).at("cannot set owner and mode of", path);
        }
        if self.stat(parent)?.is_none() {
            return Err(Errno::NOENT).at("cannot write", path);
        }
        let verdict = match (inspect, &*content) {
            (Some(inspect), NewContent::Bytes(bytes)) => self.inspect_copy(path, bytes, inspect)?,
            (Some(_), _) => Verdict::Untested,
            (None, _) => Verdict::Good,
        };
        let mut present = Present::new(Kind::File, meta.mode, meta.uid, meta.gid);
        let digests = match content {
            NewContent::Bytes(bytes) => {
                let digests = Digests::of(bytes);
                present.body = match bytes.len() as u64 <= KEPT_LIMIT {
                    true => Body::of(bytes),
                    false => Body::Digests(digests.clone()),
                };
                Some(digests)
            }
            NewContent::Stream(source) => {
                let digests = source.digests().unwrap_or_else(|| Digests {
                    size: source.size(),
                    sha256: source.sha256().to_string(),
                    ..Digests::default()
                });
                present.body = match source.origin() {
                    Some(origin) => Body::Live(origin.to_string_lossy().into_owned()),
                    None => Body::Digests(digests.clone()),
                };
                Some(digests)
            }
            NewContent::AtApply(why) => {
                present.body = Body::AtApply(why.to_string());
                None
            }
        };
        if let Verdict::Doubtful(why) = verdict {
            // It will have these contents, or stay what it is.
            let mode = std::mem::replace(&mut self.mode, Mode::Tainted);
            let foretold = self.foretell_content(path, old, present);
            self.mode = mode;
            foretold?;
            return Err(MachineError::unknown(why));
        }
        self.foretell_content(path, old, present)?;
        let kept = self.log_file(path, old, Image::absent(), options.sensitive);
        if old.is_some_and(|s| options.backup && s.is_file()) {
            self.record_backup(path, Facet::AtApply("a copy beside it".into()));
        }
        Ok(Staged { digests, backup: None, verdict, kept })
    }

    fn foretell_content(&mut self, path: &Path, old: Option<&Stat>, mut present: Present) -> Result<()> {
        let tainted_file = self.mode == Mode::Tainted && old.is_some_and(Stat::is_file);
        if tainted_file {
            // It will be there in any case; what it holds and whose it is are not known.
            present.body = Body::Unknown(doubt(path));
            present.unknown = Some(doubt(path));
            let files = &mut self.predictions.files;
            let real = files.resolve(path, false).at("cannot write", path)?;
            files.may_modify(&real, old).at("cannot write", path)?;
            files.put(&real, Node::Present(present));
        } else {
            self.foretell(path, old, Node::Present(present), "cannot write")?;
        }
        Ok(())
    }

    /// Lets an inspection see predicted contents, in a private directory that is gone afterwards.
    fn inspect_copy(&self, path: &Path, bytes: &[u8], inspect: Inspect<'_>) -> Result<Verdict> {
        let directory = live::make_temporary(&std::env::temp_dir(), ".deploy-check-", "", true)
            .at("cannot make a temporary directory in", &std::env::temp_dir())?;
        let copy = directory.join(path.file_name().unwrap_or("file".as_ref()));
        let result = std::fs::write(&copy, bytes).at("cannot write", &copy).and_then(|()| inspect(self, &copy));
        let _ = std::fs::remove_dir_all(&directory); // it holds nothing but the copy
        result
    }

    /// Copies a file to Ansible's backup name beside it.
    fn back_up(&mut self, path: &Path, stat: &Stat) -> Result<PathBuf> {
        let backup = backup_place(path, &timestamp(super::Time::now().0))?;
        let mut copy = Temp::beside(&backup).at("cannot make the backup", &backup)?;
        let made = copy.fill(&mut *live::open(path).at("cannot read", path)?);
        made.at("cannot make the backup", &backup)?;
        copy.dress(stat.uid, stat.gid, stat.mode, Some(path)).at("cannot make the backup", &backup)?;
        let after = Image::from_stat(self, path, stat)?;
        self.log_file(&backup, None, after, true);
        copy.put(&backup).at("cannot make the backup", &backup)?;
        if let (Some(atime), Some(mtime)) = (stat.atime, stat.mtime) {
            live::set_times(&backup, atime, mtime).at("cannot set the times of", &backup)?;
        }
        self.record_backup(path, Facet::Value(Value::from(backup.to_string_lossy())));
        Ok(backup)
    }

    /// Keeps the copy of a file that a write with a backup would keep: before it is removed.
    pub(crate) fn keep_copy(&mut self, path: &Path) -> Result<Kept> {
        let Some(stat) = self.stat(path)?.filter(Stat::is_file) else { return Ok(Kept::Nothing) };
        if self.predicted() {
            self.record_backup(path, Facet::AtApply("a copy beside it".into()));
            return Ok(Kept::AtApply);
        }
        self.back_up(path, &stat).map(Kept::At)
    }

    fn record_backup(&mut self, path: &Path, after: Facet) {
        self.record(Change::set(Self::file_subject(path), "backup", Facet::Absent, after));
    }
}

/// Where a file is kept: its name, a number, the time. The number is the process's, or one after it that is free: in Ansible
/// each task has another, and two copies of one second must not have one name.
fn backup_place(path: &Path, time: &str) -> Result<PathBuf> {
    for number in std::process::id().. {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{number}.{time}~"));
        let place = path.with_file_name(name);
        match std::fs::symlink_metadata(&place) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(place),
            other => other.map(drop).at("cannot make the backup", &place)?,
        }
    }
    Err(MachineError::failed(format!("no name is free for a backup of {}", path.display())))
}

/// Contents must be those that were announced.
fn arrived(path: &Path, digests: &Digests, size: u64, sha256: &str) -> Result<()> {
    if digests.size == size && digests.sha256 == sha256 {
        return Ok(());
    }
    Err(MachineError::failed(format!(
        "the contents of {} did not arrive whole: {} of {size} bytes, SHA-256 {} instead of {sha256}; nothing was changed",
        path.display(),
        digests.size,
        digests.sha256
    )))
}

/// How contents were staged.
struct Staged {
    digests: Option<Digests>,
    backup: Option<PathBuf>,
    verdict: Verdict,
    kept: bool,
}

impl WriteOptions {
    /// In a check: whether the identity may give the new file to that owner.
    fn attributes_possible(&self, machine: &Machine, meta: Meta, old: Option<&Stat>) -> bool {
        let identity = machine.predictions.files.identity();
        identity.uid == 0
            || meta.uid == identity.uid
                && (identity.in_group(meta.gid) || old.is_none() && self.attributes.group.is_none())
    }
}

/// Year, month and day of a count of days since 1970 (Howard Hinnant's algorithm).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `2026-11-22@02:14:07`, in UTC.
fn timestamp(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}@{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod timestamps {
    #[test]
    fn dates_are_civil() {
        assert_eq!(super::timestamp(0), "1970-01-01@00:00:00");
        assert_eq!(super::timestamp(951_782_400), "2000-02-29@00:00:00");
        assert_eq!(super::timestamp(1_795_313_647), "2026-11-22@02:14:07");
    }
}
