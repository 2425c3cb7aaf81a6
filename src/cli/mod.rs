//! One file per command: run (the default), inventory, pki, vault, doc, status, runs, resume, apply, show, drift, unlock,
//! rollback, schedule, lint, schema.

mod access;
mod applied;
mod apply;
mod arguments;
mod assemble;
mod doc;
mod drift;
mod extra_vars;
mod inventory;
mod lint;
mod pager;
pub mod pki;
mod planning;
mod preflight;
mod record;
mod resume;
mod rollback;
mod run;
mod runs;
mod schedule;
mod schema;
mod settings;
mod show;
mod status;
mod stored;
mod table;
mod unlock;
mod vault;

use arguments::Command;
use std::ffi::OsString;
use std::process::ExitCode;

/// Ansible's exit code for a playbook, inventory or variable that cannot be read.
pub const EXIT_PARSE: u8 = 4;
/// A plan was refused, and nothing was done.
pub const EXIT_REFUSED: u8 = 12;
/// Ansible's exit code for a run that Ctrl-C ended.
pub const EXIT_INTERRUPTED: i32 = 99;

/// Runs the command line.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    let arguments = match arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let help = !error.use_stderr();
            let _ = error.print();
            let words: Vec<String> = std::env::args().skip(1).collect();
            let late = |name: &String| words.iter().skip(1).any(|word| word == name);
            if let Some(name) = arguments::subcommands().iter().find(|name| late(name)).filter(|_| !help) {
                eprintln!("  a subcommand comes first, its options behind it: deploy {name} …");
            }
            return if help { ExitCode::SUCCESS } else { ExitCode::from(5) }; // Ansible's code for bad options
        }
    };
    // The documentation and plans that are only shown have nothing to do with it; what goes on in another directory reads that
    // directory's.
    if !matches!(
        arguments.command,
        Some(
            Command::Doc(_)
                | Command::Schema(_)
                | Command::Show(_)
                | Command::Runs(_)
                | Command::Resume(_)
                | Command::Apply(_)
        )
    ) && let Err(why) = settings::load()
    {
        eprintln!("error: {why}");
        return ExitCode::from(EXIT_PARSE);
    }
    match arguments.command {
        Some(Command::Inventory(inventory)) => inventory::run(&inventory),
        Some(Command::Doc(doc)) => doc::run(&doc),
        Some(Command::Lint(lint)) => lint::run(&lint),
        Some(Command::Schema(schema)) => schema::run(&schema),
        Some(Command::Pki(pki)) => match pki::run(&pki, &mut std::io::stdout()) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(1)
            }
        },
        Some(Command::Schedule(schedule)) => schedule::run(&schedule),
        Some(Command::Status(status)) => status::run(status),
        Some(Command::Runs(runs)) => runs::run(&runs),
        Some(Command::Resume(resume)) => resume::run(resume),
        Some(Command::Apply(apply)) => apply::run(&apply),
        Some(Command::Show(show)) => show::run(&show),
        Some(Command::Drift(drift)) => drift::run(drift.options),
        Some(Command::Vault(vault)) => vault::run(&vault),
        Some(Command::Unlock(unlock)) => unlock::run(unlock),
        Some(Command::Rollback(rollback)) => rollback::rollback(*rollback, spoken(&words)),
        None => {
            let mut run = arguments.run;
            settings::settings().fill_tags(&mut run);
            run::run(run, record::Order { words: spoken(&words), ..Default::default() })
        }
    }
}

/// What was asked for, on standard output. Whoever reads it may have seen enough (`| head`): that is no fault.
fn show(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Diagnostics, if there are any, on lines of their own.
fn say(redactor: &crate::redact::Redactor, diagnostics: &str) {
    if !diagnostics.is_empty() {
        eprintln!("{}", redactor.mask(diagnostics));
    }
}

/// The command line without the program.
fn spoken(words: &[OsString]) -> Vec<String> {
    words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}
