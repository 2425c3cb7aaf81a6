//! `async_status`: how far a task is that was left running.

use crate::machine::Machine;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, JOBS, Job, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::Path;

/// `ansible.builtin.async_status`
pub const ASYNC_STATUS: Module = Module {
    name: "ansible.builtin.async_status",
    aliases: &["async_status", "ansible.legacy.async_status"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: AsyncStatus::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// How far a task is that was started with `async` and `poll: 0`.
    ///
    /// Use it with `until: result is finished`. Ask as the user who started the task. When the job is over, its result is this
    /// task's result. Jobs are known by their files below `~/.ansible_async`.
    pub struct AsyncStatus {
        /// The job: `ansible_job_id` of the result of the task that started it.
        pub jid: Text,
        /// `status` asks; `cleanup` removes the job's file.
        pub mode: Option<String>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: AsyncStatus = decode(arguments)?;
    let job = arguments.jid.0;
    let directory = match machine.environment.get("ANSIBLE_ASYNC_DIR") {
        Some(directory) => directory.clone(),
        None => format!("{}/{JOBS}", std::env::var("HOME").unwrap_or_default()),
    };
    if job.is_empty() || job.contains('/') || job.starts_with('.') {
        return Err(ModuleError::Failed(format!("`{job}` is no job's name")));
    }
    let file = Path::new(&directory).join(&job);
    match arguments.mode.as_deref() {
        None | Some("status") => {}
        Some("cleanup") => {
            // The file is our own book-keeping: that it goes is no change of the host, as in Ansible.
            if !machine.predicted() {
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(ModuleError::Failed(format!("cannot remove {}: {error}", file.display())));
                    }
                    _ => {}
                }
            }
            let outcome = without_output(Outcome::ok()).with("started", false).with("finished", false);
            return Ok(outcome.with("ansible_job_id", job).with("erased", file.display().to_string()));
        }
        Some(other) => return Err(ModuleError::Failed(format!("mode `{other}` is not known: use status or cleanup"))),
    }
    let known = |outcome: Outcome, finished: bool| {
        let outcome = outcome.with("ansible_job_id", job.clone()).with("started", true).with("finished", finished);
        outcome.with("results_file", file.display().to_string())
    };
    let Ok(text) = std::fs::read(&file) else {
        let why = format!("could not find job {job}: there is no {}", file.display());
        return Ok(known(without_output(Outcome::failed(why)), true));
    };
    let found: Job = serde_json::from_slice(&text)
        .map_err(|e| ModuleError::Failed(format!("the job's file {} cannot be read: {e}", file.display())))?;
    match found.outcome {
        None if gone(&job) => {
            let outcome = Outcome::failed("the job's process ended without leaving a result");
            Ok(known(without_output(outcome), true))
        }
        None => Ok(known(without_output(Outcome::ok()), false)),
        Some(mut outcome) => {
            outcome.changes.drain(..).for_each(|change| machine.adopt(change));
            Ok(known(outcome, true))
        }
    }
}

/// The output of a job that has not ended, or is not known: nothing.
pub(crate) fn no_output() -> [(&'static str, Value); 4] {
    [
        ("stdout", "".into()),
        ("stderr", "".into()),
        ("stdout_lines", Vec::<Value>::new().into()),
        ("stderr_lines", Vec::<Value>::new().into()),
    ]
}

pub(crate) fn without_output(outcome: Outcome) -> Outcome {
    no_output().into_iter().fold(outcome, |outcome, (name, none)| outcome.with(name, none))
}

/// Whether a job's process is there no longer.
fn gone(job: &str) -> bool {
    let process = job.rsplit('.').next().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.is_empty() || status.contains(") Z ")
}
