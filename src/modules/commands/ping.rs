//! `ping`: proves that the agent answers.

use crate::machine::Machine;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.ping`
pub const PING: Module = Module {
    name: "ansible.builtin.ping",
    aliases: &["ping", "ansible.legacy.ping"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Ping::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Answers `pong`: the host is reached, the login works and the agent runs. It changes nothing.
    pub struct Ping {
        /// What to answer instead of `pong`. `crash` makes the module fail on purpose.
        pub data: Option<String>,
    }
}

fn run(arguments: Map<String, Value>, _: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Ping = decode(arguments)?;
    match arguments.data.as_deref() {
        Some("crash") => Err(ModuleError::Failed("it was asked to crash".into())),
        answer => Ok(Outcome::ok().with("ping", answer.unwrap_or("pong"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::NoController;

    #[test]
    fn answers_and_changes_nothing() {
        let mut machine = Machine::new(Mode::Live);
        for (data, answer) in [(None, "pong"), (Some("hello"), "hello")] {
            let arguments = data.map(|d| ("data".to_string(), Value::from(d))).into_iter().collect();
            let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
            assert_eq!(run(arguments, &mut machine, &mut context).unwrap().data["ping"], answer);
        }
        assert!(machine.take_changes().is_empty());
    }
}
