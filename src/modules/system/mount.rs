//! `mount`: a file system in `/etc/fstab`, and whether it is mounted.

use crate::machine::files::{NewContent, WriteOptions};
use crate::machine::mounts::{Mounted, Mounting};
use crate::machine::{Machine, MachineError};
use crate::modules::files::common::begin;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// `ansible.posix.mount`
pub const MOUNT: Module = Module {
    name: "ansible.posix.mount",
    aliases: &["mount"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Mount::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In the table and mounted.
    Mounted,
    /// In the table.
    Present,
    /// Not mounted; the table is left alone.
    Unmounted,
    /// Neither in the table nor mounted, and its directory removed.
    Absent,
    /// Not in the table; what is mounted stays.
    AbsentFromFstab,
    /// Mounted again.
    Remounted,
    /// Mounted; the table is left alone.
    Ephemeral,
}

crate::arguments! {
    /// Keeps a file system in `/etc/fstab`, and mounts or unmounts it.
    ///
    /// The table's other lines stay as they are. When mounting fails, the table is put back as it was.
    pub struct Mount {
        /// The directory (`none` for swap).
        #[serde(alias = "name")]
        pub path: Text,
        /// Device, address or directory. Needed to mount, and for the table.
        pub src: Option<Text>,
        /// Its kind: `ext4`, `nfs`, `tmpfs`. Needed to mount, and for the table.
        pub fstype: Option<Text>,
        /// Options, separated by commas; `defaults` when not given.
        pub opts: Option<Text>,
        /// `mounted`, `present`, `unmounted`, `absent`, `absent_from_fstab`, `remounted` or `ephemeral`.
        pub state: State,
        /// Field of the table: whether `dump` saves it.
        pub dump: Option<Text>,
        /// Field of the table: when it is checked at a start.
        pub passno: Option<Text>,
        /// The table; `/etc/fstab` when not given.
        pub fstab: Option<Text>,
        /// Whether it is mounted at a start; otherwise `noauto` is added to the options.
        #[serde(default = "Flag::yes")]
        pub boot: Flag,
        /// Keep a copy of the table, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Options hold a secret: `no_log` on the task hides them here.
        pub opts_no_log: Option<Flag>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Mount = decode(arguments)?;
    begin(machine, context);
    let needs = matches!(arguments.state, State::Mounted | State::Present | State::Ephemeral);
    let missing: Vec<&str> = [("src", &arguments.src), ("fstype", &arguments.fstype)]
        .into_iter()
        .filter_map(|(name, value)| (needs && value.is_none()).then_some(name))
        .collect();
    if !missing.is_empty() {
        let state = word(arguments.state);
        return Err(ModuleError::Failed(format!(
            "state is {state} but all of the following are missing: {}",
            missing.join(", ")
        )));
    }
    if arguments.opts_no_log.is_some_and(|flag| flag.0) && !context.no_log {
        return Err(ModuleError::argument(
            "opts_no_log",
            "hiding the options alone is not supported: set `no_log: true` on the task",
        ));
    }
    // Only the table may hold what has no directory, as swap has none.
    let tabled = matches!(arguments.state, State::Present | State::Absent | State::AbsentFromFstab);
    if !arguments.path.starts_with('/') && !tabled {
        return Err(ModuleError::argument(
            "path",
            format!("`{}` is no absolute path of a directory", &*arguments.path),
        ));
    }
    let mut warnings = Vec::new();
    let mut opts = arguments.opts.as_ref().map_or("defaults".to_string(), |opts| opts.0.clone());
    let noauto = opts.split(',').any(|opt| opt == "noauto");
    if arguments.boot.0 && noauto {
        warnings.push("Ignore the 'boot' due to 'opts' contains 'noauto'.".to_string());
    } else if !arguments.boot.0 {
        opts.push_str(",noauto");
    }
    let text = |value: &Option<Text>, default: &str| value.as_ref().map_or(default.to_string(), |text| text.0.clone());
    let line = Line {
        source: text(&arguments.src, ""),
        point: arguments.path.0.clone(),
        kind: text(&arguments.fstype, ""),
        options: opts,
        dump: text(&arguments.dump, "0"),
        pass: text(&arguments.passno, "0"),
    };
    let table = text(&arguments.fstab, "/etc/fstab");
    let mut backup_file = Value::from("");
    let predicted = machine.predicted();
    let edited = Table { path: &table, backup: arguments.backup.0, backup_file: &mut backup_file };
    carry_out(&arguments, machine, &line, edited)?;
    let mut outcome = Outcome::ok()
        .with("backup_file", backup_file)
        .with("boot", if arguments.boot.0 || noauto { "yes" } else { "no" })
        .with("dump", line.dump)
        .with("fstab", table)
        .with("name", line.point)
        .with("opts", line.options)
        .with("passno", line.pass);
    for (name, value) in [("src", &arguments.src), ("fstype", &arguments.fstype)] {
        if let Some(value) = value {
            outcome.data.insert(name.into(), value.0.clone().into());
        }
    }
    outcome.warnings = warnings;
    if predicted && arguments.backup.0 {
        outcome.unknown_fields.push("backup_file".into());
    }
    Ok(outcome)
}

fn word(state: State) -> &'static str {
    match state {
        State::Mounted => "mounted",
        State::Present => "present",
        State::Unmounted => "unmounted",
        State::Absent => "absent",
        State::AbsentFromFstab => "absent_from_fstab",
        State::Remounted => "remounted",
        State::Ephemeral => "ephemeral",
    }
}

fn carry_out(arguments: &Mount, machine: &mut Machine, line: &Line, mut table: Table<'_>) -> Result<(), ModuleError> {
    let point = line.point.as_str();
    let how =
        Mounting::Table(arguments.fstab.as_ref().map(|table| table.0.as_str()).filter(|table| *table != "/etc/fstab"));
    let what = Mounted { source: line.source.clone(), kind: line.kind.clone() };
    let failed = |verb: &str, error: MachineError| match error {
        error @ MachineError::Unknown { .. } => ModuleError::from(error),
        other => ModuleError::Failed(format!("Error {verb} {point}: {other}")),
    };
    match arguments.state {
        State::Present => drop(table.edit(machine, |text| with(text, line))?),
        State::AbsentFromFstab => drop(table.edit(machine, |text| without(text, line))?),
        State::Unmounted => drop(machine.unmount(point).map_err(|error| failed("unmounting", error))?),
        State::Absent => {
            if table.edit(machine, |text| without(text, line))? {
                let was = machine.unmount(point).map_err(|error| failed("unmounting", error))?;
                if machine.exists(point)? {
                    // What lies below a mount is seen when it is gone.
                    let hidden = was && machine.predicted();
                    if !hidden && !machine.list_directory(point)?.is_empty() {
                        return Err(ModuleError::Failed(format!("Error rmdir {point}: the directory is not empty")));
                    }
                    machine.remove(point)?;
                }
            }
        }
        State::Remounted => {
            let options = Some(line.options.as_str()).filter(|options| *options != "defaults");
            machine.remount(point, options, how).map_err(|error| failed("remounting", error))?;
        }
        State::Ephemeral => {
            let how = Mounting::Words { source: &line.source, kind: &line.kind, options: &line.options };
            match machine.mounted(point)? {
                Some(there) if there.source == line.source => {
                    machine.remount(point, None, how).map_err(|error| failed("mounting", error))?;
                }
                Some(there) => {
                    return Err(ModuleError::Failed(format!(
                        "{point} is mounted already, with another source ({}) than the one that is asked for ({}): unmount it first \
                         (`state: unmounted`), or take another path",
                        there.source, line.source
                    )));
                }
                None => {
                    machine.make_directories(point, &Default::default())?;
                    machine.mount(point, &what, how).map_err(|error| failed("mounting", error))?;
                }
            }
        }
        State::Mounted => {
            let made = match machine.exists(point)? {
                true => Vec::new(),
                false => machine.make_directories(point, &Default::default())?,
            };
            let before = machine.read_file_if_exists(table.path, LIMIT)?;
            let changed = table.edit(machine, |text| with(text, line))?;
            let done = match machine.mounted(point)? {
                Some(_) if changed => machine.remount(point, None, how),
                Some(_) => Ok(()),
                None => machine.mount(point, &what, how),
            };
            if let Err(error) = done {
                // A line that does not work may keep the host from starting.
                match before {
                    Some(bytes) => drop(machine.write_file(table.path, &bytes, &as_it_is())?),
                    None => drop(machine.remove(table.path)?),
                }
                for directory in made.iter().rev() {
                    machine.remove(directory)?;
                }
                return Err(failed("mounting", error));
            }
        }
    }
    Ok(())
}

/// A larger file is no table.
const LIMIT: u64 = 4 << 20;

fn as_it_is() -> WriteOptions {
    WriteOptions { follow: true, ..WriteOptions::default() }
}

/// The table, as it is edited.
struct Table<'a> {
    path: &'a str,
    backup: bool,
    /// The copy's name, or nothing.
    backup_file: &'a mut Value,
}

impl Table<'_> {
    /// Brings it to what `edit` makes of it. Says whether that changed it.
    fn edit(&mut self, machine: &mut Machine, edit: impl Fn(&str) -> Option<String>) -> Result<bool, ModuleError> {
        let before = machine.read_file_if_exists(self.path, LIMIT)?;
        let Some(after) = edit(&String::from_utf8_lossy(before.as_deref().unwrap_or_default())) else {
            return Ok(false);
        };
        if before.is_none()
            && let Some(parent) = Path::new(self.path).parent()
        {
            machine.make_directories(parent, &Default::default())?;
        }
        let options = WriteOptions { backup: self.backup, ..as_it_is() };
        let written = machine.write(self.path, NewContent::Bytes(after.as_bytes()), &options, None)?;
        if let Some(path) = written.backup {
            *self.backup_file = path.to_string_lossy().into();
        }
        Ok(true)
    }
}

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    source: String,
    point: String,
    kind: String,
    options: String,
    dump: String,
    pass: String,
}

/// fstab(5): blanks, backslashes and ampersands in a field.
fn escape(field: &str) -> String {
    field.replace('\\', "\\134").replace(' ', "\\040").replace('&', "\\046")
}

impl Line {
    fn fields(&self) -> [String; 6] {
        [&self.source, &self.point, &self.kind, &self.options, &self.dump, &self.pass].map(|field| escape(field))
    }

    /// Whether a line of the table is about the same. Swap has no point: there it is the source.
    fn is_at(&self, fields: &[&str]) -> bool {
        fields.get(1) == Some(&escape(&self.point).as_str())
            && !(fields.get(1) == Some(&"none")
                && fields.get(2) == Some(&"swap")
                && !self.source.is_empty()
                && fields.first() != Some(&self.source.as_str()))
    }
}

/// The table with the line, where it is another one.
fn with(text: &str, wanted: &Line) -> Option<String> {
    let mut out = String::new();
    let (mut there, mut changed) = (false, false);
    let new = wanted.fields();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if (4..=6).contains(&fields.len()) && wanted.is_at(&fields) {
            there = true;
            if fields.iter().copied().ne(new.iter().map(String::as_str)) {
                changed = true;
                out += &format!("{}\n", new.join(" "));
                continue;
            }
        }
        out += &format!("{line}\n");
    }
    if !there {
        out += &format!("{}\n", new.join(" "));
    }
    (changed || !there).then_some(out)
}

/// The table without it, where it is there.
fn without(text: &str, wanted: &Line) -> Option<String> {
    let is_it = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        !line.trim_start().starts_with('#') && fields.len() == 6 && wanted.is_at(&fields)
    };
    let out: String = text.split_inclusive('\n').filter(|line| !is_it(line)).collect();
    (out.len() < text.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::json;

    #[test]
    fn lines_come_change_and_go() {
        let line = |source: &str, point: &str, kind: &str, options: &str| Line {
            source: source.into(),
            point: point.into(),
            kind: kind.into(),
            options: options.into(),
            dump: "0".into(),
            pass: "0".into(),
        };
        let table = "# comment\n/dev/sda1 / ext4 defaults 0 1\n\n/dev/sdb1\t/srv\text4\tnoatime\t0\t0 # data\n/dev/sdc1 none swap sw 0 0\n";
        for (wanted, from, to) in [
            (line("/dev/sdb1", "/srv", "ext4", "noatime"), "", ""),
            (
                line("/dev/sdb1", "/srv", "ext4", "ro"),
                "/dev/sdb1\t/srv\text4\tnoatime\t0\t0 # data",
                "/dev/sdb1 /srv ext4 ro 0 0",
            ),
            (line("/dev/sdc1", "none", "swap", "sw"), "", ""),
            (line("/dev/sdd1", "none", "swap", "sw"), "sw 0 0\n", "sw 0 0\n/dev/sdd1 none swap sw 0 0\n"),
            (line("a b&c", "/my data", "nfs", "ro"), "sw 0 0\n", "sw 0 0\na\\040b\\046c /my\\040data nfs ro 0 0\n"),
        ] {
            let after = table.replacen(from, to, 1);
            assert_eq!(with(table, &wanted), (after != table).then(|| after.clone()), "{wanted:?}");
            assert_eq!(with(&after, &wanted), None);
        }
        assert_eq!(without(table, &line("", "/", "", "")), Some(table.replace("/dev/sda1 / ext4 defaults 0 1\n", "")));
        assert_eq!(without(table, &line("/dev/sdd1", "none", "", "")), None);
        assert_eq!(with("x", &line("a", "/b", "c", "d")).as_deref(), Some("x\na /b c d 0 0\n"));
        assert_eq!(with("a /b c d 0 0", &line("a", "/b", "c", "d")), None);
    }

    #[test]
    fn a_file_system_is_mounted_and_taken_away() {
        let scratch = tempfile::tempdir().unwrap();
        let (table, point) = (scratch.path().join("etc/fstab"), scratch.path().join("my data"));
        let task = |state: &str, opts: &str| json!({"path": point, "src": "tmpfs", "fstype": "tmpfs", "opts": opts, "state": state, "fstab": table});
        assert!(apply_twice("mount", &task("present", "size=1m")).changed());
        assert!(std::fs::read_to_string(&table).unwrap().ends_with("my\\040data tmpfs size=1m 0 0\n"));
        assert_eq!(check_then_apply("mount", &json!({"path": "/x", "state": "mounted"})).status, Status::Failed);
        let mounted = || {
            let machine = Machine::new(crate::machine::Mode::Live);
            machine.mounted(point.to_str().unwrap()).unwrap().is_some()
        };
        // Not every place where tests run may mount.
        let may = || {
            std::fs::create_dir_all(&point).unwrap();
            let words = ["-t", "tmpfs", "tmpfs"].map(std::ffi::OsStr::new);
            let ran = |program: &str, words: &[&std::ffi::OsStr]| {
                std::process::Command::new(program).args(words).arg(&point).stderr(std::process::Stdio::null()).status()
            };
            ran("mount", &words).is_ok_and(|status| status.success())
                && ran("umount", &[]).is_ok_and(|status| status.success())
        };
        if !may() {
            return;
        }
        std::fs::remove_dir(&point).unwrap();
        assert!(apply_twice("mount", &task("mounted", "size=1m")).changed());
        assert!(mounted());
        assert!(apply_twice("mount", &task("mounted", "size=2m")).changed());
        assert!(apply_twice("mount", &task("unmounted", "size=2m")).changed());
        assert!(!mounted());
        assert!(check_then_apply("mount", &task("ephemeral", "size=1m")).changed());
        assert!(mounted());
        assert!(apply_twice("mount", &task("absent", "size=1m")).changed());
        assert!(!mounted() && !point.exists());
        assert_eq!(std::fs::read_to_string(&table).unwrap(), "");
        let mut wrong = task("mounted", "defaults");
        wrong["fstype"] = json!("no-such-file-system");
        let failed = crate::modules::testing::apply("mount", &wrong);
        assert_eq!(failed.status, Status::Failed, "{failed:?}");
        assert!(!point.exists() && std::fs::read_to_string(&table).unwrap().is_empty());
    }
}
