//! The controller half of a module: what must happen before, or instead of, a request to the host.

use super::{Content, Outcome};
use crate::secret::Secret;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::pin::Pin;

/// Where a relative file name is looked for, in Ansible's order: the role's folder of that kind, the role, the
/// task file's folder, the playbook's folder of that kind, the playbook's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `files/`
    Files,
    /// `templates/`
    Templates,
    /// `vars/`
    Vars,
}

/// How a template file is rendered; the defaults are the template module's.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// `trim_blocks`, on when not given.
    pub trim_blocks: Option<bool>,
    /// `lstrip_blocks`, off when not given.
    pub lstrip_blocks: Option<bool>,
    /// `newline_sequence`.
    pub newline_sequence: Option<String>,
    /// `{{`, `}}`, `{%`, `%}`, `{#`, `#}` where they are not the usual ones, in this order.
    pub markers: [Option<String>; 6],
}

/// Why the controller half of a task failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// It failed, in words.
    #[error("{0}")]
    Failed(String),
    /// A mistake of the playbook or of a template, with its place.
    #[error("{0}")]
    Wrong(Box<crate::source::Diag>),
    /// In a check: it depends on what cannot be predicted.
    #[error("cannot be predicted: {0}")]
    Unknown(String),
    /// The host was lost meanwhile.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// What the controller half decided.
pub enum Prepared {
    /// Run the host half with these arguments.
    Send(Map<String, Value>),
    /// The task is done.
    Done(Outcome),
}

/// A future of a controller half.
pub type ActionFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ActionError>> + Send + 'a>>;

/// The controller half of a module: its templated arguments to what is to be done.
///
/// One that only renders or reads files must not `call` the host, so that its request can be pipelined.
pub type Action = for<'a> fn(&'a dyn ActionHost, Map<String, Value>) -> ActionFuture<'a, Prepared>;

/// A connection that was made elsewhere.
pub trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

/// What the engine offers to the controller half of a task on one host.
pub trait ActionHost: Send + Sync {
    /// The inventory name of the host the task is for.
    fn host(&self) -> &str;
    /// Whether this is a check.
    fn check(&self) -> bool;
    /// Whether diffs are shown.
    fn diff(&self) -> bool;
    /// Evaluates template text in the task's variables.
    fn template(&self, text: &str) -> Result<Value, ActionError>;
    /// Renders a template file's text; `extra` are variables of the module's own (`template_path` …).
    fn render(
        &self,
        path: &Path,
        text: &str,
        options: &RenderOptions,
        extra: Map<String, Value>,
    ) -> Result<String, ActionError>;
    /// A variable of the task, templated; nothing where it is not defined.
    fn variable(&self, name: &str) -> Result<Option<Value>, ActionError>;
    /// Finds a file of the playbook or role; the error lists the searched folders.
    fn find_file(&self, kind: FileKind, name: &str) -> Result<PathBuf, ActionError>;
    /// Decrypts the contents of a file if they are a vault.
    fn unvault(&self, path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, ActionError>;
    /// Makes bytes available to the host; small ones travel inline.
    fn offer(&self, bytes: Vec<u8>) -> Content;
    /// Makes a file available to the host without reading it into memory; hashes it while reading once.
    fn offer_file(&self, path: &Path) -> Result<Content, ActionError>;
    /// Runs a module's host half on the host now, in this task's become identity, and waits for its outcome: for
    /// halves that need a look at the host first. In a check it runs on the predicted machine.
    fn call<'a>(&'a self, module: &'a str, arguments: Map<String, Value>) -> ActionFuture<'a, Outcome>;
    /// Opens and closes a fresh connection to the host: proof that new connections are let in, where an existing one
    /// proves nothing (a firewall lets established connections pass).
    fn reconnect<'a>(&'a self) -> ActionFuture<'a, ()>;
    /// Gives the connection to the host up and makes a new one, agent and all: the host was booted, or is not there yet.
    /// One attempt, which may take `limit` to connect; whatever comes later in the play uses the new connection.
    fn connect_anew<'a>(&'a self, _limit: Option<std::time::Duration>) -> ActionFuture<'a, ()> {
        Box::pin(async { Err(ActionError::Failed("no new connection can be made from here".into())) })
    }
    /// Gives the connection to the host up, after a `call` or `connect_anew` that was not waited for to its end.
    fn hang_up<'a>(&'a self) -> ActionFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Whether the host is the controller itself, without SSH.
    fn is_local(&self) -> bool {
        false
    }
    /// Connects from the host to a port, so that it is seen as the host sees it.
    fn relay<'a>(&'a self, address: &'a str, port: u16) -> ActionFuture<'a, Box<dyn Wire>> {
        let why = format!("no connection to {address}:{port} can be made from here");
        Box::pin(async move { Err(ActionError::Failed(why)) })
    }
    /// Takes contents that the host sent under `name` ([`super::Controller::send`]) during the last `call`, as a file.
    fn received(&self, name: &str) -> Result<PathBuf, ActionError>;
    /// Runs something with the controller's own machine, live or predicted as the run is.
    fn with_controller(
        &self,
        work: &mut dyn FnMut(&mut crate::machine::Machine) -> Result<(), ActionError>,
    ) -> Result<(), ActionError>;
    /// From now on this text is masked wherever it would leave the process.
    fn conceal(&self, secret: &Secret);
    /// Adds a warning to the task.
    fn warn(&self, message: String);
}
