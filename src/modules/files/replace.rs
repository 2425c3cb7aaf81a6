//! `replace`: every match of a pattern in a file.

use super::common::{Step, begin, file_arguments};
use super::edit::{Edit, given_up};
use crate::machine::Machine;
use crate::modules::pattern::{Flags, Pattern, Template, characters};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.replace`
pub const REPLACE: Module = Module {
    name: "ansible.builtin.replace",
    aliases: &["replace", "ansible.legacy.replace"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Replace::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

file_arguments! {
    /// Replaces all that matches a pattern in a file. The result must not match again, or every run changes the file.
    pub struct Replace {
        /// The file.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: Text,
        /// Python's regular expression; `^` and `$` match at every line.
        pub regexp: Text,
        /// What takes its place, with groups as `\1` or `\g<name>`; nothing removes it.
        #[serde(default)]
        pub replace: Text,
        /// Only what comes after this pattern; `.` matches line ends here.
        pub after: Option<Text>,
        /// Only what comes before this pattern; `.` matches line ends here.
        pub before: Option<Text>,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// A command that must accept the new file before it goes live, `%s` in the place of its name.
        pub validate: Option<Text>,
        /// Encoding of the file: `utf-8`, or `latin-1`.
        pub encoding: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Replace = decode(arguments)?;
    begin(machine, context);
    let edit =
        Edit::open(machine, &arguments.path, arguments.common(), arguments.backup.0, arguments.validate.as_deref())?;
    let Some(before) = &edit.before else {
        return Err(ModuleError::with_rc(format!("Path {} does not exist !", edit.path.display()), 257));
    };
    let latin = match arguments.encoding.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "utf8" | "ascii") => false,
        Some("latin-1" | "latin1" | "iso-8859-1") => true,
        Some(other) => {
            return Err(ModuleError::argument(
                "encoding",
                format!("{other} is not supported; there are utf-8 and latin-1"),
            ));
        }
    };
    let text: Vec<char> = if latin {
        before.iter().map(|b| char::from(*b)).collect()
    } else {
        let text = std::str::from_utf8(before)
            .map_err(|e| ModuleError::Failed(format!("{} is no UTF-8: {e}", edit.path.display())))?;
        characters(text)
    };
    let compile = |name: &str, text: &str, flags| {
        Pattern::new(text, flags).map_err(|e| ModuleError::argument(name, e.to_string()))
    };
    let flags = Flags { multiline: true, ..Flags::default() };
    let pattern = compile("regexp", &arguments.regexp, flags)?;
    let template = Template::new(&characters(&arguments.replace), &pattern)
        .map_err(|e| ModuleError::argument("replace", e.to_string()))?;
    let given = |text: &Option<Text>| text.as_ref().map(|t| t.0.clone()).filter(|t| !t.is_empty());
    let section = match (given(&arguments.after), given(&arguments.before)) {
        (Some(after), Some(before)) => Some(format!("{after}(?P<subsection>.*?){before}")),
        (Some(after), None) => Some(format!("{after}(?P<subsection>.*)")),
        (None, Some(before)) => Some(format!("(?P<subsection>.*){before}")),
        (None, None) => None,
    };
    let (start, end) = match &section {
        None => (0, text.len()),
        Some(section) => {
            let finder = compile("after", section, Flags { dot_all: true, ..Flags::default() })?;
            let group = finder.group("subsection").unwrap_or_default();
            match finder.search(&text, 0).map_err(given_up)?.and_then(|found| found.span(group)) {
                Some(span) => span,
                None => {
                    let mut outcome = Outcome::ok();
                    outcome.msg =
                        Some(format!("Pattern for before/after params did not match the given file: {section}"));
                    return Ok(outcome.with("rc", 0));
                }
            }
        }
    };
    let part = text.get(start..end).unwrap_or_default();
    let (replaced, count) = pattern.replace_all(part, &template).map_err(given_up)?;
    if count == 0 || replaced == part {
        return Ok(edit.finish(machine, None, "", "backup_file")?.with("rc", 0));
    }
    let whole = text.iter().take(start).chain(&replaced).chain(text.iter().skip(end));
    let after = if latin {
        let bytes: Option<Vec<u8>> = whole.map(|c| u8::try_from(u32::from(*c)).ok()).collect();
        bytes.ok_or_else(|| ModuleError::argument("replace", "it has characters that latin-1 has not"))?
    } else {
        whole.collect::<String>().into_bytes()
    };
    Ok(edit.finish(machine, Some(after), &format!("{count} replacements made"), "backup_file")?.with("rc", 0))
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::check_then_apply;
    use serde_json::{Value, json};

    #[test]
    fn every_match_in_the_right_part() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        for (before, arguments, after, message) in [
            ("a old\nb old\n", json!({"regexp": "old$", "replace": "new"}), "a new\nb new\n", "2 replacements made"),
            (
                "x=1\ny=2\n",
                json!({"regexp": "^(\\w)=(\\d)", "replace": "\\2=\\g<1>"}),
                "1=x\n2=y\n",
                "2 replacements made",
            ),
            ("a\n#b\n#c\n", json!({"regexp": "^#.*\\n"}), "a\n", "2 replacements made"),
            (
                "[a]\nk=1\n[b]\nk=1\n",
                json!({"regexp": "^k=1", "replace": "k=2", "after": "\\[b\\]"}),
                "[a]\nk=1\n[b]\nk=2\n",
                "1 replacements made",
            ),
            (
                "[a]\nk=1\n[b]\nk=1\n",
                json!({"regexp": "^k=1", "replace": "k=2", "before": "\\[b\\]"}),
                "[a]\nk=2\n[b]\nk=1\n",
                "1 replacements made",
            ),
            (
                "[a]\nk=1\n[b]\nk=1\n[c]\nk=1\n",
                json!({"regexp": "^k=1", "replace": "k=2", "after": "\\[b\\]", "before": "\\[c\\]"}),
                "[a]\nk=1\n[b]\nk=2\n[c]\nk=1\n",
                "1 replacements made",
            ),
            ("é1\n", json!({"regexp": "(?<=é)\\d", "replace": "ü"}), "éü\n", "1 replacements made"),
            ("a\n", json!({"regexp": "b", "replace": "c"}), "a\n", ""),
            (
                "a\n",
                json!({"regexp": "a", "replace": "b", "after": "zzz"}),
                "a\n",
                "Pattern for before/after params did not match the given file: zzz(?P<subsection>.*)",
            ),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut arguments: Value = arguments;
            arguments["path"] = json!(path);
            let outcome = check_then_apply("replace", &arguments);
            assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.msg);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "{before:?} {arguments}");
            assert_eq!(outcome.msg.unwrap(), message, "{before:?} {arguments}");
        }
        for (arguments, part) in [
            (json!({"path": path, "regexp": "a("}), "regexp"),
            (json!({"path": path, "regexp": "a", "replace": "\\1"}), "replace"),
            (json!({"path": scratch.path().join("no"), "regexp": "a"}), "does not exist"),
            (json!({"path": path}), "regexp"),
        ] {
            let outcome = check_then_apply("replace", &arguments);
            assert_eq!(outcome.status, Status::Failed);
            assert!(outcome.msg.as_ref().unwrap().contains(part), "{:?}", outcome.msg);
        }
    }
}
