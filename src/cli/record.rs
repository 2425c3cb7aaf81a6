//! The journal of a run, from its command line: what is written down when it begins.

use super::applied::{Applied, KEPT_AS};
use super::arguments::RunArguments;
use crate::inventory::Inventory;
use crate::journal::{
    Debt, EventLog, Journal, JournalError, Kept, Meta, Progress, SourceHashes, Store, differences, hash_files,
    new_id as id_of,
};
use crate::playbook::{Playbook, Step, Variables};
use crate::redact::Redactor;
use crate::source::{Diags, Node, NodeValue};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// How the run was ordered.
#[derive(Default)]
pub struct Order {
    /// The command line, without the program.
    pub words: Vec<String>,
    /// The run that is resumed.
    pub resumes: Option<Kept>,
    /// Resume although playbooks or inventories have changed.
    pub force_changed: bool,
    /// The plan that it carries out.
    pub plan: Option<Arc<Applied>>,
}

/// What a run has of its journal.
#[derive(Default)]
pub struct Record {
    /// The journal; none in a check, or when it is switched off.
    pub journal: Option<Arc<Journal>>,
    /// Where events go.
    pub events: Option<EventLog>,
    /// What the resumed run had done.
    pub resumed: Option<Progress>,
    /// What earlier runs owe to hosts of this inventory.
    pub debts: Vec<Debt>,
    /// What the user is to be told.
    pub remarks: Vec<String>,
    /// Hashes what the run is made of; to be waited for at the end.
    pub hashing: Option<std::thread::JoinHandle<()>>,
}

/// A name for a run that begins now.
pub fn new_id() -> String {
    id_of(crate::pki::now(), rand::random())
}

/// `alice@control`
pub fn owner() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| account());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}

/// The name of the account we run as.
fn account() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&id.as_str()));
    found.and_then(|fields| fields.first().map(|name| name.to_string())).unwrap_or(id)
}

/// Extra variables whose names say that they are secret are masked, in the journal as everywhere, however deep they lie.
pub fn conceal(vars: &Variables, redactor: &Redactor) {
    for (name, node) in vars {
        conceal_named(name, node, redactor);
    }
}

fn conceal_named(name: &str, node: &Node, redactor: &Redactor) {
    let name = name.to_lowercase();
    let words = ["pass", "secret", "token", "pwd", "api_key", "apikey", "credential"];
    // Where a secret lies is none, and a plan or a resumed run must find it again.
    let place = ["_file", "_path", "_dir"].iter().any(|end| name.ends_with(end));
    let secret = !place && words.iter().any(|word| name.contains(word));
    match &node.value {
        NodeValue::Map(entries) => {
            for (key, value) in entries.iter() {
                conceal_named(key.as_str().filter(|_| !secret).unwrap_or(&name), value, redactor);
            }
        }
        NodeValue::Seq(items) => items.iter().for_each(|item| conceal_named(&name, item, redactor)),
        // A resumed run has stars where its first command line had a secret.
        _ if secret => {
            if let Some(text) = node.scalar_text().filter(|text| text.chars().any(|c| c != '*')) {
                redactor.add(&text);
            }
        }
        _ => {}
    }
}

/// The inventory sources so that a later run knows them again.
pub fn inventory_id(sources: &[String]) -> Vec<String> {
    let absolute = |source: &String| {
        std::fs::canonicalize(source).map_or_else(|_| source.clone(), |path| path.display().to_string())
    };
    let mut id: Vec<String> = sources.iter().map(absolute).collect();
    id.sort();
    id.dedup();
    id
}

/// Opens the journal. An error forbids the run.
pub fn begin(
    id: &str,
    arguments: &RunArguments,
    inventory: &mut Inventory,
    playbooks: &[Playbook],
    order: Order,
    redactor: &Redactor,
) -> Result<Record, String> {
    let mut record = Record::default();
    let files = source_files(arguments, inventory, playbooks);
    if let Some(kept) = &order.resumes {
        let before = kept.sources();
        let changed = before.as_ref().map(|before| differences(before, &hash_files(&files)));
        match changed {
            _ if order.force_changed => {}
            None => {
                return Err(format!("the run {} did not live to note what it was made of: run it anew", kept.meta.id));
            }
            Some(changed) if !changed.is_empty() => {
                let list: Vec<String> = changed.iter().take(10).map(|line| format!("  {line}")).collect();
                return Err(format!(
                    "the run {} cannot be resumed, because it would be another one now ({} changed):\n{}\nrun it \
                     anew, or give --force-changed to go on all the same",
                    kept.meta.id,
                    changed.len(),
                    list.join("\n")
                ));
            }
            Some(_) => {}
        }
        let store = Store::from_environment().map_err(|error| error.to_string())?;
        record.resumed = Some(kept.progress_with_resumed(&store));
    }
    let inventory_id = inventory_id(&inventory.sources);
    let store = match Store::from_environment() {
        Ok(store) => store,
        Err(JournalError::Off) => return Ok(record),
        Err(error) => {
            record.remarks.push(format!("no journal is kept of this run: {error}"));
            return Ok(record);
        }
    };
    if arguments.check {
        // A check leaves no trace; what is owed belongs to its prediction all the same.
        let debts = store.debts().unwrap_or_default();
        record.debts = debts.into_iter().filter(|debt| debt.inventory == inventory_id).collect();
        record.remarks.extend(remarks_of(&record.debts, arguments, inventory, playbooks));
        return Ok(record);
    }
    let words: Vec<String> = order.words.iter().map(|word| redactor.mask(word).into_owned()).collect();
    let meta = Meta {
        id: id.to_string(),
        user: owner(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        directory: std::env::current_dir().unwrap_or_default(),
        masked: words != order.words,
        arguments: words,
        playbooks: playbooks.iter().map(|playbook| playbook.path.display().to_string()).collect(),
        inventory: inventory.sources.clone(),
        inventory_id,
        roles_path: arguments.roles_path.clone(),
        started: crate::pki::now(),
        resumes: order.resumes.as_ref().map(|kept| kept.meta.id.clone()),
        applies: order.plan.as_ref().map(|plan| plan.note()),
        ..Meta::default()
    };
    let opened = Journal::begin(&store, meta).and_then(|(journal, killed)| {
        let events = journal.event_log()?;
        if let Some(plan) = &order.plan {
            journal.keep(KEPT_AS, plan.file.text().as_bytes())?;
        }
        Ok((journal, killed, events))
    });
    match opened {
        Ok((journal, killed, events)) => {
            record.remarks.extend(killed.iter().map(|meta| {
                format!(
                    "the run {id} of {} was killed before its end; `deploy runs {id}` shows how far it came, `deploy \
                     resume {id}` goes on with it",
                    moment(meta.started),
                    id = meta.id
                )
            }));
            record.remarks.extend(remarks_of(&journal.outstanding(), arguments, inventory, playbooks));
            record.events = Some(events);
            // Hashing takes longer than anything else here, and nobody waits for it.
            let noted = journal.clone();
            record.hashing = Some(std::thread::spawn(move || {
                let hashes: SourceHashes = hash_files(&files);
                let _ = noted.keep_sources(&hashes); // a run without them cannot be resumed, and says so then
            }));
            record.journal = Some(journal);
        }
        Err(error) => record.remarks.push(format!("no journal is kept of this run: {error}")),
    }
    Ok(record)
}

/// What is said of debts before a run: those to its hosts each, the others with `-v` in one line.
fn remarks_of(
    debts: &[Debt],
    arguments: &RunArguments,
    inventory: &mut Inventory,
    playbooks: &[Playbook],
) -> Vec<String> {
    if debts.is_empty() {
        return Vec::new();
    }
    let mut quiet = Diags::new();
    let mut limit = Vec::new();
    for text in &arguments.access.sources.limit {
        limit.extend(Inventory::limit_patterns(text, &mut quiet));
    }
    let mut hosts: BTreeSet<String> = BTreeSet::new();
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        // Whom a template will name is not known yet.
        let patterns = if play.hosts.has_template() { vec!["all".to_string()] } else { play.host_patterns() };
        let selection = inventory.select(&patterns, &limit, &play.hosts.span, &mut quiet);
        hosts.extend(selection.hosts.iter().map(|host| host.to_string()));
    }
    let (here, elsewhere): (Vec<&Debt>, Vec<&Debt>) = debts.iter().partition(|debt| hosts.contains(&debt.host));
    let mut remarks: Vec<String> = here.into_iter().map(owed).collect();
    if !elsewhere.is_empty() && arguments.verbose > 0 {
        let hosts: BTreeSet<&str> = elsewhere.iter().map(|debt| debt.host.as_str()).collect();
        let hosts: Vec<&str> = hosts.into_iter().collect();
        remarks.push(format!("something is owed to hosts outside this run, too: {}", hosts.join(", ")));
    }
    remarks
}

/// A debt, for people.
pub fn owed(debt: &Debt) -> String {
    format!(
        "[{}] {} is owed since {} (run {}); the next run that has it for this host pays it",
        debt.host,
        debt.due.describe(),
        moment(debt.since),
        debt.run
    )
}

/// A moment, for people.
pub fn moment(seconds: i64) -> String {
    crate::pki::date(seconds)
}

/// The files a run is made of: playbooks, roles, inventories, the variables beside them, and files of extra variables.
pub(super) fn source_files(arguments: &RunArguments, inventory: &Inventory, playbooks: &[Playbook]) -> Vec<PathBuf> {
    let named = arguments.access.extra_vars.iter().filter_map(|text| text.strip_prefix('@'));
    let mut files: BTreeSet<PathBuf> = named.map(PathBuf::from).collect();
    files.extend(super::settings::settings().file.clone());
    let beside = |directory: PathBuf, files: &mut BTreeSet<PathBuf>| {
        files.insert(directory.join("group_vars"));
        files.insert(directory.join("host_vars"));
    };
    for source in &inventory.sources {
        let path = PathBuf::from(source);
        if let Some(parent) = path.parent().filter(|_| path.is_file()) {
            beside(parent.to_path_buf(), &mut files);
        }
        files.insert(path);
    }
    for playbook in playbooks {
        files.insert(playbook.path.clone());
        beside(playbook.directory.clone(), &mut files);
        for play in &playbook.plays {
            files.insert(play.file.path.clone());
            beside(play.directory.clone(), &mut files);
            files.extend(play.all_roles.iter().map(|role| role.path.clone()));
            for steps in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
                add_steps(steps, &mut files);
            }
        }
    }
    files.into_iter().collect()
}

fn add_steps(steps: &[Step], files: &mut BTreeSet<PathBuf>) {
    for step in steps {
        match step {
            Step::Task(task) => {
                files.insert(task.file.path.clone());
            }
            Step::Block(block) => {
                for steps in [&block.block, &block.rescue, &block.always] {
                    add_steps(steps, files);
                }
            }
        }
    }
}
