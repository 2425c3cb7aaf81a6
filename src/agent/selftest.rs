//! Modules for the tests of the agent itself. A release build does not have them.

use crate::machine::{Change, Domain, Facet, Machine, Subject};
use crate::modules::{Arguments, Content, Context, FreeForm, Module, ModuleError, Outcome, Reach};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::io::Read;

/// `deploy.internal.probe`: does what its arguments say.
pub static PROBE: Module = Module {
    name: "deploy.internal.probe",
    aliases: &[],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Arguments::NONE,
    run: Some(probe),
    #[cfg(feature = "controller")]
    action: None,
};

/// Finds it, and every module that there really is.
pub fn find(name: &str) -> Option<&'static Module> {
    if name == PROBE.name { Some(&PROBE) } else { crate::modules::find(name) }
}

fn failed(error: impl std::fmt::Display) -> ModuleError {
    ModuleError::Failed(error.to_string())
}

fn probe(arguments: Map<String, Value>, machine: &mut Machine, cx: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let number = |name: &str| arguments.get(name).and_then(Value::as_u64);
    let mut outcome = Outcome::ok().with("uid", rustix::process::geteuid().as_raw());
    outcome = outcome.with("pid", std::process::id()).with("mode", format!("{:?}", machine.mode()));
    outcome = outcome.with("exe", std::fs::read_link("/proc/self/exe").map_err(failed)?.display().to_string());
    if let Some(data) = text("echo") {
        outcome = outcome.with("echo", data);
    }
    if let Some(name) = text("change") {
        machine.record(Change::set(Subject::new(Domain::File, name), "content", Facet::Absent, Facet::Unknown));
    }
    if let Some(name) = text("getenv") {
        outcome = outcome.with("getenv", std::env::var(name).ok().or(machine.environment.get(name).cloned()));
    }
    if let Some(name) = text("foresee_user") {
        let (uid, home) = (55_555, format!("/home/{name}"));
        let (gecos, shell) = (String::new(), "/bin/sh".to_string());
        machine.foresee_user(crate::machine::accounts::User { name: name.into(), uid, gid: uid, gecos, home, shell });
    }
    if let Some(name) = text("knows_user") {
        outcome = outcome.with("knows_user", machine.user(name)?.is_some());
    }
    if let Some(milliseconds) = number("sleep_ms") {
        cx.controller.progress("sleeping", Some(0), Some(milliseconds));
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    }
    if let Some(path) = text("append") {
        let line = format!("{}\n", text("echo").unwrap_or("line"));
        let file = std::fs::File::options().append(true).create(true).open(path);
        std::io::Write::write_all(&mut file.map_err(failed)?, line.as_bytes()).map_err(failed)?;
    }
    if let Some(content) = arguments.get("content") {
        let content: Content = serde_json::from_value(content.clone()).map_err(failed)?;
        let stop_after = number("stop_after").unwrap_or(u64::MAX);
        let mut stream = cx.controller.open(&content).map_err(failed)?;
        let (mut size, mut hash, mut buffer) = (0u64, Sha256::new(), vec![0; 65536]);
        while size < stop_after {
            let n = stream.read(&mut buffer).map_err(failed)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            hash.update(&buffer[..n]);
        }
        drop(stream);
        outcome = outcome.with("size", size).with("sha256", super::remote::hex(&hash.finalize()));
    }
    if let Some(size) = number("send") {
        cx.controller.send("probe", &mut std::io::repeat(7).take(size)).map_err(failed)?;
    }
    if let Some(size) = number("long") {
        outcome = outcome.with("long", "x".repeat(size as usize));
    }
    if text("rss").is_some() {
        let status = std::fs::read_to_string("/proc/self/status").map_err(failed)?;
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        outcome = outcome.with("peak_kib", peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0));
    }
    match text("end") {
        Some("panic") => panic!("asked to panic"),
        Some("abort") => std::process::abort(),
        Some("kill") => drop(rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)),
        Some("fail") => return Ok(Outcome::failed("asked to fail")),
        _ => {}
    }
    Ok(outcome)
}
