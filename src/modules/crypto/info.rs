//! `openssl_privatekey_info`, `openssl_csr_info` and `x509_certificate_info`: what keys, requests and certificates say.

use super::certificate::{read, serial_value};
use super::der::{self, Request};
use super::extensions;
use super::time;
use super::tool::{LIMIT, Tool, key_kind, name_values};
use crate::machine::Machine;
use crate::modules::files::common::{Step, begin, expand};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use base64::Engine;
use serde_json::{Map, Value, json};

const fn module(
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: crate::modules::Arguments,
    run: crate::modules::Run,
) -> Module {
    Module {
        name,
        aliases,
        reach: Reach::Host,
        free_form: FreeForm::KeyValue,
        arguments,
        run: Some(run),
        #[cfg(feature = "controller")]
        action: None,
    }
}

/// `community.crypto.openssl_privatekey_info`
pub const PRIVATEKEY_INFO: Module = module(
    "community.crypto.openssl_privatekey_info",
    &["openssl_privatekey_info"],
    PrivatekeyInfo::ARGUMENTS,
    privatekey,
);

/// `community.crypto.openssl_csr_info`
pub const CSR_INFO: Module =
    module("community.crypto.openssl_csr_info", &["openssl_csr_info"], CsrInfo::ARGUMENTS, request);

/// `community.crypto.x509_certificate_info`
pub const CERTIFICATE_INFO: Module = module(
    "community.crypto.x509_certificate_info",
    &["x509_certificate_info", "openssl_certificate_info", "community.crypto.openssl_certificate_info"],
    CertificateInfo::ARGUMENTS,
    certificate,
);

crate::arguments! {
    /// Tells what kind of key a file has, and its public key. Nothing of the private key is returned.
    ///
    /// The host needs the program `openssl`. The numbers of the public key (`public_data`) are not returned yet, and the
    /// key's consistency is not looked at.
    pub struct PrivatekeyInfo {
        /// The file.
        pub path: Option<Text>,
        /// The key itself.
        pub content: Option<Text>,
        /// Its passphrase.
        pub passphrase: Option<Text>,
        /// Private numbers are never returned: an error.
        #[serde(default)]
        pub return_private_key_data: Flag,
        /// Not supported yet: an error.
        #[serde(default)]
        pub check_consistency: Flag,
        /// Accepted for old playbooks.
        pub select_crypto_backend: Option<Text>,
    }
}

crate::arguments! {
    /// Tells what a request for a certificate says, and whether its signature is good.
    ///
    /// The host needs the program `openssl`.
    pub struct CsrInfo {
        /// The file.
        pub path: Option<Text>,
        /// The request itself.
        pub content: Option<Text>,
        /// Accepted: names are returned as they stand there.
        pub name_encoding: Option<Text>,
        /// Accepted for old playbooks.
        pub select_crypto_backend: Option<Text>,
    }
}

crate::arguments! {
    /// Tells what a certificate says.
    ///
    /// The host needs the program `openssl`.
    pub struct CertificateInfo {
        /// The file.
        pub path: Option<Text>,
        /// The certificate itself.
        pub content: Option<Text>,
        /// Names and times: whether it is valid then comes back in `valid_at`.
        pub valid_at: Option<Map<String, Value>>,
        /// Accepted: names are returned as they stand there.
        pub name_encoding: Option<Text>,
        /// Accepted for old playbooks.
        pub select_crypto_backend: Option<Text>,
    }
}

/// The text that is asked about.
fn source(machine: &Machine, path: Option<&Text>, content: Option<&Text>) -> Step<Vec<u8>> {
    match (path, content) {
        (Some(_), Some(_)) => Err(ModuleError::Failed("parameters are mutually exclusive: path|content".into())),
        (None, Some(content)) => Ok(content.0.clone().into_bytes()),
        (Some(path), None) => Ok(machine.read_file(expand(machine, path)?, LIMIT)?),
        (None, None) => Err(ModuleError::Failed("one of the following is required: path, content".into())),
    }
}

/// The public key in PEM, its type, and its digests.
fn public(machine: &Machine, tool: &Tool, spki: &[u8], outcome: Outcome, prefix: &str) -> Step<Outcome> {
    let body = base64::engine::general_purpose::STANDARD.encode(spki);
    let lines: Vec<&str> =
        (0..body.len()).step_by(64).filter_map(|from| body.get(from..(from + 64).min(body.len()))).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let kind = key_kind(spki).map(|kind| kind.kind);
    Ok(outcome
        .with("public_key", pem)
        .with(&format!("{prefix}type"), kind)
        .with("public_key_fingerprints", tool.fingerprints(machine, spki)?))
}

fn privatekey(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: PrivatekeyInfo = decode(arguments)?;
    begin(machine, context);
    for (name, flag) in [
        ("return_private_key_data", arguments.return_private_key_data),
        ("check_consistency", arguments.check_consistency),
    ] {
        if flag.0 {
            return Err(ModuleError::argument(name, "this is not supported"));
        }
    }
    let key = source(machine, arguments.path.as_ref(), arguments.content.as_ref())?;
    let tool = Tool::new()?;
    let passphrase = arguments.passphrase.as_ref().map(|passphrase| passphrase.0.as_str());
    let outcome = |parsed: bool| {
        Outcome::ok().with("can_load_key", true).with("can_parse_key", parsed).with("key_is_consistent", Value::Null)
    };
    match tool.public_of(machine, &key, passphrase)? {
        Ok(spki) => public(machine, &tool, &spki, outcome(true), ""),
        Err(why) => {
            let failed = Outcome::failed(why);
            Ok(Outcome { data: outcome(false).data, ..failed })
        }
    }
}

fn request(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: CsrInfo = decode(arguments)?;
    begin(machine, context);
    let text = source(machine, arguments.path.as_ref(), arguments.content.as_ref())?;
    let Some(said) = der::pem(&text).and_then(|bytes| Request::parse(&bytes)) else {
        return Err(ModuleError::Failed("this is no request for a certificate".into()));
    };
    let tool = Tool::new()?;
    let file = tool.put("asked.csr", &text)?;
    let valid = tool.run(machine, &["req", "-noout", "-verify", "-in", &file])?.success();
    let (subject, ordered) = name_values(&said.subject);
    let mut outcome = Outcome::ok().with("subject", subject).with("subject_ordered", ordered);
    outcome.data.extend(extensions::told(&said.extensions));
    let outcome = public(machine, &tool, &said.key, outcome, "public_key_")?.with("signature_valid", valid);
    match valid {
        true => Ok(outcome),
        false => Ok(Outcome { data: outcome.data, ..Outcome::failed("CSR signature is invalid!") }),
    }
}

fn certificate(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: CertificateInfo = decode(arguments)?;
    begin(machine, context);
    let text = source(machine, arguments.path.as_ref(), arguments.content.as_ref())?;
    let Some(said) = read(&text) else {
        return Err(ModuleError::Failed("this is no certificate".into()));
    };
    let (subject, subject_ordered) = name_values(&said.subject);
    let (issuer, issuer_ordered) = name_values(&said.issuer);
    let now = time::now();
    let (from, until) = (time::moment(&said.not_before, now), time::moment(&said.not_after, now));
    let mut valid = Map::new();
    for (name, when) in arguments.valid_at.iter().flatten() {
        let moment = when.as_str().and_then(|when| time::moment(when, now)).ok_or_else(|| {
            ModuleError::argument("valid_at", format!("{when} is no time: write for example \"+1d\""))
        })?;
        valid.insert(
            name.clone(),
            json!(from.is_some_and(|from| from <= moment) && until.is_some_and(|until| moment <= until)),
        );
    }
    let mut outcome = Outcome::ok()
        .with("subject", subject)
        .with("subject_ordered", subject_ordered)
        .with("issuer", issuer)
        .with("issuer_ordered", issuer_ordered)
        .with("version", said.version)
        .with("not_before", said.not_before.clone())
        .with("not_after", said.not_after.clone())
        .with("expired", until.is_some_and(|until| until < now))
        .with("valid_at", valid)
        .with("signature_algorithm", extensions::signature_name(&said.signature))
        .with("serial_number", serial_value(&said));
    outcome.data.extend(extensions::told(&said.extensions));
    outcome.data.extend(extensions::places(&said.extensions).map(|(name, place)| (name.into(), place)));
    let tool = Tool::new()?;
    let whole = der::pem(&text).unwrap_or_default();
    let outcome = outcome.with("fingerprints", tool.fingerprints(machine, &whole)?);
    public(machine, &tool, &said.key, outcome, "public_key_")
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, check_then_apply};
    use serde_json::json;

    #[test]
    fn what_is_made_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        apply("openssl_privatekey", &json!({"path": at("key"), "type": "RSA", "size": 1024}));
        apply(
            "openssl_csr",
            &json!({"path": at("csr"), "privatekey_path": at("key"), "common_name": "a", "organization_name": "o",
            "subject_alt_name": ["DNS:a", "IP:10.0.0.1", "email:x@y"], "key_usage": ["keyCertSign", "digitalSignature"],
            "extended_key_usage": ["serverAuth"], "basic_constraints": ["CA:TRUE", "pathlen:2"], "basic_constraints_critical": true}),
        );
        apply(
            "x509_certificate",
            &json!({"path": at("crt"), "privatekey_path": at("key"), "csr_path": at("csr"), "provider": "selfsigned",
            "selfsigned_not_after": "+10d"}),
        );
        let key = check_then_apply("openssl_privatekey_info", &json!({"path": at("key")}));
        assert_eq!((&key.data["type"], &key.data["can_parse_key"]), (&json!("RSA"), &json!(true)));
        let request = check_then_apply("openssl_csr_info", &json!({"path": at("csr")}));
        assert_eq!(request.data["subject"], json!({"organizationName": "o", "commonName": "a"}));
        let said = check_then_apply(
            "x509_certificate_info",
            &json!({"path": at("crt"), "valid_at": {"soon": "+1d", "late": "+11d"}}),
        );
        for outcome in [&request, &said] {
            assert_eq!(outcome.data["subject_alt_name"], json!(["DNS:a", "IP:10.0.0.1", "email:x@y"]));
            assert_eq!(outcome.data["key_usage"], json!(["Certificate Sign", "Digital Signature"]));
            assert_eq!(outcome.data["extended_key_usage"], json!(["TLS Web Server Authentication"]));
            assert_eq!(outcome.data["basic_constraints"], json!(["CA:TRUE", "pathlen:2"]));
            assert_eq!(outcome.data["basic_constraints_critical"], json!(true));
            assert_eq!(outcome.data["public_key_fingerprints"], key.data["public_key_fingerprints"]);
        }
        assert_eq!(
            (&said.data["valid_at"], &said.data["expired"]),
            (&json!({"soon": true, "late": false}), &json!(false))
        );
        assert_eq!((&said.data["version"], &said.data["issuer"]), (&json!(3), &said.data["subject"]));
        for (module, arguments) in [
            ("x509_certificate_info", json!({"path": at("key")})),
            ("openssl_csr_info", json!({"content": "x"})),
            ("openssl_privatekey_info", json!({"path": at("crt")})),
            ("openssl_privatekey_info", json!({})),
        ] {
            assert_eq!(apply(module, &arguments).status, Status::Failed, "{module} {arguments}");
        }
    }
}
