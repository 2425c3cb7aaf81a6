//! `ini_file`: one option of one section in a file of sections.

use super::common::{Step, begin, describe, file_arguments, show};
use super::edit::Edit;
use super::lineinfile::State;
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.ini_file`
pub const INI_FILE: Module = Module {
    name: "community.general.ini_file",
    aliases: &["ini_file"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: IniFile::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

file_arguments! {
    /// Keeps an option, or a section, in a file of sections: `my.cnf`, `php.ini`, units of systemd, `.desktop` files.
    ///
    /// The rest of the file stays as it is. A line that was commented out is brought to life again, unless
    /// `modify_inactive_option` says otherwise.
    pub struct IniFile {
        /// The file.
        #[serde(alias = "dest")]
        pub path: Text,
        /// The section's name; without it the lines before the first section are meant.
        pub section: Option<Text>,
        /// Of several sections of one name: the one that has these options. A list of `option` with `value` or `values`.
        #[serde(default)]
        pub section_has_values: Option<Vec<Condition>>,
        /// The option's name. Without it the section itself is meant.
        pub option: Option<Text>,
        /// Its value.
        pub value: Option<Text>,
        /// Its values, for an option that stands there several times.
        pub values: Option<Vec<Text>>,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Whether the values given are all of them. Otherwise others are left alone.
        #[serde(default = "Flag::yes")]
        pub exclusive: Flag,
        /// Write `option=value`, not `option = value`.
        #[serde(default)]
        pub no_extra_spaces: Flag,
        /// Leave a line alone whose spaces only are different.
        #[serde(default)]
        pub ignore_spaces: Flag,
        /// An option may stand alone on its line.
        #[serde(default)]
        pub allow_no_value: Flag,
        /// Whether a line that is commented out counts as the option.
        #[serde(default = "Flag::yes")]
        pub modify_inactive_option: Flag,
        /// Make the file when there is none.
        #[serde(default = "Flag::yes")]
        pub create: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Change what a link points to. Otherwise a file takes the link's place.
        #[serde(default)]
        pub follow: Flag,
    }
}

/// An option that a section must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    option: Text,
    value: Option<Text>,
    values: Option<Vec<Text>>,
}

impl Condition {
    fn values(&self) -> Vec<&str> {
        match (&self.value, &self.values) {
            (Some(one), _) => vec![one],
            (None, Some(all)) => all.iter().map(|one| &**one).collect(),
            (None, None) => Vec::new(),
        }
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: IniFile = decode(arguments)?;
    begin(machine, context);
    let wanted = Wanted::of(&arguments)?;
    let mut edit = Edit::open(machine, &arguments.path, arguments.common(), arguments.backup.0, None)?;
    edit.follow = arguments.follow.0;
    if edit.before.is_none() && !arguments.create.0 {
        let why = format!("Destination {} does not exist!", edit.path.display());
        return Ok(Outcome::failed(why).with("rc", 257));
    }
    let text = String::from_utf8(edit.before.clone().unwrap_or_default())
        .map_err(|_| ModuleError::Failed(format!("{} is not text in UTF-8", edit.path.display())))?;
    let path = edit.path.clone();
    let (after, message) = wanted.apply(&text);
    if after.is_some() {
        edit.make_parents(machine)?;
    }
    let unkept = arguments.backup.0 && after.is_some() && edit.before.is_none();
    let mut outcome = edit.finish(machine, after.map(String::into_bytes), "", "backup_file")?;
    if unkept {
        outcome.data.insert("backup_file".into(), "".into()); // of a file that is new there is no copy
    }
    outcome.msg = Some(message.into());
    describe(machine, &path, &mut outcome)?;
    Ok(outcome.with("path", show(&path)))
}

/// What is asked for.
struct Wanted<'a> {
    section: Option<&'a str>,
    conditions: &'a [Condition],
    option: Option<&'a str>,
    values: Vec<&'a str>,
    present: bool,
    exclusive: bool,
    equals: &'static str,
    ignore_spaces: bool,
    bare: bool,
    inactive: bool,
}

impl<'a> Wanted<'a> {
    fn of(arguments: &'a IniFile) -> Step<Wanted<'a>> {
        let given: Vec<&str> = match (&arguments.value, &arguments.values) {
            (Some(_), Some(_)) => {
                return Err(ModuleError::Failed("parameters are mutually exclusive: value|values".into()));
            }
            (Some(one), None) => vec![one],
            (None, Some(all)) => all.iter().map(|one| &**one).collect(),
            (None, None) => Vec::new(),
        };
        let present = arguments.state == State::Present;
        if present && !arguments.allow_no_value.0 && given.is_empty() {
            let why = "Parameter 'value(s)' must be defined if state=present and allow_no_value=False.";
            return Err(ModuleError::Failed(why.into()));
        }
        let mut values: Vec<&str> = Vec::new();
        for value in given {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Ok(Wanted {
            section: arguments.section.as_deref().filter(|name| !name.is_empty()),
            conditions: arguments.section_has_values.as_deref().unwrap_or_default(),
            option: arguments.option.as_deref(),
            values,
            present,
            exclusive: arguments.exclusive.0,
            equals: if arguments.no_extra_spaces.0 { "=" } else { " = " },
            ignore_spaces: arguments.ignore_spaces.0,
            bare: arguments.allow_no_value.0,
            inactive: arguments.modify_inactive_option.0,
        })
    }

    /// The file as it should be, if it is not, and what was done.
    fn apply(&self, before: &str) -> (Option<String>, &'static str) {
        let text = before.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_string).collect();
        if lines.is_empty() {
            lines.push("\n".into());
        }
        let mut changed = false;
        if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
            last.push('\n');
            changed = true;
        }
        let mut message = "OK";
        match self.find(&lines) {
            Some((start, end)) => {
                // The lines of the section, its header left out.
                let body = lines.get(start..end).unwrap_or_default().to_vec();
                let (whole, said) = self.edit(&body);
                if let Some(said) = said {
                    message = said;
                    changed = true;
                    let start = if whole.is_none() && self.section.is_some() { start - 1 } else { start };
                    lines.splice(start..end, whole.unwrap_or_default());
                }
            }
            None if self.present => {
                changed = true;
                message = self.append(&mut lines);
            }
            None => {}
        }
        (changed.then(|| lines.concat()), message)
    }

    /// Where the section's lines are.
    fn find(&self, lines: &[String]) -> Option<(usize, usize)> {
        let next = |from: usize| {
            lines.iter().skip(from).position(|line| line.starts_with('[')).map_or(lines.len(), |at| from + at)
        };
        let Some(name) = self.section else {
            let end = next(0);
            return self.has_values(lines.get(..end)?).then_some((0, end));
        };
        let header = |line: &String| {
            let inside = line.strip_prefix('[').and_then(|rest| rest.trim_start().strip_prefix(name.trim()));
            inside.is_some_and(|rest| rest.trim_start().starts_with(']'))
        };
        let mut from = 0;
        loop {
            let start = from + lines.iter().skip(from).position(header)? + 1;
            let end = next(start);
            if self.has_values(lines.get(start..end)?) {
                return Some((start, end));
            }
            from = end;
        }
    }

    fn has_values(&self, lines: &[String]) -> bool {
        self.conditions.iter().all(|condition| {
            let values = condition.values();
            lines
                .iter()
                .filter_map(|line| option_of(line, &condition.option, true))
                .any(|found| values.is_empty() || values.contains(&found.value))
        })
    }

    fn line(&self, value: &str) -> String {
        format!("{}{}{value}\n", self.option.unwrap_or_default(), self.equals)
    }

    /// The section's lines (nothing for a section that goes), and what was done, if anything.
    fn edit(&self, body: &[String]) -> (Option<Vec<String>>, Option<&'static str>) {
        let Some(option) = self.option else {
            return match self.present {
                true => (Some(body.to_vec()), None),
                // Lines before the first section are no section that could go as a whole when there are none.
                false if body.is_empty() && self.section.is_none() => (Some(Vec::new()), None),
                false => (None, Some("section removed")),
            };
        };
        let mut body = body.to_vec();
        if !self.present {
            let goes = |line: &String| {
                option_of(line, option, false).is_some_and(|found| self.exclusive || self.values.contains(&found.value))
            };
            let length = body.len();
            body.retain(|line| !goes(line));
            let said = (body.len() < length).then_some("option changed");
            return (Some(body), said);
        }
        let said = self.bring(&mut body, option);
        (Some(body), said)
    }

    /// The option comes: lines that have it already first, then lines that can be turned into it, then new ones.
    fn bring(&self, body: &mut Vec<String>, option: &str) -> Option<&'static str> {
        let mut said = None;
        let mut values = self.values.clone();
        let mut done = vec![false; body.len()];
        let mut bare_there = false;
        let mut put = |line: &mut String, new: String, done: &mut bool| {
            *done = true;
            let old = option_of(line, option, true).filter(|old| !old.inactive && self.ignore_spaces);
            let differs = match old {
                Some(old) => old.value != option_of(&new, option, true).map_or("", |new| new.value),
                None => *line != new,
            };
            if differs {
                *line = new;
                said = Some("option changed");
            }
        };
        for (line, done) in body.iter_mut().zip(&mut done) {
            let Some(found) = option_of(line, option, self.inactive).map(|found| found.value.to_string()) else {
                continue;
            };
            if let Some(at) = values.iter().position(|value| *value == found) {
                values.remove(at);
                bare_there |= found.is_empty() && self.bare;
                let new = if found.is_empty() && self.bare { format!("{option}\n") } else { self.line(&found) };
                put(line, new, done);
            } else if values.is_empty() && self.bare {
                bare_there = true;
                put(line, format!("{option}\n"), done);
                break;
            }
        }
        if self.exclusive && !self.bare {
            for (line, done) in body.iter_mut().zip(&mut done) {
                if values.is_empty() {
                    break;
                }
                if !*done && option_of(line, option, self.inactive).is_some() {
                    put(line, self.line(values.remove(0)), done);
                }
            }
            let length = body.len();
            let mut kept = done.iter();
            body.retain(|line| {
                kept.next().is_some_and(|done| *done) || option_of(line, option, self.inactive).is_none()
            });
            if body.len() < length {
                said = Some("option changed");
            }
        }
        // Behind the last line that says something, which may be the section's header.
        let quiet =
            |line: &String| matches!(line.trim_matches([' ', '\t', '\n']).chars().next(), None | Some('#' | ';'));
        let end = body.iter().rposition(|line| !quiet(line)).map_or(0, |at| at + 1);
        let new: Vec<String> = match values.is_empty() {
            true if self.bare && !bare_there && self.values.is_empty() => vec![format!("{option}\n")],
            _ => values.iter().map(|value| self.line(value)).collect(),
        };
        if !new.is_empty() {
            body.splice(end..end, new);
            said = Some("option added");
        }
        said
    }

    /// A section that is not there yet comes at the end.
    fn append(&self, lines: &mut Vec<String>) -> &'static str {
        lines.push(format!("[{}]\n", self.section.unwrap_or_default()));
        let mut values = self.values.clone();
        for condition in self.conditions {
            let given = condition.values();
            if Some(&*condition.option) == self.option {
                if !self.exclusive {
                    given.into_iter().for_each(|value| {
                        if !values.contains(&value) {
                            values.push(value);
                        }
                    });
                }
            } else if given.is_empty() && self.bare {
                lines.push(format!("{}\n", &*condition.option));
            } else {
                lines.extend(given.iter().map(|value| format!("{}{}{value}\n", &*condition.option, self.equals)));
            }
        }
        match self.option {
            Some(_) if !values.is_empty() => lines.extend(values.iter().map(|value| self.line(value))),
            Some(option) if self.bare => lines.push(format!("{option}\n")),
            _ => return "only section added",
        }
        "section and option added"
    }
}

/// An option on a line.
struct Found<'a> {
    inactive: bool,
    value: &'a str,
}

/// Whether a line is about an option: `option = value`, `option`, and with `inactive` `# option = value`, too.
fn option_of<'a>(line: &'a str, option: &str, inactive: bool) -> Option<Found<'a>> {
    let blank = [' ', '\t'];
    let line = line.trim_end_matches('\n').trim_start_matches(blank);
    let behind = |line: &'a str| {
        let rest = line.strip_prefix(option)?.trim_start_matches(blank);
        match rest.strip_prefix('=') {
            Some(value) => Some(value.trim_start_matches(blank)),
            None => rest.is_empty().then_some(""),
        }
    };
    if let Some(value) = behind(line) {
        return Some(Found { inactive: false, value });
    }
    let commented = line.strip_prefix(['#', ';']).filter(|_| inactive)?;
    behind(commented.trim_start_matches(blank)).map(|value| Found { inactive: true, value })
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};

    #[test]
    fn options_come_change_and_go() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f.ini");
        let file = "top = 1\n\n[a]\nx = 1\n# y = 2\n\n; end of a\n[ b ]\nx=1\nx=2\nbare\n";
        for (before, arguments, after, message) in [
            (file, json!({"section": "a", "option": "x", "value": "1"}), None, "OK"),
            (
                file,
                json!({"section": "a", "option": "x", "value": 2}),
                Some(("x = 1\n#", "x = 2\n#")),
                "option changed",
            ),
            (file, json!({"section": "a", "option": "y", "value": "2"}), Some(("# y = 2", "y = 2")), "option changed"),
            (
                file,
                json!({"section": "a", "option": "y", "value": "2", "modify_inactive_option": false}),
                Some(("x = 1\n#", "x = 1\ny = 2\n#")),
                "option added",
            ),
            (
                file,
                json!({"section": "a", "option": "z", "value": "3"}),
                Some(("x = 1\n#", "x = 1\nz = 3\n#")),
                "option added",
            ),
            (file, json!({"option": "top", "value": "2"}), Some(("top = 1", "top = 2")), "option changed"),
            (file, json!({"option": "new", "value": "2"}), Some(("top = 1\n", "top = 1\nnew = 2\n")), "option added"),
            (
                file,
                json!({"section": "b", "option": "x", "value": "9"}),
                Some(("x=1\nx=2\n", "x = 9\n")),
                "option changed",
            ),
            (
                file,
                json!({"section": "b", "option": "x", "values": [2, 3], "no_extra_spaces": true}),
                Some(("x=1\nx=2\n", "x=3\nx=2\n")),
                "option changed",
            ),
            (
                file,
                json!({"section": "b", "option": "x", "values": [2, 3], "exclusive": false}),
                Some(("x=2\nbare\n", "x = 2\nbare\nx = 3\n")),
                "option added",
            ),
            (file, json!({"section": "b", "option": "x", "values": ["1", "2"], "ignore_spaces": true}), None, "OK"),
            (file, json!({"section": "b", "option": "bare", "allow_no_value": true}), None, "OK"),
            (
                file,
                json!({"section": "b", "option": "more", "allow_no_value": true}),
                Some(("bare\n", "bare\nmore\n")),
                "option added",
            ),
            (
                file,
                json!({"section": "c", "option": "x", "value": "1"}),
                Some(("bare\n", "bare\n[c]\nx = 1\n")),
                "section and option added",
            ),
            (
                file,
                json!({"section": "c", "allow_no_value": true}),
                Some(("bare\n", "bare\n[c]\n")),
                "only section added",
            ),
            (
                file,
                json!({"section": "b", "option": "x", "state": "absent"}),
                Some(("x=1\nx=2\n", "")),
                "option changed",
            ),
            (
                file,
                json!({"section": "b", "option": "x", "value": "2", "exclusive": false, "state": "absent"}),
                Some(("x=2\n", "")),
                "option changed",
            ),
            (file, json!({"section": "a", "option": "y", "state": "absent"}), None, "OK"),
            (
                file,
                json!({"section": "a", "state": "absent"}),
                Some(("[a]\nx = 1\n# y = 2\n\n; end of a\n", "")),
                "section removed",
            ),
            (file, json!({"section": "nowhere", "state": "absent"}), None, "OK"),
            (
                file,
                json!({"section": "b", "section_has_values": [{"option": "x", "value": "7"}], "option": "k", "value": "v"}),
                Some(("bare\n", "bare\n[b]\nx = 7\nk = v\n")),
                "section and option added",
            ),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut arguments: Value = arguments;
            arguments["path"] = json!(path);
            let outcome = apply_twice("ini_file", &arguments);
            let wanted = after.map_or(before.to_string(), |(from, to)| before.replacen(from, to, 1));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted, "{arguments}");
            assert_eq!(outcome.msg.as_deref(), Some(message), "{arguments}");
            assert_eq!(outcome.changed(), after.is_some(), "{arguments}");
        }
    }

    #[test]
    fn a_file_is_made_or_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep/f.ini");
        let refused = check_then_apply(
            "ini_file",
            &json!({"path": path, "section": "a", "option": "x", "value": 1, "create": false}),
        );
        assert_eq!((refused.status, refused.data["rc"].as_i64()), (Status::Failed, Some(257)));
        let refused = check_then_apply("ini_file", &json!({"path": path, "section": "a", "option": "x"}));
        assert_eq!(refused.status, Status::Failed);
        apply_twice("ini_file", &json!({"path": path, "section": "a", "option": "x", "value": 1, "mode": "0600"}));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\n[a]\nx = 1\n");
    }
}
