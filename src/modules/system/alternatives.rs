//! `alternatives`: which of several programs a common name means.

use super::alternatives_group::{Alternative, Group, Subcommand};
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, MachineError, Subject};
use crate::modules::files::common::Step;
use crate::modules::programs::{failed, required};
use crate::modules::scalars::{Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.alternatives`
pub const ALTERNATIVES: Module = Module {
    name: "community.general.alternatives",
    aliases: &["alternatives"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Alternatives::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is wanted of the alternative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is known.
    Present,
    /// It is known, and the name means it.
    #[default]
    Selected,
    /// It is known, and the name means the one of the highest priority.
    Auto,
    /// It is not known.
    Absent,
}

crate::arguments! {
    /// Says which program a name means that several provide, by `update-alternatives`.
    pub struct Alternatives {
        /// The name: `editor`.
        pub name: Text,
        /// The program that it means: an absolute path.
        pub path: Option<Text>,
        /// A family of programs instead, on hosts of Red Hat's family.
        pub family: Option<Text>,
        /// The link that leads to it; needed for a name that the host does not know.
        pub link: Option<Text>,
        /// Its priority; of a new one 50.
        pub priority: Option<Int>,
        /// `present`, `selected`, `auto` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Links that follow: each with `name`, `link` and `path`.
        #[serde(alias = "slaves")]
        pub subcommands: Option<Vec<Subcommand>>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Alternatives = decode(arguments)?;
    if arguments.path.is_none() && arguments.family.is_none() {
        return Err(ModuleError::Failed("one of the following is required: path, family".into()));
    }
    let program = required(machine, "update-alternatives", "that provides update-alternatives")?;
    let name = arguments.name.0.as_str();
    let about = Setting::new(Subject::new(Domain::Setting, format!("alternatives of {name}")), "choice");
    let group = match machine.foreseen_setting(&about)? {
        Some(text) => serde_json::from_str(&text).map_err(|e| MachineError::failed(format!("the overlay: {e}")))?,
        None => display(machine, &program, name)?,
    };
    machine.observe_setting(&about, &group.shown());
    let mut task = Task { arguments: &arguments, program, about, group, messages: Vec::new() };
    match arguments.state {
        State::Absent => task.remove(machine)?,
        _ => task.bring(machine)?,
    }
    Ok(Outcome { msg: Some(task.messages.join(" ")), ..Outcome::ok() })
}

fn display(machine: &Machine, program: &str, name: &str) -> Step<Group> {
    let environment = vec![("LC_ALL".to_string(), "C".to_string())];
    let command = Command { environment, ..Command::new([program, "--display", name]) };
    let output = machine.probe(&command)?;
    // It fails for a name that it does not know.
    Ok(if output.success() { Group::parse(name, &output.stdout_text()) } else { Group::default() })
}

/// One task, and what the name means so far.
struct Task<'a> {
    arguments: &'a Alternatives,
    program: String,
    about: Setting,
    group: Group,
    messages: Vec<String>,
}

impl Task<'_> {
    /// Has the program do one thing, after which the group would be another.
    fn change(&mut self, machine: &mut Machine, words: &[&str], after: Group, message: String) -> Step<()> {
        let argv = std::iter::once(self.program.as_str()).chain(words.iter().copied());
        let environment = vec![("LC_ALL".to_string(), "C".to_string())];
        let command = Command { environment, ..Command::new(argv) };
        let side = |group: &Group| match group.shown() {
            text if text.is_empty() => Facet::Absent,
            text => Facet::Text(text),
        };
        let kept = serde_json::to_string(&after).map_err(|e| MachineError::failed(format!("the overlay: {e}")))?;
        let sides = (side(&self.group), side(&after));
        if let Some(output) = machine.change_setting(&self.about, sides, &kept, std::slice::from_ref(&command))?
            && !output.success()
        {
            return Err(failed(&command, &output));
        }
        self.group = after;
        self.messages.push(message);
        Ok(())
    }

    fn bring(&mut self, machine: &mut Machine) -> Step<()> {
        let (arguments, name) = (self.arguments, self.arguments.name.0.as_str());
        let path = arguments.path.as_ref().map(|path| path.0.as_str());
        // What it meant before the task; making an alternative known may change it.
        let (current, mode) = (self.group.current.clone(), self.group.manual);
        let family = current.as_ref().and_then(|path| self.group.find(path)).and_then(|found| found.family.clone());
        if let Some(path) = path
            && self.differs(path)
        {
            self.install(machine, path)?;
        }
        let same_path = path.is_some() && current.as_deref() == path;
        let same_family = family.is_some() && family.as_deref() == arguments.family.as_ref().map(|family| &*family.0);
        if arguments.state == State::Selected
            && !same_path
            && !same_family
            && let Some(choice) = path.or(arguments.family.as_deref())
        {
            let of_family = |one: &Alternative| one.family.as_deref() == Some(choice);
            if self.group.find(choice).is_none() && !self.group.alternatives.iter().any(of_family) {
                let why =
                    format!("`{choice}` is no alternative of `{name}`: give its path, and its link for a new name");
                return Err(ModuleError::Failed(why));
            }
            let mut after = self.group.clone();
            after.select(choice);
            let message = format!("Set alternative '{choice}' for '{name}'.");
            self.change(machine, &["--set", name, choice], after, message)?;
        }
        if arguments.state == State::Auto && mode {
            let mut after = self.group.clone();
            after.choose_best();
            let message = format!("Set alternative to auto for '{name}'.");
            self.change(machine, &["--auto", name], after, message)?;
        }
        Ok(())
    }

    /// Whether an alternative is not known as it should be.
    fn differs(&self, path: &str) -> bool {
        let Some(known) = self.group.find(path) else { return true };
        // Red Hat's program does not tell where a follower's link is.
        let same = |one: &Subcommand, other: &Subcommand| {
            let told = !one.link.is_empty() && !other.link.is_empty();
            one.name == other.name && one.path == other.path && (!told || one.link == other.link)
        };
        let other = |wanted: &Vec<Subcommand>| {
            wanted.iter().any(|one| !known.subcommands.iter().any(|other| same(one, other)))
                || known.subcommands.iter().any(|one| !wanted.iter().any(|other| same(one, other)))
        };
        self.arguments.priority.is_some_and(|priority| priority.0 != known.priority)
            || self.arguments.subcommands.as_ref().is_some_and(other)
    }

    fn install(&mut self, machine: &mut Machine, path: &str) -> Step<()> {
        if !machine.exists(path)? {
            return Err(ModuleError::Failed(format!("Specified path {path} does not exist")));
        }
        let name = self.arguments.name.0.as_str();
        let link = self.arguments.link.as_ref().map(|link| link.0.clone()).or(self.group.link.clone());
        let link = link.filter(|link| !link.is_empty()).ok_or_else(|| {
            let why = "Needed to install the alternative, but unable to do so as we are missing the link";
            ModuleError::Failed(why.into())
        })?;
        let known = self.group.find(path).cloned();
        let priority = self.arguments.priority.map(|priority| priority.0);
        let priority = priority.or(known.as_ref().map(|known| known.priority)).unwrap_or(50);
        let family = self.arguments.family.as_ref().map(|family| family.0.clone());
        let subcommands = self.arguments.subcommands.clone();
        let number = priority.to_string();
        let mut words = vec!["--install", link.as_str(), name, path, number.as_str()];
        words.extend(family.iter().flat_map(|family| ["--family", family.as_str()]));
        // Those that it has stay only when they are said again; Ansible says those that the task names.
        for one in subcommands.iter().flatten() {
            words.extend(["--slave", &*one.link.0, &*one.name.0, &*one.path.0]);
        }
        let mut after = self.group.clone();
        after.link = Some(link.clone());
        let (family, subcommands) = (family.clone(), subcommands.clone().unwrap_or_default());
        after.add(Alternative { path: path.to_string(), priority, family, subcommands });
        let message = format!("Install alternative '{path}' for '{name}'.");
        self.change(machine, &words, after, message)
    }

    fn remove(&mut self, machine: &mut Machine) -> Step<()> {
        let Some(path) = self.arguments.path.as_ref().map(|path| path.0.as_str()) else { return Ok(()) };
        if self.group.find(path).is_none() {
            return Ok(());
        }
        let name = self.arguments.name.0.as_str();
        let mut after = self.group.clone();
        after.remove(path);
        let message = format!("Remove alternative '{path}' from '{name}'.");
        self.change(machine, &["--remove", name, path], after, message)
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::{Machine, Mode};
    use crate::modules::testing::{TestController, run_on};
    use crate::modules::{Outcome, Status};
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn run(directory: &Path, mode: Mode, arguments: &Value) -> (Outcome, Vec<String>) {
        let (program, log) = (directory.join("update-alternatives"), directory.join("log"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n'--display pager') printf '%s\\n' 'pager - auto mode' '  link best version is /bin/more' \
             '  link currently points to /bin/more' '  link pager is /usr/bin/pager' '/bin/more - priority 50' '/bin/cat - priority 5';;\n\
             --display*) exit 2;;\n*) echo \"$*\" >> {};;\nesac\n",
            log.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut machine = Machine::new(mode);
        machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", directory.display()));
        let outcome = run_on(&mut machine, &mut TestController::default(), "alternatives", arguments);
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        (outcome, told.lines().map(str::to_string).collect())
    }

    #[test]
    fn what_the_program_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for (arguments, told) in [
            (json!({"name": "pager", "path": "/bin/more"}), &[][..]),
            (json!({"name": "pager", "path": "/bin/cat"}), &["--set pager /bin/cat"]),
            (
                json!({"name": "pager", "path": "/bin/cat", "priority": 60, "state": "present"}),
                &["--install /usr/bin/pager pager /bin/cat 60"],
            ),
            (
                json!({"name": "pager", "path": "/bin/sh"}),
                &["--install /usr/bin/pager pager /bin/sh 50", "--set pager /bin/sh"],
            ),
            (
                json!({"name": "new", "path": "/bin/sh", "link": "/usr/bin/new", "state": "auto", "subcommands":
                [{"name": "n", "link": "/l", "path": "/p"}]}),
                &["--install /usr/bin/new new /bin/sh 50 --slave /l n /p"],
            ),
            (json!({"name": "pager", "path": "/bin/cat", "state": "absent"}), &["--remove pager /bin/cat"]),
            (json!({"name": "pager", "path": "/bin/dog", "state": "absent"}), &[]),
        ] {
            for mode in [Mode::Predicted, Mode::Live] {
                let (outcome, said) = run(directory.path(), mode, &arguments);
                assert_eq!(
                    (outcome.status, outcome.changes.len()),
                    (Status::Ok, told.len()),
                    "{arguments}: {:?}",
                    outcome.msg
                );
                let expected: &[&str] = if mode == Mode::Live { told } else { &[] };
                assert_eq!(said, expected, "{arguments}");
            }
        }
        for (arguments, expected) in [
            (json!({"name": "pager"}), "one of the following"),
            (json!({"name": "pager", "path": "/no/such"}), "does not exist"),
            (json!({"name": "new", "path": "/bin/sh"}), "missing the link"),
        ] {
            for mode in [Mode::Predicted, Mode::Live] {
                let (outcome, _) = run(directory.path(), mode, &arguments);
                assert!(
                    outcome.msg.as_deref().unwrap_or_default().contains(expected),
                    "{arguments}: {:?}",
                    outcome.msg
                );
            }
        }
    }
}
