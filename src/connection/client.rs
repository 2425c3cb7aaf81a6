//! Our side of russh: judges the host key, and remembers why a connection ended.

use std::sync::{Arc, Mutex};

use russh::client::{DisconnectReason, Handler, Session};
use russh::keys::PublicKeyOrCertificate;

use super::ask::Asker;
use super::error::ConnectionError;
use super::target::Target;
use super::trust::Trust;

/// What a session leaves for whoever asks afterwards.
#[derive(Default)]
pub(crate) struct Notes {
    refusal: Mutex<Option<ConnectionError>>,
    end: Mutex<Option<String>>,
}

impl Notes {
    /// Why the host key was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<ConnectionError> {
        self.refusal.lock().ok().and_then(|mut r| r.take())
    }

    /// Why the connection ended, as far as anybody said.
    pub(crate) fn end(&self) -> Option<String> {
        self.end.lock().ok().and_then(|e| e.clone())
    }
}

/// The handler of one session.
pub(crate) struct Client {
    pub(crate) target: Arc<Target>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) asker: Asker,
    pub(crate) notes: Arc<Notes>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match self.trust.decide(&self.target, presented, &self.asker).await {
            Ok(()) => Ok(true),
            Err(error) => {
                if let Ok(mut refusal) = self.notes.refusal.lock() {
                    *refusal = Some(error);
                }
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the server ended it: {}", info.message.trim()), Ok(()))
            }
            DisconnectReason::Error(e) => (describe(&e), Err(e)),
        };
        if let Ok(mut end) = self.notes.end.lock() {
            end.get_or_insert(text);
        }
        result
    }

    async fn auth_banner(&mut self, _banner: &str, _session: &mut Session) -> Result<(), Self::Error> {
        // Login banners are for people at terminals.
        Ok(())
    }
}

/// A russh error as a reason people can use.
pub(crate) fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout => "the host did not answer keepalives".to_string(),
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => {
            "the other side closed it".to_string()
        }
        russh::Error::Version => "the server does not speak SSH 2".to_string(),
        other => other.to_string(),
    }
}
