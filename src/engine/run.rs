//! A run: what all plays share.

use super::event::{Counters, Event, Sink};
use super::fact_cache::FactCache;
use super::fleet::Fleet;
use super::host::{Gone, Host, Stamp};
use super::if_locked::{GaveWay, IfLocked};
use super::include::Loader;
use super::owed::Debts;
use super::position::Position;
use crate::inventory::Inventory;
use crate::journal::{Journal, Progress};
use crate::machine::{Machine, Mode};
use crate::playbook::TagSelection;
use crate::redact::Redactor;
use crate::source::Diag;
use crate::template::{Layer, Templar};
use indexmap::IndexMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// How a run was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--check`
    pub check: bool,
    /// `--diff`
    pub diff: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// `--limit`, in parts.
    pub limit: Vec<String>,
    /// `--start-at-task`
    pub start_at_task: Option<String>,
    /// `--step`
    pub step: bool,
    /// `--forks`: requests under way at a time, over all hosts.
    pub forks: usize,
    /// `--probes`
    pub probes: Probes,
    /// `--no-fetch`
    pub no_fetch: bool,
    /// `--force-handlers`
    pub force_handlers: bool,
    /// `--if-locked`, or `--lock-wait`; without either a cluster is not waited for, and a host is.
    pub if_locked: Option<IfLocked>,
    /// Where facts are kept between runs, if they are.
    pub fact_cache: Option<Arc<FactCache>>,
    /// When facts are gathered, where a play leaves it open.
    pub gathering: crate::config::Gathering,
    /// For plays that do not say it.
    pub any_errors_fatal: bool,
    /// Dictionaries of one name are merged from one step of precedence to the next.
    pub merge_hashes: bool,
    /// For plays that name none.
    pub strategy: Option<String>,
    /// `--flush-cache`, `--become` and its companions: what the command line says for every play.
    pub become_: BecomeOptions,
}

/// Which commands a check runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probes {
    /// None, whatever their tasks say.
    None,
    /// Those whose tasks say that they only read (`changed_when: false`) or are to be run (`check_mode: false`).
    #[default]
    Declared,
    /// Those and the ones whose words show that they can only read.
    All,
}

/// What the command line says of becoming another user.
#[derive(Clone, Debug, Default)]
pub struct BecomeOptions {
    /// `--become`
    pub become_: bool,
    /// `--become-user`
    pub user: Option<String>,
    /// `--become-method`
    pub method: Option<String>,
    /// The answer to `--ask-become-pass`.
    pub password: Option<crate::secret::Secret>,
}

/// Something that a play adds to the inventory.
pub type Addition = Box<dyn Fn(&mut Inventory) -> Result<(), Diag> + Send>;

/// What all plays of a run share.
pub struct Run {
    /// How it was asked for.
    pub options: Options,
    /// Loads task files and roles while it runs.
    pub loader: Arc<Loader>,
    /// `--tags` and `--skip-tags`.
    pub tags: TagSelection,
    /// Hosts and groups; `add_host` and `group_by` change it.
    pub inventory: RwLock<Inventory>,
    /// Evaluates templates.
    pub templar: Templar,
    /// Masks secrets.
    pub redactor: Redactor,
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// Connections and agents.
    pub fleet: Fleet,
    /// `--extra-vars`
    pub extra: Arc<Layer>,
    /// Variables of the run itself (`ansible_check_mode`, `ansible_version` …).
    pub magic: Arc<Layer>,
    /// Its name: no other run has it.
    pub id: String,
    /// Who runs it: `alice@control`.
    pub owner: String,
    /// Its journal; none in a check, or when it is switched off.
    pub journal: Option<Arc<Journal>>,
    /// What the run that this one resumes had done. Hosts are looked at all the same.
    pub resumed: Option<Progress>,
    /// Debts of earlier runs.
    pub debts: Debts,
    /// Cluster locks it holds.
    pub locks: super::cluster_lock::Locks,
    /// The controller's own machine: CA stores, fetched files, password files.
    pub controller: Mutex<Machine>,
    /// What tasks keep for its end.
    pub stats: super::stats::Stats,
    /// What a check could not tell.
    pub unknowns: super::unknown::Unknowns,
    hosts: Mutex<IndexMap<Arc<str>, Arc<Host>>>,
    owed: Mutex<Vec<(Arc<str>, Vec<String>)>>,
    epochs: AtomicU32,
    numbers: AtomicU64,
    turns: AtomicU32,
    stopping: AtomicBool,
    cut_off: Mutex<IndexMap<Arc<str>, String>>,
    /// What plays have added to the inventory, to be added again when it is read again.
    pub additions: Mutex<Vec<Addition>>,
    refreshed: Mutex<std::collections::HashSet<(usize, Position)>>,
    unfinished: AtomicBool,
    gave_way: tokio::sync::watch::Sender<Option<GaveWay>>,
    /// `--start-at-task` was reached, or not given.
    pub started: AtomicBool,
}

/// How a run ended, in Ansible's exit codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// A task failed on some host.
    pub failed: bool,
    /// Some host was unreachable.
    pub unreachable: bool,
    /// Something was or would be changed.
    pub changed: bool,
    /// A check could not tell everything.
    pub unknown: bool,
}

impl Verdict {
    /// Ansible's exit code; with `detailed` 10 stands for changes and 11 for unknowns.
    pub fn exit_code(self, detailed: bool) -> u8 {
        match self {
            Verdict { unreachable: true, .. } => 4,
            Verdict { failed: true, .. } => 2,
            Verdict { unknown: true, .. } if detailed => 11,
            Verdict { changed: true, .. } if detailed => 10,
            _ => 0,
        }
    }
}

/// What a [`Run`] is made of.
pub struct Parts {
    /// See [`Run`].
    pub options: Options,
    /// See [`Run`].
    pub loader: Arc<Loader>,
    /// See [`Run`].
    pub tags: TagSelection,
    /// See [`Run`].
    pub inventory: Inventory,
    /// See [`Run`].
    pub templar: Templar,
    /// See [`Run`].
    pub redactor: Redactor,
    /// See [`Run`].
    pub sink: Arc<dyn Sink>,
    /// See [`Run`].
    pub fleet: Fleet,
    /// See [`Run`].
    pub extra: Arc<Layer>,
    /// See [`Run`].
    pub magic: Arc<Layer>,
    /// See [`Run`].
    pub id: String,
    /// See [`Run`].
    pub owner: String,
    /// See [`Run`].
    pub journal: Option<Arc<Journal>>,
    /// See [`Run`].
    pub resumed: Option<Progress>,
    /// See [`Run`].
    pub debts: Debts,
}

impl Run {
    /// A run about to start.
    pub fn new(parts: Parts) -> Arc<Run> {
        let mode = if parts.options.check { Mode::Predicted } else { Mode::Live };
        let started = parts.options.start_at_task.is_none();
        Arc::new(Run {
            options: parts.options,
            loader: parts.loader,
            tags: parts.tags,
            inventory: RwLock::new(parts.inventory),
            templar: parts.templar,
            redactor: parts.redactor,
            sink: parts.sink,
            fleet: parts.fleet,
            extra: parts.extra,
            magic: parts.magic,
            id: parts.id,
            owner: parts.owner,
            journal: parts.journal,
            resumed: parts.resumed,
            debts: parts.debts,
            locks: Default::default(),
            controller: Mutex::new(Machine::new(mode)),
            stats: Default::default(),
            unknowns: Default::default(),
            hosts: Mutex::default(),
            owed: Mutex::default(),
            epochs: AtomicU32::new(1),
            numbers: AtomicU64::new(1),
            turns: AtomicU32::new(1),
            stopping: AtomicBool::new(false),
            cut_off: Mutex::default(),
            additions: Mutex::default(),
            refreshed: Mutex::default(),
            unfinished: AtomicBool::new(false),
            gave_way: tokio::sync::watch::Sender::new(None),
            started: AtomicBool::new(started),
        })
    }

    /// The host of this name; it is made when first asked for.
    pub fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(host) = hosts.get(name) {
            return host.clone();
        }
        let name: Arc<str> = name.into();
        let host = Arc::new(Host::new(name.clone()));
        match self.options.fact_cache.as_ref().map(|cache| cache.open(&name)) {
            Some(Ok(facts)) if !facts.is_empty() => {
                host.set_facts(&Stamp { play: 0, position: Position::start() }, &facts);
            }
            Some(Err(error)) => self.warn(error.to_string()),
            _ => {}
        }
        hosts.insert(name, host.clone());
        host
    }

    /// Keeps facts of a host for later runs, where that is wanted. A check keeps none: it changes nothing.
    pub fn keep_facts(&self, host: &str, facts: &serde_json::Map<String, serde_json::Value>) {
        if let Some(cache) = &self.options.fact_cache
            && let Err(error) = cache.add(host, facts)
        {
            self.warn(error.to_string());
        }
    }

    /// Forgets what is kept of a host's facts.
    pub fn forget_facts(&self, host: &str) {
        if let Some(cache) = &self.options.fact_cache
            && let Err(error) = cache.forget(host)
        {
            self.warn(error.to_string());
        }
    }

    /// A new epoch for a host's requests.
    pub fn next_epoch(&self) -> u32 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a pending result.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a turn, which no other turn of the run has, whichever play it belongs to.
    pub fn next_turn(&self) -> u32 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the task of `--start-at-task` was reached, if one was named.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// No further request is to be made (Ctrl-C).
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Reads the inventory again, once for all hosts at a place in a play; what plays have added stays.
    pub fn refresh_inventory(&self, play: usize, position: &Position) -> Result<(), Diag> {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(|p| p.into_inner());
        if !refreshed.insert((play, position.clone())) {
            return Ok(());
        }
        let mut fresh = self.loader.reload_inventory()?;
        for addition in self.additions.lock().unwrap_or_else(|p| p.into_inner()).iter() {
            addition(&mut fresh)?;
        }
        fresh.reconcile();
        *self.inventory.write().unwrap_or_else(|p| p.into_inner()) = fresh;
        Ok(())
    }

    /// Ctrl-C: hosts finish what they are at, nothing else is begun.
    pub fn interrupt(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.warn(
                "interrupted: no further task is begun; waiting for what is under way on the hosts. \
                 Press Ctrl-C again to leave at once: the hosts finish it by themselves",
            );
        }
    }

    /// Remembers the first task that an interrupt kept a host from.
    pub fn cut_off(&self, host: &Arc<str>, task: String) {
        self.cut_off.lock().unwrap_or_else(|p| p.into_inner()).entry(host.clone()).or_insert(task);
    }

    /// The first task of each host that was not begun because of an interrupt, in words; nothing when there is none.
    pub fn not_begun(&self) -> Option<String> {
        let cut_off = self.cut_off.lock().unwrap_or_else(|p| p.into_inner());
        let mut tasks: IndexMap<&str, Vec<&str>> = IndexMap::new();
        cut_off.iter().for_each(|(host, task)| tasks.entry(task).or_default().push(host));
        let said: Vec<String> =
            tasks.iter().map(|(task, hosts)| format!("from `{task}` on ({})", hosts.join(", "))).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Whether the run was asked to stop.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A play stopped before its end without any host having failed: that is no success either.
    pub fn unfinished(&self) {
        self.unfinished.store(true, Ordering::SeqCst);
    }

    /// Another run has what this one needs, and it is not to wait for that any longer.
    pub fn give_way(&self, other: GaveWay) {
        self.gave_way.send_if_modified(|slot| slot.is_none() && slot.replace(other).is_none());
    }

    /// To whom it gave way.
    pub fn gave_way(&self) -> Option<GaveWay> {
        self.gave_way.borrow().clone()
    }

    /// Waits until it does.
    pub async fn giving_way(&self) {
        let mut told = self.gave_way.subscribe();
        // The sender is our own: it does not go away.
        let _ = told.wait_for(Option::is_some).await;
    }

    /// Tells the user something.
    pub fn warn(&self, message: impl Into<String>) {
        self.sink.emit(Event::Warning { message: message.into() });
    }

    /// Hosts that took part, with what they counted.
    pub fn recap(&self) -> Vec<(Arc<str>, Counters)> {
        let hosts = self.hosts.lock().unwrap_or_else(|p| p.into_inner());
        let mut recap: Vec<_> = hosts
            .values()
            .map(|host| (host.name.clone(), host.counters()))
            .filter(|(_, counters)| *counters != Counters::default())
            .collect();
        recap.sort_by(|a, b| a.0.cmp(&b.0));
        recap
    }

    /// Remembers handlers that a host was told of and did not run.
    pub fn owe(&self, host: &Arc<str>, handlers: Vec<String>) {
        self.owed.lock().unwrap_or_else(|p| p.into_inner()).push((host.clone(), handlers));
    }

    /// Handlers that were notified and not run, by host.
    pub fn owed(&self) -> Vec<(Arc<str>, Vec<String>)> {
        self.owed.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Hosts that failed or were not reached: who is tried again.
    pub fn left_behind(&self) -> Vec<Arc<str>> {
        let hosts = self.hosts.lock().unwrap_or_else(|p| p.into_inner());
        hosts.values().filter(|host| host.gone().is_some()).map(|host| host.name.clone()).collect()
    }

    /// How it ended.
    pub fn verdict(&self) -> Verdict {
        let hosts = self.hosts.lock().unwrap_or_else(|p| p.into_inner());
        let start = Verdict { failed: self.unfinished.load(Ordering::SeqCst), ..Verdict::default() };
        hosts.values().fold(start, |verdict, host| {
            let counters = host.counters();
            Verdict {
                failed: verdict.failed || host.failed(),
                unreachable: verdict.unreachable || host.gone() == Some(Gone::Unreachable),
                changed: verdict.changed || counters.changed > 0,
                unknown: verdict.unknown || counters.unknown > 0,
            }
        })
    }
}
