//! TLS as a client: which authorities are believed, and the client's own certificate.

use super::WebError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where systems keep the authorities that they trust.
pub const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a connection needs.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Believe anything that answers.
    pub anybody: bool,
    /// A file of authorities, beside the system's own.
    pub authorities: Option<PathBuf>,
    /// The client's certificate, maybe with its key.
    pub certificate: Option<PathBuf>,
    /// The client's key.
    pub key: Option<PathBuf>,
}

/// The settings of a connection.
pub(super) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, WebError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| WebError::failed(format!("TLS cannot be set up: {e}")))?;
    let belief = match trust.anybody {
        true => Belief::Anybody,
        false => Belief::known(trust.authorities.as_deref(), &provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { belief, provider }));
    let config = match &trust.certificate {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let chain = certificates(file)?;
            let key_file = trust.key.as_ref().unwrap_or(file);
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| {
                WebError::failed(format!("no private key can be read from {}: {e}", key_file.display()))
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|e| {
                WebError::failed(format!("the client certificate {} is not usable: {e}", file.display()))
            })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let wrong = |why: String| WebError::failed(format!("no certificates can be read from {}: {why}", file.display()));
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?.collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong("there is none".into())),
        Ok(all) => Ok(all),
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// Who is believed.
#[derive(Debug)]
enum Belief {
    /// Whoever answers, but it must have the key of what it shows: `validate_certs: false`.
    Anybody,
    /// Whom the authorities have signed, and, as with OpenSSL, a certificate that is itself in their list.
    Known { authorities: Option<Arc<WebPkiServerVerifier>>, listed: Vec<CertificateDer<'static>> },
}

/// Looks at a server's certificate.
#[derive(Debug)]
struct Verifier {
    belief: Belief,
    provider: Arc<CryptoProvider>,
}

impl Belief {
    fn known(extra: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Belief, WebError> {
        let mut roots = RootCertStore::empty();
        let system = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.exists());
        let system = system.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
        if let Some(bundle) = system {
            // One bad certificate of the system's is no reason to do without the others.
            let all = CertificateDer::pem_file_iter(&bundle).into_iter().flatten().flatten();
            roots.add_parsable_certificates(all);
        }
        let listed = extra.map(certificates).transpose()?.unwrap_or_default();
        roots.add_parsable_certificates(listed.iter().cloned());
        let authorities = match roots.is_empty() {
            true => None,
            false => {
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                Some(builder.build().map_err(|e| WebError::failed(format!("TLS cannot be set up: {e}")))?)
            }
        };
        Ok(Belief::Known { authorities, listed })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (authorities, listed) = match &self.belief {
            Belief::Anybody => return Ok(ServerCertVerified::assertion()),
            Belief::Known { authorities: None, .. } => {
                return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            }
            Belief::Known { authorities: Some(authorities), listed } => (authorities, listed),
        };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // Its dates have been looked at before this is found.
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(why))))
                if why.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
                    && listed.iter().any(|one| one.as_ref() == end_entity.as_ref()) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
