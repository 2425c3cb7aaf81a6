//! What a port serves, and whom it lets in, on a connection that is there already: through a host's agent, so that it is seen as another
//! host sees it, firewall and all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Issued, Protocol, pem};
use crate::modules::tls_wish;

/// Who lets somebody in may say nothing for so long.
const SILENCE: Duration = Duration::from_secs(2);

/// Whom a login names that is only there to end well: an account of this name is not to exist.
const NOBODY: &str = "deploy-pki-status";

/// Asks for the chain on a connection. Every certificate is taken: what it is worth is judged elsewhere.
pub async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, protocol: Protocol) -> Result<String, String> {
    if protocol == Protocol::Mysql {
        greet(&mut stream).await?;
    }
    let seen = Arc::new(Seen { chain: Mutex::default(), provider: Arc::new(rustls::crypto::ring::default_provider()) });
    let config = ClientConfig::builder_with_provider(seen.provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?;
    let mut config = config.dangerous().with_custom_certificate_verifier(seen.clone()).with_no_client_auth();
    config.resumption = Resumption::disabled(); // a session that is resumed shows no certificate
    config.enable_sni = false;
    let name = ServerName::try_from("host.invalid").map_err(|error| error.to_string())?;
    let handshake = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let chain = std::mem::take(&mut *seen.chain.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    match handshake {
        // Replication ends the handshake, because we show no certificate: by then we have seen its own.
        Err(error) if chain.is_empty() => return Err(format!("no certificate is shown ({error})")),
        Err(_) => {}
        Ok(mut stream) => {
            if protocol == Protocol::Mysql {
                // How it ends tells nothing about the certificate.
                let _ = log_in_to(&mut stream).await;
            }
            let _ = stream.shutdown().await;
        }
    }
    match chain.is_empty() {
        true => Err("no certificate is shown".into()),
        false => Ok(chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()),
    }
}

/// What became of a handshake with a certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is taken.
    Taken,
    /// It is refused, with this alert.
    Refused(String),
}

/// Shows a port a leaf. An error tells that it came to no answer, which proves nothing.
pub async fn takes(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    protocol: Protocol,
    leaf: &Issued,
) -> Result<Answer, String> {
    if protocol == Protocol::Mysql {
        greet(&mut stream).await?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let seen = Arc::new(Seen { chain: Mutex::default(), provider: provider.clone() });
    let chain = super::inspect::certificates(&leaf.chain_pem, "the leaf").map_err(|error| error.to_string())?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose().as_bytes()).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?;
    let config = config.dangerous().with_custom_certificate_verifier(seen).with_client_auth_cert(chain, key);
    let mut config = config.map_err(|error| error.to_string())?;
    config.resumption = Resumption::disabled(); // a session that is resumed was let in before
    config.enable_sni = false;
    let name = ServerName::try_from("host.invalid").map_err(|error| error.to_string())?;
    let mut stream = match tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => return refusal(error),
    };
    // In TLS 1.3 our side is through before the other one has judged what we showed.
    let answer = match protocol {
        Protocol::Mysql => match log_in_to(&mut stream).await {
            Ok(()) => Ok(Answer::Taken),
            // A server that has refused and gone may be met in the middle of a word; what it said before lies there to be read.
            Err(error) => match (refusal(error), stream.read(&mut [0; 1]).await) {
                (Err(_), Err(said)) => refusal(said),
                (told, _) => told,
            },
        },
        Protocol::Tls => match tokio::time::timeout(SILENCE, stream.read(&mut [0; 1])).await {
            Ok(Ok(0)) => Err("the connection ends without a word".into()),
            Ok(Ok(_)) | Err(_) => Ok(Answer::Taken),
            Ok(Err(error)) => refusal(error),
        },
    };
    let _ = stream.shutdown().await;
    answer
}

/// An alert about what we showed is a refusal; everything else may be anybody's fault.
fn refusal(error: std::io::Error) -> Result<Answer, String> {
    let alert = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => *alert,
        _ => return Err(error.to_string()),
    };
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => Ok(Answer::Refused(format!("{alert:?}"))),
        other => Err(format!("the handshake ends with the alert {other:?}, which says nothing about the certificate")),
    }
}

/// One packet of the database's protocol: its number and contents.
async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [a, b, c, number] = head;
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if length > 64 * 1024 {
        return Err(std::io::Error::other("it is no database server"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((number, body))
}

/// Reads the server's greeting and says that we want TLS.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), String> {
    let (_, hello) = packet(stream).await.map_err(|error| error.to_string())?;
    if let [0xff, _, _, why @ ..] = hello.as_slice() {
        return Err(String::from_utf8_lossy(why).into_owned());
    }
    // Protocol, version, thread, first part of the challenge, zero, then what it can.
    let behind = hello.get(1..).and_then(|rest| rest.iter().position(|byte| *byte == 0).map(|end| end + 2));
    let able = behind.and_then(|at| hello.get(at + 13..at + 15)).map(|two| u16::from(two[0]) | u16::from(two[1]) << 8);
    match able {
        Some(able) if able & 0x0800 == 0 => return Err("the server has TLS switched off".into()),
        Some(_) => {}
        None => return Err("it is no database server".into()),
    }
    stream.write_all(&tls_wish()).await.map_err(|error| error.to_string())
}

/// Logs in as somebody who does not exist. A connection that is broken off before counts against the address it comes from, and
/// after a hundred (`max_connect_errors`) the server would let nobody in from there; one that is refused does not.
async fn log_in_to(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut login = tls_wish().split_off(4);
    login.extend(NOBODY.as_bytes());
    login.extend([0, 0]); // end of the name, no password
    login.extend(b"mysql_native_password\0");
    let mut number = 2;
    let mut answer = login;
    // The server may want another way of logging in; then nothing is said, in that way.
    for _ in 0..4 {
        let length = answer.len() as u32;
        let head = [length as u8, (length >> 8) as u8, (length >> 16) as u8, number];
        stream.write_all(&[&head[..], &answer].concat()).await?;
        stream.flush().await?;
        let (last, said) = packet(stream).await?;
        number = last.wrapping_add(1);
        answer = match said.as_slice() {
            [0xfe, way @ ..] if way.starts_with(b"client_ed25519\0") => vec![0; 64],
            [0xfe, ..] => Vec::new(),
            _ => return Ok(()),
        };
    }
    Ok(())
}

/// Takes every certificate, and remembers it.
#[derive(Debug)]
struct Seen {
    chain: Mutex<Vec<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(between).map(|der| der.to_vec()).collect();
        *self.chain.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, AuthoritySpec, Purpose, now};
    use super::*;

    /// A server of openssl that asks for a certificate and trusts one generation: ours is taken by either version of TLS, another
    /// one's is refused, and a port where nothing is to be learnt is an error.
    #[test]
    fn who_is_trusted_is_let_in_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
        // Names that the probe does not have are in nobody's way.
        spec.permitted = vec!["galera1".parse().unwrap()];
        let made = || Authority::create(&spec, now()).unwrap();
        let (ours, other) = (made(), made());
        let [leaf, stranger] = [&ours, &other].map(|authority| authority.probe(now()).unwrap());
        for (name, text) in
            [("ca.pem", &ours.cert_pem), ("cert.pem", &leaf.chain_pem), ("key.pem", &leaf.key_pem.expose().to_string())]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for version in ["-tls1_2", "-tls1_3"] {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut server = std::process::Command::new("openssl")
                .args(["s_server", "-quiet", "-accept", &free.to_string(), "-cert", "cert.pem", "-key", "key.pem"])
                .args(["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem", version])
                .current_dir(dir.path())
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let ask = |leaf: &Issued| {
                runtime.block_on(async {
                    for _ in 0..200 {
                        if let Ok(stream) = tokio::net::TcpStream::connect(free).await {
                            return takes(stream, Protocol::Tls, leaf).await;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                    }
                    Err("the server does not start".into())
                })
            };
            let (taken, refused) = (ask(&leaf), ask(&stranger));
            let _ = server.kill();
            let _ = server.wait();
            assert_eq!(taken, Ok(Answer::Taken), "{version}");
            assert!(matches!(&refused, Ok(Answer::Refused(alert)) if alert == "UnknownCA"), "{version}: {refused:?}");
        }
        let silent = tokio::io::join(std::io::Cursor::new(b"SSH-2.0-x\r\n".to_vec()), tokio::io::sink());
        assert!(runtime.block_on(takes(silent, Protocol::Tls, &leaf)).is_err());
    }
}
