//! Helpers for tests of modules: run one, and prove that its check says what its run does.

use super::{Content, Context, Controller, Outcome, Status, find};
use crate::machine::{Change, ChangeKind, Facet, Machine, Mode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};

/// A controller that has the contents that a test gives it, and keeps what it is sent.
#[derive(Default)]
pub struct TestController {
    /// Contents by their SHA-256.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// What was sent, by name.
    pub received: BTreeMap<String, Vec<u8>>,
    /// How often contents were asked for.
    pub opened: usize,
}

impl Controller for TestController {
    fn open(&mut self, content: &Content) -> std::io::Result<Box<dyn Read + '_>> {
        let Content::Blob { sha256, .. } = content else {
            return Err(std::io::Error::other("inline contents are not asked for"));
        };
        self.opened += 1;
        let bytes = self.blobs.get(sha256).ok_or_else(|| std::io::Error::other("no such contents"))?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }

    fn send(&mut self, name: &str, contents: &mut dyn Read) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes)?;
        self.received.insert(name.to_string(), bytes);
        Ok(())
    }

    fn progress(&mut self, _: &str, _: Option<u64>, _: Option<u64>) {}
}

/// The fields of a JSON object.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Runs the host half of a module, the way the agent does.
pub fn run_on(machine: &mut Machine, controller: &mut dyn Controller, module: &str, arguments: &Value) -> Outcome {
    let module = find(module).unwrap_or_else(|| panic!("there is no module {module}"));
    let run = module.run.expect("the module has a host half");
    let mut context = Context { diff: true, no_log: false, controller };
    let mut outcome = run(object(arguments.clone()), machine, &mut context).unwrap_or_else(Outcome::from);
    outcome.changes = machine.take_changes();
    outcome
}

/// Runs the host half of a module on this host, for real.
pub fn apply(module: &str, arguments: &Value) -> Outcome {
    run_on(&mut Machine::new(Mode::Live), &mut TestController::default(), module, arguments)
}

/// Runs the host half of a module in a check that knows nothing yet.
pub fn check(module: &str, arguments: &Value) -> Outcome {
    run_on(&mut Machine::new(Mode::Predicted), &mut TestController::default(), module, arguments)
}

/// Checks, then applies, on the same state of the host: status, changes, warnings and return values must be what
/// the check said, except for those that it named as unknown. Answers the real outcome.
pub fn check_then_apply(module: &str, arguments: &Value) -> Outcome {
    let mut controller = TestController::default();
    check_then_apply_with(&mut controller, module, arguments)
}

/// As [`check_then_apply`], with contents that the controller has.
pub fn check_then_apply_with(controller: &mut TestController, module: &str, arguments: &Value) -> Outcome {
    let predicted = run_on(&mut Machine::new(Mode::Predicted), controller, module, arguments);
    let real = run_on(&mut Machine::new(Mode::Live), controller, module, arguments);
    assert_foretold(&predicted, &real, &format!("{module} {arguments}"));
    real
}

/// Applies twice: the second time nothing must change. Answers the first outcome.
pub fn apply_twice(module: &str, arguments: &Value) -> Outcome {
    let first = check_then_apply(module, arguments);
    assert_ne!(first.status, Status::Failed, "{module} {arguments}: {:?}", first.msg);
    let second = check_then_apply(module, arguments);
    assert_eq!(second.status, first.status, "the second run of {module} {arguments}: {:?}", second.msg);
    assert_eq!(second.changes, [], "the second run of {module} {arguments} changed something");
    first
}

/// A check's outcome must be the real one, but for what it said it cannot know.
pub fn assert_foretold(predicted: &Outcome, real: &Outcome, what: &str) {
    assert_eq!(predicted.status, real.status, "status of {what}: check {:?}, run {:?}", predicted.msg, real.msg);
    assert_eq!(predicted.msg, real.msg, "message of {what}");
    let (expected, found) = (shown(&predicted.changes), shown(&real.changes));
    assert_eq!(expected.len(), found.len(), "changes of {what}:\ncheck {expected:#?}\nrun {found:#?}");
    for (expected, found) in predicted.changes.iter().zip(&real.changes) {
        assert!(same_change(expected, found), "a change of {what}:\ncheck {expected:#?}\nrun {found:#?}");
    }
    for (name, value) in &real.data {
        if !predicted.unknown_fields.contains(name) {
            assert_eq!(predicted.data.get(name), Some(value), "return value `{name}` of {what}");
        }
    }
    for name in predicted.data.keys() {
        assert!(real.data.contains_key(name), "return value `{name}` of {what} is in the check only");
    }
}

fn shown(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{change:?}")).collect()
}

/// What is known only when it is applied may be anything then.
fn same_change(predicted: &Change, real: &Change) -> bool {
    let open = |facet: &Facet| matches!(facet, Facet::AtApply(_) | Facet::Unknown);
    let kinds = match (&predicted.kind, &real.kind) {
        (
            ChangeKind::Set { aspect, before, after },
            ChangeKind::Set { aspect: real_aspect, before: real_before, after: real_after },
        ) => aspect == real_aspect && (open(before) || before == real_before) && (open(after) || after == real_after),
        (ChangeKind::Effect { .. }, ChangeKind::Effect { .. }) => true,
        (one, other) => one == other,
    };
    kinds && predicted.subject == real.subject && predicted.undo == real.undo
}
