//! `openssl_pkcs12`: a key and its certificates in one archive, and out of one.

use super::der;
use super::privatekey::{base_directory, contents};
use super::tool::{LIMIT, Tool, last};
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, file_arguments, remove, show};
use crate::modules::files::lineinfile::State;
use crate::modules::programs::exclusive;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// `community.crypto.openssl_pkcs12`
pub const PKCS12: Module = Module {
    name: "community.crypto.openssl_pkcs12",
    aliases: &["openssl_pkcs12"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Pkcs12::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Which way it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Into an archive.
    #[default]
    Export,
    /// Out of one.
    Parse,
}

/// Who must be able to read the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Programs of today: AES with 256 bits.
    #[default]
    Auto,
    /// Older ones, too: 3DES and SHA-1.
    Compatibility2022,
}

file_arguments! {
    /// Puts a private key and certificates into an archive (PKCS#12, `.p12`, `.pfx`), or takes them out of one into a file in PEM.
    ///
    /// The host needs the program `openssl`. An archive is made anew where it does not hold this key, these certificates and this
    /// name, or cannot be opened with the passphrase. What is written gets mode 0400 where `mode` says nothing else. An archive
    /// without a passphrase is not encrypted.
    pub struct Pkcs12 {
        /// The file that is written.
        pub path: Text,
        /// `export` (into an archive) or `parse` (out of one).
        #[serde(default)]
        pub action: Action,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// The archive to read, for `parse`.
        pub src: Option<Text>,
        /// The name of the key in the archive; needed for `export`.
        #[serde(alias = "name")]
        pub friendly_name: Option<Text>,
        /// The private key's file.
        pub privatekey_path: Option<Text>,
        /// The private key itself.
        pub privatekey_content: Option<Text>,
        /// The private key's passphrase.
        pub privatekey_passphrase: Option<Text>,
        /// The file of its certificate.
        pub certificate_path: Option<Text>,
        /// The certificate itself.
        pub certificate_content: Option<Text>,
        /// Files of other certificates: the authorities that lead to it.
        #[serde(alias = "ca_certificates")]
        pub other_certificates: Option<TextList>,
        /// The other certificates themselves.
        pub other_certificates_content: Option<TextList>,
        /// Take all certificates of such a file or text, not only the first.
        #[serde(default)]
        pub other_certificates_parse_all: Flag,
        /// The archive's passphrase.
        pub passphrase: Option<Text>,
        /// `auto`, or `compatibility2022` for what older programs can read.
        #[serde(default)]
        pub encryption_level: Encryption,
        /// How often the passphrase is hashed; 50000 when not given.
        pub iter_size: Option<Int>,
        /// Accepted for old playbooks: it is as often as `iter_size` says.
        pub maciter_size: Option<Int>,
        /// Make it anew each time.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return what the file holds, in base64 (`pkcs12`). A key is in every log, then.
        #[serde(default)]
        pub return_content: Flag,
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Pkcs12 = decode(arguments)?;
    begin(machine, context);
    arguments.validate()?;
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let mut outcome = Outcome::ok().with("filename", show(&path));
    if let Some(key) = &arguments.privatekey_path {
        outcome = outcome.with("privatekey_path", key.0.clone());
    }
    if arguments.state == State::Absent {
        let outcome = remove(machine, &path, arguments.backup.0, outcome)?;
        return Ok(if arguments.return_content.0 { outcome.with("pkcs12", Value::Null) } else { outcome });
    }
    let mut attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    attributes.mode = attributes.mode.or(Some(0o400));
    let backup = arguments.backup.0;
    let options = WriteOptions { attributes, follow: true, backup, sensitive: true, ..WriteOptions::default() };
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let tool = Tool::new()?;
    let made = match arguments.action {
        Action::Export => arguments.export(machine, &tool, before.as_deref())?,
        Action::Parse => arguments.parse(machine, &tool, before.as_deref())?,
    };
    let content = match made {
        Made::Stays => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        Made::AtApply => {
            let existed = before.is_some();
            machine.write(&path, NewContent::AtApply("made at apply"), &options, None)?;
            outcome.unknown_fields.extend((backup && existed).then(|| "backup_file".into()));
            outcome.unknown_fields.extend(arguments.return_content.0.then(|| "pkcs12".into()));
            None
        }
        Made::New(new) => {
            let written = machine.write(&path, NewContent::Bytes(&new), &options, None)?;
            if let Some(copy) = written.backup {
                outcome = outcome.with("backup_file", show(&copy));
            }
            Some(new)
        }
    };
    if let Some(content) = content.filter(|_| arguments.return_content.0) {
        outcome = outcome.with("pkcs12", base64::engine::general_purpose::STANDARD.encode(content));
    }
    let mode = options.attributes.mode.unwrap_or(0o400);
    Ok(outcome.with("mode", format!("{mode:04o}")))
}

/// What becomes of the file.
enum Made {
    /// It holds what it should.
    Stays,
    /// A check foresees another one.
    AtApply,
    /// Another one.
    New(Vec<u8>),
}

/// What is in an archive, or is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    /// The key in the older form of PEM, without a passphrase.
    key: Option<Vec<u8>>,
    /// The key's certificate, in PEM.
    certificate: Option<String>,
    others: Vec<String>,
    /// The key's name, as it was given or as openssl prints it.
    name: Option<Vec<u8>>,
}

impl Parts {
    /// Whether an archive holds what it should; the order of certificates does not count, and a name is the key's.
    fn is(&self, wanted: &Parts) -> bool {
        let certificates = |parts: &Parts| -> (Option<Vec<u8>>, BTreeSet<Vec<u8>>) {
            let der = |pem: &String| der::pem(pem.as_bytes()).unwrap_or_default();
            let mut others: BTreeSet<Vec<u8>> = parts.others.iter().map(der).collect();
            let own = parts.certificate.as_ref().map(der);
            match parts.key {
                Some(_) => (own, others),
                // Which of them was meant is not to be seen without a key.
                None => {
                    others.extend(own);
                    (None, others)
                }
            }
        };
        // Of each letter openssl prints the lower byte, some versions the letter.
        let printed = |name: &Vec<u8>| -> Vec<u8> {
            String::from_utf8_lossy(name).encode_utf16().map(|unit| unit.to_le_bytes()[0]).collect()
        };
        let named = self.name == wanted.name || self.name == wanted.name.as_ref().map(printed);
        self.key == wanted.key && certificates(self) == certificates(wanted) && (self.key.is_none() || named)
    }

    /// All of it in PEM, one after the other.
    fn text(&self) -> Vec<u8> {
        let mut text = self.key.clone().unwrap_or_default();
        for certificate in self.certificate.iter().chain(&self.others) {
            text.extend(certificate.as_bytes());
        }
        text
    }
}

impl Pkcs12 {
    fn validate(&self) -> Step<()> {
        for (path, content, one, other) in [
            (
                self.privatekey_path.is_some(),
                self.privatekey_content.is_some(),
                "privatekey_path",
                "privatekey_content",
            ),
            (
                self.certificate_path.is_some(),
                self.certificate_content.is_some(),
                "certificate_path",
                "certificate_content",
            ),
            (
                self.other_certificates.is_some(),
                self.other_certificates_content.is_some(),
                "other_certificates",
                "other_certificates_content",
            ),
        ] {
            exclusive(&[(one, path), (other, content)])?;
        }
        if self.action == Action::Parse && self.src.is_none() {
            return Err(ModuleError::Failed("action is parse but all of the following are missing: src".into()));
        }
        match self.iter_size {
            Some(Int(times)) if times < 1 => Err(ModuleError::argument("iter_size", "it is at least 1")),
            _ => Ok(()),
        }
    }

    fn export(&self, machine: &Machine, tool: &Tool, before: Option<&[u8]>) -> Step<Made> {
        let Some(wanted) = self.wanted(machine, tool)? else { return Ok(Made::AtApply) };
        if let Some(before) = before.filter(|_| !self.force.0)
            && opened(machine, tool, before, self.passphrase())?.is_ok_and(|there| there.is(&wanted))
        {
            return Ok(Made::Stays);
        }
        if wanted.name.as_ref().is_none_or(Vec::is_empty) {
            return Err(ModuleError::Failed("Friendly_name is required".into()));
        }
        match machine.predicted() {
            // Salts are others each time.
            true => Ok(Made::AtApply),
            false => self.pack(machine, tool, &wanted).map(Made::New),
        }
    }

    fn parse(&self, machine: &Machine, tool: &Tool, before: Option<&[u8]>) -> Step<Made> {
        let Some(src) = &self.src else { return Ok(Made::Stays) };
        let Some(archive) = contents(machine, &expand(machine, src)?, "archive")? else { return Ok(Made::AtApply) };
        let parts = opened(machine, tool, &archive, self.passphrase())?
            .map_err(|why| ModuleError::Failed(format!("the archive {} cannot be opened: {why}", src.0)))?;
        let text = parts.text();
        Ok(if before == Some(&text) && !self.force.0 { Made::Stays } else { Made::New(text) })
    }

    fn passphrase(&self) -> Option<&str> {
        self.passphrase.as_ref().map(|passphrase| passphrase.0.as_str())
    }

    /// What the archive is to hold; nothing in a check that does not know all of it.
    fn wanted(&self, machine: &Machine, tool: &Tool) -> Step<Option<Parts>> {
        let read = |path: &Option<Text>, content: &Option<Text>, what: &str| -> Step<Option<Option<Vec<u8>>>> {
            match (path, content) {
                (_, Some(content)) => Ok(Some(Some(content.0.clone().into_bytes()))),
                (Some(path), None) => contents(machine, &expand(machine, path)?, what).map(Some),
                (None, None) => Ok(None),
            }
        };
        let key = read(&self.privatekey_path, &self.privatekey_content, "private key")?;
        let certificate = read(&self.certificate_path, &self.certificate_content, "certificate")?;
        let mut texts = Vec::new();
        for path in self.other_certificates.iter().flat_map(|paths| &paths.0) {
            texts.push(contents(machine, &expand(machine, &Text(path.clone()))?, "certificate")?);
        }
        let others = self.other_certificates_content.iter().flat_map(|texts| &texts.0);
        texts.extend(others.map(|text| Some(text.clone().into_bytes())));
        let (Some(key), Some(certificate), Some(texts)) =
            (flat(key), flat(certificate), texts.into_iter().collect::<Option<Vec<_>>>())
        else {
            return Ok(None);
        };
        let mut parts =
            Parts { name: self.friendly_name.as_ref().map(|name| name.0.clone().into_bytes()), ..Parts::default() };
        if let Some(key) = key {
            let passphrase = self.privatekey_passphrase.as_ref().map(|passphrase| passphrase.0.as_str());
            if let Err(why) = tool.public_of(machine, &key, passphrase)? {
                return Err(ModuleError::Failed(format!("the private key cannot be read: {why}")));
            }
            parts.key = Some(plain(machine, tool, &key, passphrase)?);
        }
        let first = |text: Vec<u8>| -> Step<Vec<String>> {
            let all = certificates(&String::from_utf8_lossy(&text));
            match all.is_empty() {
                true => Err(ModuleError::Failed("a text is no certificate in PEM".into())),
                false => Ok(all),
            }
        };
        if let Some(certificate) = certificate {
            parts.certificate = first(certificate)?.into_iter().next();
        }
        for text in texts {
            let all = first(text)?;
            let count = if self.other_certificates_parse_all.0 { all.len() } else { 1 };
            parts.others.extend(all.into_iter().take(count));
        }
        if parts.key.is_none() && parts.certificate.is_none() && parts.others.is_empty() {
            return Err(ModuleError::Failed(
                "there is nothing to put into the archive: give privatekey_path, certificate_path or other_certificates".into(),
            ));
        }
        Ok(Some(parts))
    }

    /// The archive.
    fn pack(&self, machine: &Machine, tool: &Tool, parts: &Parts) -> Step<Vec<u8>> {
        let made = tool.path("made.p12");
        let mut own = parts.certificate.clone().unwrap_or_default();
        if parts.key.is_none() {
            parts.others.iter().for_each(|other| own += other);
        }
        let own = tool.put("own.crt", own.as_bytes())?;
        let others = tool.put("others.crt", parts.others.concat().as_bytes())?;
        let key = tool.put("pack.key", parts.key.as_deref().unwrap_or_default())?;
        let secret = tool.secret("pack.pass", self.passphrase())?;
        let times = self.iter_size.map_or(50_000, |times| times.0).to_string();
        let name = self.friendly_name.as_ref().map_or("", |name| name.0.as_str());
        let mut words = vec!["pkcs12", "-export", "-out", &made, "-passout", &secret, "-iter", &times, "-name", name];
        match (&parts.key, &parts.certificate) {
            (Some(_), Some(_)) => words.extend(["-inkey", &key, "-in", &own]),
            (Some(_), None) => words.extend(["-nocerts", "-inkey", &key, "-in", &key]),
            (None, _) => words.extend(["-nokeys", "-in", &own]),
        }
        if parts.key.is_some() && !parts.others.is_empty() {
            words.extend(["-certfile", &others]);
        }
        match (self.passphrase().is_none_or(str::is_empty), self.encryption_level) {
            (true, _) => words.extend(["-keypbe", "NONE", "-certpbe", "NONE"]),
            (false, Encryption::Auto) => {}
            (false, Encryption::Compatibility2022) => {
                words.extend(["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]);
            }
        }
        tool.good(machine, &words, "openssl cannot make the archive")?;
        tool.read("made.p12")
    }
}

/// Given and unknown, given and known, not given: the first ends it.
fn flat(read: Option<Option<Vec<u8>>>) -> Option<Option<Vec<u8>>> {
    match read {
        Some(None) => None,
        Some(known) => Some(known),
        None => Some(None),
    }
}

/// A key in the older form, without its passphrase.
fn plain(machine: &Machine, tool: &Tool, key: &[u8], passphrase: Option<&str>) -> Step<Vec<u8>> {
    let key = tool.put("plain.key", key)?;
    let secret = tool.secret("plain.pass", passphrase)?;
    let words = ["pkey", "-in", &key, "-passin", &secret, "-traditional"];
    tool.good(machine, &words, "openssl cannot read the key")
}

/// What an archive holds; an error is why it cannot be opened.
fn opened(machine: &Machine, tool: &Tool, archive: &[u8], passphrase: Option<&str>) -> Step<Result<Parts, String>> {
    let file = tool.put("opened.p12", archive)?;
    let secret = tool.secret("opened.pass", passphrase)?;
    let words = |more: &[&'static str]| -> Vec<String> {
        let mut words: Vec<String> = ["pkcs12", "-in", &file, "-passin", &secret, "-nodes"].map(String::from).to_vec();
        words.extend(more.iter().map(|word| word.to_string()));
        words
    };
    let mut said = Vec::new();
    for more in [&["-nocerts"][..], &["-nokeys", "-clcerts"], &["-nokeys", "-cacerts"]] {
        let words = words(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = tool.run(machine, &words)?;
        if !output.success() {
            return Ok(Err(last(&output)));
        }
        said.push(output.stdout);
    }
    let mut said = said.into_iter();
    let mut next = || said.next().unwrap_or_default();
    let (keys, own, others) = (next(), next(), next());
    let mut parts = Parts { others: certificates(&String::from_utf8_lossy(&others)), ..Parts::default() };
    if keys.windows(BEGIN.len()).any(|window| window == BEGIN) {
        parts.key = Some(plain(machine, tool, &keys, None)?);
        parts.name = keys
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.trim_ascii_start().strip_prefix(b"friendlyName: "))
            .map(<[u8]>::to_vec);
    }
    let mut own = certificates(&String::from_utf8_lossy(&own)).into_iter();
    parts.certificate = own.next();
    parts.others.extend(own);
    Ok(Ok(parts))
}

/// The certificates of a text, without what stands between them, as openssl writes them.
fn certificates(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, from)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
        let Some((body, after)) = from.split_once("-----END CERTIFICATE-----") else { break };
        let body: String = body.split_whitespace().collect();
        let lines: Vec<&str> =
            (0..body.len()).step_by(64).filter_map(|at| body.get(at..(at + 64).min(body.len()))).collect();
        found.push(format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")));
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice, check_then_apply};
    use serde_json::json;

    #[test]
    fn certificates_are_found_in_a_text() {
        let long = "A".repeat(70);
        let text = format!(
            "Bag Attributes\n-----BEGIN CERTIFICATE-----\n{long}\n-----END CERTIFICATE-----\nx\n-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nQ"
        );
        let found = certificates(&text);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains(&format!("{}\n{}\n", "A".repeat(64), "A".repeat(6))));
        assert!(certificates("nothing").is_empty());
    }

    #[test]
    fn archives_are_made_once_and_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).display().to_string();
        for name in ["ca", "leaf"] {
            apply(
                "openssl_privatekey",
                &json!({"path": at(&format!("{name}.key")), "type": "ECC", "curve": "secp256r1"}),
            );
            let csr = json!({"path": at(&format!("{name}.csr")), "privatekey_path": at(&format!("{name}.key")), "common_name": name});
            assert_eq!(apply("openssl_csr", &csr).status, Status::Ok);
            let certificate = json!({
                "path": at(&format!("{name}.crt")), "csr_path": at(&format!("{name}.csr")), "provider": "selfsigned",
                "privatekey_path": at(&format!("{name}.key")),
            });
            assert_eq!(apply("x509_certificate", &certificate).status, Status::Ok);
        }
        let task = |more: Value| {
            let mut task = json!({
                "path": at("all.p12"), "friendly_name": "it's mine é", "privatekey_path": at("leaf.key"),
                "certificate_path": at("leaf.crt"), "other_certificates": [at("ca.crt")], "passphrase": "secret 1",
            });
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            task
        };
        let first = apply_twice("openssl_pkcs12", &task(json!({"return_content": true})));
        assert!(first.changed() && first.data["pkcs12"].is_string() && first.data["mode"] == "0400");
        for more in [
            json!({"friendly_name": "other"}),
            json!({"friendly_name": "other", "passphrase": "another"}),
            json!({"friendly_name": "other", "passphrase": null}),
            json!({"passphrase": null, "encryption_level": "compatibility2022"}),
            json!({"encryption_level": "compatibility2022", "iter_size": 2000}),
            json!({"other_certificates": null}),
            json!({"certificate_path": null, "other_certificates": null}),
            json!({"privatekey_path": null}),
        ] {
            assert!(apply_twice("openssl_pkcs12", &task(more.clone())).changed(), "{more}");
        }
        assert!(apply_twice("openssl_pkcs12", &task(json!({"backup": true}))).data.contains_key("backup_file"));
        let parse = json!({"path": at("all.pem"), "action": "parse", "src": at("all.p12"), "passphrase": "secret 1"});
        assert!(apply_twice("openssl_pkcs12", &parse).changed());
        let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        assert_eq!(read("all.pem"), read("leaf.key") + &read("leaf.crt") + &read("ca.crt"));
        let mut wrong = parse.clone();
        wrong["passphrase"] = "wrong".into();
        for wrong in [
            wrong,
            json!({"path": at("x"), "action": "parse"}),
            json!({"path": at("x"), "action": "parse", "src": "/nowhere"}),
            json!({"path": at("x"), "friendly_name": "x"}),
            json!({"path": at("x"), "privatekey_path": at("leaf.key")}),
            json!({"path": at("x"), "friendly_name": "x", "privatekey_path": at("leaf.key"), "certificate_path": at("ca.crt")}),
            json!({"path": at("x"), "friendly_name": "x", "privatekey_path": at("leaf.key"), "privatekey_content": "x"}),
            json!({"path": at("x"), "friendly_name": "x", "certificate_content": "none"}),
            json!({"path": "/nowhere/x", "friendly_name": "x", "privatekey_path": at("leaf.key")}),
        ] {
            assert_eq!(apply("openssl_pkcs12", &wrong).status, Status::Failed, "{wrong}");
        }
        assert!(check_then_apply("openssl_pkcs12", &task(json!({"state": "absent"}))).changed());
    }
}
