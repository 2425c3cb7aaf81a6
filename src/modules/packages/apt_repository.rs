//! `apt_repository`: one source of packages on a line of `sources.list` or of a file in `sources.list.d`.

use crate::machine::files::{Attributes, WriteOptions};
use crate::machine::{Machine, MachineError};
use crate::modules::files::common::{Step, begin};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{FileMode, Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `ansible.builtin.apt_repository`
pub const APT_REPOSITORY: Module = Module {
    name: "ansible.builtin.apt_repository",
    aliases: &["apt_repository", "ansible.legacy.apt_repository"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: AptRepository::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

const DIRECTORY: &str = "/etc/apt/sources.list.d";
const MAIN: &str = "/etc/apt/sources.list";
const LIMIT: u64 = 4 << 20;

crate::arguments! {
    /// Adds a source of packages for apt, or removes it, and updates the package lists when something changed.
    ///
    /// Its line is looked for in `/etc/apt/sources.list` and all files of `sources.list.d`; one that is commented out is brought
    /// to life again. When the lists cannot be updated, the files are put back. For new playbooks see `deb822_repository`.
    pub struct AptRepository {
        /// The line: `deb [signed-by=/etc/apt/keyrings/x.asc] https://… trixie main`. `ppa:` is not supported yet: an error.
        pub repo: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// The file's name in `sources.list.d`, without `.list`; made of the address when not given.
        pub filename: Option<Text>,
        /// Mode of a file that is made.
        pub mode: Option<FileMode>,
        /// Update the package lists after a change.
        #[serde(default = "Flag::yes", alias = "update-cache")]
        pub update_cache: Flag,
        /// How often an update of the lists is tried again. 5 when not given.
        pub update_cache_retries: Option<Int>,
        /// The longest pause between two tries, in seconds. 12 when not given.
        pub update_cache_retry_max_delay: Option<Int>,
        /// For `ppa:`, which is not supported yet.
        pub codename: Option<Text>,
        /// For `ppa:`, which is not supported yet.
        pub validate_certs: Option<Flag>,
        /// Accepted for old playbooks; nothing has to be installed for this module.
        pub install_python_apt: Option<Flag>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: AptRepository = decode(arguments)?;
    begin(machine, context);
    if arguments.repo.starts_with("ppa:") {
        return Err(ModuleError::argument(
            "repo",
            "`ppa:` is not supported yet: write the whole line, and its key's file",
        ));
    }
    let wanted = Line::parse(&arguments.repo);
    if !wanted.valid || !wanted.enabled {
        return Err(ModuleError::Failed(format!("Invalid repository string: {}", &*arguments.repo)));
    }
    let mut files = read(machine)?;
    let before = files.clone();
    let present = arguments.state == State::Present;
    match present {
        true => add(&mut files, wanted, arguments.filename.as_deref()),
        false => files.values_mut().for_each(|lines| {
            lines.retain(|line| !(line.valid && line.enabled && line.source == wanted.source));
        }),
    }
    let names = |one: &BTreeMap<String, Vec<Line>>, other: &BTreeMap<String, Vec<Line>>| -> Vec<String> {
        let there =
            |files: &BTreeMap<String, Vec<Line>>, name: &str| files.get(name).is_some_and(|lines| !lines.is_empty());
        one.keys().filter(|name| there(one, name) && !there(other, name)).cloned().collect()
    };
    let (added, removed) = (names(&files, &before), names(&before, &files));
    if files != before {
        let mut old: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for (path, lines) in files.iter().filter(|(path, lines)| before.get(*path) != Some(*lines)) {
            old.push((path.clone(), machine.read_file_if_exists(path, LIMIT)?));
            put(machine, path, lines, before.get(path), arguments.mode.as_ref())?;
        }
        if arguments.update_cache.0
            && let Err(error) = update(&arguments, machine, context)
        {
            // As it was: apt would not work with it either.
            for (path, contents) in old {
                match contents {
                    Some(bytes) => drop(machine.write_file(&path, &bytes, &through_links())?),
                    None => drop(machine.remove(&path)?),
                }
            }
            return Err(error.into());
        }
    }
    Ok(Outcome::ok()
        .with("repo", arguments.repo.0.clone())
        .with("state", if present { "present" } else { "absent" })
        .with("sources_added", added)
        .with("sources_removed", removed))
}

/// A line of a file of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    valid: bool,
    enabled: bool,
    source: String,
    comment: String,
}

impl Line {
    fn parse(line: &str) -> Line {
        let line = line.trim();
        let (enabled, line) = line.strip_prefix('#').map_or((true, line), |rest| (false, rest));
        let (source, comment) = match line.char_indices().skip(1).find(|(_, c)| *c == '#') {
            Some((at, _)) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default().trim()),
            None => (line, ""),
        };
        let words: Vec<&str> = source.split_whitespace().collect();
        let valid = matches!(words.first(), Some(&("deb" | "deb-src")));
        let source = if valid { words.join(" ") } else { source.trim().to_string() };
        Line { valid, enabled, source, comment: comment.to_string() }
    }

    fn write(&self) -> String {
        let mark = if self.enabled { "" } else { "# " };
        let gap = if self.comment.is_empty() { "" } else { " # " };
        format!("{mark}{}{gap}{}\n", self.source, self.comment)
    }
}

fn read(machine: &Machine) -> Step<BTreeMap<String, Vec<Line>>> {
    let mut paths = vec![MAIN.to_string()];
    if machine.exists(DIRECTORY)? {
        let names = machine.list_directory(DIRECTORY)?;
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".list"));
        paths.extend(names.map(|name| format!("{DIRECTORY}/{name}")));
    }
    let mut files = BTreeMap::new();
    for path in paths {
        if let Some(bytes) = machine.read_file_if_exists(&path, LIMIT)? {
            let lines = String::from_utf8_lossy(&bytes).lines().map(Line::parse).collect();
            files.insert(path, lines);
        }
    }
    Ok(files)
}

/// Brings the line to life where it stands, else adds it to its own file.
fn add(files: &mut BTreeMap<String, Vec<Line>>, wanted: Line, name: Option<&str>) {
    let mut found = false;
    for line in files.values_mut().flatten().filter(|line| line.valid && line.source == wanted.source) {
        line.enabled = true;
        found = true;
    }
    if !found {
        let name = format!("{}.list", name.map_or_else(|| suggestion(&wanted.source), str::to_string));
        let path = if name.contains('/') { name } else { format!("{DIRECTORY}/{name}") };
        files.entry(path).or_default().push(Line { comment: String::new(), ..wanted });
    }
}

/// A file's name, made of the address.
fn suggestion(source: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in source.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let address = text.split_whitespace().find(|word| !matches!(*word, "deb" | "deb-src")).unwrap_or_default();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split_once('@').map_or(address, |(_, rest)| rest);
    let words: Vec<&str> =
        address.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("_")
}

fn put(
    machine: &mut Machine,
    path: &str,
    lines: &[Line],
    before: Option<&Vec<Line>>,
    mode: Option<&FileMode>,
) -> Step<()> {
    if lines.is_empty() {
        machine.remove(path)?;
        return Ok(());
    }
    let mode = mode.filter(|_| before.is_none_or(|before| before.len() < lines.len()));
    let mode =
        mode.map(|mode| mode.resolve(0o644, false, machine.umask()).map_err(|why| ModuleError::argument("mode", why)));
    let options =
        WriteOptions { attributes: Attributes { mode: mode.transpose()?, ..Attributes::default() }, ..through_links() };
    if let Some(parent) = std::path::Path::new(path).parent() {
        machine.make_directories(parent, &Attributes::default())?;
    }
    let text: String = lines.iter().map(Line::write).collect();
    machine.write_file(path, text.as_bytes(), &options)?;
    Ok(())
}

fn through_links() -> WriteOptions {
    WriteOptions { follow: true, ..WriteOptions::default() }
}

fn update(arguments: &AptRepository, machine: &mut Machine, context: &mut Context<'_>) -> Result<(), MachineError> {
    let tries = arguments.update_cache_retries.map_or(5, |number| number.0.max(1));
    let longest = u64::try_from(arguments.update_cache_retry_max_delay.map_or(12, |number| number.0)).unwrap_or(12);
    let mut tried = 0;
    loop {
        let controller = &mut *context.controller;
        match machine.apt_update(60, false, &mut |text| controller.progress(text, None, None)) {
            Ok(()) => return Ok(()),
            Err(error @ MachineError::Unknown { .. }) => return Err(error),
            Err(error) if tried + 1 >= tries || machine.predicted() => return Err(error),
            Err(_) => {}
        }
        std::thread::sleep(std::time::Duration::from_secs(longest.min(1 << tried.min(20))));
        tried += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_written() {
        for (text, written, valid, enabled) in [
            ("deb  https://a  trixie main", "deb https://a trixie main\n", true, true),
            ("# deb https://a trixie main # mine", "# deb https://a trixie main # mine\n", true, false),
            ("#deb-src https://a /", "# deb-src https://a /\n", true, false),
            ("# See sources.list(5)", "# See sources.list(5)\n", false, false),
            ("", "\n", false, true),
        ] {
            let line = Line::parse(text);
            assert_eq!((line.write().as_str(), line.valid, line.enabled), (written, valid, enabled), "{text}");
        }
    }

    #[test]
    fn sources_come_and_come_to_life() {
        let line = |text: &str| Line::parse(text);
        let mut files =
            BTreeMap::from([(MAIN.to_string(), vec![line("# deb https://a trixie main"), line("# words")])]);
        add(&mut files, line("deb https://a trixie main"), None);
        assert_eq!(files[MAIN][0].write(), "deb https://a trixie main\n");
        add(
            &mut files,
            line("deb [arch=amd64 signed-by=/k] https://me:secret@deb.example.org:8080/x-y/ trixie main"),
            None,
        );
        assert!(files.contains_key("/etc/apt/sources.list.d/deb_example_org_8080_x_y.list"), "{files:?}");
        add(&mut files, line("deb https://c /"), Some("mine"));
        assert_eq!(files["/etc/apt/sources.list.d/mine.list"].len(), 1);
    }
}
