//! A task that is left running on the host: `async` with `poll: 0`. A process of its own runs it and leaves the result
//! in a file below `~/.ansible_async`, where `async_status` looks; it outlives the connection.

use super::{AgentError, Find, signals};
use crate::machine::{Machine, Mode};
use crate::modules::{Context, JOBS, Job, NoController, Outcome, without_output};
use crate::wire::{Detach, TaskRequest};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts the task and says under which name it can be asked for.
pub(super) fn start(request: &TaskRequest, detach: &Detach, machine: &mut Machine) -> Outcome {
    match launch(request, detach) {
        Ok((job, file)) => {
            machine.note_started(&request.module, &job);
            Outcome::ok()
                .with("ansible_job_id", job)
                .with("results_file", file.display().to_string())
                .with("started", true)
                .with("finished", false)
        }
        Err(why) => Outcome::failed(format!("the task cannot be left running: {why}")),
    }
}

fn launch(request: &TaskRequest, detach: &Detach) -> Result<(String, PathBuf), String> {
    let directory = directory(&request.environment)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|e| format!("cannot create {}: {e}", directory.display()))?;
    let request = TaskRequest { detach: None, timeout: detach.limit, ..request.clone() };
    let request = serde_json::to_vec(&request).map_err(|e| e.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["--job".as_ref(), directory.join(&detach.job).as_os_str()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    // SAFETY: between fork and exec only `setsid` is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
    let mut process = command.spawn().map_err(|e| format!("cannot start a process for it: {e}"))?;
    let job = format!("{}.{}", detach.job, process.id());
    let file = directory.join(&job);
    let begun = write(&file, &Job { ansible_job_id: job.clone(), started: 1, finished: 0, outcome: None });
    let fed = process.stdin.take().map(|mut input| input.write_all(&request));
    // Whoever starts a process takes note of its end.
    std::thread::spawn(move || process.wait());
    begun.and(fed.transpose()).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok((job, file))
}

/// Where results are: Ansible's directory.
fn directory(environment: &std::collections::BTreeMap<String, String>) -> Result<PathBuf, String> {
    if let Some(directory) = environment.get("ANSIBLE_ASYNC_DIR").filter(|directory| directory.starts_with('/')) {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").ok_or("there is no HOME")?;
    Ok(Path::new(&home).join(JOBS))
}

/// Writes a job's file in one step, for its owner alone.
fn write(file: &Path, job: &Job) -> std::io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut out =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(Path::new(&temporary))?;
    out.write_all(&serde_json::to_vec(job)?)?;
    out.sync_all()?;
    std::fs::rename(temporary, file)
}

/// The process of one job: reads its request, runs it, leaves the result.
pub(super) fn run(mut input: impl Read, stem: Option<&str>, find: Find) -> Result<(), AgentError> {
    signals::ignore();
    let stem = stem.ok_or_else(|| AgentError::Usage("--job without a file".into()))?;
    let job = format!("{stem}.{}", std::process::id());
    let file = PathBuf::from(job);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let broken = |source| AgentError::io(format!("cannot write {}", file.display()), source);
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(|e| AgentError::io("cannot read the request", e))?;
    let done = |outcome| Job { ansible_job_id: name.clone(), started: 1, finished: 1, outcome: Some(outcome) };
    let Ok(request) = serde_json::from_slice::<TaskRequest>(&text) else {
        return write(&file, &done(Outcome::failed("the request cannot be read"))).map_err(broken);
    };
    let limit = request.timeout;
    let late = move || without_output(Outcome::failed(format!("Job reached maximum time limit of {limit} seconds.")));
    let deadline = Instant::now() + Duration::from_secs(limit.clamp(1, 31_536_000));
    let (watched, too_late) = (file.clone(), done(late()));
    std::thread::spawn(move || {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1500));
        let _ = write(&watched, &too_late);
        std::process::exit(1);
    });
    let mut machine = Machine::new(Mode::Live);
    (machine.environment, machine.no_log, machine.diff) = (request.environment, request.no_log, request.diff);
    machine.deadline = Some(deadline);
    let mut context = Context { diff: request.diff, no_log: request.no_log, controller: &mut NoController };
    let mut outcome = match find(&request.module).and_then(|module| module.run) {
        Some(run) => run(request.arguments, &mut machine, &mut context).unwrap_or_else(Outcome::from),
        None => Outcome::failed(format!("the agent has no module `{}`", request.module)),
    };
    if Instant::now() >= deadline {
        outcome = late();
    }
    outcome.changes = machine.take_changes();
    write(&file, &done(outcome)).map_err(broken)
}
