//! `deploy [PLAYBOOK …]`: load everything, find what is wrong by reading, run, report.

use super::EXIT_PARSE;
use super::arguments::{Colour, Format, RunArguments, subcommands};
use super::assemble::{About, Passwords, assemble, passwords};
use super::pager::{self, Page};
use super::planning::Planning;
use super::record::{self, Order};
use super::settings::settings;
use super::{extra_vars, inventory, preflight, vault};
use crate::engine::event::{Event, Sink};
use crate::engine::{Next, Run, run_play};
use crate::engine::{preflight as preflight_plays, report as report_preflight};
use crate::inventory::{Inventory, split_patterns};
use crate::journal::Ending;
use crate::plan::Guard;
use crate::playbook::{
    ListOptions, LoadOptions, Playbook, RegisteredModules, TagSelection, Variables, list, load_playbook, unknown_tags,
};
use crate::redact::Redactor;
use crate::report::{
    Behind, DiffOptions, JsonLines, Mask, Reporter, Reporters, Reports, Style, Terminal, TraceSettings, Tracer,
};
use crate::source::{Diag, Diags, Reads, Span};
use crate::template::{Extensions, Layer, Raw, Scope, Templar, TemplarOptions};
use crate::vars::vault::Vault;
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind};

/// What is read before anything is done.
pub(super) struct Sources {
    /// Masks secrets.
    pub redactor: Redactor,
    pub vault: Arc<Vault>,
    /// Hosts and groups.
    pub inventory: Inventory,
    pub playbooks: Vec<Playbook>,
    pub extra: Arc<Layer>,
    pub templar: Templar,
    pub roles_path: Vec<PathBuf>,
    pub limit: Vec<String>,
    pub tags: TagSelection,
}

/// Runs playbooks.
pub fn run(mut arguments: RunArguments, order: Order) -> ExitCode {
    settings().fill_run(&mut arguments);
    let colour = wants_colour(arguments.color, std::io::stdout().is_terminal());
    let redactor = Redactor::new();
    let mut diags = Diags::new();
    let sources = read(&arguments, &redactor, &mut diags);
    let shown = diags.render(wants_colour(arguments.color, std::io::stderr().is_terminal()));
    super::say(&redactor, &shown);
    let Some(sources) = sources.filter(|_| !diags.has_errors()) else {
        return ExitCode::from(EXIT_PARSE);
    };
    if arguments.syntax_check {
        for playbook in &sources.playbooks {
            println!("\nplaybook: {}", playbook.path.display());
        }
        return ExitCode::SUCCESS;
    }
    if arguments.list_tasks || arguments.list_tags || arguments.list_hosts {
        return listing(&arguments, sources);
    }
    let started = runtime().and_then(|runtime| {
        let planning = arguments.out.as_ref().map(|_| Planning::begin(&arguments, &sources, &order)).transpose()?;
        let reports = Reports::new(&arguments.reports, masking(&redactor), arguments.display.diffs())?;
        Ok((runtime, planning, reports))
    });
    let shown = redactor.clone();
    let failed = |why: String| {
        eprintln!("error: {}", shown.mask(&why));
        1
    };
    let (runtime, planning, reports) = match started {
        Ok(started) => started,
        Err(why) => return ExitCode::from(failed(why)),
    };
    let preview = arguments.check && arguments.diff && !arguments.step && arguments.format == Format::Text;
    let pager = pager::wanted(arguments.display.no_pager).filter(|_| preview);
    let page = pager.as_ref().map(|_| Page::default());
    let applied = order.plan.clone();
    let guard = applied.as_ref().map(|applied| applied.guard());
    let watching = Watching {
        page: page.clone(),
        guard: guard.clone(),
        reporters: planning.iter().map(Planning::reporter).chain(reports.reporter()).collect(),
        ..Watching::default()
    };
    let played = runtime.block_on(play(arguments, sources, order, watching, colour));
    if let (Some(page), Some(pager)) = (page, pager) {
        page.show(&pager);
    }
    let code = match (played, applied.zip(guard)) {
        (Ok(code), Some((applied, guard))) => applied.verdict(code, &guard, &shown),
        (played, _) => played.unwrap_or_else(&failed),
    };
    let written = reports.write().and(planning.map_or(Ok(()), |planning| planning.finish(code)));
    match written {
        Ok(()) => ExitCode::from(code),
        Err(why) => {
            failed(why);
            ExitCode::from(if code == 0 || code >= 10 { 1 } else { code })
        }
    }
}

/// What a run waits on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| format!("cannot start: {error}"))
}

/// Who listens to a run beside the user.
#[derive(Default)]
pub(super) struct Watching {
    /// The user hears nothing of it.
    pub silent: bool,
    /// The user is shown this at the end, and meanwhile how far it is.
    pub page: Option<Page>,
    /// Who hears of its events.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// Who may stop it.
    pub guard: Option<Guard>,
    /// No trace is sent of it.
    pub untraced: bool,
    /// Passwords that were asked for already.
    pub passwords: Option<Passwords>,
    /// Something to do at the end of it, while the connections are open.
    pub after: Option<After>,
}

/// What is done with a run at its end.
pub(super) type After = Box<dyn FnOnce(Arc<Run>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

pub(super) fn wants_colour(colour: Colour, terminal: bool) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        Colour::Auto => terminal || std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
    }
}

/// Reads inventory, variables and playbooks; everything that is wrong goes to `diags`.
pub(super) fn read(arguments: &RunArguments, redactor: &Redactor, diags: &mut Diags) -> Option<Sources> {
    let vault = match vault::open(&arguments.access.sources, redactor) {
        Ok(vault) => Arc::new(vault),
        Err(why) => {
            diags.push(Diag::error(why));
            return None;
        }
    };
    let hook = |bytes: &[u8], _: &Path| vault.decrypt(bytes).map_err(|error| error.to_string());
    let mut extra = Layer::new();
    for text in &arguments.access.extra_vars {
        match extra_vars::parse(text, &hook, diags) {
            Ok(vars) => {
                record::conceal(&vars, redactor);
                let vars = vars.into_iter().map(|(name, node)| (name, Raw::Node(node)));
                crate::engine::extend_layer(&mut extra, vars, settings().merge_hashes);
            }
            Err(diag) => diags.push(diag),
        }
    }
    let extra = Arc::new(extra);
    let templar = Templar::new(TemplarOptions {
        vault: Some(vault.clone()),
        redactor: redactor.clone(),
        // Only a plan asks what was read.
        reads: if arguments.out.is_some() { Reads::kept() } else { Reads::default() },
        ansible_managed: settings().ansible_managed.clone(),
        extensions: Extensions::named(&settings().jinja2_extensions),
        lookup_host: Some(Arc::new(super::stored::Stored::new(arguments.check))),
    });
    let with = inventory::constructing(&templar, &extra);
    let mut named = inventory::sources(&arguments.access.sources.inventory);
    if named.is_empty() && arguments.bare {
        // What is asked about hosts alone has nothing to say of nobody.
        named.push(inventory::USUAL.to_string());
    }
    if named.is_empty() {
        diags.push(
            Diag::warning("provided hosts list is empty, only localhost is available")
                .with_note("the implicit localhost does not match `all`")
                .with_help("name an inventory with -i, or make a folder `inventory`"),
        );
    }
    let mut inventory = Inventory::load(&named, &hook, &with, diags);
    let roles_path: Vec<PathBuf> = match &arguments.roles_path {
        Some(list) => list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        None => vec![PathBuf::from("roles")],
    };
    let names = if arguments.bare { Vec::new() } else { playbook_names(arguments, diags) };
    let template = name_templar(&templar, &extra);
    let options =
        LoadOptions { modules: &RegisteredModules, vault: &hook, roles_path: roles_path.clone(), template: &template };
    let mut playbooks = Vec::new();
    for name in &names {
        playbooks.extend(load_playbook(name, &options, diags));
    }
    // What is wrong in variable files is said now; those of further playbooks are read again as their plays begin.
    for playbook in playbooks.iter().rev() {
        inventory.load_vars(Some(&playbook.directory), &hook, diags);
    }
    let beside = Path::new("playbooks");
    if arguments.bare && beside.is_dir() {
        inventory.load_vars(Some(beside), &hook, diags);
    }
    preflight::check(&playbooks, &templar, diags);
    let mut limit = Vec::new();
    for text in &arguments.access.sources.limit {
        limit.extend(Inventory::limit_patterns(text, diags));
    }
    // A misspelt limit is no reason to do nothing and call it a success.
    if !limit.is_empty() && inventory.select(&limit, &[], &Span::generated(), &mut Diags::new()).hosts.is_empty() {
        let text = arguments.access.sources.limit.join(",");
        diags.push(
            Diag::error(format!("--limit {text} leaves no host to work on"))
                .with_help("`deploy inventory --graph` shows which hosts and groups there are"),
        );
    }
    Some(Sources {
        redactor: redactor.clone(),
        vault: vault.clone(),
        inventory,
        playbooks,
        extra,
        templar: templar.clone(),
        roles_path,
        limit,
        tags: TagSelection::new(&arguments.tags, &arguments.skip_tags),
    })
}

fn playbook_names(arguments: &RunArguments, diags: &mut Diags) -> Vec<PathBuf> {
    if arguments.playbooks.is_empty() {
        return vec![PathBuf::from("playbooks/site.yml")];
    }
    let mut names = Vec::new();
    for path in &arguments.playbooks {
        let text = path.to_string_lossy();
        let looks = [".yml", ".yaml", ".json"].iter().any(|end| text.ends_with(end)) || text.contains('/');
        if looks {
            names.push(path.clone());
        } else {
            let known = subcommands();
            if known.iter().any(|name| *name == text) {
                diags.push(
                    Diag::error(format!("the subcommand `{text}` comes too late"))
                        .with_help(format!("options go behind it: deploy {text} …")),
                );
                break;
            }
            let near = crate::source::did_you_mean(&text, known.iter().map(String::as_str));
            diags.push(
                Diag::error(format!("`{text}` is neither a subcommand nor a playbook"))
                    .with_help("a playbook ends in .yml, .yaml or .json, or contains a /")
                    .suggest(near),
            );
        }
    }
    names
}

/// Templates the names of static imports, which may use extra variables and those written around them.
pub(super) fn name_templar(
    templar: &Templar,
    extra: &Arc<Layer>,
) -> impl Fn(&str, &Variables) -> Result<String, String> + Send + Sync + 'static {
    let (templar, extra) = (templar.clone(), extra.clone());
    move |text, vars| {
        let around: Layer = vars.iter().map(|(name, node)| (name.clone(), Raw::Node(node.clone()))).collect();
        let scope = Scope::from_layers(&templar, vec![Arc::new(around), extra.clone()]);
        let evaluated = templar.template_str(text, &scope).map_err(|error| error.message)?;
        if !evaluated.is_known() {
            return Err("it depends on what is only known while the play runs".into());
        }
        Ok(crate::template::display(&evaluated.value))
    }
}

fn listing(arguments: &RunArguments, mut sources: Sources) -> ExitCode {
    let options = ListOptions {
        tasks: arguments.list_tasks,
        tags: arguments.list_tags,
        hosts: arguments.list_hosts,
        selection: sources.tags.clone(),
    };
    let mut diags = Diags::new();
    let (templar, extra) = (sources.templar.clone(), sources.extra.clone());
    let mut hosts_of = |play: &crate::playbook::Play| {
        let scope = Scope::from_layers(&templar, vec![extra.clone()]);
        let patterns: Vec<String> = play
            .host_patterns()
            .iter()
            .map(|pattern| {
                templar.template_str(pattern, &scope).map_or(pattern.clone(), |e| crate::template::display(&e.value))
            })
            .flat_map(|pattern| split_patterns(&pattern))
            .collect();
        let selection = sources.inventory.select(&patterns, &sources.limit, &play.hosts.span, &mut diags);
        selection.hosts.iter().map(|host| host.as_str().to_string()).collect()
    };
    let text = list(&sources.playbooks, &options, &mut hosts_of);
    super::show(&sources.redactor.mask(&text));
    super::say(&sources.redactor, &diags.render(false));
    ExitCode::SUCCESS
}

/// Runs what was read; the exit code, or why it could not begin.
pub(super) async fn play(
    arguments: RunArguments,
    mut sources: Sources,
    order: Order,
    watching: Watching,
    colour: bool,
) -> Result<u8, String> {
    let redactor = sources.redactor.clone();
    let passwords = watching.passwords.map_or_else(|| passwords(&arguments, &redactor), Ok)?;
    let mask = masking(&redactor);
    let names: Vec<String> = sources.playbooks.iter().map(|playbook| playbook.path.display().to_string()).collect();
    let id = record::new_id();
    let tracing = match watching.untraced {
        true => Ok(None),
        false => TraceSettings::from_environment(&|name| std::env::var(name).ok()),
    };
    let (tracer, untraceable) = match tracing {
        Ok(settings) => (settings.map(|settings| Tracer::new(settings, &id, mask.clone())), None),
        Err(why) => (None, Some(format!("no trace is sent of this run: {why}"))),
    };
    tracer.iter().flat_map(Tracer::secrets).for_each(|secret| {
        redactor.add(&secret);
    });
    let kept = record::begin(&id, &arguments, &mut sources.inventory, &sources.playbooks, order, &redactor)?;
    let mut reporters = watching.reporters;
    let page = watching.page.clone();
    if !watching.silent {
        let diffs = arguments.display.diffs();
        let to_user = match watching.page {
            Some(page) => on_page(page, arguments.verbose, mask.clone(), colour, diffs),
            None => to_user(arguments.format, arguments.verbose, mask.clone(), colour, diffs),
        };
        reporters.insert(0, to_user);
    }
    reporters.extend(watching.guard.iter().map(|guard| Box::new(guard.clone()) as Box<dyn Reporter>));
    reporters.extend(kept.events.map(|log| Box::new(JsonLines::new(log, mask)) as Box<dyn Reporter>));
    reporters.extend(tracer.iter().map(Tracer::reporter));
    let sink: Arc<dyn Sink> = Arc::new(Reporters::new(reporters));
    let about = About {
        id,
        journal: kept.journal.clone(),
        resumed: kept.resumed,
        debts: kept.debts,
        exclusive: true,
        doing: format!("running {}", names.join(" ")),
    };
    let (run, playbooks) = assemble(&arguments, sources, passwords, sink, about);
    if let Some(guard) = &watching.guard {
        let (guarded, handle) = (Arc::downgrade(&run), tokio::runtime::Handle::current());
        guard.arm(move || {
            // Not here and now: whoever reports an event waits for us, and an interruption is an event itself.
            if let Some(run) = guarded.upgrade() {
                handle.spawn(async move { run.interrupt() });
            }
        });
    }
    let remarks: Vec<String> = kept.remarks.into_iter().chain(untraceable).collect();
    let code = drive(&run, &playbooks, &arguments, &remarks, colour, page, watching.after).await;
    if let Some(tracer) = tracer
        && let Err(why) = tracer.send().await
    {
        run.warn(format!("the trace of this run was not sent: {why}"));
    }
    if let Some(journal) = &kept.journal {
        let _ = kept.hashing.map(|hashing| hashing.join());
        let ending = if run.stopping() && run.gave_way().is_none() { Ending::Interrupted } else { Ending::Finished };
        let hosts = run.recap().into_iter().map(|(host, counters)| (host.to_string(), json!(counters))).collect();
        let finished = journal.finish(ending, code, hosts, &|text| redactor.mask(text).into_owned());
        for trouble in finished.err().map(|error| error.to_string()).into_iter().chain(journal.take_trouble()) {
            run.warn(trouble);
        }
    }
    Ok(code)
}

/// What hides secrets in what leaves the process.
pub(super) fn masking(redactor: &Redactor) -> Mask {
    let masker = redactor.clone();
    Arc::new(move |text: &str| masker.mask(text).into_owned())
}

/// Events to standard output.
pub(super) fn to_user(
    format: Format,
    verbosity: u8,
    mask: Mask,
    colour: bool,
    diffs: DiffOptions,
) -> Box<dyn Reporter> {
    let terminal = std::io::stdout().is_terminal();
    match format {
        Format::Text => {
            let shown = Terminal::new(std::io::stdout(), mask, Style::new(colour), verbosity, terminal);
            Box::new(shown.with_diffs(diffs))
        }
        Format::Json => Box::new(JsonLines::new(std::io::stdout(), mask)),
    }
}

/// Events to a page that is shown at the end; until then a line on the terminal, if there is one, says how far it is.
pub(super) fn on_page(page: Page, verbosity: u8, mask: Mask, colour: bool, diffs: DiffOptions) -> Box<dyn Reporter> {
    let shown = Terminal::new(page, mask.clone(), Style::new(colour), verbosity, false).with_diffs(diffs);
    let line = std::io::stderr().is_terminal().then(std::io::stderr);
    Box::new(Behind::new(shown, line, mask))
}

/// Runs all plays; the exit code.
async fn drive(
    run: &Arc<Run>,
    playbooks: &[Playbook],
    arguments: &RunArguments,
    remarks: &[String],
    colour: bool,
    page: Option<Page>,
    after: Option<After>,
) -> u8 {
    let sink = &run.sink;
    let names = playbooks.iter().map(|playbook| playbook.path.display().to_string()).collect();
    sink.emit(Event::RunStarted { playbooks: names, check: arguments.check });
    remarks.iter().for_each(|remark| run.warn(remark));
    unknown_tags(playbooks, &run.tags).into_iter().for_each(|remark| run.warn(remark));
    let found = preflight_plays(run, playbooks.iter().flat_map(|playbook| &playbook.plays)).await;
    if !found.is_empty() {
        report_preflight(run, &found, colour);
        return EXIT_PARSE;
    }
    let interrupted = tokio::spawn(interrupts(run.clone(), page));
    let mut broken = false;
    let mut number = 0;
    'playbooks: for playbook in playbooks {
        for play in &playbook.plays {
            number += 1;
            let next = tokio::select! {
                next = run_play(run, play, number) => next,
                () = run.giving_way() => Ok(Next::Stop),
            };
            match next {
                Ok(Next::GoOn | Next::EndPlay) if !run.stopping() => {}
                Ok(_) => break 'playbooks,
                Err(diag) => {
                    sink.emit(Event::Diagnostic { text: diag.render(colour), diagnostic: Box::new(diag.clone()) });
                    broken = true;
                    break 'playbooks;
                }
            }
            for warning in run.templar.take_warnings() {
                run.warn(warning);
            }
        }
    }
    if let Some(warning) = run.redactor.take_warning() {
        run.warn(warning);
    }
    let gave_way = run.gave_way();
    if let Some(other) = &gave_way {
        let how = if other.well { "nothing is done, as --if-locked leave has it" } else { "the run ends here" };
        run.warn(format!("{}: {how}", other.why));
    }
    if run.stopping() && gave_way.is_none() {
        let all: usize = playbooks.iter().map(|playbook| playbook.plays.len()).sum();
        let tasks = run.not_begun().map(|tasks| format!("; tasks that were not run: {tasks}")).unwrap_or_default();
        let plays = match all.saturating_sub(number) {
            0 => String::new(),
            1 => "; the last play was not begun".to_string(),
            left => format!("; {left} plays were not begun"),
        };
        run.warn(format!("the run was interrupted{tasks}{plays}"));
    }
    let mut missed = false;
    if let Some(name) = arguments.start_at_task.as_ref().filter(|_| !run.has_started() && !run.stopping() && !broken) {
        run.warn(format!("nothing was run: no task is called `{name}` (`--list-tasks` shows their names)"));
        missed = true;
    }
    if !arguments.check
        && let Some(place) = &settings().retry_files
    {
        retry_file(run, playbooks, number, place.as_deref());
    }
    run.unknowns.event().into_iter().for_each(|event| sink.emit(event));
    let mut stats = serde_json::Value::Object(run.stats.all());
    run.redactor.mask_json(&mut stats);
    let stats = stats.as_object().cloned().unwrap_or_default();
    sink.emit(Event::Recap {
        hosts: run.recap(),
        owed: run.owed(),
        stats,
        show_stats: super::settings::settings().show_custom_stats,
    });
    // Sessions that are given up by a run that gave way tell of lost hosts behind this.
    let verdict = run.verdict();
    run.locks.release_all().await;
    if let Some(after) = after {
        after(run.clone()).await;
    }
    run.fleet.close().await;
    interrupted.abort();
    if run.stopping() && gave_way.is_none() {
        return super::EXIT_INTERRUPTED as u8;
    }
    if broken || missed {
        return EXIT_PARSE;
    }
    verdict.exit_code(arguments.detailed_exitcode)
}

/// Writes down the hosts that failed, for `--limit @site.retry`.
fn retry_file(run: &Run, playbooks: &[Playbook], plays: usize, place: Option<&Path>) {
    let failed = run.left_behind();
    // The playbook in which the run ended.
    let mut seen = 0;
    let ended = playbooks.iter().find(|playbook| {
        seen += playbook.plays.len();
        seen >= plays
    });
    let Some(playbook) = ended.filter(|_| !failed.is_empty()) else { return };
    let directory = place.or(playbook.path.parent()).unwrap_or(Path::new("."));
    let mut name = playbook.path.file_stem().unwrap_or_default().to_os_string();
    name.push(".retry");
    let path = directory.join(name);
    let lines: String = failed.iter().map(|host| format!("{host}\n")).collect();
    match std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, lines)) {
        Ok(()) => run.warn(format!("to try the hosts that failed again: --limit @{}", path.display())),
        Err(error) => run.warn(format!("{} cannot be written: {error}", path.display())),
    }
}

/// Ctrl-C, the end of a terminal, a service manager's stop: the first lets hosts finish what they are at, the second leaves
/// at once (the hosts still finish it), with what a pager would have been given.
async fn interrupts(run: Arc<Run>, page: Option<Page>) {
    let listen = |kind| tokio::signal::unix::signal(kind).ok();
    let mut terminated = listen(SignalKind::terminate());
    let mut hung_up = listen(SignalKind::hangup());
    let mut asked = false;
    loop {
        let code = tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => 130,
            Some(()) = heard(&mut terminated) => 143,
            Some(()) = heard(&mut hung_up) => 129,
            else => return,
        };
        if asked {
            page.iter().for_each(Page::leave);
            std::process::exit(code);
        }
        asked = true;
        run.interrupt();
    }
}

async fn heard(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => None,
    }
}
