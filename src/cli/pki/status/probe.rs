//! What a port serves, asked by ourselves through a host's agent: so it is seen as another host sees it, firewall and all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::engine::Respondent;
use crate::modules::tls_wish;
use crate::pki::{Port, Protocol, pem};

/// A connection must be made within this.
const CONNECT: Duration = Duration::from_secs(4);
/// And everything said within this.
const TALK: Duration = Duration::from_secs(5);

/// Whom a login names that is only there to end well: an account of this name is not to exist.
const NOBODY: &str = "deploy-pki-status";

/// The chain (PEM) that `address` serves on a port, as `from` sees it.
pub async fn served(from: &Respondent, address: &str, port: Port) -> Result<String, String> {
    let stream = from.relay(address, port.port, CONNECT).await.map_err(|error| error.to_string())?;
    tokio::time::timeout(TALK, ask(stream, port.protocol))
        .await
        .unwrap_or_else(|_| Err(format!("it said nothing within {} s", TALK.as_secs())))
}

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
                let _ = log_in(&mut stream).await;
            }
            let _ = stream.shutdown().await;
        }
    }
    match chain.is_empty() {
        true => Err("no certificate is shown".into()),
        false => Ok(chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()),
    }
}

/// One packet of the database's protocol: its number and contents.
async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>), String> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|error| error.to_string())?;
    let [a, b, c, number] = head;
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if length > 64 * 1024 {
        return Err("it is no database server".into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(|error| error.to_string())?;
    Ok((number, body))
}

/// Reads the server's greeting and says that we want TLS.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), String> {
    let (_, hello) = packet(stream).await?;
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
async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), String> {
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
        stream.write_all(&[&head[..], &answer].concat()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
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
