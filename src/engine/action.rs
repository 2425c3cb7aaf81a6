//! What the engine offers to the controller half of a module, for one task on one host.

use super::call::{Call, Trouble};
use super::completion::Sent;
use super::fleet::Link;
use super::prepare;
use crate::machine::{Change, Machine};
use crate::modules::{
    ActionError, ActionFuture, ActionHost, Content, FileKind, Module, Outcome, Prepared, RenderOptions, Status, Wire,
};
use crate::secret::Secret;
use crate::template::{self, Evaluated, Layer, Raw, Scope, TemplateError, from_json, to_json};
use crate::wire::{OnFailure, Reply, TaskRequest};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a connection that is given up may take to end.
const GOOD_BYE: Duration = Duration::from_secs(3);

/// How a controller half ended.
pub enum ActionEnd {
    /// A request is on its way.
    Sent(Box<Sent>),
    /// The task is over.
    Done(Outcome),
    /// The host was lost.
    Unreachable(String),
}

/// A task in the hands of its controller half.
pub struct TaskAction {
    call: Call,
    /// Nothing for what runs on the controller alone, until it asks for a connection.
    link: Mutex<Option<Arc<Link>>>,
    request: TaskRequest,
    delegated_to: Option<Arc<str>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Results that were touched and are still awaited.
    pending: Vec<u64>,
    /// What was touched that a check does not know.
    depends: Vec<crate::modules::Dependency>,
    received: BTreeMap<String, tempfile::TempPath>,
    changes: Vec<Change>,
    warnings: Vec<String>,
}

impl TaskAction {
    /// A task whose request is ready but for its arguments.
    pub fn new(call: Call, link: Option<Arc<Link>>, request: TaskRequest, delegated_to: Option<Arc<str>>) -> Self {
        TaskAction { call, link: Mutex::new(link), request, delegated_to, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Runs the controller half, if there is one, and sends the request.
    pub async fn start(self, module: &'static Module) -> Result<ActionEnd, Trouble> {
        let Some(action) = module.action else {
            let arguments = self.request.arguments.clone();
            return self.send(arguments).await;
        };
        loop {
            let ended = action(&self, self.request.arguments.clone()).await;
            let pending = std::mem::take(&mut self.state().pending);
            if ended.is_err() && !pending.is_empty() {
                for number in pending {
                    self.call.wait_for(number).await?;
                }
                continue;
            }
            return Ok(match ended {
                Ok(Prepared::Send(arguments)) => return self.send(arguments).await,
                Ok(Prepared::Done(outcome)) => ActionEnd::Done(self.complete(outcome)),
                Err(ActionError::Failed(why)) => ActionEnd::Done(self.complete(Outcome::failed(why))),
                Err(ActionError::Wrong(diag)) => {
                    ActionEnd::Done(self.complete(prepare::failed(&self.call, Trouble::Wrong(diag))))
                }
                Err(ActionError::Unknown(why)) => {
                    let depends = std::mem::take(&mut self.state().depends);
                    ActionEnd::Done(self.complete(Outcome { depends, ..Outcome::unknown(why) }))
                }
                Err(ActionError::Unreachable(why)) => ActionEnd::Unreachable(why),
            });
        }
    }

    fn complete(&self, mut outcome: Outcome) -> Outcome {
        let mut state = self.state();
        let mut changes = std::mem::take(&mut state.changes);
        changes.append(&mut outcome.changes);
        outcome.changes = changes;
        outcome.warnings.append(&mut state.warnings);
        outcome
    }

    async fn send(&self, arguments: Map<String, Value>) -> Result<ActionEnd, Trouble> {
        let Some(link) = self.link() else {
            return Err(Trouble::Failed(format!("`{}` has nothing to run on a host", self.request.module)));
        };
        let request = TaskRequest { arguments, ..self.request.clone() };
        let since = Instant::now();
        let answer = link.submit(request, self.blobs(), Some(self.progress())).await;
        let (changes, warnings) = {
            let mut state = self.state();
            (std::mem::take(&mut state.changes), std::mem::take(&mut state.warnings))
        };
        let reply = Box::pin(async move {
            answer.await.map(|answer| match answer.reply {
                Reply::Done(mut outcome) => {
                    outcome.warnings.extend(warnings);
                    Reply::Done(outcome)
                }
                other => other,
            })
        });
        let sent = Sent { reply, since, changes, delegated_to: self.delegated_to.clone(), doubt: None };
        Ok(ActionEnd::Sent(Box::new(sent)))
    }

    fn blobs(&self) -> Arc<crate::connection::agent::Blobs> {
        self.call.on.play.run.fleet.blobs.clone()
    }

    fn progress(&self) -> crate::connection::agent::ProgressSink {
        let on = Arc::downgrade(&self.call.on);
        Arc::new(move |progress| {
            if let Some(on) = on.upgrade() {
                let amount = match (progress.done, progress.total) {
                    (Some(done), Some(total)) => format!(" {done}/{total}"),
                    (Some(done), None) => format!(" {done}"),
                    _ => String::new(),
                };
                on.batch.board.progress(on.index, format!("{}{amount}", progress.text));
            }
        })
    }

    /// Evaluates; what is still awaited is remembered, and the controller half is run again when it is there.
    fn known<T>(&self, work: impl FnOnce(&Scope) -> Result<Evaluated<T>, TemplateError>) -> Result<T, ActionError> {
        let scope = self.call.scope();
        let evaluated = work(&scope).map_err(|error| {
            let diag = prepare::diagnose(&self.call, &Trouble::Template(Box::new(error)));
            diag.map_or_else(|| ActionError::Failed(String::new()), |diag| ActionError::Wrong(Box::new(diag)))
        })?;
        if !evaluated.touched.pending.is_empty() {
            self.state().pending.extend(&evaluated.touched.pending);
            return Err(ActionError::Unknown("a result that is still awaited".into()));
        }
        if !evaluated.touched.unknown.is_empty() {
            let outcome = super::unknown::depends("", &evaluated.touched.unknown);
            self.state().depends = outcome.depends;
            return Err(ActionError::Unknown(outcome.msg.unwrap_or_default()));
        }
        Ok(evaluated.value)
    }
}

impl ActionHost for TaskAction {
    fn host(&self) -> &str {
        &self.call.on.host.name
    }

    fn check(&self) -> bool {
        self.request.mode != crate::machine::Mode::Live
    }

    fn diff(&self) -> bool {
        self.request.diff
    }

    fn template(&self, text: &str) -> Result<Value, ActionError> {
        self.known(|scope| scope.templar().template_str(text, scope)).map(|value| to_json(&value))
    }

    fn render(
        &self,
        path: &Path,
        text: &str,
        options: &RenderOptions,
        extra: Map<String, Value>,
    ) -> Result<String, ActionError> {
        let defaults = template::RenderOptions::default();
        let [variable_start, variable_end, block_start, block_end, comment_start, comment_end] =
            options.markers.clone();
        let options = template::RenderOptions {
            trim_blocks: options.trim_blocks.unwrap_or(defaults.trim_blocks),
            lstrip_blocks: options.lstrip_blocks.unwrap_or(defaults.lstrip_blocks),
            newline_sequence: options.newline_sequence.clone().unwrap_or(defaults.newline_sequence),
            variable_start: variable_start.unwrap_or(defaults.variable_start),
            variable_end: variable_end.unwrap_or(defaults.variable_end),
            block_start: block_start.unwrap_or(defaults.block_start),
            block_end: block_end.unwrap_or(defaults.block_end),
            comment_start: comment_start.unwrap_or(defaults.comment_start),
            comment_end: comment_end.unwrap_or(defaults.comment_end),
            include_dirs: path.parent().map(Path::to_path_buf).into_iter().collect(),
            keep_trailing_newline: true,
        };
        let extra: Layer = extra.iter().map(|(k, v)| (k.as_str().into(), Raw::Value(from_json(v)))).collect();
        self.known(|scope| {
            let scope = scope.with(Arc::new(extra));
            scope.templar().render_file(path, text, options, &scope)
        })
    }

    fn variable(&self, name: &str) -> Result<Option<Value>, ActionError> {
        let value = self.known(|scope| {
            let evaluated = scope.templar().variable(name, scope)?;
            Ok(match evaluated {
                Some(evaluated) => Evaluated { value: Some(evaluated.value), touched: evaluated.touched },
                None => Evaluated { value: None, touched: Default::default() },
            })
        })?;
        Ok(value.filter(|value| !value.is_undefined()).map(|value| to_json(&value)))
    }

    fn find_file(&self, kind: FileKind, name: &str) -> Result<PathBuf, ActionError> {
        let folder = match kind {
            FileKind::Files => "files",
            FileKind::Templates => "templates",
            FileKind::Vars => "vars",
        };
        let scope = self.call.scope();
        let found = scope.paths().find(folder, name);
        found.iter().for_each(|path| self.call.on.play.run.templar.reads().note(path));
        found.ok_or_else(|| {
            let searched = scope.paths().candidates(folder, name);
            let list: Vec<String> = searched.iter().map(|path| format!("  {}", path.display())).collect();
            ActionError::Failed(format!("could not find `{name}`; searched:\n{}", list.join("\n")))
        })
    }

    fn unvault(&self, path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, ActionError> {
        let templar = &self.call.on.play.run.templar;
        match templar.vault() {
            Some(vault) if crate::vars::vault::is_encrypted_bytes(&bytes) => {
                vault.decrypt(&bytes).map_err(|e| ActionError::Failed(format!("{}: {e}", path.display())))
            }
            None if crate::vars::vault::is_encrypted_bytes(&bytes) => Err(ActionError::Failed(format!(
                "{} is encrypted and no vault password was given: use --vault-password-file or --ask-vault-pass",
                path.display()
            ))),
            _ => Ok(bytes),
        }
    }

    fn offer(&self, bytes: Vec<u8>) -> Content {
        self.blobs().offer(bytes)
    }

    fn offer_file(&self, path: &Path) -> Result<Content, ActionError> {
        let offered = self.blobs().offer_file(path);
        offered.map_err(|e| ActionError::Failed(format!("cannot read {}: {e}", path.display())))
    }

    fn call<'a>(&'a self, module: &'a str, arguments: Map<String, Value>) -> ActionFuture<'a, Outcome> {
        Box::pin(async move {
            let request = TaskRequest {
                module: module.to_string(),
                arguments,
                on_failure: OnFailure::Continue,
                detach: None,
                ..self.request.clone()
            };
            let Some(link) = self.link() else {
                return Err(ActionError::Failed(format!("`{module}` needs a host, and this task has none")));
            };
            let answer = link.submit(request, self.blobs(), Some(self.progress())).await;
            let answer = answer.await.map_err(ActionError::Unreachable)?;
            if !answer.not_received.is_empty() {
                let why: Vec<String> =
                    answer.not_received.iter().map(|(name, why)| format!("`{name}`: {why}")).collect();
                return Err(ActionError::Failed(format!("cannot keep what {} sent: {}", self.host(), why.join("; "))));
            }
            self.state().received = answer.received;
            match answer.reply {
                Reply::Done(outcome) if outcome.status == Status::Unknown => {
                    Err(ActionError::Unknown(outcome.msg.unwrap_or_default()))
                }
                Reply::Done(outcome) => Ok(outcome),
                Reply::NotRun => {
                    Err(ActionError::Failed("not run, because an earlier task of this host failed".into()))
                }
                Reply::BecomeFailed { why, .. } => Err(ActionError::Failed(why)),
            }
        })
    }

    fn reconnect<'a>(&'a self) -> ActionFuture<'a, ()> {
        Box::pin(async move {
            let Some(link) = self.link() else {
                return Err(ActionError::Failed("this task has no host to connect to".into()));
            };
            self.call.on.play.run.fleet.reconnect(&link).await.map_err(ActionError::Failed)
        })
    }

    fn connect_anew<'a>(&'a self, limit: Option<Duration>) -> ActionFuture<'a, ()> {
        Box::pin(async move {
            self.hang_up().await?;
            let run = &self.call.on.play.run;
            let name = self.delegated_to.as_ref().unwrap_or(&self.call.on.host.name);
            let connecting = prepare::link_within(&self.call, self.delegated_to.as_deref(), limit);
            match connecting.await {
                Ok(link) => {
                    self.link.lock().unwrap_or_else(|p| p.into_inner()).replace(link);
                    Ok(())
                }
                Err(none) => {
                    // The next attempt, whoever makes it, is a new one.
                    run.fleet.reset(name).await;
                    Err(ActionError::Unreachable(none.why))
                }
            }
        })
    }

    fn hang_up<'a>(&'a self) -> ActionFuture<'a, ()> {
        Box::pin(async move {
            self.link.lock().unwrap_or_else(|p| p.into_inner()).take();
            let name = self.delegated_to.as_ref().unwrap_or(&self.call.on.host.name);
            // A host that is down does not say good-bye.
            let _ = tokio::time::timeout(GOOD_BYE, self.call.on.play.run.fleet.reset(name)).await;
            Ok(())
        })
    }

    fn is_local(&self) -> bool {
        self.link().is_some_and(|link| link.is_local())
    }

    fn relay<'a>(&'a self, address: &'a str, port: u16) -> ActionFuture<'a, Box<dyn Wire>> {
        Box::pin(async move {
            let Some(link) = self.link() else {
                return Err(ActionError::Failed("this task has no host to connect from".into()));
            };
            let told =
                |error: std::io::Error| ActionError::Failed(format!("{address}:{port} from {}: {error}", self.host()));
            let wire = link.relay(address, port, Duration::from_secs(4)).await.map_err(told)?;
            Ok(Box::new(wire) as Box<dyn Wire>)
        })
    }

    fn received(&self, name: &str) -> Result<PathBuf, ActionError> {
        let state = self.state();
        let path = state.received.get(name).map(|path| path.to_path_buf());
        path.ok_or_else(|| ActionError::Failed(format!("{} sent no contents named `{name}`", self.host())))
    }

    fn with_controller(
        &self,
        work: &mut dyn FnMut(&mut Machine) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        let mut machine = self.call.on.play.run.controller.lock().unwrap_or_else(|p| p.into_inner());
        let done = work(&mut machine);
        self.state().changes.extend(machine.take_changes());
        done
    }

    fn conceal(&self, secret: &Secret) {
        self.call.on.play.run.redactor.add(secret.expose());
    }

    fn warn(&self, message: String) {
        self.state().warnings.push(message);
    }
}
