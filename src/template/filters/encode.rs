//! Base64, vault and the forms of Unicode.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use minijinja::State;
use minijinja::value::{Value, ValueKind};
use unicode_normalization::UnicodeNormalization;

use crate::secret::Secret;
use crate::source::codec::{self, CodecError};
use crate::template::args::{Args, R, fail};
use crate::template::{bytes, py};
use crate::vars::vault::{Vault, is_encrypted};

/// The id of what the filter encrypts when none is given.
const FILTER_ID: &str = "filter_default";

fn engine(urlsafe: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(if urlsafe { &alphabet::URL_SAFE } else { &alphabet::STANDARD }, config)
}

/// The encoding that is asked for.
fn encoding(args: &Args) -> String {
    args.text(1, "encoding").unwrap_or_else(|| "utf-8".to_owned())
}

fn refused(args: &Args, error: &CodecError) -> minijinja::Error {
    bytes::refused(args.name(), &encoding(args), error)
}

/// `b64encode(encoding, urlsafe)`
pub(super) fn b64encode(args: &Args) -> R {
    args.only(3, &["encoding", "urlsafe"])?;
    let engine = engine(args.flag(2, "urlsafe", false));
    let value = args.value();
    let clear = match value.as_bytes().filter(|_| value.kind() == ValueKind::Bytes) {
        Some(bytes) => bytes.to_vec(),
        None => codec::encode(&py::str(&value), &encoding(args)).map_err(|e| refused(args, &e))?,
    };
    Ok(Value::from(engine.encode(clear)))
}

/// `b64decode(encoding, urlsafe)`
pub(super) fn b64decode(args: &Args) -> R {
    args.only(3, &["encoding", "urlsafe"])?;
    let text: String = py::str(&args.value()).chars().filter(|c| !c.is_whitespace()).collect();
    if !text.trim_end_matches('=').len().is_multiple_of(4) && !text.len().is_multiple_of(4) {
        return Err(fail("b64decode: the padding at the end is not right"));
    }
    let clear =
        engine(args.flag(2, "urlsafe", false)).decode(text).map_err(|_| fail("b64decode: the text is not base64"))?;
    codec::decode(&clear, &encoding(args)).map(Value::from).map_err(|e| refused(args, &e))
}

fn with_secret(state: &State<'_, '_>, args: &Args) -> Result<(Vault, String), minijinja::Error> {
    let scope = crate::template::globals::scope_of(state)?;
    let mut vault = Vault::new(scope.templar().redactor().clone());
    let id = args.text(if args.name() == "vault" { 3 } else { 2 }, "vault_id").unwrap_or_else(|| FILTER_ID.to_owned());
    vault.add_password(&id, Secret::new(args.need_text(1, "secret")?));
    Ok((vault, id))
}

/// `vault(secret, salt)`: with a salt of one's own the text is the same each time.
pub(super) fn vault(state: &mut State<'_, '_>, args: &Args) -> R {
    let (vault, id) = with_secret(state, args)?;
    let value = args.value();
    let clear = value.as_str().ok_or_else(|| fail(format!("vault: needs text, not '{}'", py::type_name(&value))))?;
    let salt = args.text(2, "salt").filter(|_| args.name() == "vault");
    let text = match salt {
        Some(salt) if salt.is_empty() => return Err(fail("vault: an empty salt")),
        Some(salt) => vault.encrypt_with_salt(clear.as_bytes(), Some(&id), salt.as_bytes()),
        None => vault.encrypt(clear.as_bytes(), Some(&id)),
    };
    text.map(Value::from).map_err(|e| fail(format!("vault: {e}")))
}

/// `unvault(secret)`
pub(super) fn unvault(state: &mut State<'_, '_>, args: &Args) -> R {
    let text = py::str(&args.value());
    if !is_encrypted(&text) {
        return Ok(Value::from(text));
    }
    let (vault, _) = with_secret(state, args)?;
    vault.decrypt_str(&text).map(Value::from).map_err(|e| fail(format!("unvault: {e}")))
}

/// `unicode_normalize(form)`
pub(super) fn unicode_normalize(args: &Args) -> R {
    args.only(2, &["form"])?;
    let value = args.value();
    let text = value.as_str().ok_or_else(|| fail("unicode_normalize: the value is not text"))?;
    Ok(Value::from(match args.get(1, "form").map(|form| py::str(&form)).as_deref() {
        None | Some("NFC") => text.nfc().collect::<String>(),
        Some("NFD") => text.nfd().collect(),
        Some("NFKC") => text.nfkc().collect(),
        Some("NFKD") => text.nfkd().collect(),
        Some(other) => return Err(fail(format!("unicode_normalize: '{other}' is not a form"))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_unicode() {
        for (text, form, length) in [
            ("\u{e9}a", "NFD", 3),
            ("e\u{301}a", "NFC", 2),
            ("\u{fb01}", "NFKC", 2),
            ("\u{fb01}", "NFC", 1),
            ("\u{e9}", "NFKD", 2),
        ] {
            let args = Args::from_values("unicode_normalize", vec![Value::from(text), Value::from(form)]).unwrap();
            let found = unicode_normalize(&args).unwrap();
            assert_eq!(found.as_str().unwrap().chars().count(), length, "{text} {form}");
        }
    }
}
