//! Public keys of OpenPGP, as far as a list of trusted keys needs them: read, taken apart, told by their ids.

use base64::Engine;
use sha1::{Digest, Sha1};

/// One key with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its packets, binary.
    pub bytes: Vec<u8>,
    /// The long id (16 digits) of the key itself, then of its subkeys; none of a version that is not understood.
    pub ids: Vec<String>,
    /// Fingerprint of the key itself, 40 digits; empty where its version is not understood.
    pub fingerprint: String,
}

impl Key {
    /// Whether an id of 8 or 16 digits means it, or one of its subkeys; longer ones are the end of its own fingerprint.
    pub fn is(&self, id: &str) -> bool {
        match id.len() {
            0..=16 => self.ids.iter().any(|own| own.ends_with(id)),
            _ => self.fingerprint.ends_with(id),
        }
    }
}

/// The keys of a file, armored or binary.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let binary = match String::from_utf8_lossy(bytes).contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        true => unarmored(&String::from_utf8_lossy(bytes))?,
        false => bytes.to_vec(),
    };
    let mut keys: Vec<Key> = Vec::new();
    let mut rest = binary.as_slice();
    while !rest.is_empty() {
        let (tag, body, length) = packet(rest).ok_or("it is no public key of OpenPGP")?;
        let whole = rest.get(..length).unwrap_or_default();
        if tag == 6 || tag == 14 {
            let print = fingerprint(body);
            let id = print.as_ref().and_then(|print| print.get(24..)).map(str::to_string);
            match (tag, keys.last_mut()) {
                (14, Some(key)) => key.ids.extend(id),
                _ => keys.push(Key {
                    bytes: Vec::new(),
                    ids: id.into_iter().collect(),
                    fingerprint: print.unwrap_or_default(),
                }),
            }
        }
        match keys.last_mut() {
            Some(key) => key.bytes.extend(whole),
            None => return Err("it does not begin with a public key".into()),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if keys.is_empty() { Err("there is no public key in it".into()) } else { Ok(keys) }
}

/// Keys as text.
pub(super) fn armored(bytes: &[u8]) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    let mut text = String::from("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n");
    // 48 bytes are 64 signs.
    for line in bytes.chunks(48) {
        text += &engine.encode(line);
        text.push('\n');
    }
    let sum = engine.encode(checksum(bytes).to_be_bytes().get(1..).unwrap_or_default());
    text + &format!("={sum}\n-----END PGP PUBLIC KEY BLOCK-----\n")
}

/// CRC-24 of OpenPGP's armor.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = 0x00b7_04ce_u32;
    for byte in bytes {
        sum ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            sum <<= 1;
            if sum & 0x0100_0000 != 0 {
                sum ^= 0x0186_4cfb;
            }
        }
    }
    sum & 0x00ff_ffff
}

/// All blocks of a text.
fn unarmored(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for block in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----").skip(1) {
        let block = block.split("-----END").next().unwrap_or_default();
        // Headers end at an empty line; the checksum begins with an equals sign.
        let mut lines = block.lines().skip(1).map(str::trim).skip_while(|line| line.contains(':')).peekable();
        lines.next_if(|line| line.is_empty());
        let body: String = lines.take_while(|line| !line.starts_with('=')).collect();
        let packed = base64::engine::general_purpose::STANDARD.decode(body.as_bytes());
        bytes.extend(packed.map_err(|e| format!("the key's armor is broken: {e}"))?);
    }
    Ok(bytes)
}

/// Tag, body and whole length of the first packet.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let first = *bytes.first()?;
    let number = |from: usize, count: usize| {
        Some(bytes.get(from..from + count)?.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if first & 0x80 == 0 {
        return None;
    }
    let (tag, head, length): (u8, usize, usize) = if first & 0x40 != 0 {
        let (head, length) = match *bytes.get(1)? {
            one @ 0..=191 => (2, usize::from(one)),
            one @ 192..=223 => (3, ((usize::from(one) - 192) << 8) + usize::from(*bytes.get(2)?) + 192),
            255 => (6, number(2, 4)?),
            _ => return None, // in parts: not for keys
        };
        (first & 0x3f, head, length)
    } else {
        let (head, length) = match first & 3 {
            0 => (2, number(1, 1)?),
            1 => (3, number(1, 2)?),
            2 => (5, number(1, 4)?),
            _ => (1, bytes.len() - 1),
        };
        (first >> 2 & 0x0f, head, length)
    };
    let end = head.checked_add(length)?;
    Some((tag, bytes.get(head..end)?, end))
}

/// Of a key of version 4: SHA-1 over it with its length.
fn fingerprint(body: &[u8]) -> Option<String> {
    if body.first() != Some(&4) {
        return None;
    }
    let length = u16::try_from(body.len()).ok()?;
    let mut hasher = Sha1::new();
    hasher.update([0x99]);
    hasher.update(length.to_be_bytes());
    hasher.update(body);
    Some(crate::machine::files::hex(&hasher.finalize()).to_uppercase())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A key that was made for tests (ed25519), as `gpg --export --armor` writes it.
    pub const ARMORED: &str = include_str!("openpgp_key.asc");
    pub const FINGERPRINT: &str = include_str!("openpgp_key.id");

    #[test]
    fn keys_are_told_by_their_ids() {
        let keys = read(ARMORED.as_bytes()).unwrap();
        assert_eq!((keys.len(), keys[0].fingerprint.as_str()), (1, FINGERPRINT.trim()));
        let print = FINGERPRINT.trim();
        assert!(keys[0].is(print) && keys[0].is(&print[24..]) && keys[0].is(&print[32..]) && !keys[0].is("00000000"));
        let other = format!("{}{}", "0".repeat(24), &print[24..]);
        assert!(!keys[0].is(&other), "a whole fingerprint is compared wholly");
        assert!(keys[0].is(&print[8..]) && !keys[0].is(&other[8..]), "and a part of one as far as it goes");
        // gpg's own armor is made again.
        let sum = |text: &str| text.lines().find(|line| line.starts_with('=')).map(str::to_string);
        assert_eq!(sum(&armored(&keys[0].bytes)), sum(ARMORED));
        assert_eq!(read(armored(&keys[0].bytes).as_bytes()).unwrap(), keys);
        let strange = [&[0xc6, 2, 9, 9][..], &keys[0].bytes].concat();
        let both = read(&strange).unwrap();
        assert_eq!((both.len(), both[0].ids.len(), &both[0].bytes), (2, 0, &vec![0xc6, 2, 9, 9]), "kept as it is");
        let twice: Vec<u8> = [keys[0].bytes.clone(), keys[0].bytes.clone()].concat();
        assert_eq!(read(&twice).unwrap().len(), 2, "binary, one behind the other");
        for wrong in [&b""[..], b"nonsense", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n", &keys[0].bytes[..20]] {
            assert!(read(wrong).is_err());
        }
    }
}
