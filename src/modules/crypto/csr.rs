//! `openssl_csr` and `openssl_csr_pipe`: a request for a certificate, in a file or for the play.

use super::privatekey::base_directory;
use super::request::{Wanted, key_of};
use super::tool::{LIMIT, Tool};
use super::twin::given;
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, remove, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
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

/// `community.crypto.openssl_csr_pipe`
pub const CSR_PIPE: Module = Module {
    name: "community.crypto.openssl_csr_pipe",
    aliases: &["openssl_csr_pipe"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: CsrPipe::ARGUMENTS,
    run: Some(pipe),
    #[cfg(feature = "controller")]
    action: None,
};

twin_arguments! {
    shared Wish {
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
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }

    /// Makes a request for a certificate (PKCS#10) and keeps it.
    ///
    /// The host needs the program `openssl`. The request is made anew where it says something else than is asked for, or
    /// belongs to another key.
    file Csr {
        /// The file.
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
        /// Return the request, too (`csr`).
        #[serde(default)]
        pub return_content: Flag,
    }

    /// Makes a request for a certificate (PKCS#10) and returns it (`csr`), or the one it is given where that says what is asked for.
    ///
    /// The host needs the program `openssl`, and keeps nothing. Ansible pays no heed to a check and makes a request that nobody
    /// keeps; here a check says that one is made, and what it is counts as not known.
    pipe CsrPipe {
        /// The request that there is.
        pub content: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Csr = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let wanted = Wanted::of(arguments.shared())?;
    let mut outcome = wanted.told().with("filename", show(&path));
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    let options = WriteOptions { attributes, follow: true, backup: arguments.backup.0, ..WriteOptions::default() };
    if arguments.state == State::Absent {
        return remove(machine, &path, arguments.backup.0, outcome);
    }
    let made = wanted.made(machine, before.as_deref(), arguments.force.0)?;
    let content = match &made {
        Made::Stays => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        Made::AtApply(why) => {
            machine.write(&path, NewContent::AtApply(why), &options, None)?;
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
    Ok(if arguments.return_content.0 { with_request(outcome, content) } else { outcome })
}

fn pipe(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: CsrPipe = decode(arguments)?;
    begin(machine, context);
    let wanted = Wanted::of(arguments.shared())?;
    let before = given(arguments.content.as_ref());
    let made = wanted.made(machine, before.as_deref(), false)?;
    if made != Made::Stays {
        machine.note_handed_over("certificate signing request");
    }
    let content = match made {
        Made::Stays => before,
        Made::AtApply(_) => None,
        Made::New(new) => Some(new),
    };
    Ok(with_request(wanted.told(), content))
}

/// Returns the request, where it is known.
fn with_request(mut outcome: Outcome, content: Option<Vec<u8>>) -> Outcome {
    match content {
        Some(content) => outcome.with("csr", String::from_utf8_lossy(&content)),
        None => {
            outcome.unknown_fields.push("csr".into());
            outcome
        }
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    /// It says what is asked for.
    Stays,
    /// A check foresees another one, and why it is not known.
    AtApply(&'static str),
    /// Another one.
    New(Vec<u8>),
}

impl Wanted<'_> {
    /// The request that is to be, beside the one that is.
    fn made(&self, machine: &Machine, before: Option<&[u8]>, force: bool) -> Step<Made> {
        let wish = self.wish();
        let key = key_of(machine, wish.privatekey_path.as_ref(), wish.privatekey_content.as_ref())?;
        // A key that is made when it is applied needs a new request.
        let Some(key) = key else { return Ok(Made::AtApply("made at apply")) };
        let new = self.make(machine, &Tool::new()?, &key)?;
        if !force && before.is_some_and(|old| self.is_same(old, &new)) {
            return Ok(Made::Stays);
        }
        // Some signatures differ each time they are made.
        Ok(if machine.predicted() { Made::AtApply("signed at apply") } else { Made::New(new) })
    }
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
