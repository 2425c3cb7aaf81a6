//! `expect`: runs a command that asks, and answers it.

use super::{clock, run, words};
use crate::machine::dialogue::Turn;
use crate::machine::{Command, Machine, MachineError};
use crate::modules::pattern::{Flags, Pattern, bytes_as_characters};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, Status, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// `ansible.builtin.expect`
pub const EXPECT: Module = Module {
    name: "ansible.builtin.expect",
    aliases: &["expect", "ansible.legacy.expect"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Expect::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Runs a program at a terminal and answers its questions.
    ///
    /// The host needs no pexpect. No shell is involved: write `/bin/bash -c "…"` for one. In a check it is not run and its
    /// task is unknown, unless `creates` or `removes` decide it.
    pub struct Expect {
        /// The command line.
        pub command: Text,
        /// Questions, as regular expressions, with their answers: a text for each time, or a list of texts for one time after
        /// the other.
        pub responses: Map<String, Value>,
        /// Directory to run it in.
        pub chdir: Option<Text>,
        /// A file: the command is not run when it exists.
        pub creates: Option<Text>,
        /// A file: the command is not run when it does not exist.
        pub removes: Option<Text>,
        /// Seconds that it may go without asking; `null` for no limit.
        #[serde(default = "Patience::usual")]
        pub timeout: Patience,
        /// Whether the output shows the answers.
        #[serde(default)]
        pub echo: Flag,
    }
}

/// Seconds, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Option<u64>);

impl Patience {
    fn usual() -> Patience {
        Patience(Some(30))
    }
}

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = Option::<Int>::deserialize(deserializer)?;
        Ok(Patience(seconds.map(|seconds| u64::try_from(seconds.0).unwrap_or(0))))
    }
}

/// A question and what is answered to it.
struct Question {
    written: String,
    pattern: Pattern,
    answers: Answers,
}

enum Answers {
    Always(String),
    Once(std::vec::IntoIter<String>),
}

impl Answers {
    fn next(&mut self) -> Option<String> {
        match self {
            Answers::Always(answer) => Some(answer.clone()),
            Answers::Once(answers) => answers.next(),
        }
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Expect = decode(arguments)?;
    machine.no_log = context.no_log;
    let mut questions = questions(&arguments.responses)?;
    let line = &arguments.command.0;
    if line.trim().is_empty() {
        return Err(ModuleError::with_rc("no command given", 256));
    }
    let argv = words::split(line).map_err(ModuleError::Failed)?;
    let path = |text: &Option<Text>| {
        text.as_ref().map(|text| words::expand(&text.0, |_| None, |user| run::home(machine, user)))
    };
    let (chdir, creates, removes) = (path(&arguments.chdir), path(&arguments.creates), path(&arguments.removes));
    if let Some(directory) = &chdir
        && !machine.stat(directory)?.is_some_and(|stat| stat.is_dir())
    {
        return Err(ModuleError::Failed(format!("cannot change into `{directory}`: no such directory")));
    }
    let place = |path: &str| match &chdir {
        Some(directory) => std::path::Path::new(directory).join(path),
        None => std::path::PathBuf::from(path),
    };
    for (path, wanted, state) in [(&creates, true, "exists"), (&removes, false, "does not exist")] {
        if let Some(path) = path
            && machine.exists(place(path))? == wanted
        {
            return Ok(done(line, format!("skipped, since {path} {state}"), Some(0)));
        }
    }
    let command = Command { argv, chdir, users: true, ..Command::default() };
    let silence = arguments.timeout.0.map(Duration::from_secs);
    let mut unanswered = None;
    let start = SystemTime::now();
    let dialogue = machine.converse(&command, silence, arguments.echo.0, &mut |said| {
        let characters = bytes_as_characters(said);
        let mut first: Option<(usize, usize, usize)> = None;
        for (number, question) in questions.iter().enumerate() {
            let found = question.pattern.search(&characters, 0).map_err(|e| MachineError::failed(e.to_string()))?;
            if let Some(found) = found.filter(|found| first.is_none_or(|(start, ..)| found.start() < start)) {
                first = Some((found.start(), found.end(), number));
            }
        }
        let Some((_, end, question)) = first.and_then(|(s, e, number)| Some((s, e, questions.get_mut(number)?))) else {
            return Ok(Turn::Wait);
        };
        match question.answers.next() {
            Some(answer) => Ok(Turn::Answer(end, format!("{}\n", answer.trim_end_matches('\n')).into_bytes())),
            None => {
                let output = String::from_utf8_lossy(said).into_owned();
                let written = &question.written;
                unanswered = Some(format!("No remaining responses for '{written}', output was '{output}'"));
                Ok(Turn::GiveUp)
            }
        }
    });
    let dialogue = match dialogue {
        Err(MachineError::MissingProgram { program, .. }) => {
            return Err(ModuleError::Failed(format!("The command was not found or was not executable: {program}.")));
        }
        other => other?,
    };
    let end = SystemTime::now();
    if let Some(why) = unanswered {
        // As in Ansible a dialogue that came to no end is a failure alone.
        machine.take_changes();
        return Ok(Outcome::failed(why));
    }
    let output = String::from_utf8_lossy(&dialogue.output).trim_end_matches(['\r', '\n']).to_string();
    let mut outcome = done(line, output, dialogue.rc)
        .with("start", clock::stamp(start))
        .with("end", clock::stamp(end))
        .with("delta", clock::span(end.duration_since(start).unwrap_or_default()));
    match dialogue.rc {
        Some(0) => {}
        Some(_) => {
            outcome.status = Status::Failed;
            outcome.msg = Some("non-zero return code".into());
        }
        None => {
            outcome.status = Status::Failed;
            outcome.msg = Some("command exceeded timeout".into());
        }
    }
    Ok(outcome)
}

fn done(line: &str, stdout: String, rc: Option<i32>) -> Outcome {
    Outcome::ok().with("cmd", line).with("stdout_lines", run::lines(&stdout)).with("stdout", stdout).with("rc", rc)
}

fn questions(responses: &Map<String, Value>) -> Result<Vec<Question>, ModuleError> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => serde_json::from_value::<Text>(other.clone()).map_or_else(|_| other.to_string(), |text| text.0),
    };
    let mut questions = Vec::new();
    for (written, answer) in responses {
        let flags = Flags { dot_all: true, ..Flags::default() };
        let pattern =
            Pattern::of_bytes(written, flags).map_err(|e| ModuleError::argument("responses", e.to_string()))?;
        let answers = match answer {
            Value::Array(several) => Answers::Once(several.iter().map(text).collect::<Vec<_>>().into_iter()),
            one => Answers::Always(text(one)),
        };
        questions.push(Question { written: written.clone(), pattern, answers });
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, check};
    use serde_json::json;

    #[test]
    fn questions_are_answered_at_a_terminal() {
        let ask = r#"/bin/sh -c 'test -t 0 && printf "Name? " && read a && printf "Again? " > /dev/tty && read b && echo "got $a $b"'"#;
        let found = apply("expect", &json!({"command": ask, "responses": {"Name": "me", "(?i)again\\?": "you"}}));
        assert_eq!(found.status, Status::Ok, "{found:?}");
        assert_eq!(found.data["stdout"], "Name? Again? got me you");
        assert_eq!((found.data["rc"].as_i64(), found.changes.len()), (Some(0), 1));
        let ask = r#"/bin/sh -c 'for i in 1 2 3; do printf "Q: "; read x; echo $x; done; exit 4'"#;
        let listed = apply("expect", &json!({"command": ask, "responses": {"Q": ["a", "b", 3]}}));
        assert_eq!((listed.data["rc"].as_i64(), listed.status), (Some(4), Status::Failed));
        assert_eq!(listed.data["stdout_lines"], json!(["Q: a", "Q: b", "Q: 3"]));
        let short = apply("expect", &json!({"command": ask, "responses": {"Q": ["a"]}}));
        assert!(short.msg.unwrap().contains("No remaining responses for 'Q'"));
        let echoed = apply("expect", &json!({"command": "/bin/sh -c 'read x'", "responses": {"$^": ""}, "timeout": 1}));
        assert_eq!(echoed.msg.as_deref(), Some("command exceeded timeout"));
    }

    #[test]
    fn files_decide_and_mistakes_are_told() {
        let there = json!({"command": "false", "responses": {}, "creates": "/etc"});
        assert_eq!(apply("expect", &there).data["stdout"], "skipped, since /etc exists");
        let there = json!({"command": "false", "responses": {}, "removes": "etcx", "chdir": "/"});
        assert_eq!(apply("expect", &there).data["stdout"], "skipped, since etcx does not exist");
        assert_eq!(apply("expect", &json!({"command": " ", "responses": {}})).data["rc"], 256);
        let missing = apply("expect", &json!({"command": "no-such-program", "responses": {}}));
        assert!(missing.msg.unwrap().contains("not found"));
        assert_eq!(check("expect", &json!({"command": "true", "responses": {}})).status, Status::Unknown);
        assert!(
            apply("expect", &json!({"command": "true", "responses": {"(": "x"}})).msg.unwrap().contains("responses")
        );
    }
}
