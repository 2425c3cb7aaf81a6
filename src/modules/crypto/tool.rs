//! The host's `openssl`: run on private copies of what it is to read, and what keys and requests say.

use super::der::{self, Name};
use crate::machine::{Command, Machine, MachineError, Output, Scratch};
use crate::modules::ModuleError;
use crate::modules::files::common::Step;
use serde_json::{Map, Value};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Larger files are no keys and no certificates.
pub(super) const LIMIT: u64 = 4 << 20;

/// A private directory with what `openssl` reads and writes. Keys and passphrases are never among its words.
pub(super) struct Tool {
    scratch: Scratch,
}

impl Tool {
    pub fn new() -> Step<Tool> {
        Ok(Tool { scratch: Scratch::new("openssl")? })
    }

    /// The path of a file in the directory.
    pub fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).to_string_lossy().into_owned()
    }

    /// Keeps a file there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Step<String> {
        let path = self.path(name);
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(|e| ModuleError::Failed(format!("cannot write into the private directory {path}: {e}")))?;
        Ok(path)
    }

    /// Keeps a passphrase there; what `-passin` and `-passout` are told. A file without a line would be refused.
    pub fn secret(&self, name: &str, passphrase: Option<&str>) -> Step<String> {
        // openssl takes the first line for the passphrase, and so much of it: the rest would be cut off in silence.
        if passphrase.is_some_and(|text| text.contains(['\n', '\r', '\0']) || text.len() > 1023) {
            let why = "a passphrase for openssl is one line of at most 1023 bytes, and this one has more: of a value that was \
                       read from a file the end of the line goes with `| trim`";
            return Err(ModuleError::Failed(why.into()));
        }
        let line = format!("{}\n", passphrase.unwrap_or_default());
        Ok(format!("file:{}", self.put(name, line.as_bytes())?))
    }

    pub fn read(&self, name: &str) -> Step<Vec<u8>> {
        let path = self.path(name);
        std::fs::read(&path).map_err(|e| ModuleError::Failed(format!("openssl did not write {path}: {e}")))
    }

    pub fn run(&self, machine: &Machine, words: &[&str]) -> Step<Output> {
        let words = std::iter::once("openssl").chain(words.iter().copied());
        match machine.probe(&Command::new(words)) {
            Err(MachineError::MissingProgram { program, .. }) => {
                Err(MachineError::MissingProgram { program, hint: "; install the package openssl".into() }.into())
            }
            other => Ok(other?),
        }
    }

    /// The same; a failure is told with `what`.
    pub fn good(&self, machine: &Machine, words: &[&str], what: &str) -> Step<Vec<u8>> {
        let output = self.run(machine, words)?;
        if !output.success() {
            return Err(ModuleError::Failed(format!("{what}: {}", last(&output))));
        }
        Ok(output.stdout)
    }

    /// The public key of a private one, as DER; an error is why it cannot be read.
    pub fn public_of(&self, machine: &Machine, key: &[u8], passphrase: Option<&str>) -> Step<Result<Vec<u8>, String>> {
        let encrypted = String::from_utf8_lossy(key).contains("ENCRYPTED");
        match (encrypted, passphrase) {
            (true, None) => return Ok(Err("it is protected with a passphrase".into())),
            (false, Some(_)) => return Ok(Err("it is not protected with a passphrase, and one is given".into())),
            _ => {}
        }
        let file = self.put("read.key", key)?;
        let secret = self.secret("read.pass", passphrase)?;
        let words = ["pkey", "-in", &file, "-passin", &secret, "-pubout", "-outform", "DER"];
        let output = self.run(machine, &words)?;
        Ok(match output.success() {
            true => Ok(output.stdout),
            false => Err(last(&output)),
        })
    }

    /// Digests of a text in all the ways in which Ansible returns them.
    pub fn fingerprints(&self, machine: &Machine, bytes: &[u8]) -> Step<Value> {
        const WAYS: [(&str, &str); 14] = [
            ("md5", "-md5"),
            ("sha1", "-sha1"),
            ("sha224", "-sha224"),
            ("sha256", "-sha256"),
            ("sha384", "-sha384"),
            ("sha512", "-sha512"),
            ("blake2b", "-blake2b512"),
            ("blake2s", "-blake2s256"),
            ("sha3_224", "-sha3-224"),
            ("sha3_256", "-sha3-256"),
            ("sha3_384", "-sha3-384"),
            ("sha3_512", "-sha3-512"),
            ("shake_128", "-shake128"),
            ("shake_256", "-shake256"),
        ];
        let file = self.put("digest", bytes)?;
        let mut all = Map::new();
        for (name, way) in WAYS {
            let mut words = vec!["dgst", "-binary", way];
            if name.starts_with("shake") {
                words.extend(["-xoflen", "32"]);
            }
            words.push(&file);
            let output = self.run(machine, &words)?;
            // Not every build has all of them.
            if output.success() && !output.stdout.is_empty() {
                all.insert(name.into(), colons(&output.stdout).into());
            }
        }
        Ok(Value::Object(all))
    }
}

/// The last line that `openssl` complained with.
pub(super) fn last(output: &Output) -> String {
    let text = output.stderr_text();
    let last = text.trim().lines().last().unwrap_or("it does not say why");
    // It begins with the number of a thread, another one each time: `40CC498CA17F0000:error:…`.
    match last.split_once(':') {
        Some((thread, rest)) if !thread.is_empty() && thread.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            rest.to_string()
        }
        _ => last.to_string(),
    }
}

/// Bytes as `ab:cd:…`.
pub(super) fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A value in a configuration of openssl.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::new();
    for letter in value.chars() {
        if matches!(letter, '\\' | '$' | '#' | '"' | '\'' | '`') {
            text.push('\\');
        }
        text.push(if letter == '\n' || letter == '\r' { ' ' } else { letter });
    }
    text
}

/// What is known of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyKind {
    /// Ansible's name: `RSA`, `ECC`, `Ed25519` …
    pub kind: &'static str,
    /// Bits of an RSA key.
    pub size: Option<i64>,
    /// Object identifier of a curve.
    pub curve: Option<String>,
}

/// Reads what kind of key a public key is.
pub(super) fn key_kind(spki: &[u8]) -> Option<KeyKind> {
    let (algorithm, bits) = der::public_key(spki)?;
    let plain = |kind| Some(KeyKind { kind, size: None, curve: None });
    match algorithm.oid.as_str() {
        "1.2.840.113549.1.1.1" => {
            let size = der::rsa_bits(bits)?;
            Some(KeyKind { kind: "RSA", size: Some(size), curve: None })
        }
        "1.2.840.10045.2.1" => Some(KeyKind { kind: "ECC", size: None, curve: algorithm.parameter }),
        "1.2.840.10040.4.1" => plain("DSA"),
        "1.3.101.110" => plain("X25519"),
        "1.3.101.111" => plain("X448"),
        "1.3.101.112" => plain("Ed25519"),
        "1.3.101.113" => plain("Ed448"),
        _ => None,
    }
}

/// A name as a mapping and as a list of pairs.
pub(super) fn name_values(name: &Name) -> (Value, Value) {
    let mut map = Map::new();
    let mut list = Vec::new();
    for (kind, value) in name {
        let kind = long_name(kind);
        map.insert(kind.clone(), value.clone().into());
        list.push(Value::from(vec![kind, value.clone()]));
    }
    (Value::Object(map), Value::Array(list))
}

/// Attributes of names: object identifier, long name, short name.
pub(super) const ATTRIBUTES: [(&str, &str, &str); 15] = [
    ("2.5.4.3", "commonName", "CN"),
    ("2.5.4.4", "surname", "SN"),
    ("2.5.4.5", "serialNumber", "serialNumber"),
    ("2.5.4.6", "countryName", "C"),
    ("2.5.4.7", "localityName", "L"),
    ("2.5.4.8", "stateOrProvinceName", "ST"),
    ("2.5.4.9", "streetAddress", "street"),
    ("2.5.4.10", "organizationName", "O"),
    ("2.5.4.11", "organizationalUnitName", "OU"),
    ("2.5.4.12", "title", "title"),
    ("2.5.4.42", "givenName", "GN"),
    ("2.5.4.17", "postalCode", "postalCode"),
    ("1.2.840.113549.1.9.1", "emailAddress", "emailAddress"),
    ("0.9.2342.19200300.100.1.1", "userId", "UID"),
    ("0.9.2342.19200300.100.1.25", "domainComponent", "DC"),
];

/// The long name of an attribute's object identifier.
fn long_name(oid: &str) -> String {
    let known = ATTRIBUTES.iter().find(|(known, ..)| *known == oid);
    known.map_or_else(|| oid.to_string(), |(_, long, _)| long.to_string())
}
