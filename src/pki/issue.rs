//! Issuing a leaf: its key is made in memory, handed over, and forgotten.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use super::authority::base_params;
use super::{
    Authority, CertInfo, KeyType, Lifetime, PkiError, PrivateKey, Profile, Purpose, San, Subject, UnixTime, date, pem,
};
use crate::secret::Secret;

/// A leaf as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it is for.
    pub profile: Profile,
    /// Whose it is.
    pub subject: Subject,
    /// The names it answers to.
    pub sans: Vec<San>,
    /// Kind of its key.
    pub key_type: KeyType,
    /// How long it lives from now.
    pub lifetime: Lifetime,
}

/// A leaf as it was made.
#[derive(Debug)]
pub struct Issued {
    /// The certificate alone.
    pub cert_pem: String,
    /// The certificate and the intermediates behind it: what a server sends.
    pub chain_pem: String,
    /// Its private key, unencrypted PKCS#8.
    pub key_pem: Secret,
    /// The certificate, read.
    pub info: CertInfo,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

impl Request {
    /// Refuses what no authority of ours would sign, without an authority: known before any connection.
    pub fn check(&self) -> Result<(), PkiError> {
        if self.profile.server_auth() && self.sans.is_empty() {
            let why = "a server's certificate needs at least one DNS name or address to be verified by".to_string();
            return Err(PkiError::Name { text: self.subject.common_name.clone(), why });
        }
        Ok(())
    }
}

impl Authority {
    /// Makes a key and signs a certificate for it.
    pub fn issue(&self, request: &Request, now: UnixTime) -> Result<Issued, PkiError> {
        request.check()?;
        let rsa = matches!(request.key_type, KeyType::Rsa3072 | KeyType::Rsa4096);
        let (profile, subject) = (request.profile, &request.subject);
        let (params, warnings) = self.leaf(profile, subject, &request.sans, rsa, request.lifetime, now)?;
        let key = PrivateKey::generate(request.key_type)?;
        let cert_pem = pem::encode("CERTIFICATE", &self.sign(&params, key.pair())?);
        let info = super::inspect(&cert_pem, "the new certificate")?;
        let chain_pem = format!("{cert_pem}{}", self.parents_pem());
        Ok(Issued { cert_pem, chain_pem, key_pem: key.to_pem(), info, warnings })
    }

    /// A leaf for a few minutes that stays in memory: what ports say to it tells whom they trust. It has no names, which nobody who is
    /// connected to looks at, so that no constraint on names is in its way.
    pub fn probe(&self, now: UnixTime) -> Result<Issued, PkiError> {
        let profile = match self.purpose {
            Purpose::Cluster => Profile::Cluster,
            Purpose::Client => Profile::Client,
        };
        let subject = Subject::new("probe of deploy", None)?;
        let (params, warnings) = self.leaf(profile, &subject, &[], false, Lifetime::seconds(600), now)?;
        let key = PrivateKey::generate(KeyType::EcdsaP256)?;
        let cert_pem = pem::encode("CERTIFICATE", &self.sign(&params, key.pair())?);
        let info = super::inspect(&cert_pem, "the probe")?;
        let chain_pem = format!("{cert_pem}{}", self.parents_pem());
        Ok(Issued { cert_pem, chain_pem, key_pem: key.to_pem(), info, warnings })
    }

    /// A leaf without its key, and what its owner should know.
    pub(crate) fn leaf(
        &self,
        profile: Profile,
        subject: &Subject,
        sans: &[San],
        rsa: bool,
        lifetime: Lifetime,
        now: UnixTime,
    ) -> Result<(CertificateParams, Vec<String>), PkiError> {
        profile.allowed_by(self.purpose, &self.name)?;
        if self.info.not_after <= now {
            return Err(PkiError::AuthorityExpired { name: self.name.clone(), date: date(self.info.not_after) });
        }
        let mut warnings = self.warnings.clone();
        let wanted_end = now + lifetime.as_seconds();
        let not_after = wanted_end.min(self.info.not_after);
        if not_after < wanted_end {
            warnings.push(format!(
                "authority `{}` expires at {}, so `{}` cannot live longer: rotate the authority soon",
                self.name,
                date(self.info.not_after),
                subject.common_name
            ));
        }
        let mut params = base_params(subject, Lifetime::seconds(not_after - now), now, not_after)?;
        for san in sans {
            params.subject_alt_names.push(alternative(san)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if rsa {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        if profile.server_auth() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if profile.client_auth() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        Ok((params, warnings))
    }
}

/// A name as the signing library takes it.
pub(crate) fn alternative(san: &San) -> Result<SanType, PkiError> {
    Ok(match san {
        San::Dns(name) => {
            SanType::DnsName(name.as_str().try_into().map_err(PkiError::crypto("write a name into a certificate"))?)
        }
        San::Ip(address) => SanType::IpAddress(*address),
    })
}
