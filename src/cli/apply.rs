//! `deploy apply FILE`: a plan is carried out, exactly as it was shown, or not at all.

use super::applied::Applied;
use super::arguments::{ApplyArguments, Arguments, Colour, Format, OnMoved, RunArguments};
use super::assemble::{Passwords, passwords};
use super::pager::{self, Page};
use super::planning::variables;
use super::record::{self, Order, moment};
use super::run::{Sources, Watching, masking, play, read, runtime, wants_colour};
use super::{EXIT_INTERRUPTED, EXIT_PARSE, EXIT_REFUSED};
use crate::engine::event::TaskStatus;
use crate::journal::{differences, hash_files};
use crate::plan::{Key, Moved, Plan, PlanFile, Recorder, Recording, compare, program_hash, refused, verify};
use crate::redact::Redactor;
use crate::report::{DiffOptions, Mask, Reports, Style, changes};
use crate::source::Diags;
use clap::Parser;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// So many differences of a host are shown.
const SHOWN: usize = 10;

/// Why a plan is not carried out.
struct Refused(String);

impl<E: std::fmt::Display> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused(error.to_string())
    }
}

/// Runs the command.
pub fn run(arguments: &ApplyArguments) -> ExitCode {
    match apply(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(Refused(why)) => {
            eprintln!("error: {why}");
            eprintln!("nothing was done");
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn apply(arguments: &ApplyArguments) -> Result<u8, Refused> {
    // Relative to where we are now, and not to where the plan was made.
    let absolute = |path: &std::path::Path| std::path::absolute(path);
    let path = absolute(&arguments.plan)?;
    let redactor = Redactor::new();
    let places: Result<Vec<_>, _> = arguments.reports.iter().map(|report| absolute(report)).collect();
    let reports = Reports::new(&places?, masking(&redactor), arguments.display.diffs()).map_err(Refused)?;
    let file = PlanFile::read(&path)?;
    if let Some(signers) = &arguments.allowed_signers {
        let signed = verify(&path, &absolute(signers)?)?;
        eprintln!("signed by {}", signed.by);
    }
    let key = Key::of_controller(false)?;
    file.verify(&key)?;
    let plan = &file.plan;
    let allowed = allowed(plan, &arguments.allow_unknown)?;
    let run = ordered(plan, arguments)?;
    let sources = sources_of(&run, plan, &key, &redactor)?;
    let passwords = passwords(&run, &redactor).map_err(Refused)?;
    let runtime = runtime().map_err(Refused)?;

    let now = runtime.block_on(checked(&run, sources, &key, &passwords))?;
    let style = Style::new(wants_colour(arguments.color, std::io::stderr().is_terminal()));
    let recording = plan.recording();
    let moved = compare(&recording, &now);
    let told: String = told(&moved, &masking(&redactor), style, arguments.display.diffs())
        .into_iter()
        .map(|(host, text)| format!("{host} is not as the plan saw it:\n{text}"))
        .collect();
    // Nobody is asked to read what a program reads; there it stands with the other reasons.
    let by_people = arguments.format == Format::Text && std::io::stderr().is_terminal();
    match pager::wanted(arguments.display.no_pager).filter(|_| by_people && !told.is_empty()) {
        Some(pager) => Page::of(&redactor.mask(&told)).show(&pager),
        None => eprint!("{}", redactor.mask(&told)),
    }
    let hosts = refused(&recording, &moved);
    for host in hosts.iter().filter(|host| !moved.contains_key(*host)) {
        eprintln!("{host} would change something on a host that is not as the plan saw it (delegate_to)");
    }
    let of_plan: BTreeSet<String> = recording.results().into_iter().map(|(place, ..)| place.host).collect();
    let left = of_plan.iter().any(|host| !hosts.contains(host));
    if !hosts.is_empty() && (arguments.moved == OnMoved::Stop || !left) {
        let help = if left { ", or go on without them: --moved skip" } else { "" };
        let names = hosts.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Refused(format!("the plan does not hold for {names}: make it anew{help}")));
    }

    let colour = wants_colour(arguments.color, std::io::stdout().is_terminal());
    let mut run = run;
    // A host that is only delegated to is in no play.
    let limit: Vec<String> = hosts.intersection(&of_plan).map(|host| format!("!{host}")).collect();
    run.access.sources.limit.extend(limit.iter().cloned());
    // They are read again, so they are held against the plan again.
    let sources = sources_of(&run, plan, &key, &redactor)?;
    let mut words = without_check(&plan.order.words);
    words.extend(limit.into_iter().flat_map(|host| ["--limit".to_string(), host]));
    let applied = Arc::new(Applied::new(file, key, allowed, hosts));
    let guard = applied.guard();
    let order = Order { words, plan: Some(applied.clone()), ..Order::default() };
    let watching = Watching {
        guard: Some(guard.clone()),
        passwords: Some(passwords),
        reporters: reports.reporter().into_iter().collect(),
        ..Watching::default()
    };
    let code = runtime.block_on(play(run, sources, order, watching, colour)).map_err(Refused)?;
    let code = applied.verdict(code, &guard, &redactor);
    if let Err(why) = reports.write() {
        eprintln!("error: {}", redactor.mask(&why));
        return Ok(if code == 0 { 1 } else { code });
    }
    Ok(code)
}

/// The unknown tasks that may be run. All have to be named.
fn allowed(plan: &Plan, named: &[String]) -> Result<BTreeSet<String>, Refused> {
    let unknown = plan.unknown_tasks();
    if let Some(stranger) = named.iter().find(|name| !unknown.contains(*name)) {
        return Err(Refused(format!("--allow-unknown {stranger}: the plan has no unknown task of this name")));
    }
    let open: Vec<&str> = unknown.iter().filter(|name| !named.contains(name)).map(String::as_str).collect();
    if open.is_empty() {
        return Ok(unknown);
    }
    let options: Vec<String> = open.iter().map(|name| format!("--allow-unknown '{name}'")).collect();
    Err(Refused(format!(
        "the check could not tell what these would do: {}\nif they may do it all the same: {}",
        open.join("; "),
        options.join(" ")
    )))
}

/// The run that the plan was the check of.
fn ordered(plan: &Plan, arguments: &ApplyArguments) -> Result<RunArguments, Refused> {
    let order = &plan.order;
    if order.masked && arguments.extra_vars.is_empty() {
        let words = order.words.join(" ");
        return Err(Refused(format!(
            "secrets on the command line are not kept in a plan: give them again with -e ({words})"
        )));
    }
    std::env::set_current_dir(&order.directory)
        .map_err(|error| Refused(format!("the plan was made in {}: {error}", order.directory.display())))?;
    let parsed = Arguments::try_parse_from(std::iter::once("deploy").chain(order.words.iter().map(String::as_str)))?;
    let mut run = parsed.run;
    if order.masked {
        // Those with stars are given anew, in the same order.
        let mut given = arguments.extra_vars.iter();
        for text in run.access.extra_vars.iter_mut().filter(|text| text.contains("****")) {
            *text = given.next().ok_or_else(|| Refused(format!("`-e {text}` is to be given again")))?.clone();
        }
    }
    run.access.sources.inventory = order.inventory.clone();
    run.roles_path = order.roles_path.clone();
    let settings = super::settings::load().map_err(Refused)?;
    settings.fill_run(&mut run);
    settings.fill_tags(&mut run);
    run.check = false;
    (run.out, run.sign) = (None, None);
    run.lock_wait = arguments.lock_wait.or(run.lock_wait);
    (run.format, run.color) = (arguments.format, arguments.color);
    run.display = arguments.display.clone();
    Ok(run)
}

/// Reads what the plan was made of, and holds it against the plan.
fn sources_of(run: &RunArguments, plan: &Plan, key: &Key, redactor: &Redactor) -> Result<Sources, Refused> {
    if program_hash()? != plan.made.program {
        return Err(Refused(format!(
            "the plan was made {} by another program (deploy {}); this one may do other things: make it anew",
            moment(plan.made.time),
            plan.made.version
        )));
    }
    if variables(run, key) != plan.order.variables {
        return Err(Refused("the plan was made with other extra variables (-e)".into()));
    }
    let sources = loaded(run, redactor)?;
    let files = record::source_files(run, &sources.inventory, &sources.playbooks);
    let mut changed = differences(&plan.sources, &hash_files(&files));
    changed.extend(plan.changed_reads());
    changed.dedup();
    if !changed.is_empty() {
        let list: Vec<String> = changed.iter().take(SHOWN).map(|line| format!("  {line}")).collect();
        return Err(Refused(format!(
            "the plan was made of other files ({} changed): make it anew\n{}",
            changed.len(),
            list.join("\n")
        )));
    }
    Ok(sources)
}

fn loaded(run: &RunArguments, redactor: &Redactor) -> Result<Sources, Refused> {
    let mut diags = Diags::new();
    let sources = read(run, redactor, &mut diags);
    let shown = diags.render(wants_colour(Colour::Auto, std::io::stderr().is_terminal()));
    super::say(redactor, &shown);
    let wrong = || Refused("the playbooks cannot be read any more".into());
    sources.filter(|_| !diags.has_errors()).ok_or_else(wrong)
}

/// What a check shows now.
async fn checked(run: &RunArguments, sources: Sources, key: &Key, passwords: &Passwords) -> Result<Recording, Refused> {
    let recorder = Recorder::new(key.clone(), masking(&sources.redactor));
    let watching = Watching {
        silent: true,
        untraced: true,
        reporters: vec![Box::new(recorder.clone())],
        passwords: Some(passwords.clone()),
        ..Watching::default()
    };
    let check = RunArguments { check: true, ..run.clone() };
    let code = play(check, sources, Order::default(), watching, false).await.map_err(Refused)?;
    match code {
        // Hosts that fail now are hosts that have moved.
        EXIT_PARSE => Err(Refused("the check that goes before could not be made: see `deploy --check`".into())),
        code if i32::from(code) == EXIT_INTERRUPTED => Err(Refused("interrupted".into())),
        _ => match recorder.take() {
            Recording { broken: Some(why), .. } => Err(Refused(why)),
            recording => Ok(recording),
        },
    }
}

/// How hosts have moved, for people: each with the changes that a check sees now.
fn told<'m>(moved: &'m Moved, mask: &Mask, style: Style, options: DiffOptions) -> Vec<(&'m str, String)> {
    let lines = |differences: &Vec<crate::plan::Difference>| {
        let mut text = String::new();
        for difference in differences.iter().take(SHOWN) {
            let place = &difference.place;
            let item = place.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
            text += &format!("  {}{item} ({}): {}\n", place.task, place.place, difference.sentence());
            if let Some(now) = difference.now.as_ref().filter(|now| now.status == TaskStatus::Changed) {
                text += &changes(&now.changes, mask, style, options);
            }
            if let Some(msg) = difference.now.as_ref().and_then(|now| now.msg.as_ref()) {
                text += &format!("    {msg}\n");
            }
        }
        if differences.len() > SHOWN {
            text += &format!("  … and {} more\n", differences.len() - SHOWN);
        }
        text
    };
    moved.iter().map(|(host, differences)| (host.as_str(), lines(differences))).collect()
}

/// The command line of the run itself: that of the check without `--check` and what belongs to it.
fn without_check(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--check" | "-C" => {}
            "--out" | "--sign" => {
                words.next();
            }
            word if word.starts_with("--out=") || word.starts_with("--sign=") => {}
            // Flags in one word: -CD.
            word if word.len() > 2 && word.starts_with('-') && word.chars().skip(1).all(|c| "CDvbkKJ".contains(c)) => {
                kept.push(word.replace('C', ""));
            }
            word => kept.push(word.to_string()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_without_the_check() {
        for (words, expected) in [
            ("site.yml --check --out x.plan -D", "site.yml -D"),
            ("-CD --out=x --sign k -e C=1 -l C", "-D -e C=1 -l C"),
            ("-C --sign=k -bCv site.yml", "-bv site.yml"),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_string).collect();
            assert_eq!(without_check(&words).join(" "), expected);
        }
    }
}
