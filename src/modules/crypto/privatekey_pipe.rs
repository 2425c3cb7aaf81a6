//! `openssl_privatekey_pipe`: a private key that the play keeps. It is made on the controller.

use super::privatekey::PrivatekeyPipe;
use crate::modules::{FreeForm, Module, Reach};

/// `community.crypto.openssl_privatekey_pipe`
pub const PRIVATEKEY_PIPE: Module = Module {
    name: "community.crypto.openssl_privatekey_pipe",
    aliases: &["openssl_privatekey_pipe"],
    reach: Reach::Control,
    free_form: FreeForm::KeyValue,
    arguments: PrivatekeyPipe::ARGUMENTS,
    run: None,
    #[cfg(feature = "controller")]
    action: Some(controller::act),
};

#[cfg(feature = "controller")]
mod controller {
    use super::PrivatekeyPipe;
    use crate::machine::{Machine, Mode};
    use crate::modules::crypto::privatekey::{Maker, Work};
    use crate::modules::crypto::twin::given;
    use crate::modules::files::common::Step;
    use crate::modules::{ActionError, ActionFuture, ActionHost, ModuleError, Outcome, Prepared, decode};
    use crate::secret::Secret;
    use base64::Engine;
    use serde_json::{Map, Value};

    pub fn act<'a>(host: &'a dyn ActionHost, arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move {
            let mode = if host.check() { Mode::Predicted } else { Mode::Live };
            if let Some(Value::String(key)) = arguments.get("content") {
                host.conceal(&Secret::new(key.clone()));
            }
            // A key of 4096 bits takes seconds: the other hosts' tasks go on meanwhile.
            let work = tokio::task::spawn_blocking(move || {
                let mut machine = Machine::new(mode);
                let outcome = pipe(arguments, &mut machine);
                outcome.map(|outcome| Outcome { changes: machine.take_changes(), ..outcome })
            });
            let outcome = match work.await {
                Ok(outcome) => outcome.unwrap_or_else(Outcome::from),
                Err(error) => return Err(ActionError::Failed(format!("the work on the key stopped: {error}"))),
            };
            if let Some(Value::String(key)) = outcome.data.get("privatekey") {
                host.conceal(&Secret::new(key.clone()));
            }
            Ok(Prepared::Done(outcome))
        })
    }

    pub(super) fn pipe(arguments: Map<String, Value>, machine: &mut Machine) -> Step<Outcome> {
        let arguments: PrivatekeyPipe = decode(arguments)?;
        let maker = Maker::of(arguments.shared())?;
        let before = match given(arguments.content.as_ref()) {
            Some(bytes) if arguments.content_base64.0 => Some(decoded(&bytes)?),
            other => other,
        };
        let mut outcome = maker.told();
        let work = maker.work(machine, before.as_deref(), false)?;
        let made = work != Work::Nothing;
        let key = match work {
            Work::Nothing => before,
            _ => {
                machine.note_handed_over("private key");
                match machine.predicted() {
                    true => None,
                    false => Some(maker.make(machine, before.as_deref().filter(|_| work == Work::Convert))?),
                }
            }
        };
        let Some(key) = key else {
            outcome.unknown_fields.extend(["fingerprint", "privatekey"].map(String::from));
            return Ok(outcome);
        };
        outcome = outcome.with("fingerprint", maker.fingerprint(machine, &key)?);
        if made || arguments.return_current_key.0 {
            outcome = outcome.with("privatekey", String::from_utf8_lossy(&key));
        }
        Ok(outcome)
    }

    fn decoded(bytes: &[u8]) -> Step<Vec<u8>> {
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| ModuleError::Failed(format!("Cannot decode Base64 encoded data: {error}")))
    }
}

#[cfg(all(test, feature = "controller"))]
mod tests {
    use super::controller::pipe;
    use crate::machine::{Machine, Mode};
    use crate::modules::Outcome;
    use base64::Engine;
    use serde_json::{Value, json};

    fn task(mode: Mode, arguments: &Value) -> Outcome {
        let mut machine = Machine::new(mode);
        let outcome = pipe(arguments.as_object().unwrap().clone(), &mut machine).unwrap_or_else(Outcome::from);
        Outcome { changes: machine.take_changes(), ..outcome }
    }

    #[test]
    fn keys_are_made_kept_and_converted() {
        let arguments = json!({"type": "ECC", "curve": "secp256r1"});
        let foreseen = task(Mode::Predicted, &arguments);
        let made = task(Mode::Live, &arguments);
        crate::modules::testing::assert_foretold(&foreseen, &made, "a new key");
        assert!(made.changed() && foreseen.unknown_fields.contains(&"privatekey".to_string()));
        let key = made.data["privatekey"].as_str().unwrap().to_string();
        assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----"));
        let with = |more: Value| {
            let mut all = arguments.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let kept = task(Mode::Live, &with(json!({"content": key})));
        assert!(!kept.changed() && kept.data["fingerprint"] == made.data["fingerprint"]);
        assert!(!kept.data.contains_key("privatekey"));
        let encoded = base64::engine::general_purpose::STANDARD.encode(&key);
        let told = json!({"content": encoded, "content_base64": true, "return_current_key": true});
        let told = task(Mode::Live, &with(told));
        assert!(!told.changed() && told.data["privatekey"] == key.as_str());
        let convert = json!({"content": key, "format": "pkcs8", "format_mismatch": "convert"});
        let converted = task(Mode::Live, &with(convert));
        assert!(converted.changed() && converted.data["fingerprint"] == made.data["fingerprint"]);
        assert!(converted.data["privatekey"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        let other = task(Mode::Live, &json!({"type": "Ed25519", "content": key}));
        assert!(other.changed() && other.data["fingerprint"] != made.data["fingerprint"]);
        for wrong in [
            json!({"type": "Ed25519", "content": key, "regenerate": "fail"}),
            json!({"type": "ECC"}),
            json!({"type": "Ed25519", "content": "?", "content_base64": true}),
            json!({"type": "Ed25519", "path": "/tmp/x"}),
        ] {
            assert_eq!(task(Mode::Live, &wrong).status, crate::modules::Status::Failed, "{wrong}");
        }
    }
}
