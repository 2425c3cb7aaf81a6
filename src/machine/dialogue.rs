//! A process at a terminal of its own, that is answered when it asks.

use super::history::Entry;
use super::{Change, Command, Domain, Machine, MachineError, Result, Subject, Undo, process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is made of what a process has written since it was answered last.
pub enum Turn {
    /// It did not ask yet.
    Wait,
    /// So many bytes of it end with a question; this is the answer.
    Answer(usize, Vec<u8>),
    /// It is given up.
    GiveUp,
}

/// How a dialogue ended.
#[derive(Debug, Default)]
pub struct Dialogue {
    /// All that was written to the terminal.
    pub output: Vec<u8>,
    /// The exit status; nothing when it was ended by a signal, took too long, or was given up.
    pub rc: Option<i32>,
}

impl Machine {
    /// Runs a command at a terminal, recorded as [`Machine::exec`] records one. `silence` is how long it may go without
    /// asking; with `echo` the terminal shows what it is answered.
    pub fn converse(
        &mut self,
        command: &Command,
        silence: Option<Duration>,
        echo: bool,
        listen: &mut dyn FnMut(&[u8]) -> Result<Turn>,
    ) -> Result<Dialogue> {
        if self.predicted() {
            return self.exec(command).map(|_| Dialogue::default()); // says that it is not run in a check
        }
        let name = command.argv.first().cloned().unwrap_or_default();
        let path = process::search_path(&process::environment_of(&self.environment, command));
        let Some(program) = process::find_program(&name, &path) else {
            return Err(MachineError::MissingProgram { program: name, hint: String::new() });
        };
        // Before it runs: it may not come back.
        self.log(Entry::Step { domain: Domain::Command, name: name.clone(), what: "ran".into() });
        let (child, terminal) = self.start(&program, command, echo)?;
        let mut child = Reaped(child);
        let mut dialogue = Dialogue::default();
        let given_up = self.talk(&mut child.0, &terminal, silence, listen, &mut dialogue)?;
        drop(terminal);
        if !given_up {
            let status = child.0.wait().map_err(|e| MachineError::io(format!("cannot wait for `{name}`"), e))?;
            dialogue.rc = status.code();
        }
        drop(child);
        let what = dialogue.rc.map_or("ran, without an exit status".into(), |rc| format!("ran, exit status {rc}"));
        self.record(Change::effect(Subject::new(Domain::Command, name), what, Undo::None));
        Ok(dialogue)
    }

    /// Listens and answers until the process has ended; whether it is given up.
    fn talk(
        &self,
        child: &mut std::process::Child,
        terminal: &OwnedFd,
        silence: Option<Duration>,
        listen: &mut dyn FnMut(&[u8]) -> Result<Turn>,
        dialogue: &mut Dialogue,
    ) -> Result<bool> {
        let (mut from, mut asked) = (0, Instant::now());
        let (mut open, mut ended) = (true, false);
        loop {
            let until = silence.map(|limit| asked + limit).into_iter().chain(self.deadline).min();
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(!ended);
            }
            if !open {
                // It closed its terminal, and may run on.
                if self.gone(child)? {
                    return Ok(false);
                }
                std::thread::sleep(GLANCE / 10);
                continue;
            }
            // What it left running may keep the terminal open: once it has ended, what is there is read and no more.
            let left = until.map_or(GLANCE, |until| until.saturating_duration_since(Instant::now()).min(GLANCE));
            let wait = if ended { Duration::ZERO } else { left };
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            match poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&wait)) {
                Ok(0) if ended => return Ok(false),
                Ok(0) => {
                    ended = self.gone(child)?;
                    continue;
                }
                Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(e) => return Err(MachineError::io("cannot listen at the terminal", e.into())),
            }
            let mut chunk = [0; 4096];
            match rustix::io::read(terminal, &mut chunk) {
                Ok(0) => open = false,
                Ok(n) => dialogue.output.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => open = false, // nobody has the other end open any more
            }
            if !open {
                continue;
            }
            // It may have asked more than once.
            while from < dialogue.output.len() {
                match listen(dialogue.output.get(from..).unwrap_or_default())? {
                    Turn::Wait => break,
                    Turn::GiveUp => return Ok(true),
                    Turn::Answer(length, answer) => {
                        from += length;
                        asked = Instant::now();
                        write_all(terminal, &answer);
                        if length == 0 {
                            break; // it would be found there again and again
                        }
                    }
                }
            }
        }
    }

    fn gone(&self, child: &mut std::process::Child) -> Result<bool> {
        let ended = child.try_wait().map_err(|e| MachineError::io("cannot wait for a command at a terminal", e))?;
        Ok(ended.is_some())
    }

    fn start(&self, program: &str, command: &Command, echo: bool) -> Result<(std::process::Child, OwnedFd)> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let lost = |e: rustix::io::Errno| MachineError::io("cannot make a terminal", e.into());
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(lost)?;
        grantpt(&terminal).map_err(lost)?;
        unlockpt(&terminal).map_err(lost)?;
        let name = ptsname(&terminal, Vec::new()).map_err(lost)?;
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let end = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).map_err(lost)?;
        let mut modes = tcgetattr(&end).map_err(lost)?;
        modes.local_modes.set(LocalModes::ECHO, echo);
        tcsetattr(&end, OptionalActions::Now, &modes).map_err(lost)?;
        let stream = || end.try_clone().map(Stdio::from).map_err(|e| MachineError::io("cannot make a terminal", e));
        let mut process = std::process::Command::new(program);
        process.args(command.argv.iter().skip(1));
        process::surround(&mut process, &process::environment_of(&self.environment, command), command.users);
        process.stdin(stream()?).stdout(stream()?).stderr(stream()?);
        if let Some(directory) = &command.chdir {
            process.current_dir(directory);
        }
        // A process asks for passwords at its controlling terminal, whatever its streams are.
        // SAFETY: between fork and exec two system calls are made, on descriptors that are open.
        unsafe {
            process.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = process.spawn().map_err(|e| MachineError::io(format!("cannot start `{program}`"), e))?;
        Ok((child, terminal))
    }
}

/// How often it is looked whether the process has ended.
const GLANCE: Duration = Duration::from_millis(500);

/// A process that is neither left running nor left as a zombie.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::HUP);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait(); // it was killed
    }
}

/// Who has gone meanwhile needs no answer.
fn write_all(terminal: &OwnedFd, mut rest: &[u8]) {
    while !rest.is_empty() {
        match rustix::io::write(terminal.as_fd(), rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    fn shell(text: &str) -> Command {
        Command::new(["sh", "-c", text])
    }

    #[test]
    fn two_questions_in_one_breath_are_both_answered() {
        let mut machine = Machine::new(Mode::Live);
        let mut command = shell("printf 'A? B? '; read a; read b; echo $a$b$c");
        command.environment.push(("c".into(), "own".into()));
        let dialogue = machine.converse(&command, Some(Duration::from_secs(5)), false, &mut |said| {
            let text = String::from_utf8_lossy(said);
            let found = text.find('?');
            Ok(found.map_or(Turn::Wait, |at| Turn::Answer(at + 1, format!("{}\n", &text[at - 1..at]).into_bytes())))
        });
        let dialogue = dialogue.unwrap();
        assert_eq!(dialogue.rc, Some(0));
        assert!(String::from_utf8_lossy(&dialogue.output).contains("ABown"), "{dialogue:?}");
    }

    #[test]
    fn it_ends_when_the_command_does_or_time_is_over() {
        let wait = |text: &str, silence: u64| {
            let began = Instant::now();
            let mut machine = Machine::new(Mode::Live);
            let silence = Some(Duration::from_secs(silence));
            let dialogue = machine.converse(&shell(text), silence, false, &mut |_| Ok(Turn::Wait)).unwrap();
            assert!(began.elapsed() < Duration::from_secs(8), "{text}");
            dialogue.rc
        };
        // What it leaves running has the terminal open; a closed terminal is no end.
        assert_eq!(wait("trap '' HUP; sleep 20 & exit 3", 15), Some(3));
        assert_eq!(wait("exec </dev/null >/dev/null 2>&1; sleep 20", 1), None);
    }

    #[test]
    fn an_error_leaves_nothing_running() {
        let mut machine = Machine::new(Mode::Live);
        let mut pid = 0;
        let failed = machine.converse(&shell("echo $$; sleep 30"), None, false, &mut |said| {
            pid = String::from_utf8_lossy(said).trim().parse().unwrap_or(0);
            Err(MachineError::failed("no"))
        });
        assert!(failed.is_err() && pid > 0 && !std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
