//! A public HTTP listener: accepts connections within limits, on several threads, and passes their
//! requests to a [`Handler`]. Routing, and the connections to the servers behind, are the
//! handler's.
//!
//! Plain requests are read and answered without hyper ([`direct`]). A connection with any other one
//! becomes a [`GuardedStream`](crate::guarded::GuardedStream): ambiguous requests never reach the
//! handler, and slow clients are cut off.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::watch;

use self::accepted::Worker;
use self::limiter::ConnectionLimiter;
use self::worker::Dispatcher;
use crate::forwarded::{Client, TrustedProxies};
use crate::plain::PlainRequest;
use crate::refusal::Refusal;
use crate::socket::{ListenAddress, Listener};

mod accepted;
mod config;
mod connection;
mod direct;
mod limiter;
mod tracker;
mod worker;

pub use self::config::ListenerConfig;
pub use self::limiter::ConnectionLimit;

/// The limits on the clients of a public listener.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Open connections.
    pub max_connections: usize,
    /// Open connections of one client (IPv4 address, IPv6 /64) that is not a trusted proxy.
    pub max_client_connections: usize,
    /// Requests on one connection, which is closed after the last one.
    pub max_connection_requests: u64,
    /// The size of a request's head, in bytes.
    pub max_head: usize,
    /// The time from a head's first byte (for the first head: from connecting) to its end.
    pub head_timeout: Duration,
    /// The time for which a connection is kept without a request.
    pub idle_timeout: Duration,
    /// The longest pause of a client that sends a request's body, or that reads a response.
    pub body_timeout: Duration,
}

impl ListenerLimits {
    /// The defaults, and the one place where their numbers are.
    pub const DEFAULT: Self = Self {
        // Each costs a descriptor and about 10 KB: 100 MB in all.
        max_connections: 10_000,
        // An office behind one address opens as many; a tenth of all, so that one client cannot
        // take them all.
        max_client_connections: 1_000,
        // Connections move on to other servers in the end; rare enough to cost nothing.
        max_connection_requests: 10_000,
        // Cookies and tokens of 8 KB are common, ten times that are an error; proxies take 8 to
        // 64 KB.
        max_head: 64 << 10,
        // A head is a few packets: ten seconds are several retransmissions.
        head_timeout: Duration::from_secs(10),
        // Longer than the bridge and the proxies in examples/ingress keep theirs: the side that
        // sends requests should be the one that closes.
        idle_timeout: Duration::from_secs(30),
        // A phone that changes networks is back within it.
        body_timeout: Duration::from_secs(30),
    };
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The settings of a listener.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// The name of the listener's threads, which a number follows.
    pub name: &'static str,
    /// Proxies with trusted headers about the client.
    pub trusted: TrustedProxies,
    /// The limits on clients.
    pub limits: ListenerLimits,
    /// Threads that serve connections.
    pub threads: usize,
}

impl ListenerSettings {
    /// Settings with one thread per core.
    pub fn new(name: &'static str, trusted: TrustedProxies, limits: ListenerLimits) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { name, trusted, limits, threads }
    }
}

/// Counters of a listener.
pub trait ListenerMetrics: Send + Sync + 'static {
    /// A connection was admitted.
    fn connection_opened(&self);
    /// An admitted connection ended.
    fn connection_closed(&self);
    /// A connection was closed at once, because it exceeds `limit`.
    fn connection_refused(&self, limit: ConnectionLimit);
    /// A request was refused because it is ambiguous, or its head too large or too slow.
    fn request_refused(&self);
}

/// Responds to the requests of one thread.
pub trait Handler: 'static {
    /// The body of responses.
    type Body: HandlerBody;

    /// A plain request that was passed on as it came.
    type Direct;

    /// Passes a plain request on, if that takes no wait. `None`: it is for [`Handler::handle`], as
    /// all requests that are not plain.
    fn begin(&self, request: &PlainRequest<'_>, caller: &Caller) -> Option<Self::Direct>;

    /// Waits for the response to a plain request. `None`: nobody got the request, and
    /// [`Handler::handle`] is to send it again.
    fn finish(&self, request: Self::Direct) -> impl Future<Output = Option<Response<Self::Body>>>;

    /// Responds to a request of `caller`.
    fn handle(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// Returns the response to bytes that are refused as a request. `headers` are empty.
    fn refuse(&self, refusal: Refusal, headers: &HeaderMap, caller: &Caller) -> Response<Self::Body>;

    /// Closes idle connections to servers. Called once a second.
    fn sweep(&self);
}

/// The body of a handler's response.
pub trait HandlerBody:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static
{
    /// Returns true if the handler itself wrote the response, which may then come before the end of
    /// the request's body.
    fn is_own(&self) -> bool;

    /// The value of `x-request-id` in the answer to a plain request. `None`: the answer's headers are
    /// all there is.
    fn request_id(&self) -> Option<&str> {
        None
    }
}

/// The connection that a request came on.
pub struct Caller {
    client: Client,
    tunnel: RefCell<Option<Tunnel>>,
}

type Tunnel = Pin<Box<dyn Future<Output = ()>>>;

impl Caller {
    fn new(client: Client) -> Self {
        Self { client, tunnel: RefCell::default() }
    }

    /// The client at the other end.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sets the future that drives the connection once its response 101 has been sent.
    pub fn set_tunnel(&self, tunnel: impl Future<Output = ()> + 'static) {
        self.tunnel.replace(Some(Box::pin(tunnel)));
    }

    /// Drops `value` when the tunnel has ended.
    pub fn keep_with_tunnel<T: 'static>(&self, value: T) {
        if let Some(tunnel) = self.tunnel.take() {
            self.set_tunnel(async move {
                tunnel.await;
                drop(value);
            });
        }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A running listener. Dropping it cuts its connections off.
#[derive(Debug)]
pub struct Server {
    address: ListenAddress,
    /// `Some` with the grace period after the stop.
    stop: watch::Sender<Option<Duration>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener`. Each thread gets a handler of its own from `make_handler`.
    ///
    /// # Errors
    /// The listener cannot be prepared, or a thread or its runtime cannot be made.
    pub fn start<H: Handler>(
        listener: Listener,
        settings: ListenerSettings,
        metrics: Arc<dyn ListenerMetrics>,
        make_handler: impl Fn() -> H + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (address, tls) = (listener.address()?, listener.tls().cloned());
        let stop = watch::Sender::new(None);
        let ListenerSettings { name, trusted, limits, threads } = settings;
        let limiter = ConnectionLimiter::new(&limits, trusted.clone(), metrics.clone());
        let (workers, receivers): (Vec<_>, Vec<_>) = (0..threads.max(1)).map(|_| worker::handle()).unzip();
        let mut dispatcher = Some(Dispatcher { name, listener, workers, limiter });
        let mut threads = Vec::with_capacity(receivers.len());
        for (number, accepted) in receivers.into_iter().enumerate() {
            let (started, start) = mpsc::sync_channel(1);
            let (make_handler, limits, trusted) = (make_handler.clone(), limits.clone(), trusted.clone());
            let (metrics, stopped, dispatcher) = (metrics.clone(), stop.subscribe(), dispatcher.take());
            let tls = tls.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                let runtime = match worker::runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(error)),
                };
                drop(started);
                let worker = Worker { handler: make_handler(), limits, trusted, metrics, tls };
                worker::run(&runtime, worker, accepted, dispatcher, stopped);
            });
            threads.push(thread?);
            if let Ok(error) = start.recv() {
                return Err(error);
            }
        }
        Ok(Self { address, stop, threads })
    }

    /// The address that it listens on.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Accepts no more connections, closes idle ones, lets the others finish within `grace`, and
    /// returns when all threads have ended.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the listener panicked");
                }
            }
        });
        let _ = joined.await;
    }
}
