//! The store on the controller as an issuer: the default.

use std::sync::Arc;

use super::super::{PkiError, Request, Store, UnixTime};
use super::{Anchor, Answer, IssueFuture, Issuer, Order};

/// An authority of the store.
pub struct Embedded {
    store: Arc<Store>,
    name: String,
}

impl Embedded {
    /// The authority `name` of `store`; it need not exist yet.
    pub fn new(store: Arc<Store>, name: &str) -> Self {
        Embedded { store, name: name.to_string() }
    }
}

impl Issuer for Embedded {
    fn anchor(&self, now: UnixTime) -> Result<Option<Anchor>, PkiError> {
        let Some(view) = self.store.authority(&self.name)? else { return Ok(None) };
        view.refuse_expired(now)?;
        Ok(Some(Anchor {
            name: view.name,
            purpose: view.purpose,
            signs: Some(view.cert_pem),
            bundle_pem: view.bundle_pem,
            subject: view.info.subject,
            predicted: view.predicted,
        }))
    }

    fn accepts(&self, _: &Request) -> Result<(), PkiError> {
        Ok(())
    }

    fn obeys(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), PkiError> {
        self.store.passphrase_at_hand()
    }

    fn issue<'a>(&'a self, order: Order<'a>) -> IssueFuture<'a> {
        let (store, name, host) = (self.store.clone(), self.name.clone(), order.host.to_string());
        let (request, now) = (order.request.clone(), order.now);
        Box::pin(async move {
            // Unlocking a key and making one are slow, and other hosts have their tasks.
            let work = tokio::task::spawn_blocking(move || store.issue(&name, &host, &request, now));
            let stopped = |error: tokio::task::JoinError| PkiError::Crypto {
                doing: "finish the work on a certificate",
                why: error.to_string(),
            };
            work.await.map_err(stopped)?.map(|issued| Answer::Issued(Box::new(issued)))
        })
    }

    fn words(&self) -> String {
        format!("the store {}", self.store.location())
    }
}
