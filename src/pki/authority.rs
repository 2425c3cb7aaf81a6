//! An authority: made here or imported, and what it signs.

use std::net::IpAddr;
use std::str::FromStr;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer,
    KeyUsagePurpose, NameConstraints,
};

use x509_parser::extensions;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::inspect::{certificates, inspect_der};
use super::key::random;
use super::{CertInfo, KeyType, Lifetime, PkiError, PrivateKey, Purpose, San, Subject, UnixTime, date, pem};

/// What an authority to be made looks like.
#[derive(Debug, Clone)]
pub struct AuthoritySpec {
    /// Its name in the store.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its subject.
    pub subject: Subject,
    /// Kind of its key.
    pub key_type: KeyType,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// How many intermediates may stand between it and a leaf; none by default, because SST breaks on them.
    pub path_length: Option<u8>,
    /// The only names it may sign, when there are any.
    pub permitted: Vec<NameRule>,
    /// Names that it may not sign.
    pub excluded: Vec<NameRule>,
}

impl AuthoritySpec {
    /// The default: ECDSA P-256, ten years, no intermediates.
    pub fn new(name: &str, purpose: Purpose) -> Result<Self, PkiError> {
        let usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 48 || !name.chars().all(usual) || name.starts_with('-') {
            let why = "an authority's name is its folder in the store: letters, digits, `-` and `_`".to_string();
            return Err(PkiError::Authority { name: name.to_string(), why });
        }
        Ok(AuthoritySpec {
            name: name.to_string(),
            purpose,
            subject: Subject::new(&format!("{name} CA"), None)?,
            key_type: KeyType::default(),
            lifetime: Lifetime::days(3650),
            path_length: Some(0),
            permitted: Vec::new(),
            excluded: Vec::new(),
        })
    }
}

impl AuthoritySpec {
    /// For the generation after this one: as constrained in names and intermediates, with a key of the same kind.
    ///
    /// # Errors
    /// A constraint of a kind that is not made here (on mail addresses, say) cannot be carried over, and must not be lost.
    pub fn heir(view: &super::AuthorityView) -> Result<Self, PkiError> {
        let mut spec = AuthoritySpec::new(&view.name, view.purpose)?;
        let unfit = |why: String| PkiError::Authority { name: view.name.clone(), why };
        let der = certificates(&view.cert_pem, "the authority's certificate")?.swap_remove(0);
        let unread = |error: String| unfit(format!("what constrains it cannot be read: {error}"));
        let (_, cert) = X509Certificate::from_der(&der).map_err(|error| unread(error.to_string()))?;
        let constraints = cert.name_constraints().map_err(|error| unread(error.to_string()))?;
        let rules = |subtrees: &Option<Vec<extensions::GeneralSubtree<'_>>>| {
            let rule = |subtree: &extensions::GeneralSubtree<'_>| {
                NameRule::of(&subtree.base).ok_or_else(|| {
                    unfit(
                        "it is constrained to names that are neither domains nor networks: \
                     make its next generation elsewhere and import it"
                            .into(),
                    )
                })
            };
            subtrees.iter().flatten().map(rule).collect::<Result<Vec<_>, _>>()
        };
        if let Some(constraints) = constraints {
            spec.permitted = rules(&constraints.value.permitted_subtrees)?;
            spec.excluded = rules(&constraints.value.excluded_subtrees)?;
        }
        spec.path_length = view.info.path_length.and_then(|length| u8::try_from(length).ok());
        spec.key_type = KeyType::like(view.info.key);
        Ok(spec)
    }
}

/// A name constraint: a domain with all below it, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameRule {
    /// A domain, and every host below it.
    Domain(String),
    /// Addresses of one network.
    Network(IpAddr, u8),
}

impl FromStr for NameRule {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        if let Ok(network) = text.trim().parse::<ipnet::IpNet>() {
            return Ok(NameRule::Network(network.network(), network.prefix_len()));
        }
        match text.trim().trim_start_matches('.').parse()? {
            San::Dns(name) => Ok(NameRule::Domain(name)),
            San::Ip(address) => Ok(NameRule::Network(address, if address.is_ipv4() { 32 } else { 128 })),
        }
    }
}

impl NameRule {
    /// What a certificate says, where it is a domain or a network.
    fn of(name: &extensions::GeneralName<'_>) -> Option<NameRule> {
        let bits = |mask: &[u8]| mask.iter().map(|byte| byte.count_ones() as u8).sum::<u8>();
        match name {
            extensions::GeneralName::DNSName(name) => Some(NameRule::Domain(name.trim_start_matches('.').to_string())),
            extensions::GeneralName::IPAddress(bytes) => match bytes.len() {
                8 => Some(NameRule::Network(IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?), bits(&bytes[4..]))),
                32 => {
                    Some(NameRule::Network(IpAddr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?), bits(&bytes[16..])))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn subtree(&self) -> GeneralSubtree {
        match self {
            NameRule::Domain(name) => GeneralSubtree::DnsName(name.clone()),
            NameRule::Network(address, prefix) => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *prefix))
            }
        }
    }
}

/// An authority with its key unlocked, in memory.
#[derive(Debug)]
pub struct Authority {
    /// Its name in the store.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its certificate; behind it those of its parents, when it is an intermediate.
    pub cert_pem: String,
    /// Its certificate, read.
    pub info: CertInfo,
    /// What is unusual about it and works nevertheless.
    pub warnings: Vec<String>,
    pub(crate) key: PrivateKey,
}

impl Authority {
    /// Makes a self-signed one.
    pub fn create(spec: &AuthoritySpec, now: UnixTime) -> Result<Self, PkiError> {
        let key = PrivateKey::generate(spec.key_type)?;
        let mut params = base_params(&spec.subject, spec.lifetime, now, now + spec.lifetime.as_seconds())?;
        params.is_ca = IsCa::Ca(match spec.path_length {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        });
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if !spec.permitted.is_empty() || !spec.excluded.is_empty() {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: spec.permitted.iter().map(NameRule::subtree).collect(),
                excluded_subtrees: spec.excluded.iter().map(NameRule::subtree).collect(),
            });
        }
        let cert = params.self_signed(key.pair()).map_err(PkiError::crypto("sign an authority's certificate"))?;
        Self::assemble(&spec.name, spec.purpose, pem::encode("CERTIFICATE", cert.der()), key)
    }

    /// Takes one that was made elsewhere, after looking whether it can do the work.
    pub fn import(
        name: &str,
        purpose: Purpose,
        cert_pem: &str,
        key: PrivateKey,
        now: UnixTime,
    ) -> Result<Self, PkiError> {
        let what = format!("the certificate of authority `{name}`");
        let unfit = |why: String| PkiError::Authority { name: name.to_string(), why };
        let all = certificates(cert_pem, &what)?;
        let cert_pem: String = all.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        let authority = Self::assemble(name, purpose, cert_pem, key)?;
        let info = &authority.info;
        if !info.is_ca {
            return Err(unfit("its certificate is not an authority's: basicConstraints lacks CA:TRUE".into()));
        }
        if info.key_cert_sign == Some(false) {
            return Err(unfit("its keyUsage does not allow signing certificates (keyCertSign)".into()));
        }
        if info.not_after <= now {
            return Err(PkiError::AuthorityExpired { name: name.to_string(), date: date(info.not_after) });
        }
        if info.not_before > now {
            return Err(unfit(format!("it becomes valid only at {}", date(info.not_before))));
        }
        if !info.is_self_issued() {
            let root = all.last().map(|der| inspect_der(der, &what)).transpose()?;
            if !root.is_some_and(|root| root.is_self_issued()) {
                return Err(unfit(format!(
                    "it was signed by {}: put the certificates up to the self-signed root behind it, because OpenSSL follows the chain to its end",
                    info.issuer
                )));
            }
        }
        Ok(authority)
    }

    /// Puts the parts together, and refuses a key that does not belong to the certificate.
    pub(crate) fn assemble(name: &str, purpose: Purpose, cert_pem: String, key: PrivateKey) -> Result<Self, PkiError> {
        let what = format!("the certificate of authority `{name}`");
        let info = super::inspect(&cert_pem, &what)?;
        if info.public_key_sha256 != key.public_sha256() {
            let why = "its private key does not belong to its certificate".to_string();
            return Err(PkiError::Authority { name: name.to_string(), why });
        }
        let mut warnings = Vec::new();
        if info.key_cert_sign.is_none() {
            warnings.push(format!(
                "the certificate of authority `{name}` has no keyUsage: strict verifiers refuse what it signs (OpenSSL -x509_strict, error 92)"
            ));
        }
        if !info.is_self_issued() {
            warnings.push(format!(
                "authority `{name}` is an intermediate: hosts get the whole chain in cert.pem and in ca.pem (docs/issuers.md)"
            ));
        }
        Ok(Authority { name: name.to_string(), purpose, cert_pem, info, warnings, key })
    }

    /// The parents that a leaf must bring along: below an intermediate all of them, the self-signed end too. MariaDB's own clients
    /// and mariadb-backup (11.4 and later) have no trust file, and take a chain that shows its end, and none that breaks off.
    pub fn parents_pem(&self) -> String {
        if self.info.is_self_issued() { String::new() } else { self.cert_pem.clone() }
    }

    /// Signs `params` for `key`; gives DER.
    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl rcgen::PublicKeyData,
    ) -> Result<Vec<u8>, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, self.key.pair())
            .map_err(PkiError::crypto("read an authority's certificate"))?;
        let cert = params.signed_by(key, &issuer).map_err(PkiError::crypto("sign a certificate"))?;
        Ok(cert.der().to_vec())
    }
}

/// What every certificate of ours has: dates, a random serial, a subject, key identifiers.
pub(crate) fn base_params(
    subject: &Subject,
    lifetime: Lifetime,
    now: UnixTime,
    not_after: UnixTime,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.not_before = moment(now - lifetime.backdating());
    params.not_after = moment(not_after);
    let mut serial = [0u8; 16];
    // Positive, and always sixteen bytes, so that it sorts and reads the same everywhere.
    while serial[0] == 0 {
        random(&mut serial)?;
        serial[0] &= 0x7f;
    }
    params.serial_number = Some(serial.to_vec().into());
    params.distinguished_name = distinguished(subject);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A subject as the signing library takes it.
pub(crate) fn distinguished(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, subject.common_name.as_str());
    name
}

/// rcgen's clock type, made without naming its crate.
fn moment<T>(seconds: UnixTime) -> T
where
    T: From<std::time::SystemTime>,
{
    let offset = std::time::Duration::from_secs(seconds.unsigned_abs());
    T::from(if seconds < 0 { std::time::UNIX_EPOCH - offset } else { std::time::UNIX_EPOCH + offset })
}
