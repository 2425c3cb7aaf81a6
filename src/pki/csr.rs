//! Signing requests (PKCS#10): somebody else's key, our judgement of what it asks for.
//!
//! Nothing is copied out of a request but its public key, its common name and organisation, and the names it asks for;
//! purpose, dates and everything else are the profile's.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::authority::distinguished;
use super::inspect::{key_kind, san};
use super::issue::alternative;
use super::{Authority, CertInfo, KeyKind, Lifetime, PkiError, Profile, San, Subject, UnixTime, pem};

/// A request whose sender has proved to hold the key.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// Who asks.
    pub subject: Subject,
    /// For which names, sorted.
    pub sans: Vec<San>,
    /// With what key.
    pub key: KeyKind,
    /// What it asks for beside that, and does not get.
    pub dropped: Vec<String>,
    /// What it wants to be, in words that a profile must allow.
    wants: Vec<Wish>,
    key_der: Vec<u8>,
    what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Authority,
    Server,
    Client,
}

/// A certificate for somebody else's key.
#[derive(Debug)]
pub struct Signed {
    /// The certificate alone.
    pub cert_pem: String,
    /// The certificate and the intermediates behind it.
    pub chain_pem: String,
    /// The certificate, read.
    pub info: CertInfo,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

impl SigningRequest {
    /// Reads a request (PEM) and verifies that its sender holds the key. `what` names it in errors.
    pub fn read(text: &str, what: &str) -> Result<SigningRequest, PkiError> {
        let bad = |why: String| PkiError::Request { what: what.to_string(), why };
        let blocks = pem::blocks(text).map_err(bad)?;
        let is_request = |label: &str| matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST");
        let block = blocks
            .iter()
            .find(|block| is_request(&block.label))
            .ok_or_else(|| bad("there is no signing request in PEM form in it".into()))?;
        let (rest, request) = X509CertificationRequest::from_der(&block.der)
            .map_err(|error| bad(format!("it cannot be read ({error})")))?;
        if !rest.is_empty() {
            return Err(bad("there are bytes behind its end".into()));
        }
        let info = &request.certification_request_info;
        // Keys that we do not take may be of kinds whose signatures we cannot verify.
        let key = key_kind(&info.subject_pki);
        let strong = match key {
            KeyKind::Rsa(bits) => bits >= 2048,
            KeyKind::Ecdsa(bits) => matches!(bits, 256 | 384),
            KeyKind::Ed25519 => true,
            KeyKind::Other => false,
        };
        if !strong {
            let why = format!("its key ({key}) is not taken: RSA of at least 2048 bits, ECDSA P-256 or P-384, Ed25519");
            return Err(bad(why));
        }
        request.verify_signature().map_err(|error| {
            bad(format!(
                "its signature is not that of its key ({error}): whoever sent it has not shown to hold the key"
            ))
        })?;
        let mut dropped = Vec::new();
        let (mut common_name, mut organization) = (None, None);
        for attribute in info.subject.iter_attributes() {
            let kind = attribute.attr_type().to_id_string();
            let value = attribute.as_str().map_err(|_| bad("its subject is not text".into()))?;
            match kind.as_str() {
                "2.5.4.3" if common_name.is_none() => common_name = Some(value.to_string()),
                "2.5.4.10" if organization.is_none() => organization = Some(value.to_string()),
                _ => dropped.push(format!("{value} in its subject")),
            }
        }
        let common_name = common_name.ok_or_else(|| bad("its subject has no common name (CN)".into()))?;
        let (mut sans, mut wants) = (Vec::new(), Vec::new());
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    for name in &names.general_names {
                        let known = san(name)
                            .ok_or_else(|| bad(format!("it asks for {name}, which is no host name or address")))?;
                        // Checked as ours are.
                        sans.push(match &known {
                            San::Dns(name) => San::dns(name).map_err(|error| bad(error.to_string()))?,
                            San::Ip(_) => known,
                        });
                    }
                }
                ParsedExtension::BasicConstraints(basic) if basic.ca => wants.push(Wish::Authority),
                ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() => wants.push(Wish::Authority),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    wants.extend((usage.server_auth || usage.any).then_some(Wish::Server));
                    wants.extend((usage.client_auth || usage.any).then_some(Wish::Client));
                    let others = usage.code_signing || usage.email_protection || usage.time_stamping;
                    if others || usage.ocsp_signing || !usage.other.is_empty() {
                        dropped.push("a purpose other than server and client".into());
                    }
                }
                ParsedExtension::BasicConstraints(_) | ParsedExtension::KeyUsage(_) => {}
                ParsedExtension::SubjectKeyIdentifier(_) => {}
                _ => dropped.push("an extension that is not taken over".into()),
            }
        }
        sans.sort();
        sans.dedup();
        Ok(SigningRequest {
            subject: Subject::new(&common_name, organization.as_deref()).map_err(|error| bad(error.to_string()))?,
            sans,
            key,
            dropped,
            wants,
            key_der: info.subject_pki.raw.to_vec(),
            what: what.to_string(),
        })
    }

    /// Whether it asks to be an authority.
    pub fn asks_to_sign(&self) -> bool {
        self.wants.contains(&Wish::Authority)
    }

    /// Its public key, DER.
    pub(super) fn key_der(&self) -> &[u8] {
        &self.key_der
    }

    /// SHA-256 of its public key, hex.
    pub fn public_key_sha256(&self) -> String {
        use sha2::{Digest as _, Sha256};
        super::public_half::hex(&Sha256::digest(&self.key_der))
    }

    /// Refuses what a profile does not give, and names outside of `allowed`, where any are given.
    pub fn judge(&self, profile: Profile, allowed: &[San]) -> Result<(), PkiError> {
        let bad = |why: String| Err(PkiError::Request { what: self.what.clone(), why });
        if self.wants.contains(&Wish::Authority) {
            return bad(
                "it asks to be an authority (CA:TRUE or keyCertSign), and gets a leaf's certificate only".into()
            );
        }
        if self.wants.contains(&Wish::Server) && !profile.server_auth() {
            return bad(format!("it asks to serve (serverAuth), and the profile {} is for clients", profile.name()));
        }
        if profile.server_auth() && self.sans.is_empty() {
            return bad(
                "a server's certificate needs a name or an address (subjectAltName), and it asks for none".into()
            );
        }
        let foreign = self.sans.iter().find(|wanted| !allowed.iter().any(|name| name.covers(wanted)));
        match foreign {
            Some(name) if !allowed.is_empty() => bad(format!("it asks for {name}, which was not allowed (--san)")),
            _ => Ok(()),
        }
    }
}

impl Authority {
    /// Signs a request that was judged.
    pub fn sign_request(
        &self,
        request: &SigningRequest,
        profile: Profile,
        lifetime: Lifetime,
        now: UnixTime,
    ) -> Result<Signed, PkiError> {
        request.judge(profile, &[])?;
        let rsa = matches!(request.key, KeyKind::Rsa(_));
        let (params, mut warnings) = self.leaf(profile, &request.subject, &request.sans, rsa, lifetime, now)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(&request.key_der)
            .map_err(PkiError::crypto("read the key of a signing request"))?;
        let cert_pem = pem::encode("CERTIFICATE", &self.sign(&params, &key)?);
        let info = super::inspect(&cert_pem, "the new certificate")?;
        warnings.extend(request.dropped.iter().map(|what| format!("the request asks for {what}: left out")));
        let chain_pem = format!("{cert_pem}{}", self.parents_pem());
        Ok(Signed { cert_pem, chain_pem, info, warnings })
    }
}

/// A request of ours (PEM), for somebody else to sign.
pub(super) fn write(request: &super::Request, key: &super::PrivateKey) -> Result<String, PkiError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = distinguished(&request.subject);
    params.subject_alt_names = request.sans.iter().map(alternative).collect::<Result<_, _>>()?;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    if matches!(request.key_type, super::KeyType::Rsa3072 | super::KeyType::Rsa4096) {
        params.key_usages.push(rcgen::KeyUsagePurpose::KeyEncipherment);
    }
    let wanted = [
        (request.profile.server_auth(), rcgen::ExtendedKeyUsagePurpose::ServerAuth),
        (request.profile.client_auth(), rcgen::ExtendedKeyUsagePurpose::ClientAuth),
    ];
    params.extended_key_usages = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, usage)| usage).collect();
    let csr = params.serialize_request(key.pair()).map_err(PkiError::crypto("write a signing request"))?;
    Ok(pem::encode("CERTIFICATE REQUEST", csr.der()))
}

/// A request of ours for names alone (DER): what an authority wants that proves names and nothing else.
pub(super) fn write_names(names: &[San], key: &super::PrivateKey) -> Result<Vec<u8>, PkiError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
    let csr = params.serialize_request(key.pair()).map_err(PkiError::crypto("write a signing request"))?;
    Ok(csr.der().to_vec())
}
