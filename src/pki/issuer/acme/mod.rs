//! ACME (RFC 8555) with http-01: a public authority, or one inside that speaks the same.
//!
//! The account's key is in the store, encrypted as an authority's key is. Orders go one after another: they share a
//! listener, and servers count what is asked of them.

mod http;
mod responder;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::{
    Issued, PkiError, PrivateKey, Profile, Purpose, Request, San, Store, UnixTime, csr, inspect, pem, public_half::hex,
};
use super::files::read;
use super::{AcmeSpec, Anchor, Answer, IssueFuture, Issuer, Order};
use http::Client;
use responder::Responder;

/// How long a server may take to look at the challenges, and to sign.
const PATIENCE: Duration = Duration::from_secs(90);

/// Servers forget nonces, and ask for the same again with a new one (RFC 8555, 6.5).
macro_rules! again {
    ($call:expr) => {{
        let mut left = 8;
        loop {
            match $call.await {
                Err(Error::Api(problem)) if left > 0 && is_bad_nonce(&problem) => left -= 1,
                other => break other,
            }
        }
    }};
}

static ORDERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An authority that is asked by ACME.
pub struct Acme {
    spec: AcmeSpec,
    name: String,
    store: Arc<Store>,
    trust: String,
    client: Client,
}

/// What the store remembers of an account, beside its key.
#[derive(Debug, Serialize, Deserialize)]
struct AccountRecord {
    directory: String,
    id: String,
    contact: Vec<String>,
}

impl Acme {
    /// The authority `name`; its trust file is read now, and nobody is asked.
    pub fn new(spec: AcmeSpec, name: &str, store: Arc<Store>) -> Result<Self, PkiError> {
        let trust = read(&spec.trust)?;
        let client = Client::new(spec.directory_trust.as_deref())?;
        Ok(Acme { spec, name: name.to_string(), store, trust, client })
    }

    fn failed(&self, host: &str, why: impl std::fmt::Display) -> PkiError {
        PkiError::Issuer { issuer: self.words(), host: host.to_string(), why: why.to_string() }
    }

    async fn order(&self, order: &Order<'_>) -> Result<Issued, PkiError> {
        let _one_at_a_time = ORDERS.lock().await;
        let failed = |error: Error| self.failed(order.host, error);
        let account = self.account(order.host).await?;
        let responder = Responder::open(self.spec.listen).await.map_err(|error| {
            self.failed(
                order.host,
                format!("cannot listen on {} to answer its challenges (`listen`): {error}", self.spec.listen),
            )
        })?;
        let identifiers: Vec<Identifier> = order
            .request
            .sans
            .iter()
            .map(|san| match san {
                San::Dns(name) => Identifier::Dns(name.clone()),
                San::Ip(address) => Identifier::Ip(*address),
            })
            .collect();
        let wanted = NewOrder::new(&identifiers);
        let mut placed = again!(account.new_order(&wanted)).map_err(failed)?;
        let mut left = 8;
        while let Err(error) = self.answer(&mut placed, &responder, order.host).await {
            match error {
                Trouble::Nonce if left > 0 => left -= 1,
                Trouble::Nonce => return Err(self.failed(order.host, "it takes none of its own nonces")),
                Trouble::Other(error) => return Err(error),
            }
        }
        let patience = RetryPolicy::new().timeout(PATIENCE).backoff(1.5);
        match again!(placed.poll_ready(&patience)) {
            Ok(OrderStatus::Invalid) => return Err(self.failed(order.host, refusals(&mut placed, None).await)),
            Ok(_) => {}
            Err(Error::Api(problem)) => {
                return Err(self.failed(order.host, refusals(&mut placed, Some(problem.to_string())).await));
            }
            Err(error) => return Err(failed(error)),
        }
        let key = PrivateKey::generate(order.request.key_type)?;
        let csr = csr::write_names(&order.request.sans, &key)?;
        again!(placed.finalize_csr(&csr)).map_err(failed)?;
        let chain = again!(placed.poll_certificate(&patience)).map_err(failed)?;
        drop(responder);
        let info = inspect(&chain, "the new certificate")?;
        let first = pem::blocks(&chain).map_err(|why| self.failed(order.host, why))?;
        let cert_pem = first.first().map(|block| pem::encode("CERTIFICATE", &block.der)).unwrap_or_default();
        Ok(Issued { cert_pem, chain_pem: chain, key_pem: key.to_pem(), info, warnings: Vec::new() })
    }

    /// Answers every challenge that is not answered yet; to be called again when a nonce was forgotten.
    async fn answer(&self, placed: &mut instant_acme::Order, responder: &Responder, host: &str) -> Result<(), Trouble> {
        let failed = |error: Error| match error {
            Error::Api(problem) if is_bad_nonce(&problem) => Trouble::Nonce,
            other => Trouble::Other(self.failed(host, other)),
        };
        let mut authorizations = placed.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(failed)?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => {
                    let why = format!("its authorization for {name} is {other:?}");
                    return Err(Trouble::Other(self.failed(host, why)));
                }
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
                return Err(Trouble::Other(self.failed(host, format!("it offers no http-01 for {name}"))));
            };
            if responder.put(&challenge.token, challenge.key_authorization().as_str()) {
                again!(challenge.set_ready()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The account at this server: the one in the store, or a new one.
    async fn account(&self, host: &str) -> Result<Account, PkiError> {
        let folder = format!("accounts/{}", &hex(&Sha256::digest(self.spec.directory.as_bytes()))[..16]);
        let (record_file, key_file) = (format!("{folder}/account.json"), format!("{folder}/key.pem"));
        let failed = |error: Error| self.failed(host, error);
        let builder = || Account::builder_with_http(Box::new(self.client.clone()));
        let known: Option<AccountRecord> = self.store.json(&record_file)?;
        if let (Some(known), Some(key)) = (known, self.store.text(&key_file)?) {
            let store = self.store.clone();
            let key = aside(move || store.read_key(&key, "an ACME account")).await?;
            let der = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
            let builder = builder();
            return builder.from_parts(known.id, der, known.directory).await.map_err(failed);
        }
        // Not to be asked for a passphrase when the account is made already.
        self.store.passphrase_at_hand()?;
        let contact: Vec<&str> = self.spec.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) =
            again!(builder().create(&wanted, self.spec.directory.clone(), None)).map_err(failed)?;
        let key = PrivateKey::from_pkcs8(credentials.private_key().secret_pkcs8_der(), "the account's key")?;
        let record = AccountRecord {
            directory: self.spec.directory.clone(),
            id: account.id().to_string(),
            contact: self.spec.contact.clone(),
        };
        let store = self.store.clone();
        aside(move || {
            let _lock = store.lock()?;
            store.write_key(&key_file, &key)?;
            store.write_json(&record_file, &record)
        })
        .await?;
        Ok(account)
    }
}

/// What keeps challenges from being answered.
enum Trouble {
    Nonce,
    Other(PkiError),
}

fn is_bad_nonce(problem: &instant_acme::Problem) -> bool {
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce")
}

/// What the server found wrong, name by name.
async fn refusals(order: &mut instant_acme::Order, told: Option<String>) -> String {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let _ = again!(authorization.refresh());
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        found.extend(
            errors.map(|problem| format!("{name}: {}", problem.detail.clone().unwrap_or_else(|| problem.to_string()))),
        );
    }
    match found.is_empty() {
        true => told.unwrap_or_else(|| "it refused the order, and does not say why".to_string()),
        false => format!("{} (http-01: port 80 of each name must reach `listen` of this controller)", found.join("; ")),
    }
}

/// Slow work beside the other hosts' tasks.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, PkiError> + Send + 'static) -> Result<T, PkiError> {
    let stopped =
        |error: tokio::task::JoinError| PkiError::Crypto { doing: "finish the work on a key", why: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

impl Issuer for Acme {
    fn anchor(&self, now: UnixTime) -> Result<Option<Anchor>, PkiError> {
        let file = self.spec.trust.display().to_string();
        let mut anchor = Anchor::foreign(&self.name, Purpose::Client, &self.trust, &file, now)?;
        anchor.subject = self.words();
        Ok(Some(anchor))
    }

    fn accepts(&self, request: &Request) -> Result<(), PkiError> {
        let unfit = |why: &str| Err(PkiError::Authority { name: self.name.clone(), why: why.to_string() });
        if request.profile != Profile::Server {
            return unfit(
                "ACME proves who has a name, so it signs servers' certificates: applications and nodes get theirs from the store",
            );
        }
        let wildcard = request.sans.iter().any(|san| matches!(san, San::Dns(name) if name.starts_with("*.")));
        if wildcard {
            return unfit("http-01 cannot prove a name with `*`: write out the names");
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), PkiError> {
        self.store.passphrase_at_hand()
    }

    fn issue<'a>(&'a self, order: Order<'a>) -> IssueFuture<'a> {
        Box::pin(async move { self.order(&order).await.map(|issued| Answer::Issued(Box::new(issued))) })
    }

    fn words(&self) -> String {
        format!("ACME {}", self.spec.directory)
    }
}
