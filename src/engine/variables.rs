//! The variables a task sees on a host, in Ansible's order of precedence.

use super::frame::{Frame, layer_of};
use super::host::{Host, Stamp};
use super::play::{Batch, PlayRun};
use crate::playbook::{Keywords, Role, Task};
use crate::source::Node;
use crate::template::{HostVars, Layer, Raw, Scope, SearchPaths, Value, from_json, hostvars_of};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

/// Stands for the play's host lists while some host has not come as far as the one that asks.
pub const HOST_LISTS: u64 = u64::MAX;

/// Stands for another host's variables while that host has not come as far as the one that asks: the number of the
/// host in its batch is subtracted from this.
const OTHER_HOST: u64 = u64::MAX - 1;

/// What a pending number outside of [`Raw::Pending`] results stands for.
pub enum Awaited {
    /// Everybody.
    HostLists,
    /// This host of the batch.
    Host(usize),
    /// A result of the host itself.
    Result,
}

/// Understands a pending number.
pub fn awaited(number: u64, batch: usize) -> Awaited {
    match number {
        HOST_LISTS => Awaited::HostLists,
        n if n > OTHER_HOST - batch as u64 => Awaited::Host((OTHER_HOST - n) as usize),
        _ => Awaited::Result,
    }
}

/// Layers that stay the same for a host during a play.
pub struct HostBase {
    /// Inventory variables, lowest first.
    inventory: Vec<Arc<Layer>>,
    /// `vars_files`, resolved for this host.
    files: Mutex<Option<Arc<Layer>>>,
    /// What of them could be read before there were facts.
    early: Mutex<Option<Arc<Layer>>>,
    /// Defaults and variables of roles that were included with `public: true`: what comes after sees them.
    public: Mutex<Vec<(Arc<Layer>, Arc<Layer>)>>,
}

impl HostBase {
    /// Reads what the inventory says of a host, for a play.
    pub fn new(play: &PlayRun, host: &str) -> HostBase {
        let owed: Value = play.run.owed_restarts(host).iter().map(|unit| Value::from(unit.as_str())).collect();
        let resumed = play.run.resumed.as_ref();
        let turn = resumed.and_then(|progress| Some((progress, progress.broken_off(play.number, host)?)));
        let turn = turn.map_or(serde_json::Value::Null, |(progress, began)| {
            serde_json::json!({"runs": progress.runs, "began": began, "turns": play.earlier_tries(host)})
        });
        let owed = Layer::from_iter([
            ("deploy_owed_restarts".into(), Raw::Value(owed)),
            ("deploy_resumed_turn".into(), Raw::Value(from_json(&turn))),
        ]);
        let inventory = play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        let layers = inventory
            .variable_layers(host, Some(&play.play.directory))
            .into_iter()
            .map(|layer| Arc::new(layer.vars.iter().map(|(k, v)| (k.clone(), Raw::Node(v.clone()))).collect::<Layer>()))
            .chain([Arc::new(owed)])
            .collect();
        HostBase { inventory: layers, files: Mutex::default(), early: Mutex::default(), public: Mutex::default() }
    }

    /// The layer of `vars_files`, or nothing as long as it was not resolved.
    pub fn files(&self) -> Option<Arc<Layer>> {
        self.files.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// What of `vars_files` serves the gathering of facts.
    pub fn early_files(&self) -> Option<Arc<Layer>> {
        self.early.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Sets what serves the gathering of facts.
    pub fn set_early_files(&self, layer: Arc<Layer>) {
        *self.early.lock().unwrap_or_else(|p| p.into_inner()) = Some(layer);
    }

    /// Shows a role's defaults and variables to the rest of the play.
    pub fn show_role(&self, layers: (Arc<Layer>, Arc<Layer>)) {
        self.public.lock().unwrap_or_else(|p| p.into_inner()).push(layers);
    }

    fn public_roles(&self) -> Vec<(Arc<Layer>, Arc<Layer>)> {
        self.public.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Sets the layer of `vars_files`.
    pub fn set_files(&self, layer: Arc<Layer>) {
        *self.files.lock().unwrap_or_else(|p| p.into_inner()) = Some(layer);
    }
}

/// For whom and where variables are wanted.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The play.
    pub play: &'a Arc<PlayRun>,
    /// The batch, when tasks of a batch ask.
    pub batch: Option<&'a Arc<Batch>>,
    /// The host.
    pub host: &'a Arc<Host>,
    /// What surrounds the step.
    pub frame: &'a Frame,
    /// The task, when there is one.
    pub task: Option<&'a Task>,
    /// Where in the play.
    pub stamp: &'a Stamp,
}

/// The variables that `at` sees.
pub fn scope(at: At<'_>) -> Scope {
    let play = at.play;
    let base = play.base(&at.host.name);
    let layers = at.host.layers();
    let role = at.task.and_then(|task| task.role.as_ref()).or(at.frame.role.as_ref());
    let mut all: Vec<Arc<Layer>> = Vec::with_capacity(24);
    // Where layers of one step begin and end: they replace each other also where dictionaries are merged.
    let mut steps: Vec<std::ops::Range<usize>> = Vec::new();
    // Lowest first; the numbers are those of Ansible's list of precedence.
    all.push(play.role_defaults.clone()); // 2 role defaults: all roles of the play …
    let public = base.public_roles();
    all.extend(public.iter().map(|(defaults, _)| defaults.clone()));
    all.extend(at.frame.included_roles.iter().map(|(defaults, _)| defaults.clone()));
    if let Some(role) = role {
        all.push(play.layer_of_role(role).defaults.clone()); // … and the task's own role before them
    }
    all.extend(base.inventory.iter().cloned()); // 3–10 inventory
    all.push(layers.facts.clone()); // 11 facts
    all.push(play.vars.clone()); // 12 play vars
    all.push(play.prompts.clone()); // 13 vars_prompt
    all.extend(base.files().or_else(|| base.early_files())); // 14 vars_files
    all.push(play.role_vars.clone()); // 15 role vars
    all.extend(public.iter().map(|(_, vars)| vars.clone()));
    all.extend(at.frame.included_roles.iter().map(|(_, vars)| vars.clone()));
    if let Some(role) = role {
        all.push(play.layer_of_role(role).vars.clone());
    }
    let first = all.len();
    for keywords in at.frame.keywords.iter().skip(1).filter(|k| !k.vars.is_empty()) {
        all.push(play.layer_of_keywords(keywords)); // 16 block vars
    }
    if let Some(task) = at.task.filter(|task| !task.keywords.vars.is_empty()) {
        all.push(play.layer_of_keywords(&task.keywords)); // 17 task vars
    }
    steps.push(first..all.len());
    all.push(layers.included.clone()); // 18 include_vars
    all.push(layers.assigned.clone()); // 19 set_fact, register
    if let Some(role) = role {
        all.extend(role.parents.iter().chain([role]).map(|role| play.layer_of_role(role).params)); // 20 role params
    }
    let first = all.len();
    all.extend(at.frame.include_params.iter().cloned()); // 21 include params
    if let Some(task) = at.task {
        all.extend(include_params(play, task, role, None)); // … and an include's own
    }
    steps.push(first..all.len());
    all.push(play.run.extra.clone()); // 22 extra vars
    all.push(play.run.magic.clone());
    all.push(play.magic.clone());
    all.push(play.groups());
    all.push(play.role_names());
    all.push(magic(at));
    if play.run.options.merge_hashes {
        all.extend(merged(&all, &steps, &layers.assigned));
    }
    let view = View { play: play.clone(), batch: at.batch.cloned(), me: at.host.name.clone(), stamp: at.stamp.clone() };
    let scope = Scope::from_layers(&play.run.templar, all).with_hostvars(Arc::new(view)).with_paths(paths(at));
    scope.with_last_resort(super::connection_vars::of(at))
}

/// What an include gives to what it brings, and goes by itself: its `vars`, those of its item, and for a role the parameters of
/// the one that includes it above them. Nothing for any other task.
pub fn include_params(
    play: &PlayRun,
    task: &Task,
    role: Option<&Arc<Role>>,
    locals: Option<&Arc<Layer>>,
) -> impl Iterator<Item = Arc<Layer>> {
    let (include, brings_role) = match task.action.canonical {
        Some("ansible.builtin.include_tasks") => (true, false),
        Some("ansible.builtin.include_role") => (true, true),
        _ => (false, false),
    };
    let own = (include && !task.keywords.vars.is_empty()).then(|| play.layer_of_keywords(&task.keywords));
    let of_role = role.filter(|role| brings_role && !role.params.is_empty());
    own.into_iter()
        .chain(locals.filter(|_| include).cloned())
        .chain(of_role.map(|role| play.layer_of_role(role).params))
}

/// What is merged of these layers, some of which are one step together.
fn merged(all: &[Arc<Layer>], together: &[std::ops::Range<usize>], results: &Arc<Layer>) -> Option<Arc<Layer>> {
    let mut steps: Vec<&[Arc<Layer>]> = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        let end = together.iter().find(|range| range.start == at && range.end > at).map_or(at + 1, |range| range.end);
        steps.push(&all[at..end]);
        at = end;
    }
    super::merging::merged(&steps, Some(results))
}

/// Where relative files of a task are looked for: its role, its own folder, the playbook's folder.
fn paths(at: At<'_>) -> Arc<SearchPaths> {
    let mut roots: Vec<PathBuf> = Vec::new();
    let role = at.task.and_then(|task| task.role.as_ref()).or(at.frame.role.as_ref());
    // A role finds what stands in those that brought it, the nearest first.
    roots.extend(
        role.iter().flat_map(|role| [*role].into_iter().chain(role.parents.iter().rev())).map(|role| role.path.clone()),
    );
    roots.extend(at.task.map(|task| task.directory.clone()));
    roots.extend(at.frame.directories.iter().cloned());
    roots.push(at.play.play.directory.clone());
    Arc::new(SearchPaths::new(roots))
}

/// `ansible_search_path`: the roles around a task, where its file stands, and the playbook's folder.
fn search_path(at: At<'_>, task: &Task) -> Value {
    let role = task.role.as_ref().or(at.frame.role.as_ref());
    let roles =
        role.iter().flat_map(|role| [*role].into_iter().chain(role.parents.iter().rev())).map(|role| &role.path);
    let all: indexmap::IndexSet<String> =
        roles.chain([&task.directory, &at.play.play.directory]).map(|path| crate::template::absolute(path)).collect();
    all.iter().map(|path| Value::from(path.as_str())).collect()
}

/// `environment`: what the keywords of that name around a task say, the outermost first.
fn environment(at: At<'_>, task: &Task) -> Raw {
    let written = at.frame.gathered(&task.keywords, |k| &k.environment);
    match written.first() {
        None => Raw::Value(Value::from(Vec::<Value>::new())),
        Some(first) => Raw::Node(Node::seq(first.span.clone(), written.into_iter().cloned().collect())),
    }
}

/// Magic variables of one host.
fn magic(at: At<'_>) -> Arc<Layer> {
    let name = &at.host.name;
    let mut layer = Layer::new();
    let mut set = |key: &str, value: Value| {
        layer.insert(key.into(), Raw::Value(value));
    };
    set("inventory_hostname", Value::from(&**name));
    let short = if name.parse::<std::net::IpAddr>().is_ok() { name } else { name.split('.').next().unwrap_or(name) };
    set("inventory_hostname_short", Value::from(short));
    {
        let inventory = at.play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        set("group_names", inventory.group_names(name).iter().map(|g| Value::from(&**g)).collect());
    }
    if let Some(role) = at.task.and_then(|task| task.role.as_ref()).or(at.frame.role.as_ref()) {
        set("role_name", Value::from(&*role.name));
        set("ansible_role_name", Value::from(&*role.name));
        // Those whose tasks include or import it, the nearest first; who needs it as a dependency is none of them.
        let chain: Vec<_> = role.parents.iter().chain([role]).collect();
        let links = chain.windows(2).filter(|link| !link[0].dependency_names.contains(&link[1].name));
        let parents: Vec<_> = links.map(|link| link[0]).rev().collect();
        if !parents.is_empty() {
            set("ansible_parent_role_names", parents.iter().map(|role| Value::from(&*role.name)).collect());
            let paths = parents.iter().map(|role| Value::from(crate::template::absolute(&role.path)));
            set("ansible_parent_role_paths", paths.collect());
        }
        set("role_path", Value::from(crate::template::absolute(&role.path)));
        // Roles of collections are not read from where they are installed.
        set("ansible_collection_name", Value::from(()));
    }
    if let Some(task) = at.task {
        set("ansible_search_path", search_path(at, task));
    }
    if let Some(all) = &at.play.added.lock().unwrap_or_else(|p| p.into_inner()).all {
        set("ansible_play_hosts_all", all.clone());
    }
    if let Some(task) = at.task {
        layer.insert("environment".into(), environment(at, task));
    }
    match at.batch {
        // Who is still there is only known when everybody has come this far.
        Some(batch) if !batch.board.all_reached(&at.stamp.position) => {
            for key in ["ansible_play_hosts", "play_hosts", "ansible_play_batch"] {
                layer.insert(key.into(), Raw::Pending(HOST_LISTS));
            }
        }
        Some(batch) => {
            let (batch, all) = at.play.host_lists(batch, &at.stamp.position);
            layer.insert("play_hosts".into(), Raw::Value(batch.clone()));
            layer.insert("ansible_play_batch".into(), Raw::Value(batch));
            layer.insert("ansible_play_hosts".into(), Raw::Value(all));
        }
        None => {}
    }
    Arc::new(layer)
}

/// `hostvars` as one host sees them from its place in the play.
struct View {
    play: Arc<PlayRun>,
    batch: Option<Arc<Batch>>,
    me: Arc<str>,
    stamp: Stamp,
}

impl HostVars for View {
    fn hosts(&self) -> Vec<Arc<str>> {
        let inventory = self.play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        inventory.hosts.keys().map(|name| name.as_str().into()).collect()
    }

    fn scope(&self, host: &str) -> Option<Scope> {
        {
            let inventory = self.play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
            if !inventory.hosts.contains_key(host) {
                return None;
            }
        }
        let other = self.play.run.host(host);
        let base = self.play.base(host);
        let mut all: Vec<Arc<Layer>> = base.inventory.to_vec();
        let mut layers = if *other.name == *self.me { other.layers() } else { other.layers_before(&self.stamp) };
        if *other.name != *self.me
            && let Some(index) = self.behind(host)
        {
            // Whatever this host may yet set is awaited; what stands in the inventory is known already.
            let number = OTHER_HOST - index as u64;
            for layer in [&mut layers.facts, &mut layers.assigned, &mut layers.included] {
                let pending = layer.keys().map(|name| (name.clone(), Raw::Pending(number))).collect();
                *layer = Arc::new(pending);
            }
            return Some(
                Scope::from_layers(&self.play.run.templar, self.finish(all, layers, &other))
                    .with_fallback(Raw::Pending(number))
                    .with_hostvars(Arc::new(self.as_seen_by_all())),
            );
        }
        // Only of a host that has come as far: facts of one that is behind are awaited.
        all.insert(0, no_facts());
        all = self.finish(all, layers, &other);
        Some(Scope::from_layers(&self.play.run.templar, all).with_hostvars(Arc::new(self.as_seen_by_all())))
    }
}

/// `ansible_facts` as long as there are none.
fn no_facts() -> Arc<Layer> {
    static NONE: LazyLock<Arc<Layer>> = LazyLock::new(|| {
        let none = Value::from_pairs([] as [(Value, Value); 0]);
        Arc::new(Layer::from_iter([("ansible_facts".into(), Raw::Value(none))]))
    });
    NONE.clone()
}

/// `ansible_delegated_vars`: the variables of the host to which a task is delegated, as `hostvars` has them.
struct Delegated {
    view: View,
    /// What is said of `delegate_to`, the innermost first.
    to: Vec<Node>,
    /// The variables of the task.
    layers: Vec<Arc<Layer>>,
}

/// The same for a task that is delegated, where somebody asks for it.
pub fn delegated(at: At<'_>) -> Option<impl Fn(&[Arc<Layer>]) -> Value + Send + Sync + 'static> {
    let none = Keywords::default();
    let own = at.task.map_or(&none, |task| &*task.keywords);
    let to: Vec<Node> = at.frame.values(own, |k| k.delegate_to.as_ref()).cloned().collect();
    if to.is_empty() {
        return None;
    }
    let (play, batch, me, stamp) = (at.play.clone(), at.batch.cloned(), at.host.name.clone(), at.stamp.clone());
    Some(move |layers: &[Arc<Layer>]| {
        let view = View { play: play.clone(), batch: batch.clone(), me: me.clone(), stamp: stamp.clone() };
        hostvars_of(Arc::new(Delegated { view, to: to.clone(), layers: layers.to_vec() }))
    })
}

impl HostVars for Delegated {
    fn hosts(&self) -> Vec<Arc<str>> {
        let templar = &self.view.play.run.templar;
        let view = Arc::new(self.view.as_seen_by_all());
        let scope = Scope::from_layers(templar, self.layers.clone()).with_hostvars(view);
        let named = self.to.iter().map_while(|node| templar.template_node(node, &scope).ok());
        let named = named.map(|evaluated| evaluated.value).find(|value| !crate::template::is_omit(value));
        named.map(|value| crate::template::display(&value).into()).into_iter().collect()
    }

    fn scope(&self, host: &str) -> Option<Scope> {
        self.hosts().iter().find(|name| ***name == *host)?;
        let run = &self.view.play.run;
        // A host that is in no inventory has the variables of nobody.
        let of_nobody = || Scope::from_layers(&run.templar, vec![no_facts(), run.extra.clone(), run.magic.clone()]);
        let scope = self.view.scope(host).unwrap_or_else(of_nobody);
        Some(scope.with_var("inventory_hostname", Value::from(&*self.view.me)))
    }
}

impl View {
    /// The number of `host` in the batch if it has not come as far as the one that asks.
    fn behind(&self, host: &str) -> Option<usize> {
        let batch = self.batch.as_ref()?;
        let index = batch.hosts.iter().position(|h| *h.name == *host)?;
        (!batch.board.reached(index, &self.stamp.position)).then_some(index)
    }

    fn as_seen_by_all(&self) -> View {
        View { play: self.play.clone(), batch: self.batch.clone(), me: self.me.clone(), stamp: self.stamp.clone() }
    }

    fn finish(&self, mut all: Vec<Arc<Layer>>, layers: super::host::Layers, other: &Arc<Host>) -> Vec<Arc<Layer>> {
        let results = layers.assigned.clone();
        all.extend([layers.facts, layers.included, layers.assigned, self.play.run.extra.clone()]);
        all.push(self.play.run.magic.clone());
        all.push(self.play.magic.clone());
        all.push(self.play.groups());
        all.push(self.play.role_names());
        let frame = Frame::default();
        all.push(magic(At {
            play: &self.play,
            batch: None,
            host: other,
            frame: &frame,
            task: None,
            stamp: &self.stamp,
        }));
        if self.play.run.options.merge_hashes {
            all.extend(merged(&all, &[], &results));
        }
        all
    }
}

/// Layers made once from what does not change: keywords' `vars` and roles.
#[derive(Default)]
pub struct LayerCache {
    /// By address; the keywords are kept, so that an address cannot come to mean something else.
    keywords: Mutex<HashMap<usize, (Arc<Keywords>, Arc<Layer>)>>,
}

impl LayerCache {
    /// The layer of a keyword set's `vars`.
    pub fn of(&self, keywords: &Arc<Keywords>) -> Arc<Layer> {
        let mut cache = self.keywords.lock().unwrap_or_else(|p| p.into_inner());
        let entry = cache.entry(Arc::as_ptr(keywords) as usize);
        entry.or_insert_with(|| (keywords.clone(), layer_of(&keywords.vars))).1.clone()
    }
}
