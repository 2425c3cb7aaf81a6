//! What the command modules have in common: `creates` and `removes`, running, and the return values.

use super::{clock, words};
use crate::machine::files::Foreseen;
use crate::machine::{Command, Machine, MachineError, Output};
use crate::modules::{ModuleError, Outcome, Status};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is to be run, understood.
#[derive(Default)]
pub struct Wanted {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What is shown as `cmd`.
    pub shown: Value,
    /// Working directory.
    pub chdir: Option<String>,
    /// Not run when this exists (a glob pattern is allowed).
    pub creates: Option<String>,
    /// Not run when this does not exist (a glob pattern is allowed).
    pub removes: Option<String>,
    /// What it is called in changes, where its program says nothing.
    pub named: Option<String>,
    /// Standard input.
    pub stdin: Option<Vec<u8>>,
    /// Drop line ends at the end of the output.
    pub strip_empty_ends: bool,
    /// Declared to change nothing: it is run in a check too.
    pub probe: bool,
    /// It was not declared, and its words say that it can only read: it is run in a check too, and counts as run.
    pub reads: bool,
}

/// Runs it, or says why not.
pub fn run(wanted: &Wanted, machine: &mut Machine) -> Result<Outcome, ModuleError> {
    let chdir = wanted.chdir.as_deref().map(|d| words::expand(d, |_| None, |user| home(machine, user)));
    if let Some(outcome) = unneeded(wanted, chdir.as_deref(), machine)? {
        return Ok(outcome);
    }
    let command = Command {
        argv: wanted.argv.clone(),
        chdir,
        stdin: wanted.stdin.clone(),
        users: true,
        named: wanted.named.clone(),
        ..Command::default()
    };
    if machine.predicted() && decided(wanted) && !wanted.probe && !wanted.reads {
        if let Some(directory) = &command.chdir
            && nowhere(wanted, &command, machine)
        {
            if machine.foresees_commands() {
                return Err(MachineError::unknown(format!("a command before it may make {directory}")).into());
            }
            let why = format!("Unable to change directory before execution: {directory} is no directory");
            return Ok(not_started(why).with("rc", Value::Null).with("cmd", wanted.shown.clone()));
        }
        machine.foresee_command(&command);
        foresee_paths(wanted, command.chdir.as_deref(), machine)?;
        return Ok(would_run(wanted));
    }
    let start = SystemTime::now();
    let result = match machine.predicted() && wanted.probe {
        true => machine.probe(&command),
        false if machine.predicted() && wanted.reads => machine.exec_read(&command),
        false => machine.exec(&command),
    };
    let end = SystemTime::now();
    match result {
        Ok(output) => {
            if !output.success() && machine.predicted() && machine.foresees_anything() {
                return Err(MachineError::unknown(format!(
                    "this read-only command ended with status {} on the host as it is, but earlier tasks of the \
                     check would have changed the host",
                    output.rc
                ))
                .into());
            }
            if wanted.reads && machine.predicted() && machine.foresees_anything() {
                return Err(MachineError::unknown(
                    "this command reads the host as it is, and earlier tasks of the check would have changed it",
                )
                .into());
            }
            Ok(finish(wanted, &output, start, end))
        }
        Err(MachineError::MissingProgram { program, .. }) if machine.follows_foreseen() => Err(MachineError::unknown(
            format!("the host has no `{program}` yet, and earlier tasks of the check would change the host"),
        )
        .into()),
        Err(MachineError::MissingProgram { program, .. }) => {
            let why = format!("Error executing command: no such file or directory: '{program}'");
            Ok(not_started(why).with("rc", 2).with("cmd", in_words(wanted)))
        }
        Err(MachineError::NotStarted { program, .. }) if machine.follows_foreseen() => Err(MachineError::unknown(
            format!("`{program}` cannot be started yet, and earlier tasks of the check would change the host"),
        )
        .into()),
        Err(MachineError::NotStarted { source, .. }) => {
            let why = format!("Error executing command: {source}");
            Ok(not_started(why).with("rc", source.raw_os_error()).with("cmd", in_words(wanted)))
        }
        Err(MachineError::NoDirectory { directory, .. }) if machine.follows_foreseen() => {
            let why =
                format!("`{directory}` cannot be entered yet, and earlier tasks of the check would change the host");
            Err(MachineError::unknown(why).into())
        }
        Err(other @ MachineError::NoDirectory { .. }) if !machine.predicted() && wanted.chdir.is_some() => {
            let why = format!("Unable to change directory before execution: {other}");
            Ok(not_started(why).with("rc", Value::Null).with("cmd", wanted.shown.clone()))
        }
        Err(other) => Err(other.into()),
    }
}

/// Whether a path says that it would run. A pattern does not: what it matches behind the command cannot be marked.
fn decided(wanted: &Wanted) -> bool {
    let mut paths = [&wanted.creates, &wanted.removes].into_iter().flatten().peekable();
    paths.peek().is_some() && paths.all(|path| !path.contains(['*', '?', '[']))
}

/// In a check: nobody knows what is behind the command at the paths that it creates or removes, nor in directories above
/// them that are not there yet.
fn foresee_paths(wanted: &Wanted, chdir: Option<&str>, machine: &mut Machine) -> Result<(), ModuleError> {
    for path in [&wanted.creates, &wanted.removes].into_iter().flatten() {
        let mut path = place(path, chdir, machine);
        while let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty())
            && machine.lstat(above)?.is_none()
        {
            path = above.to_path_buf();
        }
        let why = format!("what becomes of {} is known when the command has been run", path.display());
        machine.foresee_file(&path, Foreseen::Unknown(why))?;
    }
    Ok(())
}

/// In a check: `creates` or `removes` say that it would run; what it would say, nobody knows.
fn would_run(wanted: &Wanted) -> Outcome {
    let why = "Command would have run if not in check mode".to_string();
    let mut outcome = Outcome { msg: Some(why), ..Outcome::ok() }.with("cmd", wanted.shown.clone());
    outcome.unknown_fields = OUTPUT.iter().map(|name| (*name).to_string()).collect();
    outcome
}

/// What only the command itself says.
const OUTPUT: [&str; 8] = ["rc", "stdout", "stdout_lines", "stderr", "stderr_lines", "start", "end", "delta"];

/// The command as a shell would read it.
fn in_words(wanted: &Wanted) -> String {
    wanted.argv.iter().map(|word| words::quote(word)).collect::<Vec<_>>().join(" ")
}

/// The outcome of a command that could not be started.
fn not_started(why: String) -> Outcome {
    Outcome { status: Status::Failed, msg: Some(why), ..Outcome::default() }
        .with("stdout", "")
        .with("stderr", "")
        .with("stdout_lines", Vec::<Value>::new())
        .with("stderr_lines", Vec::<Value>::new())
}

/// Whether a command was to be run in a directory that is not there.
fn nowhere(wanted: &Wanted, command: &Command, machine: &Machine) -> bool {
    let directory = command.chdir.as_ref().filter(|_| wanted.chdir.is_some());
    directory.is_some_and(|path| !machine.stat(path).ok().flatten().is_some_and(|stat| stat.is_dir()))
}

/// The outcome of a command that `creates` or `removes` makes needless.
fn unneeded(wanted: &Wanted, chdir: Option<&str>, machine: &Machine) -> Result<Option<Outcome>, ModuleError> {
    let done = |why: String, short: String| {
        Outcome { msg: Some(why), ..Outcome::ok() }
            .with("rc", 0)
            .with("cmd", wanted.shown.clone())
            .with("stdout", short.clone())
            .with("stdout_lines", vec![Value::from(short)])
            .with("stderr", "")
            .with("stderr_lines", Vec::<Value>::new())
    };
    let did = if machine.predicted() { "Would" } else { "Did" };
    if let Some(pattern) = &wanted.creates
        && any_exists(pattern, chdir, machine)?
    {
        let why = format!("{did} not run command since '{pattern}' exists");
        return Ok(Some(done(why, format!("skipped, since {pattern} exists"))));
    }
    if let Some(pattern) = &wanted.removes
        && !any_exists(pattern, chdir, machine)?
    {
        let why = format!("{did} not run command since '{pattern}' does not exist");
        return Ok(Some(done(why, format!("skipped, since {pattern} does not exist"))));
    }
    Ok(None)
}

/// Why `creates` or `removes` make a script needless, in Ansible's words; nothing when it is to be run.
pub fn needless(wanted: &Wanted, machine: &Machine) -> Result<Option<String>, ModuleError> {
    let chdir = wanted.chdir.as_deref().map(|d| words::expand(d, |_| None, |user| home(machine, user)));
    let exists = |pattern: &str| any_exists(pattern, chdir.as_deref(), machine);
    if let Some(pattern) = &wanted.creates
        && exists(pattern)?
    {
        return Ok(Some(format!("{pattern} exists, matching creates option")));
    }
    match &wanted.removes {
        Some(pattern) if !exists(pattern)? => Ok(Some(format!("{pattern} does not exist, matching removes option"))),
        _ => Ok(None),
    }
}

fn finish(wanted: &Wanted, output: &Output, start: SystemTime, end: SystemTime) -> Outcome {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if wanted.strip_empty_ends { text.trim_end_matches(['\r', '\n']).to_string() } else { text }
    };
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let mut outcome = Outcome::ok();
    if !output.success() {
        outcome.status = Status::Failed;
        outcome.msg = Some("non-zero return code".into());
    } else {
        // Ansible returns an empty one with a success.
        outcome = outcome.with("msg", "");
    }
    outcome
        .with("rc", output.rc)
        .with("cmd", wanted.shown.clone())
        .with("stdout_lines", lines(&stdout))
        .with("stderr_lines", lines(&stderr))
        .with("stdout", stdout)
        .with("stderr", stderr)
        .with("start", clock::stamp(start))
        .with("end", clock::stamp(end))
        .with("delta", clock::span(end.duration_since(start).unwrap_or_default()))
}

/// Lines as Python's `splitlines` cuts them, for the line ends that programs use.
pub fn lines(text: &str) -> Vec<Value> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<Value> = text.split('\n').map(Value::from).collect();
    if text.ends_with('\n') || text.is_empty() {
        lines.pop();
    }
    lines
}

/// The home directory of a user, or of the one this runs as.
pub fn home(machine: &Machine, user: Option<&str>) -> Option<String> {
    match user {
        Some(name) => machine.user(name).ok()?.map(|u| u.home),
        None => match machine.environment.get("HOME").cloned().or_else(|| std::env::var("HOME").ok()) {
            Some(home) if !home.is_empty() => Some(home),
            _ => machine.user_by_id(rustix::process::geteuid().as_raw()).map(|u| u.home),
        },
    }
}

/// Whether anything matches a pattern of `creates` or `removes`.
fn any_exists(pattern: &str, chdir: Option<&str>, machine: &Machine) -> Result<bool, ModuleError> {
    Ok(!glob(machine, &place(pattern, chdir, machine))?.is_empty())
}

/// Where a path of `creates` or `removes` is: relative ones lie where the command runs.
fn place(pattern: &str, chdir: Option<&str>, machine: &Machine) -> PathBuf {
    let expanded = words::expand(pattern, |_| None, |user| home(machine, user));
    match chdir {
        Some(chdir) => Path::new(chdir).join(&expanded),
        None => PathBuf::from(&expanded),
    }
}

/// What matches a shell pattern of paths, as Python's `glob` finds it.
pub(in crate::modules) fn glob(machine: &Machine, path: &Path) -> Result<Vec<PathBuf>, ModuleError> {
    if !path.to_string_lossy().contains(['*', '?', '[']) {
        return Ok(machine.lstat(path)?.map(|_| path.to_path_buf()).into_iter().collect());
    }
    let mut found = vec![if path.is_absolute() { PathBuf::from("/") } else { PathBuf::from(".") }];
    for component in path.components() {
        let std::path::Component::Normal(name) = component else {
            if component == std::path::Component::ParentDir {
                found.iter_mut().for_each(|p| p.push(".."));
            }
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            let mut next = Vec::new();
            for path in found.into_iter().map(|p| p.join(&*name)) {
                if machine.lstat(&path)?.is_some() {
                    next.push(path);
                }
            }
            found = next;
            continue;
        }
        let Some(matcher) = glob_pattern(&name) else {
            return Ok(Vec::new());
        };
        let mut next = Vec::new();
        for directory in &found {
            if !machine.stat(directory)?.is_some_and(|s| s.is_dir()) || !machine.may_access(directory, 4)? {
                continue;
            }
            for entry in machine.list_directory(directory)? {
                let entry = entry.to_string_lossy();
                if (!entry.starts_with('.') || name.starts_with('.')) && matcher.is_match(&entry) {
                    next.push(directory.join(&*entry));
                }
            }
        }
        found = next;
    }
    Ok(found)
}

/// A shell pattern of one path component as a regular expression.
pub(in crate::modules) fn glob_pattern(pattern: &str) -> Option<regex_lite::Regex> {
    let mut text = String::from("^");
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' if characters.clone().any(|c| c == ']') => {
                text.push('[');
                if characters.next_if_eq(&'!').is_some() {
                    text.push('^');
                }
                for c in characters.by_ref() {
                    match c {
                        ']' => break,
                        '\\' | '[' | '^' => text.extend(['\\', c]),
                        c => text.push(c),
                    }
                }
                text.push(']');
            }
            c => text.push_str(&regex_lite::escape(&c.to_string())),
        }
    }
    text.push('$');
    regex_lite::Regex::new(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use serde_json::json;

    fn wanted(argv: &[&str]) -> Wanted {
        Wanted { argv: argv.iter().map(|a| a.to_string()).collect(), strip_empty_ends: true, ..Wanted::default() }
    }

    #[test]
    fn return_values_are_ansibles() {
        let mut machine = Machine::new(Mode::Live);
        let outcome = run(&wanted(&["sh", "-c", "printf 'a\\nb\\n\\n'; echo e >&2; exit 3"]), &mut machine).unwrap();
        assert_eq!(outcome.status, Status::Failed);
        assert_eq!(outcome.msg.as_deref(), Some("non-zero return code"));
        assert_eq!((outcome.data["rc"].clone(), outcome.data["stdout"].clone()), (json!(3), json!("a\nb")));
        assert_eq!(outcome.data["stdout_lines"], json!(["a", "b"]));
        assert_eq!(outcome.data["stderr_lines"], json!(["e"]));
        assert!(outcome.data["delta"].as_str().unwrap().starts_with("0:00:0"));
        assert_eq!(machine.take_changes().len(), 1);
        let missing = run(&wanted(&["no-such-program-here"]), &mut machine).unwrap();
        assert_eq!((missing.status, missing.data["rc"].clone()), (Status::Failed, json!(2)));
    }

    #[test]
    fn a_program_that_the_check_would_install_is_not_missing() {
        for (foreseen, fails) in [(false, true), (true, false)] {
            let mut carried_out = Machine::new(Mode::Live);
            carried_out.behind_foreseen = foreseen;
            match run(&wanted(&["no-such-program-here"]), &mut carried_out) {
                Ok(outcome) => assert!(fails && outcome.status == Status::Failed),
                Err(error) => {
                    assert!(!fails && error.to_string().contains("has no `no-such-program-here` yet"), "{error}")
                }
            }
        }
    }

    #[test]
    fn a_check_says_what_would_run_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path).to_string_lossy().into_owned();
        // (creates, chdir), what the task is, and the path about which nothing is known behind it.
        for (creates, chdir, told, hidden) in [
            (at("new"), None, Some(Status::Ok), Some(at("new"))),
            (at("deep/down/new"), None, Some(Status::Ok), Some(at("deep"))),
            ("new".to_string(), Some(at("")), Some(Status::Ok), Some(at("new"))),
            (at("new-*"), None, None, None),
            ("new".to_string(), Some(at("nowhere")), Some(Status::Failed), None),
        ] {
            let mut machine = Machine::new(Mode::Predicted);
            let task = Wanted { creates: Some(creates.clone()), chdir, ..wanted(&["touch", "x"]) };
            match (run(&task, &mut machine), told) {
                (Ok(outcome), Some(told)) => {
                    assert_eq!(outcome.status, told, "{creates}");
                    assert_eq!(outcome.unknown_fields.is_empty(), told == Status::Failed, "{creates}");
                    assert_eq!(machine.take_changes().len(), usize::from(told == Status::Ok), "{creates}");
                }
                (Err(error), None) => assert!(error.to_string().contains("not run in a check"), "{error}"),
                (found, _) => panic!("{creates}: {:?}", found.map(|outcome| outcome.status)),
            }
            if let Some(hidden) = hidden {
                assert!(machine.lstat(&hidden).is_err(), "{hidden} is taken for known");
                assert!(!Path::new(&hidden).exists());
            }
        }
    }

    #[test]
    fn creates_and_removes_take_patterns() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("made.txt"), "").unwrap();
        let inside = Some(directory.path().to_string_lossy().into_owned());
        for (creates, removes, runs) in [
            (Some("made.txt"), None, false),
            (Some("made.*"), None, false),
            (Some("[!m]*.txt"), None, true),
            (Some("other"), None, true),
            (None, Some("made.txt"), true),
            (None, Some("mad?.txt"), true),
            (None, Some("other*"), false),
        ] {
            let mut machine = Machine::new(Mode::Live);
            let mut wanted = wanted(&["true"]);
            wanted.chdir = inside.clone();
            wanted.creates = creates.map(str::to_string);
            wanted.removes = removes.map(str::to_string);
            let outcome = run(&wanted, &mut machine).unwrap();
            assert_eq!(outcome.status, Status::Ok);
            assert_eq!(!machine.take_changes().is_empty(), runs, "{creates:?} {removes:?}");
        }
    }

    #[test]
    fn a_check_runs_declared_probes_only() {
        let mut machine = Machine::new(Mode::Predicted);
        let error = run(&wanted(&["true"]), &mut machine).unwrap_err();
        assert_eq!(Outcome::from(error).status, Status::Unknown);
        let probe = Wanted { probe: true, ..wanted(&["sh", "-c", "exit 4"]) };
        assert_eq!(run(&probe, &mut machine).unwrap().data["rc"], 4);
        // The host would have changed by then: a failure says nothing.
        let unit =
            crate::machine::units::Unit { name: "x.service".into(), load: "loaded".into(), ..Default::default() };
        machine.set_unit_enabled(&unit, true, &Default::default()).unwrap();
        machine.take_changes();
        assert_eq!(Outcome::from(run(&probe, &mut machine).unwrap_err()).status, Status::Unknown);
        assert!(machine.take_changes().is_empty());
    }

    #[test]
    fn lines_are_cut_as_python_cuts_them() {
        for (text, expected) in
            [("", vec![]), ("a", vec!["a"]), ("a\n\nb\n", vec!["a", "", "b"]), ("a\r\nb", vec!["a", "b"])]
        {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }
}
