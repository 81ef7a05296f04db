//! An ingress that receives events: a real HTTP server that verifies the router's signatures.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use switchyard_contract::event::Event;
use switchyard_contract::secret::Secret;
use switchyard_contract::verifier::{Verified, Verifier};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::bridge::addresses::SECRET;
use crate::within;

/// Dropping it leaves the listener to the test's runtime, which ends with the test.
#[derive(Debug)]
pub struct Receiver {
    pub url: String,
    /// For `--event-secret-file`.
    pub secret_file: NamedTempFile,
    taken: mpsc::UnboundedReceiver<Verified>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    verifier: Verifier,
    taken: mpsc::UnboundedSender<Verified>,
    refuse_next: AtomicU64,
    refused: AtomicU64,
}

impl Receiver {
    pub async fn start() -> Self {
        let secret_file = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(&secret_file, format!("{SECRET}\n")).expect("a file can be written");
        let secret = Secret::read(secret_file.path()).expect("the secret is one");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (sender, taken) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            verifier: Verifier::new([secret]),
            taken: sender,
            refuse_next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        tokio::spawn(accept(listener, state.clone()));
        Self { url: format!("http://{address}/events"), secret_file, taken, state }
    }

    /// Answers the next requests with 503, like a restarting ingress.
    pub fn refuse_next(&self, count: u64) {
        self.state.refuse_next.store(count, Ordering::SeqCst);
    }

    /// Returns the number of requests that were answered with 503.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// The next event, which was signed by the router.
    pub async fn next(&mut self) -> Verified {
        within("an event is posted", self.taken.recv()).await.expect("the receiver runs")
    }

    /// Receives events until one matches, and returns all of them.
    pub async fn until(&mut self, matches: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await.event);
            if events.last().is_some_and(&matches) {
                return events;
            }
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let one_less = |count: u64| count.checked_sub(1);
    let refuses = state.refuse_next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
    let status = if refuses {
        state.refused.fetch_add(1, Ordering::SeqCst);
        503
    } else {
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        match state.verifier.verify(&parts.headers, &body) {
            Ok(verified) => {
                let _ = state.taken.send(verified);
                204
            }
            Err(_) => 401,
        }
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status.try_into().expect("a status of three digits");
    Ok(response)
}
