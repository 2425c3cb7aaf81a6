//! `pki_ca`: an authority in the controller's store.

use crate::modules::scalars::{Int, Text, TextList};
use crate::modules::{FreeForm, Module, Reach};

/// `deploy.builtin.pki_ca`
pub const MODULE: Module = Module {
    name: "deploy.builtin.pki_ca",
    aliases: &["pki_ca"],
    reach: Reach::Control,
    free_form: FreeForm::KeyValue,
    arguments: PkiCa::ARGUMENTS,
    run: None,
    #[cfg(feature = "controller")]
    action: Some(controller::act),
};

crate::arguments! {
    /// Makes sure that a certificate authority exists in the store on the controller.
    ///
    /// An authority that exists is never changed. Its key stays in the store, encrypted; no host ever sees it. Use two:
    /// Galera checks nothing but the chain, so whatever the `cluster` authority signs can join replication, and
    /// applications get their certificates from a `client` authority.
    ///
    /// An authority to which the variable `pki_issuers` gives an issuer outside of the store is only looked at.
    ///
    /// The work is done on the controller, once: set `run_once`. Returned are `name`, `purpose`, `subject`, `cert` (PEM),
    /// `bundle` (PEM, everything that peers must trust), `fingerprint` (SHA-256), `not_before`, `not_after` (seconds since 1970),
    /// `days_left`, `made` and `store`.
    pub struct PkiCa {
        /// Name of the authority.
        #[serde(alias = "ca")]
        pub name: Text,
        /// `cluster` for replication and state transfer, `client` for 3306 and its clients. Authorities of these names have
        /// these purposes.
        pub purpose: Option<Text>,
        /// Common name of its subject; `<name> CA` when missing.
        pub common_name: Option<Text>,
        /// Organisation in its subject.
        pub organization: Option<Text>,
        /// How long it lives: `10y`, `3650d`, or days.
        #[serde(alias = "days")]
        pub lifetime: Option<Text>,
        /// Kind of its key: `ecdsa_p256` (default), `ecdsa_p384`, `ed25519`, `rsa_3072`, `rsa_4096`.
        pub key_type: Option<Text>,
        /// How many intermediate authorities may stand below it; 0 when missing.
        pub path_length: Option<Int>,
        /// Domains and networks outside of which nothing it signs is valid.
        pub permitted_names: Option<TextList>,
        /// Domains and networks in which nothing it signs is valid.
        pub excluded_names: Option<TextList>,
        /// Warn when it has fewer days left than this; 365 when missing.
        pub warn_days: Option<Int>,
        /// Directory of the store on the controller; the variable `pki_store` when missing, otherwise
        /// `~/.local/state/deploy/pki/default`.
        pub store: Option<Text>,
        /// File (mode 0600) on the controller with the passphrase of the CA keys; the variable `pki_passphrase_file` when missing,
        /// otherwise the environment variable `DEPLOY_PKI_PASSPHRASE`, otherwise a prompt.
        pub passphrase_file: Option<Text>,
    }
}

#[cfg(feature = "controller")]
pub use controller::preflight;

#[cfg(feature = "controller")]
mod controller {
    use std::sync::Arc;

    use serde_json::{Map, Value, json};

    use super::PkiCa;
    use crate::machine::{Change, Domain, Facet, Subject as ChangeSubject, Undo};
    use crate::modules::pki::issuers;
    use crate::modules::pki::stores::{aside, failed, open};
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, decode};
    use crate::pki::{self, Anchor, AuthoritySpec, IssuerSpec, PkiError, Purpose, Store, Subject};

    pub fn act<'a>(host: &'a dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move { ensure(host, arguments).await.map(Prepared::Done) })
    }

    /// What can be said before anything is done: a specification that is none, an authority that has expired.
    pub fn preflight(host: &dyn ActionHost, arguments: Map<String, Value>) -> Result<(), ActionError> {
        let arguments: PkiCa = decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
        let spec = specification(&arguments).map_err(failed)?;
        let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
        if elsewhere(host, &store, &spec)?.is_some() {
            return Ok(());
        }
        match store.authority(&spec.name).map_err(failed)? {
            Some(view) => view.refuse_expired(pki::now()).map_err(failed),
            None => Ok(()),
        }
    }

    async fn ensure(host: &dyn ActionHost, arguments: Map<String, Value>) -> Result<Outcome, ActionError> {
        let arguments: PkiCa = decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
        let spec = specification(&arguments).map_err(failed)?;
        let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
        let now = pki::now();
        if let Some(anchor) = elsewhere(host, &store, &spec)? {
            return Ok(Outcome::ok()
                .with("name", anchor.name)
                .with("purpose", anchor.purpose.name())
                .with("subject", anchor.subject)
                .with("bundle", anchor.bundle_pem)
                .with("made", false)
                .with("store", Value::Null));
        }
        let (view, made) = {
            let store = store.clone();
            aside(move || store.ensure(&spec, now)).await?
        };
        view.refuse_expired(now).map_err(failed)?;
        let days_left = (view.info.not_after - now).div_euclid(86_400);
        if days_left < arguments.warn_days.map_or(365, |days| days.0) && !made {
            host.warn(format!(
                "the authority `{}` has {days_left} days left: plan its rotation, every certificate depends on it",
                view.name
            ));
        }
        let mut outcome = Outcome::ok()
            .with("name", view.name.clone())
            .with("purpose", view.purpose.name())
            .with("subject", view.info.subject.clone())
            .with("not_before", view.info.not_before)
            .with("not_after", view.info.not_after)
            .with("days_left", days_left)
            .with("made", made)
            .with("store", store.location());
        if view.predicted {
            // The one that this check keeps in memory is not the one that will be made.
            outcome.unknown_fields = ["cert", "bundle", "fingerprint"].map(String::from).to_vec();
        } else {
            outcome = outcome
                .with("cert", view.cert_pem.clone())
                .with("bundle", view.bundle_pem.clone())
                .with("fingerprint", json!(view.info.fingerprint_colons()));
        }
        if made {
            let text = if view.predicted { pki::describe_foreseen(&view.info) } else { pki::describe(&view.info) };
            let subject = ChangeSubject::new(Domain::Pki, format!("authority {}", view.name));
            let mut change = Change::set(subject, "certificate", Facet::Absent, Facet::Text(text));
            // What it signed would hang in the air.
            change.undo = Undo::None;
            outcome.changes.push(change);
        }
        Ok(outcome)
    }

    /// The authority, where its key is not in the store.
    fn elsewhere(
        host: &dyn ActionHost,
        store: &Arc<Store>,
        spec: &AuthoritySpec,
    ) -> Result<Option<Anchor>, ActionError> {
        if issuers::specs(host)?.get(&spec.name).is_none_or(|issuer| *issuer == IssuerSpec::Store) {
            return Ok(None);
        }
        let issuer = issuers::of(host, store, &spec.name)?;
        let anchor = issuers::anchor(&*issuer, store, &spec.name, pki::now()).map_err(failed)?;
        if anchor.purpose != spec.purpose {
            return Err(failed(PkiError::Authority {
                name: spec.name.clone(),
                why: format!(
                    "pki_issuers has it for {} certificates, and {} was asked for",
                    anchor.purpose.name(),
                    spec.purpose.name()
                ),
            }));
        }
        Ok(Some(anchor))
    }

    fn specification(arguments: &PkiCa) -> Result<AuthoritySpec, PkiError> {
        let purpose: Purpose = match &arguments.purpose {
            Some(text) => text.parse()?,
            None => arguments.name.parse().map_err(|_| PkiError::Authority {
                name: arguments.name.0.clone(),
                why: "say with `purpose` whether it is for the cluster or for clients".into(),
            })?,
        };
        let mut spec = AuthoritySpec::new(&arguments.name, purpose)?;
        let common_name = arguments.common_name.as_deref().unwrap_or(&spec.subject.common_name);
        spec.subject = Subject::new(common_name, arguments.organization.as_deref())?;
        if let Some(text) = &arguments.lifetime {
            spec.lifetime = text.parse()?;
        }
        if let Some(text) = &arguments.key_type {
            spec.key_type = text.parse()?;
        }
        if let Some(length) = arguments.path_length {
            spec.path_length = Some(u8::try_from(length.0).map_err(|_| PkiError::Authority {
                name: arguments.name.0.clone(),
                why: format!("a path length of {} is not between 0 and 255", length.0),
            })?);
        }
        let rules = |list: &Option<crate::modules::scalars::TextList>| {
            list.iter().flat_map(|list| &list.0).map(|rule| rule.parse()).collect::<Result<Vec<_>, _>>()
        };
        spec.permitted = rules(&arguments.permitted_names)?;
        spec.excluded = rules(&arguments.excluded_names)?;
        Ok(spec)
    }
}
