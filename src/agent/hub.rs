//! The hub: reads the channel, keeps the queue, runs strictly one request at a time.

use super::AgentError;
use super::child;
use super::children::{Children, Identity};
use super::installed;
use super::launch::SharedInput;
use super::lock::RunLock;
use super::relay::Relays;
use super::spool::{self, Spool};
use crate::machine::{Machine, Mode};
use crate::modules::{Outcome, Status};
use crate::wire::{
    Frame, FrameReader, Kind, Leftover, MAGIC, OnFailure, Progress, Reply, Start, TaskRequest, write_frame,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// Unconfirmed results that are kept in case the controller dies.
const UNCONFIRMED: usize = 64;

/// What the command line says.
#[derive(Default)]
struct Options {
    /// The agent's own directory.
    directory: Option<PathBuf>,
    /// SHA-256 of the program, which the controller has just looked up or sent.
    sha256: Option<String>,
}

/// Answers the controller until it says or shows that it is gone.
pub(super) fn run(input: File, output: File) -> Result<(), AgentError> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(2);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--directory" => options.directory = Some(value.into()),
            "--sha256" => options.sha256 = Some(value),
            _ => return Err(AgentError::Usage(name)),
        }
    }
    serve(input, output, options)
}

fn serve(input: File, output: File, options: Options) -> Result<(), AgentError> {
    let directory = options.directory.unwrap_or_else(own_directory);
    let spool = Spool::new(&directory);
    let output = Arc::new(Output { file: Mutex::new(output), dead: AtomicBool::new(false) });
    let mut hello = child::hello();
    hello.leftovers = spool.leftovers();
    output.raw(MAGIC);
    output.send_json(Kind::Hello, 0, &hello);
    let relays = Relays::new(output.clone());
    let shared = Arc::new(Shared::default());
    let (jobs, queue) = channel();
    let reader = Reader {
        input: FrameReader::new(BufReader::with_capacity(64 * 1024, Patient { input, shared: shared.clone() })),
        shared: shared.clone(),
        relays,
        jobs,
    };
    std::thread::spawn(move || reader.run());
    let mut hub = Hub {
        output,
        shared,
        children: Children::new(options.sha256),
        spool,
        directory,
        start: Start::default(),
        lock: None,
        foreseen: false,
        dead_epoch: None,
        unconfirmed: VecDeque::new(),
    };
    hub.work(&queue);
    Ok(())
}

/// Where the agent keeps its things when nobody says: where it was copied to.
fn own_directory() -> PathBuf {
    std::fs::read_link(installed::myself())
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf))
        .unwrap_or_else(|| PathBuf::from("/nonexistent"))
}

/// The way to the controller.
pub(super) struct Output {
    file: Mutex<File>,
    dead: AtomicBool,
}

impl Output {
    fn raw(&self, bytes: &[u8]) {
        let written = self.file.lock().is_ok_and(|mut file| file.write_all(bytes).is_ok());
        if !written {
            self.dead.store(true, Ordering::SeqCst);
        }
    }

    /// Sends a frame; when nobody takes it any more, that is remembered.
    pub fn send(&self, frame: &Frame) {
        if self.dead.load(Ordering::SeqCst) {
            return;
        }
        let written = self.file.lock().is_ok_and(|mut file| write_frame(&mut *file, frame).is_ok());
        if !written {
            self.dead.store(true, Ordering::SeqCst);
        }
    }

    /// Sends JSON.
    pub fn send_json<T: serde::Serialize>(&self, kind: Kind, id: u32, message: &T) {
        if let Ok(frame) = Frame::json(kind, id, message) {
            self.send(&frame);
        }
    }
}

/// What the reader and the worker both know.
#[derive(Default)]
struct Shared {
    /// Nobody will read an answer.
    gone: AtomicBool,
    /// Seconds without a word after which the controller is taken for dead; 0 for never.
    patience: AtomicU64,
    /// The controller has received all replies up to this id.
    confirmed: AtomicU32,
    /// The request in hand, and the way into the child that has it.
    current: Mutex<Option<(u32, SharedInput)>>,
}

/// What the reader passes on.
enum Job {
    Start(Start),
    Task(u32, Box<TaskRequest>),
    Broken(u32, String),
    GiveWay,
    /// No more will come; whether the controller said so.
    End {
        clean: bool,
    },
}

/// Standard input that ends when it was silent for too long: a controller that was cut off does not close it.
struct Patient {
    input: File,
    shared: Arc<Shared>,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let patience = self.shared.patience.load(Ordering::SeqCst);
            let timeout = Timespec { tv_sec: patience.try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
            let mut fds = [PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::IN)];
            match poll(&mut fds, (patience > 0).then_some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Ok(0),
                Ok(_) => return self.input.read(buffer),
            }
        }
    }
}

/// Takes frames off the channel, whatever the worker does.
struct Reader {
    input: FrameReader<BufReader<Patient>>,
    shared: Arc<Shared>,
    relays: Relays,
    jobs: Sender<Job>,
}

impl Reader {
    fn run(mut self) {
        let mut clean = false;
        while let Ok(Some(frame)) = self.input.next() {
            let job = match frame.kind {
                _ if self.relays.take(&frame) => continue,
                Kind::Alive => {
                    if let Ok(id) = frame.parse_credit() {
                        self.shared.confirmed.fetch_max(id as u32, Ordering::SeqCst);
                    }
                    continue;
                }
                Kind::Blob | Kind::BlobEnd | Kind::Credit | Kind::UploadEnd => {
                    self.pass_on(&frame);
                    continue;
                }
                Kind::Start => match frame.parse::<Start>() {
                    Ok(start) => {
                        self.shared.patience.store(start.patience, Ordering::SeqCst);
                        Job::Start(start)
                    }
                    Err(error) => Job::Broken(frame.id, error.to_string()),
                },
                Kind::Task => match frame.parse::<TaskRequest>() {
                    Ok(request) => Job::Task(frame.id, Box::new(request)),
                    Err(error) => Job::Broken(frame.id, error.to_string()),
                },
                Kind::GiveWay => Job::GiveWay,
                Kind::Shutdown => {
                    clean = true;
                    break;
                }
                _ => break, // not our protocol: as good as gone
            };
            if self.jobs.send(job).is_err() {
                return;
            }
        }
        if !clean {
            self.shared.gone.store(true, Ordering::SeqCst);
            // The request in hand is told when it asks for anything.
            if let Ok(current) = self.shared.current.lock()
                && let Some((_, input)) = current.as_ref()
                && let Ok(mut input) = input.lock()
            {
                input.take();
            }
        }
        self.relays.close();
        let _ = self.jobs.send(Job::End { clean });
    }

    /// Contents and credit for the request in hand; what comes too late is dropped.
    fn pass_on(&self, frame: &Frame) {
        let input = match self.shared.current.lock().as_deref() {
            Ok(Some((id, input))) if *id == frame.id => input.clone(),
            _ => return,
        };
        if let Ok(mut input) = input.lock()
            && let Some(input) = input.as_mut()
        {
            // A child that is gone is noticed by who reads from it.
            let _ = write_frame(input, frame);
        }
    }
}

/// The worker.
struct Hub {
    output: Arc<Output>,
    shared: Arc<Shared>,
    children: Children,
    spool: Spool,
    directory: PathBuf,
    start: Start,
    lock: Option<RunLock>,
    /// A task of this check would have changed something: a user that is not there may be there by then.
    foreseen: bool,
    /// The epoch that ended with a failure, and the group whose requests are run all the same.
    dead_epoch: Option<(u32, u64)>,
    unconfirmed: VecDeque<(u32, Leftover)>,
}

impl Hub {
    fn work(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::End { clean } => {
                    if !clean {
                        self.keep_unconfirmed();
                    }
                    return;
                }
                // What nobody waits for is not begun.
                _ if self.gone() => {}
                Job::Start(start) => {
                    self.start = start.clone();
                    self.children.set_start(start);
                    self.spool.told();
                }
                Job::GiveWay => {
                    self.lock.iter_mut().for_each(RunLock::release);
                    self.children.give_way();
                }
                Job::Broken(id, why) => {
                    let why = format!("the agent cannot read the request: {why}; are it and deploy of one version?");
                    self.output.send_json(Kind::Reply, id, &Reply::Done(Outcome::failed(why)));
                }
                Job::Task(id, request) => self.task(id, *request),
            }
        }
    }

    fn gone(&self) -> bool {
        self.shared.gone.load(Ordering::SeqCst) || self.output.dead.load(Ordering::SeqCst)
    }

    fn task(&mut self, id: u32, mut request: TaskRequest) {
        if self
            .dead_epoch
            .is_some_and(|(epoch, group)| epoch == request.epoch && (request.group == 0 || request.group != group))
        {
            self.output.send_json(Kind::Reply, id, &Reply::NotRun);
            return;
        }
        if request.mode == Mode::Live && !request.unlocked && self.start.exclusive && !self.acquire_lock(id) {
            return;
        }
        request.within_check &= self.foreseen;
        let target = request.become_user.take();
        let (reply, frame) = match self.run(id, target.as_ref(), &request) {
            Ok(frame) => (frame.parse::<Reply>().ok(), Some(frame)),
            Err(reply) => (Some(reply), None),
        };
        let reply = reply.unwrap_or_else(|| Reply::Done(Outcome::failed("the agent's answer cannot be read")));
        let failed = match &reply {
            Reply::Done(outcome) => outcome.status == Status::Failed,
            Reply::BecomeFailed { .. } => true,
            Reply::NotRun => false,
        };
        if let Reply::Done(outcome) = &reply
            && request.mode != Mode::Live
        {
            self.foreseen |= !outcome.changes.is_empty() || outcome.status == Status::Unknown;
        }
        if failed && request.on_failure == OnFailure::Stop {
            self.dead_epoch = Some((request.epoch, request.group));
        }
        let frame = frame.or_else(|| Frame::json(Kind::Reply, id, &reply).ok());
        let late = self.gone();
        if let Some(frame) = frame {
            self.output.send(&frame);
        }
        if request.mode == Mode::Live {
            let leftover = spool::leftover(&self.start.who, &request, &reply);
            // One that leaves while it gets the answer has perhaps received it; that is judged at the end.
            match late || self.output.dead.load(Ordering::SeqCst) {
                true => self.keep(&leftover),
                false => self.remember(id, leftover),
            }
        }
    }

    /// Lets a child run the request.
    fn run(&mut self, id: u32, target: Option<&crate::wire::Become>, request: &TaskRequest) -> Result<Frame, Reply> {
        if request.mode != Mode::Live && self.children.overlay_is_lost() {
            return Err(Reply::Done(Outcome::unknown(
                "an earlier task of this check broke the agent, and with it went what tasks before it would have done",
            )));
        }
        if request.mode == Mode::Live
            && let Some(user) = changes_user(request)
        {
            self.children.leave(user);
        }
        let frame = Frame::json(Kind::Task, id, request)
            .map_err(|e| Reply::Done(Outcome::failed(format!("the request cannot be passed on: {e}"))))?;
        let (identity, child) = self.children.get(target, request.mode).map_err(|refusal| match target {
            Some(target)
                if (request.mode != Mode::Live || request.within_check) && self.foreseen && !is_there(&target.user) =>
            {
                Reply::Done(Outcome::unknown(format!(
                    "there is no user {} yet, and a check does not become one that an earlier task would make",
                    target.user
                )))
            }
            _ => Reply::BecomeFailed { why: refusal.why, rc: refusal.rc },
        })?;
        let set_current = |current| {
            if let Ok(mut shared) = self.shared.current.lock() {
                *shared = current;
            }
        };
        set_current(Some((id, child.input.clone())));
        // From here on the reader closes the child's input when the controller goes.
        if self.shared.gone.load(Ordering::SeqCst) {
            set_current(None);
            return Err(Reply::NotRun);
        }
        let _ = child.send(&frame);
        let answer = loop {
            match child.receive() {
                Some(frame) if frame.kind == Kind::Reply && frame.id == id => break Some(frame),
                Some(frame) if frame.kind == Kind::Reply => {}
                Some(frame) => self.output.send(&frame),
                None => break None,
            }
        };
        set_current(None);
        answer.ok_or_else(|| self.fallen(&identity, request))
    }

    /// What is said of a task whose process is gone.
    fn fallen(&mut self, identity: &Identity, request: &TaskRequest) -> Reply {
        let (how, said) = self.children.bury(identity);
        if request.timeout > 0 && how == format!("ended with status {}", child::OVERDUE) {
            return Reply::Done(Outcome::timed_out(request.timeout, &request.module));
        }
        let said = match said {
            said if said.is_empty() || request.no_log => String::new(),
            said => format!("; it said: {said}"),
        };
        Reply::Done(Outcome::failed(format!(
            "the agent's process {how} while it ran the module `{}`: what the task did is not known{said}",
            request.module
        )))
    }

    /// Waits for other runs, and says so.
    fn acquire_lock(&mut self, id: u32) -> bool {
        let (directory, start) = (&self.directory, &self.start);
        let lock = self.lock.get_or_insert_with(|| RunLock::new(directory, start.clone()));
        let (output, shared) = (&self.output, &self.shared);
        lock.acquire(&mut |said| {
            if let Some(text) = said {
                let progress = Progress { text: text.to_string(), done: None, total: None };
                output.send_json(Kind::Progress, id, &progress);
            }
            !shared.gone.load(Ordering::SeqCst) && !output.dead.load(Ordering::SeqCst)
        })
    }

    fn remember(&mut self, id: u32, leftover: Leftover) {
        let confirmed = self.shared.confirmed.load(Ordering::SeqCst);
        self.unconfirmed.retain(|(id, _)| *id > confirmed);
        if self.unconfirmed.len() == UNCONFIRMED {
            self.unconfirmed.pop_front();
        }
        self.unconfirmed.push_back((id, Leftover { perhaps_received: true, ..leftover }));
    }

    /// The controller died: what it may not have seen, and was more than a look, is kept.
    fn keep_unconfirmed(&mut self) {
        let confirmed = self.shared.confirmed.load(Ordering::SeqCst);
        for (id, leftover) in std::mem::take(&mut self.unconfirmed) {
            if id > confirmed && (leftover.status != "ok" || !leftover.changes.is_empty()) {
                self.keep(&leftover);
            }
        }
    }

    fn keep(&self, leftover: &Leftover) {
        if let Err(error) = self.spool.keep(leftover) {
            eprintln!("deploy-agent: the result of `{}` cannot be kept: {error}", leftover.label);
        }
    }
}

/// Whether the host has this user, whoever tells it of its users; where that is not known, it has.
fn is_there(user: &str) -> bool {
    !matches!(Machine::new(Mode::Live).user(user), Ok(None))
}

/// Whose account a request may change: that of one user, or anybody's. Programs that rename or remove a user refuse to while
/// one of its processes runs.
fn changes_user(request: &TaskRequest) -> Option<Option<&str>> {
    const PROGRAMS: [&str; 3] = ["usermod", "userdel", "deluser"];
    match request.module.as_str() {
        "ansible.builtin.user" => {
            Some(["name", "user"].iter().find_map(|key| request.arguments.get(*key)).and_then(|name| name.as_str()))
        }
        "ansible.builtin.command" | "ansible.builtin.shell" | "ansible.builtin.raw" => {
            let text = serde_json::Value::Object(request.arguments.clone()).to_string();
            PROGRAMS.iter().any(|program| text.contains(program)).then_some(None)
        }
        _ => None,
    }
}
