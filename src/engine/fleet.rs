//! Connections and agents of a run: one a host, made when first needed.

use super::run::Run;
use crate::connection::agent::{
    self, AgentError, AgentOptions, Blobs, Call as AgentCall, ProgressSink, Relay, Session,
};
use crate::connection::{Connection, ConnectionError, ConnectionOptions, Connector, Resolver};
use crate::template::{Scope, to_json};
use crate::wire::{Reply, TaskRequest};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Why there is no link to a host.
#[derive(Clone, Debug)]
pub struct NoLink {
    /// In words.
    pub why: String,
    /// The host cannot be reached; otherwise a setting is wrong, which is an ordinary failure.
    pub unreachable: bool,
}

impl NoLink {
    fn setting(why: impl Into<String>) -> NoLink {
        NoLink { why: why.into(), unreachable: false }
    }
}

impl From<ConnectionError> for NoLink {
    fn from(error: ConnectionError) -> NoLink {
        NoLink { why: error.to_string(), unreachable: error.is_unreachable() }
    }
}

impl From<AgentError> for NoLink {
    fn from(error: AgentError) -> NoLink {
        match error {
            AgentError::Connection(error) => error.into(),
            AgentError::NoProgram { .. } | AgentError::Program { .. } => NoLink::setting(error.to_string()),
            other => NoLink { why: other.to_string(), unreachable: true },
        }
    }
}

/// The answer to a request, or why the host was lost.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Result<Reply, String>> + Send>>;

/// `connection`, `remote_user` and `port`, where a play says them as keywords.
#[derive(Clone, Debug, Default)]
pub struct ConnectionKeywords {
    /// `connection`
    pub connection: Option<String>,
    /// `remote_user`
    pub remote_user: Option<String>,
    /// `port`
    pub port: Option<String>,
    /// How long connecting may take, where a module says it (`connect_timeout`).
    pub limit: Option<Duration>,
}

/// A host with its agent running.
pub struct Link {
    /// The run's name, for the hosts' logs of changes.
    run: String,
    connection: Connection,
    session: Session,
    forks: Option<Arc<Semaphore>>,
    under_way: Arc<AtomicUsize>,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    gate: tokio::sync::Mutex<()>,
}

/// The place of a request among those of its host; it is left with the answer, and when nobody waits for one any more.
struct Place {
    under_way: Arc<AtomicUsize>,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.permit.lock().unwrap_or_else(|p| p.into_inner()).take();
        }
    }
}

type Slot = Arc<OnceCell<Result<Arc<Link>, NoLink>>>;

/// All links of a run.
pub struct Fleet {
    connector: Connector,
    resolver: Resolver,
    options: ConnectionOptions,
    agent: AgentOptions,
    programs: Result<agent::Programs, String>,
    /// Contents that hosts may ask for.
    pub blobs: Arc<Blobs>,
    slots: Mutex<HashMap<Arc<str>, Slot>>,
    /// How many hosts may be connected to at a time: handshakes are what costs the controller most.
    connecting: Semaphore,
    forks: Option<Arc<Semaphore>>,
}

impl Fleet {
    /// A fleet that connects as `options` say; `forks` 0 means no limit.
    pub fn new(connector: Connector, options: ConnectionOptions, agent: AgentOptions, forks: usize) -> Self {
        Fleet {
            connector,
            resolver: Resolver::new(options.clone()),
            options,
            agent,
            programs: agent::Programs::find().map_err(|error| error.to_string()),
            blobs: Arc::default(),
            slots: Mutex::default(),
            connecting: Semaphore::new(64),
            forks: (forks > 0).then(|| Arc::new(Semaphore::new(forks))),
        }
    }

    /// The link to `host`, whose variables `scope` has. An error is why it cannot be reached.
    pub async fn link(
        &self,
        run: &Run,
        host: &str,
        scope: &Scope,
        keywords: ConnectionKeywords,
    ) -> Result<Arc<Link>, NoLink> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(|p| p.into_inner());
            slots.entry(host.into()).or_default().clone()
        };
        slot.get_or_init(|| self.connect(run, host, scope, keywords)).await.clone()
    }

    /// How hosts are reached where nothing else is said: the command line's options and the configuration.
    pub fn usual(&self) -> &ConnectionOptions {
        &self.options
    }

    async fn connect(
        &self,
        run: &Run,
        host: &str,
        scope: &Scope,
        keywords: ConnectionKeywords,
    ) -> Result<Arc<Link>, NoLink> {
        let _permit = self.connecting.acquire().await;
        let wrong = Mutex::new(None);
        let variables = |name: &str| {
            let evaluated = match scope.templar().variable(name, scope) {
                Ok(evaluated) => evaluated?,
                Err(error) => {
                    // A password or address that cannot be evaluated must not be taken for one that is not set.
                    let mut wrong = wrong.lock().unwrap_or_else(|p| p.into_inner());
                    wrong.get_or_insert(format!("`{name}`: {}", error.into_diag().one_line()));
                    return None;
                }
            };
            let known = evaluated.is_known() && !evaluated.value.is_none() && !evaluated.value.is_undefined();
            let json = known.then(|| to_json(&evaluated.value))?;
            if name.contains("pass")
                && let Some(text) = json.as_str().filter(|text| !text.is_empty())
            {
                run.redactor.add(text);
            }
            Some(json)
        };
        let mut options = self.options.clone();
        options.connection = keywords.connection.or(options.connection);
        options.user = keywords.remote_user.or(options.user);
        options.port = keywords.port.and_then(|port| port.trim().parse().ok()).or(options.port);
        let mut target = self.resolver.target_with(host, &variables, &options)?;
        target.timeouts.connect = keywords.limit.unwrap_or(target.timeouts.connect);
        if let Some(why) = wrong.into_inner().unwrap_or_else(|p| p.into_inner()) {
            return Err(NoLink::setting(format!("a connection variable cannot be evaluated: {why}")));
        }
        for warning in self.resolver.warnings() {
            run.warn(warning);
        }
        let connection = self.connector.connect(&target).await?;
        let programs = self.programs.as_ref().map_err(NoLink::setting)?;
        let mut agent = self.agent.clone();
        let directory = scope.templar().variable("deploy_agent_dir", scope).ok().flatten();
        let directory = directory.filter(|found| found.is_known()).map(|found| to_json(&found.value));
        if let Some(directory) = directory.and_then(|v| v.as_str().map(str::to_string)) {
            agent.directory = Some(directory);
        }
        // Runs for different clusters share their controller.
        agent.exclusive &= target.transport != crate::connection::Transport::Local;
        let session = Session::start(&connection, programs, &agent).await?;
        for leftover in session.leftovers() {
            run.warn(format!(
                "[{host}] an earlier run ({}) was cut off during `{}`; the host finished that task by itself: {}",
                leftover.who, leftover.label, leftover.status
            ));
        }
        Ok(Arc::new(Link {
            run: self.agent.run.clone(),
            connection,
            session,
            forks: self.forks.clone(),
            under_way: Arc::default(),
            permit: Arc::default(),
            gate: Default::default(),
        }))
    }

    /// Closes the link to a host; the next task makes a new one.
    pub async fn reset(&self, host: &str) {
        let slot = self.slots.lock().unwrap_or_else(|p| p.into_inner()).remove(host);
        if let Some(Ok(link)) = slot.as_ref().and_then(|slot| slot.get()) {
            link.close().await;
        }
    }

    /// Lets other runs in on every host where this one has nothing to do: it waits for one of them, and that one perhaps for
    /// it.
    pub fn give_way(&self) {
        for slot in self.slots.lock().unwrap_or_else(|p| p.into_inner()).values() {
            if let Some(Ok(link)) = slot.get() {
                link.session.give_way();
            }
        }
    }

    /// Closes all links.
    pub async fn close(&self) {
        let slots: Vec<Slot> = self.slots.lock().unwrap_or_else(|p| p.into_inner()).drain().map(|(_, s)| s).collect();
        let mut closing = tokio::task::JoinSet::new();
        for slot in slots {
            closing.spawn(async move {
                if let Some(Ok(link)) = slot.get() {
                    link.close().await;
                }
            });
        }
        closing.join_all().await;
    }

    /// Opens and closes a connection of its own to a host that is linked already: proof that new ones are let in.
    pub async fn reconnect(&self, link: &Link) -> Result<(), String> {
        let connection = self.connector.connect(link.connection.target()).await.map_err(|error| error.to_string())?;
        connection.close().await;
        Ok(())
    }
}

impl Link {
    /// Connects from the host to somewhere.
    pub async fn relay(&self, target: &str, port: u16, timeout: Duration) -> std::io::Result<Relay> {
        self.session.relay(target, port, timeout).await
    }

    /// Sends a request; its answer comes later. Waits only for a free place among the `forks`.
    pub async fn submit(
        &self,
        mut request: TaskRequest,
        blobs: Arc<Blobs>,
        progress: Option<ProgressSink>,
    ) -> Pin<Box<dyn Future<Output = Result<agent::Answer, String>> + Send>> {
        if let Some(forks) = &self.forks {
            let _gate = self.gate.lock().await;
            if self.under_way.load(Ordering::SeqCst) == 0 {
                let permit = forks.clone().acquire_owned().await.ok();
                *self.permit.lock().unwrap_or_else(|p| p.into_inner()) = permit;
            }
        }
        if request.run.is_empty() {
            request.run = self.run.clone();
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let pending = self.session.submit(AgentCall { request, blobs, progress });
        let place = Place { under_way: self.under_way.clone(), permit: self.permit.clone() };
        Box::pin(async move {
            let _place = place;
            pending.await.map_err(|lost| lost.to_string())
        })
    }

    /// Connects from the host to a port and hangs up. An error is what the host said.
    pub async fn try_port(&self, target: &str, port: u16, patience: Duration) -> Result<(), String> {
        self.session.relay(target, port, patience).await.map(drop).map_err(|error| error.to_string())
    }

    /// Whether it leads to the controller itself, without SSH.
    pub fn is_local(&self) -> bool {
        self.connection.target().transport == crate::connection::Transport::Local
    }

    async fn close(&self) {
        self.session.close().await;
        self.connection.clone().close().await;
    }
}
