//! Private keys: made in memory, read in every form OpenSSL writes, written in the ones it reads.

use std::str::FromStr;

use pkcs8::pkcs5::{self, pbes2};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo};
use rand::TryRngCore;
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, element};
use super::public_half::{EC_PUBLIC_KEY, ED25519, RSA_ENCRYPTION, hex};
use super::{PkiError, pem};
use crate::secret::Secret;

/// The kinds of keys that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// The default: small, fast, taken everywhere.
    #[default]
    EcdsaP256,
    /// A larger curve.
    EcdsaP384,
    /// Where all peers speak TLS 1.3.
    Ed25519,
    /// For peers that know no curves.
    Rsa3072,
    /// The same, slower.
    Rsa4096,
}

impl KeyType {
    /// As users write it.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::EcdsaP256 => "ecdsa_p256",
            KeyType::EcdsaP384 => "ecdsa_p384",
            KeyType::Ed25519 => "ed25519",
            KeyType::Rsa3072 => "rsa_3072",
            KeyType::Rsa4096 => "rsa_4096",
        }
    }

    /// Whether a key that is there is of this kind.
    pub fn is(self, kind: super::KeyKind) -> bool {
        use super::KeyKind::{Ecdsa, Ed25519, Rsa};
        kind == match self {
            KeyType::EcdsaP256 => Ecdsa(256),
            KeyType::EcdsaP384 => Ecdsa(384),
            KeyType::Ed25519 => Ed25519,
            KeyType::Rsa3072 => Rsa(3072),
            KeyType::Rsa4096 => Rsa(4096),
        }
    }

    /// The kind that comes nearest to a key that is there: of RSA the stronger one, of what is not made here the usual one.
    pub fn like(kind: super::KeyKind) -> Self {
        match kind {
            super::KeyKind::Ecdsa(384) => KeyType::EcdsaP384,
            super::KeyKind::Ed25519 => KeyType::Ed25519,
            super::KeyKind::Rsa(bits) if bits <= 3072 => KeyType::Rsa3072,
            super::KeyKind::Rsa(_) => KeyType::Rsa4096,
            _ => KeyType::default(),
        }
    }
}

impl FromStr for KeyType {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let squeezed: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        Ok(match squeezed.as_str() {
            "ecdsap256" | "p256" | "ecdsa" | "ec" | "prime256v1" => KeyType::EcdsaP256,
            "ecdsap384" | "p384" | "secp384r1" => KeyType::EcdsaP384,
            "ed25519" => KeyType::Ed25519,
            "rsa3072" | "rsa" => KeyType::Rsa3072,
            "rsa4096" => KeyType::Rsa4096,
            _ => {
                let known = "ecdsa_p256, ecdsa_p384, ed25519, rsa_3072, rsa_4096";
                return Err(PkiError::Word { what: "key type", text: text.into(), known });
            }
        })
    }
}

/// A private key in memory. It prints nothing and wipes its own copy.
pub struct PrivateKey {
    pair: KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey(public {})", self.public_sha256())
    }
}

impl PrivateKey {
    /// Makes a new one.
    pub fn generate(kind: KeyType) -> Result<Self, PkiError> {
        let algorithm = match kind {
            KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Ed25519 => &rcgen::PKCS_ED25519,
            KeyType::Rsa3072 => return Self::rsa(3072),
            KeyType::Rsa4096 => return Self::rsa(4096),
        };
        let pair = KeyPair::generate_for(algorithm).map_err(PkiError::crypto("make a key"))?;
        let der = Zeroizing::new(pair.serialize_der());
        Self::from_pkcs8(&der, "a new key")
    }

    /// ring makes no RSA keys; the crate that russh brings does.
    fn rsa(bits: usize) -> Result<Self, PkiError> {
        use rsa::pkcs8::EncodePrivateKey as _;
        let failed = |why: String| PkiError::Crypto { doing: "make an RSA key", why };
        let key = rsa::RsaPrivateKey::new(&mut SystemRng, bits).map_err(|error| failed(error.to_string()))?;
        let der = key.to_pkcs8_der().map_err(|error| failed(error.to_string()))?;
        Self::from_pkcs8(der.as_bytes(), "a new key")
    }

    #[cfg(test)]
    pub(crate) fn rsa_for_tests() -> Self {
        Self::rsa(2048).expect("a small RSA key")
    }

    /// Reads PKCS#8, PKCS#1 or SEC1, encrypted PKCS#8 too; `passphrase` is asked only when it is needed.
    pub fn from_pem(
        text: &str,
        what: &str,
        passphrase: &dyn Fn() -> Result<Secret, PkiError>,
    ) -> Result<Self, PkiError> {
        let bad = |why: &str| PkiError::Key { what: what.to_string(), why: why.to_string() };
        let blocks = pem::blocks(text).map_err(|why| bad(&why))?;
        let block = blocks
            .iter()
            .find(|block| block.label.ends_with("PRIVATE KEY"))
            .ok_or_else(|| bad("there is no private key in PEM form in it"))?;
        if block.has_headers {
            return Err(bad(
                "it is encrypted in OpenSSL's old format, which protects badly; convert it with `openssl pkcs8 -topk8`",
            ));
        }
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der, what),
            "ENCRYPTED PRIVATE KEY" => {
                let locked = EncryptedPrivateKeyInfo::try_from(block.der.as_slice())
                    .map_err(|error| bad(&format!("its encryption is malformed ({error})")))?;
                let unlocked = locked.decrypt(passphrase()?.expose()).map_err(|error| match error {
                    // Bad padding is called a failed encryption in this version.
                    pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed) => {
                        PkiError::WrongPassphrase { what: what.to_string() }
                    }
                    other => bad(&format!(
                        "its encryption is not one we know ({other}); convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc`"
                    )),
                })?;
                // A wrong passphrase passes the padding check once in 256 times, and gives noise.
                PrivateKeyInfo::try_from(unlocked.as_bytes())
                    .map_err(|_| PkiError::WrongPassphrase { what: what.to_string() })?;
                Self::from_pkcs8(unlocked.as_bytes(), what)
            }
            "RSA PRIVATE KEY" => {
                let algorithm = element(SEQUENCE, &[&element(OID, &[RSA_ENCRYPTION]), &element(0x05, &[])]);
                Self::from_pkcs8(&wrapped(&algorithm, &block.der), what)
            }
            "EC PRIVATE KEY" => {
                let curve = curve_of(&block.der).ok_or_else(|| bad("it does not name its curve"))?;
                let algorithm = element(SEQUENCE, &[&element(OID, &[EC_PUBLIC_KEY]), &element(OID, &[curve])]);
                Self::from_pkcs8(&wrapped(&algorithm, &block.der), what)
            }
            other => Err(bad(&format!("a {other} is not a key that TLS takes"))),
        }
    }

    pub(crate) fn from_pkcs8(der: &[u8], what: &str) -> Result<Self, PkiError> {
        let bad = |why: String| PkiError::Key { what: what.to_string(), why };
        let der = plain_ed25519(der).unwrap_or_else(|| Zeroizing::new(der.to_vec()));
        let pair = KeyPair::try_from(der.as_slice()).map_err(|error| {
            bad(format!("{error}; RSA of 2048 to 4096 bits, ECDSA P-256 and P-384 and Ed25519 are taken"))
        })?;
        Ok(PrivateKey { pair, pkcs8: der })
    }

    /// Its PKCS#8, unencrypted.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The pair as the signing library takes it.
    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// SHA-256 of that, in hex: what stands for the key wherever something is shown.
    pub fn public_sha256(&self) -> String {
        hex(&Sha256::digest(self.spki()))
    }

    /// Unencrypted PKCS#8 in version 1, the one every OpenSSL reads. An Ed25519 key has its public half behind it as a
    /// block of its own, so that a host can tell whether it fits a certificate.
    pub fn to_pem(&self) -> Secret {
        let mut text = pem::encode("PRIVATE KEY", &self.pkcs8);
        if self.pair.is_compatible(&rcgen::PKCS_ED25519) {
            text.push_str(&pem::encode("PUBLIC KEY", &self.spki()));
        }
        Secret::new(text)
    }

    /// PKCS#8 encrypted with AES-256-CBC under a key from PBKDF2-HMAC-SHA256: what `openssl pkcs8 -topk8` makes.
    /// scrypt would be stronger, but OpenSSL refuses its memory at sane parameters.
    pub fn to_encrypted_pem(&self, passphrase: &Secret, iterations: u32) -> Result<String, PkiError> {
        let failed = |why: String| PkiError::Crypto { doing: "encrypt a private key", why };
        let (mut salt, mut iv) = ([0u8; 16], [0u8; 16]);
        random(&mut salt)?;
        random(&mut iv)?;
        let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(iterations, &salt, &iv)
            .map_err(|error| failed(error.to_string()))?;
        let info = PrivateKeyInfo::try_from(self.pkcs8.as_slice()).map_err(|error| failed(error.to_string()))?;
        let locked =
            info.encrypt_with_params(parameters, passphrase.expose()).map_err(|error| failed(error.to_string()))?;
        Ok(pem::encode("ENCRYPTED PRIVATE KEY", locked.as_bytes()))
    }
}

/// Fills `bytes` from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), PkiError> {
    rand::rngs::OsRng
        .try_fill_bytes(bytes)
        .map_err(|error| PkiError::Crypto { doing: "read random bytes", why: error.to_string() })
}

/// Version 1 of an Ed25519 key: ring writes version 2, which OpenSSL 3.0 and with it MariaDB refuse.
fn plain_ed25519(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut info = Reader::new(der).sequence()?;
    info.take(INTEGER)?;
    let algorithm = info.sequence()?.take(OID)?;
    let private = info.take(OCTET_STRING)?;
    (algorithm == ED25519).then(|| {
        let algorithm = element(SEQUENCE, &[&element(OID, &[ED25519])]);
        wrapped(&algorithm, private)
    })
}

/// `PrivateKeyInfo`, version 1.
fn wrapped(algorithm: &[u8], private: &[u8]) -> Zeroizing<Vec<u8>> {
    let private = Zeroizing::new(element(OCTET_STRING, &[private]));
    Zeroizing::new(element(SEQUENCE, &[&element(INTEGER, &[&[0]]), algorithm, &private]))
}

fn curve_of(sec1: &[u8]) -> Option<&[u8]> {
    let mut key = Reader::new(sec1).sequence()?;
    key.take(INTEGER)?;
    key.take(OCTET_STRING)?;
    Reader::new(key.take(0xa0)?).take(OID)
}

/// The operating system's randomness under the trait that the `rsa` crate knows.
struct SystemRng;

impl rsa::rand_core::TryRng for SystemRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0u8; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0u8; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        // The thread's generator is seeded from the system and cannot fail on the way.
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for SystemRng {}
