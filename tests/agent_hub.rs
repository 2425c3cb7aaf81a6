//! The agent's hub, spoken to in frames: what it does when the controller dies, when signals come, when runs meet.

mod agent_support;

use agent_support::{PROBE, request};
use deploy::machine::Mode;
use deploy::modules::Status;
use deploy::wire::{Frame, FrameReader, Hello, Kind, MAGIC, Progress, Reply, Start, TaskRequest, write_frame};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

struct Agent {
    process: Child,
    input: Option<ChildStdin>,
    output: FrameReader<BufReader<ChildStdout>>,
    hello: Hello,
}

impl Agent {
    fn start(directory: &Path, run: &str, patience: u64) -> Agent {
        let mut process = Command::new(env!("CARGO_BIN_EXE_deploy-agent"))
            .args(["--stdio", "--directory"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut magic = vec![0; MAGIC.len()];
        output.read_exact(&mut magic).unwrap();
        assert_eq!(magic, MAGIC);
        let mut output = FrameReader::new(output);
        let hello = output.next().unwrap().unwrap().parse().unwrap();
        let mut agent = Agent { process, input, output, hello };
        let start = Start { run: run.into(), who: format!("{run}@control"), patience, exclusive: true };
        agent.send(&Frame::json(Kind::Start, 0, &start).unwrap());
        agent
    }

    fn send(&mut self, frame: &Frame) {
        write_frame(self.input.as_mut().unwrap(), frame).unwrap();
    }

    fn task(&mut self, id: u32, request: &TaskRequest) {
        self.send(&Frame::json(Kind::Task, id, request).unwrap());
    }

    fn next(&mut self) -> Frame {
        self.output.next().unwrap().unwrap()
    }

    /// The next reply; progress before it is thrown away.
    fn reply(&mut self) -> deploy::modules::Outcome {
        loop {
            let frame = self.next();
            if frame.kind == Kind::Reply {
                match frame.parse().unwrap() {
                    Reply::Done(outcome) => return outcome,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn wait_for_end(&mut self) -> Duration {
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "the agent does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        began.elapsed()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn live(label: &str, arguments: Value) -> TaskRequest {
    TaskRequest { mode: Mode::Live, label: label.into(), ..request(PROBE, arguments) }
}

#[test]
fn what_a_dead_controller_did_not_receive_is_told_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let after = directory.path().join("after");
    let mut agent = Agent::start(directory.path(), "first", 0);
    agent.task(1, &live("before", json!({"change": "/etc/before"})));
    agent.reply();
    agent.task(2, &live("in hand", json!({"sleep_ms": 700, "change": "/etc/x", "echo": "s3cret", "end": "fail"})));
    agent.task(3, &live("behind", json!({"append": after})));
    assert_eq!(agent.next().kind, Kind::Progress); // it runs
    agent.send(&Frame::new(Kind::Alive, 0, 1u32.to_be_bytes().to_vec())); // the first was received
    std::thread::sleep(Duration::from_millis(100));
    drop(agent.input.take()); // what the kernel does for a controller that was killed
    let took = agent.wait_for_end();
    assert!(took > Duration::from_millis(300), "the request in hand was not finished: {took:?}");
    assert!(!after.exists(), "what nobody waits for was begun");

    let spool = directory.path().join("spool");
    assert_eq!(std::fs::metadata(&spool).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = std::fs::read_dir(&spool).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&files[0]).unwrap().contains("s3cret"));

    let mut next = Agent::start(directory.path(), "second", 0);
    let [told] = next.hello.leftovers.as_slice() else { panic!("{:?}", next.hello.leftovers) };
    assert_eq!((told.label.as_str(), told.status.as_str(), told.who.as_str()), ("in hand", "failed", "first@control"));
    assert_eq!((told.changes.as_slice(), told.perhaps_received), (&["File /etc/x: content".to_string()][..], false));
    next.task(1, &TaskRequest { mode: Mode::Predicted, ..live("look", json!({})) });
    next.reply();
    drop(next);
    assert_eq!(Agent::start(directory.path(), "third", 0).hello.leftovers, [], "told once");
}

#[test]
fn replies_without_a_receipt_are_kept_unless_the_controller_took_its_leave() {
    for (clean, kept) in [(false, 1), (true, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let mut agent = Agent::start(directory.path(), "first", 0);
        agent.task(1, &live("changes", json!({"change": "/etc/x"})));
        agent.task(2, &live("only looks", json!({})));
        agent.reply();
        agent.reply();
        if clean {
            agent.send(&Frame::new(Kind::Shutdown, 0, Vec::new()));
        }
        drop(agent.input.take());
        agent.wait_for_end();
        let leftovers = Agent::start(directory.path(), "second", 0).hello.leftovers.clone();
        assert_eq!(leftovers.len(), kept, "{leftovers:?}");
        assert!(leftovers.iter().all(|l| l.perhaps_received && l.label == "changes"));
    }
}

#[test]
fn the_sessions_signals_do_not_end_a_request() {
    let directory = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(directory.path(), "run", 0);
    let mut request = live("long", json!({"sleep_ms": 600, "echo": "done"}));
    request.mode = Mode::Predicted;
    agent.task(1, &request);
    agent.next();
    let hub = Pid::from_raw(agent.hello.pid as i32).unwrap();
    let children = Command::new("pgrep").args(["-P", &agent.hello.pid.to_string()]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let child = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::PIPE] {
        kill_process(hub, signal).unwrap();
        kill_process(child, signal).unwrap();
    }
    assert_eq!(agent.reply().data["echo"], "done");
    // What modules start is not deaf to them.
    let mut shell = live("shell", json!({}));
    (shell.module, shell.arguments) = ("ansible.builtin.shell".into(), Default::default());
    shell.arguments.insert("_raw_params".into(), "kill -TERM $$; echo deaf".into());
    agent.task(2, &shell);
    let outcome = agent.reply();
    assert!(!format!("{outcome:?}").contains("\"deaf\""), "{outcome:?}");
    assert_eq!(outcome.status, Status::Failed);
}

#[test]
fn a_controller_that_falls_silent_is_dead_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(directory.path(), "run", 1);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        agent.send(&Frame::new(Kind::Alive, 0, vec![0; 4]));
    }
    assert!(agent.process.try_wait().unwrap().is_none(), "it heard of us");
    let took = agent.wait_for_end();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_second_run_waits_and_says_so_and_checks_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Agent::start(directory.path(), "one", 0);
    first.task(1, &live("works", json!({"echo": "first"})));
    assert_eq!(first.reply().data["echo"], "first");

    let mut check = Agent::start(directory.path(), "two", 0);
    check.task(1, &TaskRequest { mode: Mode::Predicted, ..live("looks", json!({"echo": "check"})) });
    assert_eq!(check.reply().data["echo"], "check");

    let mut same = Agent::start(directory.path(), "one", 0);
    same.task(1, &live("helps", json!({"echo": "same"})));
    assert_eq!(same.reply().data["echo"], "same");

    let mut second = Agent::start(directory.path(), "two", 0);
    second.task(1, &live("waits", json!({"echo": "second"})));
    let frame = second.next();
    assert_eq!(frame.kind, Kind::Progress);
    let progress: Progress = frame.parse().unwrap();
    assert!(progress.text.contains("waiting for another run") && progress.text.contains("@control"), "{progress:?}");
    drop((first, same));
    assert_eq!(second.reply().data["echo"], "second");
}

#[test]
fn nonsense_on_the_channel_ends_the_agent_and_nothing_else() {
    for bytes in [&b"\xff\xff\xff\xff\x03\0\0\0\0"[..], b"GET / HTTP/1.0\r\n\r\n", b"\0\0"] {
        let directory = tempfile::tempdir().unwrap();
        let mut agent = Agent::start(directory.path(), "run", 0);
        std::io::Write::write_all(agent.input.as_mut().unwrap(), bytes).unwrap();
        drop(agent.input.take());
        agent.wait_for_end();
    }
    // A request that cannot be read is answered.
    let directory = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(directory.path(), "run", 0);
    agent.send(&Frame::new(Kind::Task, 9, b"{\"module\": 3}".to_vec()));
    assert!(agent.reply().msg.unwrap().contains("cannot read the request"));
}
