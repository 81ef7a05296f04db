//! An HTTP client without pool, retries and redirects.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::within;

pub use raw::Raw;
pub use stream::{Streaming, Upload};

mod raw;
mod stream;

/// More than hyper's default, and than any test sends.
const MAX_HEADERS: usize = 10_000;

pub type Body = BoxBody<Bytes, Infallible>;

/// One listener. Each request is made on a connection of its own, see [`Client::connect`] for others.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
}

/// An answer that has been read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: Sender,
    driver: Arc<Driver>,
}

/// The task that a connection lives in. The connection is closed when the last handle on it is gone.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Driver {
    fn start<T>(connection: impl Future<Output = T> + Send + 'static) -> Arc<Self> {
        Arc::new(Self(tokio::spawn(async move {
            connection.await;
        })))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    H2c(http2::SendRequest<Body>),
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(request(path)).await
    }

    pub async fn post(&self, path: &str) -> Reply {
        self.send(with_method(Method::POST, path)).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        self.connect().await.send(request).await
    }

    /// A keep-alive connection with HTTP/1.1.
    pub async fn connect(&self) -> Connection {
        self.try_connect().await.expect("the listener accepts")
    }

    pub async fn try_connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let handshake = http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await?;
        let driver = Driver::start(connection.with_upgrades());
        Ok(Connection { address: self.address, sender: Sender::Http1(sender), driver })
    }

    /// A connection with HTTP/2 from its first byte.
    pub async fn connect_h2c(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.expect("the listener accepts");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("the listener speaks HTTP/2");
        let driver = Driver::start(connection);
        Connection { address: self.address, sender: Sender::H2c(sender), driver }
    }

    /// Sends bytes as they are, and gives what comes back until the other end closes.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the listener accepts");
        stream.write_all(bytes.as_ref()).await.expect("bytes can be sent");
        let mut answer = Vec::new();
        let _ = within("the other end closes", stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub async fn websocket(&self, path: &str) -> tungstenite::Result<WebSocketStream<TcpStream>> {
        self.websocket_with(path, HeaderMap::new()).await
    }

    /// A WebSocket whose request has these headers, in place of its own of those names.
    pub async fn websocket_with(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> tungstenite::Result<WebSocketStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        request.headers_mut().extend(headers);
        let handshake = tokio_tungstenite::client_async(request, stream);
        Ok(within("the WebSocket opens", handshake).await?.0)
    }
}

impl Connection {
    /// # Panics
    /// When the connection breaks: see [`Connection::try_send`].
    pub async fn send(&mut self, request: Request<Body>) -> Reply {
        within("an answer", self.try_send(request)).await.expect("an answer arrives")
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(request(path)).await
    }

    pub async fn try_send(&mut self, request: Request<Body>) -> anyhow::Result<Reply> {
        let (parts, body) = self.begin(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Returns when the answer's headers are there.
    pub async fn stream(&mut self, request: Request<Body>) -> Streaming {
        let begun = within("an answer's headers", self.begin(request)).await;
        Streaming::new(begun.expect("an answer begins"), self.driver.clone())
    }

    async fn begin(&mut self, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let host = self.address.to_string();
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                request.headers_mut().entry("host").or_insert(host.parse()?);
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::H2c(sender) => {
                let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                *request.uri_mut() = format!("http://{host}{path}").parse()?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    /// Another handle on the same HTTP/2 connection.
    pub fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::H2c(sender) => Some(Self {
                address: self.address,
                sender: Sender::H2c(sender.clone()),
                driver: self.driver.clone(),
            }),
        }
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns true if the connection ends with this answer: the next request needs another one.
    pub fn ends_connection(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Returns the version that answered.
    pub fn version(&self) -> Option<&str> {
        self.header("x-switchyard-version")
    }

    /// Checks that this is an answer of Switchyard's own, of the given kind.
    ///
    /// # Panics
    /// When it is something else.
    pub fn assert_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:switchyard:problem:{slug}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        problem
    }
}

/// `GET path` without a body.
pub fn request(path: &str) -> Request<Body> {
    with_method(Method::GET, path)
}

/// Without a body.
pub fn with_method(method: Method, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).body(Empty::new().boxed());
    request.expect("the test's path is one")
}

/// `POST path` with a body of known length.
pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    with_method(Method::POST, path).map(|_| Full::new(body.into()).boxed())
}

/// Says that the body is JSON.
pub fn json_body(request: Request<Body>) -> Request<Body> {
    with_header(request, "content-type", "application/json")
}

/// Adds or replaces a header.
pub fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().expect("the test's header is one"));
    request
}
