//! `openssl_dhparam`: parameters for the exchange of keys after Diffie and Hellman.

use super::der;
use super::privatekey::base_directory;
use super::tool::{LIMIT, Tool};
use crate::machine::Machine;
use crate::machine::files::{Kind, NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, expand, file_arguments, remove, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.crypto.openssl_dhparam`
pub const DHPARAM: Module = Module {
    name: "community.crypto.openssl_dhparam",
    aliases: &["openssl_dhparam"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Dhparam::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

file_arguments! {
    /// Makes parameters for Diffie-Hellman and keeps them. That may take minutes.
    ///
    /// The host needs the program `openssl`.
    pub struct Dhparam {
        /// The file.
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Bits; 4096 when not given.
        pub size: Option<Int>,
        /// Make them anew each time.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Return the parameters, too (`dhparams`).
        #[serde(default)]
        pub return_content: Flag,
        /// Accepted for old playbooks: it is always the host's `openssl`.
        pub select_crypto_backend: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Dhparam = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.path)?;
    base_directory(machine, &path)?;
    let size = arguments.size.map_or(4096, |size| size.0);
    let mut outcome = Outcome::ok().with("filename", show(&path)).with("size", size);
    if arguments.state == State::Absent {
        return remove(machine, &path, arguments.backup.0, outcome);
    }
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let attributes = arguments.common().resolve(machine, &path, true, Kind::File)?;
    let options = WriteOptions { attributes, follow: true, backup: arguments.backup.0, ..WriteOptions::default() };
    let same = before.as_deref().and_then(bits) == Some(size) && !arguments.force.0;
    let text = match before {
        Some(before) if same => {
            machine.set_attributes(&path, &options.attributes, true)?;
            before
        }
        _ if machine.predicted() => {
            machine.write(&path, NewContent::AtApply("made at apply"), &options, None)?;
            if arguments.return_content.0 {
                outcome.unknown_fields.push("dhparams".into());
            }
            return Ok(outcome);
        }
        _ => {
            let tool = Tool::new()?;
            let words = ["dhparam", "-outform", "PEM", &size.to_string()].map(String::from);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let made = tool.good(machine, &words, "openssl cannot make the parameters")?;
            let written = machine.write(&path, NewContent::Bytes(&made), &options, None)?;
            if let Some(backup) = written.backup {
                outcome = outcome.with("backup_file", show(&backup));
            }
            made
        }
    };
    if arguments.return_content.0 {
        outcome = outcome.with("dhparams", String::from_utf8_lossy(&text));
    }
    Ok(outcome)
}

/// The size of parameters in a file.
fn bits(pem: &[u8]) -> Option<i64> {
    der::rsa_bits(&der::pem(pem)?) // their prime stands where an RSA key has its modulus
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice};
    use serde_json::json;

    #[test]
    fn parameters_are_made_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("dh.pem");
        assert!(apply_twice("openssl_dhparam", &json!({"path": path, "size": 512})).changed());
        assert!(apply_twice("openssl_dhparam", &json!({"path": path, "state": "absent"})).changed());
        assert_eq!(apply("openssl_dhparam", &json!({"path": "/nowhere/dh", "size": 512})).status, Status::Failed);
        assert_eq!(apply("openssl_dhparam", &json!({"path": path, "size": 5})).status, Status::Failed);
    }
}
