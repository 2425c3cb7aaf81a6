//! `lineinfile`: one line of a file.

use super::common::{Step, begin, file_arguments};
use super::edit::{Edit, given_up, lines, pattern, without_end};
use crate::machine::Machine;
use crate::modules::pattern::{Flags, Match, Pattern, Template, bytes_as_characters, characters_as_bytes};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.builtin.lineinfile`
pub const LINEINFILE: Module = Module {
    name: "ansible.builtin.lineinfile",
    aliases: &["lineinfile", "ansible.legacy.lineinfile"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: LineInFile::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Whether the line shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It shall.
    #[default]
    Present,
    /// It shall not.
    Absent,
}

file_arguments! {
    /// Makes sure that a line is in a file, or replaces the line that matches a pattern. For several lines use
    /// `blockinfile` or `template`.
    pub struct LineInFile {
        /// The file.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Python's regular expression for the line that is replaced: the last that matches. With `absent`, all that
        /// match go.
        #[serde(alias = "regex")]
        pub regexp: Option<Text>,
        /// Plain text instead of `regexp`.
        pub search_string: Option<Text>,
        /// The line.
        #[serde(alias = "value")]
        pub line: Option<Text>,
        /// Use groups of `regexp` in `line` (`\1`); without a match nothing is done.
        #[serde(default)]
        pub backrefs: Flag,
        /// Where a new line goes: after the last line that matches, or `EOF`, which is the default, or `BOF`.
        pub insertafter: Option<Text>,
        /// Where a new line goes: before the last line that matches, or `BOF`.
        pub insertbefore: Option<Text>,
        /// Use the first line that matches, not the last.
        #[serde(default)]
        pub firstmatch: Flag,
        /// Make the file when there is none.
        #[serde(default)]
        pub create: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// A command that must accept the new file before it goes live, `%s` in the place of its name.
        pub validate: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: LineInFile = decode(arguments)?;
    begin(machine, context);
    for (one, other, both) in [
        ("insertbefore", "insertafter", arguments.insertbefore.is_some() && arguments.insertafter.is_some()),
        ("regexp", "search_string", arguments.regexp.is_some() && arguments.search_string.is_some()),
        ("backrefs", "search_string", arguments.backrefs.0 && arguments.search_string.is_some()),
    ] {
        if both {
            return Err(ModuleError::Failed(format!("parameters are mutually exclusive: {one}|{other}")));
        }
    }
    let edit =
        Edit::open(machine, &arguments.path, arguments.common(), arguments.backup.0, arguments.validate.as_deref())?;
    let mut outcome = match arguments.state {
        State::Present => present(&arguments, machine, edit)?,
        State::Absent => absent(&arguments, machine, edit)?,
    };
    if !outcome.unknown_fields.iter().any(|f| f == "backup") {
        outcome.data.entry("backup").or_insert(Value::from(""));
    }
    let empty = |text: &Option<Text>| text.as_ref().is_some_and(|t| t.is_empty());
    if empty(&arguments.regexp) || empty(&arguments.search_string) {
        let name = if empty(&arguments.regexp) { "regular expression" } else { "search string" };
        outcome.warnings.push(format!(
            "The {name} is an empty string, which will match every line in the file. This may have unintended \
             consequences, such as replacing the last line in the file rather than appending."
        ));
    }
    Ok(outcome)
}

/// What finds a line.
enum Finder<'a> {
    Pattern(Pattern),
    Text(&'a [u8]),
    Nothing,
}

impl<'a> Finder<'a> {
    fn of(arguments: &'a LineInFile) -> Step<Finder<'a>> {
        Ok(match (&arguments.regexp, &arguments.search_string) {
            (Some(regexp), _) => Finder::Pattern(pattern("regexp", regexp, Flags::default())?),
            (None, Some(text)) => Finder::Text(text.as_bytes()),
            (None, None) => Finder::Nothing,
        })
    }

    /// A match; one by plain text has no groups.
    fn find(&self, line: &[u8]) -> Step<Option<Option<Match>>> {
        Ok(match self {
            Finder::Pattern(pattern) => pattern.search(&bytes_as_characters(line), 0).map_err(given_up)?.map(Some),
            Finder::Text(text) => (text.is_empty() || line.windows(text.len()).any(|w| w == *text)).then_some(None),
            Finder::Nothing => None,
        })
    }
}

/// Where a new line goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    After,
    Before,
}

fn present(arguments: &LineInFile, machine: &mut Machine, edit: Edit<'_>) -> Step<Outcome> {
    if arguments.backrefs.0 && arguments.regexp.is_none() {
        return Err(ModuleError::Failed("regexp is required with backrefs=true".into()));
    }
    let Some(line) = &arguments.line else {
        return Err(ModuleError::Failed("line is required with state=present".into()));
    };
    let line = line.as_bytes();
    let finder = Finder::of(arguments)?;
    let (side, place) = match (&arguments.insertbefore, &arguments.insertafter) {
        (Some(before), _) => (Side::Before, before.0.as_str()),
        (None, Some(after)) => (Side::After, after.0.as_str()),
        (None, None) => (Side::After, "EOF"),
    };
    let anchor = match (side, place) {
        (_, "BOF") | (Side::After, "EOF") => None,
        (Side::After, place) => Some(pattern("insertafter", place, Flags::default())?),
        (Side::Before, place) => Some(pattern("insertbefore", place, Flags::default())?),
    };
    if edit.before.is_none() && !arguments.create.0 {
        return Err(ModuleError::with_rc(format!("Destination {} does not exist !", edit.path.display()), 257));
    }
    let mut all = lines(edit.before.as_deref().unwrap_or_default());

    let mut found: Option<(usize, Option<Match>)> = None;
    for (number, present) in all.iter().enumerate() {
        if let Some(groups) = finder.find(present)? {
            found = Some((number, groups));
            if arguments.firstmatch.0 {
                break;
            }
        }
    }
    let matched = found.is_some();
    // Without a match, the line itself may be there already, or there is a place for it.
    let (mut exact, mut anchored) = (None, None);
    if !matched {
        for (number, present) in all.iter().enumerate() {
            if without_end(present) == line {
                exact = Some(number);
            } else if let Some(anchor) = &anchor
                && anchor.is_match(&bytes_as_characters(present)).map_err(given_up)?
            {
                anchored = Some(if side == Side::After { number + 1 } else { number });
                if arguments.firstmatch.0 {
                    break;
                }
            }
        }
    }
    let mut message = "";
    let ended = |line: &[u8]| [line, if line.ends_with(b"\n") { b"" } else { b"\n" }].concat();
    let same_as_line = |present: Option<&Vec<u8>>| present.is_some_and(|p| without_end(p) == line);
    if let Some((number, groups)) = found.or(exact.map(|n| (n, None))) {
        let new = match (&finder, groups.filter(|_| arguments.backrefs.0)) {
            (Finder::Pattern(pattern), Some(groups)) => {
                let template = Template::new(&bytes_as_characters(line), pattern)
                    .map_err(|e| ModuleError::argument("line", e.to_string()))?;
                let subject = bytes_as_characters(all.get(number).map(Vec::as_slice).unwrap_or_default());
                let mut expanded = Vec::new();
                template.expand(&subject, &groups, &mut expanded);
                ended(&characters_as_bytes(&expanded))
            }
            _ => ended(line),
        };
        if let Some(present) = all.get_mut(number)
            && *present != new
        {
            *present = new;
            message = "line replaced";
        }
    } else if arguments.backrefs.0 {
        // Without a match there is nothing to fill the groups with.
    } else if place == "BOF" {
        all.insert(0, ended_once(line));
        message = "line added";
    } else {
        match anchored {
            None => {
                if let Some(last) = all.last_mut()
                    && !last.ends_with(b"\n")
                    && !last.ends_with(b"\r")
                {
                    last.push(b'\n');
                }
                all.push(ended_once(line));
                message = "line added";
            }
            Some(at) => {
                let neighbour = match side {
                    Side::After if at == all.len() => all.last(),
                    Side::After => all.get(at),
                    Side::Before if at == 0 => all.first(),
                    Side::Before => all.get(at - 1),
                };
                // A line that stands there already is not added again.
                if !same_as_line(neighbour) {
                    if at == all.len()
                        && let Some(last) = all.last_mut()
                        && !last.ends_with(b"\n")
                        && !last.ends_with(b"\r")
                    {
                        last.push(b'\n');
                    }
                    all.insert(at.min(all.len()), ended_once(line));
                    message = "line added";
                }
            }
        }
    }
    if message.is_empty() {
        return edit.finish(machine, None, "", "backup");
    }
    edit.make_parents(machine)?;
    edit.finish(machine, Some(all.concat()), message, "backup")
}

fn ended_once(line: &[u8]) -> Vec<u8> {
    [line, b"\n"].concat()
}

fn absent(arguments: &LineInFile, machine: &mut Machine, edit: Edit<'_>) -> Step<Outcome> {
    if arguments.regexp.is_none() && arguments.search_string.is_none() && arguments.line.is_none() {
        return Err(ModuleError::Failed("one of line, search_string, or regexp is required with state=absent".into()));
    }
    let finder = Finder::of(arguments)?;
    let Some(before) = &edit.before else {
        let mut outcome = Outcome::ok();
        outcome.msg = Some("file not present".into());
        return Ok(outcome);
    };
    let line = arguments.line.as_ref().map(|l| l.as_bytes()).unwrap_or_default();
    let mut kept = Vec::new();
    let mut found = 0;
    for present in lines(before) {
        let goes = match &finder {
            Finder::Nothing => without_end(&present) == line,
            finder => finder.find(&present)?.is_some(),
        };
        if goes {
            found += 1;
        } else {
            kept.push(present);
        }
    }
    let message = if found > 0 { format!("{found} line(s) removed") } else { String::new() };
    let outcome = edit.finish(machine, (found > 0).then(|| kept.concat()), &message, "backup")?;
    Ok(outcome.with("found", found))
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};

    fn on(before: &str, arguments: Value) -> (String, String) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        std::fs::write(&path, before).unwrap();
        let mut arguments = arguments;
        arguments["path"] = json!(path);
        let outcome = check_then_apply("lineinfile", &arguments);
        assert_eq!(outcome.status, Status::Ok, "{arguments}: {:?}", outcome.msg);
        (std::fs::read_to_string(&path).unwrap(), outcome.msg.unwrap_or_default())
    }

    #[test]
    fn lines_come_where_ansible_puts_them() {
        for (before, arguments, after, message) in [
            ("a\nb\n", json!({"line": "c"}), "a\nb\nc\n", "line added"),
            ("a\nb", json!({"line": "c"}), "a\nb\nc\n", "line added"),
            ("", json!({"line": "c"}), "c\n", "line added"),
            ("a\nc\n", json!({"line": "c"}), "a\nc\n", ""),
            ("a\nc", json!({"line": "c"}), "a\nc\n", "line replaced"),
            ("#p 1\nx\n", json!({"regexp": "^#?p", "line": "p 2"}), "p 2\nx\n", "line replaced"),
            ("p 1\np 3\n", json!({"regexp": "^p", "line": "p 2"}), "p 1\np 2\n", "line replaced"),
            ("p 1\np 3\n", json!({"regexp": "^p", "line": "p 2", "firstmatch": true}), "p 2\np 3\n", "line replaced"),
            ("x\n", json!({"regexp": "^p", "line": "p 2"}), "x\np 2\n", "line added"),
            ("a\nb\nc\n", json!({"line": "n", "insertafter": "^a"}), "a\nn\nb\nc\n", "line added"),
            ("a\nb\na\n", json!({"line": "n", "insertafter": "^a"}), "a\nb\na\nn\n", "line added"),
            ("a\nb\na", json!({"line": "n", "insertafter": "^a"}), "a\nb\na\nn\n", "line added"),
            ("a\nb\na\n", json!({"line": "n", "insertbefore": "^b"}), "a\nn\nb\na\n", "line added"),
            ("a\nb\n", json!({"line": "n", "insertbefore": "BOF"}), "n\na\nb\n", "line added"),
            ("a\nb\n", json!({"line": "n", "insertafter": "BOF"}), "n\na\nb\n", "line added"),
            ("a\nb\n", json!({"line": "n", "insertafter": "none"}), "a\nb\nn\n", "line added"),
            ("k = v\n", json!({"regexp": "^(k)\\s*=.*", "line": "\\1=w", "backrefs": true}), "k=w\n", "line replaced"),
            ("x\n", json!({"regexp": "^(k)=.*", "line": "\\1=w", "backrefs": true}), "x\n", ""),
            ("a.b\naxb\n", json!({"search_string": "a.b", "line": "c"}), "c\naxb\n", "line replaced"),
            ("a\nb\na\n", json!({"regexp": "^a", "state": "absent"}), "b\n", "2 line(s) removed"),
            ("a\nab\n", json!({"line": "a", "state": "absent"}), "ab\n", "1 line(s) removed"),
            ("a\r\nb\r\n", json!({"line": "b"}), "a\r\nb\n", "line replaced"),
            ("# x\n", json!({"regexp": "^(?!#)x", "line": "x"}), "# x\nx\n", "line added"),
        ] {
            let (found, said) = on(before, arguments.clone());
            assert_eq!((found.as_str(), said.as_str()), (after, message), "{before:?} {arguments}");
        }
    }

    #[test]
    fn files_are_made_kept_and_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("sub/f");
        let refused = |arguments: Value, part: &str| {
            let outcome = check_then_apply("lineinfile", &arguments);
            assert_eq!(outcome.status, Status::Failed, "{arguments}");
            assert!(outcome.msg.as_ref().unwrap().contains(part), "{:?}", outcome.msg);
        };
        refused(json!({"path": path, "line": "x"}), "does not exist");
        refused(json!({"path": scratch.path(), "line": "x"}), "is a directory");
        refused(json!({"path": path, "line": "x", "regexp": "(", "create": true}), "unterminated");
        refused(json!({"path": path, "line": "x", "regexp": "a", "search_string": "a"}), "mutually exclusive");
        refused(json!({"path": path, "create": true}), "line is required");
        let outcome = apply_twice("lineinfile", &json!({"path": path, "line": "x", "create": true, "mode": "0600"}));
        assert_eq!(outcome.msg.unwrap(), "line added and ownership, perms or SE linux context changed");
        std::os::unix::fs::symlink("f", scratch.path().join("sub/l")).unwrap();
        let link = scratch.path().join("sub/l");
        let outcome =
            apply_twice("lineinfile", &json!({"path": link, "line": "y", "backup": true, "validate": "grep y %s"}));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\ny\n");
        assert_eq!(std::fs::read_to_string(outcome.data["backup"].as_str().unwrap()).unwrap(), "x\n");
        std::fs::write(&path, b"caf\xe9\nx=1\n").unwrap();
        apply_twice("lineinfile", &json!({"path": path, "regexp": "^x=", "line": "x=2"}));
        assert_eq!(std::fs::read(&path).unwrap(), b"caf\xe9\nx=2\n");
    }
}
