//! `find`: files by name, age, size, contents.

use super::common::{Step, begin, expand};
use super::edit::given_up;
use super::stat::fields;
use crate::machine::files::{Algorithm, Kind, Stat, Time};
use crate::machine::{Machine, MachineError};
use crate::modules::pattern::{Flags, Pattern, bytes_as_characters, characters};
use crate::modules::scalars::{FileMode, Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.find`
pub const FIND: Module = Module {
    name: "ansible.builtin.find",
    aliases: &["find", "ansible.legacy.find"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Find::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// Anything.
    Any,
    /// Directories.
    Directory,
    /// Regular files.
    #[default]
    File,
    /// Symbolic links.
    Link,
}

/// Which time counts as the age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgeStamp {
    /// Last access.
    Atime,
    /// Last change of anything.
    Ctime,
    /// Last change of the contents.
    #[default]
    Mtime,
}

crate::arguments! {
    /// Finds files, directories or links below some directories. It changes nothing.
    pub struct Find {
        /// The directories to search.
        #[serde(alias = "name", alias = "path")]
        pub paths: TextList,
        /// Names to find: shell patterns, or with `use_regex` Python's regular expressions. Everything when not given.
        #[serde(default, alias = "pattern")]
        pub patterns: TextList,
        /// Names to leave out, as `patterns`.
        #[serde(default, alias = "exclude")]
        pub excludes: TextList,
        /// Patterns are regular expressions that match from the start of the name.
        #[serde(default)]
        pub use_regex: Flag,
        /// Python's regular expression that must match the start of a line.
        pub contains: Option<Text>,
        /// `contains` is searched in the whole file, not from the start of each line.
        #[serde(default)]
        pub read_whole_file: Flag,
        /// Encoding of the files; they are searched as bytes, so it is taken and ignored.
        pub encoding: Option<Text>,
        /// `any`, `directory`, `file` or `link`.
        #[serde(default)]
        pub file_type: FileType,
        /// At least so old, or younger when negative: a number with `s`, `m`, `h`, `d` or `w`.
        pub age: Option<Text>,
        /// `atime`, `ctime` or `mtime`.
        #[serde(default)]
        pub age_stamp: AgeStamp,
        /// At least so large, or smaller when negative: a number with `b`, `k`, `m`, `g` or `t`.
        pub size: Option<Text>,
        /// Search directories in directories, too.
        #[serde(default)]
        pub recurse: Flag,
        /// How deep; 1 means the directory itself.
        pub depth: Option<Int>,
        /// Find names that start with a dot.
        #[serde(default)]
        pub hidden: Flag,
        /// Follow links to directories.
        #[serde(default)]
        pub follow: Flag,
        /// Return checksums of files.
        #[serde(default)]
        pub get_checksum: Flag,
        /// `md5`, `sha1`, `sha224`, `sha256`, `sha384` or `sha512`.
        #[serde(default, alias = "checksum", alias = "checksum_algo")]
        pub checksum_algorithm: Algorithm,
        /// Only this mode.
        pub mode: Option<FileMode>,
        /// With `no`, any bit of `mode` is enough.
        #[serde(default = "Flag::yes")]
        pub exact_mode: Flag,
        /// Stop after so many.
        pub limit: Option<Int>,
    }
}

struct Search<'a> {
    arguments: &'a Find,
    patterns: Vec<Pattern>,
    excludes: Vec<Pattern>,
    contains: Option<Pattern>,
    age: Option<i64>,
    size: Option<i64>,
    mode: Option<u32>,
    limit: Option<usize>,
    now: Time,
    files: Vec<Value>,
    examined: u64,
    skipped: Map<String, Value>,
    warnings: Vec<String>,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Find = decode(arguments)?;
    begin(machine, context);
    let compile = |name: &str, texts: &TextList| -> Step<Vec<Pattern>> {
        let regex = |text: &String| if arguments.use_regex.0 { text.clone() } else { translate(text) };
        let make = |text: String| {
            Pattern::new(&text, Flags::default()).map_err(|e| ModuleError::argument(name, e.to_string()))
        };
        texts.0.iter().map(regex).map(make).collect()
    };
    // As in Ansible a pattern is looked at when there is a name to compare it with.
    let (patterns, excludes) = (compile("patterns", &arguments.patterns), compile("excludes", &arguments.excludes));
    let (patterns, excludes, broken) = match (patterns, excludes) {
        (Ok(patterns), Ok(excludes)) => (patterns, excludes, None),
        (Err(error), _) | (_, Err(error)) => (Vec::new(), Vec::new(), Some(error)),
    };
    let contains = arguments.contains.as_ref().map(|text| super::edit::pattern("contains", text, Flags::default()));
    let limit = match arguments.limit {
        Some(Int(limit)) if limit <= 0 => {
            return Err(ModuleError::argument("limit", format!("limit cannot be {limit}; leave it out for all")));
        }
        limit => limit.map(|l| l.0 as usize),
    };
    let mode = arguments.mode.as_ref().map(|mode| mode.resolve(0, false, 0));
    let mut search = Search {
        patterns,
        excludes,
        contains: contains.transpose()?,
        age: amount("age", arguments.age.as_ref(), &[('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)])?,
        size: amount(
            "size",
            arguments.size.as_ref(),
            &[('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)],
        )?,
        mode: mode.transpose().map_err(|why| ModuleError::argument("mode", why))?,
        limit,
        now: Time::now(),
        files: Vec::new(),
        examined: 0,
        skipped: Map::new(),
        warnings: Vec::new(),
        arguments: &arguments,
    };
    for given in &arguments.paths.0 {
        let path = expand(machine, given)?;
        if !machine.stat(&path)?.is_some_and(|s| s.is_dir()) {
            search.skip(given, format!("'{given}' is not a directory"));
            continue;
        }
        let root: PathBuf = path.components().collect();
        search.directory(machine, &root, 1, &mut vec![machine.real_path(&root)?])?;
    }
    if let Some(error) = broken.filter(|_| search.examined > 0) {
        return Err(error);
    }
    let message = match () {
        () if !search.warnings.is_empty() => "Not all paths examined, check warnings for details",
        () if search.full() => "Limit of matches reached",
        () => "All paths examined",
    };
    let mut outcome = Outcome::ok()
        .with("matched", search.files.len())
        .with("files", search.files)
        .with("examined", search.examined)
        .with("skipped_paths", search.skipped);
    outcome.warnings = search.warnings;
    outcome.msg = Some(message.into());
    Ok(outcome)
}

/// A number with a unit, in the smallest unit.
fn amount(name: &str, text: Option<&Text>, units: &[(char, i64)]) -> Step<Option<i64>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let lower = text.to_ascii_lowercase();
    let unit = units.iter().find(|(letter, _)| lower.ends_with(*letter));
    let digits = unit.map_or(lower.as_str(), |(letter, _)| lower.trim_end_matches(*letter));
    let number = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(unit.map_or(1, |(_, factor)| *factor)));
    number.map(Some).ok_or_else(|| ModuleError::argument(name, format!("failed to process {name}: `{}`", text.0)))
}

/// A shell pattern as a regular expression for the whole name, as Python's `fnmatch` has it.
fn translate(shell: &str) -> String {
    let mut regex = String::from("(?s:");
    let all = characters(shell);
    let mut at = 0;
    while let Some(c) = all.get(at).copied() {
        at += 1;
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let negated = all.get(at) == Some(&'!');
                let start = at + usize::from(negated);
                // A bracket right at the start belongs to the set.
                let from = start + usize::from(all.get(start) == Some(&']'));
                match all.iter().skip(from).position(|c| *c == ']') {
                    None => regex.push_str("\\["),
                    Some(length) => {
                        let end = from + length;
                        regex.push_str(if negated { "[^" } else { "[" });
                        for c in all.get(start..end).unwrap_or_default() {
                            if matches!(c, '\\' | '[' | ']' | '^' | '&' | '~' | '|') {
                                regex.push('\\');
                            }
                            regex.push(*c);
                        }
                        regex.push(']');
                        at = end + 1;
                    }
                }
            }
            c if c.is_alphanumeric() || c == '_' => regex.push(c),
            c => regex.extend(['\\', c]),
        }
    }
    regex + ")\\Z"
}

impl Search<'_> {
    fn full(&self) -> bool {
        self.limit.is_some_and(|limit| self.files.len() >= limit)
    }

    fn skip(&mut self, path: &str, why: String) {
        self.warnings.push(format!("Skipped '{path}' path due to this access issue: {why}"));
        self.skipped.insert(path.to_string(), why.into());
    }

    fn directory(&mut self, machine: &Machine, directory: &Path, depth: i64, above: &mut Vec<PathBuf>) -> Step<()> {
        let names = match machine.list_directory(directory) {
            Ok(names) => names,
            Err(error @ MachineError::Unknown { .. }) => return Err(error.into()),
            Err(error) => {
                self.skipped.insert(directory.to_string_lossy().into_owned(), error.to_string().into());
                return Ok(());
            }
        };
        self.examined += names.len() as u64;
        let (mut others, mut directories) = (Vec::new(), Vec::new());
        for name in names {
            let path = directory.join(name);
            match machine.lstat(&path)? {
                Some(stat) if stat.is_dir() => directories.push((path, stat)),
                Some(stat) if stat.is_link() && machine.stat(&path).ok().flatten().is_some_and(|s| s.is_dir()) => {
                    directories.push((path, stat));
                }
                Some(stat) => others.push((path, stat)),
                None => {} // gone meanwhile
            }
        }
        if self.arguments.depth.is_some_and(|limit| limit.0 > 0 && depth > limit.0) {
            return Ok(());
        }
        for (path, stat) in others.iter().chain(&directories) {
            if self.full() {
                return Ok(());
            }
            if let Some(found) = self.test(machine, path, stat)? {
                self.files.push(found);
            }
        }
        if !self.arguments.recurse.0 {
            return Ok(());
        }
        for (path, stat) in &directories {
            if self.full() {
                return Ok(());
            }
            if !stat.is_link() {
                self.directory(machine, path, depth + 1, above)?;
            } else if self.arguments.follow.0 {
                let real = machine.real_path(path)?;
                if !above.contains(&real) {
                    above.push(real);
                    self.directory(machine, path, depth + 1, above)?;
                    above.pop();
                }
            }
        }
        Ok(())
    }

    /// What is returned of an entry, if it is one that is looked for.
    fn test(&self, machine: &Machine, path: &Path, stat: &Stat) -> Step<Option<Value>> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && !self.arguments.hidden.0 || !self.named(&name)? {
            return Ok(None);
        }
        let file_type = self.arguments.file_type;
        let wanted = match file_type {
            FileType::Any => true,
            FileType::Directory => stat.is_dir(),
            FileType::File => stat.is_file(),
            FileType::Link => stat.is_link(),
        };
        if !wanted || !self.old_enough(stat) {
            return Ok(None);
        }
        if let Some(mode) = self.mode {
            let fits = if self.arguments.exact_mode.0 { stat.mode == mode } else { stat.mode & mode != 0 };
            if !fits {
                return Ok(None);
            }
        }
        if stat.kind == Kind::File {
            if let Some(size) = self.size {
                let has = stat.size.ok_or_else(|| {
                    MachineError::unknown(format!("the size of {} is not known before it is applied", path.display()))
                })?;
                let fits = if size >= 0 { has >= size.unsigned_abs() } else { has <= size.unsigned_abs() };
                if !fits {
                    return Ok(None);
                }
            }
            if file_type == FileType::File && !self.contains(machine, path)? {
                return Ok(None);
            }
        }
        let mut found = fields(machine, stat);
        found.insert("path".into(), path.to_string_lossy().into());
        if self.arguments.get_checksum.0 && stat.is_file() {
            found.insert("checksum".into(), machine.file_digest(path, self.arguments.checksum_algorithm)?.into());
        }
        Ok(Some(Value::Object(found)))
    }

    fn named(&self, name: &str) -> Step<bool> {
        let name = characters(name);
        let any = |patterns: &[Pattern]| -> Step<bool> {
            for pattern in patterns {
                if pattern.match_start(&name).map_err(given_up)?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        Ok((self.patterns.is_empty() || any(&self.patterns)?) && !any(&self.excludes)?)
    }

    /// What a check predicts is as old as its application: new.
    fn old_enough(&self, stat: &Stat) -> bool {
        let Some(age) = self.age else {
            return true;
        };
        let time = match self.arguments.age_stamp {
            AgeStamp::Atime => stat.atime,
            AgeStamp::Ctime => stat.ctime,
            AgeStamp::Mtime => stat.mtime,
        };
        let has = self.now.seconds() - time.unwrap_or(self.now).seconds();
        if age >= 0 { has >= age as f64 } else { has <= age.unsigned_abs() as f64 }
    }

    fn contains(&self, machine: &Machine, path: &Path) -> Step<bool> {
        const LIMIT: u64 = 256 * 1024 * 1024;
        let Some(pattern) = &self.contains else {
            return Ok(true);
        };
        let bytes = match machine.read_file(path, LIMIT) {
            Ok(bytes) => bytes,
            Err(error @ MachineError::Unknown { .. }) => return Err(error.into()),
            Err(_) => return Ok(false), // not readable: it cannot be said that it contains it
        };
        if self.arguments.read_whole_file.0 {
            return pattern.is_match(&bytes_as_characters(&bytes)).map_err(given_up);
        }
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            if pattern.match_start(&bytes_as_characters(line)).map_err(given_up)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{check_then_apply, run_on};
    use serde_json::json;

    #[test]
    fn shell_patterns_as_fnmatch_reads_them() {
        for (shell, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a?c", "abc", true),
            ("[ab]*", "bx", true),
            ("[!ab]*", "bx", false),
            ("[]]x", "]x", true),
            ("a[", "a[", true),
            ("a.b", "axb", false),
            ("[a-c]1", "b1", true),
        ] {
            let pattern = Pattern::new(&translate(shell), Flags::default()).unwrap();
            assert_eq!(pattern.match_start(&characters(name)).unwrap().is_some(), expected, "{shell} {name}");
        }
    }

    #[test]
    fn what_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        for (name, text) in [
            ("a.conf", "x=1\n"),
            ("b.log", "long text here\n"),
            (".hidden", ""),
            ("sub/c.conf", "y\nx=2\n"),
            ("sub/deep/d.conf", ""),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("sub", root.join("link")).unwrap();
        std::fs::set_permissions(root.join("a.conf"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        for (arguments, expected) in [
            (json!({}), vec!["a.conf", "b.log"]),
            (json!({"hidden": true}), vec![".hidden", "a.conf", "b.log"]),
            (json!({"recurse": true, "patterns": "*.conf"}), vec!["a.conf", "sub/c.conf", "sub/deep/d.conf"]),
            (json!({"recurse": true, "patterns": "*.conf", "depth": 2}), vec!["a.conf", "sub/c.conf"]),
            (json!({"recurse": true, "excludes": "*.conf,b*"}), vec![]),
            (json!({"recurse": true, "patterns": ["^[ac]\\..*"], "use_regex": true}), vec!["a.conf", "sub/c.conf"]),
            (json!({"file_type": "directory", "recurse": true}), vec!["sub", "sub/deep"]),
            (json!({"file_type": "link"}), vec!["link"]),
            (json!({"file_type": "any"}), vec!["a.conf", "b.log", "link", "sub"]),
            (json!({"recurse": true, "contains": "x="}), vec!["a.conf", "sub/c.conf"]),
            (json!({"recurse": true, "contains": "y\\nx", "read_whole_file": true}), vec!["sub/c.conf"]),
            (json!({"size": "5"}), vec!["b.log"]),
            (json!({"size": "-5b"}), vec!["a.conf"]),
            (json!({"age": "1h"}), vec![]),
            (json!({"age": "-1h", "mode": "0600"}), vec!["a.conf"]),
            (json!({"recurse": true, "follow": true, "patterns": "d*", "limit": 1}), vec!["link/deep/d.conf"]),
        ] {
            let mut arguments = arguments;
            arguments["paths"] = json!(root);
            let outcome = check_then_apply("find", &arguments);
            assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.msg);
            let files = outcome.data["files"].as_array().unwrap();
            let found: Vec<_> = files
                .iter()
                .map(|f| {
                    f["path"].as_str().unwrap().strip_prefix(root.to_str().unwrap()).unwrap().trim_start_matches('/')
                })
                .collect();
            assert_eq!(found, expected, "{arguments}");
            assert_eq!(outcome.data["matched"], json!(found.len()));
        }
        let outcome = check_then_apply("find", &json!({"paths": root.join("none")}));
        assert_eq!((outcome.status, outcome.warnings.len()), (Status::Ok, 1));
        for bad in [
            json!({"size": "5x"}),
            json!({"patterns": "(", "use_regex": true}),
            json!({"limit": 0}),
            json!({"age": "d"}),
        ] {
            let mut bad = bad;
            bad["paths"] = json!(root);
            assert_eq!(check_then_apply("find", &bad).status, Status::Failed, "{bad}");
        }
        let mut machine = Machine::new(crate::machine::Mode::Predicted);
        machine.write_file(root.join("sub/new.conf"), b"x=3\n", &Default::default()).unwrap();
        let arguments = json!({"paths": root, "recurse": true, "contains": "x=3"});
        let outcome = run_on(&mut machine, &mut crate::modules::NoController, "find", &arguments);
        assert_eq!(outcome.data["matched"], 1);
    }
}
