//! `deploy resume`: the same run again, without what is done.

use super::EXIT_PARSE;
use super::applied::Applied;
use super::arguments::{Arguments, ResumeArguments};
use super::record::{Order, moment};
use crate::journal::{Ending, Kept, Store};
use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the command.
pub fn run(arguments: ResumeArguments) -> ExitCode {
    match prepare(&arguments) {
        Ok((run, order)) => super::run::run(run, order),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(EXIT_PARSE)
        }
    }
}

fn prepare(arguments: &ResumeArguments) -> Result<(super::arguments::RunArguments, Order), String> {
    let store = Store::from_environment().map_err(|error| error.to_string())?;
    store.settle_killed().map_err(|error| error.to_string())?;
    let kept = store.find(&arguments.run).map_err(|error| error.to_string())?;
    refuse(&kept, arguments)?;
    std::env::set_current_dir(&kept.meta.directory).map_err(|error| {
        format!("the run {} was started in {}: {error}", kept.meta.id, kept.meta.directory.display())
    })?;
    let words = std::iter::once("deploy").chain(kept.meta.arguments.iter().map(String::as_str));
    let parsed = Arguments::try_parse_from(words).map_err(|error| {
        format!("the arguments of the run {} are not understood by this version: {error}", kept.meta.id)
    })?;
    let mut run = parsed.run;
    // What the environment said then counts, and not what it says now.
    run.access.sources.inventory = kept.meta.inventory.clone();
    run.roles_path = kept.meta.roles_path.clone();
    super::settings::load()?.fill_tags(&mut run);
    run.access.extra_vars.extend(arguments.extra_vars.iter().cloned());
    if arguments.if_locked.is_some() || arguments.lock_wait.is_some() {
        (run.if_locked, run.lock_wait) = (arguments.if_locked, arguments.lock_wait);
    }
    let mut words = kept.meta.arguments.clone();
    for text in &arguments.extra_vars {
        words.extend(["--extra-vars".to_string(), text.clone()]);
    }
    let plan = Applied::of_run(&kept, arguments.force_changed)?.map(Arc::new);
    Ok((run, Order { words, resumes: Some(kept), force_changed: arguments.force_changed, plan }))
}

fn refuse(kept: &Kept, arguments: &ResumeArguments) -> Result<(), String> {
    let meta = &kept.meta;
    if kept.alive {
        return Err(format!("the run {} is still going on (process {})", meta.id, meta.pid));
    }
    if meta.ending == Some(Ending::Finished) && matches!(meta.exit_code, Some(0 | 10 | 11)) {
        let when = meta.ended.map(moment).unwrap_or_default();
        return Err(format!("the run {} came to its good end {when}: there is nothing to resume", meta.id));
    }
    if meta.masked && arguments.extra_vars.is_empty() {
        return Err(format!(
            "secrets on the command line of the run {} are not kept in its journal: give them again with -e ({})",
            meta.id,
            meta.arguments.join(" ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Meta;

    #[test]
    fn what_cannot_be_resumed_is_refused_with_its_reason() {
        let kept = |meta: Meta, alive| Kept { meta, alive, directory: Default::default() };
        let arguments = |vars: &[&str]| ResumeArguments {
            run: "r".into(),
            force_changed: false,
            extra_vars: vars.iter().map(|var| var.to_string()).collect(),
            if_locked: None,
            lock_wait: None,
        };
        let finished = |code| Meta { ending: Some(Ending::Finished), exit_code: Some(code), ..Meta::default() };
        let masked = || Meta { masked: true, ..Meta::default() };
        for (kept, vars, expected) in [
            (kept(Meta::default(), true), vec![], Some("still going on")),
            (kept(finished(0), false), vec![], Some("good end")),
            (kept(finished(2), false), vec![], None),
            (kept(Meta { ending: Some(Ending::Killed), ..Meta::default() }, false), vec![], None),
            (kept(masked(), false), vec![], Some("give them again")),
            (kept(masked(), false), vec!["x=y"], None),
        ] {
            let refused = refuse(&kept, &arguments(&vars)).err();
            match expected {
                None => assert_eq!(refused, None),
                Some(part) => assert!(refused.as_ref().is_some_and(|why| why.contains(part)), "{refused:?}"),
            }
        }
    }
}
