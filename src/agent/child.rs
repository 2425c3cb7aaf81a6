//! A child: runs modules as one user, one after the other.

use super::lock::RunLock;
use super::remote::{Link, Remote};
use crate::machine::{Machine, Mode, Overlay};
use crate::modules::{Context, Module, Outcome};
use crate::wire::{
    End, Frame, Hello, Kind, MAGIC, MAX_MESSAGE, PROTOCOL, Progress, Reply, Start, TaskRequest, WireError,
};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How a module is found by its name.
pub type Find = fn(&str) -> Option<&'static Module>;

/// Answers requests until the end of `input`; `gone` says whether it has come while nobody reads it.
pub fn run(input: impl Read, mut output: impl Write, find: Find, gone: &dyn Fn() -> bool) -> Result<(), WireError> {
    output.write_all(MAGIC)?;
    let mut link = Link::new(input, output);
    link.write(&Frame::json(Kind::Hello, 0, &hello())?)?;
    let mut machines = Machines::default();
    let mut lock: Option<RunLock> = None;
    let mut looked = false;
    while let Some(frame) = link.next()? {
        match frame.kind {
            Kind::Task => {
                let reply = match frame.parse::<TaskRequest>() {
                    Ok(request)
                        if request.mode == Mode::Live
                            && !request.unlocked
                            && !may_begin(frame.id, &mut lock, &mut link, gone) =>
                    {
                        Reply::NotRun
                    }
                    Ok(request) => {
                        let mut outcome = run_task(frame.id, request, &mut machines, &mut link, find);
                        if !std::mem::replace(&mut looked, true) {
                            outcome.warnings.extend(super::recorded::warning());
                        }
                        Reply::Done(outcome)
                    }
                    Err(error) => Reply::Done(Outcome::failed(format!("the request cannot be read: {error}"))),
                };
                link.write(&reply_frame(frame.id, reply)?)?;
            }
            // Only a child that root was become for is told: root's runs exclude each other whoever logged in.
            Kind::Start if rustix::process::geteuid().is_root() => {
                let start: Start = frame.parse()?;
                lock = start.exclusive.then(|| RunLock::new(Path::new("/run"), start));
            }
            Kind::Start => {}
            Kind::GiveWay => lock.iter_mut().for_each(RunLock::release),
            Kind::OverlayDump => {
                let answer = match machines.predicted().overlay() {
                    Ok(overlay) => Frame::json(Kind::OverlayDump, frame.id, &overlay)?,
                    Err(error) => Frame::json(Kind::BlobEnd, frame.id, &End { error: Some(error.to_string()) })?,
                };
                link.write(&answer)?;
            }
            Kind::OverlayLoad => {
                let loaded = frame.parse::<Overlay>().map_err(|e| e.to_string());
                let loaded = loaded.and_then(|o| machines.predicted().load_overlay(o).map_err(|e| e.to_string()));
                link.write(&Frame::json(Kind::OverlayLoad, frame.id, &End { error: loaded.err() })?)?;
            }
            // What was under way when a module stopped reading or sending.
            Kind::Blob | Kind::BlobEnd | Kind::Credit | Kind::UploadEnd => {}
            other => return Err(WireError::Unexpected(other)),
        }
    }
    Ok(())
}

/// Waits for other runs, if there is a lock to be taken.
fn may_begin<R: Read, W: Write>(
    id: u32,
    lock: &mut Option<RunLock>,
    link: &mut Link<R, W>,
    gone: &dyn Fn() -> bool,
) -> bool {
    let Some(lock) = lock else { return true };
    lock.acquire(&mut |said| {
        if let Some(text) = said {
            let progress = Progress { text: text.to_string(), done: None, total: None };
            let told = Frame::json(Kind::Progress, id, &progress).map(|frame| link.write(&frame));
            if !matches!(told, Ok(Ok(()))) {
                return false;
            }
        }
        !gone()
    })
}

/// Who we are.
pub(super) fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        arch: rustix::system::uname().machine().to_string_lossy().into_owned(),
        leftovers: Vec::new(),
    }
}

/// A live machine and a predicted one: `check_mode: false` runs a task for real in the middle of a check.
#[derive(Default)]
struct Machines {
    live: Option<Machine>,
    predicted: Option<Machine>,
}

impl Machines {
    fn predicted(&mut self) -> &mut Machine {
        self.predicted.get_or_insert_with(|| Machine::new(Mode::Predicted))
    }

    fn of(&mut self, mode: Mode) -> &mut Machine {
        let machine = match mode {
            Mode::Live => self.live.get_or_insert_with(|| Machine::new(mode)),
            Mode::Predicted | Mode::Tainted => self.predicted(),
        };
        machine.set_mode(mode);
        machine
    }
}

/// Runs one module; whatever it does, there is an outcome.
fn run_task<R: Read, W: Write>(
    id: u32,
    request: TaskRequest,
    machines: &mut Machines,
    link: &mut Link<R, W>,
    find: Find,
) -> Outcome {
    let Some(run) = find(&request.module).and_then(|module| module.run) else {
        return Outcome::failed(format!(
            "the agent has no module `{}` that runs on hosts; it and `deploy` are of different versions",
            request.module
        ));
    };
    if let Some(detach) = request.detach.as_ref().filter(|_| request.mode == Mode::Live) {
        let machine = machines.of(request.mode);
        machine.take_changes();
        machine.environment = request.environment.clone();
        let mut outcome = super::job::start(&request, detach, machine);
        outcome.changes = machine.take_changes();
        return outcome;
    }
    let machine = machines.of(request.mode);
    machine.environment = request.environment.clone();
    machine.take_changes();
    machine.take_observed();
    let logged = if request.mode == Mode::Live { request.run.as_str() } else { "" };
    machine.begin_history(logged, request.turn, &request.label);
    let limit = Limit::start(&request);
    machine.deadline = limit.as_ref().map(|limit| limit.deadline);
    let mut remote = Remote::new(id, link);
    (machine.diff, machine.no_log, machine.no_fetch) = (request.diff, request.no_log, request.no_fetch);
    machine.behind_foreseen = request.within_check;
    let mut context = Context { diff: request.diff, no_log: request.no_log, controller: &mut remote };
    // A module that panics ends this process; the hub tells it as a failed task and starts another.
    let result = run(request.arguments.clone(), machine, &mut context);
    let mut outcome = result.unwrap_or_else(Outcome::from);
    if limit.is_some_and(Limit::ended_late) {
        outcome = Outcome { warnings: outcome.warnings, ..Outcome::timed_out(request.timeout, &request.module) };
    }
    if request.detach.is_some() {
        // What a check knows of it are the changes, not how the job would be called.
        outcome.unknown_fields.extend(["ansible_job_id", "results_file"].map(str::to_string));
    }
    outcome.changes = machine.take_changes();
    outcome.observed = machine.take_observed();
    if let Some(why) = machine.end_history() {
        outcome
            .warnings
            .push(format!("what this task changed could not be logged, so it cannot be rolled back: {why}"));
    }
    outcome
}

/// The status of a child whose task did not end in time.
pub(super) const OVERDUE: i32 = 124;

/// A task's `timeout`. Processes that the module waits for are killed at the deadline; a module that goes on by itself
/// for longer than a little takes this process with it, so that the agent is never stuck.
struct Limit {
    deadline: Instant,
    over: Arc<AtomicBool>,
}

impl Limit {
    fn start(request: &TaskRequest) -> Option<Limit> {
        let allowed = Duration::from_secs(request.timeout.min(31_536_000));
        let limit = Limit { deadline: Instant::now() + allowed, over: Arc::default() };
        if request.timeout == 0 {
            return None;
        }
        if request.mode == Mode::Live {
            let (over, last) = (limit.over.clone(), limit.deadline + Duration::from_millis(1500));
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let left = last.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        std::process::exit(OVERDUE);
                    }
                    std::thread::park_timeout(left.min(Duration::from_secs(1)));
                }
            });
        }
        Some(limit)
    }

    /// The task is over; whether that was too late.
    fn ended_late(self) -> bool {
        self.over.store(true, Ordering::SeqCst);
        Instant::now() >= self.deadline
    }
}

/// The frame of a reply; a result that is too long to be sent is a failure that says so.
fn reply_frame(id: u32, reply: Reply) -> Result<Frame, WireError> {
    let frame = Frame::json(Kind::Reply, id, &reply)?;
    if frame.body.len() <= MAX_MESSAGE {
        return Ok(frame);
    }
    let mut short = Outcome::failed(format!(
        "the task ended, but its result of {} MiB is longer than the {} MiB that can be sent; let it write to a file",
        frame.body.len() / 1024 / 1024,
        MAX_MESSAGE / 1024 / 1024
    ));
    if let Reply::Done(outcome) = reply {
        short.warnings.push(format!("its status was {:?}, with {} changes", outcome.status, outcome.changes.len()));
    }
    Frame::json(Kind::Reply, id, &Reply::Done(short))
}
