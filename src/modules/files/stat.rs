//! `stat`: what is at a path.

use super::common::{Step, begin, expand, show};
use crate::machine::files::{Algorithm, Stat as FileStat, Time};
use crate::machine::{Command, Machine, MachineError};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
use serde_json::{Map, Value, json};
use std::path::Path;

/// `ansible.builtin.stat`
pub const STAT: Module = Module {
    name: "ansible.builtin.stat",
    aliases: &["stat", "ansible.legacy.stat"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Stat::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Tells what is at a path: returns `stat` with `exists`, and for what exists its kind, mode, owner, size, times
    /// and checksum. It changes nothing.
    pub struct Stat {
        /// The path.
        #[serde(alias = "dest", alias = "name")]
        pub path: Text,
        /// Look at what a link points to.
        #[serde(default)]
        pub follow: Flag,
        /// Compute the checksum of a file.
        #[serde(default = "Flag::yes")]
        pub get_checksum: Flag,
        /// Ask the program `file` for type and encoding, where the host has it.
        #[serde(default = "Flag::yes", alias = "mime", alias = "mime_type", alias = "mime-type")]
        pub get_mime: Flag,
        /// Read the flags that `lsattr` shows.
        #[serde(default = "Flag::yes", alias = "attr", alias = "attributes")]
        pub get_attributes: Flag,
        /// `md5`, `sha1`, `sha224`, `sha256`, `sha384` or `sha512`.
        #[serde(default, alias = "checksum", alias = "checksum_algo")]
        pub checksum_algorithm: Algorithm,
        /// Was removed from Ansible; taken and ignored.
        pub get_md5: Option<Flag>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Stat = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    let found = if arguments.follow.0 { machine.stat(&path)? } else { machine.lstat(&path)? };
    let Some(found) = found else {
        return Ok(Outcome::ok().with("stat", json!({"exists": false})));
    };
    let mut stat = fields(machine, &found);
    stat.insert("exists".into(), true.into());
    stat.insert("path".into(), arguments.path.0.as_str().into());
    for (name, wanted) in [("readable", 4), ("writeable", 2), ("executable", 1)] {
        stat.insert(name.into(), machine.may_access(&path, wanted)?.into());
    }
    if found.is_link() {
        if let Ok(source) = machine.real_path(&path) {
            stat.insert("lnk_source".into(), show(&source));
        }
        stat.insert("lnk_target".into(), show(&machine.read_link(&path)?));
    }
    let mut outcome = Outcome::ok();
    if found.is_file() && arguments.get_checksum.0 && machine.may_access(&path, 4)? {
        match machine.file_digest(&path, arguments.checksum_algorithm) {
            Ok(digest) => {
                stat.insert("checksum".into(), digest.into());
            }
            Err(MachineError::Unknown { .. }) => outcome.unknown_fields.push("stat.checksum".into()),
            Err(error) => return Err(error.into()),
        }
    }
    let on_disk = found.identity.is_some();
    if arguments.get_mime.0 {
        let (mime, charset) =
            mime_type(machine, &path).filter(|_| on_disk).unwrap_or(("unknown".into(), "unknown".into()));
        stat.insert("mimetype".into(), mime.into());
        stat.insert("charset".into(), charset.into());
    }
    if arguments.get_attributes.0 {
        let flags = if on_disk { flags(&path) } else { Vec::new() };
        stat.insert("attr_flags".into(), flags.iter().map(|(letter, _)| *letter).collect::<String>().into());
        stat.insert("attributes".into(), flags.iter().map(|(_, name)| Value::from(*name)).collect());
        stat.insert("version".into(), Value::Null);
    }
    for name in [
        "size",
        "inode",
        "dev",
        "nlink",
        "atime",
        "mtime",
        "ctime",
        "blocks",
        "block_size",
        "device_type",
        "uid",
        "gid",
    ] {
        if !stat.contains_key(name) {
            outcome.unknown_fields.push(format!("stat.{name}"));
        }
    }
    outcome.data.insert("stat".into(), Value::Object(stat));
    Ok(outcome)
}

/// What `stat` and `find` return of an entry.
pub(super) fn fields(machine: &Machine, found: &FileStat) -> Map<String, Value> {
    use crate::machine::accounts::is_predicted_id;
    use crate::machine::files::Kind;
    let mut map = Map::new();
    map.insert("mode".into(), found.mode_text().into());
    for (name, kind) in [
        ("isdir", Kind::Directory),
        ("ischr", Kind::CharacterDevice),
        ("isblk", Kind::BlockDevice),
        ("isreg", Kind::File),
        ("isfifo", Kind::Fifo),
        ("islnk", Kind::Link),
        ("issock", Kind::Socket),
    ] {
        map.insert(name.into(), (found.kind == kind).into());
    }
    for (name, id) in [("uid", found.uid), ("gid", found.gid)] {
        if !is_predicted_id(id) {
            map.insert(name.into(), id.into());
        }
    }
    if let Some(size) = found.size {
        map.insert("size".into(), size.into());
    }
    if let Some(identity) = found.identity {
        for (name, value) in [
            ("inode", identity.inode),
            ("dev", identity.device),
            ("nlink", identity.links),
            ("blocks", identity.blocks),
            ("block_size", identity.block_size),
            ("device_type", identity.device_type),
        ] {
            map.insert(name.into(), value.into());
        }
    }
    for (name, time) in [("atime", found.atime), ("mtime", found.mtime), ("ctime", found.ctime)] {
        if let Some(time) = time {
            map.insert(name.into(), Time::seconds(time).into());
        }
    }
    for (name, bit) in [
        ("rusr", 0o400),
        ("wusr", 0o200),
        ("xusr", 0o100),
        ("rgrp", 0o040),
        ("wgrp", 0o020),
        ("xgrp", 0o010),
        ("roth", 0o004),
        ("woth", 0o002),
        ("xoth", 0o001),
        ("isuid", 0o4000),
        ("isgid", 0o2000),
    ] {
        map.insert(name.into(), (found.mode & bit != 0).into());
    }
    if let Some(name) = machine.user_name(found.uid) {
        map.insert("pw_name".into(), name.into());
    }
    if let Some(name) = machine.group_name(found.gid) {
        map.insert("gr_name".into(), name.into());
    }
    map
}

/// Type and encoding, from the program `file`.
fn mime_type(machine: &Machine, path: &Path) -> Option<(String, String)> {
    if !machine.has_program("file") {
        return None;
    }
    let argv = ["file", "--mime-type", "--mime-encoding", "--"].map(String::from).into_iter();
    let output = machine.probe(&Command::new(argv.chain([path.to_string_lossy().into_owned()]))).ok()?;
    let text = output.stdout_text();
    let (_, answer) = text.trim_end().rsplit_once(':')?;
    let (mime, charset) = answer.split_once(';')?;
    Some((mime.trim().to_string(), charset.split_once('=')?.1.trim().to_string()))
}

/// The flags that `lsattr` shows, with their names.
fn flags(path: &Path) -> Vec<(char, &'static str)> {
    use rustix::fs::{Mode, OFlags};
    const NAMES: &[(u32, char, &str)] = &[
        (0x1, 's', "secure-deletion"),
        (0x2, 'u', "undelete"),
        (0x8, 'S', "synchronous"),
        (0x10, 'i', "immutable"),
        (0x20, 'a', "append"),
        (0x40, 'd', "nodump"),
        (0x80, 'A', "noatime"),
        (0x4, 'c', "compressed"),
        (0x800, 'E', "encrypted"),
        (0x1000, 'I', "indexed"),
        (0x4000, 'j', "journal-data"),
        (0x8000, 't', "notail"),
        (0x1_0000, 'D', "dirsync"),
        (0x2_0000, 'T', "topdir"),
        (0x8_0000, 'e', "extents"),
        (0x10_0000, 'V', "verity"),
        (0x80_0000, 'C', "nocow"),
    ];
    let opened =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let Ok(flags) = opened.and_then(rustix::fs::ioctl_getflags) else {
        return Vec::new();
    };
    let bits = flags.bits();
    NAMES.iter().filter(|(bit, _, _)| bits & bit != 0).map(|(_, letter, name)| (*letter, *name)).collect()
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, check_then_apply};
    use serde_json::json;

    #[test]
    fn files_links_and_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, link) = (scratch.path().join("f"), scratch.path().join("l"));
        std::fs::write(&file, "hello\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20)); // the first reading later sets the times of access
        std::fs::read(&link).unwrap();
        let stat = check_then_apply("stat", &json!({"path": file})).data["stat"].clone();
        assert_eq!(stat["mode"], "0640");
        assert_eq!(stat["checksum"], "f572d396fae9206628714fb2ce00f72e94f2258f");
        assert_eq!((&stat["size"], &stat["isreg"], &stat["pw_name"]), (&json!(6), &json!(true), &json!("root")));
        let stat = check_then_apply("stat", &json!({"path": link})).data["stat"].clone();
        assert_eq!((&stat["islnk"], &stat["lnk_target"]), (&json!(true), &json!("f")));
        assert_eq!(stat["lnk_source"], json!(file.canonicalize().unwrap()));
        let stat =
            apply("stat", &json!({"path": link, "follow": "yes", "checksum_algorithm": "sha256"})).data["stat"].clone();
        assert_eq!(stat["checksum"], "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        let stat = check_then_apply("stat", &json!({"path": scratch.path().join("none/at/all")})).data["stat"].clone();
        assert_eq!(stat, json!({"exists": false}));
        assert_eq!(apply("stat", &json!({"path": file, "chksum": "md5"})).status, Status::Failed);
    }
}
