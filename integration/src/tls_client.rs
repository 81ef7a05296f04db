//! Clients that speak TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Body = Empty<bytes::Bytes>;

/// A client that trusts the authorities of a test.
#[derive(Debug, Clone)]
pub struct TlsClient {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
}

/// A connection that is kept.
#[derive(Debug)]
pub struct TlsConnection {
    /// The certificate that the server showed.
    pub certificate: Vec<u8>,
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl TlsClient {
    /// # Panics
    /// An authority cannot be read.
    pub fn new(address: SocketAddr, authorities: &[&Path]) -> Self {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            let certificate = CertificateDer::from_pem_file(authority).expect("it is a certificate");
            roots.add(certificate).expect("it is an authority");
        }
        Self { address, roots: Arc::new(roots) }
    }

    /// Connects to `localhost`, and speaks HTTP/2 if `is_h2`, else HTTP/1.1.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn connect(&self, is_h2: bool) -> anyhow::Result<TlsConnection> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![if is_h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(self.address).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into()?, stream).await?;
        let (_, session) = stream.get_ref();
        let certificate =
            session.peer_certificates().and_then(|chain| chain.first()).context("no certificate")?;
        let certificate = certificate.to_vec();
        let stream = TokioIo::new(stream);
        let sender = if is_h2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(driver);
            Sender::Http2(sender)
        } else {
            let (sender, driver) = http1::handshake(stream).await?;
            tokio::spawn(driver);
            Sender::Http1(sender)
        };
        Ok(TlsConnection { certificate, sender })
    }
}

impl TlsConnection {
    /// Returns the text of the response.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<String> {
        let request = Request::builder().uri(format!("https://localhost{path}"));
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = Request::builder().uri(path).header("host", "localhost");
                sender.send_request(request.body(Empty::new())?).await?
            }
            Sender::Http2(sender) => sender.send_request(request.body(Empty::new())?).await?,
        };
        let body = response.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}
