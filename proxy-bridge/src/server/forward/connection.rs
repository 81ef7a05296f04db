//! One connection of a client: its requests one after the other, then the tunnel that it may become.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::handle::Worker;
use super::head_time::Timed;
use super::stopped;
use crate::forwarded::Client;

/// The longest head of a request, in bytes. More is answered 431.
const MAX_HEAD: usize = 64 * 1024;

/// Who is at the other end.
pub(super) struct Caller {
    pub(super) client: Client,
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
    let (stream, clock) = Timed::new(stream, worker.settings.head_timeout);
    let client = Client::new(peer, &worker.settings.trusted);
    let caller = Arc::new(Caller { client, tunnel: Mutex::default() });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(worker.settings.idle_timeout);
    builder.max_header_size(MAX_HEAD);
    {
        let (caller, clock) = (caller.clone(), clock.clone());
        let service = service_fn(move |request| {
            let (worker, caller, serving) = (worker.clone(), caller.clone(), clock.serve());
            async move {
                let answer = worker.handle(request, &caller).await;
                Ok::<_, Infallible>(answer.map(|body| body.until_sent(serving)))
            }
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
        let _serving = clock.serve();
        tunnel.await;
    }
}
