//! A set of certificate, key and authorities on a host: looked at, and replaced in one step.
//!
//! The files lie in a directory named by the certificate's serial number, and the link `current` beside it is what
//! servers are configured with. A new set is complete and tested before the link moves.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::machine::Machine;
use crate::machine::files::{Attributes, NewContent, Stat, WriteOptions, hex};
use crate::modules::scalars::FileMode;
use crate::modules::{Context, ModuleError, Outcome, decode};
use crate::pki::{KeyEvidence, public_half};
use crate::secret::Secret;

/// The link that servers follow.
pub const CURRENT: &str = "current";

/// Name of a set that a check foresees; a real one is named by its serial number.
const FORESEEN: &str = "new";

/// No certificate or key file is larger.
pub(super) const LIMIT: u64 = 256 * 1024;

/// Characters of the hash that tells two sets of one certificate apart.
const MARK: usize = 8;

/// What the controller asks of the host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Say what lies there.
    Inspect(Place),
    /// Keep a key until its certificate has come.
    Pend(super::pending::Pend),
    /// Make it so.
    Install(Box<Install>),
}

/// Where a set is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// The directory that holds all sets.
    pub path: String,
    /// File name of the certificate.
    pub cert: String,
    /// File name of the private key.
    pub key: String,
    /// File name of the trusted authorities.
    pub ca: String,
    /// File name of certificate and key in one.
    #[serde(default)]
    pub combined: Option<String>,
}

/// A set as it shall be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Install {
    /// Where.
    pub place: Place,
    /// A new certificate; without one the present set stays, and only the rest is looked after.
    pub fresh: Option<Fresh>,
    /// The present pair stays and trusts other authorities from now on: the set is made anew around it.
    pub retrust: Option<Retrust>,
    /// The trusted authorities, PEM; unknown in a check whose authority does not exist yet.
    pub ca: Option<String>,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Users who must be able to read all three.
    pub readable_by: Vec<String>,
    /// How many older sets stay.
    pub keep: usize,
    /// Return values, as the controller knows them.
    pub report: Map<String, Value>,
    /// Return values that a check cannot know.
    pub unknown: Vec<String>,
}

/// A certificate that is not on the host yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fresh {
    /// What its directory is called: its serial number, or for a given one the beginning of its fingerprint; a check of an
    /// issue knows none.
    pub name: Option<String>,
    /// Certificate and intermediates, PEM.
    pub cert: Option<String>,
    /// Private key, PEM.
    pub key: Option<Secret>,
    /// The key is not here: it is the one that has waited on the host.
    #[serde(default)]
    pub waited: bool,
    /// SHA-256 of the public key.
    pub public_key: Option<String>,
    /// What the old one said.
    pub before: Option<String>,
    /// What this one says.
    pub after: String,
}

/// Other authorities beside a pair that stays.
#[derive(Debug, Serialize, Deserialize)]
pub struct Retrust {
    /// Whom the set trusted, in words.
    pub before: String,
    /// Whom it trusts.
    pub after: String,
}

/// Owners and modes, as the user wrote them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ownership {
    /// Of the directories and the public files.
    pub owner: Option<String>,
    /// Of the directories and the public files.
    pub group: Option<String>,
    /// Of the directories.
    pub directory_mode: Option<Value>,
    /// Of the public files.
    pub mode: Option<Value>,
    /// Of the key.
    pub key_owner: Option<String>,
    /// Of the key.
    pub key_group: Option<String>,
    /// Of the key.
    pub key_mode: Option<Value>,
}

/// The host half of `pki_certificate`.
pub fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    match decode::<Step>(arguments)? {
        Step::Inspect(place) => inspect(&place, machine),
        Step::Pend(pend) => pend.carry_out(machine),
        Step::Install(install) => {
            // The text of a certificate tells nobody anything: what it says is recorded in words.
            let diff = std::mem::replace(&mut machine.diff, false);
            let outcome = install.carry_out(machine);
            machine.diff = diff;
            outcome
        }
    }
}

fn inspect(place: &Place, machine: &Machine) -> Result<Outcome, ModuleError> {
    let current = Path::new(&place.path).join(CURRENT);
    if let Some(stat) = machine.lstat(&current)?
        && !stat.is_link()
    {
        return Err(ModuleError::Failed(format!(
            "{} is a {}, and should be a link to a set of certificates: move it away, or choose another `path`",
            current.display(),
            stat.kind.word()
        )));
    }
    let cert = match machine.read_file_if_exists(current.join(&place.cert), LIMIT)? {
        Some(bytes) => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
        None => Value::Null,
    };
    let key = match machine.read_file_if_exists(current.join(&place.key), LIMIT)?.map(Zeroizing::new) {
        Some(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => public_half(text),
            Err(_) => KeyEvidence::Unusable("it is not text".into()),
        },
        None => KeyEvidence::Missing,
    };
    let ca = match machine.read_file_if_exists(current.join(&place.ca), LIMIT)? {
        Some(bytes) => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
        None => Value::Null,
    };
    let pending = super::pending::look(place, machine)?;
    Ok(Outcome::ok().with("cert", cert).with("key", json!(key)).with("ca", ca).with("pending", pending))
}

impl Install {
    fn carry_out(&self, machine: &mut Machine) -> Result<Outcome, ModuleError> {
        let root = PathBuf::from(&self.place.path);
        let owned = Owned::resolve(&self.ownership, machine)?;
        if let Some(parent) = root.parent() {
            machine.make_directories(parent, &Attributes { mode: Some(0o755), ..Attributes::default() })?;
        }
        machine.make_directory(&root, &owned.directory)?;
        machine.set_attributes(&root, &owned.directory, true)?;

        let current = root.join(CURRENT);
        let before = in_force(&current, machine)?;
        match (&self.fresh, &self.retrust) {
            (Some(fresh), _) => self.replace(fresh, &root, &current, &owned, machine)?,
            (None, Some(retrust)) => self.trust_anew(retrust, &root, &current, &owned, machine)?,
            (None, None) => {
                machine.set_attributes(&current, &owned.directory, true)?;
                machine.set_attributes(current.join(&self.place.cert), &owned.public, true)?;
                machine.set_attributes(current.join(&self.place.key), &owned.key, true)?;
                self.write_authorities(&current, &owned, machine)?;
                if self.place.combined.is_some() {
                    let cert = machine.read_file(current.join(&self.place.cert), LIMIT)?;
                    let key = Zeroizing::new(machine.read_file(current.join(&self.place.key), LIMIT)?);
                    self.write_combined(&current, Some((&cert, &key)), &owned, machine)?;
                }
                self.refuse_unreadable(&current, machine)?;
            }
        }
        let path = |name: &str| current.join(name).to_string_lossy().into_owned();
        let mut outcome = Outcome::ok()
            .with("path", self.place.path.clone())
            .with("cert", path(&self.place.cert))
            .with("key", path(&self.place.key))
            .with("ca", path(&self.place.ca))
            .with("previous", before.map(|name| name.to_string_lossy().into_owned()));
        outcome.data.extend(self.report.clone());
        outcome.unknown_fields.clone_from(&self.unknown);
        Ok(outcome)
    }

    fn replace(
        &self,
        fresh: &Fresh,
        root: &Path,
        current: &Path,
        owned: &Owned,
        machine: &mut Machine,
    ) -> Result<(), ModuleError> {
        let name = vacant(fresh.name.as_deref().unwrap_or(FORESEEN), root, machine)?;
        let folder = root.join(&name);
        let previous = in_force(current, machine)?;
        let cert_path = current.join(&self.place.cert);
        machine.note_certificate(&cert_path.to_string_lossy(), fresh.before.as_deref(), &fresh.after);
        if let Err(error) = self.build(fresh, &folder, owned, machine) {
            if !machine.predicted() {
                // What failed was never live; what is there keeps serving.
                let _ = machine.remove(&folder);
            }
            return Err(error);
        }
        machine.make_link(current, &name)?;
        if fresh.waited {
            super::pending::forget(&self.place, machine)?;
        }
        self.prune(root, &name, previous.as_deref(), machine)
    }

    /// A set that servers may be reading is never changed: the pair moves into a new one, and the old one is a way back.
    fn trust_anew(
        &self,
        retrust: &Retrust,
        root: &Path,
        current: &Path,
        owned: &Owned,
        machine: &mut Machine,
    ) -> Result<(), ModuleError> {
        let previous = in_force(current, machine)?;
        let name = previous.as_deref().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let serial = name.split('.').next().unwrap_or_default();
        // The set before has a part in the name: where its file was edited, the same authorities are another set, too.
        let hash = hex(&Sha256::digest(format!("{name}\n{}", self.ca.as_deref().unwrap_or_default())));
        // One of this name that is not in force was left by a run that went back, or was killed: it is a way back, and is not
        // written over.
        let name = vacant(&format!("{serial}.{}", hash.get(..MARK).unwrap_or_default()), root, machine)?;
        let folder = root.join(&name);
        let key = Zeroizing::new(machine.read_file(current.join(&self.place.key), LIMIT)?);
        let cert = machine.read_file(current.join(&self.place.cert), LIMIT)?;
        let trust_path = current.join(&self.place.ca);
        machine.note_certificate(&trust_path.to_string_lossy(), Some(&retrust.before), &retrust.after);
        let mut build = || -> Result<(), ModuleError> {
            machine.make_directory(&folder, &owned.directory)?;
            write(machine, &folder.join(&self.place.key), Some(&key), &owned.key, true)?;
            write(machine, &folder.join(&self.place.cert), Some(&cert), &owned.public, false)?;
            self.write_authorities(&folder, owned, machine)?;
            self.write_combined(&folder, Some((&cert, &key)), owned, machine)?;
            self.refuse_unreadable(&folder, machine)
        };
        if let Err(error) = build() {
            if !machine.predicted() {
                // It was never live, and it holds a second copy of the key.
                let _ = machine.remove(&folder);
            }
            return Err(error);
        }
        machine.make_link(current, &name)?;
        self.prune(root, &name, previous.as_deref(), machine)
    }

    fn build(&self, fresh: &Fresh, folder: &Path, owned: &Owned, machine: &mut Machine) -> Result<(), ModuleError> {
        machine.make_directory(folder, &owned.directory)?;
        let waited = fresh.waited.then(|| super::pending::key(&self.place, machine)).transpose()?;
        let key = waited.as_ref().map(|key| key.as_slice());
        let key = key.or(fresh.key.as_ref().map(|key| key.expose().as_bytes()));
        write(machine, &folder.join(&self.place.key), key, &owned.key, true)?;
        let cert = fresh.cert.as_ref().map(|cert| cert.as_bytes());
        write(machine, &folder.join(&self.place.cert), cert, &owned.public, false)?;
        self.write_authorities(folder, owned, machine)?;
        self.write_combined(folder, cert.zip(key), owned, machine)?;
        if !machine.predicted() {
            let key = Zeroizing::new(machine.read_file(folder.join(&self.place.key), LIMIT)?);
            let evidence = public_half(&String::from_utf8_lossy(&key));
            if evidence.public() != fresh.public_key.as_deref() {
                return Err(ModuleError::Failed(format!(
                    "the private key in {} is not the one that was written: nothing was put in place",
                    folder.display()
                )));
            }
        }
        self.refuse_unreadable(folder, machine)
    }

    fn write_authorities(&self, folder: &Path, owned: &Owned, machine: &mut Machine) -> Result<(), ModuleError> {
        let ca = self.ca.as_ref().map(|ca| ca.as_bytes());
        write(machine, &folder.join(&self.place.ca), ca, &owned.public, false)
    }

    /// Certificate and key in one file, where that is wanted.
    fn write_combined(
        &self,
        folder: &Path,
        pair: Option<(&[u8], &[u8])>,
        owned: &Owned,
        machine: &mut Machine,
    ) -> Result<(), ModuleError> {
        let Some(name) = &self.place.combined else { return Ok(()) };
        let both = pair.map(|(cert, key)| Zeroizing::new([cert, key].concat()));
        write(machine, &folder.join(name), both.as_ref().map(|both| both.as_slice()), &owned.key, true)
    }

    /// A server that cannot read its new key keeps the old one silently, or does not start.
    fn refuse_unreadable(&self, folder: &Path, machine: &Machine) -> Result<(), ModuleError> {
        for user in &self.readable_by {
            let reader = Reader::of(user, machine)?;
            for name in [&self.place.key, &self.place.cert, &self.place.ca].into_iter().chain(&self.place.combined) {
                let path = folder.join(name);
                if let Some(obstacle) = reader.obstacle(&path, machine)? {
                    return Err(ModuleError::Failed(format!(
                        "the user {user} could not read {}: {obstacle}; set owner, group and modes so that it can",
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Removes sets that are neither in use nor kept for a way back.
    fn prune(
        &self,
        root: &Path,
        current: &str,
        previous: Option<&std::ffi::OsStr>,
        machine: &mut Machine,
    ) -> Result<(), ModuleError> {
        // A serial number, perhaps with a mark of the authorities.
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_set = |name: &str| match name.split_once('.') {
            Some((serial, mark)) => serial.len() == 32 && is_hex(serial) && mark.len() == MARK && is_hex(mark),
            None => name.len() == 32 && is_hex(name),
        };
        let mut old = Vec::new();
        for name in machine.list_directory(root)? {
            if name.to_str().is_some_and(|name| is_set(name) && name != current) {
                let changed = machine.lstat(root.join(&name))?.and_then(|stat: Stat| stat.mtime);
                old.push((Some(name.as_os_str()) == previous, changed, name));
            }
        }
        old.sort();
        old.reverse();
        for (_, _, name) in old.into_iter().skip(self.keep) {
            machine.remove(root.join(name))?;
        }
        Ok(())
    }
}

/// A name for a new set: with a mark where a set of that name lies there, since sets are never written over.
fn vacant(name: &str, root: &Path, machine: &Machine) -> Result<String, ModuleError> {
    let mut free = name.to_string();
    let mut tries = 0u32;
    while machine.lstat(root.join(&free))?.is_some() {
        tries += 1;
        free = format!("{name}.{tries:0MARK$x}");
    }
    Ok(free)
}

/// The set that the link points at.
fn in_force(current: &Path, machine: &Machine) -> Result<Option<std::ffi::OsString>, ModuleError> {
    Ok(match machine.lstat(current)? {
        Some(stat) if stat.is_link() => machine.read_link(current)?.file_name().map(|name| name.to_os_string()),
        _ => None,
    })
}

/// Writes contents, or foresees ones that do not exist yet.
fn write(
    machine: &mut Machine,
    path: &Path,
    bytes: Option<&[u8]>,
    attributes: &Attributes,
    sensitive: bool,
) -> Result<(), ModuleError> {
    let content = match bytes {
        Some(bytes) => NewContent::Bytes(bytes),
        None => NewContent::AtApply("made when it is issued"),
    };
    let options = WriteOptions { attributes: *attributes, sensitive, ..WriteOptions::default() };
    machine.write(path, content, &options, None)?;
    Ok(())
}

/// Ownership with names turned into numbers.
struct Owned {
    directory: Attributes,
    public: Attributes,
    key: Attributes,
}

impl Owned {
    fn resolve(wanted: &Ownership, machine: &Machine) -> Result<Owned, ModuleError> {
        let user = |argument: &str, name: &Option<String>| {
            let find = |name: &String| match machine.resolve_user(name)? {
                Some(id) => Ok(id),
                None => Err(ModuleError::argument(argument, format!("there is no user `{name}` on this host"))),
            };
            name.as_ref().map(find).transpose()
        };
        let group = |argument: &str, name: &Option<String>| {
            let find = |name: &String| match machine.resolve_group(name)? {
                Some(id) => Ok(id),
                None => Err(ModuleError::argument(argument, format!("there is no group `{name}` on this host"))),
            };
            name.as_ref().map(find).transpose()
        };
        let mode = |argument: &str, value: &Option<Value>, usual: u32, directory: bool| {
            let Some(value) = value else { return Ok(usual) };
            let mode: FileMode = serde_json::from_value(value.clone())
                .map_err(|error| ModuleError::argument(argument, error.to_string()))?;
            mode.resolve(usual, directory, 0o022).map_err(|why| ModuleError::argument(argument, why))
        };
        let owner = user("owner", &wanted.owner)?;
        let shared = group("group", &wanted.group)?;
        let key_owner = user("key_owner", &wanted.key_owner)?.or(owner);
        let key_group = group("key_group", &wanted.key_group)?.or(shared);
        // A group that is named is meant to read the key; without one nobody but its owner does.
        let usual_key_mode = if key_group.is_some() { 0o640 } else { 0o600 };
        Ok(Owned {
            directory: Attributes {
                mode: Some(mode("directory_mode", &wanted.directory_mode, 0o755, true)?),
                owner,
                group: shared,
            },
            public: Attributes { mode: Some(mode("mode", &wanted.mode, 0o644, false)?), owner, group: shared },
            key: Attributes {
                mode: Some(mode("key_mode", &wanted.key_mode, usual_key_mode, false)?),
                owner: key_owner,
                group: key_group,
            },
        })
    }
}

/// A user who must be able to read.
struct Reader {
    name: String,
    uid: u32,
    groups: Vec<u32>,
}

impl Reader {
    fn of(name: &str, machine: &Machine) -> Result<Reader, ModuleError> {
        let user = machine.user(name)?.ok_or_else(|| {
            ModuleError::argument("readable_by", format!("there is no user `{name}` on this host: make it first"))
        })?;
        let mut groups = vec![user.gid];
        groups.extend(machine.known_groups().into_iter().filter(|g| g.members.contains(&user.name)).map(|g| g.gid));
        Ok(Reader { name: user.name, uid: user.uid, groups })
    }

    /// What keeps the user from reading `path`: by modes, and in a real run by trying.
    fn obstacle(&self, path: &Path, machine: &Machine) -> Result<Option<String>, ModuleError> {
        let real = machine.real_path(path)?;
        for (depth, step) in real.ancestors().enumerate() {
            let Some(stat) = machine.stat(step)? else {
                return Ok(Some(format!("there is no {}", step.display())));
            };
            let wanted = if depth == 0 { 4 } else { 1 };
            let granted = match () {
                () if stat.uid == self.uid => stat.mode >> 6,
                () if self.groups.contains(&stat.gid) => stat.mode >> 3,
                () => stat.mode,
            };
            if self.uid != 0 && granted & wanted == 0 {
                let verb = if depth == 0 { "is not readable for it" } else { "cannot be entered by it" };
                return Ok(Some(format!("{} (mode {}) {verb}", step.display(), stat.mode_text())));
            }
        }
        if machine.predicted() || !rustix::process::geteuid().is_root() || !machine.has_program("runuser") {
            return Ok(None);
        }
        // Modes are not all: access lists and security modules have their say too.
        let argv = ["runuser", "-u", &self.name, "--", "test", "-r", &real.to_string_lossy()].map(String::from);
        let tried = machine.probe(&crate::machine::Command::new(argv))?;
        Ok((!tried.success()).then(|| "it was tried, and refused although the modes allow it".to_string()))
    }
}
