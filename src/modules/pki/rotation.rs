//! `pki_rotation`: one step of the change from an authority's generation to the next.

use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{FreeForm, Module, Reach};

/// `deploy.builtin.pki_rotation`
pub const MODULE: Module = Module {
    name: "deploy.builtin.pki_rotation",
    aliases: &["pki_rotation"],
    reach: Reach::Control,
    free_form: FreeForm::KeyValue,
    arguments: PkiRotation::ARGUMENTS,
    run: None,
    #[cfg(feature = "controller")]
    action: Some(controller::act),
};

crate::arguments! {
    /// Takes one step in the change of an authority: a new generation comes, the old one goes. `rotate-ca.yml` uses it.
    ///
    /// `trust` makes the new generation: both are trusted from now on, the old one signs. `sign`: the new one signs.
    /// `untrust`: the old one is trusted no longer. `purge`: what still trusts it in memory has to be restarted. `done` ends
    /// it. A step is taken once every host has what the one before asked for; none can be left out, and one that has been
    /// taken stays taken.
    ///
    /// Certificates of the old generation that no run replaces (signed by hand, or for hosts that are not in `managed`) are
    /// named by a warning from `trust` on. `untrust` stops for each valid certificate of the old generation that has no
    /// successor of the new one, whoever's it is: nobody would take it any more. `cut_off` allows that.
    ///
    /// `replace` is for an authority that has run out, and does nothing to another: a new generation signs and is trusted from now
    /// on, alone. `recover-certs.yml` uses it.
    ///
    /// The work is done in the store on the controller, once: set `run_once`. Returned are `phase` (where it is now; `none`
    /// when nothing is under way), `from` and `to` (serial numbers of the generations), `began` (seconds since 1970),
    /// `subject` (of the generation that signs) and `left_behind` (certificates that nobody replaces, in words).
    pub struct PkiRotation {
        /// Name of the authority.
        #[serde(alias = "ca")]
        pub name: Text,
        /// `trust`, `sign`, `untrust`, `purge`, `done`, or `replace`; without it nothing is done, and the present phase is returned.
        pub phase: Option<Text>,
        /// Common name of the new generation, before its number (`cluster CA G2`); `<name> CA` when missing.
        pub common_name: Option<Text>,
        /// Organisation in its subject.
        pub organization: Option<Text>,
        /// How long it lives: `10y` (the default), `3650d`, or days.
        pub lifetime: Option<Text>,
        /// Kind of its key (`ecdsa_p256`, `ecdsa_p384`, `ed25519`, `rsa_3072`, `rsa_4096`); that of the old one when missing.
        /// Constraints on names and intermediates are those of the old one.
        pub key_type: Option<Text>,
        /// Hosts whose certificates the playbook replaces, for the warning: all of the inventory.
        #[serde(default)]
        pub managed: TextList,
        /// Cease to trust the old generation although certificates that nobody replaces are still valid.
        #[serde(default)]
        pub cut_off: Flag,
        /// Directory of the store on the controller, as for `pki_ca`.
        pub store: Option<Text>,
        /// File with the passphrase of the CA keys, as for `pki_ca`.
        pub passphrase_file: Option<Text>,
    }
}

#[cfg(feature = "controller")]
mod controller {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value};

    use super::PkiRotation;
    use crate::machine::{Change, Domain, Facet, Subject as ChangeSubject, Undo};
    use crate::modules::pki::stores::{aside, failed, open};
    use crate::modules::{ActionError, ActionFuture, ActionHost, Outcome, Prepared, decode};
    use crate::pki::{self, AuthoritySpec, Phase, PkiError, Store, Subject};

    pub fn act<'a>(host: &'a dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move { step(host, arguments).await.map(Prepared::Done) })
    }

    async fn step(host: &dyn ActionHost, arguments: Map<String, Value>) -> Result<Outcome, ActionError> {
        let arguments: PkiRotation = decode(arguments).map_err(|error| ActionError::Failed(error.to_string()))?;
        let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
        let name = arguments.name.0.clone();
        let heir = AuthoritySpec::heir(&store.require(&name).map_err(failed)?).map_err(failed)?;
        let spec = specification(&arguments, heir).map_err(failed)?;
        let asked = arguments.phase.as_deref().map(str::to_string);
        let before = words(&store, &name).map_err(failed)?;
        if asked.as_deref() == Some("untrust") {
            refuse_to_cut_off(&store, &arguments, host.check())?;
        }
        let work = store.clone();
        aside(move || match asked.as_deref() {
            None => Ok(()),
            Some("trust") => work.begin_rotation(spec, pki::now()).map(drop),
            Some("replace") => work.replace_expired(spec, pki::now()).map(drop),
            Some("done") => work.end_rotation(&spec.name).map(drop),
            Some(phase) => work.advance_rotation(&spec.name, phase.parse::<Phase>()?).map(drop),
        })
        .await?;
        let after = words(&store, &name).map_err(failed)?;
        let view = store.require(&name).map_err(failed)?;
        let rotation = store.rotation(&name).map_err(failed)?;
        let left = match &rotation {
            Some(rotation) if rotation.phase < Phase::Untrust => {
                left_behind(&store, &arguments, false).map_err(failed)?
            }
            _ => Vec::new(),
        };
        if !left.is_empty() {
            host.warn(format!("no run replaces {}, and from the phase `untrust` on they are refused", left.join("; ")));
        }
        let mut outcome = Outcome::ok()
            .with("left_behind", left)
            .with("phase", rotation.as_ref().map_or("none", |rotation| rotation.phase.name()))
            .with("subject", view.info.subject.clone())
            .with("began", rotation.as_ref().map(|rotation| rotation.began))
            .with("from", rotation.as_ref().map(|rotation| rotation.from.clone()))
            .with("to", rotation.as_ref().map(|rotation| rotation.to.clone()));
        if host.check() && before.starts_with("rotation: none") && rotation.is_some() {
            // The serial number of a generation that a check has made in memory is not that of the real one.
            outcome.unknown_fields = vec!["to".to_string()];
        }
        if before != after {
            let subject = ChangeSubject::new(Domain::Pki, format!("authority {name}"));
            let mut change = Change::set(subject, "rotation", Facet::Text(before), Facet::Text(after));
            change.undo = Undo::None; // hosts have acted on it
            outcome.changes.push(change);
        }
        Ok(outcome)
    }

    /// Certificates that nobody replaces, each in words.
    fn left_behind(store: &Store, arguments: &PkiRotation, replaced: bool) -> Result<Vec<String>, PkiError> {
        let managed: BTreeSet<String> = arguments.managed.0.iter().cloned().collect();
        // Before they get new certificates nobody knows which ones the hosts will ask for; behind that it can be seen.
        let trusted = if replaced { BTreeSet::new() } else { managed.clone() };
        let left = store.left_behind(&arguments.name, &trusted, pki::now())?;
        let word = |one: &pki::IssuedRecord| {
            let how = match (one.by_hand, managed.contains(&one.host)) {
                (true, _) => "signed by hand",
                (false, true) => "no play of this playbook has made a new one for it",
                (false, false) => "of a host that is not in this inventory",
            };
            let (serial, end) = (pki::short(&one.info.serial), pki::date(one.info.not_after));
            format!("{} ({}, {how}, {}, until {end})", one.host, one.info.subject, serial)
        };
        Ok(left.iter().map(word).collect())
    }

    /// Stops before the step that refuses them, unless it was said that this is meant.
    fn refuse_to_cut_off(store: &Store, arguments: &PkiRotation, check: bool) -> Result<(), ActionError> {
        let at = store.rotation(&arguments.name).map_err(failed)?.map(|rotation| rotation.phase);
        if arguments.cut_off.0 || at != Some(Phase::Sign) {
            return Ok(());
        }
        // What a check would issue is in no store: there the playbook's word is taken for its own hosts.
        let left = left_behind(store, arguments, !check).map_err(failed)?;
        if left.is_empty() {
            return Ok(());
        }
        Err(ActionError::Failed(format!(
            "the old generation of `{}` has signed certificates that are still valid and that no run replaces; after this step they \
             are refused: {}. Make new ones for them (`deploy pki sign` or `issue`, for the same host), revoke what is not used any more \
             (`deploy pki revoke SERIAL`), or say that they may be cut off: rotate-ca.yml with -e pki_untrust_signed=yes",
            arguments.name.0,
            left.join("; ")
        )))
    }

    /// Where an authority stands, line by line.
    fn words(store: &Store, name: &str) -> Result<String, PkiError> {
        let view = store.require(name)?;
        let mut lines = vec![match store.rotation(name)? {
            None => "rotation: none".to_string(),
            Some(rotation) => format!("rotation: {}", rotation.phase.name()),
        }];
        lines.push(format!("signs: {}", view.info.subject));
        for one in pki::inspect_all(&view.bundle_pem, "the authority's bundle")? {
            lines.push(format!("trusted: {}", one.subject));
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The next generation is as constrained as the present one.
    fn specification(arguments: &PkiRotation, mut spec: AuthoritySpec) -> Result<AuthoritySpec, PkiError> {
        let common_name = arguments.common_name.as_deref().unwrap_or(&spec.subject.common_name);
        spec.subject = Subject::new(common_name, arguments.organization.as_deref())?;
        if let Some(text) = &arguments.lifetime {
            spec.lifetime = text.parse()?;
        }
        if let Some(text) = &arguments.key_type {
            spec.key_type = text.parse()?;
        }
        Ok(spec)
    }
}
