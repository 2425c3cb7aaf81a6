//! `reboot`: boots the host and waits until it is back.

use crate::machine::{Command, Machine, Output};
use crate::modules::scalars::{Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// `ansible.builtin.reboot`
pub const REBOOT: Module = Module {
    name: "ansible.builtin.reboot",
    aliases: &["reboot", "ansible.legacy.reboot"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Reboot::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(controller::action),
};

/// What the host half is asked for: the controller goes through them one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// What tells one start of the host from the next.
    Look,
    /// The command that boots it.
    Boot,
    /// Whether it works.
    Test,
}

crate::arguments! {
    /// Boots the host, waits until it is back, and connects to it anew.
    ///
    /// In a check it is not booted, and its task says that it would be. The nodes of a cluster belong in a `rolling:`
    /// play: outside of one nothing holds the next node back until this one has joined again.
    pub struct Reboot {
        /// Seconds before it goes down. On Linux in whole minutes: less than 60 is at once.
        #[serde(default, alias = "pre_reboot_delay_sec")]
        pub pre_reboot_delay: Option<Int>,
        /// Seconds to wait after the command before the host is looked for.
        #[serde(default, alias = "post_reboot_delay_sec")]
        pub post_reboot_delay: Option<Int>,
        /// Seconds until the host must be back, and again until the test command must succeed; 600 when not given.
        #[serde(alias = "reboot_timeout_sec")]
        pub reboot_timeout: Option<Int>,
        /// Seconds that one attempt to connect may take; its agent and its answer may take 30 more.
        #[serde(alias = "connect_timeout_sec")]
        pub connect_timeout: Option<Int>,
        /// The command that shows that the host works; `whoami` when not given.
        pub test_command: Option<Text>,
        /// What the users of the host are told.
        pub msg: Option<Text>,
        /// Where the command is looked for.
        pub search_paths: Option<TextList>,
        /// A command whose output is another one after each start; the kernel's boot id when not given.
        pub boot_time_command: Option<Text>,
        /// The command that boots the host, with its arguments, instead of `shutdown -r`.
        pub reboot_command: Option<Text>,
        /// Set by the controller.
        #[serde(default, rename = "_step")]
        pub step: Option<Step>,
    }
}

/// Where `shutdown` is looked for.
const SEARCHED: [&str; 5] = ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"];

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Reboot = decode(arguments)?;
    machine.no_log = context.no_log;
    let shell = |text: &str| Command::new(["/bin/sh", "-c", text]);
    let text = |text: &Option<Text>, default: &str| text.as_ref().map_or(default.to_string(), |text| text.0.clone());
    if machine.predicted() {
        machine.reboot(&Command::default())?;
        return Ok(Outcome::ok().with("rebooted", true).with("elapsed", 0));
    }
    let output = match arguments.step {
        Some(Step::Look) => {
            machine.probe(&shell(&text(&arguments.boot_time_command, "cat /proc/sys/kernel/random/boot_id")))?
        }
        Some(Step::Test) => machine.probe(&shell(&text(&arguments.test_command, "whoami")))?,
        Some(Step::Boot) => {
            let command =
                command(&arguments, Path::new("/etc/alpine-release").exists(), |path| Path::new(path).exists())?;
            machine.reboot(&shell(&command))?
        }
        None => return Err(ModuleError::Failed("a reboot needs the controller: it cannot be left running".into())),
    };
    Ok(told(&output))
}

fn told(output: &Output) -> Outcome {
    Outcome::ok()
        .with("rc", output.rc)
        .with("stdout", output.stdout_text().trim())
        .with("stderr", output.stderr_text().trim())
}

/// The command line that boots the host.
fn command(arguments: &Reboot, alpine: bool, exists: impl Fn(&str) -> bool) -> Result<String, ModuleError> {
    let minutes = arguments.pre_reboot_delay.map_or(0, |seconds| seconds.0.max(0)) / 60;
    let message = arguments.msg.as_ref().map_or("Reboot initiated by Ansible", |text| text.0.as_str());
    let (program, rest) = match &arguments.reboot_command {
        Some(command) => {
            let (program, rest) = command.0.split_once(' ').unwrap_or((&command.0, ""));
            (program.to_string(), rest.to_string())
        }
        None if alpine => ("reboot".into(), String::new()),
        None => ("shutdown".into(), format!("-r {minutes} \"{message}\"")),
    };
    if program.starts_with('/') {
        return Ok(format!("{program} {rest}"));
    }
    let searched =
        arguments.search_paths.as_ref().map_or_else(|| SEARCHED.map(String::from).to_vec(), |paths| paths.0.clone());
    let found =
        searched.iter().map(|path| format!("{}/{program}", path.trim_end_matches('/'))).find(|path| exists(path));
    match found {
        Some(found) => Ok(format!("{found} {rest}")),
        None => Err(ModuleError::Failed(format!(
            "Unable to find command \"{program}\" in search paths: {}",
            searched.join(", ")
        ))),
    }
}

#[cfg(feature = "controller")]
mod controller {
    use super::Reboot;
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, Status, decode};
    use serde_json::{Map, Value, json};
    use std::time::{Duration, Instant};

    /// Looks, boots, and waits until the host has another start behind it.
    pub(super) fn action(host: &dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'_, Prepared> {
        Box::pin(async move {
            let wanted: Reboot = decode(arguments.clone()).map_err(|error| ActionError::Failed(error.to_string()))?;
            if host.is_local() {
                let why = "Running ansible.builtin.reboot with local connection would reboot the control node.";
                return Ok(Prepared::Done(Outcome::failed(why).with("rebooted", false).with("elapsed", 0)));
            }
            if host.check() {
                return Ok(Prepared::Send(arguments));
            }
            reboot(host, &wanted, &arguments).await.map(Prepared::Done)
        })
    }

    async fn reboot(
        host: &dyn ActionHost,
        wanted: &Reboot,
        arguments: &Map<String, Value>,
    ) -> Result<Outcome, ActionError> {
        let seconds = |value: Option<crate::modules::scalars::Int>, default: u64| {
            value.map_or(default, |value| u64::try_from(value.0).unwrap_or(0))
        };
        let before = match said(host.call(MODULE, with_step(arguments, "look")).await?) {
            Ok(before) => before,
            Err((rc, stdout, stderr)) => {
                let why =
                    format!("reboot: failed to get host boot time info, rc: {rc}, stdout: {stdout}, stderr: {stderr}");
                return Ok(Outcome::failed(why).with("reboot", false));
            }
        };
        let booted = match host.call(MODULE, with_step(arguments, "boot")).await {
            // It went down before it could answer.
            Err(ActionError::Unreachable(_)) => Outcome::ok(),
            other => other?,
        };
        let began = Instant::now();
        if let Err((_, stdout, stderr)) = said(booted) {
            let why = format!("Reboot command failed. Error was: '{stdout}, {stderr}'");
            return Ok(Outcome::failed(why).with("rebooted", false).with("elapsed", began.elapsed().as_secs()));
        }
        tokio::time::sleep(Duration::from_secs(seconds(wanted.post_reboot_delay, 0))).await;
        let limit = Duration::from_secs(seconds(wanted.reboot_timeout, 600));
        let connect = wanted.connect_timeout.map(|seconds| Duration::from_secs(u64::try_from(seconds.0).unwrap_or(1)));
        let done = |why: Option<String>| {
            let outcome = Outcome { changes: vec![rebooted()], ..Outcome::ok() };
            let mut outcome = outcome.with("rebooted", true).with("elapsed", began.elapsed().as_secs());
            if let Some(why) = why {
                outcome.status = Status::Failed;
                outcome.msg = Some(why);
            }
            outcome
        };
        let wait = Wait { host, arguments, before: &before, connect };
        if let Err(last) = wait.until(limit, Wanted::Back).await {
            return Ok(done(Some(late("last boot time check", limit, &last))));
        }
        match wait.until(limit, Wanted::Works).await {
            Ok(()) => Ok(done(None)),
            Err(last) => Ok(done(Some(late("post-reboot test command", limit, &last)))),
        }
    }

    /// What is waited for.
    #[derive(Clone, Copy)]
    enum Wanted {
        /// It has another start behind it.
        Back,
        /// The test command succeeds.
        Works,
    }

    struct Wait<'a> {
        host: &'a dyn ActionHost,
        arguments: &'a Map<String, Value>,
        before: &'a str,
        connect: Option<Duration>,
    }

    impl Wait<'_> {
        async fn attempt(&self, wanted: Wanted) -> Result<(), String> {
            match wanted {
                Wanted::Back => {
                    self.host.connect_anew(self.connect).await.map_err(|error| error.to_string())?;
                    match said(self.ask("look").await?) {
                        Ok(now) if !now.is_empty() && now != self.before => Ok(()),
                        Ok(_) => Err("boot time has not changed".into()),
                        Err((rc, _, stderr)) => Err(format!("the boot time cannot be had: rc {rc}: {stderr}")),
                    }
                }
                Wanted::Works => {
                    let tested = match self.ask("test").await {
                        Ok(tested) => tested,
                        Err(_) => {
                            // It may have been booted once more: why it cannot be connected to is what counts.
                            self.host.connect_anew(self.connect).await.map_err(|error| error.to_string())?;
                            self.ask("test").await?
                        }
                    };
                    let failed = |(_, stdout, stderr)| format!("Test command failed: {stderr} {stdout}");
                    said(tested).map(drop).map_err(failed)
                }
            }
        }

        async fn ask(&self, step: &str) -> Result<Outcome, String> {
            self.host.call(MODULE, with_step(self.arguments, step)).await.map_err(|error| error.to_string())
        }

        /// Tries until it succeeds or the time is over; then the last error.
        async fn until(&self, limit: Duration, wanted: Wanted) -> Result<(), String> {
            let began = Instant::now();
            let mut pause = Duration::from_millis(500);
            let mut last = None;
            while began.elapsed() < limit {
                let left = limit.saturating_sub(began.elapsed());
                let time = self.connect.map_or(left, |connect| left.min(connect + ANSWER));
                match tokio::time::timeout(time, self.attempt(wanted)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(why)) => last = Some(why),
                    Err(_) => {
                        let _ = self.host.hang_up().await;
                        last.get_or_insert_with(|| format!("no answer within {} s", time.as_secs()));
                    }
                }
                tokio::time::sleep(pause.min(limit.saturating_sub(began.elapsed()))).await;
                pause = (pause * 3 / 2).min(Duration::from_secs(5));
            }
            Err(last.unwrap_or_else(|| "there was no time for one".into()))
        }
    }

    /// How long an agent may take to start and to answer, beside the time to connect.
    const ANSWER: Duration = Duration::from_secs(30);

    const MODULE: &str = "ansible.builtin.reboot";

    fn rebooted() -> crate::machine::Change {
        use crate::machine::{Change, Domain, Subject, Undo};
        Change::effect(Subject::new(Domain::Command, "reboot"), "rebooted", Undo::None)
    }

    fn with_step(arguments: &Map<String, Value>, step: &str) -> Map<String, Value> {
        let mut arguments = arguments.clone();
        arguments.insert("_step".into(), json!(step));
        arguments
    }

    /// What a command on the host printed; of one that failed the status, and both outputs.
    fn said(outcome: Outcome) -> Result<String, (i64, String, String)> {
        let text = |name: &str| outcome.data.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let rc = outcome.data.get("rc").and_then(Value::as_i64).unwrap_or(0);
        match outcome.status {
            Status::Ok if rc == 0 => Ok(text("stdout")),
            Status::Ok => Err((rc, text("stdout"), text("stderr"))),
            _ => Err((1, String::new(), outcome.msg.unwrap_or_default())),
        }
    }

    fn late(what: &str, limit: Duration, last: &str) -> String {
        format!("Timed out waiting for {what} (timeout={}); the last attempt: {last}", limit.as_secs())
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::modules::{Content, FileKind, RenderOptions};
        use std::path::{Path, PathBuf};

        /// A host that does not come back.
        struct Down {
            silent: bool,
            hung_up: std::sync::atomic::AtomicUsize,
        }

        fn none<T>() -> Result<T, ActionError> {
            Err(ActionError::Failed("needs a host, and this task has none".into()))
        }

        impl ActionHost for Down {
            fn connect_anew<'a>(&'a self, _: Option<Duration>) -> ActionFuture<'a, ()> {
                Box::pin(async move {
                    if self.silent {
                        std::future::pending::<()>().await;
                    }
                    Err(ActionError::Unreachable("connection refused".into()))
                })
            }
            fn hang_up<'a>(&'a self) -> ActionFuture<'a, ()> {
                self.hung_up.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Box::pin(async { Ok(()) })
            }
            fn call<'a>(&'a self, _: &'a str, _: Map<String, Value>) -> ActionFuture<'a, Outcome> {
                Box::pin(async { none() })
            }
            fn reconnect<'a>(&'a self) -> ActionFuture<'a, ()> {
                Box::pin(async { none() })
            }
            fn host(&self) -> &str {
                "db1"
            }
            fn check(&self) -> bool {
                false
            }
            fn diff(&self) -> bool {
                false
            }
            fn template(&self, _: &str) -> Result<Value, ActionError> {
                none()
            }
            fn render(
                &self,
                _: &Path,
                _: &str,
                _: &RenderOptions,
                _: Map<String, Value>,
            ) -> Result<String, ActionError> {
                none()
            }
            fn variable(&self, _: &str) -> Result<Option<Value>, ActionError> {
                none()
            }
            fn find_file(&self, _: FileKind, _: &str) -> Result<PathBuf, ActionError> {
                none()
            }
            fn unvault(&self, _: &Path, _: Vec<u8>) -> Result<Vec<u8>, ActionError> {
                none()
            }
            fn offer(&self, _: Vec<u8>) -> Content {
                Content::Text(String::new())
            }
            fn offer_file(&self, _: &Path) -> Result<Content, ActionError> {
                none()
            }
            fn received(&self, _: &str) -> Result<PathBuf, ActionError> {
                none()
            }
            fn with_controller(
                &self,
                _: &mut dyn FnMut(&mut crate::machine::Machine) -> Result<(), ActionError>,
            ) -> Result<(), ActionError> {
                none()
            }
            fn conceal(&self, _: &crate::secret::Secret) {}
            fn warn(&self, _: String) {}
        }

        #[test]
        fn the_limit_cuts_an_attempt_and_the_reason_is_told() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            for (silent, wanted, told, hung_up) in [
                (true, Wanted::Back, "no answer within", 1),
                (false, Wanted::Back, "connection refused", 0),
                (false, Wanted::Works, "connection refused", 0),
            ] {
                let host = Down { silent, hung_up: Default::default() };
                let wait = Wait { host: &host, arguments: &Map::new(), before: "", connect: None };
                let began = Instant::now();
                let why = runtime.block_on(wait.until(Duration::from_millis(700), wanted)).unwrap_err();
                assert!(began.elapsed() < Duration::from_secs(60) && why.contains(told), "{why}");
                assert_eq!(host.hung_up.into_inner(), hung_up);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply, check, object};
    use serde_json::json;

    #[test]
    fn the_command_is_ansibles() {
        let there = |path: &str| path == "/usr/sbin/shutdown" || path == "/opt/x/boot" || path == "/sbin/reboot";
        let line = |arguments: Value, alpine| command(&decode(object(arguments)).unwrap(), alpine, there).ok();
        for (arguments, alpine, expected) in [
            (json!({}), false, Some("/usr/sbin/shutdown -r 0 \"Reboot initiated by Ansible\"")),
            (json!({"pre_reboot_delay": 59, "msg": "bye"}), false, Some("/usr/sbin/shutdown -r 0 \"bye\"")),
            (json!({"pre_reboot_delay_sec": "120", "msg": "bye"}), false, Some("/usr/sbin/shutdown -r 2 \"bye\"")),
            (json!({}), true, Some("/sbin/reboot ")),
            (json!({"reboot_command": "/x -f now"}), false, Some("/x -f now")),
            (json!({"reboot_command": "boot it", "search_paths": ["/opt", "/opt/x"]}), false, Some("/opt/x/boot it")),
            (json!({"reboot_command": "nothing"}), false, None),
        ] {
            assert_eq!(line(arguments.clone(), alpine).as_deref(), expected, "{arguments}");
        }
    }

    #[test]
    fn a_check_says_changed_and_a_step_reports() {
        let foreseen = check("reboot", &json!({"reboot_timeout": 5}));
        assert!(foreseen.changed() && foreseen.data["rebooted"] == true);
        let look = apply("reboot", &json!({"_step": "look", "boot_time_command": "echo 7; exit 3"}));
        assert_eq!((look.data["rc"].as_i64(), look.data["stdout"].as_str()), (Some(3), Some("7")));
        let tested = apply("reboot", &json!({"_step": "test"}));
        assert_eq!((tested.status, tested.changes.len()), (Status::Ok, 0));
        let booted = apply("reboot", &json!({"_step": "boot", "reboot_command": "/bin/false"}));
        assert_eq!((booted.data["rc"].as_i64(), booted.changes.len()), (Some(1), 0));
        assert!(apply("reboot", &json!({"_step": "boot", "reboot_command": "/bin/true"})).changed());
        assert_eq!(apply("reboot", &json!({})).status, Status::Failed);
    }
}
