//! The public half of a private key file, read on the host itself so that the private half never leaves it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::der::{BIT_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, element};
use super::pem;

/// `1.2.840.10045.2.1`, any elliptic curve key.
pub(crate) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `1.2.840.113549.1.1.1`, an RSA key.
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `1.3.101.112`.
pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What is known about the private key that lies beside a certificate. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEvidence {
    /// There is no key file.
    Missing,
    /// The file is there and is no key that can be used, in words.
    Unusable(String),
    /// SHA-256 of the key's SubjectPublicKeyInfo, in lower-case hex.
    Public(String),
    /// A key in a form that does not contain its public half (Ed25519 as OpenSSL writes it): whether it matches
    /// cannot be told without the arithmetic of the curve, which the agent does not carry.
    Untold,
}

impl KeyEvidence {
    /// The public key's SHA-256, where one is known.
    pub fn public(&self) -> Option<&str> {
        match self {
            KeyEvidence::Public(hash) => Some(hash),
            _ => None,
        }
    }
}

/// Judges the contents of a private key file (PKCS#8, PKCS#1 or SEC1, PEM).
pub fn public_half(text: &str) -> KeyEvidence {
    let blocks = match pem::blocks(text) {
        Ok(blocks) => blocks,
        Err(what) => return KeyEvidence::Unusable(what),
    };
    let Some(key) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
        return KeyEvidence::Unusable("it holds no private key in PEM form".into());
    };
    if key.label == "ENCRYPTED PRIVATE KEY" || key.has_headers {
        return KeyEvidence::Unusable("it is encrypted, and a server could not read it without a passphrase".into());
    }
    let info = match key.label.as_str() {
        "PRIVATE KEY" => pkcs8(&key.der),
        "EC PRIVATE KEY" => sec1(&key.der, None),
        "RSA PRIVATE KEY" => rsa(&key.der),
        other => {
            return KeyEvidence::Unusable(format!("it holds a {other}, which TLS servers do not take"));
        }
    };
    match info {
        Some(Half::Spki(spki)) => KeyEvidence::Public(hex(&Sha256::digest(&spki))),
        // Our own Ed25519 files carry the public half as a block of its own, which OpenSSL skips.
        Some(Half::Absent) => match blocks.iter().find(|block| block.label == "PUBLIC KEY") {
            Some(public) => KeyEvidence::Public(hex(&Sha256::digest(&public.der))),
            None => KeyEvidence::Untold,
        },
        None => KeyEvidence::Unusable("its DER is malformed or of an unknown key type".into()),
    }
}

enum Half {
    Spki(Vec<u8>),
    Absent,
}

fn pkcs8(der: &[u8]) -> Option<Half> {
    let mut info = Reader::new(der).sequence()?;
    info.take(INTEGER)?;
    let algorithm = info.take(SEQUENCE)?;
    let private = info.take(OCTET_STRING)?;
    let attached = {
        let mut rest = info;
        let mut bits = None;
        while let Some((tag, contents)) = rest.any() {
            // [1] IMPLICIT BIT STRING; ring writes it constructed around one.
            match tag {
                0x81 => bits = Some(contents),
                0xa1 => bits = Reader::new(contents).take(BIT_STRING),
                _ => {}
            }
        }
        bits
    };
    let mut parts = Reader::new(algorithm);
    match parts.take(OID)? {
        EC_PUBLIC_KEY => sec1(private, parts.take(OID)),
        RSA_ENCRYPTION => rsa(private),
        ED25519 => Some(match attached {
            Some(bits) => Half::Spki(spki(&element(OID, &[ED25519]), bits)),
            None => Half::Absent,
        }),
        _ => None,
    }
}

/// `ECPrivateKey`; the curve stands in the PKCS#8 wrapper or inside.
fn sec1(der: &[u8], curve: Option<&[u8]>) -> Option<Half> {
    let mut key = Reader::new(der).sequence()?;
    key.take(INTEGER)?;
    key.take(OCTET_STRING)?;
    let inside = key.take(0xa0).and_then(|parameters| Reader::new(parameters).take(OID));
    let curve = curve.or(inside)?;
    let Some(public) = key.take(0xa1).and_then(|public| Reader::new(public).take(BIT_STRING)) else {
        return Some(Half::Absent);
    };
    let algorithm = [element(OID, &[EC_PUBLIC_KEY]), element(OID, &[curve])].concat();
    Some(Half::Spki(spki(&algorithm, public)))
}

/// `RSAPrivateKey` begins with version, modulus and public exponent.
fn rsa(der: &[u8]) -> Option<Half> {
    let mut key = Reader::new(der).sequence()?;
    key.take(INTEGER)?;
    let modulus = element(INTEGER, &[key.take(INTEGER)?]);
    let exponent = element(INTEGER, &[key.take(INTEGER)?]);
    let public = element(SEQUENCE, &[&modulus, &exponent]);
    let algorithm = [element(OID, &[RSA_ENCRYPTION]), element(0x05, &[])].concat();
    Some(Half::Spki(spki(&algorithm, &[&[0u8], public.as_slice()].concat())))
}

fn spki(algorithm: &[u8], bits: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&element(SEQUENCE, &[algorithm]), &element(BIT_STRING, &[bits])])
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_said_in_words() {
        for (text, want) in [
            ("", "it holds no private key in PEM form"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it holds no private key in PEM form"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "it is encrypted, and a server could not read it without a passphrase",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "its DER is malformed or of an unknown key type",
            ),
            (
                "-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n",
                "it holds a DSA PRIVATE KEY, which TLS servers do not take",
            ),
        ] {
            assert_eq!(public_half(text), KeyEvidence::Unusable(want.into()));
        }
    }
}
