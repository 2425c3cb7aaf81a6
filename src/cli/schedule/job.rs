//! What the timer runs: the playbook, quietly; behind it the judgement of all certificates; then whoever wants to know is
//! told.

use super::arguments::Run as RunArgs;
use super::calendar::Calendar;
use super::lock::{self, Refused};
use super::notify::Receiver;
use super::summary::{Collector, Ended, Lateness, Summary};
use super::{name_of, state_directory, words_of};
use crate::cli::access::{self, Access};
use crate::cli::arguments::RunArguments;
use crate::cli::pki::judgement;
use crate::cli::record::{self, Order};
use crate::cli::run::{self as runs, Watching};
use crate::engine::{IfLocked, Run};
use crate::redact::Redactor;
use crate::report::{Reporter, Style, Terminal};
use crate::source::Diags;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The code of a job whose run went well and whose certificates did not.
const EXIT_LATE: u8 = 1;

/// Runs the job.
pub fn run(args: &RunArgs) -> ExitCode {
    let redactor = Redactor::new();
    let began = Instant::now();
    let shared = Arc::new(Mutex::new(Summary {
        job: args.job.name.clone().unwrap_or_else(|| "job".into()),
        by: record::owner(),
        directory: std::env::current_dir().unwrap_or_default().display().to_string(),
        began: crate::pki::now(),
        ..Summary::default()
    }));
    let (code, arguments) = match prepare(args, &shared) {
        Ok((words, arguments, calendar)) => {
            let code = locked(args, words, arguments.clone(), &calendar, &shared, &redactor);
            (code, Some(arguments))
        }
        Err(why) => (Err(why), None),
    };
    let mut summary = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    summary.seconds = began.elapsed().as_secs_f64();
    summary.exit_code = code.unwrap_or_else(|why| {
        summary.troubles.push(why);
        1
    });
    conclude(&mut summary);
    let mut text = summary.text();
    if summary.result == Ended::Quiet && !summary.warnings.is_empty() {
        text = format!("{}: nothing was done\n{text}", summary.job);
    }
    say(&redactor.mask(&text), summary.result);
    tell(args, arguments.as_ref(), &summary, &redactor);
    ExitCode::from(summary.exit_code)
}

fn prepare(args: &RunArgs, shared: &Mutex<Summary>) -> Result<(Vec<String>, RunArguments, Calendar), String> {
    let (words, mut arguments) = words_of(&args.run)?;
    let calendar = Calendar::parse(&args.job.on_calendar)?;
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).job = name_of(args.job.name.as_ref(), &arguments);
    crate::cli::settings::settings().fill_run(&mut arguments);
    crate::cli::settings::settings().fill_tags(&mut arguments);
    arguments.if_locked = Some(args.job.if_locked);
    // Whoever says it by himself knows better: what comes later counts.
    arguments.access.extra_vars.insert(0, next_run(&calendar, args.job.delay(&calendar)));
    Ok((words, arguments, calendar))
}

/// The variable that tells certificates of the next run: how long until it will have begun for certain. A tenth more, because
/// a run takes time, and no less than the shortest time that a certificate may live.
fn next_run(calendar: &Calendar, delay: u64) -> String {
    let now = jiff::Timestamp::now();
    let until = calendar.next(now).map_or(0, |next| next.as_second() - now.as_second());
    let seconds = until + until / 10 + i64::try_from(delay).unwrap_or_default();
    format!("pki_next_run={}s", seconds.max(60))
}

/// The run, with the job's lock.
fn locked(
    args: &RunArgs,
    words: Vec<String>,
    arguments: RunArguments,
    calendar: &Calendar,
    shared: &Arc<Mutex<Summary>>,
    redactor: &Redactor,
) -> Result<u8, String> {
    let note =
        |change: &dyn Fn(&mut Summary)| change(&mut shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    let job = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).job.clone();
    let path = state_directory()?.join("schedule").join(format!("{job}.lock"));
    let doing = format!("{job}, as of `{calendar}`");
    let taken = lock::take(&path, &record::owner(), &doing, args.job.if_locked, &mut |why| eprintln!("{why}"));
    let _lock = match taken {
        Ok(lock) => lock,
        Err(Refused::Held(why)) => {
            note(&|summary| summary.locked = Some(why.clone()));
            return Ok(if args.job.if_locked == IfLocked::Leave { 0 } else { 2 });
        }
        Err(Refused::Broken(why)) => return Err(why),
    };
    let mut diags = Diags::new();
    let sources = runs::read(&arguments, redactor, &mut diags).filter(|_| !diags.has_errors());
    let said = diags.render(false);
    let Some(sources) = sources else {
        note(&|summary| summary.troubles.push(said.clone()));
        return Ok(crate::cli::EXIT_PARSE);
    };
    if !said.trim().is_empty() {
        note(&|summary| summary.warnings.push(said.trim().to_string()));
    }
    let masker = redactor.clone();
    let also = args.verbose.then(|| {
        let mask = Arc::new(move |text: &str| masker.mask(text).into_owned());
        Box::new(Terminal::new(std::io::stdout(), mask, Style::plain(), arguments.verbose, false)) as Box<dyn Reporter>
    });
    let (judged, check) = (shared.clone(), arguments.check);
    let watching = Watching {
        silent: true,
        reporters: vec![Box::new(Collector { summary: shared.clone(), also })],
        after: Some(Box::new(move |run: Arc<Run>| Box::pin(async move { behind(run, &judged, check).await }))),
        ..Watching::default()
    };
    let order = Order { words, ..Default::default() };
    runs::runtime()?.block_on(runs::play(arguments, sources, order, watching, false))
}

/// Judges all certificates over the connections of the run.
async fn behind(run: Arc<Run>, shared: &Mutex<Summary>, check: bool) {
    let change = |change: &mut dyn FnMut(&mut Summary)| {
        change(&mut shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    };
    change(&mut |summary| {
        summary.run = run.id.clone();
        summary.locked = run.gave_way().map(|other| other.why);
    });
    if check || run.stopping() && run.gave_way().is_none() {
        return;
    }
    let judged = match Access::within(run) {
        Ok(access) => {
            let access = Arc::new(access);
            let judged = judgement(&access).await;
            change(&mut |summary| summary.warnings.extend(access.take_remarks()));
            judged
        }
        Err(why) => Err(why),
    };
    change(&mut |summary| match &judged {
        Ok(found) => {
            let late = found.iter().cloned().map(|(state, of, why)| Lateness { state, of, why });
            summary.late.extend(late);
        }
        Err(why) => summary.troubles.push(format!("the certificates could not be judged: {why}")),
    });
}

/// What it comes to.
fn conclude(summary: &mut Summary) {
    let code = summary.exit_code;
    if code == 0 && (!summary.late.is_empty() || !summary.troubles.is_empty() && summary.locked.is_none()) {
        summary.exit_code = EXIT_LATE;
    }
    summary.result = match (code, &summary.locked) {
        (0, _) if !summary.late.is_empty() => Ended::Late,
        (0, Some(_)) => Ended::Left,
        (0, None) if summary.exit_code == 0 && summary.renewed.is_empty() && summary.changed.is_empty() => Ended::Quiet,
        (0, None) if summary.exit_code == 0 => Ended::Changed,
        (_, _) => Ended::Failed,
    };
    if summary.locked.is_some() {
        // They say the same once more.
        summary.warnings.retain(|warning| !warning.contains("--if-locked"));
        if code == 0 {
            summary.troubles.clear();
        }
    }
}

/// Says it: what is good on standard output, what is not on standard error, and to the journal with its priority.
fn say(text: &str, ended: Ended) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let priority = match ended {
        _ if !journal => "",
        Ended::Failed => "<3>",
        Ended::Late => "<4>",
        Ended::Quiet | Ended::Changed | Ended::Left => "",
    };
    for line in text.lines() {
        match ended {
            Ended::Failed | Ended::Late => eprintln!("{priority}{line}"),
            _ => crate::cli::show(&format!("{line}\n")),
        }
    }
}

/// Tells whoever wants to know. What goes wrong here is said, and does not change how the job ended.
fn tell(args: &RunArgs, arguments: Option<&RunArguments>, summary: &Summary, redactor: &Redactor) {
    if summary.result == Ended::Quiet {
        return;
    }
    let warn = |why: String| eprintln!("warning: {}", redactor.mask(&why));
    let mut receivers = args.job.receivers();
    // Asked for only now: a run that has nothing to tell does not need to know.
    let mut theirs = None;
    match arguments.map(named) {
        Some(Ok((more, access))) => {
            receivers.extend(more);
            theirs = Some(access);
        }
        Some(Err(why)) => warn(format!("whom the inventory wants to be told (schedule_notify) is not known: {why}")),
        None => {}
    }
    let receivers: Vec<Receiver> = receivers.into_iter().filter(|one| one.wants(summary.result)).collect();
    receivers.iter().flat_map(Receiver::secrets).for_each(|secret| {
        redactor.add(&secret);
    });
    let mask = |text: &str| {
        let text = redactor.mask(text).into_owned();
        theirs.as_ref().map_or(text.clone(), |theirs| theirs.redactor.mask(&text).into_owned())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return warn(format!("nobody was told: {error}")),
    };
    for receiver in &receivers {
        if let Err(why) = runtime.block_on(receiver.tell(summary, &mask)) {
            warn(mask(&format!("{} was not told: {why}", receiver.name())));
        }
    }
}

/// Whom the inventory names: each entry of the hosts' variable `schedule_notify`, once.
fn named(arguments: &RunArguments) -> Result<(Vec<Receiver>, Arc<Access>), String> {
    let access = access::open(arguments.access.clone(), "telling how a job ended");
    let access = Arc::new(access.map_err(|(said, _)| said.trim().to_string())?);
    let (hosts, asking) = (access.hosts(), access.clone());
    let found = access.block_on(async move { asking.variables(&hosts, &["schedule_notify"]).await })?;
    let mut receivers: Vec<Receiver> = Vec::new();
    for (_, variables) in found {
        let variables = variables?;
        let Some(value) = variables.get("schedule_notify") else { continue };
        for receiver in Receiver::list(value)? {
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
    }
    Ok((receivers, access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::schedule::summary::{Failure, Renewed};
    use crate::pki::State;

    fn ended(change: impl FnOnce(&mut Summary)) -> (Ended, u8) {
        let mut summary = Summary::default();
        change(&mut summary);
        conclude(&mut summary);
        (summary.result, summary.exit_code)
    }

    fn late() -> Lateness {
        Lateness { state: State::Warning, of: "a".into(), why: "late".into() }
    }

    #[test]
    fn how_a_job_ended_is_told_by_its_run_and_by_the_certificates() {
        let renewed =
            Renewed { host: "a".into(), set: "s".into(), reason: "r".into(), serial: "1".into(), not_after: 0 };
        assert_eq!(ended(|_| {}), (Ended::Quiet, 0));
        assert_eq!(ended(|one| one.warnings.push("w".into())), (Ended::Quiet, 0));
        assert_eq!(ended(|one| one.renewed.push(renewed.clone())), (Ended::Changed, 0));
        assert_eq!(ended(|one| one.late.push(late())), (Ended::Late, 1));
        assert_eq!(
            ended(|one| {
                one.renewed.push(renewed.clone());
                one.late.push(late());
            }),
            (Ended::Late, 1)
        );
        assert_eq!(ended(|one| one.locked = Some("bob".into())), (Ended::Left, 0));
        // Who always leaves is late in the end, and says so.
        assert_eq!(
            ended(|one| {
                one.locked = Some("bob".into());
                one.late.push(late());
            }),
            (Ended::Late, 1)
        );
        assert_eq!(
            ended(|one| {
                one.locked = Some("bob".into());
                one.exit_code = 2;
            }),
            (Ended::Failed, 2)
        );
        assert_eq!(
            ended(|one| {
                one.exit_code = 4;
                one.failures.push(Failure { host: "a".into(), task: "t".into(), why: "w".into() });
            }),
            (Ended::Failed, 4)
        );
        assert_eq!(ended(|one| one.troubles.push("it could not be judged".into())), (Ended::Failed, 1));
    }

    #[test]
    fn certificates_are_told_of_the_next_run() {
        let seconds = |text: &str, delay| {
            let said = next_run(&Calendar::parse(text).unwrap(), delay);
            said.strip_prefix("pki_next_run=").unwrap().strip_suffix('s').unwrap().parse::<i64>().unwrap()
        };
        assert_eq!(seconds("*:*:0/10", 0), 60, "no shorter than a certificate lives");
        let week = 7 * 86_400;
        let told = seconds("weekly", 3600);
        assert!((3600..=week * 11 / 10 + 3600).contains(&told), "{told}");
        assert!(seconds("weekly", 7200) >= told + 3500);
    }
}
