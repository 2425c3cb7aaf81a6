//! `/etc/modules-load.d` and `/etc/modprobe.d`: which modules of the kernel are loaded at a start, and with what.

use crate::machine::{Machine, Result};
use std::path::{Path, PathBuf};

const LOAD: &str = "/etc/modules-load.d";
const OPTIONS: &str = "/etc/modprobe.d";

/// The files of both directories, with their texts.
#[derive(Debug, Default)]
pub struct Files {
    pub load: Vec<(PathBuf, String)>,
    pub options: Vec<(PathBuf, String)>,
}

impl Files {
    pub fn read(machine: &Machine) -> Result<Files> {
        Ok(Files { load: texts(machine, LOAD)?, options: texts(machine, OPTIONS)? })
    }

    /// Where a module is written down that was nowhere.
    pub fn load_file(name: &str) -> PathBuf {
        Path::new(LOAD).join(format!("{name}.conf"))
    }

    /// Where its parameters are.
    pub fn options_file(name: &str) -> PathBuf {
        Path::new(OPTIONS).join(format!("{name}.conf"))
    }

    /// Whether it is loaded at a start.
    pub fn loads(&self, name: &str) -> bool {
        self.load.iter().flat_map(|(_, text)| text.lines()).any(|line| names_module(line, name))
    }

    /// Whether its parameters are these, in any order.
    pub fn has_parameters(&self, name: &str, wanted: &[&str]) -> bool {
        let lines = self.options.iter().flat_map(|(_, text)| text.lines());
        let found: Vec<&str> = lines.filter_map(|line| parameter(line, name)).collect();
        wanted.iter().all(|one| found.contains(one)) && found.iter().all(|one| wanted.contains(one))
    }
}

fn texts(machine: &Machine, directory: &str) -> Result<Vec<(PathBuf, String)>> {
    if !machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for name in machine.list_directory(directory)? {
        let path = Path::new(directory).join(name);
        if machine.stat(&path)?.is_some_and(|stat| stat.is_file()) {
            let text = String::from_utf8_lossy(&machine.read_file(&path, 1 << 20)?).into_owned();
            found.push((path, text));
        }
    }
    found.sort();
    Ok(found)
}

/// A line without its remark.
fn bare(line: &str) -> &str {
    line.split(['#', ';']).next().unwrap_or_default().trim_end_matches([' ', '\n'])
}

fn names_module(line: &str, name: &str) -> bool {
    bare(line).trim_start_matches(' ') == name
}

/// `options dummy numdummies=2`: of a line with more than one nothing is known, as in Ansible.
fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    // A value may have one of the signs in it that begin a remark elsewhere.
    let rest = line.strip_prefix("options ")?.strip_prefix(name)?.strip_prefix(' ')?;
    let mut words = rest.trim_end_matches('\n').split(' ').filter(|word| !word.is_empty());
    let one = words.next()?;
    let alone = words.next().is_none_or(|word| word.starts_with(['#', ';']));
    let (key, value) = one.split_once('=')?;
    let good = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_') && !value.is_empty();
    (alone && good).then_some(one)
}

/// The text with its lines made remarks that load the module; nothing where there are none.
pub fn without_module(text: &str, name: &str) -> Option<String> {
    remarked(text, |line| names_module(line, name))
}

/// The same for its parameters.
pub fn without_parameters(text: &str, name: &str) -> Option<String> {
    remarked(text, |line| parameter(line, name).is_some())
}

fn remarked(text: &str, own: impl Fn(&str) -> bool) -> Option<String> {
    let line = |line: &str| if own(line) { format!("#{line}") } else { line.to_string() };
    let new: String = text.split_inclusive('\n').map(line).collect();
    (new != text).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in
            [("dummy", true), (" dummy  # mine\n", true), ("dummy;x", true), ("dummy2", false), ("#dummy", false)]
        {
            assert_eq!(names_module(line, "dummy"), expected, "{line}");
        }
        for (line, expected) in [
            ("options dummy numdummies=2\n", Some("numdummies=2")),
            ("options dummy a=b#c # d", Some("a=b#c")),
            ("options dummy a=1 b=2", None),
            ("options dummy2 a=1", None),
            ("#options dummy a=1", None),
            ("options dummy a", None),
        ] {
            assert_eq!(parameter(line, "dummy"), expected, "{line}");
        }
    }

    #[test]
    fn files() {
        let files = Files {
            load: vec![(PathBuf::from("/a"), "# x\nbridge\n".into())],
            options: vec![(PathBuf::from("/b"), "options dummy a=1\nx\noptions dummy b=2".into())],
        };
        assert!(files.loads("bridge") && !files.loads("dummy"));
        assert!(files.has_parameters("dummy", &["b=2", "a=1"]) && files.has_parameters("bridge", &[]));
        assert!(!files.has_parameters("dummy", &["a=1"]) && !files.has_parameters("dummy", &["a=1", "b=2", "c=3"]));
        assert_eq!(without_module(&files.load[0].1, "bridge").as_deref(), Some("# x\n#bridge\n"));
        assert_eq!(without_module(&files.load[0].1, "dummy"), None);
        let text = without_parameters(&files.options[0].1, "dummy").unwrap();
        assert_eq!(text, "#options dummy a=1\nx\n#options dummy b=2");
    }
}
