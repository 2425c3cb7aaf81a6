//! `deploy show FILE`: a plan, as its check was shown.

use super::arguments::{Format, ShowArguments};
use super::pager::{self, Page};
use super::record::moment;
use super::run::{on_page, to_user, wants_colour};
use crate::plan::{Key, PlanError, PlanFile};
use crate::report::Mask;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the command.
pub fn run(arguments: &ShowArguments) -> ExitCode {
    let file = match PlanFile::read(&arguments.plan) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(super::EXIT_PARSE);
        }
    };
    let colour = wants_colour(arguments.color, std::io::stdout().is_terminal());
    // It was masked when it was written.
    let diffs = arguments.display.diffs();
    let pager = pager::wanted(arguments.display.no_pager).filter(|_| arguments.format == Format::Text);
    let page = pager.as_ref().map(|_| Page::default());
    let unmasked: Mask = Arc::new(str::to_string);
    let mut reporter = match &page {
        Some(page) => on_page(page.clone(), arguments.verbose, unmasked, colour, diffs),
        None => to_user(arguments.format, arguments.verbose, unmasked, colour, diffs),
    };
    for event in &file.plan.events {
        // A reader that went away has seen enough.
        if reporter.report(event).is_err() {
            return ExitCode::SUCCESS;
        }
    }
    if let (Some(page), Some(pager)) = (page, pager) {
        page.show(&pager);
    }
    let (made, order) = (&file.plan.made, &file.plan.order);
    eprintln!("\nplan of {} by {}: deploy {}", moment(made.time), made.by, order.words.join(" "));
    let unknown: Vec<String> = file.plan.unknown_tasks().into_iter().collect();
    if !unknown.is_empty() {
        eprintln!("not known before they are run: {}", unknown.join("; "));
    }
    match Key::of_controller(false).and_then(|key| file.verify(&key)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ PlanError::Tampered { .. }) => {
            eprintln!("error: {error}");
            ExitCode::from(super::EXIT_REFUSED)
        }
        Err(error) => {
            eprintln!("warning: whether it was changed since is not known: {error}");
            ExitCode::SUCCESS
        }
    }
}
