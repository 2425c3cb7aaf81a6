//! One process: started, fed, watched and waited for, without ever blocking on a pipe that a daemon kept open.

use super::{Command, MachineError, Output, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long output may still arrive after the process itself has ended: what a daemon it left behind keeps open
/// is not waited for (as in Ansible).
const GRACE: Duration = Duration::from_millis(200);

/// How a long process is watched.
pub(crate) struct Watch<'a> {
    /// It is killed, with its process group, when it takes longer.
    pub timeout: Option<Duration>,
    /// Called about every two seconds with the time passed and the last line that it wrote.
    pub progress: &'a mut dyn FnMut(Duration, &str),
}

/// What a command finds in its environment beside what its login has: the task's and its own.
pub(crate) fn environment_of(task: &BTreeMap<String, String>, command: &Command) -> BTreeMap<String, String> {
    let mut around = task.clone();
    around.extend(command.environment.iter().cloned());
    around
}

/// Gives a process its environment. PATH is where administrators' programs are, too, unless the task says what it is; a
/// command that is the user's own has that of its login.
pub(crate) fn surround(process: &mut std::process::Command, around: &BTreeMap<String, String>, users: bool) {
    process.envs(around);
    let as_it_is = around.contains_key("PATH") || users && std::env::var_os("PATH").is_some();
    if !as_it_is {
        process.env("PATH", search_path(around));
    }
}

/// Where administrators' programs are, also for users whose PATH does not say so.
const SYSTEM_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The PATH in force, completed by the system's own directories.
pub(crate) fn search_path(environment: &BTreeMap<String, String>) -> String {
    let given = environment.get("PATH").cloned().or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
    let mut path: Vec<&str> = given.split(':').filter(|p| !p.is_empty()).collect();
    for directory in SYSTEM_PATH {
        if !path.contains(&directory) {
            path.push(directory);
        }
    }
    path.join(":")
}

/// The full path of a program, or nothing.
pub(crate) fn find_program(program: &str, path: &str) -> Option<String> {
    let executable = |candidate: &str| {
        rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
            && std::fs::metadata(candidate).is_ok_and(|m| m.is_file())
    };
    if program.contains('/') {
        return executable(program).then(|| program.to_string());
    }
    path.split(':').map(|directory| format!("{directory}/{program}")).find(|candidate| executable(candidate))
}

/// Runs a process to its end, or until `deadline`.
pub(crate) fn run(
    command: &Command,
    environment: &BTreeMap<String, String>,
    deadline: Option<Instant>,
    mut watch: Option<Watch<'_>>,
) -> Result<Output> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err(MachineError::failed("an empty command was given"));
    };
    let around = environment_of(environment, command);
    let path = search_path(&around);
    // Relative programs with a slash are relative to `chdir`, which the system resolves after changing into it.
    let found = if program.contains('/') { Some(program.clone()) } else { find_program(program, &path) };
    let Some(found) = found else {
        return Err(MachineError::MissingProgram { program: program.clone(), hint: String::new() });
    };
    let mut process = std::process::Command::new(&found);
    process.arg0(program).args(arguments);
    surround(&mut process, &around, command.users);
    process.stdout(Stdio::piped()).stderr(Stdio::piped());
    process.stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    if watch.is_some() || deadline.is_some() {
        process.process_group(0); // so that a timeout ends its children too
    }
    if let Some(directory) = &command.chdir {
        if !std::fs::metadata(directory).is_ok_and(|m| m.is_dir()) {
            return Err(MachineError::NoDirectory { directory: directory.clone(), why: "no such directory" });
        }
        if rustix::fs::access(directory.as_str(), rustix::fs::Access::EXEC_OK).is_err() {
            return Err(MachineError::NoDirectory { directory: directory.clone(), why: "it may not be entered" });
        }
        process.current_dir(directory);
    }
    let mut spawned = process.spawn();
    for _ in 0..20 {
        // Somebody who is being started still has the file open for writing: it is over in a moment.
        if !spawned.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ExecutableFileBusy) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        spawned = process.spawn();
    }
    let mut child = spawned.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => MachineError::MissingProgram { program: program.clone(), hint: String::new() },
        _ => MachineError::NotStarted { program: program.clone(), source },
    })?;

    let mut input = child.stdin.take().map(OwnedFd::from).zip(command.stdin.as_deref());
    let mut streams = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let broken = |what: &str, e: rustix::io::Errno| MachineError::io(format!("cannot {what} `{program}`"), e.into());
    for fd in streams.iter().flatten().chain(input.iter().map(|(fd, _)| fd)) {
        let flags = rustix::fs::fcntl_getfl(fd).map_err(|e| broken("set up the pipes of", e))?;
        rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)
            .map_err(|e| broken("set up the pipes of", e))?;
    }
    let pidfd = rustix::process::Pid::from_raw(child.id() as i32)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    let mut outputs = [Vec::new(), Vec::new()];
    let started = Instant::now();
    let mut next_report = started + Duration::from_secs(2);
    let mut ended: Option<Instant> = None;

    while streams.iter().any(Option::is_some) || ended.is_none() {
        if ended.is_none()
            && child.try_wait().map_err(|e| MachineError::io(format!("cannot wait for `{program}`"), e))?.is_some()
        {
            ended = Some(Instant::now());
            input = None;
        }
        if let Some(end) = ended
            && (streams.iter().all(Option::is_none) || end.elapsed() > GRACE)
        {
            break;
        }
        let now = Instant::now();
        let limit = watch.as_ref().and_then(|watch| watch.timeout).map(|limit| started + limit);
        let until = limit.into_iter().chain(deadline).min();
        if until.is_some_and(|until| now >= until) && ended.is_none() {
            if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
            return Err(MachineError::failed(format!(
                "`{}` was stopped because it took longer than {} s",
                command.argv.join(" "),
                started.elapsed().as_secs()
            )));
        }
        if let Some(watch) = watch.as_mut().filter(|_| now >= next_report) {
            (watch.progress)(started.elapsed(), &last_line(&outputs));
            next_report = now + Duration::from_secs(2);
        }
        // Without a pidfd (old kernels) the process is looked at every 50 ms.
        let wait = match (&ended, &pidfd, &watch) {
            (Some(_), _, _) | (None, None, _) => Duration::from_millis(50),
            (None, Some(_), Some(_)) => next_report.saturating_duration_since(now).min(Duration::from_secs(1)),
            (None, Some(_), None) => Duration::from_secs(3600),
        };
        let wait = until.map_or(wait, |until| wait.min(until.saturating_duration_since(now)));
        let mut fds = Vec::with_capacity(4);
        for fd in streams.iter().flatten() {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        if let Some((fd, _)) = &input {
            fds.push(PollFd::new(fd, PollFlags::OUT));
        }
        if let (Some(fd), None) = (&pidfd, &ended) {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(broken("watch", e)),
        }
        drop(fds);
        for (stream, output) in streams.iter_mut().zip(outputs.iter_mut()) {
            if stream.as_ref().is_some_and(|fd| !drain(fd.as_fd(), output)) {
                *stream = None;
            }
        }
        if let Some((fd, rest)) = input.take() {
            input = feed(fd, rest);
        }
    }
    let status = child.wait().map_err(|e| MachineError::io(format!("cannot wait for `{program}`"), e))?;
    let rc = status.code().unwrap_or_else(|| -status.signal().unwrap_or(1));
    let [stdout, stderr] = outputs;
    Ok(Output { rc, stdout, stderr })
}

/// Reads what is there; says whether more may come.
fn drain(fd: std::os::fd::BorrowedFd<'_>, output: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 64 * 1024];
    loop {
        match rustix::io::read(fd, &mut chunk) {
            Ok(0) => return false,
            Ok(n) => output.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}

/// Writes what fits; what is left is given back, nothing when the pipe is done.
fn feed(fd: OwnedFd, mut rest: &[u8]) -> Option<(OwnedFd, &[u8])> {
    while !rest.is_empty() {
        match rustix::io::write(&fd, rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Some((fd, rest)),
            Err(_) => return None, // a process may close its input early
        }
    }
    None
}

/// The last full line of output, for progress.
fn last_line(outputs: &[Vec<u8>; 2]) -> String {
    let tail = |bytes: &[u8]| {
        let tail = bytes.get(bytes.len().saturating_sub(400)..).unwrap_or_default();
        String::from_utf8_lossy(tail).lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_string)
    };
    outputs.iter().find_map(|bytes| tail(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new(["sh", "-c", script])
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_is_not_waited_for() {
        let started = Instant::now();
        let output = run(&sh("sleep 60 & echo started"), &BTreeMap::new(), None, None).unwrap();
        assert_eq!(output.stdout_text(), "started\n");
        assert!(started.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn large_input_and_output_do_not_block_each_other() {
        let bytes = vec![b'x'; 3 << 20];
        let command = Command { stdin: Some(bytes.clone()), ..Command::new(["cat"]) };
        assert_eq!(run(&command, &BTreeMap::new(), None, None).unwrap().stdout, bytes);
        // A program that does not read its input is no failure.
        let command = Command { stdin: Some(bytes), ..Command::new(["true"]) };
        assert_eq!(run(&command, &BTreeMap::new(), None, None).unwrap().rc, 0);
    }

    #[test]
    fn output_after_the_pipe_is_closed_does_not_end_the_wait() {
        let started = Instant::now();
        let output = run(&sh("exec >&- 2>&-; sleep 0.4; exit 3"), &BTreeMap::new(), None, None).unwrap();
        assert_eq!(output.rc, 3);
        assert!(started.elapsed() >= Duration::from_millis(400));
    }

    #[test]
    fn a_timeout_ends_the_whole_group_and_progress_is_told() {
        let mut lines = Vec::new();
        let mut progress = |_, line: &str| lines.push(line.to_string());
        let watch = Watch { timeout: Some(Duration::from_millis(2500)), progress: &mut progress };
        let error = run(&sh("echo one; echo two; sleep 60"), &BTreeMap::new(), None, Some(watch)).unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
        assert_eq!(lines, ["two"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = run(&Command::new(["no-such-program-here"]), &BTreeMap::new(), None, None).unwrap_err();
        assert!(matches!(error, MachineError::MissingProgram { program, .. } if program == "no-such-program-here"));
        let command = Command { chdir: Some("/no/such".into()), ..Command::new(["true"]) };
        assert!(run(&command, &BTreeMap::new(), None, None).unwrap_err().to_string().contains("/no/such"));
    }
}
