//! The requests that ACME is made of: HTTP/1.1 over TLS, one connection each.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Uri, header};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::super::{PkiError, inspect::certificates};
use super::super::files::read;

/// Where systems keep the authorities that they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A server that says nothing for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// No answer is larger: a chain is the largest of them.
const LIMIT: usize = 1024 * 1024;

/// What speaks to the server.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
}

impl Client {
    /// One that trusts the authorities in `file`, or those of the system.
    pub fn new(file: Option<&Path>) -> Result<Client, PkiError> {
        let usual = || BUNDLES.iter().map(Path::new).find(|path| path.is_file());
        let path = file.or_else(usual).ok_or_else(|| PkiError::Crypto {
            doing: "trust an ACME server",
            why: "this machine has no list of authorities (ca-certificates): set `directory_trust`".into(),
        })?;
        let mut roots = RootCertStore::empty();
        let all = certificates(&read(path)?, &path.display().to_string())?;
        roots.add_parsable_certificates(all.into_iter().map(CertificateDer::from));
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| PkiError::Crypto { doing: "prepare TLS", why: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client { tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn ask(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |why: String| Error::Other(why.into());
        let uri = request.uri().clone();
        let (Some(host), Some("https")) = (uri.host(), uri.scheme_str()) else {
            return Err(other(format!("{uri} is no address that begins with https://")));
        };
        let port = uri.port_u16().unwrap_or(443);
        let bare = host.trim_matches(['[', ']']);
        let name = ServerName::try_from(bare.to_string()).map_err(|error| other(format!("{host}: {error}")))?;
        let reached = |error: std::io::Error| other(format!("{host}:{port}: {error}"));
        let tcp = TcpStream::connect((bare, port)).await.map_err(reached)?;
        let stream = self.tls.connect(name, tcp).await.map_err(reached)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(Stream(stream))
            .await
            .map_err(|error| other(format!("{host}:{port}: {error}")))?;
        let connection = tokio::spawn(connection);
        // To an origin the path goes alone, and the host beside it.
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_string();
        let authority = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
        *request.uri_mut() = path.parse::<Uri>()?;
        request.headers_mut().insert(header::HOST, authority.parse().map_err(|_| Error::Str("a host"))?);
        let agent = header::HeaderValue::from_static(concat!("deploy/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let answer = sender.send_request(request).await.map_err(|error| other(format!("{host}:{port}: {error}")))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LIMIT).collect().await.map_err(Error::Other)?.to_bytes();
        connection.abort();
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, what) = (self.clone(), request.uri().clone());
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, client.ask(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Other(format!("{what} did not answer within {} s", PATIENCE.as_secs()).into())),
            }
        })
    }
}

/// A TLS stream as hyper wants it.
struct Stream(TlsStream<TcpStream>);

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut bytes = [0u8; 8192];
        let room = cursor.remaining().min(bytes.len());
        let mut buffer = ReadBuf::new(&mut bytes[..room]);
        let polled = Pin::new(&mut self.0).poll_read(context, &mut buffer);
        if let Poll::Ready(Ok(())) = polled {
            cursor.put_slice(buffer.filled());
        }
        polled
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
