//! What the tests of the agent share.
#![allow(dead_code)] // each of them uses a part

use deploy::connection::agent::{AgentOptions, Call, Program, Programs, Session};
use deploy::connection::{Connection, Connector, NoPrompter, Target};
use deploy::machine::Mode;
use deploy::modules::Outcome;
use deploy::wire::{OnFailure, Reply, TaskRequest};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A module of development builds that does what its arguments say.
pub const PROBE: &str = "deploy.internal.probe";

/// This machine.
pub async fn local() -> Connection {
    Connector::new(Arc::new(NoPrompter)).connect(&Target::local("here")).await.unwrap()
}

/// The agent that was built with this test.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_deploy-agent"));
        Programs::of([Program::from_file(std::env::consts::ARCH, path).unwrap()])
    })
}

/// With a directory of the test's own.
pub fn options(directory: &Path) -> AgentOptions {
    AgentOptions {
        directory: Some(directory.join("agent").display().to_string()),
        exclusive: false,
        ..Default::default()
    }
}

/// On this machine, as the user who runs the test.
pub async fn session(directory: &Path) -> Session {
    Session::start(&local().await, programs(), &options(directory)).await.unwrap()
}

pub fn request(module: &str, arguments: Value) -> TaskRequest {
    let Value::Object(arguments) = arguments else { panic!("arguments are a mapping") };
    TaskRequest {
        module: module.into(),
        arguments,
        become_user: None,
        mode: Mode::Predicted,
        diff: false,
        no_log: false,
        environment: Default::default(),
        epoch: 0,
        on_failure: OnFailure::Stop,
        group: 0,
        timeout: 0,
        detach: None,
        label: "a test".into(),
        run: String::new(),
        turn: 0,
        unlocked: false,
        no_fetch: false,
        within_check: false,
    }
}

pub fn probe(arguments: Value) -> Call {
    Call::new(request(PROBE, arguments))
}

pub fn done(reply: Reply) -> Outcome {
    match reply {
        Reply::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

pub async fn run(session: &Session, call: Call) -> Outcome {
    done(session.submit(call).await.unwrap().reply)
}

/// The largest memory this process has used.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
