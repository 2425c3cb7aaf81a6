//! `x509_certificate`: a certificate that signs itself, or that an authority on the host signs.

use super::csr::key_of;
use super::der::{self, Certificate, Extension, Request};
use super::privatekey::{base_directory, contents, remove};
use super::time;
use super::tool::{LIMIT, Tool, escaped};
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, file_arguments, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.crypto.x509_certificate`
pub const CERTIFICATE: Module = Module {
    name: "community.crypto.x509_certificate",
    aliases: &["x509_certificate", "openssl_certificate", "community.crypto.openssl_certificate"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: X509Certificate::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Whether a certificate names its key, or that of its authority, by a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    /// Unless the request does.
    #[default]
    CreateIfNotProvided,
    /// Always.
    AlwaysCreate,
    /// Only as the request does.
    NeverCreate,
}

file_arguments! {
    /// Makes a certificate and keeps it: signed by its own key (`selfsigned`), or by an authority whose key is on the host
    /// (`ownca`).
    ///
    /// The host needs the program `openssl`. It is made anew where it belongs to another key, says something else than its
    /// request, or was signed by another authority; that it runs out is no reason, unless `ignore_timestamps` is false.
    /// For certificates of a cluster see `deploy.builtin.pki_certificate`, whose authority stays on the controller. The
    /// providers `acme` and `entrust` are not supported.
    pub struct X509Certificate {
        /// The file.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// `selfsigned` or `ownca`.
        pub provider: Option<Text>,
        /// The request's file. A `selfsigned` one can do without.
        pub csr_path: Option<Text>,
        /// The request itself.
        pub csr_content: Option<Text>,
        /// The private key's file, for `selfsigned`.
        pub privatekey_path: Option<Text>,
        /// The private key itself.
        pub privatekey_content: Option<Text>,
        /// Its passphrase.
        pub privatekey_passphrase: Option<Text>,
        /// 3; there is no other.
        pub selfsigned_version: Option<Int>,
        /// Digest of the signature: `sha256` when not given.
        pub selfsigned_digest: Option<Text>,
        /// When it begins: `+1d`, or `20260101000000Z`; now when not given.
        #[serde(alias = "selfsigned_notBefore")]
        pub selfsigned_not_before: Option<Text>,
        /// When it ends; `+3650d` when not given.
        #[serde(alias = "selfsigned_notAfter")]
        pub selfsigned_not_after: Option<Text>,
        /// Name the key by its digest: `create_if_not_provided`, `always_create`, `never_create`.
        #[serde(default)]
        pub selfsigned_create_subject_key_identifier: Identifier,
        /// The authority's certificate.
        pub ownca_path: Option<Text>,
        /// The authority's certificate itself.
        pub ownca_content: Option<Text>,
        /// The authority's private key.
        pub ownca_privatekey_path: Option<Text>,
        /// The authority's private key itself.
        pub ownca_privatekey_content: Option<Text>,
        /// Its passphrase.
        pub ownca_privatekey_passphrase: Option<Text>,
        /// 3; there is no other.
        pub ownca_version: Option<Int>,
        /// Digest of the signature: `sha256` when not given.
        pub ownca_digest: Option<Text>,
        /// When it begins; now when not given.
        pub ownca_not_before: Option<Text>,
        /// When it ends; `+3650d` when not given.
        pub ownca_not_after: Option<Text>,
        /// Name the key by its digest: `create_if_not_provided`, `always_create`, `never_create`.
        #[serde(default)]
        pub ownca_create_subject_key_identifier: Identifier,
        /// Name the authority's key by its digest.
        #[serde(default = "Flag::yes")]
        pub ownca_create_authority_key_identifier: Flag,
        /// Whether another time of beginning or end than is asked for is no reason to make it anew.
        #[serde(default = "Flag::yes")]
        pub ignore_timestamps: Flag,
        /// Make it anew each time.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return the certificate, too (`certificate`).
        #[serde(default)]
        pub return_content: Flag,
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }
}

const SUBJECT_KEY: &str = "2.5.29.14";
const AUTHORITY_KEY: &str = "2.5.29.35";

/// Who signs, and what.
struct Signing {
    own: bool,
    request: Vec<u8>,
    key: Vec<u8>,
    passphrase: Option<String>,
    /// The authority's certificate.
    authority: Vec<u8>,
    digest: String,
    from: i64,
    until: i64,
    subject_key: Identifier,
    authority_key: bool,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: X509Certificate = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
    let mut outcome = Outcome::ok()
        .with("filename", show(&path))
        .with("privatekey", text(&arguments.privatekey_path))
        .with("csr", text(&arguments.csr_path));
    if arguments.state == State::Absent {
        return remove(machine, &path, arguments.backup.0, outcome);
    }
    let own = match arguments.provider.as_ref().map(|provider| provider.0.as_str()) {
        Some("selfsigned") => true,
        Some("ownca") => false,
        Some(other @ ("acme" | "entrust")) => {
            return Err(ModuleError::argument(
                "provider",
                format!("`{other}` is not supported: write selfsigned or ownca"),
            ));
        }
        Some(other) => {
            return Err(ModuleError::argument("provider", format!("`{other}` is none of selfsigned, ownca")));
        }
        None => {
            return Err(ModuleError::Failed("state is present but all of the following are missing: provider".into()));
        }
    };
    if !own {
        outcome = outcome
            .with("ca_cert", text(&arguments.ownca_path))
            .with("ca_privatekey", text(&arguments.ownca_privatekey_path));
    }
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    let options = WriteOptions { attributes, follow: true, backup: arguments.backup.0, ..WriteOptions::default() };
    let tool = Tool::new()?;
    let foreseen = |machine: &mut Machine, mut outcome: Outcome| -> Step<Outcome> {
        machine.write(&path, NewContent::AtApply("signed at apply"), &options, None)?;
        let fields = ["notBefore", "notAfter", "serial_number", "certificate"];
        let told = if arguments.return_content.0 { &fields[..] } else { fields.get(..3).unwrap_or_default() };
        outcome.unknown_fields.extend(told.iter().map(|field| field.to_string()));
        Ok(outcome)
    };
    let Some(signing) = Signing::of(machine, &tool, &arguments, own)? else {
        // What is made when it is applied needs a new certificate.
        return foreseen(machine, outcome);
    };
    let fits = match &before {
        Some(before) if !arguments.force.0 => signing.fits(machine, &tool, before, arguments.ignore_timestamps.0)?,
        _ => false,
    };
    let certificate = match before {
        Some(before) if fits => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        _ if machine.predicted() => return foreseen(machine, outcome),
        _ => {
            let certificate = signing.sign(machine, &tool)?;
            let written = machine.write(&path, NewContent::Bytes(&certificate), &options, None)?;
            if let Some(backup) = written.backup {
                outcome = outcome.with("backup_file", show(&backup));
            }
            certificate
        }
    };
    if let Some(said) = read(&certificate) {
        let serial = serial_value(&said);
        outcome =
            outcome.with("notBefore", said.not_before).with("notAfter", said.not_after).with("serial_number", serial);
    }
    if arguments.return_content.0 {
        outcome = outcome.with("certificate", String::from_utf8_lossy(&certificate));
    }
    Ok(outcome)
}

/// The serial number; one of more digits than numbers of JSON have is a text.
pub(super) fn serial_value(certificate: &Certificate) -> Value {
    super::extensions::number(&certificate.serial)
}

pub(super) fn read(pem: &[u8]) -> Option<Certificate> {
    der::pem(pem).and_then(|bytes| Certificate::parse(&bytes))
}

impl Signing {
    /// Gathers what is needed; nothing in a check where some of it is not made yet.
    fn of(machine: &Machine, tool: &Tool, arguments: &X509Certificate, own: bool) -> Step<Option<Signing>> {
        let pair = |path: &Option<Text>, content: &Option<Text>, what: &str| -> Step<Option<Option<Vec<u8>>>> {
            match (path, content) {
                (_, Some(content)) => Ok(Some(Some(content.0.clone().into_bytes()))),
                (Some(path), None) => contents(machine, &expand(machine, path)?, what).map(Some),
                (None, None) => Ok(None),
            }
        };
        let request = pair(&arguments.csr_path, &arguments.csr_content, "certificate signing request file")?;
        let (key, passphrase, authority) = match own {
            true => (
                key_of(machine, arguments.privatekey_path.as_ref(), arguments.privatekey_content.as_ref())?,
                &arguments.privatekey_passphrase,
                Some(Vec::new()),
            ),
            false => {
                let needs = |what: &str| ModuleError::Failed(format!("{what} is required for ownca provider"));
                let authority = pair(&arguments.ownca_path, &arguments.ownca_content, "CA certificate file")?;
                let key =
                    pair(&arguments.ownca_privatekey_path, &arguments.ownca_privatekey_content, "CA private key file")?;
                (
                    key.ok_or_else(|| needs("ownca_privatekey_path or ownca_privatekey_content"))?,
                    &arguments.ownca_privatekey_passphrase,
                    authority.ok_or_else(|| needs("ownca_path or ownca_content"))?,
                )
            }
        };
        if !own && request.is_none() {
            return Err(ModuleError::Failed("csr_path or csr_content is required for ownca provider".into()));
        }
        let (Some(key), Some(authority)) = (key, authority) else { return Ok(None) };
        let passphrase = passphrase.as_ref().map(|passphrase| passphrase.0.clone());
        let public = tool
            .public_of(machine, &key, passphrase.as_deref())?
            .map_err(|why| ModuleError::Failed(format!("the private key that signs cannot be read: {why}")))?;
        if !own && read(&authority).is_none_or(|authority| authority.key != public) {
            return Err(ModuleError::Failed("The CA private key does not belong to the CA certificate".into()));
        }
        let request = match request {
            Some(None) => return Ok(None),
            Some(Some(request)) => request,
            // A certificate that says nothing but its key.
            None => {
                let config = tool.put("none.cnf", b"[req]\nprompt = no\ndistinguished_name = dn\n[dn]\n")?;
                let file = tool.put("none.key", &key)?;
                let secret = tool.secret("none.pass", passphrase.as_deref())?;
                let words =
                    ["req", "-new", "-batch", "-subj", "/", "-config", &config, "-key", &file, "-passin", &secret];
                tool.good(machine, &words, "openssl cannot make the request")?
            }
        };
        let Some(said) = der::pem(&request).and_then(|bytes| Request::parse(&bytes)) else {
            return Err(ModuleError::Failed("the certificate signing request cannot be read".into()));
        };
        if own && said.key != public {
            return Err(ModuleError::Failed("the certificate signing request belongs to another private key".into()));
        }
        let (from, until, digest) = match own {
            true => (&arguments.selfsigned_not_before, &arguments.selfsigned_not_after, &arguments.selfsigned_digest),
            false => (&arguments.ownca_not_before, &arguments.ownca_not_after, &arguments.ownca_digest),
        };
        let now = time::now();
        let moment = |name: &str, given: &Option<Text>, usual: &str| {
            let text = given.as_ref().map_or(usual, |text| &text.0);
            time::moment(text, now).ok_or_else(|| {
                let why = format!("`{text}` is no time: write for example +365d, or 20270101000000Z");
                ModuleError::argument(format!("{}_{name}", if own { "selfsigned" } else { "ownca" }), why)
            })
        };
        Ok(Some(Signing {
            own,
            request,
            key,
            passphrase,
            authority,
            digest: digest.as_ref().map_or("sha256".into(), |digest| digest.0.clone()),
            from: moment("not_before", from, "+0s")?,
            until: moment("not_after", until, "+3650d")?,
            subject_key: match own {
                true => arguments.selfsigned_create_subject_key_identifier,
                false => arguments.ownca_create_subject_key_identifier,
            },
            authority_key: !own && arguments.ownca_create_authority_key_identifier.0,
        }))
    }

    /// Whether a certificate is what would be made, but for its serial number and, if they do not count, its times.
    fn fits(&self, machine: &Machine, tool: &Tool, certificate: &[u8], any_time: bool) -> Step<bool> {
        let request = der::pem(&self.request).and_then(|bytes| Request::parse(&bytes));
        let (Some(is), Some(asked)) = (read(certificate), request) else { return Ok(false) };
        let compared = |extensions: &[Extension]| -> Vec<Extension> {
            let made = |extension: &&Extension| {
                !(extension.oid == SUBJECT_KEY && self.subject_key != Identifier::NeverCreate
                    || extension.oid == AUTHORITY_KEY && self.authority_key)
            };
            extensions.iter().filter(made).cloned().collect()
        };
        let issuer = match self.own {
            true => asked.subject.clone(),
            false => read(&self.authority).map(|authority| authority.subject).unwrap_or_default(),
        };
        if is.key != asked.key
            || is.subject != asked.subject
            || is.issuer != issuer
            || compared(&is.extensions) != compared(&asked.extensions)
        {
            return Ok(false);
        }
        if !any_time && (is.not_before != time::stamp(self.from) || is.not_after != time::stamp(self.until)) {
            return Ok(false);
        }
        let file = tool.put("is.crt", certificate)?;
        let trusted = if self.own { file.clone() } else { tool.put("authority.crt", &self.authority)? };
        let words = ["verify", "-partial_chain", "-no_check_time", "-check_ss_sig", "-trusted", &trusted, &file];
        let verified = tool.run(machine, &words)?;
        // An authority that may sign nothing else is told of by the purpose of its certificate, not by its signature.
        let said = format!("{}{}", verified.stdout_text(), verified.stderr_text());
        Ok(verified.success() || !said.contains("signature failure") && !said.contains("issuer certificate"))
    }

    fn sign(&self, machine: &Machine, tool: &Tool) -> Step<Vec<u8>> {
        if self.digest.is_empty() || !self.digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(ModuleError::argument("digest", "this is no digest"));
        }
        let asked = der::pem(&self.request).and_then(|bytes| Request::parse(&bytes));
        let given = asked.is_some_and(|asked| asked.extensions.iter().any(|extension| extension.oid == SUBJECT_KEY));
        let mut extensions = String::new();
        match self.subject_key {
            Identifier::AlwaysCreate => extensions += "subjectKeyIdentifier = hash\n",
            Identifier::CreateIfNotProvided if !given => extensions += "subjectKeyIdentifier = hash\n",
            // Newer versions make one where nothing is said.
            Identifier::NeverCreate if !given => extensions += "subjectKeyIdentifier = none\n",
            _ => {}
        }
        extensions += if self.authority_key { "authorityKeyIdentifier = keyid\n" } else { "" };
        let directory = escaped(&tool.path(""));
        tool.put("index.txt", b"")?;
        let config = format!(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = {directory}index.txt\nnew_certs_dir = {directory}\nrand_serial = yes\n\
             unique_subject = no\ncopy_extensions = copy\npolicy = any\nemail_in_dn = yes\nx509_extensions = ext\n[any]\n[ext]\n{extensions}"
        );
        let config = tool.put("ca.cnf", config.as_bytes())?;
        let (request, key) = (tool.put("ca.csr", &self.request)?, tool.put("ca.key", &self.key)?);
        let (secret, made) = (tool.secret("ca.pass", self.passphrase.as_deref())?, tool.path("made.crt"));
        let (from, until) = (time::stamp(self.from), time::stamp(self.until));
        let mut words =
            vec!["ca", "-batch", "-notext", "-preserveDN", "-config", &config, "-in", &request, "-out", &made];
        words.extend([
            "-keyfile",
            &key,
            "-passin",
            &secret,
            "-md",
            &self.digest,
            "-startdate",
            &from,
            "-enddate",
            &until,
        ]);
        let authority = tool.put("ca.crt", &self.authority)?;
        match self.own {
            true => words.push("-selfsign"),
            false => words.extend(["-cert", &authority]),
        }
        tool.good(machine, &words, "openssl cannot sign the certificate")?;
        tool.read("made.crt")
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice, check_then_apply};
    use serde_json::{Value, json};

    #[test]
    fn certificates_are_signed_and_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        for name in ["ca", "leaf"] {
            let key = json!({"path": at(&format!("{name}.key")), "type": "ECC", "curve": "secp256r1"});
            assert!(apply("openssl_privatekey", &key).changed());
        }
        let request = json!({"path": at("ca.csr"), "privatekey_path": at("ca.key"), "common_name": "the CA", "use_common_name_for_san": false,
            "basic_constraints": ["CA:TRUE"], "basic_constraints_critical": true, "key_usage": ["keyCertSign"]});
        assert!(apply("openssl_csr", &request).changed());
        let leaf = |name: &str| json!({"path": at("leaf.csr"), "privatekey_path": at("leaf.key"), "common_name": name, "email_address": "a@b.example"});
        assert!(apply("openssl_csr", &leaf("db1")).changed());
        let own = json!({"path": at("ca.crt"), "privatekey_path": at("ca.key"), "csr_path": at("ca.csr"), "provider": "selfsigned"});
        let made = apply_twice("x509_certificate", &own);
        assert!(made.changed() && !made.data["serial_number"].is_null(), "{made:?}");
        let task = |more: Value| {
            let mut task = json!({"path": at("leaf.crt"), "csr_path": at("leaf.csr"), "provider": "ownca", "ownca_path": at("ca.crt"),
                "ownca_privatekey_path": at("ca.key"), "ownca_not_after": "20400101000000Z"});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let first = apply_twice("x509_certificate", &task(json!({})));
        assert_eq!(first.data["notAfter"], "20400101000000Z");
        let output = std::process::Command::new("openssl")
            .args(["verify", "-CAfile", &at("ca.crt"), &at("leaf.crt")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in", &at("leaf.crt")])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for part in ["DNS:db1", "Subject Key Identifier", "Authority Key Identifier", "a@b.example", "Version: 3"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!check_then_apply("x509_certificate", &task(json!({"ownca_not_after": "+5d"}))).changed());
        let other = task(
            json!({"ownca_not_after": "20410101000000Z", "ownca_not_before": "20260101000000Z", "ignore_timestamps": false}),
        );
        assert!(apply_twice("x509_certificate", &other).changed());
        assert!(apply("openssl_csr", &leaf("db2")).changed());
        assert!(apply_twice("x509_certificate", &task(json!({}))).changed(), "another request");
        assert!(
            apply("x509_certificate", &{
                let mut own = own.clone();
                own["force"] = json!(true);
                own
            })
            .changed()
        );
        assert!(
            !check_then_apply("x509_certificate", &task(json!({}))).changed(),
            "the same authority's new certificate"
        );
        let bare = json!({"path": at("bare.crt"), "privatekey_path": at("leaf.key"), "provider": "openssl_x"});
        assert_eq!(apply("openssl_certificate", &bare).status, Status::Failed);
        let bare = json!({"path": at("bare.crt"), "privatekey_path": at("leaf.key"), "provider": "selfsigned"});
        assert!(apply_twice("openssl_certificate", &bare).changed());
        for wrong in [
            json!({"provider": "acme"}),
            json!({"csr_path": null}),
            json!({"csr_path": "/nowhere"}),
            json!({"ownca_path": at("bare.crt")}),
            json!({"ownca_not_after": "soon"}),
            json!({"ownca_privatekey_path": null}),
        ] {
            assert_eq!(apply("x509_certificate", &task(wrong.clone())).status, Status::Failed, "{wrong}");
        }
        assert!(apply_twice("x509_certificate", &task(json!({"state": "absent"}))).changed());
    }
}
