//! What modules share that speak to a program of the host: how its absence and its failure are told.

use super::commands::{lines, words};
use super::{ModuleError, Outcome};
use crate::machine::{Command, Machine, MachineError, Output};
use serde_json::Value;

/// Where Ansible looks for programs beside PATH, as it says when it finds none.
const PLACES: &str = "/sbin:/usr/sbin:/usr/local/sbin";

/// The full path of a program that the module cannot do without. `package` is what to install.
///
/// In a check the program may be one that an earlier task would install; then nothing can be asked, and the answer is
/// unknown unless the module foresees it.
pub fn required(machine: &Machine, program: &str, package: &str) -> Result<String, ModuleError> {
    if let Some(path) = machine.program(program) {
        return Ok(path);
    }
    if machine.foresees_program(program) {
        let why = format!("`{program}` would be installed by an earlier task, and cannot be asked yet");
        return Err(MachineError::unknown(why).into());
    }
    Err(ModuleError::Failed(format!(
        "Failed to find required executable \"{program}\" in PATH and {PLACES}: install the package {package} first"
    )))
}

/// A command's words as Ansible returns them in `cmd`.
pub fn shown(command: &Command) -> String {
    command.argv.iter().map(|word| words::quote(word)).collect::<Vec<_>>().join(" ")
}

/// A program failed: its words, its status and its output, as Ansible's modules return them.
pub fn failed(command: &Command, output: &Output) -> ModuleError {
    let (stdout, stderr) = (output.stdout_text(), output.stderr_text());
    let said = if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() };
    let program = command.argv.first().map_or("", String::as_str);
    let msg = match said {
        "" => format!("{program} ended with status {}", output.rc),
        said => said.to_string(),
    };
    ModuleError::Ended(Box::new(
        Outcome::failed(msg)
            .with("rc", output.rc)
            .with("cmd", shown(command))
            .with("stdout_lines", lines(&stdout))
            .with("stderr_lines", lines(&stderr))
            .with("stdout", stdout)
            .with("stderr", stderr),
    ))
}

/// Asks a program that only reads; a failure is the task's.
pub fn ask(machine: &Machine, command: &Command) -> Result<String, ModuleError> {
    let output = machine.probe(command)?;
    match output.success() {
        true => Ok(output.stdout_text()),
        false => Err(failed(command, &output)),
    }
}

/// Arguments of which at most one may be given, as Ansible says it.
pub fn exclusive(given: &[(&str, bool)]) -> Result<(), ModuleError> {
    if given.iter().filter(|(_, given)| *given).count() < 2 {
        return Ok(());
    }
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    Err(ModuleError::Failed(format!("parameters are mutually exclusive: {}", names.join("|"))))
}

/// The value of an argument that has a few.
pub fn choice(name: &str, value: &str, choices: &[&str]) -> Result<(), ModuleError> {
    match choices.contains(&value) {
        true => Ok(()),
        false => Err(ModuleError::argument(
            name,
            format!("value of {name} must be one of: {}, got: {value}", choices.join(", ")),
        )),
    }
}

/// Text or null.
pub fn or_null(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn what_is_not_there_and_what_fails_is_told() {
        let machine = Machine::new(Mode::Live);
        assert!(required(&machine, "sh", "dash").unwrap().ends_with("/sh"));
        let error = required(&machine, "no-such-program", "nothing").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("the package nothing"), "{error}");

        let command = Command::new(["sh", "-c", "echo out; echo 'went wrong' >&2; exit 3"]);
        let ModuleError::Ended(outcome) = ask(&machine, &command).unwrap_err() else { panic!() };
        assert_eq!(outcome.msg.as_deref(), Some("went wrong"));
        assert_eq!((&outcome.data["rc"], &outcome.data["stdout"]), (&Value::from(3), &Value::from("out\n")));
        assert_eq!(outcome.data["cmd"], "sh -c 'echo out; echo '\"'\"'went wrong'\"'\"' >&2; exit 3'");
        let silent = failed(&Command::new(["false"]), &Output { rc: 1, ..Output::default() });
        assert_eq!(silent.to_string(), "false ended with status 1");
    }

    #[test]
    fn arguments() {
        assert!(exclusive(&[("a", true), ("b", false)]).is_ok());
        let error = exclusive(&[("a", true), ("b", true), ("c", false)]).unwrap_err().to_string();
        assert_eq!(error, "parameters are mutually exclusive: a|b|c");
        assert!(choice("x", "a", &["a", "b"]).is_ok() && choice("x", "c", &["a", "b"]).is_err());
    }
}
