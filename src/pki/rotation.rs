//! The change from one generation of an authority to the next, as the store remembers it.
//!
//! A phase is written down when every host has what the phase before asked for; so whoever reads the store knows what is
//! safe to put on a host, a run of the site in the middle of it too.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::inspect::{certificates, signed_by};
use super::store::AuthorityRecord;
use super::{Authority, AuthoritySpec, AuthorityView, IssuedRecord, PkiError, Store, Subject, UnixTime, date, inspect};

/// How far the change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The old generation signs; hosts come to trust both.
    Trust,
    /// Every host trusts both: the new generation signs, hosts get new leaves.
    Sign,
    /// Every leaf is the new generation's: hosts cease to trust the old one.
    Untrust,
    /// No file trusts the old one; Galera's provider does so until its process ends.
    Purge,
}

impl Phase {
    /// As it is written in playbooks.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Trust => "trust",
            Phase::Sign => "sign",
            Phase::Untrust => "untrust",
            Phase::Purge => "purge",
        }
    }
}

impl FromStr for Phase {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let all = [Phase::Trust, Phase::Sign, Phase::Untrust, Phase::Purge];
        all.into_iter().find(|phase| phase.name() == text).ok_or_else(|| PkiError::Word {
            what: "phase of a rotation",
            text: text.to_string(),
            known: "trust, sign, untrust, purge",
        })
    }
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Serial number of the generation that leaves.
    pub from: String,
    /// Of the one that comes.
    pub to: String,
    /// How far it is.
    pub phase: Phase,
    /// When it began.
    pub began: UnixTime,
}

impl Store {
    /// The change that is under way, if one is.
    pub fn rotation(&self, name: &str) -> Result<Option<Rotation>, PkiError> {
        Ok(self.record(name)?.rotation)
    }

    /// Begins one: makes a generation that is trusted beside the one that goes on signing. One that has begun stays as
    /// it is. The specification's common name gets the number of the generation, so that people can tell them apart.
    pub fn begin_rotation(
        &self,
        mut spec: AuthoritySpec,
        now: UnixTime,
    ) -> Result<(AuthorityView, Rotation), PkiError> {
        let _lock = self.lock()?;
        let mut record = self.record(&spec.name)?;
        self.require(&spec.name)?.refuse_expired(now)?;
        let rotation = match record.rotation.clone() {
            Some(rotation) => rotation,
            None if !self.require(&spec.name)?.info.is_self_issued() => {
                let why = "it is an intermediate, and its root is offline: a new intermediate under the same root needs no rotation (`deploy pki \
                           intermediate renew`, then rotate-certs.yml); for a new root, have one sign it and put it in place with `deploy pki \
                           intermediate install`, which begins the rotation that rotate-ca.yml goes on with";
                return Err(wrong(&spec.name, why.to_string()));
            }
            None => {
                let rotation = Rotation {
                    from: record.current.clone(),
                    to: self.next_generation(&mut spec, now)?,
                    phase: Phase::Trust,
                    began: now,
                };
                record.trusted = vec![rotation.from.clone(), rotation.to.clone()];
                record.rotation = Some(rotation.clone());
                self.write_record(&spec.name, &record)?;
                rotation
            }
        };
        Ok((self.require(&spec.name)?, rotation))
    }

    /// Makes the generation after those that there are; no record speaks of it yet. Returns its serial number.
    fn next_generation(&self, spec: &mut AuthoritySpec, now: UnixTime) -> Result<String, PkiError> {
        let number = self.generations(&spec.name)?.len() + 1;
        let common_name = format!("{} G{number}", spec.subject.common_name);
        spec.subject = Subject::new(&common_name, spec.subject.organization.as_deref())?;
        self.write_generation(&Arc::new(Authority::create(spec, now)?))
    }

    /// Puts another generation into the place of one that has run out; says whether it had to. There is no way from the one to the
    /// other that somebody could trust meanwhile, and none is needed: whatever the old one has signed is over. A generation
    /// that a rotation has brought already, and that is valid, is taken.
    pub fn replace_expired(&self, mut spec: AuthoritySpec, now: UnixTime) -> Result<bool, PkiError> {
        let _lock = self.lock()?;
        let mut record = self.record(&spec.name)?;
        let view = self.require(&spec.name)?;
        if view.info.not_after > now {
            return Ok(false);
        }
        if !view.info.is_self_issued() {
            let why = format!(
                "it is an intermediate, and expired at {}: its root signs another one (`deploy pki intermediate renew`, or `request`, `sign` \
                 and `install`)",
                date(view.info.not_after)
            );
            return Err(wrong(&spec.name, why));
        }
        let heir = match record.rotation.take().filter(|rotation| rotation.to != record.current) {
            Some(rotation) => {
                let cert = self.generation(&spec.name, &rotation.to)?;
                let info = inspect(&cert, "the next generation")?;
                (info.not_after > now).then_some(rotation.to)
            }
            None => None,
        };
        let heir = match heir {
            Some(serial) => serial,
            None => self.next_generation(&mut spec, now)?,
        };
        record.current.clone_from(&heir);
        record.trusted = vec![heir];
        self.write_record(&spec.name, &record)?;
        Ok(true)
    }

    /// Certificates of the generation that leaves which nobody replaces: those that were signed by hand, and those of hosts that
    /// are not among `managed`, unless the next generation has signed the same for the same host. From `untrust` on they are refused.
    pub fn left_behind(
        &self,
        name: &str,
        managed: &BTreeSet<String>,
        now: UnixTime,
    ) -> Result<Vec<IssuedRecord>, PkiError> {
        let Some(rotation) = self.rotation(name)? else { return Ok(Vec::new()) };
        let der = |serial: &str| {
            Ok::<_, PkiError>(certificates(&self.generation(name, serial)?, "the authority")?.swap_remove(0))
        };
        let (old, new) = (der(&rotation.from)?, der(&rotation.to)?);
        let revoked = self.revoked()?;
        let (mut here, mut successors) = (Vec::new(), Vec::new());
        for record in
            self.issued()?.into_iter().filter(|record| record.authority == name && record.info.not_after > now)
        {
            let leaf = certificates(&record.cert_pem, "a certificate of the store")?.swap_remove(0);
            if signed_by(&leaf, &new) {
                successors.push(record);
            } else if signed_by(&leaf, &old) && !revoked.contains_key(&record.info.serial) {
                here.push(record);
            }
        }
        let replaced = |one: &IssuedRecord| {
            let same = |next: &IssuedRecord| {
                next.host == one.host
                    && next.profile == one.profile
                    && next.info.subject == one.info.subject
                    && next.by_hand == one.by_hand
            };
            successors.iter().any(same)
        };
        here.retain(|one| (one.by_hand || !managed.contains(&one.host)) && !replaced(one));
        Ok(here)
    }

    /// Goes on to the next phase; says whether that was anything new. A phase that is over already stays over, and none is
    /// left out.
    pub fn advance_rotation(&self, name: &str, to: Phase) -> Result<bool, PkiError> {
        let _lock = self.lock()?;
        let mut record = self.record(name)?;
        let Some(rotation) = &mut record.rotation else {
            return Err(wrong(name, format!("it is not being rotated, so there is no phase `{}`", to.name())));
        };
        let next = match rotation.phase {
            phase if phase >= to => return Ok(false),
            Phase::Trust => Phase::Sign,
            Phase::Sign => Phase::Untrust,
            Phase::Untrust | Phase::Purge => Phase::Purge,
        };
        if next != to {
            let (at, to) = (rotation.phase.name(), to.name());
            return Err(wrong(
                name,
                format!("its rotation is in the phase `{at}`, from where `{to}` is two steps away"),
            ));
        }
        rotation.phase = to;
        match to {
            Phase::Sign => record.current.clone_from(&rotation.to),
            Phase::Untrust => record.trusted = vec![rotation.to.clone()],
            Phase::Trust | Phase::Purge => {}
        }
        self.write_record(name, &record)?;
        Ok(true)
    }

    /// Ends it: nobody trusts the old generation any more.
    pub fn end_rotation(&self, name: &str) -> Result<bool, PkiError> {
        let _lock = self.lock()?;
        let mut record: AuthorityRecord = self.record(name)?;
        match record.rotation.take() {
            None => Ok(false),
            Some(rotation) if rotation.phase == Phase::Purge => self.write_record(name, &record).map(|()| true),
            Some(rotation) => {
                let why = format!("its rotation is in the phase `{}` and cannot end there", rotation.phase.name());
                Err(wrong(name, why))
            }
        }
    }
}

fn wrong(name: &str, why: String) -> PkiError {
    PkiError::Authority { name: name.to_string(), why }
}
