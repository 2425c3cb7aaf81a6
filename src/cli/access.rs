//! Reaching hosts for commands that run no playbook: an inventory, and a play that is only there to ask.

use super::EXIT_PARSE;
use super::arguments::{AccessArguments, RunArguments};
use super::assemble::{About, assemble, passwords};
use super::settings::settings;
use super::{record, run};
use crate::engine::event::{Event, Sink};
use crate::engine::{PlayRun, Respondent, Run, host_variables, open_play};
use crate::inventory::Inventory;
use crate::playbook::{LoadOptions, Play, RegisteredModules, load_playbook};
use crate::redact::Redactor;
use crate::source::{Diag, Diags};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Everything that is needed to ask hosts.
pub struct Access {
    /// Masks secrets.
    pub redactor: Redactor,
    /// The run that asks; it has no journal.
    pub run: Arc<Run>,
    play: Arc<PlayRun>,
    /// What was remarked on the way.
    remarks: Arc<Remarks>,
    /// `--limit` selects these hosts; all when there is none.
    pub limited: Option<Vec<String>>,
}

/// Keeps warnings.
#[derive(Default)]
struct Remarks(Mutex<Vec<String>>);

impl Sink for Remarks {
    fn emit(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(message);
        }
    }
}

/// Reads the inventory. An error is what to say, and the exit code.
pub fn open(access: AccessArguments, doing: &str) -> Result<Access, (String, u8)> {
    let mut arguments = RunArguments::from(access);
    settings().fill_access(&mut arguments.access);
    arguments.forks = settings().forks;
    let redactor = Redactor::new();
    let mut diags = Diags::new();
    let sources = run::read(&arguments, &redactor, &mut diags);
    let shown = redactor.mask(&diags.render(run::wants_colour(arguments.color, false))).into_owned();
    let Some(mut sources) = sources.filter(|_| !diags.has_errors()) else {
        return Err((shown, EXIT_PARSE));
    };
    let secrets = passwords(&arguments, &redactor).map_err(|why| (format!("error: {why}\n"), 1))?;
    let play = asking_play(&mut diags).map_err(|why| (format!("error: {why}\n"), 1))?;
    let limited = limited(&mut sources.inventory, &sources.limit, &play, &mut diags);
    if diags.has_errors() {
        return Err((redactor.mask(&diags.render(false)).into_owned(), EXIT_PARSE));
    }
    sources.limit.clear();
    let remarks = Arc::new(Remarks::default());
    let about = About { id: record::new_id(), doing: doing.to_string(), ..About::default() };
    let (run, _) = assemble(&arguments, sources, secrets, remarks.clone(), about);
    let in_words = |diag: Diag| (redactor.mask(&diag.render(false)).into_owned(), EXIT_PARSE);
    let play = open_play(&run, &play, 1, true).map_err(in_words)?;
    Ok(Access { redactor, run, play, remarks, limited })
}

impl Access {
    /// Over the connections of a run that has been made already.
    pub fn within(run: Arc<Run>) -> Result<Access, String> {
        let mut diags = Diags::new();
        let play = asking_play(&mut diags)?;
        let redactor = run.redactor.clone();
        let limited = {
            let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
            limited(&mut inventory, &run.options.limit, &play, &mut diags)
        };
        let play = open_play(&run, &play, 0, true).map_err(|diag| diag.message)?;
        Ok(Access { redactor, run, play, remarks: Arc::default(), limited })
    }
}

/// A play over all hosts, as root, that has no task.
fn asking_play(diags: &mut Diags) -> Result<Arc<Play>, String> {
    let cannot = |error: std::io::Error| format!("cannot make a temporary file: {error}");
    let mut file = tempfile::Builder::new().suffix(".yml").tempfile().map_err(cannot)?;
    file.write_all(b"- hosts: all\n  gather_facts: false\n  become: true\n").map_err(cannot)?;
    let template = |_: &str, _: &crate::playbook::Variables| Err("there is nothing to template".to_string());
    let vault = |_: &[u8], _: &std::path::Path| Err("there is no vault".to_string());
    let options =
        LoadOptions { modules: &RegisteredModules, vault: &vault, roles_path: Vec::new(), template: &template };
    let playbook = load_playbook(file.path(), &options, diags);
    let play = playbook.and_then(|playbook| playbook.plays.first().cloned()).ok_or("cannot make a play of our own")?;
    let beside = PathBuf::from("playbooks");
    // Variables of groups and hosts stand beside the playbooks.
    let directory = if beside.is_dir() { beside } else { PathBuf::from(".") };
    Ok(Arc::new(Play { directory, ..(*play).clone() }))
}

fn limited(inventory: &mut Inventory, limit: &[String], play: &Play, diags: &mut Diags) -> Option<Vec<String>> {
    if limit.is_empty() {
        return None;
    }
    let selection = inventory.select(&["all".to_string()], limit, &play.hosts.span, diags);
    Some(selection.hosts.iter().map(|host| host.as_str().to_string()).collect())
}

impl Access {
    /// Members by cluster: the groups that are named, else those that `galera_group` names, and `galera`. Only clusters with
    /// a host that `--limit` selects, but those whole.
    pub fn clusters(&self, named: &[String]) -> Result<BTreeMap<String, Vec<Arc<str>>>, String> {
        let inventory = self.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        let members = |group: &str| -> Vec<Arc<str>> {
            let mut hosts: Vec<Arc<str>> = inventory.group_hosts(group).iter().map(|h| h.as_str().into()).collect();
            hosts.sort();
            hosts
        };
        let mut clusters = BTreeMap::new();
        if named.is_empty() {
            let mut groups: Vec<String> = vec!["galera".into()];
            for host in inventory.hosts.keys() {
                groups.extend(self.variable(&inventory, host.as_str(), "galera_group"));
            }
            for group in groups {
                let hosts = members(&group);
                if !hosts.is_empty() {
                    clusters.insert(group, hosts);
                }
            }
            if clusters.is_empty() {
                return Err("the inventory has no cluster: neither a group `galera` with hosts in it nor a variable \
                            `galera_group` that names one; name the group with --group"
                    .into());
            }
        }
        for group in named {
            let hosts = members(group);
            if hosts.is_empty() {
                let groups = inventory.groups_map();
                let near = crate::source::did_you_mean(group, groups.keys().map(|name| &**name));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(format!("the inventory has no group `{group}` with hosts in it{hint}"));
            }
            clusters.insert(group.clone(), hosts);
        }
        if let Some(limited) = &self.limited {
            clusters.retain(|_, hosts| hosts.iter().any(|host| limited.iter().any(|name| **name == **host)));
            if clusters.is_empty() {
                return Err("--limit selects no member of a cluster".into());
            }
        }
        Ok(clusters)
    }

    /// A variable of a host that is no template.
    fn variable(&self, inventory: &Inventory, host: &str, name: &str) -> Option<String> {
        let layers = inventory.variable_layers(host, Some(&self.play.play.directory));
        let node = layers.iter().rev().find_map(|layer| layer.vars.get(name).cloned())?;
        if node.has_template() { None } else { node.scalar_text() }
    }

    /// A number that the inventory gives a host.
    pub fn number(&self, host: &str, name: &str) -> Option<u32> {
        let inventory = self.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        self.variable(&inventory, host, name)?.trim().parse().ok()
    }

    /// All hosts of the inventory, sorted.
    pub fn hosts(&self) -> Vec<Arc<str>> {
        let inventory = self.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        let mut hosts: Vec<Arc<str>> = inventory.hosts.keys().map(|host| host.as_str().into()).collect();
        hosts.sort();
        hosts
    }

    /// Variables of hosts, templated; what a host does not define is left out. An error says why one cannot be evaluated.
    pub async fn variables(
        &self,
        hosts: &[Arc<str>],
        names: &'static [&'static str],
    ) -> Vec<(Arc<str>, Result<Map<String, Value>, String>)> {
        let asking = hosts.iter().map(|host| {
            let (play, host) = (self.play.clone(), host.clone());
            tokio::spawn(async move { host_variables(&play, &host, names).await })
        });
        let asking: Vec<_> = asking.collect();
        let mut found = Vec::new();
        for (host, task) in hosts.iter().zip(asking) {
            let variables = task.await.unwrap_or_else(|error| Err(format!("a fault of ours: {error}")));
            found.push((host.clone(), variables.map_err(|why| self.redactor.mask(&why).into_owned())));
        }
        found
    }

    /// The inventory's sources.
    pub fn inventory_id(&self) -> Vec<String> {
        record::inventory_id(&self.run.inventory.read().unwrap_or_else(|p| p.into_inner()).sources)
    }

    /// Reaches hosts, all at the same time.
    pub async fn reach(&self, hosts: &[Arc<str>]) -> Vec<(Arc<str>, Result<Arc<Respondent>, String>)> {
        let reaching = hosts.iter().map(|host| {
            let (play, host) = (self.play.clone(), host.clone());
            tokio::spawn(async move { Respondent::reach(&play, &host).await.map(Arc::new) })
        });
        let reaching: Vec<_> = reaching.collect();
        let mut reached = Vec::new();
        for (host, task) in hosts.iter().zip(reaching) {
            let respondent = task.await.unwrap_or_else(|error| Err(format!("a fault of ours: {error}")));
            reached.push((host.clone(), respondent.map_err(|why| self.redactor.mask(&why).into_owned())));
        }
        reached
    }

    /// Warnings so far.
    pub fn take_remarks(&self) -> Vec<String> {
        let remarks = std::mem::take(&mut *self.remarks.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        remarks.into_iter().map(|remark| self.redactor.mask(&remark).into_owned()).collect()
    }

    /// Runs asynchronous work, and closes all connections behind it.
    pub fn block_on<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        Ok(runtime.block_on(async {
            let done = work.await;
            self.run.fleet.close().await;
            done
        }))
    }
}
