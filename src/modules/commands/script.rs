//! `script`: runs a script of the controller on the host.

use super::{run, words};
use crate::machine::{Machine, Scratch};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Content, Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.script`
pub const SCRIPT: Module = Module {
    name: "ansible.builtin.script",
    aliases: &["script", "ansible.legacy.script"],
    reach: Reach::World,
    free_form: FreeForm::Raw,
    arguments: Script::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(action),
};

crate::arguments! {
    /// Sends a script of the controller to the host and runs it there.
    ///
    /// The program after `#!` in its first line runs it, or `executable`, else `/bin/sh`; no file system has to
    /// allow execution. In a check it is not run. Where `creates` or `removes` say that it would be (a pattern in them
    /// does not), its task is changed, and only its output is unknown; without them the task is unknown, unless it says
    /// that it only reads.
    pub struct Script {
        /// The script and its arguments, as a plain string.
        #[serde(rename = "_raw_params")]
        pub raw: Option<Text>,
        /// The script and its arguments.
        pub cmd: Option<Text>,
        /// Directory to run it in.
        pub chdir: Option<String>,
        /// A file or pattern: the script is not run when it exists.
        pub creates: Option<String>,
        /// A file or pattern: the script is not run when it does not exist.
        pub removes: Option<String>,
        /// The program that runs it.
        pub executable: Option<String>,
        /// Decrypt a script that is a vault.
        #[serde(default = "Flag::yes")]
        pub decrypt: Flag,
        /// Set by the controller: the script itself.
        #[serde(rename = "_content")]
        pub content: Option<Content>,
        /// Set by the engine for tasks that are declared to change nothing.
        #[serde(default, rename = "_probe")]
        pub probe: Flag,
    }
}

impl Script {
    /// The script's name and its arguments.
    fn line(&self) -> Result<Vec<String>, ModuleError> {
        let line = self.raw.as_ref().or(self.cmd.as_ref()).map_or("", |t| t.0.as_str());
        let words = words::split(line).map_err(ModuleError::Failed)?;
        if words.is_empty() {
            return Err(ModuleError::Failed("no script given".into()));
        }
        Ok(words)
    }
}

/// Finds the script and sends it along.
#[cfg(feature = "controller")]
fn action<'a>(
    host: &'a dyn crate::modules::ActionHost,
    mut arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::{ActionError, FileKind, Prepared};
    Box::pin(async move {
        let failed = |e: ModuleError| ActionError::Failed(e.to_string());
        let script: Script = decode(arguments.clone()).map_err(failed)?;
        let words = script.line().map_err(failed)?;
        let name = words.first().cloned().unwrap_or_default();
        let path = host.find_file(FileKind::Files, &name)?;
        let mut bytes = std::fs::read(&path)
            .map_err(|e| ActionError::Failed(format!("cannot read the script {}: {e}", path.display())))?;
        if script.decrypt.0 {
            bytes = host.unvault(&path, bytes)?;
        }
        let content = serde_json::to_value(host.offer(bytes))
            .map_err(|e| ActionError::Failed(format!("cannot send the script {}: {e}", path.display())))?;
        arguments.insert("_content".into(), content);
        Ok(Prepared::Send(arguments))
    })
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Script = decode(arguments)?;
    let words = arguments.line()?;
    let Some(content) = &arguments.content else {
        return Err(ModuleError::Failed("the script was not sent along".into()));
    };
    let name = words.first().and_then(|w| w.rsplit('/').next()).filter(|n| !n.is_empty()).unwrap_or("script");
    let mut wanted = run::Wanted {
        named: Some(name.to_string()),
        shown: Value::from(words.join(" ")),
        chdir: arguments.chdir.clone(),
        creates: arguments.creates.clone(),
        removes: arguments.removes.clone(),
        probe: arguments.probe.0,
        ..run::Wanted::default()
    };
    if let Some(why) = run::needless(&wanted, machine)? {
        return Ok(Outcome::skipped(why));
    }
    if machine.predicted() && !arguments.probe.0 {
        // Nothing is sent or written, so nobody knows yet which program will run it.
        return run::run(&run::Wanted { argv: words, ..wanted }, machine);
    }
    let bytes = bytes_of(content, context)?;
    let directory = Scratch::new("script")?;
    let path = directory.path().join(name);
    write_private(&path, &bytes)?;
    let path = path.to_string_lossy().into_owned();
    let mut argv = match &arguments.executable {
        Some(program) => words::split(program).map_err(|why| ModuleError::argument("executable", why))?,
        None => interpreter(&bytes).unwrap_or_else(|| vec!["/bin/sh".into()]),
    };
    argv.push(path);
    argv.extend(words.into_iter().skip(1));
    wanted.argv = argv;
    run::run(&wanted, machine)
}

pub(super) fn write_private(path: &std::path::Path, bytes: &[u8]) -> Result<(), ModuleError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| ModuleError::Failed(format!("cannot write the script to {}: {e}", path.display())))
}

pub(super) fn bytes_of(content: &Content, context: &mut Context<'_>) -> Result<Vec<u8>, ModuleError> {
    use base64::Engine;
    use std::io::Read;
    match content {
        Content::Text(text) => Ok(text.clone().into_bytes()),
        Content::Base64(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|e| ModuleError::Failed(format!("the script came in bad base64: {e}"))),
        blob => {
            let mut bytes = Vec::new();
            let mut reader = context
                .controller
                .open(blob)
                .map_err(|e| ModuleError::Failed(format!("the script could not be fetched: {e}")))?;
            reader
                .read_to_end(&mut bytes)
                .map_err(|e| ModuleError::Failed(format!("the script could not be fetched: {e}")))?;
            Ok(bytes)
        }
    }
}

/// The program of a `#!` line with its one argument, as the kernel reads it.
pub(super) fn interpreter(script: &[u8]) -> Option<Vec<String>> {
    let first = script.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first).into_owned();
    let rest = line.strip_prefix("#!").map(str::trim).filter(|r| !r.is_empty())?;
    let (program, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut argv = vec![program.to_string()];
    if !argument.trim().is_empty() {
        argv.push(argument.trim().to_string());
    }
    Some(argv)
}

#[cfg(test)]
mod tests {

    use crate::modules::Status;
    use crate::modules::testing::{apply, check};
    use serde_json::json;

    #[test]
    fn scripts_run_under_their_interpreters() {
        let script = "#!/bin/bash -e\necho \"$1-$BASH\"\nfalse\necho never\n";
        let outcome = apply("script", &json!({"_raw_params": "some/x.sh 'a b'", "_content": {"text": script}}));
        assert_eq!((outcome.status, outcome.data["stdout"].clone()), (Status::Failed, json!("a b-/bin/bash\n")));
        let outcome = apply("script", &json!({"cmd": "x", "_content": {"text": "echo $0"}}));
        let path = outcome.data["stdout"].as_str().unwrap().trim();
        assert!(path.ends_with("/x") && !std::path::Path::new(path).exists());
        let outcome = apply("script", &json!({"cmd": "x", "executable": "cat -n", "_content": {"text": "one"}}));
        assert_eq!(outcome.data["stdout"], "     1\tone");
    }

    #[test]
    fn a_check_does_not_run_it() {
        assert_eq!(check("script", &json!({"cmd": "x", "_content": {"text": "exit 1"}})).status, Status::Unknown);
        assert_eq!(
            check("script", &json!({"cmd": "x", "creates": "/", "_content": {"text": "exit 1"}})).status,
            Status::Skipped
        );
    }
}
