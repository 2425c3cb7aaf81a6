//! What every file module has in common: mode, owner and group, paths as users write them, return values.

use crate::machine::files::{Attributes, Kept, Kind, Stat};
use crate::machine::{Machine, MachineError};
use crate::modules::commands::words;
use crate::modules::scalars::{FileMode, Text};
use crate::modules::{Context, ModuleError, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Result of a module's step.
pub(in crate::modules) type Step<T> = Result<T, ModuleError>;

/// Wraps a struct of arguments and adds the attributes that all of Ansible's file modules take, with
/// `Self::common()` to read them.
macro_rules! file_arguments {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $kind:ty),* $(,)? }) => {
        $crate::arguments! {
            $(#[$meta])*
            pub struct $name {
                $($(#[$field_meta])* pub $field: $kind,)*
                /// Permissions: octal in quotes (`"0644"`) or symbolic (`u=rw,g=r,o=`). Without it an existing
                /// file keeps its mode and a new one gets the usual one.
                pub mode: Option<$crate::modules::scalars::FileMode>,
                /// Name or number of the owner.
                pub owner: Option<$crate::modules::scalars::Text>,
                /// Name or number of the group.
                pub group: Option<$crate::modules::scalars::Text>,
                /// Flags of the file system, as `chattr` takes them. Not supported yet: an error.
                #[serde(alias = "attr")]
                pub attributes: Option<$crate::modules::scalars::Text>,
                /// SELinux user. On a host without SELinux it has no effect; with SELinux it is not supported yet.
                pub seuser: Option<$crate::modules::scalars::Text>,
                /// SELinux role, as `seuser`.
                pub serole: Option<$crate::modules::scalars::Text>,
                /// SELinux type, as `seuser`.
                pub setype: Option<$crate::modules::scalars::Text>,
                /// SELinux level, as `seuser`.
                pub selevel: Option<$crate::modules::scalars::Text>,
                /// Write into the file itself where it cannot be replaced in one step (a file that is a mount
                /// point, a directory that may not be written). A crash meanwhile leaves it torn.
                #[serde(default)]
                pub unsafe_writes: $crate::modules::scalars::Flag,
            }
        }

        impl $name {
            /// The attributes that all file modules take.
            #[allow(dead_code, reason = "not every module needs it")]
            fn common(&self) -> $crate::modules::files::common::Common<'_> {
                $crate::modules::files::common::Common {
                    mode: self.mode.as_ref(),
                    owner: self.owner.as_ref(),
                    group: self.group.as_ref(),
                    flags: self.attributes.as_ref(),
                    selinux: [&self.seuser, &self.serole, &self.setype, &self.selevel].into_iter().any(Option::is_some),
                    unsafe_writes: self.unsafe_writes.0,
                }
            }
        }
    };
}
pub(in crate::modules) use file_arguments;

/// Mode, owner, group and the like as they were written.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::modules) struct Common<'a> {
    pub mode: Option<&'a FileMode>,
    pub owner: Option<&'a Text>,
    pub group: Option<&'a Text>,
    pub flags: Option<&'a Text>,
    pub selinux: bool,
    pub unsafe_writes: bool,
}

impl Common<'_> {
    /// Refuses what is not supported, before anything is touched.
    pub fn check(&self, outcome: &mut Outcome) -> Step<()> {
        if self.flags.is_some() {
            return Err(ModuleError::argument("attributes", "flags of the file system are not supported yet"));
        }
        if self.selinux {
            if Path::new("/sys/fs/selinux/enforce").exists() {
                return Err(ModuleError::argument(
                    "setype",
                    "SELinux contexts are not supported yet; the context of the file that is replaced is kept",
                ));
            }
            outcome.warnings.push("seuser, serole, setype and selevel have no effect: this host has no SELinux".into());
        }
        Ok(())
    }

    /// The attributes for what is at `path`, or will be there as a new entry of `kind`.
    pub fn resolve(&self, machine: &Machine, path: &Path, follow: bool, kind: Kind) -> Step<Attributes> {
        let stat = if follow { machine.stat(path) } else { machine.lstat(path) };
        self.resolve_for(machine, stat?.filter(|s| !s.is_link()).as_ref(), kind)
    }

    /// The attributes for an entry, or for a new one of `kind`.
    pub fn resolve_for(&self, machine: &Machine, stat: Option<&Stat>, kind: Kind) -> Step<Attributes> {
        let umask = machine.umask();
        let mode = match self.mode {
            None => None,
            Some(FileMode::Preserve) => {
                return Err(ModuleError::argument("mode", "`preserve` needs a source file to take the mode from"));
            }
            Some(mode) => {
                let fresh = if kind == Kind::Directory { 0o777 } else { 0o666 } & !umask;
                let directory = stat.map_or(kind == Kind::Directory, Stat::is_dir);
                let current = stat.map_or(fresh, |s| s.mode);
                Some(mode.resolve(current, directory, umask).map_err(|why| ModuleError::argument("mode", why))?)
            }
        };
        let owner = self.owner.map(|name| resolve(machine, "user", name, machine.resolve_user(name))).transpose()?;
        let group = self.group.map(|name| resolve(machine, "group", name, machine.resolve_group(name))).transpose()?;
        Ok(Attributes { mode, owner, group })
    }
}

fn resolve(machine: &Machine, what: &str, name: &str, id: crate::machine::Result<Option<u32>>) -> Step<u32> {
    match id? {
        Some(id) => Ok(id),
        None if machine.foresees_commands() => Err(MachineError::unknown(format!(
            "there is no {what} {name} yet; a command before this task, which a check does not run, may make it"
        ))
        .into()),
        None => Err(ModuleError::Failed(format!("failed to look up {what} {name}: the host has none of that name"))),
    }
}

/// Starts a module's host half: contents are kept or not, as the task says.
pub(in crate::modules) fn begin(machine: &mut Machine, context: &Context<'_>) {
    machine.diff = context.diff;
    machine.no_log = context.no_log;
}

/// A path as a user wrote it: `~` and `$VARIABLES` expanded, made absolute, a trailing slash kept.
pub(in crate::modules) fn expand(machine: &Machine, path: &str) -> Step<PathBuf> {
    if path.is_empty() {
        return Err(ModuleError::Failed("a path is empty".into()));
    }
    let text = words::expand(
        path,
        |name| machine.environment.get(name).cloned().or_else(|| std::env::var(name).ok()),
        |user| {
            let user = match user {
                None => machine.user_by_id(rustix::process::geteuid().as_raw()),
                Some(name) => machine.user(name).ok().flatten(),
            };
            user.map(|u| u.home.trim_end_matches('/').to_string())
        },
    );
    let absolute =
        std::path::absolute(&text).map_err(|e| MachineError::io(format!("cannot use the path {path}"), e))?;
    if text.ends_with('/') && absolute.parent().is_some() && !absolute.to_string_lossy().ends_with('/') {
        return Ok(PathBuf::from(format!("{}/", absolute.to_string_lossy())));
    }
    Ok(absolute)
}

/// Whether a path was written with a slash at its end.
pub(in crate::modules) fn ends_with_slash(path: &Path) -> bool {
    path.to_string_lossy().ends_with('/')
}

/// Ansible's word for what is at a path: `absent`, `file`, `hard`, `directory`, `link`.
pub(in crate::modules) fn state_of(stat: Option<&Stat>) -> &'static str {
    match stat {
        None => "absent",
        Some(s) if s.is_link() => "link",
        Some(s) if s.is_dir() => "directory",
        Some(s) if s.identity.is_some_and(|i| i.links > 1) => "hard",
        Some(_) => "file",
    }
}

/// Adds what Ansible returns about the entry at `path`: uid, gid, owner, group, mode, state, size.
pub(in crate::modules) fn describe(machine: &Machine, path: &Path, outcome: &mut Outcome) -> Step<()> {
    let stat = match machine.lstat(path) {
        Err(MachineError::Unknown { .. }) => {
            outcome.unknown_fields.extend(["uid", "gid", "owner", "group", "mode", "size"].map(String::from));
            return Ok(());
        }
        other => other?,
    };
    outcome.data.insert("state".into(), Value::from(state_of(stat.as_ref())));
    let Some(stat) = stat else {
        return Ok(());
    };
    for (id, name, number, text) in [
        ("uid", "owner", stat.uid, machine.user_name(stat.uid)),
        ("gid", "group", stat.gid, machine.group_name(stat.gid)),
    ] {
        if crate::machine::accounts::is_predicted_id(number) {
            outcome.unknown_fields.push(id.into());
        } else {
            outcome.data.insert(id.into(), number.into());
        }
        outcome.data.insert(name.into(), text.unwrap_or_else(|| number.to_string()).into());
    }
    // With a zero before it, however many digits there are: `0644`, `04755`.
    outcome.data.insert("mode".into(), format!("0{:03o}", stat.mode & 0o7777).into());
    match stat.size {
        Some(size) => {
            outcome.data.insert("size".into(), size.into());
        }
        None => outcome.unknown_fields.push("size".into()),
    }
    Ok(())
}

/// Removes a file, and keeps a copy of it if one is asked for.
pub(in crate::modules) fn remove(
    machine: &mut Machine,
    path: &Path,
    backup: bool,
    mut outcome: Outcome,
) -> Step<Outcome> {
    if backup {
        match machine.keep_copy(path)? {
            Kept::Nothing => {}
            Kept::AtApply => outcome.unknown_fields.push("backup_file".into()),
            Kept::At(copy) => outcome = outcome.with("backup_file", show(&copy)),
        }
    }
    machine.remove(path)?;
    Ok(outcome)
}

/// A path in a return value.
pub(in crate::modules) fn show(path: &Path) -> Value {
    Value::from(path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn paths_are_expanded_as_python_does() {
        let mut machine = Machine::new(Mode::Live);
        machine.environment.insert("DATA".into(), "/srv/data".into());
        let home = machine.user("root").unwrap().unwrap().home;
        for (written, expected) in [
            ("/etc/hosts", "/etc/hosts".to_string()),
            ("/etc/", "/etc/".into()),
            ("/", "/".into()),
            ("~root/x", format!("{home}/x")),
            ("$DATA/y", "/srv/data/y".into()),
            ("/x/${DATA}z", "/x//srv/dataz".replace("//", "/")),
            ("/x/$NOT_SET_HERE/${NOR_THIS}", "/x/$NOT_SET_HERE/${NOR_THIS}".into()),
            ("/x/$", "/x/$".into()),
        ] {
            assert_eq!(expand(&machine, written).unwrap().to_string_lossy(), expected, "{written}");
        }
    }
}
