//! `openssl_privatekey`: a private key in a file.

use super::tool::{KeyKind, LIMIT, Tool, key_kind};
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::machine::{Machine, MachineError};
use crate::modules::files::common::{Step, begin, expand, remove, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// `community.crypto.openssl_privatekey`
pub const PRIVATEKEY: Module = Module {
    name: "community.crypto.openssl_privatekey",
    aliases: &["openssl_privatekey"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Privatekey::ARGUMENTS,
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
    /// When it is not as asked for; one that cannot be read is a failure.
    PartialIdempotence,
    /// When it is not as asked for, or cannot be read.
    #[default]
    FullIdempotence,
    /// Each time.
    Always,
}

/// The form of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Each kind of key in its own form.
    Pkcs1,
    /// One form for all.
    Pkcs8,
    /// PKCS#1 for RSA and curves, PKCS#8 for the others.
    Auto,
    /// The same; a file that is there may have another.
    #[default]
    AutoIgnore,
}

/// What becomes of a file of another form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    /// A new key.
    #[default]
    Regenerate,
    /// The same key in the other form.
    Convert,
}

twin_arguments! {
    shared Wish {
        /// `RSA`, `ECC`, `Ed25519`, `Ed448`, `X25519` or `X448`.
        #[serde(rename = "type")]
        pub kind: Option<Text>,
        /// Bits of an RSA key; 4096 when not given.
        pub size: Option<Int>,
        /// The curve of an ECC key: `secp256r1`, `secp384r1`, `secp521r1` …
        pub curve: Option<Text>,
        /// Encrypts the key.
        pub passphrase: Option<Text>,
        /// `auto`: AES with 256 bits.
        pub cipher: Option<Text>,
        /// `pkcs1`, `pkcs8`, `auto`, or `auto_ignore` for auto where a key that is there may have another.
        #[serde(default)]
        pub format: Format,
        /// `regenerate` or `convert` a key of another form.
        #[serde(default)]
        pub format_mismatch: Mismatch,
        /// When a key that is there is made anew: `never`, `fail`, `partial_idempotence`, `full_idempotence`, `always`.
        #[serde(default)]
        pub regenerate: Regenerate,
        /// Accepted for old playbooks: it is always the program `openssl`.
        pub select_crypto_backend: Option<Text>,
    }

    /// Makes a private key and keeps it.
    ///
    /// The host needs the program `openssl`, and no Python. The key never leaves the host, and no diff shows it; a check
    /// knows that one is made, and not what it is.
    file Privatekey {
        /// The file. It gets mode 0600 where `mode` says nothing else.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Make it anew each time.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return the key, too (`privatekey`). It is in every log, then.
        #[serde(default)]
        pub return_content: Flag,
    }

    /// Makes a private key and returns it (`privatekey`), or says that the one it is given is as it should be.
    ///
    /// This is done on the controller, as Ansible does it, by the controller's program `openssl`; what the task returns can be
    /// encrypted with the vault and kept. A key that is made is masked wherever it would be shown. Ansible pays no heed to a
    /// check and makes a key that nobody keeps; here a check says that one is made, and what it is counts as not known.
    pipe PrivatekeyPipe {
        /// The key that there is.
        pub content: Option<Text>,
        /// Whether it is given in base64.
        #[serde(default)]
        pub content_base64: Flag,
        /// Return the key also where none was made. It is masked, too.
        #[serde(default)]
        pub return_current_key: Flag,
    }
}

const KINDS: [&str; 6] = ["RSA", "ECC", "Ed25519", "Ed448", "X25519", "X448"];

/// Ansible's curves: name, openssl's name, object identifier.
const CURVES: [(&str, &str, &str); 9] = [
    ("secp192r1", "prime192v1", "1.2.840.10045.3.1.1"),
    ("secp224r1", "secp224r1", "1.3.132.0.33"),
    ("secp256r1", "prime256v1", "1.2.840.10045.3.1.7"),
    ("secp256k1", "secp256k1", "1.3.132.0.10"),
    ("secp384r1", "secp384r1", "1.3.132.0.34"),
    ("secp521r1", "secp521r1", "1.3.132.0.35"),
    ("brainpoolP256r1", "brainpoolP256r1", "1.3.36.3.3.2.8.1.1.7"),
    ("brainpoolP384r1", "brainpoolP384r1", "1.3.36.3.3.2.8.1.1.11"),
    ("brainpoolP512r1", "brainpoolP512r1", "1.3.36.3.3.2.8.1.1.13"),
];

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Privatekey = decode(arguments)?;
    begin(machine, context);
    let maker = Maker::of(arguments.shared())?;
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let mut outcome = maker.told().with("filename", show(&path));
    let mut options = options(machine, &arguments, &path)?;
    options.backup = arguments.backup.0;
    if arguments.state == State::Absent {
        return Ok(remove(machine, &path, arguments.backup.0, outcome)?.with("fingerprint", Value::Null));
    }
    let key = match maker.work(machine, before.as_deref(), arguments.force.0)? {
        Work::Nothing => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        _ if machine.predicted() => {
            let written = machine.write(&path, NewContent::AtApply("made at apply"), &options, None)?;
            if arguments.backup.0 && before.is_some() && written.changed {
                outcome.unknown_fields.push("backup_file".into());
            }
            outcome.unknown_fields.push("fingerprint".into());
            if arguments.return_content.0 {
                outcome.unknown_fields.push("privatekey".into());
            }
            None
        }
        work => {
            let key = maker.make(machine, before.as_deref().filter(|_| work == Work::Convert))?;
            let written = machine.write(&path, NewContent::Bytes(&key), &options, None)?;
            if let Some(backup) = written.backup {
                outcome = outcome.with("backup_file", show(&backup));
            }
            Some(key)
        }
    };
    if let Some(key) = key {
        outcome = outcome.with("fingerprint", maker.fingerprint(machine, &key)?);
        if arguments.return_content.0 {
            outcome = outcome.with("privatekey", String::from_utf8_lossy(&key));
        }
    }
    Ok(outcome)
}

fn options(machine: &Machine, arguments: &Privatekey, path: &Path) -> Step<WriteOptions> {
    let mut attributes = arguments.common().resolve(machine, path, true, Kind::File)?;
    attributes.mode = attributes.mode.or(Some(0o600));
    Ok(WriteOptions { attributes, follow: true, sensitive: true, ..WriteOptions::default() })
}

/// The directory must be there, as for Ansible's modules.
pub(super) fn base_directory(machine: &Machine, path: &Path) -> Step<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
        return Ok(());
    }
    let directory = directory.display().to_string();
    let why = format!("The directory {directory} does not exist or the file is not a directory");
    Err(ModuleError::Ended(Box::new(Outcome::failed(why).with("name", directory))))
}

/// What is to be done with the key that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It stays.
    Nothing,
    /// There is to be a new one.
    Make,
    /// It gets the other form.
    Convert,
}

/// Makes the key that is wished for.
pub(super) struct Maker<'a> {
    wish: Wish<'a>,
    tool: Tool,
    wanted: KeyKind,
    size: i64,
    /// Ansible's name of the curve, and openssl's.
    curve: Option<(&'static str, &'static str)>,
    traditional: bool,
    passphrase: Option<&'a str>,
}

impl<'a> Maker<'a> {
    pub fn of(wish: Wish<'a>) -> Step<Maker<'a>> {
        let kind = wish.kind.as_ref().map_or("RSA", |kind| &kind.0);
        let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
            return Err(ModuleError::argument("type", format!("`{kind}` is none of {}", KINDS.join(", "))));
        };
        let size = wish.size.as_ref().map_or(4096, |size| size.0);
        let curve = match (kind, &wish.curve) {
            ("ECC", None) => {
                return Err(ModuleError::Failed("type is ECC but all of the following are missing: curve".into()));
            }
            (_, None) => None,
            (_, Some(name)) => Some(CURVES.iter().find(|(known, ..)| *known == &**name).ok_or_else(|| {
                let known: Vec<&str> = CURVES.iter().map(|(name, ..)| *name).collect();
                ModuleError::argument("curve", format!("`{}` is none of {}", &**name, known.join(", ")))
            })?),
        };
        if wish.cipher.as_ref().is_some_and(|cipher| &**cipher != "auto") {
            return Err(ModuleError::Failed("Cryptography backend can only use \"auto\" for cipher option.".into()));
        }
        Ok(Maker {
            wish,
            tool: Tool::new()?,
            wanted: KeyKind {
                kind,
                size: (kind == "RSA").then_some(size),
                curve: curve.filter(|_| kind == "ECC").map(|(.., oid)| oid.to_string()),
            },
            size,
            curve: curve.map(|(name, other, _)| (*name, *other)),
            traditional: match wish.format {
                Format::Pkcs1 => true,
                Format::Pkcs8 => false,
                Format::Auto | Format::AutoIgnore => matches!(kind, "RSA" | "ECC"),
            },
            passphrase: wish.passphrase.as_ref().map(|passphrase| passphrase.0.as_str()),
        })
    }

    /// What is returned whatever becomes of it.
    pub fn told(&self) -> Outcome {
        let outcome = Outcome::ok().with("type", self.wanted.kind).with("size", self.size);
        match self.wanted.kind {
            "ECC" => outcome.with("curve", self.curve.map(|(name, _)| name)),
            _ => outcome,
        }
    }

    /// The digests of its public key; nothing where it cannot be read.
    pub fn fingerprint(&self, machine: &Machine, key: &[u8]) -> Step<Value> {
        let public = self.tool.public_of(machine, key, self.passphrase)?.ok();
        let prints = public.map(|public| self.tool.fingerprints(machine, &public)).transpose()?;
        Ok(prints.unwrap_or(Value::Null))
    }

    /// What is to be done with the key that is there.
    pub fn work(&self, machine: &Machine, before: Option<&[u8]>, force: bool) -> Step<Work> {
        let regenerate = if force { Regenerate::Always } else { *self.wish.regenerate };
        let Some(before) = before.filter(|_| regenerate != Regenerate::Always) else { return Ok(Work::Make) };
        let advice = " Will not proceed. To force regeneration, call the module with `regenerate` set to";
        let again = "`full_idempotence` or `always`, or with `force=true`.";
        let anew = matches!(regenerate, Regenerate::PartialIdempotence | Regenerate::FullIdempotence);
        let public = match self.tool.public_of(machine, before, self.passphrase)? {
            Ok(public) => public,
            Err(_) if regenerate == Regenerate::FullIdempotence => return Ok(Work::Make),
            Err(why) => {
                return Err(ModuleError::Failed(format!(
                    "Unable to read the key. The key is protected with a another passphrase / no passphrase or broken ({why}).{advice} {again}"
                )));
            }
        };
        if regenerate != Regenerate::Never && key_kind(&public).as_ref() != Some(&self.wanted) {
            return match anew {
                true => Ok(Work::Make),
                false => Err(ModuleError::Failed(format!(
                    "Key has wrong type and/or size.{advice} `partial_idempotence`, {again}"
                ))),
            };
        }
        let text = String::from_utf8_lossy(before);
        let is_traditional = !text.contains("BEGIN PRIVATE KEY") && !text.contains("BEGIN ENCRYPTED PRIVATE KEY");
        if *self.wish.format == Format::AutoIgnore || is_traditional == self.traditional {
            return Ok(Work::Nothing);
        }
        match (self.wish.format_mismatch, regenerate) {
            (Mismatch::Convert, _) => Ok(Work::Convert),
            (Mismatch::Regenerate, Regenerate::Never) => Ok(Work::Nothing),
            (Mismatch::Regenerate, _) if anew => Ok(Work::Make),
            _ => Err(ModuleError::Failed(format!(
                "Key has wrong format.{advice} `partial_idempotence`, {again} To convert the key, set `format_mismatch` to `convert`."
            ))),
        }
    }

    /// A new key, or an old one in another form.
    pub fn make(&self, machine: &Machine, old: Option<&[u8]>) -> Step<Vec<u8>> {
        let tool = &self.tool;
        let secret = tool.secret("pass", self.passphrase)?;
        let source = tool.path("made.key");
        match old {
            Some(old) => drop(tool.put("made.key", old)?),
            None => {
                let size = format!("rsa_keygen_bits:{}", self.size);
                let curve = format!("ec_paramgen_curve:{}", self.curve.map_or("", |(_, name)| name));
                let mut words = vec!["genpkey", "-out", &source, "-algorithm"];
                match self.wanted.kind {
                    "RSA" => words.extend(["RSA", "-pkeyopt", &size]),
                    "ECC" => words.extend(["EC", "-pkeyopt", &curve, "-pkeyopt", "ec_param_enc:named_curve"]),
                    other => words.push(other),
                }
                tool.good(machine, &words, "openssl cannot make the key")?;
            }
        }
        let made = tool.path("formed.key");
        let mut words = vec!["pkey", "-in", &source, "-out", &made];
        // openssl reads the next line of a file that is named twice.
        let opens = tool.secret("old.pass", self.passphrase)?;
        if old.is_some() && self.passphrase.is_some() {
            words.extend(["-passin", &opens]);
        }
        if self.passphrase.is_some() {
            words.extend(["-aes256", "-passout", &secret]);
        }
        if self.traditional {
            words.push("-traditional");
        }
        tool.good(machine, &words, "openssl cannot write the key")?;
        tool.read("formed.key")
    }
}

/// The contents of a key that another task may make: nothing in a check that does not know them.
pub(super) fn contents(machine: &Machine, path: &Path, what: &str) -> Step<Option<Vec<u8>>> {
    match machine.read_file_if_exists(path, LIMIT) {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(ModuleError::Failed(format!("The {what} {} does not exist", path.display()))),
        Err(MachineError::Unknown { .. }) if machine.predicted() => Ok(None),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice, check_then_apply};
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_kept_and_converted() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        let task = |more: Value| {
            let mut task = json!({"path": path, "type": "ECC", "curve": "secp256r1"});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let text = || std::fs::read_to_string(&path).unwrap();
        let first = apply_twice("openssl_privatekey", &task(json!({})));
        assert!(text().starts_with("-----BEGIN EC PRIVATE KEY"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.data["fingerprint"]["sha256"].as_str().unwrap().len(), 95);
        let hidden = serde_json::to_string(&first.changes).unwrap();
        assert!(!hidden.contains("BEGIN"), "{hidden}");
        let convert = json!({"format": "pkcs8", "format_mismatch": "convert"});
        let second = apply_twice("openssl_privatekey", &task(convert));
        assert!(text().starts_with("-----BEGIN PRIVATE KEY"));
        assert_eq!(first.data["fingerprint"], second.data["fingerprint"]);
        assert!(!check_then_apply("openssl_privatekey", &task(json!({}))).changed(), "auto_ignore");
        assert!(apply_twice("openssl_privatekey", &task(json!({"passphrase": "one two"}))).changed());
        assert!(text().contains("ENCRYPTED"));
        let locked = apply("openssl_privatekey", &task(json!({"passphrase": "one two"})));
        let convert = json!({"passphrase": "one two", "format": "pkcs8", "format_mismatch": "convert"});
        assert!(apply_twice("openssl_privatekey", &task(convert)).changed());
        let opened = apply("openssl_privatekey", &task(json!({"passphrase": "one two"})));
        assert_eq!(opened.data["fingerprint"], locked.data["fingerprint"], "converted with its passphrase");
        for cut in ["one\ntwo".to_string(), "x".repeat(1024)] {
            let refused = apply("openssl_privatekey", &task(json!({"passphrase": cut})));
            assert!(refused.msg.unwrap().contains("| trim"));
        }
        let wrong = task(json!({"passphrase": "other", "regenerate": "partial_idempotence"}));
        assert_eq!(check_then_apply("openssl_privatekey", &wrong).status, Status::Failed);
        assert!(apply_twice("openssl_privatekey", &task(json!({"type": "Ed25519", "backup": true}))).changed());
        let wrong = task(json!({"type": "RSA", "regenerate": "fail"}));
        assert_eq!(check_then_apply("openssl_privatekey", &wrong).status, Status::Failed);
        let rsa = apply_twice("openssl_privatekey", &task(json!({"type": "RSA", "size": 1024, "mode": "0640"})));
        assert!(rsa.changed() && text().starts_with("-----BEGIN RSA PRIVATE KEY"));
        let gone = apply_twice("openssl_privatekey", &task(json!({"state": "absent", "backup": true})));
        let copy = std::fs::read_to_string(gone.data["backup_file"].as_str().unwrap()).unwrap();
        assert!(gone.changed() && copy.contains("BEGIN RSA"));
        for wrong in
            [json!({"curve": "x"}), json!({"type": "Q"}), json!({"path": "/nowhere/key"}), json!({"cipher": "des"})]
        {
            assert_eq!(check_then_apply("openssl_privatekey", &task(wrong)).status, Status::Failed);
        }
    }
}
