//! What a run does when another run has what it needs: a cluster, or a host.

use super::cluster_lock::LockError;
use super::run::Run;
use crate::wire::WAITING_FOR_ANOTHER_RUN;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// `--if-locked`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfLocked {
    /// Wait for the other run's end; with a time: no longer than that.
    Wait(Option<Duration>),
    /// Do nothing, and count that as success: the other run's work, or the next time, will do.
    Leave,
    /// Do nothing, and fail.
    Fail,
}

impl IfLocked {
    /// How long to wait for a cluster.
    pub fn patience(self) -> Duration {
        match self {
            IfLocked::Wait(Some(time)) => time,
            IfLocked::Wait(None) => Duration::MAX,
            IfLocked::Leave | IfLocked::Fail => Duration::ZERO,
        }
    }
}

impl FromStr for IfLocked {
    type Err = String;

    fn from_str(text: &str) -> Result<IfLocked, String> {
        let (word, time) = text.split_once(':').map_or((text, None), |(word, time)| (word, Some(time)));
        match (word, time) {
            ("wait", None) => Ok(IfLocked::Wait(None)),
            ("wait", Some(time)) => seconds(time).map(|time| IfLocked::Wait(Some(time))),
            ("leave", None) => Ok(IfLocked::Leave),
            ("fail", None) => Ok(IfLocked::Fail),
            _ => Err(format!("`{text}` is none of wait, wait:TIME, leave and fail")),
        }
    }
}

impl std::fmt::Display for IfLocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IfLocked::Wait(None) => f.write_str("wait"),
            IfLocked::Wait(Some(time)) => write!(f, "wait:{}", time.as_secs()),
            IfLocked::Leave => f.write_str("leave"),
            IfLocked::Fail => f.write_str("fail"),
        }
    }
}

/// `90`, `90s`, `15m`, `2h`
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let number: Option<u64> = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    number
        .filter(|_| unit > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no time: write 90s, 15m or 2h"))
}

/// A run that ended because another one has what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveWay {
    /// Who has what, since when, for what.
    pub why: String,
    /// It was meant to leave then, so that this is no failure.
    pub well: bool,
}

/// What becomes of a run that cannot have the lock of a cluster.
pub(super) fn refused(run: &Run, error: &LockError) {
    match (run.options.if_locked, error) {
        // A lock whose run is not heard of any longer needs a person: who left each time would never say so.
        (Some(IfLocked::Leave), LockError::Refused(refusal)) if !refusal.stale => {
            run.give_way(GaveWay { why: refusal.to_string(), well: true });
        }
        _ => run.unfinished(),
    }
}

/// A task has been waiting for another run on its host; says so to a run that is not to wait for that. Once something was
/// changed it waits all the same: half a rotation is worse than a late one.
pub(super) fn busy(run: &Run, hosts: &[Arc<str>], progress: &str, waited: Duration) {
    let Some(policy) = run.options.if_locked.filter(|_| progress.starts_with(WAITING_FOR_ANOTHER_RUN)) else { return };
    if waited < policy.patience() || run.verdict().changed {
        return;
    }
    let holder = progress.strip_prefix(WAITING_FOR_ANOTHER_RUN).unwrap_or_default();
    let why = format!("another run works on {}:{holder}; nothing was changed", hosts.join(", "));
    let well = policy == IfLocked::Leave;
    if !well {
        run.unfinished();
    }
    run.give_way(GaveWay { why, well });
    run.stop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for (text, policy) in [
            ("wait", IfLocked::Wait(None)),
            ("wait:90", IfLocked::Wait(Some(Duration::from_secs(90)))),
            ("wait:15m", IfLocked::Wait(Some(Duration::from_secs(900)))),
            ("leave", IfLocked::Leave),
            ("fail", IfLocked::Fail),
        ] {
            assert_eq!(text.parse(), Ok(policy));
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        for text in ["", "wait:", "wait:soon", "wait:1d", "wait:-1", "leave:5", "wait:99999999999999999h"] {
            assert!(text.parse::<IfLocked>().is_err(), "{text}");
        }
    }
}
