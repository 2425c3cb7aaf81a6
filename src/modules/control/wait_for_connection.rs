//! `wait_for_connection`: waits until a host can be connected to.

use super::control;
use crate::modules::scalars::Int;
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Waits until the host can be connected to and its agent answers. Each attempt is a new connection, which the tasks
    /// behind it use.
    ///
    /// In a check it is skipped.
    pub struct WaitForConnection {
        /// Seconds that one attempt to connect may take, 5 when not given; its agent and its answer may take 30 more.
        pub connect_timeout: Option<Int>,
        /// Seconds before the first attempt.
        pub delay: Option<Int>,
        /// Seconds between attempts; 1 when not given.
        pub sleep: Option<Int>,
        /// Seconds after which it fails; 600 when not given.
        pub timeout: Option<Int>,
    }
}

/// The module. It has no host half: what it waits for is that there is a host to run one.
pub static MODULE: Module = Module {
    #[cfg(feature = "controller")]
    action: Some(controller::action),
    ..control(
        "ansible.builtin.wait_for_connection",
        &["wait_for_connection", "ansible.legacy.wait_for_connection"],
        FreeForm::KeyValue,
        WaitForConnection::ARGUMENTS,
    )
};

#[cfg(feature = "controller")]
mod controller {
    use super::WaitForConnection;
    use crate::modules::scalars::Int;
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, Status, decode};
    use serde_json::{Map, Value};
    use std::time::{Duration, Instant};

    pub(super) fn action(host: &dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'_, Prepared> {
        Box::pin(async move {
            let wanted: WaitForConnection =
                decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
            if host.check() {
                return Ok(Prepared::Done(Outcome { status: Status::Skipped, ..Outcome::ok() }));
            }
            let seconds = |value: Option<Int>, default: u64| {
                Duration::from_secs(value.map_or(default, |value| u64::try_from(value.0).unwrap_or(0)))
            };
            let (limit, pause) = (seconds(wanted.timeout, 600), seconds(wanted.sleep, 1));
            let connect = seconds(wanted.connect_timeout, 5).max(Duration::from_secs(1));
            let began = Instant::now();
            tokio::time::sleep(seconds(wanted.delay, 0)).await;
            let waiting = Instant::now();
            let mut last = None;
            while waiting.elapsed() < limit {
                let time = limit.saturating_sub(waiting.elapsed()).min(connect + ANSWER);
                match tokio::time::timeout(time, attempt(host, connect)).await {
                    Ok(Ok(())) => return Ok(Prepared::Done(Outcome::ok().with("elapsed", began.elapsed().as_secs()))),
                    Ok(Err(why)) => last = Some(why),
                    Err(_) => {
                        let _ = host.hang_up().await;
                        last.get_or_insert_with(|| format!("no answer within {} s", time.as_secs()));
                    }
                }
                let left = limit.saturating_sub(waiting.elapsed());
                tokio::time::sleep(pause.max(Duration::from_millis(100)).min(left)).await;
            }
            let last = last.unwrap_or_else(|| "there was no time for an attempt".to_string());
            let why = format!("timed out waiting for ping module test: {last}");
            Ok(Prepared::Done(Outcome::failed(why).with("elapsed", began.elapsed().as_secs())))
        })
    }

    /// How long an agent may take to start and to answer, beside the time to connect.
    const ANSWER: Duration = Duration::from_secs(30);

    async fn attempt(host: &dyn ActionHost, connect: Duration) -> Result<(), String> {
        host.connect_anew(Some(connect)).await.map_err(|error| error.to_string())?;
        let answer = host.call("ansible.builtin.ping", Map::new()).await.map_err(|error| error.to_string())?;
        match answer.data.get("ping").and_then(Value::as_str) {
            Some("pong") => Ok(()),
            _ => Err(format!("ping test failed: {}", answer.msg.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_known_by_its_names() {
        for name in ["wait_for_connection", "ansible.builtin.wait_for_connection"] {
            let module = crate::modules::find(name).unwrap();
            assert!(module.run.is_none() && module.arguments.list().iter().all(|argument| !argument.required));
        }
    }
}
