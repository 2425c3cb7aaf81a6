//! What the language must know about modules: their names and their arguments' names.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::modules::{self, FreeForm, WrongValue};

/// Tells module names from other words.
pub trait ModuleIndex {
    /// The module of this name, short or fully qualified.
    fn resolve(&self, name: &str) -> Option<Arc<ModuleInfo>>;
    /// Why a value is none of the argument's; nothing where it is one, or nobody knows.
    fn wrong_value(&self, _module: &str, _argument: &str, _value: &serde_json::Value) -> Option<WrongValue> {
        None
    }
    /// All names, for suggestions.
    fn names(&self) -> Vec<&str>;
}

/// A module as far as the language is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Its full name.
    pub canonical: &'static str,
    /// Its arguments; `None` if it takes any.
    pub args: Option<Vec<ModuleArgument>>,
    /// It takes a text that is not only `key=value` words.
    pub free_form: bool,
}

/// An argument of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleArgument {
    /// Its name.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// It must be given.
    pub required: bool,
}

/// The modules of this program.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisteredModules;

/// What runs a file out of `library/`.
pub(super) const OWN_MODULE: &str = "deploy.builtin.own_module";

/// Modules whose arguments are variables of the user's own.
const ANY_ARGUMENTS: [&str; 3] = ["ansible.builtin.set_fact", "ansible.builtin.add_host", OWN_MODULE];

static REGISTERED: LazyLock<HashMap<&'static str, Arc<ModuleInfo>>> = LazyLock::new(|| {
    let mut known: HashMap<&'static str, Arc<ModuleInfo>> = HashMap::new();
    let mut names = HashMap::new();
    for name in modules::names() {
        let Some(module) = modules::find(name) else { continue };
        let info = known.entry(module.name).or_insert_with(|| {
            let args = module.taken().into_iter().map(|argument| ModuleArgument {
                name: argument.name,
                aliases: argument.aliases,
                required: argument.required,
            });
            Arc::new(ModuleInfo {
                canonical: module.name,
                args: (!ANY_ARGUMENTS.contains(&module.name)).then(|| args.collect()),
                free_form: module.free_form == FreeForm::Raw,
            })
        });
        names.insert(name, info.clone());
    }
    names
});

impl ModuleIndex for RegisteredModules {
    fn resolve(&self, name: &str) -> Option<Arc<ModuleInfo>> {
        REGISTERED.get(name).cloned()
    }

    fn wrong_value(&self, module: &str, argument: &str, value: &serde_json::Value) -> Option<WrongValue> {
        modules::find(module)?.arguments.check(argument, value).err()
    }

    fn names(&self) -> Vec<&str> {
        modules::names()
    }
}
