//! One connection of a client: its requests one after the other, then the tunnel that it may become.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::body::Body;
use super::handle::Worker;
use super::problem::Problem;
use super::stopped;
use switchyard_contract::bounds::MAX_HEADERS;
use switchyard_edge::forwarded::Client;
use switchyard_edge::guarded::{ConnState, GuardedStream, Limits};

/// The longest head of a request, in bytes. More is answered 431.
const MAX_HEAD: usize = 64 * 1024;

/// Who is at the other end.
pub(super) struct Caller {
    pub(super) client: Client,
    state: Arc<ConnState>,
    /// What the connection goes on as, once the client has been told that protocols are switched.
    tunnel: Mutex<Option<Tunnel>>,
}

type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Caller {
    pub(super) fn go_on_as(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(tunnel));
    }

    fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn answer(&self, request: Request<Incoming>, worker: &Worker) -> Response<Body> {
        if let Some(refusal) = self.state.begin() {
            return Problem::Refused(refusal).answer();
        }
        // What is behind it on the connection belongs to another protocol.
        let leads_away = request.headers().contains_key(UPGRADE);
        let has_body = !request.body().is_end_stream();
        let mut answer = worker.handle(request, self).await;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.switch();
        } else if leads_away || has_body && answer.body().is_own() {
            // In the last case the body may not have been read to its end.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.state.answer();
        answer
    }
}

/// Serves the connection to its end. Once `stop` says so, it ends after the request under way.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    worker: Arc<Worker>,
    stop: watch::Receiver<bool>,
) {
    // What is there is written; waiting for more would only add latency.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let settings = &worker.settings;
    let limits = Limits {
        max_head: MAX_HEAD,
        head_timeout: settings.head_timeout,
        write_timeout: settings.body_timeout,
    };
    let (stream, state) = GuardedStream::new(stream, limits, ());
    let client = Client::new(peer, local, &settings.trusted);
    let caller = Arc::new(Caller { client, state, tunnel: Mutex::default() });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(settings.idle_timeout).max_headers(MAX_HEADERS);
    {
        let caller = caller.clone();
        let service = service_fn(move |request| {
            let (worker, caller) = (worker.clone(), caller.clone());
            async move { Ok::<_, Infallible>(caller.answer(request, &worker).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        // How a connection ends (reset, bad request, hung up) is the client's affair.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stopped(stop) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    if let Some(tunnel) = caller.tunnel() {
        tunnel.await;
    }
}
