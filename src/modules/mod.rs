//! The modules: one file each, in families.
//!
//! A module's file holds its typed arguments (whose doc comments are its documentation), its reach, and one
//! function from arguments and a [`Machine`] to an [`Outcome`]. What must happen on the controller first (render a
//! template, read a source file, issue a certificate) is a second function in the same file, behind the
//! `controller` feature.

mod accounts;
mod archives;
#[macro_use]
mod arguments;
pub(crate) mod commands;
pub mod control;
mod crypto;
#[macro_use]
mod database;
mod files;
mod galera;
#[cfg(feature = "controller")]
mod instead;
mod lasting;
mod network;
mod outcome;
mod packages;
pub mod pattern;
mod pki;
mod programs;
mod registry;
pub mod scalars;
mod selinux;
mod services;
mod system;
#[cfg(test)]
pub mod testing;

#[cfg(feature = "controller")]
mod action;
#[cfg(feature = "controller")]
pub use action::{Action, ActionError, ActionFuture, ActionHost, FileKind, Prepared, RenderOptions, Wire};
#[cfg(feature = "controller")]
pub use galera::{GaleraGate, leaf::tls_wish};
#[cfg(feature = "controller")]
pub use pki::{has_preflight, preflight};

pub use arguments::{Argument, Arguments, RawField, WrongValue, decode};
pub use commands::OwnStyle;
#[cfg(feature = "controller")]
pub(crate) use commands::no_output;
pub(crate) use commands::without_output;
#[cfg(feature = "controller")]
pub use instead::instead;
pub use lasting::lasting;
pub use outcome::{Dependency, ModuleError, Outcome, Status};
pub use registry::{find, names};

use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::Read;

/// How far a module's effects and readings go. It decides when a host may run ahead of the others: under
/// `strategy: linear` a world task starts only when every host of the batch has finished all earlier tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only this host's own state: files, accounts, packages.
    Host,
    /// Anything that other hosts may notice: commands, services, the network, the cluster.
    World,
    /// Runs on the controller as part of the play's logic (debug, set_fact, assert, meta …); never sent to a host.
    Control,
}

/// How an argument string that is no mapping is read: `command: ls -l`, `service: name=x state=started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeForm {
    /// `key=value` words only.
    KeyValue,
    /// The text itself is the argument of this name (`_raw_params`), after `key=value` words that are known.
    Raw,
}

/// One module.
pub struct Module {
    /// Full name: `ansible.builtin.copy`; our own are `deploy.builtin.…`.
    pub name: &'static str,
    /// Every other name it is known by, the short one first: `copy`, `ansible.legacy.copy`.
    pub aliases: &'static [&'static str],
    /// How far it reaches.
    pub reach: Reach,
    /// How a plain string is read.
    pub free_form: FreeForm,
    /// Its arguments and documentation.
    pub arguments: Arguments,
    /// The host half. Modules with [`Reach::Control`] have none.
    pub run: Option<Run>,
    /// The controller half, if it needs one.
    #[cfg(feature = "controller")]
    pub action: Option<Action>,
}

impl Module {
    /// Modules that this one hands its arguments on to (Ansible's action plugins `package` and `service` do): what they
    /// take may be written here, and the host decides which of them it is.
    pub fn behind(&self) -> &'static [&'static str] {
        match self.name {
            "ansible.builtin.package" => &["ansible.builtin.apt", "ansible.builtin.dnf"],
            "ansible.builtin.service" => &["ansible.builtin.systemd_service"],
            _ => &[],
        }
    }

    /// Its arguments, and those that it hands on: a name that both have is the module's own.
    pub fn taken(&self) -> Vec<Argument> {
        let mut all = self.arguments.list();
        for argument in self.behind().iter().filter_map(|name| registry::find(name)).flat_map(|m| m.arguments.list()) {
            match all.iter_mut().find(|known| known.name == argument.name) {
                Some(known) => {
                    let more = argument.aliases.into_iter().filter(|alias| !known.aliases.contains(alias));
                    known.aliases.extend(more.collect::<Vec<_>>());
                }
                None => all.push(Argument { required: false, ..argument }),
            }
        }
        all
    }

    /// The group of actions it belongs to, as `module_defaults` names it. Of the collections whose modules are here only
    /// community.mysql has one (its `meta/runtime.yml`).
    pub fn action_group(&self) -> Option<&'static str> {
        self.name.starts_with("community.mysql.").then_some("group/community.mysql.all")
    }
}

/// The host half of a module.
pub type Run = fn(Map<String, Value>, &mut Machine, &mut Context<'_>) -> Result<Outcome, ModuleError>;

/// What a running module knows beside its arguments.
pub struct Context<'a> {
    /// The user asked for diffs: contents are worth keeping in changes.
    pub diff: bool,
    /// `no_log`: contents must be kept out of changes (use [`crate::machine::Facet::Secret`]).
    pub no_log: bool,
    /// The controller, for contents and progress.
    pub controller: &'a mut dyn Controller,
}

/// What a running module may ask of the other end.
pub trait Controller {
    /// Opens contents that were too large for the request. Reading blocks while they are streamed.
    fn open(&mut self, content: &Content) -> std::io::Result<Box<dyn Read + '_>>;

    /// Streams contents to the controller under `name` (`fetch`).
    fn send(&mut self, name: &str, contents: &mut dyn Read) -> std::io::Result<()>;

    /// Says how far a long step is; shown when it takes over two seconds.
    fn progress(&mut self, text: &str, done: Option<u64>, total: Option<u64>);
}

/// Contents of a file in a request: inline when small, else streamed when the host asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// UTF-8 text, at most [`Content::INLINE`] bytes.
    Text(String),
    /// Other bytes, in base64, at most [`Content::INLINE`] bytes before encoding.
    Base64(String),
    /// To be asked for through [`Controller::open`].
    Blob {
        /// SHA-256 of the whole, hex.
        sha256: String,
        /// Bytes.
        size: u64,
    },
}

impl Content {
    /// Contents up to this many bytes travel inside the request.
    pub const INLINE: usize = 128 * 1024;
}

/// Where the files of tasks that were left running are, below the home of who runs them.
pub const JOBS: &str = ".ansible_async";

/// The file of a task that was left running (`async` with `poll: 0`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub ansible_job_id: String,
    /// 1.
    pub started: u8,
    /// 1 when there is an outcome.
    pub finished: u8,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// A controller that has nothing to give: for tests, for modules run locally, for jobs that were left running.
pub struct NoController;

impl Controller for NoController {
    fn open(&mut self, content: &Content) -> std::io::Result<Box<dyn Read + '_>> {
        use base64::Engine;
        match content {
            Content::Text(text) => Ok(Box::new(std::io::Cursor::new(text.clone().into_bytes()))),
            Content::Base64(text) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Ok(Box::new(std::io::Cursor::new(bytes.map_err(std::io::Error::other)?)))
            }
            Content::Blob { .. } => Err(std::io::Error::other("there is no controller to ask for contents")),
        }
    }

    fn send(&mut self, _: &str, _: &mut dyn Read) -> std::io::Result<()> {
        Err(std::io::Error::other("there is no controller to send contents to"))
    }

    fn progress(&mut self, _: &str, _: Option<u64>, _: Option<u64>) {}
}
