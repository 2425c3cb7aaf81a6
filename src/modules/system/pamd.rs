//! `pamd`: rules of a service in the configuration of PAM.

use crate::machine::Machine;
use crate::modules::files::common::{Common, Step, begin};
use crate::modules::files::edit::Edit;
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.pamd`
pub const PAMD: Module = Module {
    name: "community.general.pamd",
    aliases: &["pamd"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Pamd::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What becomes of the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is changed as the `new_…` arguments and `module_arguments` say.
    #[default]
    Updated,
    /// A new rule stands before it.
    Before,
    /// A new rule stands behind it.
    After,
    /// It is gone.
    Absent,
    /// It has these arguments, too.
    ArgsPresent,
    /// It has none of these arguments.
    ArgsAbsent,
}

crate::arguments! {
    /// Edits rules of a service in `/etc/pam.d`. A rule is known by its type, control and module.
    ///
    /// A wrong rule locks everybody out: keep a session open, or let `backup` keep the old file. Unlike Ansible's it leaves
    /// the comments beside a new rule, and adds none of its own that says when it was here.
    pub struct Pamd {
        /// The service: a file's name in `path`.
        pub name: Text,
        /// The rule's type: `auth`, `account`, `password`, `session`, or one of them with `-` before it.
        #[serde(rename = "type")]
        pub kind: Text,
        /// The rule's control: `required`, `sufficient`, `[success=1 default=ignore]` …
        pub control: Text,
        /// The rule's module: `pam_unix.so`.
        pub module_path: Text,
        /// The type that it gets, or that of the new rule.
        pub new_type: Option<Text>,
        /// The control that it gets, or that of the new rule.
        pub new_control: Option<Text>,
        /// The module that it gets, or that of the new rule.
        pub new_module_path: Option<Text>,
        /// Arguments of the module.
        pub module_arguments: Option<TextList>,
        /// `updated`, `before`, `after`, `absent`, `args_present` or `args_absent`.
        #[serde(default)]
        pub state: State,
        /// The directory; `/etc/pam.d` when not given.
        pub path: Option<Text>,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
    }
}

const TYPES: [&str; 4] = ["account", "auth", "password", "session"];
const CONTROLS: [&str; 7] = ["required", "requisite", "sufficient", "optional", "include", "substack", "definitive"];

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Pamd = decode(arguments)?;
    begin(machine, context);
    for (name, value) in [("type", Some(&arguments.kind)), ("new_type", arguments.new_type.as_ref())] {
        if let Some(kind) = value.filter(|kind| !TYPES.contains(&kind.strip_prefix('-').unwrap_or(kind))) {
            let why = format!("`{}` is none of {}, each also with - before it", &**kind, TYPES.join(", "));
            return Err(ModuleError::argument(name, why));
        }
    }
    let missing = match arguments.state {
        State::ArgsPresent | State::ArgsAbsent if arguments.module_arguments.is_none() => "module_arguments",
        State::Before | State::After
            if arguments.new_control.is_none()
                || arguments.new_type.is_none()
                || arguments.new_module_path.is_none() =>
        {
            "new_control, new_type, new_module_path"
        }
        _ => "",
    };
    if !missing.is_empty() {
        let why = format!("state is {:?} but all of the following are missing: {missing}", arguments.state);
        return Err(ModuleError::Failed(why));
    }
    let directory = arguments.path.as_ref().map_or("/etc/pam.d", |path| &path.0);
    let file = format!("{}/{}", directory.trim_end_matches('/'), &*arguments.name);
    let mut edit = Edit::open(machine, &file, Common::default(), arguments.backup.0, None)?;
    edit.follow = true;
    let Some(before) = &edit.before else {
        return Err(ModuleError::Failed(format!("Unable to open/read PAM module file {file}: there is no such file")));
    };
    let text = String::from_utf8_lossy(before).into_owned();
    let mut lines: Vec<Line> = text.lines().map(Line::parse).collect();
    let changes = apply(&arguments, &mut lines)?;
    lines.iter().try_for_each(Line::valid)?;
    let after = (changes > 0).then(|| lines.iter().map(|line| format!("{}\n", line.text())).collect::<String>());
    let mut outcome = edit.finish(machine, after.map(String::into_bytes), "", "backupdest")?;
    outcome.msg = None;
    outcome.data.entry("backupdest").or_insert("".into());
    Ok(outcome.with("change_count", changes))
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// A comment, an empty line, or a file that is included.
    Text(String),
    Rule(Rule),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    kind: String,
    control: String,
    module: String,
    arguments: Vec<String>,
}

impl Line {
    fn parse(text: &str) -> Line {
        let start = text.trim_start();
        if start.is_empty() || start.starts_with('#') || start.starts_with("@include") {
            return Line::Text(text.into());
        }
        let (kind, rest) = start.split_once(char::is_whitespace).unwrap_or((start, ""));
        let rest = rest.trim_start();
        let (control, rest) = match rest.starts_with('[').then(|| rest.find(']')).flatten() {
            Some(end) => rest.split_at(end + 1),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let rest = rest.trim_start();
        let (module, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Line::Rule(Rule {
            kind: kind.into(),
            control: control_of(control),
            module: module.into(),
            arguments: arguments_of(std::iter::once(rest)),
        })
    }

    fn comment(&self) -> bool {
        matches!(self, Line::Text(text) if !text.trim_start().starts_with("@include"))
    }

    fn rule(&self) -> Option<&Rule> {
        match self {
            Line::Rule(rule) => Some(rule),
            Line::Text(_) => None,
        }
    }

    fn valid(&self) -> Step<()> {
        let Some(rule) = self.rule() else { return Ok(()) };
        let wrong = |what: &str, value: &str| {
            Err(ModuleError::Failed(format!("Rule {what}, {value}, is not valid in rule {}", rule.text())))
        };
        if !TYPES.contains(&rule.kind.strip_prefix('-').unwrap_or(&rule.kind)) {
            return wrong("type", &rule.kind);
        }
        let Some(several) = rule.control.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return if CONTROLS.contains(&rule.control.as_str()) { Ok(()) } else { wrong("control", &rule.control) };
        };
        for pair in several.split(' ') {
            let (value, action) = pair.split_once('=').unwrap_or((pair, ""));
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return wrong("control value", value);
            }
            let known = ["ignore", "bad", "die", "ok", "done", "reset"].contains(&action);
            if !known && action.parse::<u64>().is_err() {
                return wrong("control action", action);
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        match self {
            Line::Text(text) => text.clone(),
            Line::Rule(rule) => rule.text(),
        }
    }
}

impl Rule {
    fn text(&self) -> String {
        let head = format!("{:<11}{} {}", self.kind, self.control, self.module);
        if self.arguments.is_empty() { head } else { format!("{head} {}", self.arguments.join(" ")) }
    }

    fn is(&self, kind: &str, control: &str, module: &str) -> bool {
        (self.kind.as_str(), self.control.as_str(), self.module.as_str()) == (kind, control, module)
    }
}

fn control_of(text: &str) -> String {
    if !text.starts_with('[') {
        return text.into();
    }
    format!("[{}]", text.replace(" = ", "=").replace(['[', ']'], ""))
}

/// Words; what stands in brackets is one, up to the last bracket.
fn arguments_of<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words = Vec::new();
    for text in texts {
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = match rest.starts_with('[').then(|| rest.rfind(']')).flatten() {
                Some(last) => last + 1,
                None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
            };
            let (word, more) = rest.split_at(end);
            words.push(word.to_string());
            rest = more.trim_start();
        }
    }
    words
}

/// Carries out what is asked for; how many rules were changed.
fn apply(wanted: &Pamd, lines: &mut Vec<Line>) -> Step<usize> {
    let given: Option<Vec<String>> =
        wanted.module_arguments.as_ref().map(|list| arguments_of(list.0.iter().map(String::as_str)));
    let is_it =
        |line: &Line| line.rule().is_some_and(|rule| rule.is(&wanted.kind, &wanted.control, &wanted.module_path));
    let places: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| is_it(line)).map(|(place, _)| place).collect();
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
    let mut changes = 0;
    match wanted.state {
        State::Absent => {
            lines.retain(|line| !is_it(line));
            changes = places.len();
        }
        State::Before | State::After => {
            let new = Rule {
                kind: text(&wanted.new_type).unwrap_or_default(),
                control: control_of(&text(&wanted.new_control).unwrap_or_default()),
                module: text(&wanted.new_module_path).unwrap_or_default(),
                arguments: given.unwrap_or_default(),
            };
            for place in places.into_iter().rev() {
                let (next, at) = match wanted.state {
                    State::Before => (lines.iter().take(place).rev().find(|line| !line.comment()), place),
                    _ => (lines.iter().skip(place + 1).find(|line| !line.comment()), place + 1),
                };
                let there = next.and_then(Line::rule).is_some_and(|rule| rule.is(&new.kind, &new.control, &new.module));
                if !there {
                    lines.insert(at, Line::Rule(new.clone()));
                    changes += 1;
                }
            }
        }
        State::Updated | State::ArgsPresent | State::ArgsAbsent => {
            if wanted.state == State::ArgsPresent && given.iter().flatten().any(|word| word.starts_with('[')) {
                let why =
                    "Unable to process bracketed '[' complex arguments with 'args_present'. Please use 'updated'.";
                return Err(ModuleError::Failed(why.into()));
            }
            for place in places {
                let Some(Line::Rule(rule)) = lines.get_mut(place) else { continue };
                let before = rule.clone();
                match wanted.state {
                    State::Updated => {
                        rule.kind = text(&wanted.new_type).unwrap_or(rule.kind.clone());
                        rule.control = text(&wanted.new_control).map_or(rule.control.clone(), |new| control_of(&new));
                        rule.module = text(&wanted.new_module_path).unwrap_or(rule.module.clone());
                        rule.arguments = given.clone().unwrap_or(rule.arguments.clone());
                    }
                    State::ArgsPresent => given.iter().flatten().for_each(|word| add(&mut rule.arguments, word)),
                    _ => rule.arguments.retain(|word| !given.iter().flatten().any(|gone| gone == word)),
                }
                changes += usize::from(*rule != before);
            }
        }
    }
    Ok(changes)
}

/// Adds an argument, or gives one of its name another value.
fn add(arguments: &mut Vec<String>, word: &str) {
    if arguments.iter().any(|known| known == word) {
        return;
    }
    let name = |word: &str| word.split_once('=').map(|(name, _)| name.to_string());
    let same = name(word).and_then(|new| arguments.iter_mut().find(|known| name(known).as_ref() == Some(&new)));
    match same {
        Some(known) => *known = word.to_string(),
        None => arguments.push(word.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};

    const FILE: &str = "# sshd\nauth [success=1 default=ignore] pam_unix.so nullok\n# then\nauth requisite pam_deny.so\n\n@include common\n-session   optional  pam_systemd.so  a=[x y] b\n";

    fn task(path: &std::path::Path, rule: [&str; 3], more: Value) -> Value {
        let [kind, control, module] = rule;
        let mut task = json!({"name": "sshd", "path": path, "type": kind, "control": control, "module_path": module});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    }

    #[test]
    fn rules_are_edited() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("sshd");
        std::fs::write(&file, FILE).unwrap();
        let unix = ["auth", "[success=1 default=ignore]", "pam_unix.so"];
        let deny = ["auth", "requisite", "pam_deny.so"];
        let change = |rule, more: Value| assert!(apply_twice("pamd", &task(scratch.path(), rule, more)).changed());
        change(unix, json!({"state": "args_present", "module_arguments": ["rounds=5", "nullok"]}));
        change(unix, json!({"state": "args_present", "module_arguments": "rounds=6"}));
        change(unix, json!({"state": "args_absent", "module_arguments": "nullok"}));
        let new = json!({"new_type": "auth", "new_control": "required", "new_module_path": "pam_env.so"});
        let with = |state: &str| {
            let mut new = new.clone();
            new["state"] = json!(state);
            new
        };
        change(unix, with("before"));
        change(deny, with("after"));
        change(deny, json!({"new_control": "[default = die]"}));
        change(["-session", "optional", "pam_systemd.so"], json!({"state": "absent"}));
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "# sshd\nauth       required pam_env.so\nauth       [success=1 default=ignore] pam_unix.so rounds=6\n# then\n\
             auth       [default=die] pam_deny.so\nauth       required pam_env.so\n\n@include common\n"
        );
    }

    #[test]
    fn mistakes_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("sshd"), FILE).unwrap();
        let deny = ["auth", "requisite", "pam_deny.so"];
        for (rule, more) in [
            (["wrong", "requisite", "pam_deny.so"], json!({})),
            (deny, json!({"new_control": "sometimes"})),
            (deny, json!({"new_control": "[success=perhaps]"})),
            (deny, json!({"state": "before"})),
            (deny, json!({"state": "args_present"})),
            (deny, json!({"state": "args_present", "module_arguments": "[a=b c]"})),
            (deny, json!({"name": "nothing"})),
        ] {
            let outcome = check_then_apply("pamd", &task(scratch.path(), rule, more.clone()));
            assert_eq!(outcome.status, Status::Failed, "{more}");
        }
        assert!(
            !check_then_apply("pamd", &task(scratch.path(), ["auth", "x", "y"], json!({"state": "absent"}))).changed()
        );
        assert_eq!(std::fs::read_to_string(scratch.path().join("sshd")).unwrap(), FILE);
    }
}
