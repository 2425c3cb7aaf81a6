//! `command`: runs a program without a shell.

use super::{run, words};
use crate::machine::Machine;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.command`
pub const COMMAND: Module = Module {
    name: "ansible.builtin.command",
    aliases: &["command", "ansible.legacy.command"],
    reach: Reach::World,
    free_form: FreeForm::Raw,
    arguments: Command::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Runs a program. No shell is involved, so `|`, `>` and `&` have no meaning.
    ///
    /// In a check it is not run. Where `creates` or `removes` say that it would be (a pattern in them does not), its task is
    /// changed, and only its output is unknown; without them the task is unknown, unless it says that it only reads
    /// (`changed_when: false` or `check_mode: false`), or `--probes` says otherwise.
    pub struct Command {
        /// The command line, as a plain string.
        #[serde(rename = "_raw_params")]
        pub raw: Option<Text>,
        /// The command line.
        pub cmd: Option<Text>,
        /// Program and arguments as a list.
        pub argv: Option<Vec<Text>>,
        /// Directory to run it in.
        pub chdir: Option<String>,
        /// A file or pattern: the command is not run when it exists.
        pub creates: Option<String>,
        /// A file or pattern: the command is not run when it does not exist.
        pub removes: Option<String>,
        /// Text for its standard input.
        pub stdin: Option<Text>,
        /// Add a line end to `stdin`.
        #[serde(default = "Flag::yes")]
        pub stdin_add_newline: Flag,
        /// Drop empty lines at the end of the output.
        #[serde(default = "Flag::yes")]
        pub strip_empty_ends: Flag,
        /// Replace `$NAME` and `~` in arguments.
        #[serde(default = "Flag::yes")]
        pub expand_argument_vars: Flag,
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
    let arguments: Command = decode(arguments)?;
    let line = match (arguments.raw, arguments.cmd) {
        (Some(_), Some(_)) => {
            return Err(ModuleError::argument("cmd", "the command is given twice, as a plain string too"));
        }
        (raw, cmd) => raw.or(cmd).filter(|t| !t.0.trim().is_empty()),
    };
    let argv = match (line, arguments.argv) {
        (Some(_), Some(_)) => return Err(ModuleError::Failed("only command or argv can be given, not both".into())),
        (Some(line), None) => words::split(&line.0).map_err(ModuleError::Failed)?,
        (None, Some(argv)) => argv.into_iter().map(|t| t.0).collect(),
        (None, None) => Vec::new(),
    };
    if argv.is_empty() {
        return Err(ModuleError::Failed("no command given".into()));
    }
    let shown = Value::from(argv.clone());
    let argv = match arguments.expand_argument_vars.0 {
        false => argv,
        true => argv
            .iter()
            .map(|word| {
                let variable = |name: &str| machine.environment.get(name).cloned().or_else(|| std::env::var(name).ok());
                words::expand(word, variable, |user| run::home(machine, user))
            })
            .collect(),
    };
    let wanted = run::Wanted {
        argv,
        shown,
        chdir: arguments.chdir,
        creates: arguments.creates,
        removes: arguments.removes,
        stdin: stdin(arguments.stdin, arguments.stdin_add_newline),
        strip_empty_ends: arguments.strip_empty_ends.0,
        probe: arguments.probe.0,
        reads: arguments.reads.0,
        named: None,
    };
    run::run(&wanted, machine)
}

/// Standard input as bytes.
pub(super) fn stdin(text: Option<Text>, newline: Flag) -> Option<Vec<u8>> {
    // Nothing to say is said without a newline, too.
    text.map(|t| if newline.0 && !t.0.is_empty() { format!("{}\n", t.0) } else { t.0 }.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::NoController;
    use serde_json::json;

    fn call(arguments: Value) -> Result<Outcome, ModuleError> {
        let mut machine = Machine::new(Mode::Live);
        machine.environment.insert("GREETING".into(), "hello there".into());
        let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
        run(arguments.as_object().unwrap().clone(), &mut machine, &mut context)
    }

    #[test]
    fn forms_of_a_command() {
        for (arguments, stdout) in [
            (json!({"_raw_params": "echo 'a  b' c"}), "a  b c"),
            (json!({"cmd": "echo $GREETING"}), "hello there"),
            (json!({"cmd": "echo $GREETING", "expand_argument_vars": false}), "$GREETING"),
            (json!({"argv": ["echo", "a;b", 7]}), "a;b 7"),
            (json!({"_raw_params": "cat", "stdin": "x"}), "x"),
            (json!({"_raw_params": "pwd", "chdir": "/"}), "/"),
            (json!({"_raw_params": "cat", "stdin": "x\n", "strip_empty_ends": "no", "stdin_add_newline": "no"}), "x\n"),
        ] {
            assert_eq!(call(arguments.clone()).unwrap().data["stdout"], stdout, "{arguments}");
        }
    }

    #[test]
    fn wrong_forms_are_refused() {
        for arguments in
            [json!({}), json!({"cmd": "a", "argv": ["b"]}), json!({"cmd": "echo 'x"}), json!({"cmd": "x", "bad": 1})]
        {
            assert!(call(arguments.clone()).is_err(), "{arguments}");
        }
    }
}
