//! The baseline of the data path: a reverse proxy that only forwards, with hyper on both sides and
//! one pool of connections to a Unix socket. It has no limits, no timeouts and no policy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixStream};

type Body = BoxBody<Bytes, hyper::Error>;

/// Connections that have answered, the last one on top.
#[derive(Debug)]
struct Pool {
    socket: PathBuf,
    free: Mutex<Vec<SendRequest<Incoming>>>,
}

/// Forwards until the process is ended.
pub(crate) async fn run(address: SocketAddr, socket: PathBuf) -> Result<()> {
    let listener = TcpListener::bind(address).await.context("listen")?;
    let pool = Arc::new(Pool { socket, free: Mutex::default() });
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        stream.set_nodelay(true).context("set up a connection")?;
        let pool = pool.clone();
        let service = service_fn(move |request| {
            let pool = pool.clone();
            async move { Ok::<_, Infallible>(forward(&pool, request).await.unwrap_or_else(failed)) }
        });
        // The task ends with its client, or with the process.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn forward(pool: &Pool, request: Request<Incoming>) -> Result<Response<Body>> {
    let kept = pool.take();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(&pool.socket).await?,
    };
    sender.ready().await.context("use a connection")?;
    let response = sender.send_request(request).await.context("forward a request")?;
    // The connection becomes ready once the answer's body has been read.
    pool.free().push(sender);
    Ok(response.map(BodyExt::boxed))
}

async fn connect(socket: &PathBuf) -> Result<SendRequest<Incoming>> {
    let stream = UnixStream::connect(socket).await.context("connect to the upstream")?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("connect to the upstream")?;
    tokio::spawn(connection);
    Ok(sender)
}

fn failed(error: anyhow::Error) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{error:#}\n"))).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

impl Pool {
    /// A connection whose last answer has been read.
    fn take(&self) -> Option<SendRequest<Incoming>> {
        let mut free = self.free();
        free.retain(|sender| !sender.is_closed());
        let ready = free.iter().rposition(SendRequest::is_ready)?;
        Some(free.swap_remove(ready))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Incoming>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
