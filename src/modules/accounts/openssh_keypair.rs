//! `openssh_keypair`: a private key of ssh and its public one, made on the host by its `ssh-keygen`.

use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::machine::{Command, Machine, MachineError, Scratch};
use crate::modules::files::common::{Step, begin, expand, file_arguments, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `community.crypto.openssh_keypair`
pub const OPENSSH_KEYPAIR: Module = Module {
    name: "community.crypto.openssh_keypair",
    aliases: &["openssh_keypair", "community.general.openssh_keypair"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: OpensshKeypair::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// When a key that is there is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regenerate {
    /// Never.
    Never,
    /// Never; one that is not as asked for is a failure.
    Fail,
    /// When its type or size is another one; one that cannot be read is a failure.
    #[default]
    PartialIdempotence,
    /// When its type or size is another one, or it cannot be read.
    FullIdempotence,
    /// Each time.
    Always,
}

file_arguments! {
    /// Makes a pair of ssh's keys, without passphrase, and keeps it.
    ///
    /// The host needs `ssh-keygen`. In a check a new key is known to come, and not what it is.
    pub struct OpensshKeypair {
        /// The private key's file; the public one is beside it, with `.pub`.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// `rsa`, `ecdsa`, `ed25519` or `dsa`.
        #[serde(rename = "type")]
        pub kind: Option<Text>,
        /// Bits: 4096 for rsa, 256 for ecdsa when not given.
        pub size: Option<Int>,
        /// Make it anew each time.
        #[serde(default)]
        pub force: Flag,
        /// A comment in the public key.
        pub comment: Option<Text>,
        /// When a key that is there is made anew: `never`, `fail`, `partial_idempotence`, `full_idempotence`, `always`.
        #[serde(default)]
        pub regenerate: Regenerate,
        /// Keys with a passphrase are not supported yet: an error.
        pub passphrase: Option<Text>,
        /// `auto`: the format of ssh. Others are not supported yet.
        pub private_key_format: Option<Text>,
        /// Accepted for old playbooks: it is always the host's `ssh-keygen`.
        pub backend: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: OpensshKeypair = decode(arguments)?;
    begin(machine, context);
    if arguments.passphrase.as_ref().is_some_and(|passphrase| !passphrase.is_empty()) {
        return Err(ModuleError::argument("passphrase", "keys with a passphrase are not supported yet"));
    }
    if arguments.private_key_format.as_ref().is_some_and(|format| !matches!(&**format, "auto" | "ssh")) {
        return Err(ModuleError::argument("private_key_format", "only `auto`, the format of ssh, is supported yet"));
    }
    let kind = arguments.kind.as_ref().map_or("rsa", |kind| &kind.0);
    let size = size(kind, arguments.size.map(|size| size.0))?;
    let path = expand(machine, &arguments.path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
        let directory = directory.display();
        let why = format!("The directory {directory} does not exist or the file is not a directory");
        return Err(ModuleError::Ended(Box::new(Outcome::failed(why).with("name", directory.to_string()))));
    }
    if machine.stat(&path)?.is_some_and(|stat| stat.is_dir()) {
        return Err(ModuleError::Failed(format!(
            "{} is a directory. Please specify a path to a file.",
            path.display()
        )));
    }
    let public = PathBuf::from(format!("{}.pub", path.display()));
    let mut pair = Pair { path, public, kind, size, unknown: false };
    match arguments.state {
        State::Present => pair.keep(machine, &arguments)?,
        State::Absent => {
            let seen = pair.both(machine)?;
            machine.remove(&pair.path)?;
            machine.remove(&pair.public)?;
            return pair.told(seen.0, seen.1);
        }
    }
    let (key, public) = match pair.unknown {
        true => (None, None),
        false => pair.both(machine)?,
    };
    pair.told(key, public)
}

fn size(kind: &str, given: Option<i64>) -> Step<i64> {
    let failed = |why: &str| Err(ModuleError::Failed(why.into()));
    match (kind, given) {
        ("rsa", None) => Ok(4096),
        ("rsa", Some(size)) if size < 1024 => failed(
            "For RSA keys, the minimum size is 1024 bits and the default is 4096 bits. Attempting to use bit lengths under 1024 will cause the module to fail.",
        ),
        ("rsa", Some(size)) => Ok(size),
        ("dsa", None | Some(1024)) => Ok(1024),
        ("dsa", _) => failed("DSA keys must be exactly 1024 bits as specified by FIPS 186-2."),
        ("ecdsa", None) => Ok(256),
        ("ecdsa", Some(size @ (256 | 384 | 521))) => Ok(size),
        ("ecdsa", _) => failed(
            "For ECDSA keys, size determines the key length by selecting from one of three elliptic curve sizes: 256, 384 or 521 bits.",
        ),
        ("ed25519", _) => Ok(256),
        (other, _) => Err(ModuleError::argument("type", format!("`{other}` is none of rsa, dsa, ecdsa, ed25519"))),
    }
}

struct Pair<'a> {
    path: PathBuf,
    public: PathBuf,
    kind: &'a str,
    size: i64,
    /// In a check: a key is made when it is applied.
    unknown: bool,
}

/// What `ssh-keygen -l` says of a private key.
struct Seen {
    size: i64,
    kind: String,
    fingerprint: String,
}

impl Pair<'_> {
    fn keep(&mut self, machine: &mut Machine, arguments: &OpensshKeypair) -> Step<()> {
        let held = match self.held(machine)? {
            Held::Unknown => return self.foresee(machine, arguments),
            Held::Nothing => None,
            Held::Key(scratch) => Some(scratch),
        };
        let there = held.is_some();
        let (seen, derived) = match &held {
            Some(scratch) => (seen(machine, scratch)?, keygen(machine, scratch, &["-P", "", "-y"])?),
            None => (None, None),
        };
        let regenerate = if arguments.force.0 { Regenerate::Always } else { arguments.regenerate };
        let careful = matches!(regenerate, Regenerate::Never | Regenerate::Fail | Regenerate::PartialIdempotence);
        if there && careful && (seen.is_none() || derived.is_none()) {
            let why = "Unable to read the key. The key is protected with a passphrase or broken. Will not proceed. To force regeneration, call the module with `generate` set to `full_idempotence` or `always`, or with `force=true`.";
            return Err(ModuleError::Failed(why.into()));
        }
        let fits = seen.as_ref().is_some_and(|seen| seen.size == self.size && seen.kind == self.kind);
        let make = match (&seen, regenerate) {
            (None, _) | (_, Regenerate::Always) => true,
            (_, Regenerate::Never) => false,
            (_, Regenerate::Fail) if !fits => {
                let why = "Key has wrong type and/or size. Will not proceed. To force regeneration, call the module with `generate` set to `partial_idempotence`, `full_idempotence` or `always`, or with `force=true`.";
                return Err(ModuleError::Failed(why.into()));
            }
            _ => !fits,
        };
        let comment = arguments.comment.as_ref().map(|comment| comment.0.clone());
        if make {
            if machine.predicted() {
                return self.foresee(machine, arguments);
            }
            let (one, two) = (self.private(machine, arguments)?, self.open(machine, arguments)?);
            let scratch = Scratch::new("keypair")?;
            let file = scratch.path().join("key");
            let (name, size) = (file.to_string_lossy().into_owned(), self.size.to_string());
            let comment = comment.unwrap_or_default();
            let words = ["ssh-keygen", "-q", "-N", "", "-b", &size, "-t", self.kind, "-f", &name, "-C", &comment];
            let output = machine.probe(&Command::new(words))?;
            if !output.success() {
                return Err(ModuleError::Failed(format!("ssh-keygen failed: {}", output.stderr_text().trim())));
            }
            let read = |path: &Path| {
                std::fs::read(path).map_err(|e| ModuleError::Failed(format!("cannot read the new key: {e}")))
            };
            machine.write_file(&self.path, &read(&file)?, &one)?;
            machine.write_file(&self.public, &read(&file.with_extension("pub"))?, &two)?;
            return Ok(());
        }
        let now = self.public_key(machine)?;
        let derived = derived.unwrap_or_default();
        let wanted: Vec<&str> = derived.splitn(3, ' ').collect();
        let mut same = now.as_ref().is_some_and(|now| wanted.get(..2) == Some(&[now.kind.as_str(), &now.key]));
        if let (Some(now), Some(comment)) = (&now, &comment) {
            same &= now.comment == *comment;
        }
        if !same {
            let line = match &comment {
                Some(comment) => format!("{} {comment}", wanted.get(..2).unwrap_or_default().join(" ")),
                None => wanted.get(..2).unwrap_or_default().join(" "),
            };
            let options = self.open(machine, arguments)?;
            machine.write_file(&self.public, format!("{line}\n").as_bytes(), &options)?;
        }
        for path in [&self.path, &self.public] {
            let attributes = arguments.common().resolve(machine, path, true, Kind::File)?;
            machine.set_attributes(path, &attributes, true)?;
        }
        Ok(())
    }

    /// A pair is made when it is applied.
    fn foresee(&mut self, machine: &mut Machine, arguments: &OpensshKeypair) -> Step<()> {
        let (one, two) = (self.private(machine, arguments)?, self.open(machine, arguments)?);
        machine.write(&self.path, NewContent::AtApply("made at apply"), &one, None)?;
        machine.write(&self.public, NewContent::AtApply("made at apply"), &two, None)?;
        self.unknown = true;
        Ok(())
    }

    fn private(&self, machine: &Machine, arguments: &OpensshKeypair) -> Step<WriteOptions> {
        let mut attributes = arguments.common().resolve(machine, &self.path, true, Kind::File)?;
        if machine.stat(&self.path)?.is_none() {
            attributes.mode = attributes.mode.or(Some(0o600));
        }
        Ok(WriteOptions { attributes, follow: true, sensitive: true, ..WriteOptions::default() })
    }

    fn open(&self, machine: &Machine, arguments: &OpensshKeypair) -> Step<WriteOptions> {
        let mut attributes = arguments.common().resolve(machine, &self.public, true, Kind::File)?;
        if machine.stat(&self.public)?.is_none() {
            attributes.mode = attributes.mode.or(Some(0o644));
        }
        Ok(WriteOptions { attributes, follow: true, ..WriteOptions::default() })
    }

    /// The private key that is there, in a check the foreseen one: a copy of it that `ssh-keygen` may read.
    fn held(&self, machine: &Machine) -> Step<Held> {
        let bytes = match machine.read_file_if_exists(&self.path, 1 << 20) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Held::Nothing),
            Err(MachineError::Unknown { .. }) if machine.predicted() => return Ok(Held::Unknown),
            Err(other) => return Err(other.into()),
        };
        let scratch = Scratch::new("keypair")?;
        let file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(scratch.path().join("key"));
        file.and_then(|mut file| file.write_all(&bytes))
            .map_err(|e| ModuleError::Failed(format!("cannot copy the key into a private directory: {e}")))?;
        Ok(Held::Key(scratch))
    }

    /// Both keys as they are now, as far as they are known.
    fn both(&mut self, machine: &Machine) -> Step<(Option<Seen>, Option<Public>)> {
        let private = match self.held(machine)? {
            Held::Key(scratch) => seen(machine, &scratch)?,
            Held::Nothing => None,
            Held::Unknown => {
                self.unknown = true;
                return Ok((None, None));
            }
        };
        match self.public_key(machine) {
            Ok(public) => Ok((private, public)),
            Err(ModuleError::Machine(MachineError::Unknown { .. })) if machine.predicted() => {
                self.unknown = true;
                Ok((None, None))
            }
            Err(other) => Err(other),
        }
    }

    /// The public key as its file has it.
    fn public_key(&self, machine: &Machine) -> Step<Option<Public>> {
        let Some(bytes) = machine.read_file_if_exists(&self.public, 1 << 20)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes).trim_matches([' ', '\n']).to_string();
        let mut words = text.splitn(3, ' ').map(str::to_string);
        let (Some(kind), Some(key)) = (words.next(), words.next()) else { return Ok(None) };
        Ok(Some(Public { kind, key, comment: words.next().unwrap_or_default() }))
    }

    fn told(&self, key: Option<Seen>, public: Option<Public>) -> Step<Outcome> {
        let mut outcome = Outcome::ok()
            .with("size", self.size)
            .with("type", self.kind)
            .with("filename", show(&self.path))
            .with("fingerprint", key.map_or(String::new(), |key| key.fingerprint))
            .with("public_key", public.as_ref().map_or(String::new(), |key| format!("{} {}", key.kind, key.key)))
            .with("comment", public.map_or(String::new(), |key| key.comment));
        if self.unknown {
            outcome.unknown_fields.extend(["fingerprint", "public_key", "comment"].map(String::from));
        }
        Ok(outcome)
    }
}

/// What the path of the private key holds.
enum Held {
    Nothing,
    /// In a check: what is made when it is applied.
    Unknown,
    /// A copy of it, `key` in a private directory.
    Key(Scratch),
}

/// What `ssh-keygen` says of a copy of a key.
fn keygen(machine: &Machine, scratch: &Scratch, words: &[&str]) -> Step<Option<String>> {
    let path = scratch.path().join("key").to_string_lossy().into_owned();
    let words = ["ssh-keygen"].into_iter().chain(words.iter().copied()).chain(["-f", &*path]);
    let output = machine.probe(&Command::new(words))?;
    Ok(output.success().then(|| output.stdout_text().trim_end().to_string()))
}

/// What a key is; nothing where it cannot be read.
fn seen(machine: &Machine, scratch: &Scratch) -> Step<Option<Seen>> {
    let Some(said) = keygen(machine, scratch, &["-l"])? else { return Ok(None) };
    let words: Vec<&str> = said.split_whitespace().collect();
    let kind = words.last().map(|word| word.trim_matches(['(', ')']).to_lowercase());
    let (Some(size), Some(fingerprint), Some(kind)) =
        (words.first().and_then(|size| size.parse().ok()), words.get(1), kind)
    else {
        return Ok(None);
    };
    Ok(Some(Seen { size, kind, fingerprint: fingerprint.to_string() }))
}

struct Public {
    kind: String,
    key: String,
    comment: String,
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pair_is_made_and_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        let task = |more: Value| {
            let mut task = json!({"path": path, "type": "ed25519"});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let first = apply_twice("openssh_keypair", &task(json!({"comment": "me@here"})));
        assert!(first.data["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
        assert_eq!((&first.data["size"], &first.data["comment"]), (&json!(256), &json!("me@here")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let public = scratch.path().join("key.pub");
        std::fs::remove_file(&public).unwrap();
        let restored = apply_twice("openssh_keypair", &task(json!({"comment": "other"})));
        assert_eq!(restored.data["fingerprint"], first.data["fingerprint"]);
        assert!(std::fs::read_to_string(&public).unwrap().ends_with(" other\n"));
        let wrong = task(json!({"type": "ecdsa", "regenerate": "fail"}));
        assert_eq!(check_then_apply("openssh_keypair", &wrong).status, Status::Failed);
        let other = apply_twice("openssh_keypair", &task(json!({"type": "ecdsa"})));
        assert_ne!(other.data["fingerprint"], first.data["fingerprint"]);
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(check_then_apply("openssh_keypair", &task(json!({}))).status, Status::Failed);
        assert!(apply_twice("openssh_keypair", &task(json!({"regenerate": "full_idempotence"}))).changed());
        assert!(apply_twice("openssh_keypair", &task(json!({"state": "absent"}))).changed());
        assert!(!path.exists() && !public.exists());
        for wrong in [json!({"type": "rsa", "size": 512}), json!({"type": "x"}), json!({"path": "/nowhere/key"})] {
            assert_eq!(check_then_apply("openssh_keypair", &task(wrong)).status, Status::Failed);
        }
    }
}
