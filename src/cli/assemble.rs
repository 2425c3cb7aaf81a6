//! A run out of what was read: connections, options, variables of the run itself.

use super::arguments::{ProbesWanted, RunArguments};
use super::record;
use super::run::{Sources, name_templar};
use super::settings::settings;
use super::{inventory, vault};
use crate::connection::agent::AgentOptions;
use crate::connection::{ConnectionOptions, Connector, TerminalPrompter};
use crate::credential;
use crate::engine::event::Sink;
use crate::engine::{BecomeOptions, Debts, FactCache, Fleet, Loader, Options, Parts, Probes, Run};
use crate::inventory::Inventory;
use crate::journal::{Debt, Journal, Progress};
use crate::playbook::Playbook;
use crate::redact::Redactor;
use crate::secret::Secret;
use crate::template::{Layer, Raw, Value};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Passwords that were asked for.
#[derive(Clone)]
pub struct Passwords {
    login: Option<Secret>,
    become_: Option<Secret>,
}

/// Asks for the passwords that are to be asked for.
pub fn passwords(arguments: &RunArguments, redactor: &Redactor) -> Result<Passwords, String> {
    let file = arguments.access.connection_password_file.as_ref();
    let login = secret(arguments.access.ask_pass, "SSH password: ", file, redactor)?;
    let file = arguments.access.become_password_file.as_ref();
    let mut become_ = secret(arguments.access.ask_become_pass, "BECOME password: ", file, redactor)?;
    if let (None, Some(path)) = (&become_, credential::path(credential::BECOME_PASSWORD)) {
        let given = credential::read(&path)?;
        redactor.add(given.expose());
        become_ = Some(given);
    }
    Ok(Passwords { login, become_ })
}

fn secret(ask: bool, question: &str, file: Option<&PathBuf>, redactor: &Redactor) -> Result<Option<Secret>, String> {
    let secret = match file {
        Some(file) => Some(vault::from_file(file, "default")?),
        None if ask => Some(vault::ask(question)?),
        None => None,
    };
    secret.iter().for_each(|secret| {
        redactor.add(secret.expose());
    });
    Ok(secret)
}

/// What a run is, beside what it was made of.
#[derive(Default)]
pub struct About {
    /// Its name.
    pub id: String,
    /// Its journal.
    pub journal: Option<Arc<Journal>>,
    /// What the run that it resumes had done.
    pub resumed: Option<Progress>,
    /// What earlier runs owe.
    pub debts: Vec<Debt>,
    /// It keeps other runs waiting on its hosts.
    pub exclusive: bool,
    /// For those who wait: `running site.yml`.
    pub doing: String,
}

/// Makes the run.
pub fn assemble(
    arguments: &RunArguments,
    sources: Sources,
    passwords: Passwords,
    sink: Arc<dyn Sink>,
    about: About,
) -> (Arc<Run>, Vec<Playbook>) {
    let connection = ConnectionOptions {
        connection: arguments.access.connection.clone(),
        user: arguments.access.user.clone(),
        password: passwords.login,
        private_key: arguments.access.private_key.clone(),
        timeout: arguments.access.timeout.map(Duration::from_secs),
        ssh_common_args: arguments.access.ssh_common_args.clone(),
        ssh_extra_args: arguments.access.ssh_extra_args.clone(),
        ssh_args: settings().ssh_args.clone(),
        host_key_checking: settings().host_key_checking,
        batch: !std::io::stdin().is_terminal(),
        ..ConnectionOptions::default()
    };
    let agent = AgentOptions {
        run: about.id.clone(),
        who: format!("{} {}", record::owner(), about.doing),
        exclusive: about.exclusive,
        ..AgentOptions::default()
    };
    let connector = Connector::new(Arc::new(TerminalPrompter));
    let forks = arguments.forks.unwrap_or(0);
    let options = Options {
        check: arguments.check,
        diff: arguments.diff,
        verbosity: arguments.verbose,
        limit: sources.limit.clone(),
        start_at_task: arguments.start_at_task.clone(),
        step: arguments.step,
        forks,
        probes: match arguments.probes {
            ProbesWanted::None => Probes::None,
            ProbesWanted::Declared => Probes::Declared,
            ProbesWanted::All => Probes::All,
        },
        no_fetch: arguments.no_fetch,
        force_handlers: arguments.force_handlers,
        if_locked: arguments.if_locked(),
        fact_cache: settings().fact_cache.as_ref().map(|(directory, prefix, timeout)| {
            Arc::new(FactCache::new(
                directory.clone(),
                prefix.clone(),
                *timeout,
                arguments.flush_cache,
                arguments.check,
            ))
        }),
        gathering: settings().gathering,
        any_errors_fatal: settings().any_errors_fatal,
        merge_hashes: settings().merge_hashes,
        strategy: settings().strategy.clone(),
        become_: BecomeOptions {
            become_: arguments.become_,
            user: arguments.become_user.clone(),
            method: arguments.access.become_method.clone(),
            password: passwords.become_,
        },
    };
    let (vault, roles_path) = (sources.vault.clone(), sources.roles_path.clone());
    let (vault_again, inventory_sources) = (vault.clone(), inventory::sources(&arguments.access.sources.inventory));
    let with = inventory::constructing(&sources.templar, &sources.extra);
    let template = name_templar(&sources.templar, &sources.extra);
    let loader = Loader {
        roles_path,
        vault: Box::new(move |bytes, _| vault.decrypt(bytes).map_err(|error| error.to_string())),
        template: Box::new(template),
        inventory: Box::new(move |diags| {
            let hook = |bytes: &[u8], _: &Path| vault_again.decrypt(bytes).map_err(|error| error.to_string());
            Inventory::load(&inventory_sources, &hook, &with, diags)
        }),
    };
    let magic = magic(arguments, &sources.inventory, forks);
    let run = Run::new(Parts {
        options,
        loader: Arc::new(loader),
        tags: sources.tags.clone(),
        inventory: sources.inventory,
        templar: sources.templar.clone(),
        redactor: sources.redactor.clone(),
        sink,
        fleet: Fleet::new(connector, connection, agent, forks),
        extra: sources.extra.clone(),
        magic,
        id: about.id,
        owner: record::owner(),
        journal: about.journal,
        resumed: about.resumed,
        debts: Debts::new(about.debts),
    });
    (run, sources.playbooks)
}

/// Variables of the run itself.
fn magic(arguments: &RunArguments, inventory: &Inventory, forks: usize) -> Arc<Layer> {
    let mut layer = Layer::new();
    let mut set = |name: &str, value: Value| {
        layer.insert(name.into(), Raw::Value(value));
    };
    let list = |items: &[String]| items.iter().map(|item| Value::from(item.as_str())).collect::<Value>();
    set("ansible_check_mode", Value::from(arguments.check));
    set("ansible_diff_mode", Value::from(arguments.diff));
    set("ansible_verbosity", Value::from(arguments.verbose));
    set("ansible_forks", Value::from(if forks == 0 { 5 } else { forks }));
    let words = |given: &[String]| -> Vec<String> {
        given
            .iter()
            .flat_map(|tags| tags.split(','))
            .map(|tag| tag.trim().to_string())
            .filter(|t| !t.is_empty())
            .collect()
    };
    let tags = if arguments.tags.is_empty() { vec!["all".to_string()] } else { words(&arguments.tags) };
    set("ansible_run_tags", list(&tags));
    set("ansible_skip_tags", list(&words(&arguments.skip_tags)));
    let file = settings().file.as_deref().map(|path| Value::from(crate::template::absolute(path)));
    set("ansible_config_file", file.unwrap_or_else(|| Value::from(())));
    // There is no Python here; playbooks say with it which one runs modules on this machine.
    set("ansible_playbook_python", Value::from("/usr/bin/python3"));
    if !arguments.access.sources.limit.is_empty() {
        set("ansible_limit", Value::from(arguments.access.sources.limit.join(",")));
    }
    set("ansible_inventory_sources", list(&inventory.sources));
    if let Some(first) = inventory.sources.first() {
        let path = std::path::absolute(first).unwrap_or_else(|_| PathBuf::from(first));
        let directory =
            if path.is_dir() { path.clone() } else { path.parent().map(Path::to_path_buf).unwrap_or_default() };
        set("inventory_dir", Value::from(directory.to_string_lossy().into_owned()));
        set("inventory_file", Value::from(path.to_string_lossy().into_owned()));
    }
    // Roles ask for the version of the language; it is that of the release that is our oracle.
    let version = [("full", Value::from("2.19.0")), ("major", 2.into()), ("minor", 19.into()), ("revision", 0.into())];
    let version = version.into_iter().chain([("string", Value::from("2.19.0"))]);
    set("ansible_version", Value::from_pairs(version.map(|(key, value)| (Value::from(key), value))));
    Arc::new(layer)
}
