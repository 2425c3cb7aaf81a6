//! What a request for a certificate is to say, and how `openssl` is told.

use super::csr::Wish;
use super::der::{self, Request};
use super::privatekey::contents;
use super::tool::{ATTRIBUTES, Tool, escaped};
use crate::machine::Machine;
use crate::modules::files::common::{Step, expand};
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{ModuleError, Outcome};
use serde_json::Value;

/// Attributes and extensions that are asked for.
pub(super) struct Wanted<'a> {
    wish: Wish<'a>,
    subject: Vec<(String, String)>,
    ordered: bool,
    names: Option<Vec<String>>,
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

impl<'a> Wanted<'a> {
    /// What the arguments ask for; an error where that cannot be.
    pub fn of(wish: Wish<'a>) -> Step<Wanted<'a>> {
        let unsupported = [
            ("authority_key_identifier", wish.authority_key_identifier.is_some()),
            ("authority_cert_issuer", wish.authority_cert_issuer.is_some()),
            ("authority_cert_serial_number", wish.authority_cert_serial_number.is_some()),
            ("crl_distribution_points", wish.crl_distribution_points.is_some()),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, given)| *given) {
            return Err(ModuleError::argument(*name, "this is not supported yet"));
        }
        if wish.create_subject_key_identifier.0 && wish.subject_key_identifier.is_some() {
            let why = "leave it out, or set create_subject_key_identifier to false: they exclude each other";
            return Err(ModuleError::argument("subject_key_identifier", why));
        }
        if wish.version.as_ref().is_some_and(|version| version.0 != 1) {
            return Err(ModuleError::argument("version", "it is 1: there is no other"));
        }
        let mut subject: Vec<(String, String)> = [
            ("C", wish.country_name),
            ("ST", wish.state_or_province_name),
            ("L", wish.locality_name),
            ("O", wish.organization_name),
            ("OU", wish.organizational_unit_name),
            ("CN", wish.common_name),
            ("emailAddress", wish.email_address),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.as_ref()?.0.clone())))
        .collect();
        let ordered = wish.subject_ordered.is_some();
        if ordered && !subject.is_empty() {
            let why = "subject_ordered cannot be combined with any other subject field";
            return Err(ModuleError::Failed(why.into()));
        }
        let maps = wish.subject.iter().chain(wish.subject_ordered.iter().flatten());
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
        let mut names = wish.subject_alt_name.as_ref().map(|names| names.0.clone()).filter(|names| !names.is_empty());
        if names.is_none() && wish.use_common_name_for_san.0 {
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
        Ok(Wanted { wish, subject, ordered, names })
    }

    /// What is returned whatever becomes of it.
    pub fn told(&self) -> Outcome {
        let wish = self.wish;
        let list = |list: &Option<TextList>| list.as_ref().map(|list| list.0.clone());
        let subject: Vec<Value> =
            self.subject.iter().map(|(name, value)| vec![name.clone(), value.clone()].into()).collect();
        Outcome::ok()
            .with("privatekey", wish.privatekey_path.as_ref().map(|path| path.0.clone()))
            .with("subject", subject)
            .with("subjectAltName", self.names.clone())
            .with("keyUsage", list(wish.key_usage))
            .with("extendedKeyUsage", list(wish.extended_key_usage))
            .with("basicConstraints", list(wish.basic_constraints))
            .with("ocspMustStaple", wish.ocsp_must_staple.0)
            .with("name_constraints_permitted", list(wish.name_constraints_permitted).unwrap_or_default())
            .with("name_constraints_excluded", list(wish.name_constraints_excluded).unwrap_or_default())
    }

    /// What the task was told.
    pub fn wish(&self) -> Wish<'a> {
        self.wish
    }

    /// The request, signed.
    pub fn make(&self, machine: &Machine, tool: &Tool, key: &[u8]) -> Step<Vec<u8>> {
        let wish = self.wish;
        let passphrase = wish.privatekey_passphrase.as_ref().map(|passphrase| passphrase.0.as_str());
        if let Err(why) = tool.public_of(machine, key, passphrase)? {
            return Err(ModuleError::Failed(format!("the private key cannot be read: {why}")));
        }
        let config = tool.put("csr.cnf", self.config().as_bytes())?;
        let key = tool.put("csr.key", key)?;
        let secret = tool.secret("csr.pass", passphrase)?;
        let digest = format!("-{}", wish.digest.as_ref().map_or("sha256", |digest| &digest.0));
        if !digest.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(ModuleError::argument("digest", "this is no digest"));
        }
        let words = ["req", "-new", "-batch", "-config", &config, "-key", &key, "-passin", &secret, &digest, "-utf8"];
        tool.good(machine, &words, "openssl cannot make the request")
    }

    fn config(&self) -> String {
        let wish = self.wish;
        let mut text = "[req]\nprompt = no\nutf8 = yes\nstring_mask = utf8only\ndistinguished_name = dn\n".to_string();
        let (mut extensions, mut sections) = (String::new(), String::new());
        let critical = |flag: Flag| if flag.0 { "critical," } else { "" };
        if let Some(names) = &self.names {
            extensions += &format!("subjectAltName = {}@san\n", critical(*wish.subject_alt_name_critical));
            sections += "[san]\n";
            for (number, name) in names.iter().enumerate() {
                let (kind, value) = name.split_once(':').unwrap_or((name, ""));
                sections += &format!("{kind}.{number} = {}\n", escaped(value));
            }
        }
        for (name, values, flag) in [
            ("keyUsage", wish.key_usage, wish.key_usage_critical),
            ("extendedKeyUsage", wish.extended_key_usage, wish.extended_key_usage_critical),
            ("basicConstraints", wish.basic_constraints, wish.basic_constraints_critical),
        ] {
            if let Some(values) = values.as_ref().filter(|values| !values.0.is_empty()) {
                extensions += &format!("{name} = {}{}\n", critical(*flag), escaped(&values.0.join(",")));
            }
        }
        if wish.ocsp_must_staple.0 {
            extensions += &format!("tlsfeature = {}status_request\n", critical(*wish.ocsp_must_staple_critical));
        }
        let constraints =
            [("permitted", wish.name_constraints_permitted), ("excluded", wish.name_constraints_excluded)];
        if constraints.iter().any(|(_, names)| names.as_ref().is_some_and(|names| !names.0.is_empty())) {
            extensions += &format!("nameConstraints = {}@constraints\n", critical(*wish.name_constraints_critical));
            sections += "[constraints]\n";
            for (what, names) in constraints {
                for (number, name) in names.iter().flat_map(|names| &names.0).enumerate() {
                    let (kind, value) = name.split_once(':').unwrap_or((name, ""));
                    sections += &format!("{what};{kind}.{number} = {}\n", escaped(value));
                }
            }
        }
        if wish.create_subject_key_identifier.0 {
            extensions += "subjectKeyIdentifier = hash\n";
        } else if let Some(bytes) = wish.subject_key_identifier {
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
    pub fn is_same(&self, old: &[u8], new: &[u8]) -> bool {
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
