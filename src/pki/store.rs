//! The store: authorities with their encrypted keys, and a record of every certificate they signed.
//!
//! ```text
//! ca/<name>/authority.json     what it is for, which generation signs, which are trusted
//! ca/<name>/<serial>/cert.pem  one generation; after a rotation there are two
//! ca/<name>/<serial>/key.pem   encrypted PKCS#8
//! issued/<serial>.json         one certificate: whose, for what, until when; never a key
//! accounts/<server>/           accounts at ACME servers: account.json, and key.pem, encrypted as ca's are
//! revoked/<serial>.json        one that must not be used any more: since when and why
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    Authority, AuthoritySpec, CertInfo, Issued, Lifetime, Passphrase, PkiError, PrivateKey, Profile, Purpose, Request,
    Rotation, Signed, SigningRequest, Storage, UnixTime, date, inspect,
};
use crate::secret::Secret;

/// PBKDF2 rounds for an authority's key, as OWASP advises: a fifth of a second, or many in a test build.
const KDF_ITERATIONS: u32 = if cfg!(test) { 1_000 } else { 600_000 };

/// Where a store is when the inventory does not say: `${XDG_STATE_HOME:-~/.local/state}/deploy/pki/<name>`.
pub fn default_path(name: &str) -> Option<PathBuf> {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("deploy/pki").join(name))
}

/// What is written about an authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    /// What it is for.
    pub purpose: Purpose,
    /// The serial of the generation that signs.
    pub current: String,
    /// The serials of all generations that are trusted, the signing one among them.
    pub trusted: Vec<String>,
    /// The change of generations that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// An authority without its key.
#[derive(Debug, Clone)]
pub struct AuthorityView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The signing generation's certificate, with its parents if it has any.
    pub cert_pem: String,
    /// Everything that peers must trust: the same, and older or newer generations during a rotation.
    pub bundle_pem: String,
    /// The signing generation's certificate, read.
    pub info: CertInfo,
    /// Only a check has made it, in memory: the real one will have another key.
    pub predicted: bool,
}

impl AuthorityView {
    /// An error when it has run out: asked before any connection is made.
    pub fn refuse_expired(&self, now: UnixTime) -> Result<(), PkiError> {
        if self.info.not_after <= now {
            return Err(PkiError::AuthorityExpired { name: self.name.clone(), date: date(self.info.not_after) });
        }
        Ok(())
    }
}

/// What is remembered about a certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedRecord {
    /// Which authority.
    pub authority: String,
    /// For which host, by its inventory name.
    pub host: String,
    /// For what.
    pub profile: Profile,
    /// When.
    pub issued_at: UnixTime,
    /// What it says.
    pub info: CertInfo,
    /// The certificate.
    pub cert_pem: String,
    /// By `deploy pki issue` or `sign`: no run renews it.
    #[serde(default)]
    pub by_hand: bool,
}

/// That a certificate must not be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which.
    pub serial: String,
    /// Since when.
    pub at: UnixTime,
    /// Why, if somebody said so.
    pub reason: Option<String>,
}

/// A store, opened.
pub struct Store {
    storage: Box<dyn Storage>,
    passphrase: Passphrase,
    unlocked: Mutex<BTreeMap<String, Arc<Authority>>>,
    /// The hosts of one run queue here; only one of them then waits for other runs.
    writing: Mutex<()>,
}

impl Store {
    /// Over a storage. The passphrase is asked for when a key is needed, once.
    pub fn new(storage: Box<dyn Storage>, passphrase: Passphrase) -> Self {
        Store { storage, passphrase, unlocked: Mutex::default(), writing: Mutex::default() }
    }

    /// What to call it in messages.
    pub fn location(&self) -> String {
        self.storage.location()
    }

    /// Whether what is done to it stays.
    pub fn keeps(&self) -> bool {
        self.storage.keeps()
    }

    /// An error when a key will have to be unlocked and no passphrase is to be had; nobody is asked for one.
    pub fn passphrase_at_hand(&self) -> Result<(), PkiError> {
        self.passphrase.at_hand()
    }

    /// The names of all authorities.
    pub fn authorities(&self) -> Result<Vec<String>, PkiError> {
        let files = self.storage.list("ca/")?;
        let name = |file: &String| Some(file.strip_prefix("ca/")?.strip_suffix("/authority.json")?.to_string());
        Ok(files.iter().filter_map(name).collect())
    }

    /// An authority without its key, if there is one of that name.
    pub fn authority(&self, name: &str) -> Result<Option<AuthorityView>, PkiError> {
        let Some(record): Option<AuthorityRecord> = self.json(&format!("ca/{name}/authority.json"))? else {
            return Ok(None);
        };
        let cert_pem = self.generation(name, &record.current)?;
        let info = inspect(&cert_pem, &format!("the certificate of authority `{name}`"))?;
        // In the order of their age, whoever signs: the files on the hosts need not change when that does.
        let mut bundle_pem = String::new();
        for serial in &record.trusted {
            bundle_pem.push_str(&self.generation(name, serial)?);
        }
        let predicted = self.storage.is_predicted(&format!("ca/{name}/{}/cert.pem", record.current));
        let name = name.to_string();
        Ok(Some(AuthorityView { name, purpose: record.purpose, cert_pem, bundle_pem, info, predicted }))
    }

    /// The same, and its absence is an error.
    pub fn require(&self, name: &str) -> Result<AuthorityView, PkiError> {
        self.authority(name)?.ok_or_else(|| self.no_authority(name))
    }

    /// Makes the authority unless it is there; says whether it was made. One that is there is not changed, whatever the
    /// specification says, unless it is for another purpose, which is an error.
    pub fn ensure(&self, spec: &AuthoritySpec, now: UnixTime) -> Result<(AuthorityView, bool), PkiError> {
        if let Some(view) = self.existing(spec)? {
            return Ok((view, false));
        }
        let _lock = self.lock()?;
        if let Some(view) = self.existing(spec)? {
            return Ok((view, false));
        }
        self.add(Authority::create(spec, now)?)?;
        Ok((self.require(&spec.name)?, true))
    }

    fn existing(&self, spec: &AuthoritySpec) -> Result<Option<AuthorityView>, PkiError> {
        match self.authority(&spec.name)? {
            Some(view) if view.purpose != spec.purpose => Err(PkiError::Authority {
                name: spec.name.clone(),
                why: format!(
                    "it is for {} certificates, and {} was asked for: its certificates are out already, so take another name",
                    view.purpose.name(),
                    spec.purpose.name()
                ),
            }),
            other => Ok(other),
        }
    }

    /// Takes over an authority that was made elsewhere. `key_pem` may be encrypted with `key_passphrase`; in the store
    /// it gets the store's own.
    pub fn import(
        &self,
        name: &str,
        purpose: Purpose,
        cert_pem: &str,
        key_pem: &Secret,
        key_passphrase: &dyn Fn() -> Result<Secret, PkiError>,
        now: UnixTime,
    ) -> Result<(AuthorityView, Vec<String>), PkiError> {
        AuthoritySpec::new(name, purpose)?;
        let key = PrivateKey::from_pem(key_pem.expose(), "the authority's key", key_passphrase)?;
        let authority = Authority::import(name, purpose, cert_pem, key, now)?;
        let warnings = authority.warnings.clone();
        let _lock = self.lock()?;
        if self.authority(name)?.is_some() {
            return Err(PkiError::AuthorityExists { name: name.to_string(), store: self.location() });
        }
        self.add(authority)?;
        Ok((self.require(name)?, warnings))
    }

    /// Unlocks an authority's key, once a run.
    pub fn unlock(&self, name: &str) -> Result<Arc<Authority>, PkiError> {
        let view = self.require(name)?;
        self.unlock_generation(&view, &view.info.serial)
    }

    /// The same for one of its generations, by its serial number: one that leaves, perhaps.
    pub fn unlock_generation(&self, view: &AuthorityView, serial: &str) -> Result<Arc<Authority>, PkiError> {
        let name = view.name.as_str();
        let id = format!("{name}/{serial}");
        let mut unlocked = self.unlocked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(authority) = unlocked.get(&id) {
            return Ok(authority.clone());
        }
        let path = format!("ca/{id}/key.pem");
        let what = format!("the key of authority `{name}` in {}", self.location());
        let key_pem =
            Secret::new(self.text(&path)?.ok_or_else(|| PkiError::Damaged {
                path: path.clone(),
                why: "the authority's key is missing".into(),
            })?);
        let key = PrivateKey::from_pem(key_pem.expose(), &what, &|| self.passphrase.get())?;
        let authority = Arc::new(Authority::assemble(name, view.purpose, self.generation(name, serial)?, key)?);
        unlocked.insert(id, authority.clone());
        Ok(authority)
    }

    /// Issues a leaf for `host` and remembers it, without its key.
    pub fn issue(&self, name: &str, host: &str, request: &Request, now: UnixTime) -> Result<Issued, PkiError> {
        self.issue_leaf(name, host, request, false, now)
    }

    /// The same for somebody who keeps the files where no run looks after them.
    pub fn issue_by_hand(&self, name: &str, host: &str, request: &Request, now: UnixTime) -> Result<Issued, PkiError> {
        self.issue_leaf(name, host, request, true, now)
    }

    fn issue_leaf(
        &self,
        name: &str,
        host: &str,
        request: &Request,
        by_hand: bool,
        now: UnixTime,
    ) -> Result<Issued, PkiError> {
        let issued = self.unlock(name)?.issue(request, now)?;
        let (authority, host) = (name.to_string(), host.to_string());
        let (info, cert_pem) = (issued.info.clone(), issued.cert_pem.clone());
        let profile = request.profile;
        self.remember(&IssuedRecord { authority, host, profile, issued_at: now, info, cert_pem, by_hand })?;
        Ok(issued)
    }

    /// Signs somebody's request for `host` and remembers it.
    pub fn sign(
        &self,
        name: &str,
        host: &str,
        request: &SigningRequest,
        profile: Profile,
        lifetime: Lifetime,
        now: UnixTime,
    ) -> Result<Signed, PkiError> {
        let signed = self.unlock(name)?.sign_request(request, profile, lifetime, now)?;
        let (authority, host) = (name.to_string(), host.to_string());
        let (info, cert_pem) = (signed.info.clone(), signed.cert_pem.clone());
        self.remember(&IssuedRecord { authority, host, profile, issued_at: now, info, cert_pem, by_hand: true })?;
        Ok(signed)
    }

    fn remember(&self, record: &IssuedRecord) -> Result<(), PkiError> {
        let _lock = self.lock()?;
        self.write_json(&format!("issued/{}.json", record.info.serial), record)
    }

    /// Marks a certificate as one that must not be used any more. One that is marked already stays as it is.
    pub fn revoke(&self, serial: &str, reason: Option<&str>, now: UnixTime) -> Result<Revocation, PkiError> {
        let _lock = self.lock()?;
        if let Some(revocation) = self.revocation(serial)? {
            return Ok(revocation);
        }
        let revocation = Revocation { serial: serial.into(), at: now, reason: reason.map(str::to_string) };
        self.write_json(&format!("revoked/{serial}.json"), &revocation)?;
        Ok(revocation)
    }

    /// Whether a certificate was revoked, by its serial number.
    pub fn revocation(&self, serial: &str) -> Result<Option<Revocation>, PkiError> {
        self.json(&format!("revoked/{serial}.json"))
    }

    /// All that was revoked, by serial number.
    pub fn revoked(&self) -> Result<BTreeMap<String, Revocation>, PkiError> {
        let mut all = BTreeMap::new();
        for file in self.storage.list("revoked/")? {
            all.extend(self.json::<Revocation>(&file)?.map(|one| (one.serial.clone(), one)));
        }
        Ok(all)
    }

    /// All files as they are at one moment, CA keys encrypted as ever: for a backup.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, PkiError> {
        let _lock = self.lock()?;
        // What somebody else has put there, an older backup or a leaf's key perhaps, is none of it.
        let ours =
            |name: &String| ["accounts/", "ca/", "issued/", "revoked/"].iter().any(|folder| name.starts_with(folder));
        let names: Vec<String> = self.storage.list("")?.into_iter().filter(ours).collect();
        let read = |name: String| Ok(self.storage.read(&name)?.map(|bytes| (name, bytes)));
        names.into_iter().filter_map(|name| read(name).transpose()).collect()
    }

    /// Every certificate that was signed, by date of issue.
    pub fn issued(&self) -> Result<Vec<IssuedRecord>, PkiError> {
        let mut records = Vec::new();
        for file in self.storage.list("issued/")? {
            records.extend(self.json::<IssuedRecord>(&file)?);
        }
        records.sort_by(|a, b| (a.issued_at, &a.info.serial).cmp(&(b.issued_at, &b.info.serial)));
        Ok(records)
    }

    pub(super) fn lock(&self) -> Result<(super::Locked, std::sync::MutexGuard<'_, ()>), PkiError> {
        let queue = self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((self.storage.lock()?, queue))
    }

    /// Writes a new authority; its record comes last, because it makes the rest valid.
    fn add(&self, authority: Authority) -> Result<(), PkiError> {
        self.add_authority(&Arc::new(authority))
    }

    pub(super) fn add_authority(&self, authority: &Arc<Authority>) -> Result<(), PkiError> {
        let serial = self.write_generation(authority)?;
        let trusted = vec![serial.clone()];
        let record = AuthorityRecord { purpose: authority.purpose, current: serial, trusted, rotation: None };
        self.write_record(&authority.name, &record)
    }

    /// Writes a generation that no record speaks of yet, and returns its serial number.
    pub(super) fn write_generation(&self, authority: &Arc<Authority>) -> Result<String, PkiError> {
        let id = format!("{}/{}", authority.name, authority.info.serial);
        self.write_key(&format!("ca/{id}/key.pem"), &authority.key)?;
        self.storage.write(&format!("ca/{id}/cert.pem"), authority.cert_pem.as_bytes(), 0o600)?;
        let mut unlocked = self.unlocked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        unlocked.insert(id, authority.clone());
        Ok(authority.info.serial.clone())
    }

    /// Writes a key, encrypted as all of the store's are.
    pub(super) fn write_key(&self, path: &str, key: &PrivateKey) -> Result<(), PkiError> {
        let passphrase = self.passphrase.get_for_new()?;
        self.storage.write(path, key.to_encrypted_pem(&passphrase, KDF_ITERATIONS)?.as_bytes(), 0o600)
    }

    /// Opens one that [`Store::write_key`] has written.
    pub(super) fn read_key(&self, pem: &str, whose: &str) -> Result<PrivateKey, PkiError> {
        let what = format!("the key of `{whose}` in {}", self.location());
        PrivateKey::from_pem(pem, &what, &|| self.passphrase.get())
    }

    pub(super) fn write_text(&self, path: &str, text: &str) -> Result<(), PkiError> {
        self.storage.write(path, text.as_bytes(), 0o600)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), PkiError> {
        self.storage.remove(path)
    }

    pub(super) fn write_record(&self, name: &str, record: &AuthorityRecord) -> Result<(), PkiError> {
        self.write_json(&format!("ca/{name}/authority.json"), record)
    }

    /// What is written about an authority that must be there.
    pub(super) fn record(&self, name: &str) -> Result<AuthorityRecord, PkiError> {
        self.json(&format!("ca/{name}/authority.json"))?.ok_or_else(|| self.no_authority(name))
    }

    /// The serial numbers of all generations that there ever were.
    pub(super) fn generations(&self, name: &str) -> Result<Vec<String>, PkiError> {
        let folder = format!("ca/{name}/");
        let files = self.storage.list(&folder)?;
        let serial = |file: &String| Some(file.strip_prefix(&folder)?.strip_suffix("/cert.pem")?.to_string());
        Ok(files.iter().filter_map(serial).collect())
    }

    pub(super) fn generation(&self, name: &str, serial: &str) -> Result<String, PkiError> {
        let path = format!("ca/{name}/{serial}/cert.pem");
        self.text(&path)?.ok_or(PkiError::Damaged { path, why: "the certificate is missing".into() })
    }

    fn no_authority(&self, name: &str) -> PkiError {
        PkiError::NoAuthority { name: name.to_string(), store: self.location() }
    }

    pub(super) fn text(&self, path: &str) -> Result<Option<String>, PkiError> {
        let damaged = |_| PkiError::Damaged { path: path.to_string(), why: "it is not UTF-8".into() };
        self.storage.read(path)?.map(|bytes| String::from_utf8(bytes).map_err(damaged)).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, PkiError> {
        let damaged = |error: serde_json::Error| PkiError::Damaged { path: path.to_string(), why: error.to_string() };
        self.storage.read(path)?.map(|bytes| serde_json::from_slice(&bytes).map_err(damaged)).transpose()
    }

    pub(super) fn write_json<T: Serialize>(&self, path: &str, value: &T) -> Result<(), PkiError> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| PkiError::Damaged { path: path.to_string(), why: error.to_string() })?;
        bytes.push(b'\n');
        self.storage.write(path, &bytes, 0o600)
    }
}
