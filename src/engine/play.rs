//! One play: its hosts, its batches, its sections, its handlers.

use super::batches::{self, Portion};
use super::board::Board;
use super::event::Event;
use super::frame::{Frame, layer_of};
use super::handlers::{self, Handler};
use super::host::{Host, Stamp};
use super::position::Position;
use super::run::Run;
use super::variables::{self, At, HostBase, LayerCache};
use super::walker::{Part, Walker};
use crate::inventory::split_patterns;
use crate::machine::history::RunTurn;
use crate::playbook::{Play, Role};
use crate::source::{Diag, Diags, Node, Span};
use crate::template::{Layer, Raw, Scope, Value};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Defaults and vars of a role.
#[derive(Clone)]
pub struct RoleLayers {
    /// `defaults/`
    pub defaults: Arc<Layer>,
    /// `vars/`
    pub vars: Arc<Layer>,
    /// Parameters of this use.
    pub params: Arc<Layer>,
}

/// A play while it runs.
pub struct PlayRun {
    /// The run.
    pub run: Arc<Run>,
    /// The play.
    pub play: Arc<Play>,
    /// Its number in the run.
    pub number: usize,
    /// All its hosts, in order.
    pub hosts: Vec<Arc<Host>>,
    /// The same in the inventory's order, whatever `order` says: that of `ansible_play_hosts`.
    pub listed: Vec<Arc<Host>>,
    /// All that its pattern names, in that order, also those that take part no longer: `ansible_play_hosts_all`.
    pub all: Vec<Arc<str>>,
    /// The same in the play's own order: batches are cut of them, those that take part no longer among them.
    pub ordered: Vec<Arc<str>>,
    /// Play vars.
    pub vars: Arc<Layer>,
    /// Answers to `vars_prompt`.
    pub prompts: Arc<Layer>,
    /// Defaults of all its roles.
    pub role_defaults: Arc<Layer>,
    /// Vars of all its roles.
    pub role_vars: Arc<Layer>,
    /// Magic variables of the play.
    pub magic: Arc<Layer>,
    /// Its handlers, and those of its roles; what included roles bring is the batch's.
    pub handlers: Vec<Arc<Handler>>,
    /// `strategy: free`.
    pub free: bool,
    /// `max_fail_percentage`, once evaluated.
    pub max_fail_percentage: Option<f64>,
    /// `any_errors_fatal` of the play.
    pub any_errors_fatal: bool,
    /// Roles that ran on some host, for roles that run only once: (identity, host).
    pub roles_done: Mutex<std::collections::HashSet<(Arc<str>, Arc<str>)>>,
    /// Hosts that `add_host` has brought while the play runs: they are named in its lists and take no part in it.
    pub added: Mutex<AddedHosts>,
    layers: LayerCache,
    roles: Mutex<HashMap<usize, (Arc<Role>, RoleLayers)>>,
    bases: Mutex<HashMap<Arc<str>, Arc<HostBase>>>,
    groups: Mutex<Arc<Layer>>,
    /// The roles that are in the play by now, and the magic variables that name them.
    role_names: Mutex<(Vec<Arc<Role>>, Arc<Layer>)>,
}

/// The hosts that go through the play together.
pub struct Batch {
    /// The hosts.
    pub hosts: Vec<Arc<Host>>,
    /// How far each is.
    pub board: Arc<Board>,
    /// Every task is a meeting point: failures must be seen before anybody goes on.
    pub strict: bool,
    /// The number of the turn in the run ([`Run::next_turn`]); 0 outside of turns.
    pub turn: u32,
    /// Answers to `--step`.
    pub steps: tokio::sync::Mutex<HashMap<Position, bool>>,
    /// Turns at tasks with `throttle`.
    pub turns: Mutex<HashMap<Position, Arc<super::turns::Turns>>>,
    /// Handlers of the roles that were included.
    pub included: handlers::Included,
    /// Results of `run_once` tasks.
    pub once: Mutex<HashMap<Position, Arc<super::once::Once>>>,
    /// Where in the play hosts failed or were lost: others, further back, still count them as present.
    pub left_at: Mutex<HashMap<usize, Position>>,
    /// Where hosts were sent away (`meta: end_host`): no failure, and no longer there for those behind.
    pub sent_away: Mutex<HashMap<usize, Position>>,
    /// Where `meta: clear_host_errors` has forgiven: the first host that comes there does it for all.
    pub forgiven_at: Mutex<std::collections::HashSet<Position>>,
    /// Failures under `any_errors_fatal`: who, and where. They are everybody's from the next task on.
    pub fatal: Mutex<Vec<(usize, Position)>>,
    /// Where tasks have failed that one host ran for all (`run_once`).
    pub failed_once: Mutex<std::collections::HashSet<Position>>,
    /// A host has come to its end by a failure that is everybody's: the play ends for all when they are through.
    pub stopped: Mutex<Option<Stop>>,
    /// Somebody ended the batch (`meta: end_batch`, `end_play`) or a fatal error did.
    pub ended: Mutex<Option<Ending>>,
    /// The lists of hosts that were asked for last.
    lists: Mutex<Option<HostLists>>,
}

/// Hosts that a play has brought, and `ansible_play_hosts_all` with them: it is made when one comes, not for each evaluation.
#[derive(Clone, Default)]
pub struct AddedHosts {
    /// In the order in which they came.
    pub names: Vec<Arc<str>>,
    /// All hosts of the play and these; nothing where none came.
    pub all: Option<Value>,
}

/// Who is there, as templates see it. Every evaluation has these lists at hand, so they are not made anew for each.
#[derive(Clone)]
struct HostLists {
    present: Vec<usize>,
    outside: Vec<Arc<str>>,
    added: usize,
    batch: Value,
    play: Value,
}

/// Why a batch ends before its tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `meta: end_batch`
    Batch,
    /// `meta: end_play`
    Play,
    /// `any_errors_fatal`, `max_fail_percentage`.
    Fatal,
}

/// Whose failure one host's failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// That of all, by `any_errors_fatal`.
    Fatal,
    /// That of all, for whom one host ran the task (`run_once`): so it is also where `any_errors_fatal` is said.
    Once,
}

impl Batch {
    /// A batch about to begin.
    pub fn new(hosts: Vec<Arc<Host>>, board: Arc<Board>, strict: bool) -> Self {
        Batch {
            hosts,
            board,
            strict,
            turn: 0,
            steps: Default::default(),
            turns: Mutex::default(),
            included: Default::default(),
            once: Mutex::default(),
            left_at: Mutex::default(),
            sent_away: Mutex::default(),
            forgiven_at: Mutex::default(),
            fatal: Mutex::default(),
            failed_once: Mutex::default(),
            stopped: Mutex::default(),
            ended: Mutex::default(),
            lists: Mutex::default(),
        }
    }

    /// Ends it; the first reason stands unless a failure follows.
    pub fn end(&self, why: Ending) {
        let mut ended = self.ended.lock().unwrap_or_else(|p| p.into_inner());
        if ended.is_none() || why == Ending::Fatal {
            *ended = Some(why);
        }
        drop(ended);
        self.board.nudge();
    }

    /// Waits until it is this host's turn at a task that only `limit` hosts may run at a time; the turn ends when what
    /// is returned is dropped. Hosts take their turns in the batch's order.
    pub async fn turn(self: &Arc<Self>, position: &Position, index: usize, limit: usize) -> super::turns::Turn {
        let turns = {
            let mut table = self.turns.lock().unwrap_or_else(|p| p.into_inner());
            table.entry(position.clone()).or_insert_with(|| Arc::new(super::turns::Turns::new(limit))).clone()
        };
        turns.take(&self.board, position, index).await
    }

    /// The play ends for all when they are through.
    pub fn stop(&self, why: Stop) {
        let mut stopped = self.stopped.lock().unwrap_or_else(|p| p.into_inner());
        *stopped = (*stopped).max(Some(why));
    }

    /// Whether, and why, the play ends for all when they are through.
    pub fn stopped(&self) -> Option<Stop> {
        *self.stopped.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// A host fails, or is lost, at `position`.
    pub fn left(&self, index: usize, position: &Position) {
        self.left_at.lock().unwrap_or_else(|p| p.into_inner()).entry(index).or_insert_with(|| position.clone());
    }

    /// A host has failed, or was lost, under `any_errors_fatal`.
    pub fn is_fatal(&self, index: usize, position: &Position) {
        self.fatal.lock().unwrap_or_else(|p| p.into_inner()).push((index, position.clone()));
    }

    /// How many hosts have failed, or were lost, before `position`.
    pub fn count_left(&self, position: &Position) -> usize {
        self.left_at.lock().unwrap_or_else(|p| p.into_inner()).values().filter(|at| *at < position).count()
    }

    /// A host goes no further (`meta: end_host`).
    pub fn send_away(&self, index: usize, position: &Position) {
        self.sent_away.lock().unwrap_or_else(|p| p.into_inner()).insert(index, position.clone());
    }

    /// The hosts that had neither failed nor been sent away before `position`, in order.
    pub fn present_at(&self, position: &Position) -> Vec<usize> {
        let left = self.left_at.lock().unwrap_or_else(|p| p.into_inner());
        let sent = self.sent_away.lock().unwrap_or_else(|p| p.into_inner());
        let there = |index: &usize| [&left, &sent].iter().all(|gone| gone.get(index).is_none_or(|at| at >= position));
        (0..self.hosts.len()).filter(there).collect()
    }

    /// Why it ends, if so.
    pub fn ending(&self) -> Option<Ending> {
        *self.ended.lock().unwrap_or_else(|p| p.into_inner())
    }
}

impl PlayRun {
    /// What stays the same for a host during this play.
    pub fn base(&self, host: &str) -> Arc<HostBase> {
        let known = self.bases.lock().unwrap_or_else(|p| p.into_inner()).get(host).cloned();
        known.unwrap_or_else(|| {
            let base = Arc::new(HostBase::new(self, host));
            self.bases.lock().unwrap_or_else(|p| p.into_inner()).insert(host.into(), base.clone());
            base
        })
    }

    /// The turn of `host` in the runs that this one resumes, as far as what it did there still stands: the newest first.
    pub fn earlier_tries(&self, host: &str) -> Vec<RunTurn> {
        let tries = self.run.resumed.iter().flat_map(|progress| progress.tries(self.number, host));
        let known = tries.filter(|turn| turn.turn > 0 && !turn.run.is_empty());
        known.map(|turn| RunTurn { run: turn.run.clone(), turn: turn.turn }).collect()
    }

    /// Forgets what the inventory said: it changed.
    pub fn forget_bases(&self) {
        self.bases.lock().unwrap_or_else(|p| p.into_inner()).clear();
        *self.groups.lock().unwrap_or_else(|p| p.into_inner()) = groups(&self.run);
    }

    /// The layer of `groups`: `add_host`, `group_by` and `meta: refresh_inventory` change it.
    pub fn groups(&self) -> Arc<Layer> {
        self.groups.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// The layer of the names of roles: those that are included while the play runs come to them.
    pub fn role_names(&self) -> Arc<Layer> {
        self.role_names.lock().unwrap_or_else(|p| p.into_inner()).1.clone()
    }

    /// Roles were included.
    pub fn add_roles(&self, roles: &[Arc<Role>]) {
        let mut known = self.role_names.lock().unwrap_or_else(|p| p.into_inner());
        let before = known.0.len();
        for role in roles {
            if !known.0.iter().any(|other| other.name == role.name && needed(other) == needed(role)) {
                known.0.push(role.clone());
            }
        }
        if known.0.len() > before {
            known.1 = role_names(&known.0);
        }
    }

    /// The layer of a keyword set's `vars`.
    pub fn layer_of_keywords(&self, keywords: &Arc<crate::playbook::Keywords>) -> Arc<Layer> {
        self.layers.of(keywords)
    }

    /// The layers of a role, those of the roles that brought it below.
    pub fn layer_of_role(&self, role: &Arc<Role>) -> RoleLayers {
        let mut roles = self.roles.lock().unwrap_or_else(|p| p.into_inner());
        let entry = roles.entry(Arc::as_ptr(role) as usize);
        entry.or_insert_with(|| (role.clone(), role_layers(role))).1.clone()
    }

    /// `add_host` has brought a host.
    pub fn add(&self, name: &str) {
        let mut added = self.added.lock().unwrap_or_else(|p| p.into_inner());
        if self.all.iter().chain(&added.names).any(|known| **known == *name) {
            return;
        }
        added.names.push(name.into());
        let all = self.all.iter().chain(&added.names).map(|name| Value::from(&**name)).collect();
        added.all = Some(all);
    }

    /// `ansible_play_batch` and `ansible_play_hosts` for those who stand at `position`: hosts of the batch that had not
    /// failed before it; with them the hosts outside of the batch that still take part.
    pub fn host_lists(&self, batch: &Batch, position: &Position) -> (Value, Value) {
        let present = batch.present_at(position);
        let outside = self.hosts_outside(batch);
        let added = self.added.lock().unwrap_or_else(|p| p.into_inner()).names.clone();
        let mut cache = batch.lists.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(lists) = cache
            .as_ref()
            .filter(|lists| lists.present == present && lists.outside == outside && lists.added == added.len())
        {
            return (lists.batch.clone(), lists.play.clone());
        }
        let inside: Vec<&Arc<str>> =
            present.iter().filter_map(|&index| batch.hosts.get(index)).map(|host| &host.name).collect();
        let wanted: std::collections::HashSet<&Arc<str>> = inside.iter().copied().chain(&outside).collect();
        let all = self.listed.iter().map(|host| &host.name).filter(|name| wanted.contains(name));
        let play: Value = all.chain(&added).map(|name| Value::from(&**name)).collect();
        let batch: Value = inside.iter().map(|name| Value::from(&***name)).collect();
        *cache = Some(HostLists { present, outside, added: added.len(), batch: batch.clone(), play: play.clone() });
        (batch, play)
    }

    /// Hosts of the play that are in no batch of their own right now and still take part.
    fn hosts_outside(&self, batch: &Batch) -> Vec<Arc<str>> {
        if batch.hosts.len() == self.hosts.len() {
            return Vec::new();
        }
        let inside: std::collections::HashSet<&Arc<str>> = batch.hosts.iter().map(|host| &host.name).collect();
        let outside = self.hosts.iter().filter(|host| !inside.contains(&host.name) && host.gone().is_none());
        outside.map(|host| host.name.clone()).collect()
    }
}

fn role_layers(role: &Arc<Role>) -> RoleLayers {
    RoleLayers { defaults: layer_of(&role.defaults), vars: layer_of(&role.vars), params: layer_of(&role.params) }
}

/// Reads `group_vars/` and `host_vars/` beside this play's playbook, unless the last play's stood there too.
fn load_group_and_host_vars(run: &Run, directory: &Path) -> Result<(), Diag> {
    let mut diags = Diags::new();
    let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
    inventory.load_vars(Some(directory), &|bytes, path| (run.loader.vault)(bytes, path), &mut diags);
    diags.into_iter().find(Diag::is_error).map_or(Ok(()), Err)
}

/// Makes ready to run a play. With `quietly` nothing is shown and nobody is asked.
pub fn open_play(run: &Arc<Run>, play: &Arc<Play>, number: usize, quietly: bool) -> Result<Arc<PlayRun>, Diag> {
    load_group_and_host_vars(run, &play.directory)?;
    let vars = layer_of(&play.keywords.vars);
    {
        let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
        let warnings = run.loader.load_inventory_vars(&mut inventory, &play.directory)?;
        warnings.into_iter().filter(|_| !quietly).for_each(|diag| run.warn(diag.one_line()));
    }
    let bare = bare_scope(run, &vars);
    let Selected { hosts, listed, all, ordered } = select_hosts(run, play, &bare, quietly)?;
    let name = match &play.name {
        Some(node) => text(&bare, node)?,
        None => host_patterns(&bare, &play.hosts)?.join(","),
    };
    if !quietly {
        run.sink.emit(Event::PlayStarted { name: name.clone(), hosts: hosts.iter().map(|h| h.name.clone()).collect() });
    }
    let mut role_defaults = Layer::new();
    let mut role_vars = Layer::new();
    for role in &play.all_roles {
        let layers = role_layers(role);
        let merges = run.options.merge_hashes;
        let of = |layer: &Layer| layer.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>();
        super::merging::extend(&mut role_defaults, of(&layers.defaults), merges);
        super::merging::extend(&mut role_vars, of(&layers.vars), merges);
    }
    let strategy = said(&bare, play.strategy.as_ref())?.or_else(|| run.options.strategy.clone());
    let free = match strategy.as_deref().map(|s| s.rsplit('.').next().unwrap_or(s)) {
        None | Some("linear") => false,
        Some("free" | "host_pinned") => true,
        Some(other) => {
            let span = play.strategy.as_ref().map(|node| node.span.clone()).unwrap_or_else(Span::generated);
            return Err(
                Diag::error(format!("the strategy `{other}` is not known: use linear, free or host_pinned")).at(&span)
            );
        }
    };
    let truth = |node: &Option<Node>| -> Result<bool, Diag> {
        let value = said(&bare, node.as_ref())?;
        let flag = |value| crate::modules::scalars::Flag::parse(&serde_json::Value::String(value));
        Ok(value.and_then(flag).unwrap_or(false))
    };
    let max_fail_percentage = match said(&bare, play.max_fail_percentage.as_ref())? {
        Some(written) => {
            let number = written.trim_end_matches('%').trim().parse::<f64>();
            let span = play.max_fail_percentage.as_ref().map_or_else(Span::generated, |node| node.span.clone());
            Some(number.map_err(|_| Diag::error(format!("`{written}` is no percentage")).at(&span))?)
        }
        None => None,
    };
    let prompts: &[Node] = if quietly || hosts.is_empty() { &[] } else { &play.vars_prompt };
    let outer = Frame { keywords: vec![play.keywords.clone()], handler: true, ..Frame::default() };
    let play_run = Arc::new(PlayRun {
        run: run.clone(),
        play: play.clone(),
        number,
        magic: play_magic(play, &name, &all),
        any_errors_fatal: match &play.keywords.any_errors_fatal {
            None => run.options.any_errors_fatal,
            said => truth(said)?,
        },
        hosts: hosts.clone(),
        listed,
        all,
        ordered,
        prompts: super::prompts::ask(run, prompts, &bare)?,
        vars,
        role_defaults: Arc::new(role_defaults),
        role_vars: Arc::new(role_vars),
        handlers: handlers::collect(&play.handlers, &outer),
        free,
        max_fail_percentage,
        roles_done: Mutex::default(),
        added: Mutex::default(),
        layers: LayerCache::default(),
        roles: Mutex::default(),
        bases: Mutex::default(),
        groups: Mutex::new(groups(run)),
        role_names: Mutex::new((play.all_roles.clone(), role_names(&play.all_roles))),
    });
    Ok(play_run)
}

/// Runs one play. An error is about the play itself, before any of its hosts was touched.
pub async fn run_play(run: &Arc<Run>, play: &Arc<Play>, number: usize) -> Result<Next, Diag> {
    let play_run = open_play(run, play, number, false)?;
    let hosts = play_run.hosts.clone();
    if hosts.is_empty() {
        return Ok(Next::GoOn);
    }
    if let Some(rolling) = &play.rolling {
        return super::rolling::run(&play_run, rolling).await;
    }
    let bare = bare_scope(run, &play_run.vars);
    let portions = portions(&bare, play)?;
    let mut next = Next::GoOn;
    let batches = batches::cut(play_run.ordered.clone(), &portions);
    let of = batches.len();
    for (index, names) in batches.into_iter().enumerate() {
        let names: std::collections::HashSet<Arc<str>> = names.into_iter().collect();
        let takes_part = |host: &&Arc<Host>| names.contains(&host.name) && host.gone().is_none();
        let batch: Vec<_> = hosts.iter().filter(takes_part).cloned().collect();
        if batch.is_empty() {
            continue;
        }
        if of > 1 {
            let hosts = batch.iter().map(|host| host.name.clone()).collect();
            run.sink.emit(Event::BatchStarted { batch: index + 1, of, hosts });
        }
        next = run_batch(&play_run, batch).await;
        if next != Next::GoOn || run.stopping() {
            break;
        }
    }
    Ok(if next == Next::EndPlay { Next::GoOn } else { next })
}

/// What follows a batch or a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next one.
    GoOn,
    /// `meta: end_play`: the next play.
    EndPlay,
    /// Nothing: the run stops with a failure.
    Stop,
}

/// Walks hosts together through a part of the play that stands at `base`; `turn` is 0 outside of turns.
pub async fn walk_batch(
    play: &Arc<PlayRun>,
    hosts: Vec<Arc<Host>>,
    part: Part,
    base: Position,
    turn: u32,
) -> Arc<Batch> {
    let run = &play.run;
    let board = Arc::new(Board::new(hosts.len(), !play.free, run.sink.clone()));
    let strict = !play.free && (play.any_errors_fatal || play.max_fail_percentage.is_some());
    let batch = Arc::new(Batch { turn, ..Batch::new(hosts.clone(), board.clone(), strict) });
    hosts.iter().for_each(|host| host.forget_notified());
    let mut walkers = tokio::task::JoinSet::new();
    for index in 0..hosts.len() {
        let walker = Walker::new(play.clone(), batch.clone(), index);
        walkers.spawn(walker.walk(part.clone(), base.clone()));
    }
    let watcher = tokio::spawn(super::watch::watch(batch.clone(), run.clone()));
    while let Some(done) = walkers.join_next().await {
        if let Err(error) = done {
            // A bug of ours must not look like success.
            run.warn(format!("a host's run ended unexpectedly: {error}"));
            batch.end(Ending::Fatal);
        }
    }
    watcher.abort();
    board.release_all();
    if batch.stopped().is_some() {
        batch.end(Ending::Fatal);
    }
    for (index, host) in hosts.iter().enumerate() {
        let asking = handlers::Asking { play, batch: &batch, host, index, own: true };
        let owed: Vec<String> = asking.settle_debts().iter().map(|handler| handler.task.title()).collect();
        if !owed.is_empty() {
            run.owe(&host.name, owed);
        }
        host.forget_notified();
    }
    batch
}

async fn run_batch(play: &Arc<PlayRun>, hosts: Vec<Arc<Host>>) -> Next {
    let run = &play.run;
    let batch = walk_batch(play, hosts.clone(), Part::Whole, Position::start(), 0).await;
    let failed = hosts.iter().filter(|host| host.gone().is_some()).count();
    let fatal = batch.ending() == Some(Ending::Fatal);
    if fatal || batches::play_ends(hosts.len(), failed, play.max_fail_percentage) {
        let more = play.hosts.iter().any(|host| host.gone().is_none());
        if more {
            let stopped = batch.stopped();
            let shared = stopped.is_some() || play.any_errors_fatal;
            let reason = match (fatal && shared, play.max_fail_percentage) {
                (true, _) if stopped == Some(Stop::Once) => {
                    "a task that one host runs for all failed: the play stops for all hosts".to_string()
                }
                (true, _) => "any_errors_fatal: a host failed, so the play stops for all hosts".to_string(),
                (_, Some(limit)) if failed < hosts.len() => {
                    format!(
                        "{failed} of {} hosts failed, more than max_fail_percentage {limit}: the play stops",
                        hosts.len()
                    )
                }
                _ => "every host of this batch failed: the play stops before the next batch".to_string(),
            };
            run.sink.emit(Event::PlayStopped { reason });
        }
        return Next::Stop;
    }
    if batch.ending() == Some(Ending::Play) { Next::EndPlay } else { Next::GoOn }
}

/// Evaluates text of the play itself.
pub fn text(scope: &Scope, node: &Node) -> Result<String, Diag> {
    Ok(crate::template::display(&value(scope, node)?))
}

fn value(scope: &Scope, node: &Node) -> Result<Value, Diag> {
    let evaluated = scope.templar().template_node(node, scope).map_err(|e| e.at(&node.span).into_diag())?;
    match evaluated.touched.unknown.first() {
        Some(unknown) => {
            Err(Diag::error(format!("`{}` is not known here: {}", unknown.path, unknown.reason)).at(&node.span))
        }
        None => Ok(evaluated.value),
    }
}

/// A keyword of the play; nothing where it is not written, or comes out as `omit` or as nothing.
fn said(scope: &Scope, node: Option<&Node>) -> Result<Option<String>, Diag> {
    let Some(node) = node else { return Ok(None) };
    let value = value(scope, node)?;
    let nothing = crate::template::is_omit(&value) || value.is_none();
    Ok((!nothing).then(|| crate::template::display(&value)))
}

fn host_patterns(scope: &Scope, hosts: &Node) -> Result<Vec<String>, Diag> {
    let evaluated = scope.templar().template_node(hosts, scope).map_err(|e| e.at(&hosts.span).into_diag())?;
    let value = evaluated.value;
    let mut patterns = Vec::new();
    match value.as_str() {
        Some(text) => patterns.extend(split_patterns(text)),
        None => {
            for item in value.try_iter().map_err(|e| Diag::error(format!("hosts: {e}")).at(&hosts.span))? {
                patterns.extend(split_patterns(&crate::template::display(&item)));
            }
        }
    }
    Ok(patterns)
}

/// What a play's own keywords are evaluated with.
pub fn bare_scope(run: &Run, vars: &Arc<Layer>) -> Scope {
    Scope::from_layers(&run.templar, vec![vars.clone(), run.extra.clone(), run.magic.clone(), groups(run)])
}

/// All hosts that a play's pattern names, `--limit` aside.
pub fn unlimited_hosts(run: &Run, play: &Play, scope: &Scope) -> Result<Vec<Arc<str>>, Diag> {
    let patterns = host_patterns(scope, &play.hosts)?;
    let mut diags = Diags::new();
    let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
    let selection = inventory.select(&patterns, &[], &play.hosts.span, &mut diags);
    match diags.into_iter().find(Diag::is_error) {
        Some(error) => Err(error),
        None => Ok(selection.hosts.iter().map(|name| name.as_str().into()).collect()),
    }
}

/// The hosts of a play.
struct Selected {
    /// Those that still take part, in the order asked for.
    hosts: Hosts,
    /// The same in the order of the inventory.
    listed: Hosts,
    /// All, in the order of the inventory.
    all: Vec<Arc<str>>,
    /// All, in the order asked for.
    ordered: Vec<Arc<str>>,
}

fn select_hosts(run: &Arc<Run>, play: &Arc<Play>, scope: &Scope, quietly: bool) -> Result<Selected, Diag> {
    let patterns = host_patterns(scope, &play.hosts)?;
    let mut diags = Diags::new();
    let selection = {
        let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
        inventory.select(&patterns, &run.options.limit, &play.hosts.span, &mut diags)
    };
    for diag in diags {
        if diag.is_error() {
            return Err(diag);
        }
        if !quietly {
            run.warn(diag.message.clone());
        }
    }
    let mut names: Vec<Arc<str>> = selection.hosts.iter().map(|name| name.as_str().into()).collect();
    let present = |names: &[Arc<str>]| -> Hosts {
        names.iter().map(|name| run.host(name)).filter(|host| host.gone().is_none()).collect()
    };
    let (listed, all) = (present(&names), names.clone());
    match said(scope, play.order.as_ref())?.as_deref() {
        None | Some("inventory") => {}
        Some("reverse_inventory") => names.reverse(),
        Some("sorted") => names.sort(),
        Some("reverse_sorted") => {
            names.sort();
            names.reverse();
        }
        Some("shuffle") => {
            use rand::seq::SliceRandom;
            names.shuffle(&mut rand::rng());
        }
        Some(other) => {
            let span = play.order.as_ref().map(|n| n.span.clone()).unwrap_or_else(Span::generated);
            return Err(Diag::error(format!(
                "`{other}` is no order: use inventory, reverse_inventory, sorted, reverse_sorted or shuffle"
            ))
            .at(&span));
        }
    }
    Ok(Selected { hosts: present(&names), listed, all, ordered: names })
}

type Hosts = Vec<Arc<Host>>;

fn portions(scope: &Scope, play: &Play) -> Result<Vec<Portion>, Diag> {
    let mut portions = Vec::new();
    for node in &play.serial {
        let value = scope.templar().template_node(node, scope).map_err(|e| e.at(&node.span).into_diag())?.value;
        if crate::template::is_omit(&value) || value.is_none() {
            continue;
        }
        let parse = |value: &Value| {
            Portion::parse(&crate::template::display(value)).map_err(|why| Diag::error(why).at(&node.span))
        };
        if value.as_str().is_some() || value.is_number() {
            portions.push(parse(&value)?);
        } else {
            let items = value.try_iter().map_err(|e| Diag::error(format!("serial: {e}")).at(&node.span))?;
            for item in items {
                portions.push(parse(&item)?);
            }
        }
    }
    Ok(portions)
}

/// Magic variables that are the same for all hosts of a play.
fn play_magic(play: &Play, name: &str, hosts: &[Arc<str>]) -> Arc<Layer> {
    let mut layer = Layer::new();
    let mut set = |key: &str, value: Value| {
        layer.insert(key.into(), Raw::Value(value));
    };
    set("playbook_dir", Value::from(crate::template::absolute(&play.directory)));
    set("ansible_play_name", Value::from(name));
    set("ansible_play_hosts_all", hosts.iter().map(|name| Value::from(&**name)).collect());
    Arc::new(layer)
}

/// A dependency is here because another role names it in its `meta`.
fn needed(role: &Role) -> bool {
    role.parents.iter().any(|parent| parent.dependency_names.contains(&role.name))
}

/// Magic variables that name the roles of a play.
fn role_names(roles: &[Arc<Role>]) -> Arc<Layer> {
    let once = |names: Vec<Arc<str>>| -> Value {
        let unique: indexmap::IndexSet<Arc<str>> = names.into_iter().collect();
        unique.iter().map(|name| Value::from(&**name)).collect()
    };
    let some = |wanted: bool| roles.iter().filter(move |role| needed(role) == wanted).map(|role| role.name.clone());
    let own: Value = some(false).map(|name| Value::from(&*name)).collect();
    Arc::new(Layer::from_iter([
        ("ansible_role_names".into(), Raw::Value(once(some(true).chain(some(false)).collect()))),
        ("role_names".into(), Raw::Value(own.clone())),
        ("ansible_play_role_names".into(), Raw::Value(own)),
        ("ansible_dependent_role_names".into(), Raw::Value(once(some(true).collect()))),
    ]))
}

/// `groups`, as the inventory is now.
fn groups(run: &Run) -> Arc<Layer> {
    let inventory = run.inventory.read().unwrap_or_else(|p| p.into_inner());
    let groups = inventory.groups_map();
    let groups = groups.iter().map(|(group, hosts)| {
        (Value::from(&**group), hosts.iter().map(|host| Value::from(host.as_str())).collect::<Value>())
    });
    Arc::new(Layer::from_iter([("groups".into(), Raw::Value(Value::from_pairs(groups)))]))
}

/// The variables of a host in a play outside of any task.
pub fn host_scope(play: &Arc<PlayRun>, batch: &Arc<Batch>, host: &Arc<Host>, stamp: &Stamp) -> Scope {
    let frame = Frame { keywords: vec![play.play.keywords.clone()], ..Frame::default() };
    variables::scope(At { play, batch: Some(batch), host, frame: &frame, task: None, stamp })
}
