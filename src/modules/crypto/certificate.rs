//! `x509_certificate` and `x509_certificate_pipe`: a certificate that signs itself, or that an authority on the host signs, in a
//! file or for the play.

use super::der::{self, Certificate};
use super::privatekey::base_directory;
use super::signing::Signing;
use super::tool::{LIMIT, Tool};
use super::twin::given;
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, remove, show};
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

/// `community.crypto.x509_certificate_pipe`
pub const CERTIFICATE_PIPE: Module = Module {
    name: "community.crypto.x509_certificate_pipe",
    aliases: &["x509_certificate_pipe"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: X509CertificatePipe::ARGUMENTS,
    run: Some(pipe),
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

twin_arguments! {
    shared Wish {
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
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }

    /// Makes a certificate and keeps it: signed by its own key (`selfsigned`), or by an authority whose key is on the host
    /// (`ownca`).
    ///
    /// The host needs the program `openssl`. It is made anew where it belongs to another key, says something else than its
    /// request, or was signed by another authority; that it runs out is no reason, unless `ignore_timestamps` is false.
    /// For certificates of a cluster see `deploy.builtin.pki_certificate`, whose authority stays on the controller. The
    /// providers `acme` and `entrust` are not supported.
    file X509Certificate {
        /// The file.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return the certificate, too (`certificate`).
        #[serde(default)]
        pub return_content: Flag,
    }

    /// Makes a certificate and returns it (`certificate`), or the one it is given where that is as it should be.
    ///
    /// The host, or whom the task is delegated to, needs the program `openssl`, and keeps nothing. When it is made anew is said
    /// at `x509_certificate`. Ansible pays no heed to a check and makes a certificate that nobody keeps; here a check says that
    /// one is made, and what it is counts as not known.
    pipe X509CertificatePipe {
        /// The certificate that there is.
        pub content: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: X509Certificate = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let wish = arguments.shared();
    if arguments.state == State::Absent {
        return remove(machine, &path, arguments.backup.0, wish.told().with("filename", show(&path)));
    }
    let own = wish.own()?;
    let mut outcome = wish.told_by(own).with("filename", show(&path));
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    let options = WriteOptions { attributes, follow: true, backup: arguments.backup.0, ..WriteOptions::default() };
    let made = wish.made(machine, own, before.as_deref())?;
    let certificate = match &made {
        Made::Stays => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        Made::AtApply => {
            machine.write(&path, NewContent::AtApply("signed at apply"), &options, None)?;
            None
        }
        Made::New(new) => {
            let written = machine.write(&path, NewContent::Bytes(new), &options, None)?;
            if let Some(backup) = written.backup {
                outcome = outcome.with("backup_file", show(&backup));
            }
            Some(new.clone())
        }
    };
    Ok(with_certificate(outcome, certificate, arguments.return_content.0))
}

fn pipe(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: X509CertificatePipe = decode(arguments)?;
    begin(machine, context);
    let wish = arguments.shared();
    let own = wish.own()?;
    let before = given(arguments.content.as_ref());
    let made = wish.made(machine, own, before.as_deref())?;
    if made != Made::Stays {
        machine.note_handed_over("certificate");
    }
    let certificate = match made {
        Made::Stays => before,
        Made::AtApply => None,
        Made::New(new) => Some(new),
    };
    Ok(with_certificate(wish.told_by(own), certificate, true))
}

/// Returns what the certificate says, and itself if that is asked for; a check does not know it.
fn with_certificate(mut outcome: Outcome, certificate: Option<Vec<u8>>, itself: bool) -> Outcome {
    let Some(certificate) = certificate else {
        let fields = ["notBefore", "notAfter", "serial_number", "certificate"];
        let told = if itself { &fields[..] } else { fields.get(..3).unwrap_or_default() };
        outcome.unknown_fields.extend(told.iter().map(|field| field.to_string()));
        return outcome;
    };
    if let Some(said) = read(&certificate) {
        let serial = serial_value(&said);
        outcome =
            outcome.with("notBefore", said.not_before).with("notAfter", said.not_after).with("serial_number", serial);
    }
    match itself {
        true => outcome.with("certificate", String::from_utf8_lossy(&certificate)),
        false => outcome,
    }
}

/// What becomes of a certificate.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    /// It is as it should be.
    Stays,
    /// A check foresees another one.
    AtApply,
    /// Another one.
    New(Vec<u8>),
}

impl Wish<'_> {
    fn told(&self) -> Outcome {
        Outcome::ok().with("privatekey", text(self.privatekey_path)).with("csr", text(self.csr_path))
    }

    /// Whether its own key signs it.
    fn own(&self) -> Step<bool> {
        match self.provider.as_ref().map(|provider| provider.0.as_str()) {
            Some("selfsigned") => Ok(true),
            Some("ownca") => Ok(false),
            Some(other @ ("acme" | "entrust")) => {
                let why = format!("`{other}` is not supported: write selfsigned or ownca");
                Err(ModuleError::argument("provider", why))
            }
            Some(other) => Err(ModuleError::argument("provider", format!("`{other}` is none of selfsigned, ownca"))),
            None => Err(ModuleError::Failed("state is present but all of the following are missing: provider".into())),
        }
    }

    /// What is returned whatever becomes of it, by who signs.
    fn told_by(&self, own: bool) -> Outcome {
        match own {
            true => self.told(),
            false => self
                .told()
                .with("ca_cert", text(self.ownca_path))
                .with("ca_privatekey", text(self.ownca_privatekey_path)),
        }
    }

    /// The certificate that is to be, beside the one that is.
    fn made(&self, machine: &Machine, own: bool, before: Option<&[u8]>) -> Step<Made> {
        let tool = Tool::new()?;
        // What is made when it is applied needs a new certificate.
        let Some(signing) = Signing::of(machine, &tool, *self, own)? else { return Ok(Made::AtApply) };
        if let Some(before) = before.filter(|_| !self.force.0)
            && signing.fits(machine, &tool, before, self.ignore_timestamps.0)?
        {
            return Ok(Made::Stays);
        }
        Ok(if machine.predicted() { Made::AtApply } else { Made::New(signing.sign(machine, &tool)?) })
    }
}

fn text(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| text.0.clone())
}

/// The serial number; one of more digits than numbers of JSON have is a text.
pub(super) fn serial_value(certificate: &Certificate) -> Value {
    super::extensions::number(&certificate.serial)
}

pub(super) fn read(pem: &[u8]) -> Option<Certificate> {
    der::pem(pem).and_then(|bytes| Certificate::parse(&bytes))
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
