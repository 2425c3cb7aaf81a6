//! What all connections of a run share: who may be asked, keys and known hosts read once, jump hosts connected once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::ask::Asker;
use super::error::ConnectionError;
use super::keys::KeyStore;
use super::prompt::Prompter;
use super::session::Session;
use super::target::{Target, Transport};
use super::trust::Trust;
use super::{Connection, Inner};

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

/// The parts that connections in the making use.
pub(crate) struct Shared {
    pub(crate) asker: Asker,
    pub(crate) keys: KeyStore,
    pub(crate) trust: Arc<Trust>,
    /// Connections to jump hosts, by where they lead and as whom.
    jumps: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Weak<Session>>>>>,
}

impl Connector {
    /// A connector for one run.
    pub fn new(prompter: Arc<dyn Prompter>) -> Self {
        Connector {
            shared: Arc::new(Shared {
                asker: Asker::new(prompter),
                keys: KeyStore::default(),
                trust: Arc::default(),
                jumps: Mutex::default(),
            }),
        }
    }

    /// Connects to a host: TCP, jump hosts, host key, login.
    pub async fn connect(&self, target: &Target) -> Result<Connection, ConnectionError> {
        let target = Arc::new(target.clone());
        let inner = match target.transport {
            Transport::Local => Inner::Local,
            Transport::Ssh => {
                let via = self.reach(&target, target.jump.len()).await?;
                Inner::Ssh(Arc::new(Session::connect(&target, via, &self.shared).await?))
            }
        };
        Ok(Connection::new(target, inner))
    }

    /// The connection to the last of the first `hops` jump hosts. Hosts behind the same ones share it.
    async fn reach(&self, target: &Target, hops: usize) -> Result<Option<Arc<Session>>, ConnectionError> {
        let mut via: Option<Arc<Session>> = None;
        let mut key = String::new();
        for hop in target.jump.iter().take(hops) {
            key.push_str(&format!("{}@{}:{}/", hop.user, hop.address, hop.port));
            let slot = match self.shared.jumps.lock() {
                Ok(mut jumps) => jumps.entry(key.clone()).or_default().clone(),
                Err(_) => Arc::default(),
            };
            let mut held = slot.lock().await;
            let session = match held.upgrade().filter(|s| !s.is_closed()) {
                Some(session) => session,
                None => {
                    let hop = Arc::new(hop.clone());
                    let connected = Session::connect(&hop, via.clone(), &self.shared)
                        .await
                        .map_err(|e| ConnectionError::Jump { host: target.name.clone(), source: Box::new(e) })?;
                    let session = Arc::new(connected);
                    *held = Arc::downgrade(&session);
                    session
                }
            };
            via = Some(session);
        }
        Ok(via)
    }
}
