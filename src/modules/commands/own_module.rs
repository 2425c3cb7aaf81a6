//! What a module out of `library/` is run by: its file is sent to the host, told its arguments as Ansible tells them, and
//! what it prints is the result.

use super::own_style::OwnStyle;
use super::script::{bytes_of, interpreter, write_private};
use super::words::quote;
use crate::machine::{Change, Command, Domain, Machine, MachineError, Output, Scratch, Subject, Undo};
use crate::modules::{Content, Context, FreeForm, Module, ModuleError, Outcome, Reach, Status};
use serde_json::{Map, Value};

/// `deploy.builtin.own_module`
pub const OWN_MODULE: Module = Module {
    name: "deploy.builtin.own_module",
    aliases: &[],
    reach: Reach::World,
    free_form: FreeForm::Raw,
    arguments: OwnModule::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(action),
};

crate::arguments! {
    /// Runs a module of your own, out of `library/`.
    ///
    /// It is not written in a task: a task whose module is a file in `library/` beside the playbook or in a role, or in a
    /// folder of `ANSIBLE_LIBRARY`, is run by it. How such a module gets its arguments and what it prints is Ansible's,
    /// see docs/own-modules.md. In a check a module is run if it looks at `_ansible_check_mode`; otherwise the task is
    /// unknown.
    pub struct OwnModule {
        /// Set by the loader: the file.
        pub _own_module: Option<String>,
    }
}

/// What of a request is the program's own: everything but the names that are put in here.
const FILE: &str = "_own_module";
const CONTENT: &str = "_own_content";
const INTERPRETER: &str = "_own_interpreter";
const VERBOSITY: &str = "_own_verbosity";

/// Reads the file and sends it along.
#[cfg(feature = "controller")]
fn action<'a>(
    host: &'a dyn crate::modules::ActionHost,
    mut arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::{ActionError, Prepared};
    Box::pin(async move {
        let Some(path) = arguments.get(FILE).and_then(Value::as_str).map(std::path::PathBuf::from) else {
            let why = "it is run for tasks whose module is a file in library/, and is not written in a task itself";
            return Err(ActionError::Failed(why.into()));
        };
        let bytes = std::fs::read(&path)
            .map_err(|e| ActionError::Failed(format!("cannot read the module {}: {e}", path.display())))?;
        // `ansible_ruby_interpreter` stands for whatever ruby the first line names.
        if OwnStyle::of(&bytes) != OwnStyle::Binary
            && let Some(program) = interpreter(&bytes).and_then(|argv| named(&argv))
            && let Some(Value::String(other)) = host.variable(&format!("ansible_{program}_interpreter"))?
        {
            arguments.insert(INTERPRETER.into(), other.into());
        }
        if let Some(verbosity) = host.variable("ansible_verbosity")? {
            arguments.insert(VERBOSITY.into(), verbosity);
        }
        let content = serde_json::to_value(host.offer(bytes))
            .map_err(|e| ActionError::Failed(format!("cannot send the module {}: {e}", path.display())))?;
        arguments.insert(CONTENT.into(), content);
        Ok(Prepared::Send(arguments))
    })
}

/// The name of an interpreter: `python` for `/usr/bin/env python3.11`.
#[cfg(feature = "controller")]
fn named(argv: &[String]) -> Option<String> {
    let base = |word: &String| word.rsplit('/').next().map(str::to_owned);
    let first = argv.first().and_then(base)?;
    let program = if first == "env" { argv.get(1).and_then(base)? } else { first };
    Some(program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned())
}

fn run(
    mut arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let mut taken = |name: &str| arguments.remove(name);
    let file = taken(FILE).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let content = taken(CONTENT).and_then(|value| serde_json::from_value::<Content>(value).ok());
    let (other, verbosity) = (taken(INTERPRETER), taken(VERBOSITY));
    let Some(content) = content else {
        return Err(ModuleError::Failed("the module was not sent along".into()));
    };
    let bytes = bytes_of(&content, context)?;
    let name = file.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or(name).to_owned();
    if machine.predicted() && !OwnStyle::reads_check_mode(&bytes) {
        let why = format!("the module `{stem}` does not look at `_ansible_check_mode`, so a check does not run it");
        return Ok(Outcome::unknown(why));
    }
    let style = OwnStyle::of(&bytes);
    let mut argv = match (style, interpreter(&bytes)) {
        (OwnStyle::Binary, _) => Vec::new(),
        (OwnStyle::AnsiblePython | OwnStyle::PowerShell, _) => {
            return Err(ModuleError::Failed(format!("`{stem}` is a module for Ansible's own library")));
        }
        (_, None) => {
            return Err(ModuleError::Failed(format!("module ({stem}) is missing interpreter line")));
        }
        (_, Some(argv)) => argv,
    };
    if let (Some(Value::String(other)), Some(first)) = (other, argv.first_mut()) {
        // In place of env as well as of the program that it would find.
        *first = other;
        argv.truncate(1);
    }
    let directory = Scratch::new("module")?;
    let program = directory.path().join(name);
    write_private(&program, &bytes)?;
    told(&mut arguments, &stem, machine, context, verbosity);
    let text = match style {
        OwnStyle::OldStyle => words(&arguments),
        _ => Value::Object(arguments).to_string(),
    };
    // Not a name that a module has.
    let path = directory.path().join(".args.json");
    write_private(&path, text.as_bytes())?;
    argv.extend([program.to_string_lossy().into_owned(), path.to_string_lossy().into_owned()]);
    let shown = argv.first().cloned().unwrap_or_default();
    let command = Command { argv, users: true, ..Command::default() };
    let output = match machine.exec_judged(&stem, &command) {
        Ok(output) => output,
        Err(MachineError::MissingProgram { .. }) if style != OwnStyle::Binary => {
            let why = format!(
                "The module interpreter '{shown}' was not found. Consider overriding the configured \
                               interpreter path for this host. See stdout/stderr for the returned output."
            );
            return Ok(Outcome::failed(why).with("rc", 127).with("module_stdout", "").with("module_stderr", ""));
        }
        Err(other) => return Err(other.into()),
    };
    Ok(result(&stem, &output, machine))
}

/// What every module is told beside its arguments.
fn told(
    arguments: &mut Map<String, Value>,
    name: &str,
    machine: &Machine,
    context: &Context<'_>,
    verbosity: Option<Value>,
) {
    let own = [
        ("_ansible_check_mode", Value::from(machine.predicted())),
        ("_ansible_no_log", Value::from(context.no_log)),
        ("_ansible_diff", Value::from(context.diff)),
        ("_ansible_debug", Value::from(false)),
        ("_ansible_verbosity", verbosity.unwrap_or_else(|| Value::from(0))),
        ("_ansible_version", Value::from("2.19.0")),
        ("_ansible_module_name", Value::from(name)),
        ("_ansible_syslog_facility", Value::from("LOG_USER")),
        ("_ansible_socket", Value::Null),
        ("_ansible_shell_executable", Value::from("/bin/sh")),
        ("_ansible_keep_remote_files", Value::from(false)),
        ("_ansible_tmpdir", Value::Null),
        ("_ansible_remote_tmp", Value::from("~/.ansible/tmp")),
    ];
    arguments.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
}

/// `key=value` words as a shell can read them. Values are as Python prints them.
fn words(arguments: &Map<String, Value>) -> String {
    let words = arguments.iter().map(|(key, value)| format!("{key}={}", quote(&printed(value))));
    words.collect::<Vec<_>>().join(" ")
}

fn printed(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => inside(other),
    }
}

/// The same inside a list or dictionary, where texts are in quotes.
fn inside(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{text}\""),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
        Value::Array(items) => format!("[{}]", items.iter().map(inside).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{}: {}", inside(&key.as_str().into()), inside(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => printed(other),
    }
}

/// What the program printed: one JSON object, perhaps with lines of another kind before it.
fn result(name: &str, output: &Output, machine: &mut Machine) -> Outcome {
    let stdout = output.stdout_text();
    let Some((mut data, junk)) = object(&stdout) else {
        return Outcome::failed("Module result deserialization failed. See stdout/stderr for the returned output.")
            .with("module_stdout", stdout)
            .with("module_stderr", output.stderr_text())
            .with("rc", output.rc);
    };
    let mut outcome = Outcome::ok();
    if junk {
        outcome.warnings.push("Module invocation had junk after the JSON data".into());
    }
    let truth = |value: Option<Value>| value.as_ref().is_some_and(is_true);
    let nonzero = match data.get("rc") {
        Some(Value::Number(rc)) => rc.as_i64() != Some(0),
        Some(Value::String(rc)) => rc != "0",
        _ => false,
    };
    let failed = match data.contains_key("failed") {
        true => truth(data.remove("failed")),
        false => nonzero,
    };
    if truth(data.remove("skipped")) {
        outcome.status = Status::Skipped;
    }
    if failed {
        outcome.status = Status::Failed;
        outcome.msg = Some(match data.get("msg").and_then(Value::as_str) {
            Some(msg) => msg.to_owned(),
            None => "non-zero return code".to_owned(),
        });
        data.remove("msg");
    }
    if truth(data.remove("changed")) {
        let what =
            if machine.predicted() { "says that it would change something" } else { "says that it changed something" };
        machine.adopt(Change::effect(Subject::new(Domain::Command, name), what, Undo::None));
    }
    match data.remove("warnings") {
        Some(Value::Array(items)) => outcome.warnings.extend(items.iter().map(printed)),
        Some(Value::String(text)) => outcome.warnings.push(text),
        _ => {}
    }
    for said in data.remove("deprecations").and_then(|value| value.as_array().cloned()).unwrap_or_default() {
        let text = said.get("msg").unwrap_or(&said);
        outcome.warnings.push(format!("deprecated: {}", printed(text)));
    }
    if let Some(Value::Object(facts)) = data.get("ansible_facts").cloned() {
        outcome.facts = facts;
    }
    // Names of the machinery are nobody's results.
    data.retain(|key, _| !key.starts_with("_ansible"));
    for stream in ["stdout", "stderr"] {
        if let (Some(Value::String(text)), None) = (data.get(stream), data.get(&format!("{stream}_lines"))) {
            let lines = super::lines(text);
            data.insert(format!("{stream}_lines"), lines.into());
        }
    }
    outcome.data.extend(data);
    outcome
}

/// The object from the first line that begins with `{` to the last line that ends with `}`, and whether more came behind.
fn object(text: &str) -> Option<(Map<String, Value>, bool)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('{') {
            break;
        }
        start += line.len();
    }
    let rest = text.get(start..)?;
    let end = rest.rfind('}')? + 1;
    let (json, behind) = rest.split_at_checked(end)?;
    match serde_json::from_str(json) {
        Ok(Value::Object(map)) => Some((map, !behind.trim().is_empty())),
        _ => None,
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && !matches!(text.to_ascii_lowercase().as_str(), "false" | "no"),
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{apply, check};
    use serde_json::json;

    fn request(script: &str, arguments: Value) -> Value {
        let mut all = arguments;
        all["_own_module"] = "library/mine.sh".into();
        all["_own_content"] = json!({"text": script});
        all
    }

    const ECHO: &str = "#!/bin/sh\n# WANT_JSON\nprintf '{\"changed\": false, \"args\": '; cat \"$1\"; echo '}'\n";

    #[test]
    fn json_arguments_come_in_a_file() {
        let outcome = apply("deploy.builtin.own_module", &request(ECHO, json!({"a": [1, "x"]})));
        assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
        assert_eq!(outcome.data["args"]["a"], json!([1, "x"]));
        assert_eq!(outcome.data["args"]["_ansible_check_mode"], json!(false));
        assert!(outcome.data["args"].get("_own_module").is_none());
    }

    #[test]
    fn a_module_may_have_the_name_of_the_arguments() {
        let mut named = request(ECHO, json!({"a": 1}));
        named["_own_module"] = "library/args".into();
        assert_eq!(apply("deploy.builtin.own_module", &named).data["args"]["a"], json!(1));
    }

    #[test]
    fn old_scripts_read_words() {
        let script = "#!/bin/sh\n. \"$1\"\necho \"{\\\"changed\\\": true, \\\"said\\\": \\\"$name/$flag\\\"}\"\n";
        let outcome = apply("deploy.builtin.own_module", &request(script, json!({"name": "it's", "flag": true})));
        assert_eq!(outcome.data["said"], json!("it's/True"));
        assert!(outcome.changed());
    }

    #[test]
    fn what_is_no_json_is_a_failure_with_the_output() {
        let outcome = apply("deploy.builtin.own_module", &request("#!/bin/sh\necho hello; exit 3\n", json!({})));
        assert_eq!((outcome.status, outcome.data["rc"].clone()), (Status::Failed, json!(3)));
        assert_eq!(outcome.data["module_stdout"], json!("hello\n"));
        let outcome = apply("deploy.builtin.own_module", &request("#!/no/such/program\n", json!({})));
        assert!(outcome.msg.unwrap().contains("'/no/such/program' was not found"));
        let outcome = apply("deploy.builtin.own_module", &request("echo\n", json!({})));
        assert!(outcome.msg.unwrap().contains("missing interpreter line"));
    }

    #[test]
    fn a_check_runs_what_looks_at_check_mode_and_nothing_else() {
        assert_eq!(check("deploy.builtin.own_module", &request(ECHO, json!({}))).status, Status::Unknown);
        let script = "#!/bin/sh\n# WANT_JSON\ncase $(cat $1) in *'\"_ansible_check_mode\":true'*) \
                      echo '{\"changed\": true}';; *) echo '{\"changed\": false}';; esac\n";
        let outcome = check("deploy.builtin.own_module", &request(script, json!({})));
        assert!(outcome.status == Status::Ok && outcome.changed(), "{outcome:?}");
    }

    #[test]
    fn failures_facts_and_warnings() {
        let script = |text: &str| format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\n");
        let of = |text: &str| apply("deploy.builtin.own_module", &request(&script(text), json!({})));
        assert_eq!(of(r#"{"failed": true, "msg": "no"}"#).msg.as_deref(), Some("no"));
        assert_eq!(of(r#"{"rc": 1}"#).status, Status::Failed);
        assert_eq!(of(r#"{"rc": 1, "failed": false}"#).status, Status::Ok);
        assert_eq!(of(r#"{"skipped": true}"#).status, Status::Skipped);
        let outcome =
            of("a banner\n{\"ansible_facts\": {\"x\": 1},\n \"warnings\": [\"w\"], \"stdout\": \"a\\nb\"}\nmore");
        assert_eq!(outcome.facts["x"], json!(1));
        assert_eq!(outcome.warnings.len(), 2);
        assert_eq!(outcome.data["stdout_lines"], json!(["a", "b"]));
    }

    #[test]
    fn values_in_words_are_as_python_prints_them() {
        let map = json!({"l": ["a", 1, true, null], "d": {"k": "it's"}});
        let expected = r#"l='['"'"'a'"'"', 1, True, None]' d='{'"'"'k'"'"': "it'"'"'s"}'"#;
        assert_eq!(words(map.as_object().unwrap()), expected);
    }
}
