//! Encodings of text, by the names that Python knows them by.

/// Why a text or bytes have no other form.
#[derive(Debug, PartialEq)]
pub(crate) enum CodecError {
    /// Nobody knows an encoding of this name.
    Unknown,
    /// The encoding has no such character.
    Lacks(char),
    /// The bytes are none of this encoding.
    Invalid,
}

#[derive(Clone, Copy, PartialEq)]
enum Codec {
    Utf8,
    /// With a mark before it.
    Utf8Sig,
    /// Two bytes or four, the smaller first or last, with a mark before them or without.
    Wide {
        four: bool,
        big: bool,
        mark: bool,
    },
    Ascii,
    /// One byte each: that of Latin-1, but for these.
    Byte(&'static [(u8, Option<char>)]),
}

/// What Windows has where Latin-1 has controls.
const CP1252: &[(u8, Option<char>)] = &[
    (0x80, Some('€')),
    (0x81, None),
    (0x82, Some('‚')),
    (0x83, Some('ƒ')),
    (0x84, Some('„')),
    (0x85, Some('…')),
    (0x86, Some('†')),
    (0x87, Some('‡')),
    (0x88, Some('ˆ')),
    (0x89, Some('‰')),
    (0x8a, Some('Š')),
    (0x8b, Some('‹')),
    (0x8c, Some('Œ')),
    (0x8d, None),
    (0x8e, Some('Ž')),
    (0x8f, None),
    (0x90, None),
    (0x91, Some('‘')),
    (0x92, Some('’')),
    (0x93, Some('“')),
    (0x94, Some('”')),
    (0x95, Some('•')),
    (0x96, Some('–')),
    (0x97, Some('—')),
    (0x98, Some('˜')),
    (0x99, Some('™')),
    (0x9a, Some('š')),
    (0x9b, Some('›')),
    (0x9c, Some('œ')),
    (0x9d, None),
    (0x9e, Some('ž')),
    (0x9f, Some('Ÿ')),
];

/// What Latin-9 has anew.
const LATIN9: &[(u8, Option<char>)] = &[
    (0xa4, Some('€')),
    (0xa6, Some('Š')),
    (0xa8, Some('š')),
    (0xb4, Some('Ž')),
    (0xb8, Some('ž')),
    (0xbc, Some('Œ')),
    (0xbd, Some('œ')),
    (0xbe, Some('Ÿ')),
];

fn codec(name: &str) -> Option<Codec> {
    let wide = |four, big, mark| Codec::Wide { four, big, mark };
    let name: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match name.as_str() {
        "utf8" | "u8" | "utf" | "cp65001" => Codec::Utf8,
        "utf8sig" => Codec::Utf8Sig,
        "utf16" | "u16" => wide(false, false, true),
        "utf16le" => wide(false, false, false),
        "utf16be" => wide(false, true, false),
        "utf32" | "u32" => wide(true, false, true),
        "utf32le" => wide(true, false, false),
        "utf32be" => wide(true, true, false),
        "ascii" | "usascii" | "646" => Codec::Ascii,
        "latin1" | "latin" | "l1" | "iso88591" | "88591" | "8859" | "cp819" => Codec::Byte(&[]),
        "cp1252" | "windows1252" | "1252" => Codec::Byte(CP1252),
        "iso885915" | "latin9" | "l9" => Codec::Byte(LATIN9),
        _ => return None,
    })
}

/// A text in an encoding.
pub(crate) fn encode(text: &str, name: &str) -> Result<Vec<u8>, CodecError> {
    let codec = codec(name).ok_or(CodecError::Unknown)?;
    let mut out = Vec::with_capacity(text.len());
    if let Codec::Wide { mark: true, .. } = codec {
        push(&mut out, '\u{feff}', codec);
    }
    if codec == Codec::Utf8Sig {
        out.extend_from_slice("\u{feff}".as_bytes());
    }
    for c in text.chars() {
        match codec {
            Codec::Utf8 | Codec::Utf8Sig => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Codec::Wide { .. } => push(&mut out, c, codec),
            Codec::Ascii => out.push(u8::try_from(c).ok().filter(u8::is_ascii).ok_or(CodecError::Lacks(c))?),
            Codec::Byte(table) => {
                let own = table.iter().find(|(_, own)| *own == Some(c)).map(|(byte, _)| *byte);
                let usual = || u8::try_from(u32::from(c)).ok().filter(|byte| table.iter().all(|(own, _)| own != byte));
                out.push(own.or_else(usual).ok_or(CodecError::Lacks(c))?);
            }
        }
    }
    Ok(out)
}

fn push(out: &mut Vec<u8>, c: char, codec: Codec) {
    let Codec::Wide { four, big, .. } = codec else { return };
    if four {
        let code = u32::from(c);
        out.extend(if big { code.to_be_bytes() } else { code.to_le_bytes() });
        return;
    }
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend(if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
    }
}

/// The text that bytes are in an encoding.
pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<String, CodecError> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| CodecError::Invalid);
    match codec(name).ok_or(CodecError::Unknown)? {
        Codec::Utf8 => utf8(bytes),
        Codec::Utf8Sig => utf8(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)),
        Codec::Ascii if !bytes.is_ascii() => Err(CodecError::Invalid),
        Codec::Ascii => utf8(bytes),
        Codec::Byte(table) => {
            let character = |byte: &u8| match table.iter().find(|(own, _)| own == byte) {
                Some((_, own)) => own.ok_or(CodecError::Invalid),
                None => Ok(char::from(*byte)),
            };
            bytes.iter().map(character).collect()
        }
        Codec::Wide { four, big, mark } => wide(bytes, four, big, mark),
    }
}

fn wide(bytes: &[u8], four: bool, big: bool, mark: bool) -> Result<String, CodecError> {
    let size = if four { 4 } else { 2 };
    if !bytes.len().is_multiple_of(size) {
        return Err(CodecError::Invalid);
    }
    let read = |chunk: &[u8], big: bool| {
        let add = |code: u32, byte: &u8| (code << 8) | u32::from(*byte);
        if big { chunk.iter().fold(0, add) } else { chunk.iter().rev().fold(0, add) }
    };
    // The mark says the order, and goes.
    let first = bytes.get(..size).filter(|_| mark);
    let marked = [big, !big].into_iter().find(|big| first.is_some_and(|chunk| read(chunk, *big) == 0xfeff));
    let rest = bytes.get(if marked.is_some() { size } else { 0 }..).unwrap_or_default();
    let codes = rest.chunks(size).map(|chunk| read(chunk, marked.unwrap_or(big)));
    if four {
        return codes.map(|code| char::from_u32(code).ok_or(CodecError::Invalid)).collect();
    }
    let units: Vec<u16> = codes.filter_map(|code| u16::try_from(code).ok()).collect();
    String::from_utf16(&units).map_err(|_| CodecError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_encodes() {
        for (text, name, bytes) in [
            ("ü", "latin-1", &[0xfc][..]),
            ("ü", "L1", &[0xfc]),
            ("é", "UTF_8", &[0xc3, 0xa9]),
            ("é", "utf_8_sig", &[0xef, 0xbb, 0xbf, 0xc3, 0xa9]),
            ("é", "utf-16", &[0xff, 0xfe, 0xe9, 0]),
            ("a", "utf-16-be", &[0, b'a']),
            ("😀", "utf-16-le", &[0x3d, 0xd8, 0, 0xde]),
            ("😀", "utf-32", &[0xff, 0xfe, 0, 0, 0, 0xf6, 1, 0]),
            ("€a", "windows-1252", &[0x80, b'a']),
            ("€é", "iso-8859-15", &[0xa4, 0xe9]),
        ] {
            assert_eq!(encode(text, name).as_deref(), Ok(bytes), "{text} {name}");
            assert_eq!(decode(bytes, name).as_deref(), Ok(text), "{text} {name}");
        }
        assert_eq!(decode(&[0xfe, 0xff, 0, 0xe9], "utf-16").as_deref(), Ok("é"));
        assert_eq!(decode(&[0], "utf-16"), Err(CodecError::Invalid));
        assert_eq!(decode(&[0x81], "cp1252"), Err(CodecError::Invalid));
        assert_eq!(encode("€", "latin-1"), Err(CodecError::Lacks('€')));
        assert_eq!(encode("¤", "latin9"), Err(CodecError::Lacks('¤')));
        assert_eq!(encode("é", "ascii"), Err(CodecError::Lacks('é')));
        assert_eq!(encode("x", "nope"), Err(CodecError::Unknown));
    }
}
