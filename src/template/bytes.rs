//! Python's `bytes`: what `encode` makes of text, and what can be done with it.

use minijinja::Error;
use minijinja::value::Value;

use super::args::{Args, R, fail};
use crate::source::codec::{self, CodecError};

/// `text.encode(encoding, errors)`
pub(super) fn encode(text: &str, args: &Args) -> R {
    let (name, errors) = codec_of(args);
    let written = match codec::encode(text, &name) {
        Err(CodecError::Lacks(_)) if !matches!(errors.as_str(), "" | "strict") => {
            codec::encode(&without_lacking(text, &name, &errors), &name)
        }
        other => other,
    };
    written.map(Value::from_bytes).map_err(|e| refused("encode", &name, &e))
}

/// What stands for the characters that an encoding lacks.
fn without_lacking(text: &str, name: &str, errors: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let has = codec::encode(c.encode_utf8(&mut [0; 4]), name).is_ok();
        match errors {
            _ if has => out.push(c),
            "replace" => out.push('?'),
            "xmlcharrefreplace" => out.push_str(&format!("&#{};", u32::from(c))),
            "ignore" => {}
            // It fails as without.
            _ => out.push(c),
        }
    }
    out
}

/// The encoding and what is to be done with what it lacks.
fn codec_of(args: &Args) -> (String, String) {
    let name = args.text(0, "encoding").unwrap_or_else(|| "utf-8".to_owned());
    (name, args.text(1, "errors").unwrap_or_default())
}

/// Why it does not hold: without the text, which may be a secret.
pub(super) fn refused(who: &str, encoding: &str, error: &CodecError) -> Error {
    fail(match error {
        CodecError::Unknown => format!("{who}: the encoding '{encoding}' is not known"),
        CodecError::Lacks(_) => format!("{who}: the encoding '{encoding}' lacks a character of the text"),
        CodecError::Invalid => format!("{who}: the bytes are no text of the encoding '{encoding}'"),
    })
}

/// A method of bytes.
pub(super) fn method(bytes: &[u8], method: &str, args: &Args) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "decode" => {
            let (name, errors) = codec_of(args);
            Value::from(match (codec::decode(bytes, &name), errors.as_str()) {
                (Ok(text), _) => text,
                (Err(CodecError::Invalid), "replace") => String::from_utf8_lossy(bytes).into_owned(),
                (Err(CodecError::Invalid), "ignore") => {
                    let ascii = codec::decode(&[0xc3, 0xa9], &name).is_err();
                    let valid = bytes.utf8_chunks().map(|chunk| chunk.valid());
                    valid.filter(|text| !ascii || text.is_ascii()).collect()
                }
                (Err(e), _) => return Err(refused("decode", &name, &e)),
            })
        }
        "hex" => Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        _ => return Ok(None),
    }))
}

/// What a filter works on that takes text and bytes alike.
pub(super) fn of(value: &Value) -> Vec<u8> {
    match value.as_bytes() {
        Some(bytes) => bytes.to_vec(),
        None => super::py::str(value).into_bytes(),
    }
}
