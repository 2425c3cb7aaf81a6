//! The variables an expression sees: layers from lowest to highest precedence, evaluated when they are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;
use minijinja::value::Value;

use super::Templar;
use super::lazy::{HostVarsObject, VarsObject};
use super::touch;
use crate::source::Node;

/// A variable as it was given.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Written in a file: a template, evaluated each time it is read.
    Node(Node),
    /// Final: facts, results, what `set_fact` stored. Never templated again, whatever its text looks like.
    Value(Value),
    /// The result of a task that is still running, by the engine's number for it.
    Pending(u64),
    /// Cannot be predicted, and why.
    Unknown(String),
}

impl From<Value> for Raw {
    fn from(value: Value) -> Self {
        Raw::Value(value)
    }
}

impl From<Node> for Raw {
    fn from(node: Node) -> Self {
        Raw::Node(node)
    }
}

/// Variables of one source.
pub type Layer = IndexMap<Arc<str>, Raw>;

/// Finds other hosts' variables for `hostvars`.
pub trait HostVars: Send + Sync {
    /// All hosts, in inventory order.
    fn hosts(&self) -> Vec<Arc<str>>;
    /// The variables one host has now.
    fn scope(&self, host: &str) -> Option<Scope>;
}

/// Where lookups and templates are searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SearchPaths {
    /// Directories in order: of the role (innermost first), of the file that holds the task, of the playbook.
    pub roots: Vec<PathBuf>,
}

impl SearchPaths {
    /// The directories given, in order.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut unique = Vec::new();
        for root in roots {
            if !unique.contains(&root) {
                unique.push(root);
            }
        }
        SearchPaths { roots: unique }
    }

    /// Every path at which a file of this name is looked for: in each directory first under `subdir` (`files`,
    /// `templates`, `vars`, `tasks`), then in the directory itself.
    pub fn candidates(&self, subdir: &str, name: &str) -> Vec<PathBuf> {
        let name = expand_home(name);
        if name.is_absolute() {
            return vec![name];
        }
        let mut found: Vec<PathBuf> = Vec::new();
        for root in &self.roots {
            // A directory `tasks` stands for its role.
            let base = if root.ends_with("tasks") { root.parent().unwrap_or(root) } else { root };
            for candidate in [base.join(subdir).join(&name), base.join(&name), root.join(&name)] {
                if !found.contains(&candidate) {
                    found.push(candidate);
                }
            }
        }
        if self.roots.is_empty() {
            found.push(name);
        }
        found
    }

    /// The first of [`SearchPaths::candidates`] that exists.
    pub fn find(&self, subdir: &str, name: &str) -> Option<PathBuf> {
        self.candidates(subdir, name).into_iter().find(|p| p.exists())
    }
}

/// A path as a playbook sees it: whole, so that it means the same on the other side of a `chdir`.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// `~/x` in the user's home directory.
pub(super) fn expand_home(name: &str) -> PathBuf {
    match name.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match std::env::var_os("HOME") {
            Some(home) if rest.is_empty() => PathBuf::from(home),
            Some(home) => Path::new(&home).join(rest.trim_start_matches('/')),
            None => PathBuf::from(name),
        },
        // Another user's home, if there is such a user.
        Some(rest) => {
            let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
            let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let home = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let home = home.filter(|fields| fields.first() == Some(&user)).find_map(|f| f.get(5).copied());
            match home {
                Some(home) if below.is_empty() => PathBuf::from(home),
                Some(home) => Path::new(home).join(below),
                None => PathBuf::from(name),
            }
        }
        None => PathBuf::from(name),
    }
}

/// What an expression sees. Cheap to clone and to extend.
#[derive(Clone)]
pub struct Scope {
    inner: Arc<Inner>,
}

struct Inner {
    layers: Vec<Arc<Layer>>,
    templar: Templar,
    hostvars: Option<Arc<dyn HostVars>>,
    paths: Arc<SearchPaths>,
    /// What names are that no layer has.
    fallback: Option<Fallback>,
}

/// What names are that no layer has.
#[derive(Clone)]
enum Fallback {
    /// All of them are this.
    Every(Raw),
    /// Some of them are known nevertheless.
    Some(Arc<LayerOfLastResort>),
}

impl Fallback {
    fn get(&self, name: &str, layers: &[Arc<Layer>]) -> Option<&Raw> {
        match self {
            Fallback::Every(raw) => Some(raw),
            Fallback::Some(last) if name.starts_with(last.prefix) => {
                last.made.get_or_init(|| (last.make)(layers)).get(name)
            }
            Fallback::Some(_) => None,
        }
    }
}

/// How such a layer is made out of those above it.
type Make = dyn Fn(&[Arc<Layer>]) -> Layer + Send + Sync;

/// Variables below all others, which are made when one is asked for that nothing else has.
pub struct LayerOfLastResort {
    prefix: &'static str,
    make: Box<Make>,
    made: OnceLock<Layer>,
}

impl LayerOfLastResort {
    /// Variables whose names begin with `prefix`, made by `make` out of the layers above them.
    pub fn new(prefix: &'static str, make: impl Fn(&[Arc<Layer>]) -> Layer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(LayerOfLastResort { prefix, make: Box::new(make), made: OnceLock::new() })
    }
}

impl Scope {
    /// An empty scope.
    pub fn new(templar: &Templar) -> Self {
        Scope {
            inner: Arc::new(Inner {
                layers: Vec::new(),
                templar: templar.clone(),
                hostvars: None,
                paths: Arc::default(),
                fallback: None,
            }),
        }
    }

    /// A scope of these layers, lowest precedence first.
    pub fn from_layers(templar: &Templar, layers: Vec<Arc<Layer>>) -> Self {
        Scope::new(templar).rebuild(|inner| inner.layers = layers)
    }

    fn rebuild(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            layers: self.inner.layers.clone(),
            templar: self.inner.templar.clone(),
            hostvars: self.inner.hostvars.clone(),
            paths: self.inner.paths.clone(),
            fallback: self.inner.fallback.clone(),
        };
        change(&mut inner);
        Scope { inner: Arc::new(inner) }
    }

    /// This scope with one more layer above all others.
    pub fn with(&self, layer: impl Into<Arc<Layer>>) -> Self {
        let layer = layer.into();
        self.rebuild(|inner| inner.layers.push(layer))
    }

    /// This scope with more layers above all others, lowest first.
    pub fn with_all(&self, layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        self.rebuild(|inner| inner.layers.extend(layers))
    }

    /// This scope with one variable above all others.
    pub fn with_var(&self, name: &str, raw: impl Into<Raw>) -> Self {
        let mut layer = Layer::new();
        layer.insert(name.into(), raw.into());
        self.with(layer)
    }

    /// This scope with a way to other hosts' variables.
    pub fn with_hostvars(&self, hostvars: Arc<dyn HostVars>) -> Self {
        self.rebuild(|inner| inner.hostvars = Some(hostvars))
    }

    /// This scope with other search paths.
    pub fn with_paths(&self, paths: Arc<SearchPaths>) -> Self {
        self.rebuild(|inner| inner.paths = paths)
    }

    /// This scope where every name that no layer has stands for `fallback`: the variables of a host that may still set
    /// any of them.
    pub fn with_fallback(&self, fallback: Raw) -> Self {
        self.rebuild(|inner| inner.fallback = Some(Fallback::Every(fallback)))
    }

    /// This scope with variables below all others.
    pub fn with_last_resort(&self, last: Arc<LayerOfLastResort>) -> Self {
        self.rebuild(|inner| inner.fallback = Some(Fallback::Some(last)))
    }

    /// Where files are searched for.
    pub fn paths(&self) -> &Arc<SearchPaths> {
        &self.inner.paths
    }

    /// The templar that evaluates here.
    pub fn templar(&self) -> &Templar {
        &self.inner.templar
    }

    /// The layers, lowest precedence first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.inner.layers
    }

    /// The way to other hosts' variables.
    pub fn hostvars(&self) -> Option<&Arc<dyn HostVars>> {
        self.inner.hostvars.as_ref()
    }

    /// The variable as it was given, from the highest layer that has it. Evaluates nothing.
    pub fn raw(&self, name: &str) -> Option<&Raw> {
        let inner = &self.inner;
        let found = inner.layers.iter().rev().find_map(|layer| layer.get(name));
        found.or_else(|| inner.fallback.as_ref()?.get(name, &inner.layers))
    }

    /// Whether there is a variable of this name. Evaluates nothing.
    pub fn contains(&self, name: &str) -> bool {
        self.raw(name).is_some()
            || matches!(name, "vars" | "ansible_managed")
            || (name == "hostvars" && self.inner.hostvars.is_some())
    }

    /// The names of all variables, each once, lowest layer first.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: IndexMap<Arc<str>, ()> = IndexMap::new();
        for layer in &self.inner.layers {
            for name in layer.keys() {
                names.insert(name.clone(), ());
            }
        }
        names.into_keys().collect()
    }

    /// A number that tells this scope from others as long as it lives.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    /// The value of a variable inside an evaluation: lists and dictionaries are still lazy, an error is an invalid
    /// value, something undefined in its own template makes it undefined.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        match self.raw(name) {
            Some(Raw::Value(value)) => {
                value
                    .as_str()
                    .into_iter()
                    .for_each(|text| super::lazy::learn(Some(name), text, self.inner.templar.redactor()));
                Some(value.clone())
            }
            Some(Raw::Node(node)) => Some(super::lazy::node_value(node, self, Some(name))),
            Some(Raw::Pending(id)) => Some(touch::touch_pending(name, *id)),
            Some(Raw::Unknown(reason)) => Some(touch::touch_unknown(name, reason)),
            None => match name {
                "vars" => Some(Value::from_object(VarsObject { scope: self.clone() })),
                "ansible_managed" => Some(Value::from(self.inner.templar.ansible_managed())),
                "hostvars" => self.inner.hostvars.as_ref().map(|h| Value::from_object(HostVarsObject(h.clone()))),
                _ => None,
            },
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} layers)", self.inner.layers.len())
    }
}
