//! Starting a child process and waiting for its first word.

use super::elevate::{Elevation, Prompt};
use super::terminal::Terminal;
use crate::secret::Secret;
use crate::wire::{Frame, FrameReader, Hello, Kind, MAGIC, PROTOCOL, write_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufReader, Chain, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long sudo and its like may take until the child speaks; slow directories and `pam_faildelay` included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of what a process says is kept for messages.
const KEPT: usize = 8 * 1024;
/// What the shell says of another user when it waits for the script. It is not given on a command line, which `sudo` writes to the
/// system's log, and passes on in SUDO_COMMAND.
pub(super) const READY: &str = "deploy-agent-waits-for-its-script";
/// A script asks for the program with this line.
pub(super) const NEED: &str = "deploy-agent-needed-here";
/// A script says with this word why it cannot go on.
pub(super) const FAIL: &str = "deploy-agent-cannot-start:";

/// The way into a child. The hub's reader thread streams contents through it, and takes it away at the end.
pub(super) type SharedInput = Arc<Mutex<Option<ChildStdin>>>;

/// A running child.
pub(super) struct Child {
    pub input: SharedInput,
    output: FrameReader<Chain<Cursor<Vec<u8>>, BufReader<ChildStdout>>>,
    process: std::process::Child,
    errors: Arc<Mutex<Vec<u8>>>,
    /// Reads its standard error into `errors` until that is closed.
    drain: std::thread::JoinHandle<()>,
    /// Kept open: a hang-up of the terminal would reach what the child has started.
    _terminal: Option<Terminal>,
}

/// What another user is given to run.
pub(super) struct Program {
    /// The script that starts the agent.
    pub script: String,
    /// The agent itself, for users who have no copy of it that they may trust.
    pub path: std::path::PathBuf,
}

impl Child {
    /// Sends a frame. An error means that the process is gone, which reading tells better.
    pub fn send(&self, frame: &Frame) -> std::io::Result<()> {
        match self.input.lock().ok().as_deref_mut() {
            Some(Some(input)) => write_frame(input, frame),
            _ => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next frame; nothing when the process has ended or talks nonsense.
    pub fn receive(&mut self) -> Option<Frame> {
        self.output.next().ok().flatten()
    }

    /// Lets it end: nothing more will come.
    pub fn close(&self) {
        drop(self.input.lock().map(|mut input| input.take()));
    }

    /// How the process ended, in words. It is killed if it has not.
    pub fn post_mortem(mut self) -> (String, String) {
        self.close();
        let status = wait_a_little(&mut self.process);
        // Its last words may still be on their way; what it has started may keep the pipe open for ever.
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.drain.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = self.errors.lock().map(|e| last_lines(&e)).unwrap_or_default();
        (status.map(how_it_ended).unwrap_or_else(|| "stopped to speak and was killed".into()), said)
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(libc::SIGKILL)) => {
            "was killed by signal 9 (by somebody, or by the kernel for want of memory)".to_string()
        }
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}

fn wait_a_little(process: &mut std::process::Child) -> Option<ExitStatus> {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if let Ok(Some(status)) = process.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = process.kill(); // not possible when it runs as another user
    process.try_wait().ok().flatten()
}

/// Why a user could not be become.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// In words.
    pub why: String,
    /// How the program ended that should have done it; 127 where there is none, as a shell says it.
    pub rc: Option<i32>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Refusal { why, rc: None }
    }
}

/// Starts `command`, which becomes a child of our own user without asking anything.
pub(super) fn plain(command: Command) -> Result<Child, Refusal> {
    start(command, None, None, None)
}

/// Starts `elevation`, answers its prompt once, and gives it the program if it has none.
pub(super) fn elevated(
    elevation: &Elevation,
    password: Option<&Secret>,
    program: &Program,
    with_terminal: bool,
) -> Result<Child, Refusal> {
    let terminal = match with_terminal {
        true => Some(Terminal::open().map_err(|e| format!("cannot open a terminal for the password prompt: {e}"))?),
        false => None,
    };
    let mut command = Command::new(&elevation.program);
    // Its words are read here; what it starts gets the language back (`elevate::script`).
    command.args(&elevation.arguments).env("LC_ALL", "C");
    // A terminal may show what was typed.
    start(command, terminal, Some((&elevation.prompt, password)), Some(program)).map_err(|refusal| match password {
        Some(password) if !password.is_empty() => {
            Refusal { why: refusal.why.replace(password.expose(), "********"), ..refusal }
        }
        _ => refusal,
    })
}

fn start(
    mut command: Command,
    terminal: Option<Terminal>,
    prompt: Option<(&Prompt, Option<&Secret>)>,
    program: Option<&Program>,
) -> Result<Child, Refusal> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let controlling = terminal.as_ref().map(Terminal::inner).transpose();
    let controlling = controlling.map_err(|e| format!("cannot open a terminal for the password prompt: {e}"))?;
    // SAFETY: between fork and exec only `setsid` and `ioctl` are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            // Away from any terminal of the caller: nobody may ask a question there.
            rustix::process::setsid()?;
            match &controlling {
                Some(inner) => Terminal::make_controlling(inner),
                None => Ok(()),
            }
        });
    }
    // What it says of itself when it breaks is one line, not a trace.
    command.env_remove("RUST_BACKTRACE");
    let mut process = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Refusal { why: format!("the host has no program `{name}`"), rc: Some(127) },
        _ => Refusal { why: format!("cannot start `{name}`: {e}"), rc: Some(126) },
    })?;
    drop(command); // with our copy of the terminal's inner end
    let (Some(input), Some(output), Some(errors)) =
        (process.stdin.take(), process.stdout.take(), process.stderr.take())
    else {
        return Err(format!("cannot talk to `{name}`").into());
    };
    let mut talk = Talk { name, input, output, errors, terminal, said: Vec::new(), asked: Vec::new() };
    let result = talk.until_magic(prompt, program);
    let Talk { name, input, output, errors, terminal, said, .. } = talk;
    let rest = match result {
        Ok(rest) => rest,
        Err(Trouble::Ended) => {
            drop((input, terminal));
            let status = wait_a_little(&mut process);
            let how = status.map(how_it_ended).unwrap_or_else(|| "closed its output".into());
            let why = match last_lines(&said) {
                said if said.is_empty() => format!("`{name}` {how} and said nothing"),
                said => said,
            };
            return Err(Refusal { why, rc: status.and_then(|status| status.code()) });
        }
        Err(Trouble::Refused(why)) => {
            drop((input, terminal));
            std::thread::spawn(move || wait_a_little(&mut process));
            return Err(why.into());
        }
    };
    let tail = Arc::new(Mutex::new(Vec::new()));
    let mut child = Child {
        input: Arc::new(Mutex::new(Some(input))),
        output: FrameReader::new(Cursor::new(rest).chain(BufReader::with_capacity(128 * 1024, output))),
        process,
        errors: tail.clone(),
        drain: std::thread::spawn(move || drain(errors, &tail)),
        _terminal: terminal,
    };
    match child.receive().filter(|f| f.kind == Kind::Hello).map(|f| f.parse::<Hello>()) {
        Some(Ok(hello)) if hello.protocol == PROTOCOL => Ok(child),
        Some(Ok(hello)) => Err(format!("its agent speaks protocol {}, we speak {PROTOCOL}", hello.protocol).into()),
        _ => Err("its agent's first word could not be read".to_string().into()),
    }
}

/// What a process says on standard error must be taken off its hands; the end of it is kept.
fn drain(mut errors: ChildStderr, tail: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n) = errors.read(&mut buffer) {
        let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { return };
        let Ok(mut tail) = tail.lock() else { return };
        keep(&mut tail, piece);
    }
}

fn keep(said: &mut Vec<u8>, piece: &[u8]) {
    said.extend_from_slice(piece);
    let surplus = said.len().saturating_sub(KEPT);
    said.drain(..surplus);
}

/// The last lines that say something, on one line.
fn last_lines(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ")
}

/// Why there is no magic.
enum Trouble {
    /// The output ended.
    Ended,
    /// In words.
    Refused(String),
}

/// The conversation before the magic.
struct Talk {
    name: String,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    terminal: Option<Terminal>,
    /// What it said on standard error or the terminal, for messages.
    said: Vec<u8>,
    /// The same since the last answer, for prompts.
    asked: Vec<u8>,
}

impl Talk {
    /// Reads until the magic; gives what came behind it. What came before it is forgotten.
    fn until_magic(
        &mut self,
        prompt: Option<(&Prompt, Option<&Secret>)>,
        program: Option<&Program>,
    ) -> Result<Vec<u8>, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        let mut answered = false;
        let (mut begun, mut given) = (false, false);
        let mut errors_open = true;
        loop {
            let ready = self.wait(deadline, errors_open)?;
            let mut buffer = [0; 16 * 1024];
            if ready.errors {
                let n = self.errors.read(&mut buffer).unwrap_or(0);
                errors_open = n > 0;
                self.hear(buffer.get(..n).unwrap_or_default());
            }
            if ready.terminal {
                let n = self.terminal.as_mut().map_or(0, |t| t.read(&mut buffer));
                self.hear(buffer.get(..n).unwrap_or_default());
            }
            if let Some((prompt, password)) = prompt
                && let Some(on_terminal) = prompt.asks(&self.asked).then_some(ready.terminal && !ready.errors)
            {
                self.answer(password, answered, on_terminal)?;
                answered = true;
            }
            if ready.output {
                let n = self.output.read(&mut buffer).unwrap_or(0);
                if n == 0 {
                    // What it says about its end may still be on its way.
                    let mut rest = Vec::new();
                    if errors_open && self.wait_for_errors() {
                        let _ = (&mut self.errors).take(KEPT as u64).read_to_end(&mut rest);
                    }
                    keep(&mut self.said, &rest);
                    if answered && wrong_password(&String::from_utf8_lossy(&self.said)) {
                        return Err(Trouble::Refused(format!("`{}` says that the password is wrong", self.name)));
                    }
                    return Err(Trouble::Ended);
                }
                heard.extend_from_slice(buffer.get(..n).unwrap_or_default());
                if let Some(at) = find(&heard, MAGIC) {
                    return Ok(heard.split_off(at + MAGIC.len()));
                }
                if let Some(at) = find(&heard, FAIL.as_bytes()) {
                    let why = heard.split_off(at + FAIL.len());
                    if let Some(line) = why.split(|b| *b == b'\n').next().filter(|l| l.len() < why.len()) {
                        return Err(Trouble::Refused(String::from_utf8_lossy(line).trim().to_string()));
                    }
                    heard = [FAIL.as_bytes(), &why].concat();
                } else if let Some(program) = program.filter(|_| !begun && find(&heard, READY.as_bytes()).is_some()) {
                    begun = true;
                    heard.clear();
                    self.begin(program)?;
                } else if let Some(program) = program.filter(|_| !given && find(&heard, NEED.as_bytes()).is_some()) {
                    given = true;
                    heard.clear();
                    self.give(program)?;
                }
                // A magic may be cut in two, noise need not be kept.
                if heard.len() > KEPT * 8 {
                    heard.drain(..heard.len() - KEPT);
                }
            }
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        keep(&mut self.said, piece);
        keep(&mut self.asked, piece);
    }

    /// Answers a prompt, once.
    fn answer(&mut self, password: Option<&Secret>, answered: bool, on_terminal: bool) -> Result<(), Trouble> {
        let name = &self.name;
        if answered {
            return Err(Trouble::Refused(format!("`{name}` says that the password is wrong")));
        }
        let Some(password) = password else {
            return Err(Trouble::Refused(format!(
                "`{name}` asks for a password; set `ansible_become_password`, or use -K"
            )));
        };
        self.asked.clear();
        self.said.clear();
        let line = Secret::new(format!("{}\n", password.expose()));
        let written = match self.terminal.as_mut().filter(|_| on_terminal) {
            Some(terminal) => terminal.write(line.expose().as_bytes()),
            None => self.input.write_all(line.expose().as_bytes()).and_then(|()| self.input.flush()),
        };
        written.map_err(|e| Trouble::Refused(format!("cannot give the password to `{name}`: {e}")))
    }

    /// Gives the script to the shell that waits for it; a point ends it.
    fn begin(&mut self, program: &Program) -> Result<(), Trouble> {
        let script = format!("{}\n.\n", program.script);
        match self.input.write_all(script.as_bytes()).and_then(|()| self.input.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Trouble::Refused(format!("cannot give `{}` its script: {e}", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// Gives the program to a script that asked for it.
    fn give(&mut self, program: &Program) -> Result<(), Trouble> {
        let copied = std::fs::File::open(&program.path).and_then(|mut file| std::io::copy(&mut file, &mut self.input));
        match copied {
            // A script that stops reading says why on its output.
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Trouble::Refused(format!("cannot read {}: {e}", program.path.display())))
            }
            _ => Ok(()),
        }
    }

    fn wait(&self, deadline: Instant, errors_open: bool) -> Result<Ready, Trouble> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let said = last_lines(&self.said);
                let said = if said.is_empty() { "nothing".to_string() } else { format!("`{said}`") };
                return Err(Trouble::Refused(format!(
                    "`{}` did not start a program within {} s; it said {said}, and may wait for an answer other than a \
                     password",
                    self.name,
                    PATIENCE.as_secs()
                )));
            }
            let mut fds = vec![PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
            if errors_open {
                fds.push(PollFd::from_borrowed_fd(self.errors.as_fd(), PollFlags::IN));
            }
            if let Some(terminal) = self.terminal.as_ref() {
                fds.push(PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN));
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut fds, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) | Ok(0) => continue,
                Err(e) => return Err(Trouble::Refused(format!("cannot wait for `{}`: {e}", self.name))),
                Ok(_) => {}
            }
            let is = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
            return Ok(Ready {
                output: is(0),
                errors: errors_open && is(1),
                terminal: is(1 + usize::from(errors_open)),
            });
        }
    }

    fn wait_for_errors(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.errors.as_fd(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        matches!(poll(&mut fds, Some(&timeout)), Ok(n) if n > 0)
    }
}

/// What can be read without waiting.
struct Ready {
    output: bool,
    errors: bool,
    terminal: bool,
}

/// Whether the C locale's messages of sudo, su (PAM or not) and doas say so.
fn wrong_password(said: &str) -> bool {
    const SIGNS: [&str; 6] = [
        "incorrect password",
        "no password was provided",
        "authentication fail",
        "authorization failed",
        "sorry, try again",
        "incorrect authentication",
    ];
    let said = said.to_lowercase();
    SIGNS.iter().any(|sign| said.contains(sign))
}

fn find(heap: &[u8], needle: &[u8]) -> Option<usize> {
    heap.windows(needle.len()).position(|window| window == needle)
}
