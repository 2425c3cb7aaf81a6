//! What a certificate is made of: who signs, and what.

use super::certificate::{Identifier, Wish, read};
use super::der::{self, Extension, Request};
use super::privatekey::contents;
use super::request::key_of;
use super::time;
use super::tool::{Tool, escaped};
use crate::machine::Machine;
use crate::modules::ModuleError;
use crate::modules::files::common::{Step, expand};
use crate::modules::programs::exclusive;
use crate::modules::scalars::Text;

const SUBJECT_KEY: &str = "2.5.29.14";
const AUTHORITY_KEY: &str = "2.5.29.35";

/// Who signs, and what.
pub(super) struct Signing {
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

impl Signing {
    /// Gathers what is needed; nothing in a check where some of it is not made yet.
    pub fn of(machine: &Machine, tool: &Tool, wish: Wish<'_>, own: bool) -> Step<Option<Signing>> {
        for (name, version) in [("selfsigned_version", wish.selfsigned_version), ("ownca_version", wish.ownca_version)]
        {
            if version.as_ref().is_some_and(|version| version.0 != 3) {
                return Err(ModuleError::argument(name, "it is 3: there is no other"));
            }
        }
        for (path, content, one, other) in [
            (wish.csr_path, wish.csr_content, "csr_path", "csr_content"),
            (wish.privatekey_path, wish.privatekey_content, "privatekey_path", "privatekey_content"),
            (wish.ownca_path, wish.ownca_content, "ownca_path", "ownca_content"),
            (
                wish.ownca_privatekey_path,
                wish.ownca_privatekey_content,
                "ownca_privatekey_path",
                "ownca_privatekey_content",
            ),
        ] {
            exclusive(&[(one, path.is_some()), (other, content.is_some())])?;
        }
        let pair = |path: &Option<Text>, content: &Option<Text>, what: &str| -> Step<Option<Option<Vec<u8>>>> {
            match (path, content) {
                (_, Some(content)) => Ok(Some(Some(content.0.clone().into_bytes()))),
                (Some(path), None) => contents(machine, &expand(machine, path)?, what).map(Some),
                (None, None) => Ok(None),
            }
        };
        let request = pair(wish.csr_path, wish.csr_content, "certificate signing request file")?;
        let (key, passphrase, authority) = match own {
            true => (
                key_of(machine, wish.privatekey_path.as_ref(), wish.privatekey_content.as_ref())?,
                wish.privatekey_passphrase,
                Some(Vec::new()),
            ),
            false => {
                let needs = |what: &str| ModuleError::Failed(format!("{what} is required for ownca provider"));
                let authority = pair(wish.ownca_path, wish.ownca_content, "CA certificate file")?;
                let key = pair(wish.ownca_privatekey_path, wish.ownca_privatekey_content, "CA private key file")?;
                (
                    key.ok_or_else(|| needs("ownca_privatekey_path or ownca_privatekey_content"))?,
                    wish.ownca_privatekey_passphrase,
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
            true => (wish.selfsigned_not_before, wish.selfsigned_not_after, wish.selfsigned_digest),
            false => (wish.ownca_not_before, wish.ownca_not_after, wish.ownca_digest),
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
                true => *wish.selfsigned_create_subject_key_identifier,
                false => *wish.ownca_create_subject_key_identifier,
            },
            authority_key: !own && wish.ownca_create_authority_key_identifier.0,
        }))
    }

    /// Whether a certificate is what would be made, but for its serial number and, if they do not count, its times.
    pub fn fits(&self, machine: &Machine, tool: &Tool, certificate: &[u8], any_time: bool) -> Step<bool> {
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

    /// The certificate, signed.
    pub fn sign(&self, machine: &Machine, tool: &Tool) -> Step<Vec<u8>> {
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
