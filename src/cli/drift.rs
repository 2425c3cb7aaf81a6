//! `deploy drift`: whether hosts are still as the playbooks say.

use super::arguments::{Format, RunArguments};
use super::pager::{self, Page};
use super::record::Order;
use super::run::{Watching, masking, play, read, runtime, wants_colour};
use super::settings::settings;
use crate::redact::Redactor;
use crate::report::{Drift, Reporter, Reports, Style};
use crate::source::Diags;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Runs the command.
pub fn run(mut arguments: RunArguments) -> ExitCode {
    settings().fill_run(&mut arguments);
    settings().fill_tags(&mut arguments);
    let redactor = Redactor::new();
    let mut diags = Diags::new();
    let sources = read(&arguments, &redactor, &mut diags);
    super::say(&redactor, &diags.render(wants_colour(arguments.color, std::io::stderr().is_terminal())));
    let Some(sources) = sources.filter(|_| !diags.has_errors()) else {
        return ExitCode::from(super::EXIT_PARSE);
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(1);
        }
    };
    let reports = match Reports::new(&arguments.reports, masking(&redactor), arguments.display.diffs()) {
        Ok(reports) => reports,
        Err(why) => {
            eprintln!("error: {}", redactor.mask(&why));
            return ExitCode::from(1);
        }
    };
    let colour = wants_colour(arguments.color, std::io::stdout().is_terminal());
    let drift = Drift::new(masking(&redactor), arguments.diff, arguments.display.diffs());
    let listed: Box<dyn Reporter> = Box::new(drift.clone());
    let reporters = std::iter::once(listed).chain(reports.reporter()).collect();
    let watching = Watching { silent: true, reporters, ..Watching::default() };
    let check = RunArguments { check: true, detailed_exitcode: true, ..arguments.clone() };
    let code = match runtime.block_on(play(check, sources, Order::default(), watching, colour)) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("error: {}", redactor.mask(&why));
            return ExitCode::from(1);
        }
    };
    let text = match arguments.format {
        Format::Text => drift.text(Style::new(colour)),
        Format::Json => drift.json(),
    };
    let pager = pager::wanted(arguments.display.no_pager).filter(|_| arguments.format == Format::Text);
    match pager {
        Some(pager) => Page::of(&text).show(&pager),
        None => super::show(&text),
    }
    if let Err(why) = reports.write() {
        eprintln!("error: {}", redactor.mask(&why));
        return ExitCode::from(if code == 0 || code >= 10 { 1 } else { code });
    }
    ExitCode::from(code)
}
