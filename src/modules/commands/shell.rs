//! `shell`: runs text in a shell.

use super::{command, run};
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.shell`
pub const SHELL: Module = Module {
    name: "ansible.builtin.shell",
    aliases: &["shell", "ansible.legacy.shell"],
    reach: Reach::World,
    free_form: FreeForm::Raw,
    arguments: Shell::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Runs text in a shell, by default `/bin/sh`.
    ///
    /// In a check it is not run. Where `creates` or `removes` say that it would be (a pattern in them does not), its task is
    /// changed, and only its output is unknown; without them the task is unknown, unless it says that it only reads
    /// (`changed_when: false` or `check_mode: false`), or `--probes` says otherwise.
    pub struct Shell {
        /// The text, as a plain string.
        #[serde(rename = "_raw_params")]
        pub raw: Option<Text>,
        /// The text.
        pub cmd: Option<Text>,
        /// Directory to run it in.
        pub chdir: Option<String>,
        /// A file or pattern: the text is not run when it exists.
        pub creates: Option<String>,
        /// A file or pattern: the text is not run when it does not exist.
        pub removes: Option<String>,
        /// Path of the shell.
        pub executable: Option<String>,
        /// Text for its standard input.
        pub stdin: Option<Text>,
        /// Add a line end to `stdin`.
        #[serde(default = "Flag::yes")]
        pub stdin_add_newline: Flag,
        /// Accepted for old playbooks; it has no effect.
        pub warn: Option<Flag>,
        /// Set by the engine for tasks that are declared to change nothing.
        #[serde(default, rename = "_probe")]
        pub probe: Flag,
        /// Set by the engine for tasks whose words can only read, under `--probes all`.
        #[serde(default, rename = "_reads")]
        pub reads: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Shell = decode(arguments)?;
    let text = match (arguments.raw, arguments.cmd) {
        (Some(_), Some(_)) => {
            return Err(ModuleError::argument("cmd", "the command is given twice, as a plain string too"));
        }
        (raw, cmd) => raw.or(cmd).filter(|t| !t.0.trim().is_empty()),
    };
    let Some(text) = text else {
        return Err(ModuleError::Failed("no command given".into()));
    };
    let shell = arguments.executable.unwrap_or_else(|| "/bin/sh".into());
    let wanted = run::Wanted {
        shown: Value::from(text.0.clone()),
        argv: vec![shell, "-c".into(), text.0],
        chdir: arguments.chdir,
        creates: arguments.creates,
        removes: arguments.removes,
        stdin: command::stdin(arguments.stdin, arguments.stdin_add_newline),
        strip_empty_ends: true,
        probe: arguments.probe.0,
        reads: arguments.reads.0,
        named: None,
    };
    run::run(&wanted, machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::NoController;
    use serde_json::json;

    #[test]
    fn text_is_given_to_the_shell_as_it_is() {
        let mut machine = Machine::new(Mode::Live);
        let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
        for (arguments, stdout) in [
            (json!({"_raw_params": "echo a | tr a b; x='q\"\\$'; printf %s \"$x\""}), "b\nq\"\\$"),
            (json!({"cmd": "[[ a == a* ]] && echo bash", "executable": "/bin/bash"}), "bash"),
            (json!({"cmd": "read x; echo got $x", "stdin": "it"}), "got it"),
        ] {
            let outcome = run(arguments.as_object().unwrap().clone(), &mut machine, &mut context).unwrap();
            assert_eq!(outcome.data["stdout"], stdout, "{arguments}");
            assert_eq!(outcome.data["cmd"], arguments.get("_raw_params").or(arguments.get("cmd")).unwrap().clone());
        }
    }
}
