//! `file`: directories, links, attributes, removal.

use super::common::{Common, Step, begin, describe, ends_with_slash, expand, file_arguments, show, state_of};
use super::file_time;
use crate::machine::files::{Attributes, Kind, TimeSpec, WriteOptions};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.file`
pub const FILE: Module = Module {
    name: "ansible.builtin.file",
    aliases: &["file", "ansible.legacy.file"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: File::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What shall be at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing; a directory goes with all that is in it.
    Absent,
    /// A directory, with those above it.
    Directory,
    /// What is there, with these attributes; nothing is made.
    File,
    /// Another name of `src`.
    Hard,
    /// A symbolic link to `src`.
    Link,
    /// A file, empty when it is new; its times are set.
    Touch,
}

file_arguments! {
    /// Makes directories, links and empty files, removes them, and sets mode, owner and group.
    pub struct File {
        /// The path.
        #[serde(alias = "dest", alias = "name")]
        pub path: Text,
        /// `absent`, `directory`, `file`, `hard`, `link` or `touch`. Without it: what is there stays what it is;
        /// with `recurse` a directory.
        pub state: Option<State>,
        /// What a link points to, or the file that gets another name.
        pub src: Option<Text>,
        /// Set the attributes of all that is in a directory, too.
        #[serde(default)]
        pub recurse: Flag,
        /// Replace a file by a link, and make links to what does not exist.
        #[serde(default)]
        pub force: Flag,
        /// Work on what a link points to.
        #[serde(default = "Flag::yes")]
        pub follow: Flag,
        /// Time of the last change of the contents: `preserve`, `now` or in the format below. `touch` means `now`.
        pub modification_time: Option<Text>,
        /// Format of `modification_time`, as `strptime` takes it; `%Y%m%d%H%M.%S` when not given.
        pub modification_time_format: Option<Text>,
        /// Time of the last access, as `modification_time`.
        pub access_time: Option<Text>,
        /// Format of `access_time`.
        pub access_time_format: Option<Text>,
    }
}

struct Work<'a> {
    common: Common<'a>,
    path: PathBuf,
    follow: bool,
    force: bool,
    atime: TimeSpec,
    mtime: TimeSpec,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: File = decode(arguments)?;
    begin(machine, context);
    match settle(&arguments, machine) {
        Ok(outcome) => Ok(outcome),
        Err(unknown @ ModuleError::Machine(MachineError::Unknown { .. })) => Err(unknown),
        Err(ended @ ModuleError::Ended(_)) => Err(ended),
        // Who ignores the failure finds what is at the path, as of Ansible's.
        Err(error) => {
            let path = expand(machine, &arguments.path)?;
            let mut outcome = Outcome::from(error).with("path", show(&path));
            if let Some(src) = &arguments.src {
                outcome = outcome.with("dest", show(&path)).with("src", src.0.as_str());
            }
            // What is there is told besides; that it cannot be told is not why the task failed.
            let _ = describe(machine, &path, &mut outcome);
            Ok(outcome)
        }
    }
}

fn settle(arguments: &File, machine: &mut Machine) -> Step<Outcome> {
    let mut outcome = Outcome::ok();
    let common = arguments.common();
    common.check(&mut outcome)?;
    let given = expand(machine, &arguments.path)?;
    let path = trimmed(given.clone());
    let state = match arguments.state {
        Some(state) => state,
        None => match machine.lstat(&path)? {
            Some(stat) if stat.is_link() && !arguments.recurse.0 => State::Link,
            Some(stat) if stat.is_dir() => State::Directory,
            Some(_) if !arguments.recurse.0 => State::File,
            _ if arguments.recurse.0 => State::Directory,
            _ => State::File,
        },
    };
    if arguments.recurse.0 && state != State::Directory {
        return Err(ModuleError::argument("recurse", "recurse option requires state to be 'directory'"));
    }
    if arguments.src.is_some() && !matches!(state, State::Link | State::Hard) {
        return Err(ModuleError::argument("src", "src option requires state to be 'link' or 'hard'"));
    }
    let default = if state == State::Touch { TimeSpec::Now } else { TimeSpec::Preserve };
    let time = |text: &Option<Text>, format: &Option<Text>| match text {
        None => Ok(default),
        Some(text) => file_time::parse(machine, text, format.as_ref().map(|f| f.0.as_str())),
    };
    let work = Work {
        common,
        atime: time(&arguments.access_time, &arguments.access_time_format)?,
        mtime: time(&arguments.modification_time, &arguments.modification_time_format)?,
        path: path.clone(),
        follow: arguments.follow.0,
        force: arguments.force.0,
    };
    let src = arguments.src.as_ref().map(|s| s.0.as_str());
    let (name, shown) = match state {
        State::Absent => {
            machine.remove(&path)?;
            return Ok(outcome.with("path", show(&given)).with("state", "absent"));
        }
        State::Directory => ("path", work.directory(machine, arguments.recurse.0)?),
        State::File => ("path", work.file(machine)?),
        State::Touch => ("dest", work.touch(machine)?),
        State::Link => {
            let src = work.link(machine, src, &mut outcome)?;
            outcome.data.insert("src".into(), Value::from(src));
            ("dest", path)
        }
        State::Hard => {
            let src = work.hard_link(machine, src)?;
            outcome.data.insert("src".into(), src.map_or(Value::Null, |src| show(&src)));
            ("dest", path)
        }
    };
    // A slash at the end is returned, too.
    outcome.data.insert(name.into(), show(if ends_with_slash(&given) { &given } else { &shown }));
    describe(machine, &shown, &mut outcome)?;
    if state == State::Hard && outcome.data.get("state").is_some_and(|s| s == "file") {
        outcome.data.insert("state".into(), "hard".into()); // predicted: another name counts only when it is made
    }
    Ok(outcome)
}

/// A path without its last slash.
fn trimmed(path: PathBuf) -> PathBuf {
    path.components().collect()
}

impl Work<'_> {
    /// Attributes and times of what is there.
    fn dress(&self, machine: &mut Machine, path: &Path, follow: bool, kind: Kind) -> Step<()> {
        let attributes = self.common.resolve(machine, path, follow, kind)?;
        machine.set_attributes(path, &attributes, follow)?;
        if (self.atime, self.mtime) != (TimeSpec::Preserve, TimeSpec::Preserve) {
            machine.set_times(path, self.atime, self.mtime, follow)?;
        }
        Ok(())
    }

    /// With `follow`, what a link points to.
    fn target(&self, machine: &Machine) -> Step<PathBuf> {
        match machine.lstat(&self.path)? {
            Some(stat) if stat.is_link() && self.follow => Ok(machine.real_path(&self.path)?),
            _ => Ok(self.path.clone()),
        }
    }

    fn file(&self, machine: &mut Machine) -> Step<PathBuf> {
        let path = self.target(machine)?;
        let stat = machine.lstat(&path)?;
        match state_of(stat.as_ref()) {
            "file" | "hard" => {}
            state => {
                let why = format!("file ({}) is {state}, cannot continue", path.display());
                let outcome = crate::modules::Outcome::failed(why).with("path", show(&path)).with("state", state);
                return Err(ModuleError::Ended(Box::new(outcome)));
            }
        }
        self.dress(machine, &path, false, Kind::File)?;
        Ok(path)
    }

    fn directory(&self, machine: &mut Machine, recurse: bool) -> Step<PathBuf> {
        let path = self.target(machine)?;
        match machine.lstat(&path)? {
            None => {
                let attributes = self.common.resolve_for(machine, None, Kind::Directory)?;
                for made in machine.make_directories(&path, &attributes)? {
                    if (self.atime, self.mtime) != (TimeSpec::Preserve, TimeSpec::Preserve) {
                        machine.set_times(&made, self.atime, self.mtime, false)?;
                    }
                }
                return Ok(path);
            }
            Some(stat) if stat.is_dir() => {}
            Some(stat) => {
                let state = state_of(Some(&stat));
                return Err(ModuleError::Failed(format!("{} already exists as a {state}", path.display())));
            }
        }
        self.dress(machine, &path, false, Kind::Directory)?;
        if recurse {
            self.recurse(machine, &path, &mut vec![path.clone()])?;
        }
        Ok(path)
    }

    /// All that is in a directory; through links too when they are followed, but never in a circle.
    fn recurse(&self, machine: &mut Machine, directory: &Path, above: &mut Vec<PathBuf>) -> Step<()> {
        for name in machine.list_directory(directory)? {
            let path = directory.join(name);
            let Some(stat) = machine.lstat(&path)? else {
                continue; // gone meanwhile
            };
            if !stat.is_link() {
                self.dress(machine, &path, false, stat.kind)?;
                if stat.is_dir() {
                    self.recurse(machine, &path, above)?;
                }
                continue;
            }
            let attributes = self.common.resolve(machine, &path, false, Kind::Link)?;
            machine.set_attributes(&path, &Attributes { mode: None, ..attributes }, false)?;
            if self.follow
                && let Some(stat) = machine.stat(&path)?
            {
                let real = machine.real_path(&path)?;
                self.dress(machine, &real, false, stat.kind)?;
                if stat.is_dir() && !above.iter().any(|a| a.starts_with(&real) || real.starts_with(a)) {
                    above.push(real.clone());
                    self.recurse(machine, &real, above)?;
                    above.pop();
                }
            }
        }
        Ok(())
    }

    fn touch(&self, machine: &mut Machine) -> Step<PathBuf> {
        let existing = if self.follow { machine.stat(&self.path)? } else { machine.lstat(&self.path)? };
        if existing.is_none() {
            let attributes = self.common.resolve_for(machine, None, Kind::File)?;
            let options = WriteOptions { attributes, follow: self.follow, ..WriteOptions::default() };
            machine.write_file(&self.path, b"", &options)?;
            // Its times are now, unless they shall be others.
            let given = |spec| if spec == TimeSpec::Now { TimeSpec::Preserve } else { spec };
            let (atime, mtime) = (given(self.atime), given(self.mtime));
            if (atime, mtime) != (TimeSpec::Preserve, TimeSpec::Preserve) {
                machine.set_times(&self.path, atime, mtime, self.follow)?;
            }
        } else {
            let kind = existing.map_or(Kind::File, |s| s.kind);
            self.dress(machine, &self.path, self.follow, kind)?;
        }
        Ok(self.path.clone())
    }

    fn link(&self, machine: &mut Machine, src: Option<&str>, outcome: &mut Outcome) -> Step<Option<String>> {
        let old = machine.lstat(&self.path)?;
        let src = match src {
            Some(src) => src.to_string(),
            None => match &old {
                Some(stat) if stat.is_link() && self.follow && machine.stat(&self.path)?.is_some() => {
                    machine.read_link(&self.path)?.to_string_lossy().into_owned()
                }
                // The link itself is what is meant, wherever it leads.
                Some(stat) if stat.is_link() => {
                    self.dress_link(machine, outcome)?;
                    return Ok(None);
                }
                _ => return Err(ModuleError::argument("src", "src is required for creating new symlinks")),
            },
        };
        let base = match &old {
            Some(stat) if stat.is_dir() => self.path.clone(),
            _ => self.path.parent().unwrap_or(Path::new("/")).to_path_buf(),
        };
        let target = base.join(&src);
        if !self.force && !machine.exists(&target)? {
            return Err(ModuleError::Failed(format!(
                "src file does not exist, use 'force=yes' if you really want to create the link: {}",
                target.display()
            )));
        }
        match &old {
            Some(stat) if !stat.is_link() && !self.force => {
                return Err(ModuleError::Failed(format!(
                    "refusing to convert from {} to symlink for {}",
                    state_of(Some(stat)),
                    self.path.display()
                )));
            }
            Some(stat) if stat.is_dir() && !machine.list_directory(&self.path)?.is_empty() => {
                return Err(ModuleError::Failed(format!(
                    "the directory {} is not empty, refusing to convert it",
                    self.path.display()
                )));
            }
            _ => {}
        }
        machine.make_link(&self.path, &src)?;
        self.dress_link(machine, outcome)?;
        Ok(Some(src))
    }

    /// Attributes and times of a link, or of what it points to.
    fn dress_link(&self, machine: &mut Machine, outcome: &mut Outcome) -> Step<()> {
        if self.follow && machine.stat(&self.path)?.is_none() {
            if self.common.mode.is_some() || self.common.owner.is_some() || self.common.group.is_some() {
                outcome.warnings.push(
                    "Cannot set fs attributes on a non-existent symlink target. follow should be set to False to avoid this."
                        .into(),
                );
            }
        } else {
            self.dress(machine, &self.path, self.follow, Kind::File)?;
        }
        Ok(())
    }

    fn hard_link(&self, machine: &mut Machine, src: Option<&str>) -> Step<Option<PathBuf>> {
        let old = machine.lstat(&self.path)?;
        let Some(src) = src else {
            if old.as_ref().is_some_and(|s| s.identity.is_some_and(|i| i.links > 1) && s.is_file()) {
                self.dress(machine, &self.path, false, Kind::File)?;
                return Ok(None);
            }
            return Err(ModuleError::argument("src", "src is required for creating new hardlinks"));
        };
        let src = trimmed(expand(machine, src)?);
        if !machine.exists(&src)? {
            return Err(ModuleError::Failed(format!("src does not exist: {}", src.display())));
        }
        if let Some(stat) = &old
            && !machine.same_file(&self.path, &src)?
        {
            if stat.is_dir() {
                return Err(MachineError::failed(format!("{} is a directory", self.path.display())).into());
            }
            if !self.force && !stat.is_link() {
                return Err(ModuleError::Failed(format!(
                    "Cannot link, {} exists at destination {}",
                    if state_of(Some(stat)) == "hard" { "different hard link" } else { "file" },
                    self.path.display()
                )));
            }
        }
        let source = if self.follow { machine.real_path(&src)? } else { src.clone() };
        machine.make_hard_link(&self.path, &source)?;
        self.dress(machine, &self.path, false, Kind::File)?;
        Ok(Some(src))
    }
}
