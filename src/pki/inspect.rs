//! What a certificate says about itself.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::public_half::hex;
use super::{PkiError, San, UnixTime, pem};

/// A public key's kind and strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// RSA of so many bits.
    Rsa(u32),
    /// ECDSA on a curve of so many bits.
    Ecdsa(u32),
    /// Ed25519.
    Ed25519,
    /// Something else.
    Other,
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyKind::Rsa(bits) => write!(f, "RSA {bits}"),
            KeyKind::Ecdsa(bits) => write!(f, "ECDSA P-{bits}"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Other => f.write_str("unknown key type"),
        }
    }
}

/// A certificate, read. Everything in it is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertInfo {
    /// As `REQUIRE SUBJECT` compares it: `/O=example/CN=app`.
    pub subject: String,
    /// The same of its issuer.
    pub issuer: String,
    /// CN, when there is one.
    pub common_name: Option<String>,
    /// Lower-case hex, as in the store's file names.
    pub serial: String,
    /// First moment.
    pub not_before: UnixTime,
    /// Last moment.
    pub not_after: UnixTime,
    /// DNS names and addresses, sorted.
    pub sans: Vec<San>,
    /// Alternative names of other kinds, in words.
    pub other_names: Vec<String>,
    /// Good for servers. A certificate without the extension is good for all.
    pub server_auth: bool,
    /// Good for clients.
    pub client_auth: bool,
    /// Has the extended key usage extension.
    pub has_usages: bool,
    /// May sign others.
    pub is_ca: bool,
    /// The key usage extension: absent, or whether it allows signing certificates.
    pub key_cert_sign: Option<bool>,
    /// How many intermediates may follow.
    pub path_length: Option<u32>,
    /// Kind and size of its key.
    pub key: KeyKind,
    /// SHA-256 of its SubjectPublicKeyInfo, hex.
    pub public_key_sha256: String,
    /// SHA-256 of the whole, hex.
    pub fingerprint: String,
    /// Subject key identifier, hex.
    pub subject_key_id: Option<String>,
    /// Authority key identifier, hex.
    pub authority_key_id: Option<String>,
}

impl CertInfo {
    /// Its fingerprint as OpenSSL prints it: `AB:CD:…`.
    pub fn fingerprint_colons(&self) -> String {
        let bytes: Vec<_> = self.fingerprint.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        bytes.join(":").to_ascii_uppercase()
    }

    /// Issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Reads the first certificate of a PEM text. `what` names it in errors.
pub fn inspect(text: &str, what: &str) -> Result<CertInfo, PkiError> {
    inspect_all(text, what).map(|mut all| all.swap_remove(0))
}

/// Reads all certificates of a PEM text, at least one.
pub fn inspect_all(text: &str, what: &str) -> Result<Vec<CertInfo>, PkiError> {
    certificates(text, what)?.iter().map(|der| inspect_der(der, what)).collect()
}

/// The DER of all certificates of a PEM text, at least one.
pub(crate) fn certificates(text: &str, what: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let bad = |why: String| PkiError::Certificate { what: what.to_string(), why };
    let found: Vec<_> = pem::blocks(text)
        .map_err(bad)?
        .into_iter()
        .filter(|block| matches!(block.label.as_str(), "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE"))
        .map(|block| block.der.clone())
        .collect();
    if found.is_empty() {
        return Err(bad("there is no certificate in PEM form in it".into()));
    }
    Ok(found)
}

/// Reads one certificate.
pub(crate) fn inspect_der(der: &[u8], what: &str) -> Result<CertInfo, PkiError> {
    let bad = |why: String| PkiError::Certificate { what: what.to_string(), why };
    let (rest, cert) = X509Certificate::from_der(der).map_err(|error| bad(error.to_string()))?;
    if !rest.is_empty() {
        return Err(bad("there are bytes behind its end".into()));
    }
    let mut info = CertInfo {
        subject: one_line(cert.subject()),
        issuer: one_line(cert.issuer()),
        common_name: cert.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).map(str::to_string),
        serial: hex(&cert.serial.to_bytes_be()),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
        sans: Vec::new(),
        other_names: Vec::new(),
        server_auth: true,
        client_auth: true,
        has_usages: false,
        is_ca: false,
        key_cert_sign: None,
        path_length: None,
        key: key_kind(cert.public_key()),
        public_key_sha256: hex(&Sha256::digest(cert.public_key().raw)),
        fingerprint: hex(&Sha256::digest(der)),
        subject_key_id: None,
        authority_key_id: None,
    };
    for extension in cert.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => {
                info.is_ca = basic.ca;
                info.path_length = basic.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => info.key_cert_sign = Some(usage.key_cert_sign()),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                info.has_usages = true;
                info.server_auth = usage.server_auth || usage.any;
                info.client_auth = usage.client_auth || usage.any;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => info.subject_key_id = Some(hex(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                info.authority_key_id = id.key_identifier.as_ref().map(|id| hex(id.0));
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match san(name) {
                        Some(san) => info.sans.push(san),
                        None => info.other_names.push(name.to_string()),
                    }
                }
            }
            _ => {}
        }
    }
    info.sans.sort();
    info.sans.dedup();
    Ok(info)
}

pub(super) fn san(name: &GeneralName<'_>) -> Option<San> {
    match name {
        GeneralName::DNSName(name) => Some(San::Dns(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| San::Ip(octets.into())),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| San::Ip(octets.into())),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size() as u32),
        Ok(PublicKey::EC(point)) => KeyKind::Ecdsa(point.key_size() as u32),
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => KeyKind::Ed25519,
        _ => KeyKind::Other,
    }
}

/// OpenSSL's one-line form, in the order of the certificate.
fn one_line(name: &X509Name<'_>) -> String {
    let mut line = String::new();
    for attribute in name.iter_attributes() {
        let kind = attribute.attr_type().to_id_string();
        let short = match kind.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.5" => "serialNumber",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "0.9.2342.19200300.100.1.25" => "DC",
            "1.2.840.113549.1.9.1" => "emailAddress",
            other => other,
        };
        line.push_str(&format!("/{short}={}", attribute.as_str().unwrap_or("?")));
    }
    line
}

/// A chain with what is missing up to its root, out of `trust`, whatever the order it comes in. A leaf that the root itself has
/// signed stays alone: servers find that root in their trust file.
///
/// # Errors
/// One that breaks off before a root: who has no trust file, as MariaDB's own clients and mariadb-backup, refuses it.
pub fn to_root(chain: &str, trust: &str) -> Result<String, PkiError> {
    let mut pool = certificates(chain, "the chain")?;
    let leaf = pool.remove(0);
    pool.extend(certificates(trust, "the trust file")?);
    let mut known = Vec::new();
    for der in pool {
        let is_root = inspect_der(&der, "the chain")?.is_self_issued();
        known.push((is_root, der));
    }
    // A root is the shortest way, where the chain has the same authority signed by somebody else, too.
    known.sort_by_key(|(is_root, _)| !is_root);
    let info = inspect_der(&leaf, "the chain")?;
    let mut path = vec![leaf];
    if !info.is_self_issued() && !climb(&mut path, &known) {
        let why = format!(
            "its chain breaks off before a self-signed authority (it was signed by {}): put the intermediates behind it, and the root \
             into the trust file",
            info.issuer
        );
        return Err(PkiError::Certificate { what: info.subject, why });
    }
    if path.len() == 2 {
        path.truncate(1);
    }
    Ok(path.iter().map(|der| pem::encode("CERTIFICATE", der)).collect())
}

/// Goes up from the last of `path` to a root, back where a way leads nowhere.
fn climb(path: &mut Vec<Vec<u8>>, known: &[(bool, Vec<u8>)]) -> bool {
    let Some(last) = path.last().cloned().filter(|_| path.len() <= 8) else { return false };
    for (is_root, parent) in known {
        if path.contains(parent) || !signed_by(&last, parent) {
            continue;
        }
        path.push(parent.clone());
        if *is_root || climb(path, known) {
            return true;
        }
        path.pop();
    }
    false
}

/// Whether the signature on `der` is that of `authority`.
pub(crate) fn signed_by(der: &[u8], authority: &[u8]) -> bool {
    match (X509Certificate::from_der(der), X509Certificate::from_der(authority)) {
        (Ok((_, cert)), Ok((_, authority))) => cert.verify_signature(Some(authority.public_key())).is_ok(),
        _ => false,
    }
}
