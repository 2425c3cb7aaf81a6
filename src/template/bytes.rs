//! Python's `bytes`: what `encode` makes of text, and what can be done with it.

use minijinja::Error;
use minijinja::value::Value;

use super::args::{Args, R, fail};

/// `text.encode(encoding, errors)`
pub(super) fn encode(text: &str, args: &Args) -> R {
    let (name, errors) = codec(args)?;
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        let code = u32::from(c);
        let mut units = [0u16; 2];
        let limit = match name.as_str() {
            "utf8" => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            "utf16" | "utf16le" => {
                if name == "utf16" && out.is_empty() {
                    out.extend([0xff, 0xfe]);
                }
                out.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_le_bytes()));
                continue;
            }
            "utf16be" => {
                out.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
                continue;
            }
            "ascii" => 0x80,
            _ => 0x100,
        };
        match (u8::try_from(code), errors.as_str()) {
            (Ok(byte), _) if code < limit => out.push(byte),
            (_, "ignore") => {}
            (_, "replace") => out.push(b'?'),
            (_, "xmlcharrefreplace") => out.extend(format!("&#{code};").bytes()),
            _ => return Err(fail(format!("encode: '{name}' has no such character as U+{code:04X}"))),
        }
    }
    Ok(Value::from_bytes(out))
}

/// The encoding and what is to be done with what it lacks.
fn codec(args: &Args) -> Result<(String, String), Error> {
    let given = args.text(0, "encoding").unwrap_or_default();
    let name: String = given.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let name = match name.as_str() {
        "" | "utf8" | "u8" => "utf8",
        "ascii" | "usascii" | "646" => "ascii",
        "latin1" | "iso88591" | "l1" => "latin1",
        known @ ("utf16" | "utf16le" | "utf16be") => known,
        _ => return Err(fail(format!("the encoding '{given}' is not supported"))),
    };
    Ok((name.to_owned(), args.text(1, "errors").unwrap_or_default()))
}

/// A method of bytes.
pub(super) fn method(bytes: &[u8], method: &str, args: &Args) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "decode" => {
            let (name, errors) = codec(args)?;
            let units = |from: fn([u8; 2]) -> u16, bytes: &[u8]| {
                let pairs = bytes.chunks_exact(2).filter_map(|pair| Some(from(pair.try_into().ok()?)));
                String::from_utf16_lossy(&pairs.collect::<Vec<_>>())
            };
            Value::from(match name.as_str() {
                "utf16le" => units(u16::from_le_bytes, bytes),
                "utf16be" => units(u16::from_be_bytes, bytes),
                "utf16" => units(u16::from_le_bytes, bytes.strip_prefix(&[0xff, 0xfe]).unwrap_or(bytes)),
                "latin1" => bytes.iter().map(|byte| char::from(*byte)).collect(),
                name => match std::str::from_utf8(bytes) {
                    Ok(text) if name != "ascii" || text.is_ascii() => text.to_owned(),
                    _ if errors == "replace" => String::from_utf8_lossy(bytes).into_owned(),
                    _ if errors == "ignore" => bytes
                        .utf8_chunks()
                        .map(|chunk| chunk.valid())
                        .filter(|t| name != "ascii" || t.is_ascii())
                        .collect(),
                    _ => return Err(fail(format!("decode: the bytes are not '{name}'"))),
                },
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
