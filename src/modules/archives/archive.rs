//! `archive`: packs files and directories of the host.

use super::unarchive::Kind;
use crate::machine::files::Kind as FileKind;
use crate::machine::files::{NewContent, WriteOptions};
use crate::machine::{Command, Machine, MachineError, Scratch};
use crate::modules::commands::{glob, glob_pattern};
use crate::modules::files::common::{Step, begin, describe, expand, file_arguments, show};
use crate::modules::network::ask::Download;
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `community.general.archive`
pub const ARCHIVE: Module = Module {
    name: "community.general.archive",
    aliases: &["archive"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Archive::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// How it is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// bzip2
    Bz2,
    /// gzip
    #[default]
    Gz,
    /// tar, not compressed
    Tar,
    /// xz
    Xz,
    /// zip
    Zip,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Format::Bz2 => "bz2",
            Format::Gz => "gz",
            Format::Tar => "tar",
            Format::Xz => "xz",
            Format::Zip => "zip",
        }
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Format::Bz2 => Some("bzip2"),
            Format::Gz => Some("gzip"),
            Format::Xz => Some("xz"),
            Format::Tar | Format::Zip => None,
        }
    }
}

file_arguments! {
    /// Packs files and directories of the host into an archive, by the host's `tar`, `gzip`, `bzip2`, `xz` and `zip`. One
    /// file alone is compressed, unless `force_archive` says otherwise.
    ///
    /// The archive is replaced when what it lists (names, sizes, times, owners and modes, for zip and single files checksums)
    /// differs. A check packs into a private directory and compares, where Ansible's says `changed` always.
    pub struct Archive {
        /// Files and directories; shell patterns are understood.
        pub path: TextList,
        /// The archive. Needed for more than one file.
        pub dest: Option<Text>,
        /// `gz`, `bz2`, `xz`, `tar` or `zip`.
        #[serde(default)]
        pub format: Format,
        /// Paths that are left out, of those that `path` names; shell patterns are understood.
        pub exclude_path: Option<TextList>,
        /// Shell patterns of entries that are left out.
        pub exclusion_patterns: Option<TextList>,
        /// Make an archive of one file, too.
        #[serde(default)]
        pub force_archive: Flag,
        /// Remove what was packed.
        #[serde(default)]
        pub remove: Flag,
    }
}

/// What is packed, and into what.
struct Pack<'a> {
    arguments: &'a Archive,
    expanded: Vec<PathBuf>,
    excluded: Vec<PathBuf>,
    paths: Vec<PathBuf>,
    /// With a slash at its end.
    root: String,
    many: bool,
    dest: PathBuf,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Archive = decode(arguments)?;
    begin(machine, context);
    let mut outcome = Outcome::ok();
    arguments.common().check(&mut outcome)?;
    let pack = Pack::of(&arguments, machine)?;
    let (found, missing): (Vec<PathBuf>, Vec<PathBuf>) = {
        let mut both = (Vec::new(), Vec::new());
        for path in &pack.paths {
            let list = if machine.lstat(path)?.is_some() { &mut both.0 } else { &mut both.1 };
            list.push(path.clone());
        }
        both
    };
    let mut told: Vec<PathBuf> = Vec::new();
    let mut state = "absent";
    if found.is_empty() {
        if machine.exists(&pack.dest)? {
            let name = pack.dest.to_string_lossy().to_lowercase();
            let ends = ["tar", "tar.gz", "tar.bz2", "tar.xz", "tgz", "tbz2", "zip"];
            state = if ends.iter().any(|end| name.ends_with(&format!(".{end}"))) { "archive" } else { "compress" };
        }
    } else {
        let archived = if pack.many { pack.members(machine, &found)? } else { vec![pack.first()] };
        for path in &archived {
            // Of a zip Ansible's module names the files: it looks for directories by another name than they have in there.
            let is_dir = || Ok::<_, ModuleError>(machine.lstat(path)?.is_some_and(|stat| stat.is_dir()));
            if arguments.format != Format::Zip || !is_dir()? {
                told.push(path.clone());
            }
        }
        let single = !pack.many && arguments.format.program().is_some();
        pack.make(machine, &archived, single)?;
        state = match (single, missing.is_empty()) {
            (true, _) => "compress",
            (false, true) => "archive",
            (false, false) => "incomplete",
        };
        if arguments.remove.0 {
            pack.remove(machine, &found, &archived)?;
        }
    }
    if machine.exists(&pack.dest)? {
        let attributes = arguments.common().resolve(machine, &pack.dest, true, FileKind::File)?;
        machine.set_attributes(&pack.dest, &attributes, true)?;
    }
    let list = |paths: &[PathBuf]| Value::from(paths.iter().map(|path| show(path)).collect::<Vec<_>>());
    outcome = outcome.with("archived", list(&told)).with("dest", show(&pack.dest)).with("dest_state", state);
    outcome = outcome.with("arcroot", pack.root.as_str()).with("missing", list(&missing));
    outcome = outcome.with("expanded_paths", list(&pack.expanded)).with("expanded_exclude_paths", list(&pack.excluded));
    describe(machine, &pack.dest, &mut outcome)?;
    Ok(outcome)
}

impl<'a> Pack<'a> {
    fn of(arguments: &'a Archive, machine: &Machine) -> Step<Pack<'a>> {
        let mut globs = false;
        let mut expanded = Vec::new();
        for text in &arguments.path.0 {
            let path = expand(machine, text)?;
            let pattern = text.contains(['*', '?']);
            globs |= pattern;
            if pattern { expanded.extend(glob(machine, &path)?) } else { expanded.push(path) }
        }
        let mut excluded = Vec::new();
        for text in arguments.exclude_path.iter().flat_map(|list| &list.0) {
            let path = expand(machine, text)?;
            if text.contains(['*', '?']) { excluded.extend(glob(machine, &path)?) } else { excluded.push(path) }
        }
        let paths: BTreeSet<PathBuf> = expanded.iter().filter(|path| !excluded.contains(path)).cloned().collect();
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let Some(first) = paths.first() else {
            let given = arguments.path.0.join(", ");
            let outcome = Outcome::failed("Error, no source paths were found").with("path", given);
            return Err(ModuleError::Ended(Box::new(outcome)));
        };
        let directory = machine.stat(first)?.is_some_and(|stat| stat.is_dir());
        let many = arguments.force_archive.0 || globs || directory || paths.len() > 1;
        let dest = match &arguments.dest {
            Some(dest) => expand(machine, dest)?,
            None if !many => PathBuf::from(format!("{}.{}", first.display(), arguments.format.word())),
            None => {
                let why = "Error, must specify \"dest\" when archiving multiple files or trees";
                let outcome = Outcome::failed(why).with("path", arguments.path.0.join(", ")).with("dest", Value::Null);
                return Err(ModuleError::Ended(Box::new(outcome)));
            }
        };
        for path in paths.iter().filter(|_| arguments.remove.0) {
            if machine.stat(path)?.is_some_and(|stat| stat.is_dir()) && dest.starts_with(path) && dest != *path {
                let why = "Error, created archive can not be contained in source paths when remove=true";
                return Err(ModuleError::Failed(why.into()));
            }
        }
        let root = common_root(&paths);
        Ok(Pack { arguments, expanded, excluded, paths, root, many, dest })
    }

    fn first(&self) -> PathBuf {
        self.paths.first().cloned().unwrap_or_default()
    }

    /// Everything that goes in: of directories what is below them.
    fn members(&self, machine: &Machine, targets: &[PathBuf]) -> Step<Vec<PathBuf>> {
        let mut all = Vec::new();
        for target in targets {
            if machine.stat(target)?.is_some_and(|stat| stat.is_dir()) {
                self.walk(machine, target, &mut all)?;
            } else {
                all.push(target.clone());
            }
        }
        let patterns = self.arguments.exclusion_patterns.iter().flat_map(|list| &list.0);
        let patterns: Vec<_> = patterns.filter_map(|one| glob_pattern(one)).collect();
        let zip = self.arguments.format == Format::Zip;
        all.retain(|path| {
            // The archive of the last time is not packed into the next.
            if *path == self.dest {
                return false;
            }
            let name = if zip { path.to_string_lossy().into_owned() } else { self.inside(path) };
            !patterns.iter().any(|one| one.is_match(&name))
        });
        Ok(all)
    }

    /// Removes what was packed, and nothing that patterns left out.
    fn remove(&self, machine: &mut Machine, found: &[PathBuf], archived: &[PathBuf]) -> Step<()> {
        if self.arguments.exclusion_patterns.is_none() {
            for path in found {
                machine.remove(path)?;
            }
            return Ok(());
        }
        // Directories come before what is in them.
        for path in archived.iter().rev().chain(found) {
            match machine.lstat(path)? {
                Some(stat) if stat.is_dir() && !machine.list_directory(path)?.is_empty() => {}
                // Named by the task, but left out.
                Some(stat) if !stat.is_dir() && !archived.contains(path) => {}
                Some(_) => drop(machine.remove(path)?),
                None => {}
            }
        }
        Ok(())
    }

    fn walk(&self, machine: &Machine, directory: &Path, all: &mut Vec<PathBuf>) -> Step<()> {
        let (mut below, mut files) = (Vec::new(), Vec::new());
        for name in machine.list_directory(directory)? {
            let path = directory.join(name);
            match machine.stat(&path)? {
                Some(stat) if stat.is_dir() => below.push(path),
                _ => files.push(path),
            }
        }
        all.extend(below.iter().cloned());
        all.extend(files);
        for path in below {
            if machine.lstat(&path)?.is_some_and(|stat| stat.is_dir()) {
                self.walk(machine, &path, all)?;
            }
        }
        Ok(())
    }

    /// Its name in the archive.
    fn inside(&self, path: &Path) -> String {
        let text = path.to_string_lossy().into_owned();
        text.strip_prefix(&self.root).map(str::to_string).unwrap_or(text)
    }

    /// Packs into a private directory, and puts it in place where it differs.
    fn make(&self, machine: &mut Machine, members: &[PathBuf], single: bool) -> Step<()> {
        for path in members {
            // What only a check knows of cannot be packed there.
            if machine.predicted() && machine.lstat(path)?.is_some() && std::fs::symlink_metadata(path).is_err() {
                let why = format!("{} is packed, which is not there yet", path.display());
                return Err(MachineError::unknown(why).into());
            }
        }
        let scratch = Scratch::new("archive")?;
        let staged = scratch.path().join("packed");
        match (single, self.arguments.format) {
            (true, format) => self.compress(machine, format, &self.first(), &staged)?,
            (false, Format::Zip) => {
                let zip = scratch.path().join("packed.zip");
                self.zip(machine, members, &zip)?;
                std::fs::rename(&zip, &staged).map_err(|e| failed(&self.dest, &e.to_string()))?;
            }
            (false, format) => {
                let plain = scratch.path().join("plain");
                self.tar(machine, members, &plain)?;
                match format.program() {
                    Some(_) => self.compress(machine, format, &plain, &staged)?,
                    None => std::fs::rename(&plain, &staged).map_err(|e| failed(&self.dest, &e.to_string()))?,
                }
            }
        }
        let same = match machine.stat(&self.dest)? {
            Some(stat) if stat.is_file() && std::fs::metadata(&self.dest).is_ok() => {
                let before = self.listing(machine, &self.dest, single)?;
                before.is_some() && before == self.listing(machine, &staged, single)?
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        let mut file = std::fs::File::open(&staged).map_err(|e| failed(&self.dest, &e.to_string()))?;
        let digests = crate::machine::files::Digests::of_reader(&mut file);
        let mut packed = Download { path: staged, digests: digests.map_err(|e| failed(&self.dest, &e.to_string()))? };
        let attributes = self.arguments.common().resolve(machine, &self.dest, false, FileKind::File)?;
        let options = WriteOptions { attributes, follow: false, ..WriteOptions::default() };
        machine.write(&self.dest, NewContent::Stream(&mut packed), &options, None)?;
        Ok(())
    }

    fn tar(&self, machine: &Machine, members: &[PathBuf], into: &Path) -> Step<()> {
        let names: Vec<String> = members.iter().map(|path| self.inside(path)).collect();
        let root = if self.root.is_empty() { "/" } else { &self.root };
        let into = into.display().to_string();
        let argv = ["tar", "--create", "--no-recursion", "--format=gnu", "--null", "--verbatim-files-from"];
        let argv = argv.into_iter().chain(["-f", &into, "-C", root, "--files-from=-"]);
        let command = Command { stdin: Some(names.join("\0").into_bytes()), ..Command::new(argv) };
        self.ended(machine.probe(&command)?)
    }

    fn zip(&self, machine: &Machine, members: &[PathBuf], into: &Path) -> Step<()> {
        let names: Vec<String> = members.iter().map(|path| self.inside(path)).collect();
        let root = if self.root.is_empty() { "/" } else { &self.root };
        // It reads a name from each line.
        if let Some(name) = names.iter().find(|name| name.contains(['\n', '\r'])) {
            return Err(failed(
                &self.dest,
                &format!("zip cannot be given the name {name:?}, which has more than one line"),
            ));
        }
        let argv = ["zip", "-q", "-X", "-y", "-@", &into.display().to_string()];
        let stdin = Some((names.join("\n") + "\n").into_bytes());
        let command = Command { stdin, chdir: Some(root.to_string()), ..Command::new(argv) };
        self.ended(machine.probe(&command)?)
    }

    fn compress(&self, machine: &Machine, format: Format, from: &Path, into: &Path) -> Step<()> {
        // A shell, because its output may be larger than memory.
        let program = format.program().unwrap_or("gzip");
        if !machine.has_program(program) {
            return Err(MachineError::MissingProgram { program: program.into(), hint: String::new() }.into());
        }
        // No time inside, so that the same contents are the same archive.
        let plain = if program == "gzip" { "-n " } else { "" };
        let script = format!("exec {program} {plain}-c < \"$1\" > \"$2\"");
        let words = ["sh".to_string(), "-c".into(), script, "sh".into()];
        let argv = words.into_iter().chain([from.display().to_string(), into.display().to_string()]);
        self.ended(machine.probe(&Command::new(argv))?)
    }

    fn ended(&self, output: crate::machine::Output) -> Step<()> {
        match output.success() {
            true => Ok(()),
            false => Err(failed(&self.dest, output.stderr_text().trim())),
        }
    }

    /// What an archive lists; of a single file its contents' checksum. Nothing where it is none.
    fn listing(&self, machine: &Machine, path: &Path, single: bool) -> Step<Option<Vec<String>>> {
        let text = path.display().to_string();
        let output = match (single, self.arguments.format) {
            (true, format) => {
                let script = format!("{} -dc < \"$1\" | sha256sum", format.program().unwrap_or("gzip"));
                machine.probe(&Command::new(["sh", "-c", &script, "sh", &text]))?
            }
            (false, Format::Zip) => machine.probe(&Command::new(["unzip", "-v", &text]))?,
            (false, format) => {
                let kind = match format {
                    Format::Bz2 => Kind::Bzip2,
                    Format::Xz => Kind::Xz,
                    Format::Gz => Kind::Gzip,
                    _ => Kind::Tar,
                };
                let words = ["tar", "--list", "--verbose", "--numeric-owner", "--full-time", "-f", &text];
                machine.probe(&Command::new(words.into_iter().chain(kind.flag())))?
            }
        };
        // The first line of unzip names the archive.
        let mut lines: Vec<String> = output.stdout_text().lines().map(str::to_string).collect();
        if self.arguments.format == Format::Zip && !single && !lines.is_empty() {
            lines.remove(0);
        }
        lines.sort();
        Ok(output.success().then_some(lines))
    }
}

fn failed(dest: &Path, why: &str) -> ModuleError {
    ModuleError::Failed(format!("Error when writing archive at {}: {why}", dest.display()))
}

/// The directory that all paths are below, with a slash at its end.
fn common_root(paths: &[PathBuf]) -> String {
    let parents = paths.iter().map(|path| format!("{}/", path.parent().unwrap_or(Path::new("/")).display()));
    let parents: Vec<String> = parents.map(|parent| parent.replace("//", "/")).collect();
    let Some(first) = parents.first() else { return String::new() };
    let mut length = first.len();
    for parent in &parents {
        let same = first.bytes().zip(parent.bytes()).take_while(|(one, other)| one == other).count();
        length = length.min(same);
    }
    let common = first.get(..length).unwrap_or_default();
    common.rfind('/').and_then(|at| common.get(..=at)).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::common_root;
    use crate::modules::testing::{apply, apply_twice};
    use serde_json::json;

    #[test]
    fn roots_are_common_to_all() {
        for (paths, expected) in [
            (vec!["/srv/a"], "/srv/"),
            (vec!["/srv/ab/x", "/srv/ac/y"], "/srv/"),
            (vec!["/srv/a/x", "/srv/a/y/z"], "/srv/a/"),
            (vec!["/a"], "/"),
        ] {
            let paths: Vec<std::path::PathBuf> = paths.into_iter().map(Into::into).collect();
            assert_eq!(common_root(&paths), expected);
        }
    }

    #[test]
    fn what_is_left_out_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("d")).unwrap();
        for name in ["d/a", "d/b.log", "c"] {
            std::fs::write(tree.join(name), "x\n").unwrap();
        }
        let dest = tree.join("own.tgz");
        let outcome = apply_twice("archive", &json!({"path": tree, "dest": dest}));
        assert!(!outcome.data["archived"].as_array().unwrap().contains(&json!(dest)), "not itself");
        std::fs::remove_file(&dest).unwrap();
        let dest = scratch.path().join("x.tgz");
        let arguments = json!({"path": tree, "dest": dest, "exclusion_patterns": "*.log", "remove": true});
        let outcome = apply("archive", &arguments);
        assert_eq!(outcome.msg, None);
        assert!(tree.join("d/b.log").exists() && !tree.join("d/a").exists() && !tree.join("c").exists());
        std::fs::write(tree.join("one\ntwo"), "x").unwrap();
        let outcome = apply("archive", &json!({"path": tree, "dest": dest, "format": "zip"}));
        assert!(outcome.msg.unwrap().contains("more than one line"));
    }

    #[test]
    fn files_and_trees_are_packed_once() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("d")).unwrap();
        std::fs::write(tree.join("d/a"), "one\n").unwrap();
        std::fs::write(tree.join("b.log"), "two\n").unwrap();
        let dest = scratch.path().join("x.tgz");
        let arguments = json!({"path": tree, "dest": dest, "mode": "0600", "exclusion_patterns": "*.log"});
        let outcome = apply_twice("archive", &arguments);
        assert_eq!(outcome.data["archived"], json!([tree.join("d"), tree.join("d/a")]));
        assert_eq!((&outcome.data["dest_state"], &outcome.data["mode"]), (&json!("archive"), &json!("0600")));
        let listed = std::process::Command::new("tar").arg("-tzf").arg(&dest).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "tree/d/\ntree/d/a\n");
        std::fs::write(tree.join("d/a"), "other\n").unwrap();
        assert!(apply("archive", &arguments).changed());
        let one = apply_twice("archive", &json!({"path": tree.join("b.log")}));
        assert_eq!((&one.data["dest_state"], &one.data["dest"]), (&json!("compress"), &json!(tree.join("b.log.gz"))));
        let outcome =
            apply("archive", &json!({"path": [tree.join("b.log"), "/no/such"], "dest": dest, "remove": true}));
        assert_eq!(
            (&outcome.data["dest_state"], &outcome.data["missing"]),
            (&json!("incomplete"), &json!(["/no/such"]))
        );
        assert!(!tree.join("b.log").exists());
        for (arguments, expected) in [
            (json!({"path": tree}), "must specify \"dest\""),
            (json!({"path": "/no/*/such", "dest": dest}), "no source paths"),
        ] {
            assert!(apply("archive", &arguments).msg.unwrap().contains(expected));
        }
    }
}
