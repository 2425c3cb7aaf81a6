//! `openssl_csr`: a request for a certificate.

use super::der::{self, Request};
use super::privatekey::{base_directory, contents, remove};
use super::tool::{ATTRIBUTES, LIMIT, Tool, escaped};
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, file_arguments, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.crypto.openssl_csr`
pub const CSR: Module = Module {
    name: "community.crypto.openssl_csr",
    aliases: &["openssl_csr"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Csr::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

file_arguments! {
    /// Makes a request for a certificate (PKCS#10) and keeps it.
    ///
    /// The host needs the program `openssl`. The request is made anew where it says something else than is asked for, or
    /// belongs to another key.
    pub struct Csr {
        /// The file.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// The private key's file.
        pub privatekey_path: Option<Text>,
        /// The private key itself.
        pub privatekey_content: Option<Text>,
        /// Its passphrase.
        pub privatekey_passphrase: Option<Text>,
        /// Digest of the signature: `sha256` when not given.
        pub digest: Option<Text>,
        /// 1; there is no other.
        pub version: Option<Int>,
        /// Attributes of the subject by name, as `CN` or `commonName`; a list is several of one name.
        pub subject: Option<Map<String, Value>>,
        /// The same as a list of mappings, where their order counts.
        pub subject_ordered: Option<Vec<Map<String, Value>>>,
        /// Country, two letters.
        #[serde(alias = "C", alias = "countryName")]
        pub country_name: Option<Text>,
        /// State or province.
        #[serde(alias = "ST", alias = "stateOrProvinceName")]
        pub state_or_province_name: Option<Text>,
        /// Town.
        #[serde(alias = "L", alias = "localityName")]
        pub locality_name: Option<Text>,
        /// Organisation.
        #[serde(alias = "O", alias = "organizationName")]
        pub organization_name: Option<Text>,
        /// Unit.
        #[serde(alias = "OU", alias = "organizationalUnitName")]
        pub organizational_unit_name: Option<Text>,
        /// Name of the host or of whom it is for.
        #[serde(alias = "CN", alias = "commonName")]
        pub common_name: Option<Text>,
        /// Address of mail.
        #[serde(alias = "E", alias = "emailAddress")]
        pub email_address: Option<Text>,
        /// Names it is for: `DNS:db1.example`, `IP:10.0.0.1`, `email:…`, `URI:…`, `RID:…`.
        #[serde(alias = "subjectAltName")]
        pub subject_alt_name: Option<TextList>,
        /// Who does not understand them must refuse the certificate.
        #[serde(default, alias = "subjectAltName_critical")]
        pub subject_alt_name_critical: Flag,
        /// Without names of its own the common name is one.
        #[serde(default = "Flag::yes", alias = "useCommonNameForSAN")]
        pub use_common_name_for_san: Flag,
        /// What the key is for: `digitalSignature`, `keyEncipherment`, `keyCertSign` …
        #[serde(alias = "keyUsage")]
        pub key_usage: Option<TextList>,
        /// Whether that is critical.
        #[serde(default, alias = "keyUsage_critical")]
        pub key_usage_critical: Flag,
        /// What the certificate is for: `serverAuth`, `clientAuth` …
        #[serde(alias = "extKeyUsage", alias = "extendedKeyUsage")]
        pub extended_key_usage: Option<TextList>,
        /// Whether that is critical.
        #[serde(default, alias = "extKeyUsage_critical", alias = "extendedKeyUsage_critical")]
        pub extended_key_usage_critical: Flag,
        /// `CA:TRUE` or `CA:FALSE`, `pathlen:0`.
        #[serde(alias = "basicConstraints")]
        pub basic_constraints: Option<TextList>,
        /// Whether that is critical.
        #[serde(default, alias = "basicConstraints_critical")]
        pub basic_constraints_critical: Flag,
        /// The server must bring proof that the certificate is not revoked.
        #[serde(default, alias = "ocspMustStaple")]
        pub ocsp_must_staple: Flag,
        /// Whether that is critical.
        #[serde(default, alias = "ocspMustStaple_critical")]
        pub ocsp_must_staple_critical: Flag,
        /// Names that an authority may sign: `DNS:.example`.
        pub name_constraints_permitted: Option<TextList>,
        /// Names that it may not sign.
        pub name_constraints_excluded: Option<TextList>,
        /// Whether they are critical.
        #[serde(default)]
        pub name_constraints_critical: Flag,
        /// Name the key by its digest.
        #[serde(default)]
        pub create_subject_key_identifier: Flag,
        /// Name the key by these bytes: `00:11:22`.
        pub subject_key_identifier: Option<Text>,
        /// Not supported yet: an error.
        pub authority_key_identifier: Option<Text>,
        /// Not supported yet: an error.
        pub authority_cert_issuer: Option<TextList>,
        /// Not supported yet: an error.
        pub authority_cert_serial_number: Option<Value>,
        /// Not supported yet: an error.
        pub crl_distribution_points: Option<Value>,
        /// Make it anew each time.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return the request, too (`csr`).
        #[serde(default)]
        pub return_content: Flag,
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }
}

/// Attributes and extensions that are asked for.
struct Wanted {
    subject: Vec<(String, String)>,
    ordered: bool,
    names: Option<Vec<String>>,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Csr = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let wanted = Wanted::of(&arguments)?;
    let mut outcome = wanted.told(&arguments).with("filename", show(&path));
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    let options = WriteOptions { attributes, follow: true, backup: arguments.backup.0, ..WriteOptions::default() };
    if arguments.state == State::Absent {
        return remove(machine, &path, arguments.backup.0, outcome);
    }
    let key = key_of(machine, arguments.privatekey_path.as_ref(), arguments.privatekey_content.as_ref())?;
    let Some(key) = key else {
        // A key that is made when it is applied needs a new request.
        machine.write(&path, NewContent::AtApply("made at apply"), &options, None)?;
        if arguments.return_content.0 {
            outcome.unknown_fields.push("csr".into());
        }
        return Ok(outcome);
    };
    let tool = Tool::new()?;
    let new = wanted.make(machine, &tool, &arguments, &key)?;
    let same = !arguments.force.0 && before.as_deref().is_some_and(|old| wanted.is_same(old, &new));
    let text = match (same, before) {
        (true, Some(before)) => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        _ => {
            // Some signatures differ each time they are made.
            let content =
                if machine.predicted() { NewContent::AtApply("signed at apply") } else { NewContent::Bytes(&new) };
            let written = machine.write(&path, content, &options, None)?;
            match written.backup {
                Some(backup) => outcome = outcome.with("backup_file", show(&backup)),
                None if machine.predicted() => outcome.unknown_fields.push("csr".into()),
                None => {}
            }
            new
        }
    };
    if arguments.return_content.0 {
        outcome = outcome.with("csr", String::from_utf8_lossy(&text));
    }
    Ok(outcome)
}

/// A private key from its file or from an argument; nothing in a check that does not know it yet.
pub(super) fn key_of(machine: &Machine, path: Option<&Text>, content: Option<&Text>) -> Step<Option<Vec<u8>>> {
    match (path, content) {
        (Some(_), Some(_)) => {
            Err(ModuleError::Failed("parameters are mutually exclusive: privatekey_path|privatekey_content".into()))
        }
        (None, Some(content)) => Ok(Some(content.0.clone().into_bytes())),
        (Some(path), None) => contents(machine, &expand(machine, path)?, "private key"),
        (None, None) => {
            Err(ModuleError::Failed("one of the following is required: privatekey_path, privatekey_content".into()))
        }
    }
}

impl Wanted {
    fn of(arguments: &Csr) -> Step<Wanted> {
        let unsupported = [
            ("authority_key_identifier", arguments.authority_key_identifier.is_some()),
            ("authority_cert_issuer", arguments.authority_cert_issuer.is_some()),
            ("authority_cert_serial_number", arguments.authority_cert_serial_number.is_some()),
            ("crl_distribution_points", arguments.crl_distribution_points.is_some()),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, given)| *given) {
            return Err(ModuleError::argument(*name, "this is not supported yet"));
        }
        let mut subject: Vec<(String, String)> = [
            ("C", &arguments.country_name),
            ("ST", &arguments.state_or_province_name),
            ("L", &arguments.locality_name),
            ("O", &arguments.organization_name),
            ("OU", &arguments.organizational_unit_name),
            ("CN", &arguments.common_name),
            ("emailAddress", &arguments.email_address),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.as_ref()?.0.clone())))
        .collect();
        let ordered = arguments.subject_ordered.is_some();
        if ordered && !subject.is_empty() {
            let why = "subject_ordered cannot be combined with any other subject field";
            return Err(ModuleError::Failed(why.into()));
        }
        let maps = arguments.subject.iter().chain(arguments.subject_ordered.iter().flatten());
        for (name, value) in maps.flatten() {
            let several = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in several {
                let text: Text = serde_json::from_value(value)
                    .map_err(|_| ModuleError::argument("subject", format!("the value of `{name}` is no text")))?;
                subject.push((name.clone(), text.0));
            }
        }
        subject.retain(|(_, value)| !value.is_empty());
        for (name, _) in &subject {
            oid_of(name)
                .ok_or_else(|| ModuleError::argument("subject", format!("`{name}` is no attribute that is known")))?;
        }
        let mut names =
            arguments.subject_alt_name.as_ref().map(|names| names.0.clone()).filter(|names| !names.is_empty());
        if names.is_none() && arguments.use_common_name_for_san.0 {
            let common = subject.iter().find(|(name, _)| matches!(name.as_str(), "commonName" | "CN"));
            names = common.map(|(_, name)| vec![format!("DNS:{name}")]);
        }
        for name in names.iter().flatten() {
            let kind = name.split_once(':').map_or("", |(kind, _)| kind);
            if !["DNS", "IP", "email", "URI", "RID"].contains(&kind) {
                let why = format!(
                    "Cannot parse Subject Alternative Name \"{name}\": it begins with none of DNS:, IP:, email:, URI:, RID:"
                );
                return Err(ModuleError::Failed(why));
            }
        }
        Ok(Wanted { subject, ordered, names })
    }

    fn told(&self, arguments: &Csr) -> Outcome {
        let list = |list: &Option<TextList>| list.as_ref().map(|list| list.0.clone());
        let subject: Vec<Value> =
            self.subject.iter().map(|(name, value)| vec![name.clone(), value.clone()].into()).collect();
        Outcome::ok()
            .with("privatekey", arguments.privatekey_path.as_ref().map(|path| path.0.clone()))
            .with("subject", subject)
            .with("subjectAltName", self.names.clone())
            .with("keyUsage", list(&arguments.key_usage))
            .with("extendedKeyUsage", list(&arguments.extended_key_usage))
            .with("basicConstraints", list(&arguments.basic_constraints))
            .with("ocspMustStaple", arguments.ocsp_must_staple.0)
            .with("name_constraints_permitted", list(&arguments.name_constraints_permitted).unwrap_or_default())
            .with("name_constraints_excluded", list(&arguments.name_constraints_excluded).unwrap_or_default())
    }

    /// The request, signed.
    fn make(&self, machine: &Machine, tool: &Tool, arguments: &Csr, key: &[u8]) -> Step<Vec<u8>> {
        let passphrase = arguments.privatekey_passphrase.as_ref().map(|passphrase| passphrase.0.as_str());
        if let Err(why) = tool.public_of(machine, key, passphrase)? {
            return Err(ModuleError::Failed(format!("the private key cannot be read: {why}")));
        }
        let config = tool.put("csr.cnf", self.config(arguments).as_bytes())?;
        let key = tool.put("csr.key", key)?;
        let secret = tool.secret("csr.pass", passphrase)?;
        let digest = format!("-{}", arguments.digest.as_ref().map_or("sha256", |digest| &digest.0));
        if !digest.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(ModuleError::argument("digest", "this is no digest"));
        }
        let words = ["req", "-new", "-batch", "-config", &config, "-key", &key, "-passin", &secret, &digest, "-utf8"];
        tool.good(machine, &words, "openssl cannot make the request")
    }

    fn config(&self, arguments: &Csr) -> String {
        let mut text = "[req]\nprompt = no\nutf8 = yes\nstring_mask = utf8only\ndistinguished_name = dn\n".to_string();
        let (mut extensions, mut sections) = (String::new(), String::new());
        let critical = |flag: Flag| if flag.0 { "critical," } else { "" };
        if let Some(names) = &self.names {
            extensions += &format!("subjectAltName = {}@san\n", critical(arguments.subject_alt_name_critical));
            sections += "[san]\n";
            for (number, name) in names.iter().enumerate() {
                let (kind, value) = name.split_once(':').unwrap_or((name, ""));
                sections += &format!("{kind}.{number} = {}\n", escaped(value));
            }
        }
        for (name, values, flag) in [
            ("keyUsage", &arguments.key_usage, arguments.key_usage_critical),
            ("extendedKeyUsage", &arguments.extended_key_usage, arguments.extended_key_usage_critical),
            ("basicConstraints", &arguments.basic_constraints, arguments.basic_constraints_critical),
        ] {
            if let Some(values) = values.as_ref().filter(|values| !values.0.is_empty()) {
                extensions += &format!("{name} = {}{}\n", critical(flag), escaped(&values.0.join(",")));
            }
        }
        if arguments.ocsp_must_staple.0 {
            extensions += &format!("tlsfeature = {}status_request\n", critical(arguments.ocsp_must_staple_critical));
        }
        let constraints =
            [("permitted", &arguments.name_constraints_permitted), ("excluded", &arguments.name_constraints_excluded)];
        if constraints.iter().any(|(_, names)| names.as_ref().is_some_and(|names| !names.0.is_empty())) {
            extensions += &format!("nameConstraints = {}@constraints\n", critical(arguments.name_constraints_critical));
            sections += "[constraints]\n";
            for (what, names) in constraints {
                for (number, name) in names.iter().flat_map(|names| &names.0).enumerate() {
                    let (kind, value) = name.split_once(':').unwrap_or((name, ""));
                    sections += &format!("{what};{kind}.{number} = {}\n", escaped(value));
                }
            }
        }
        if arguments.create_subject_key_identifier.0 {
            extensions += "subjectKeyIdentifier = hash\n";
        } else if let Some(bytes) = &arguments.subject_key_identifier {
            extensions += &format!("subjectKeyIdentifier = {}\n", escaped(bytes));
        }
        if !extensions.is_empty() {
            text += "req_extensions = ext\n";
            sections += &format!("[ext]\n{extensions}");
        }
        text += "[dn]\n";
        for (number, (name, value)) in self.subject.iter().enumerate() {
            // The short name of openssl; a number before it lets a name stand there twice.
            let name = oid_of(name)
                .and_then(|oid| ATTRIBUTES.iter().find(|(known, ..)| *known == oid))
                .map_or(name.as_str(), |(_, long, _)| long);
            text += &format!("{number}.{name} = {}\n", escaped(value));
        }
        text + &sections
    }

    /// Whether an old request says what a new one does.
    fn is_same(&self, old: &[u8], new: &[u8]) -> bool {
        let read = |text: &[u8]| der::pem(text).and_then(|bytes| Request::parse(&bytes));
        let (Some(mut old), Some(mut new)) = (read(old), read(new)) else { return false };
        if !self.ordered {
            old.subject.sort();
            new.subject.sort();
        }
        // With which digest it was signed does not count, as for Ansible.
        old.signature.clone_from(&new.signature);
        old == new
    }
}

/// The object identifier of an attribute, by any of its names.
fn oid_of(name: &str) -> Option<&'static str> {
    let known = |(oid, long, short): &&(&'static str, &'static str, &'static str)| {
        *oid == name || *short == name || long.eq_ignore_ascii_case(name)
    };
    ATTRIBUTES.iter().find(known).map(|(oid, ..)| *oid)
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice, check_then_apply};
    use serde_json::{Value, json};

    #[test]
    fn requests_say_what_is_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let (key, path) = (scratch.path().join("key"), scratch.path().join("csr"));
        let made = json!({"path": key, "type": "ECC", "curve": "secp256r1"});
        assert!(apply("openssl_privatekey", &made).changed());
        let task = |more: Value| {
            let mut task = json!({"path": path, "privatekey_path": key, "common_name": "db1.example"});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let said = || {
            let words = ["req", "-noout", "-text", "-nameopt", "RFC2253", "-in"];
            let output = std::process::Command::new("openssl").args(words).arg(&path).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let first = apply_twice("openssl_csr", &task(json!({})));
        assert_eq!(first.data["subjectAltName"], json!(["DNS:db1.example"]));
        let full = json!({
            "subject": {"O": "A #1 \"shop\" $HOME \\ é", "OU": ["one", "two"]}, "key_usage": ["digitalSignature", "keyCertSign"],
            "key_usage_critical": true, "extendedKeyUsage": "serverAuth,clientAuth", "basic_constraints": ["CA:TRUE", "pathlen:0"],
            "subject_alt_name": ["DNS:a.example", "IP:10.0.0.1", "IP:fd00::1"], "ocsp_must_staple": true,
            "create_subject_key_identifier": true, "name_constraints_permitted": ["DNS:.example"],
        });
        assert!(apply_twice("openssl_csr", &task(full)).changed());
        let text = said();
        for part in [
            "OU=two",
            "DNS:a.example, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1",
            "X509v3 Key Usage: critical",
            "CA:TRUE, pathlen:0",
            "TLS Web Client Authentication",
            "status_request",
            "Permitted:",
            "$HOME \\\\",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let ordered = json!({"common_name": null, "subject_ordered": [{"CN": "x"}, {"O": "y"}], "use_common_name_for_san": false});
        assert!(apply_twice("openssl_csr", &task(ordered.clone())).changed());
        assert!(said().contains("Subject: O=y,CN=x"));
        assert!(apply("openssl_privatekey", &json!({"path": key, "type": "Ed25519"})).changed());
        assert!(apply_twice("openssl_csr", &task(ordered)).changed(), "another key");
        for wrong in [
            json!({"subject": {"nothing": "x"}}),
            json!({"subject_alt_name": ["x"]}),
            json!({"key_usage": ["flying"]}),
            json!({"privatekey_path": "/nowhere"}),
            json!({"privatekey_path": null}),
            json!({"crl_distribution_points": []}),
        ] {
            assert_eq!(apply("openssl_csr", &task(wrong.clone())).status, Status::Failed, "{wrong}");
        }
        assert!(check_then_apply("openssl_csr", &task(json!({"state": "absent"}))).changed());
    }
}
