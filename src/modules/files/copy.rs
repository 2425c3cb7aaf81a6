//! `copy`: contents from the task, the controller or the host itself to a file or directory of the host.

use super::common::{Common, Step, begin, describe, expand, file_arguments, show};
use super::delivery::{Branch, BranchKind, Delivered, Delivery};
use super::place::{Placement, parent_exists};
use super::validate::Validation;
use crate::machine::files::{Kind, NewContent, Stat, WriteOptions};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{FileMode, Flag, Text};
use crate::modules::{Content, Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.copy`
pub const COPY: Module = Module {
    name: "ansible.builtin.copy",
    aliases: &["copy", "ansible.legacy.copy"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Copy::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::copy_action::prepare),
};

file_arguments! {
    /// Copies a file, a directory or text to the host. The file is replaced in one step, and only when its contents
    /// differ.
    pub struct Copy {
        /// Where to. With a slash at its end, or where there is a directory, the source's name is added.
        pub dest: Text,
        /// A file or directory of the controller (with `remote_src`, of the host). Relative names are looked for in
        /// `files/` of the role and beside the playbook. A directory with a slash at its end means what is in it.
        pub src: Option<Text>,
        /// The contents themselves, instead of `src`. Lists and mappings are written as JSON.
        pub content: Option<Value>,
        /// `src` is on the host already.
        #[serde(default)]
        pub remote_src: Flag,
        /// Keep a copy of a file that is replaced, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Replace a file whose contents differ; `no` writes only where there is none.
        #[serde(default = "Flag::yes")]
        pub force: Flag,
        /// Mode of directories that are made; the usual one when not given. With `remote_src` that of those above `dest`.
        pub directory_mode: Option<FileMode>,
        /// A command that must accept the file before it goes live, `%s` in the place of its name:
        /// `visudo -cf %s`. It is run without a shell.
        pub validate: Option<Text>,
        /// SHA-1 that the source must have.
        pub checksum: Option<Text>,
        /// Where `dest` is a link, write to the file that it points to, instead of replacing the link.
        #[serde(default)]
        pub follow: Flag,
        /// Copy what links in the source point to, instead of the links.
        #[serde(default = "Flag::yes")]
        pub local_follow: Flag,
        /// Decrypt a source that is a vault.
        #[serde(default = "Flag::yes")]
        pub decrypt: Flag,
    }
}

impl Copy {
    fn placement<'a>(&'a self, basename: Option<&'a str>) -> Placement<'a> {
        Placement {
            dest: &self.dest,
            basename,
            common: self.common(),
            directory_mode: self.directory_mode.as_ref(),
            force: self.force.0,
            backup: self.backup.0,
            follow: self.follow.0,
            validate: self.validate.as_deref(),
            checksum: self.checksum.as_deref(),
        }
    }
}

fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let delivery = Delivery::take(&mut arguments)?;
    let arguments: Copy = decode(arguments)?;
    begin(machine, context);
    match (&arguments.src, &arguments.content) {
        (Some(_), Some(_)) => return Err(ModuleError::Failed("src and content are mutually exclusive".into())),
        (None, None) => return Err(ModuleError::Failed("src (or content) is required".into())),
        _ => {}
    }
    if arguments.remote_src.0 && arguments.content.is_none() {
        return remote(&arguments, machine);
    }
    let Some(delivery) = delivery else {
        let Some(content) = &arguments.content else {
            return Err(ModuleError::Failed("the source of the copy did not come with the request".into()));
        };
        return arguments.placement(None).run(machine, context, &Content::Text(text_of(content)), None);
    };
    match &delivery.tree {
        Some(branches) => tree(&arguments, branches, machine, context),
        None => {
            let basename = arguments.src.is_some().then_some(delivery.basename.as_str());
            let outcome =
                arguments.placement(basename).run(machine, context, &delivery.content, delivery.digests.as_ref())?;
            // A file that was right already is returned with its `path`, and without where it would have come from.
            Ok(match &arguments.src {
                Some(src) if !outcome.data.contains_key("path") => outcome.with("src", src.0.as_str()),
                _ => outcome,
            })
        }
    }
}

/// Contents as Ansible writes them: text as it is, lists and mappings as JSON.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => String::new(),
        Value::Number(number) => python_number(number),
        Value::Array(_) | Value::Object(_) => {
            let mut text = String::new();
            python_json(value, &mut text);
            text
        }
    }
}

/// JSON the way Python's `json.dumps` writes it: a space after `,` and `:`, ASCII only.
pub(in crate::modules) fn python_json(value: &Value, text: &mut String) {
    use std::fmt::Write;
    let string = |s: &str, text: &mut String| {
        let quoted = Value::from(s).to_string();
        for c in quoted.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                text.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}"); // writing to a string cannot fail
                }
            }
        }
    };
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                python_json(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, item)) in fields.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                string(name, text);
                text.push_str(": ");
                python_json(item, text);
            }
            text.push('}');
        }
        Value::String(s) => string(s, text),
        Value::Number(number) => text.push_str(&python_number(number)),
        other => text.push_str(&other.to_string()),
    }
}

/// A number as Python writes it: with an exponent of two digits where it is very small or large, else without.
fn python_number(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    if float == 0.0 || (1e-4..1e16).contains(&float.abs()) {
        let text = float.to_string();
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// A directory of the controller.
fn tree(arguments: &Copy, branches: &[Branch], machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let mut outcome = Outcome::ok();
    let placement = arguments.placement(Some(""));
    placement.common.check(&mut outcome)?;
    let root = expand(machine, &arguments.dest)?;
    placement.make_parents(machine, &root)?;
    let (mut files, mut single, mut beside) = (0, None, None);
    for branch in branches {
        let path = root.join(&branch.path);
        match &branch.kind {
            BranchKind::Directory => {
                placement.make_parents(machine, &path)?;
                let common = placement.directories();
                let attributes = common.resolve(machine, &path, false, Kind::Directory)?;
                machine.set_attributes(&path, &attributes, false)?;
                beside = Some(path);
            }
            BranchKind::Link(target) => {
                if let Some(parent) = path.parent() {
                    placement.make_parents(machine, parent)?;
                }
                machine.make_link(&path, target)?;
                let common = Common { mode: None, ..placement.common };
                let attributes = common.resolve(machine, &path, false, Kind::Link)?;
                machine.set_attributes(&path, &attributes, false)?;
                beside = Some(path);
            }
            BranchKind::File { content, mode } => {
                if let Some(parent) = path.parent() {
                    placement.make_parents(machine, parent)?;
                }
                let preserved = FileMode::Bits(*mode);
                let preserve = matches!(placement.common.mode, Some(FileMode::Preserve)).then_some(&preserved);
                let file = Placement {
                    common: Common { mode: preserve.or(placement.common.mode), ..placement.common },
                    follow: false,
                    ..arguments.placement(Some(""))
                };
                let mut delivered = Delivered::of(content, None, context.controller)?;
                let put = file.put(machine, &path, &mut delivered, &mut outcome)?;
                files += 1;
                single = (!put.existed).then_some(put);
            }
        }
    }
    // As in Ansible a directory with one file is returned like what was done last: that file, or a directory or link beside it.
    match (single, beside) {
        (_, Some(path)) if files == 1 => {
            outcome.data.insert("path".into(), show(&path));
            outcome.data.insert("dest".into(), show(&path));
            describe(machine, &path, &mut outcome)?;
        }
        (Some(put), None) if files == 1 => put.report(machine, &mut outcome)?,
        _ => {
            outcome.data.insert("dest".into(), show(&root));
        }
    }
    outcome.data.extend(arguments.src.as_ref().map(|src| ("src".to_string(), Value::from(src.0.as_str()))));
    Ok(outcome)
}

/// `remote_src`: from the host to the host.
fn remote(arguments: &Copy, machine: &mut Machine) -> Step<Outcome> {
    let mut outcome = Outcome::ok();
    let given = arguments.src.as_ref().map(|s| s.0.as_str()).unwrap_or_default();
    let src = expand(machine, given)?;
    let basename = src.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let placement = arguments.placement(Some(&basename));
    placement.common.check(&mut outcome)?;
    outcome.data.insert("src".into(), given.into());
    let Some(stat) = machine.stat(&src)? else {
        return Err(ModuleError::Failed(format!("Source {given} not found")));
    };
    if !machine.may_access(&src, 4)? {
        return Err(ModuleError::Failed(format!("Source {given} not readable")));
    }
    if stat.is_dir() {
        let dest = expand(machine, &arguments.dest)?;
        if machine.stat(&dest)?.is_some_and(|s| !s.is_dir()) {
            return Err(ModuleError::Failed(format!("{} is not a directory", dest.display())));
        }
        let target = if given.ends_with('/') { dest.clone() } else { dest.join(&basename) };
        if target.starts_with(&src) {
            return Err(ModuleError::Failed(format!("{} is inside {}", target.display(), src.display())));
        }
        // What is returned, and has `mode`: the destination as it was given where it is new, what was copied into it else.
        let told = match machine.exists(&dest)? {
            true if given.ends_with('/') => PathBuf::from(format!("{}/", dest.to_string_lossy().trim_end_matches('/'))),
            true => target.clone(),
            false => dest,
        };
        remote_tree(arguments, &placement, machine, &src, &target, &mut outcome)?;
        let source_mode = FileMode::Bits(stat.mode);
        let preserve = matches!(placement.common.mode, Some(FileMode::Preserve)).then_some(&source_mode);
        let common = Common { mode: preserve.or(placement.common.mode), ..placement.common };
        // On the next run `told` is the target: what it shall have then it has at once.
        for path in [&told, &target] {
            let attributes = common.resolve(machine, path, true, Kind::Directory)?;
            machine.set_attributes(path, &attributes, true)?;
        }
        outcome.data.extend(["checksum", "md5sum"].map(|name| (name.to_string(), Value::Null)));
        outcome.data.insert("dest".into(), show(&told));
        describe(machine, &told, &mut outcome)?;
        return Ok(outcome);
    }
    if !stat.is_file() {
        return Err(ModuleError::Failed(format!("Cannot copy invalid source '{given}': not a file")));
    }
    let dest = placement.destination(machine)?;
    outcome.data.insert("dest".into(), show(&dest));
    if !arguments.force.0 && machine.exists(&dest)? {
        outcome.msg = Some("file already exists".into());
        return Ok(outcome);
    }
    if let Some(checksum) = &arguments.checksum {
        let found = machine.file_digest(&src, Default::default())?;
        if found != checksum.0 {
            return Err(ModuleError::Failed(format!(
                "Copied file does not match the expected checksum. Transfer failed. (SHA-1 {found} instead of {})",
                checksum.0
            )));
        }
    }
    let written = remote_file(&placement, machine, &src, &stat, &dest, false, &mut outcome)?;
    if let Some(digests) = written.digests {
        outcome.data.insert("checksum".into(), digests.sha1.into());
        outcome.data.insert("md5sum".into(), digests.md5.into());
    }
    if let Some(backup) = written.backup {
        outcome.data.insert("backup_file".into(), show(&backup));
    } else if arguments.backup.0 && written.content_changed && machine.predicted() {
        outcome.unknown_fields.push("backup_file".into());
    }
    outcome.data.insert("dest".into(), show(&written.path));
    describe(machine, &written.path, &mut outcome)?;
    Ok(outcome)
}

/// One file of the host. Where no mode is given, a file that is new has the usual one, and one that is written anew takes the
/// source's, as in Ansible.
fn remote_file(
    placement: &Placement<'_>,
    machine: &mut Machine,
    src: &Path,
    stat: &Stat,
    dest: &Path,
    keep_mode: bool,
    outcome: &mut Outcome,
) -> Step<crate::machine::files::Written> {
    parent_exists(machine, dest)?;
    let source_mode = FileMode::Bits(stat.mode);
    let mut source = machine.file_source(src)?;
    let preserve =
        matches!(placement.common.mode, Some(FileMode::Preserve)) || keep_mode && placement.common.mode.is_none();
    let differs = !machine.has_contents_of(dest, placement.follow, &mut source)?;
    let take = preserve || differs && placement.common.mode.is_none() && machine.exists(dest)?;
    let common = Common { mode: if take { Some(&source_mode) } else { placement.common.mode }, ..placement.common };
    let options = WriteOptions {
        attributes: common.resolve(machine, dest, placement.follow, Kind::File)?,
        follow: placement.follow,
        backup: placement.backup,
        unsafe_writes: placement.common.unsafe_writes,
        sensitive: false,
    };
    let mut validation = Validation::parse(placement.validate)?;
    let small = if stat.size.is_some_and(|s| s <= Content::INLINE as u64) {
        Some(machine.read_file(src, Content::INLINE as u64)?)
    } else {
        None
    };
    let content = match &small {
        Some(bytes) => NewContent::Bytes(bytes),
        None => NewContent::Stream(&mut source),
    };
    let written = match &mut validation {
        Some(validation) => {
            let mut inspect = |machine: &Machine, file: &Path| validation.run(machine, file);
            machine.write(dest, content, &options, Some(&mut inspect))?
        }
        None => machine.write(dest, content, &options, None)?,
    };
    outcome.warnings.extend(validation.into_iter().flat_map(|v| v.warnings));
    Ok(written)
}

fn remote_tree(
    arguments: &Copy,
    placement: &Placement<'_>,
    machine: &mut Machine,
    src: &Path,
    dest: &Path,
    outcome: &mut Outcome,
) -> Step<()> {
    let Some(stat) = machine.stat(src)? else {
        return Ok(());
    };
    // Everything has its source's mode: `mode` is that of the destination alone.
    let mode = FileMode::Bits(stat.mode);
    let fresh = !machine.exists(dest)?;
    placement.make_parents(machine, dest.parent().unwrap_or(Path::new("/")))?;
    let common = Common { mode: fresh.then_some(&mode), ..placement.common };
    let attributes = common.resolve(machine, dest, true, Kind::Directory)?;
    machine.make_directories(dest, &attributes)?;
    machine.set_attributes(dest, &attributes, true)?;
    let copies =
        Placement { common: Common { mode: None, ..placement.common }, ..arguments.placement(placement.basename) };
    for name in machine.list_directory(src)? {
        let (from, to) = (src.join(&name), dest.join(&name));
        let followed = if arguments.local_follow.0 { machine.stat(&from)? } else { machine.lstat(&from)? };
        match followed {
            Some(stat) if stat.is_link() => {
                let target = machine.read_link(&from)?;
                machine.make_link(&to, target)?;
            }
            Some(stat) if stat.is_dir() => remote_tree(arguments, placement, machine, &from, &to, outcome)?,
            Some(stat) if stat.is_file() => {
                if arguments.force.0 || !machine.exists(&to)? {
                    remote_file(&copies, machine, &from, &stat, &to, !machine.exists(&to)?, outcome)?;
                }
            }
            Some(stat) => {
                let what = format!("{} is a {} and was not copied", from.display(), stat.kind.word());
                outcome.warnings.push(what);
            }
            None => return Err(MachineError::failed(format!("{} is a link to nothing", from.display())).into()),
        }
    }
    Ok(())
}
