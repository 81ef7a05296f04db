//! The public listener: one thread a core, each with a runtime, connections to clients and
//! connections to cells of its own, so that a request never crosses threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use switchyard_contract::bounds::MAX_HEADERS;
use switchyard_edge::forwarded::Client;
use switchyard_edge::guarded::{ConnState, GuardedStream, Limits};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::conversation::{Answer, Conversation, Turn};
use super::door::{Door, Flood, Permit};
use super::handle::Worker;
use super::problem::{Audience, Problem};
use super::{Bounds, Settings};
use crate::drain::InFlight;
use crate::live::{Commands, Live};
use crate::metrics::Metrics;

/// Requests of one HTTP/2 connection at once: what RFC 9113 (6.5.2) calls the least that is useful.
const MAX_STREAMS: u32 = 100;

/// Streams that an HTTP/2 client may have reset by its errors before the connection is given up: a client
/// that is right causes none.
const MAX_RESET_STREAMS: usize = 100;

/// After an error of `accept` that is not one connection's own (no descriptors left): long enough
/// for some to be given back, short enough to go unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Connections that the kernel keeps until they are accepted. It drops those beyond, and their clients try again
/// after a second: a flood would be felt by all. The kernel's own limit (`somaxconn`) is the same.
const BACKLOG: i32 = 4096;

/// Files that one thread has read at once, each by a thread with one open file: enough to keep a disk
/// busy. Further ones wait; there are no more of them than connections and requests in flight.
const MAX_READERS: usize = 16;

/// Accepted connections that wait for their thread; when they are as many, accepting waits.
const ARRIVALS: usize = 128;

/// The threads that serve the public listener.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener` on as many threads as there are cores.
    ///
    /// # Errors
    /// A thread or its runtime cannot be made.
    pub(crate) fn start(
        listener: &TcpListener,
        settings: &Settings,
        live: &Arc<Live>,
        commands: &Commands,
        metrics: &Metrics,
    ) -> Result<Self> {
        listener.set_nonblocking(true).context("prepare the public listener")?;
        // The standard library has it at 128.
        rustix::net::listen(listener, BACKLOG).context("prepare the public listener")?;
        let listener = listener.try_clone().context("share the public listener")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = watch::Sender::new(false);
        let (lanes, arrivals): (Vec<_>, Vec<_>) = (0..cores).map(|_| lane()).unzip();
        let Bounds { max_connections, max_client_connections, .. } = settings.bounds;
        let trusted = settings.trusted_proxies.clone();
        let door = Door::new(max_connections, max_client_connections, trusted, metrics.clone());
        let mut acceptor = Some((listener, lanes.clone(), door));
        let mut threads = Vec::with_capacity(cores);
        for (number, (lane, arriving)) in lanes.into_iter().zip(arrivals).enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // All that was there is handed out: the cells go first now, and answer it in one go.
                .on_thread_park(rustix::thread::sched_yield)
                .max_blocking_threads(MAX_READERS)
                .build()
                .context("make a runtime for requests")?;
            let (settings, live, commands) = (settings.clone(), live.clone(), commands.clone());
            let (stopped, metrics) = (stop.subscribe(), metrics.clone());
            let acceptor = acceptor.take();
            let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
                let worker = Rc::new(Worker::new(settings, live, commands, lane.open));
                let local = LocalSet::new();
                if let Some((listener, lanes, door)) = acceptor {
                    local.spawn_local(accept(listener, lanes, door, stopped.clone()));
                }
                local.block_on(&runtime, serve(arriving, worker, metrics, stopped));
            });
            threads.push(thread.context("start a thread for requests")?);
        }
        Ok(Self { stop, threads })
    }

    /// Takes no more connections, lets those that are open finish within the grace, and returns
    /// when all threads have ended.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a thread for requests panicked");
                }
            }
        });
        let _ = joined.await;
    }
}

/// A connection that was accepted.
#[derive(Debug)]
struct Arrival {
    stream: std::net::TcpStream,
    client: SocketAddr,
    permit: Permit,
}

/// The way to one thread, and how much it has open.
#[derive(Debug, Clone)]
struct Lane {
    arrivals: mpsc::Sender<Arrival>,
    open: Arc<InFlight>,
}

fn lane() -> (Lane, mpsc::Receiver<Arrival>) {
    let (arrivals, arriving) = mpsc::channel(ARRIVALS);
    (Lane { arrivals, open: Arc::default() }, arriving)
}

/// Accepts connections and gives each to the thread with the fewest: left to themselves, threads
/// that share a listener leave nearly all of them to one.
async fn accept(listener: TcpListener, lanes: Vec<Lane>, mut door: Door, mut stopped: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the public listener cannot be used: {error}"),
    };
    let mut failures = Flood::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let arrived = accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client)));
        match arrived {
            Ok((stream, client)) => {
                let Some(permit) = door.enter(client.ip()) else { continue };
                let arrival = Arrival { stream, client, permit };
                let idlest = lanes.iter().min_by_key(|lane| lane.waiting() + lane.open.count());
                let Some(lane) = idlest else { return };
                if lane.arrivals.send(arrival).await.is_err() {
                    return;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(count) = failures.tell() {
                    tracing::warn!(count, "no connection can be accepted ({count} times): {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Lane {
    fn waiting(&self) -> usize {
        self.arrivals.max_capacity() - self.arrivals.capacity()
    }
}

async fn serve(
    mut arriving: mpsc::Receiver<Arrival>,
    worker: Rc<Worker>,
    metrics: Metrics,
    mut stopped: watch::Receiver<bool>,
) {
    let metrics = Rc::new(metrics);
    let sweeper = spawn_local(worker.clone().sweep());
    let stop = stopped.clone();
    loop {
        let arrival = tokio::select! {
            Some(arrival) = arriving.recv() => arrival,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let Some(open) = worker.open.enter() else { break };
        let (worker, metrics, stop) = (worker.clone(), metrics.clone(), stop.clone());
        spawn_local(async move {
            connection(arrival, worker, metrics, stop).await;
            drop(open);
        });
    }
    worker.open.close();
    let cut_off = worker.open.drained(worker.settings.grace).await;
    if cut_off > 0 {
        tracing::warn!(cut_off, "the grace is over: {cut_off} connections are cut off");
    }
    sweeper.abort();
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    arrival: Arrival,
    worker: Rc<Worker>,
    metrics: Rc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let Arrival { stream, client, permit } = arrival;
    // It fails only where a thread has no descriptors left; the client sees a closed connection.
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // A proxied answer is written when it is there; waiting for more would only add latency.
    let _ = stream.set_nodelay(true);
    let bounds = worker.settings.bounds.clone();
    let Ok(local) = stream.local_addr() else { return };
    let limits = Limits {
        max_head: bounds.max_head,
        head_timeout: bounds.head_timeout,
        write_timeout: bounds.body_timeout,
    };
    let (guarded, state) = GuardedStream::new(stream, limits, permit);
    let conversation = Conversation::new();
    let service = {
        let client = Client::new(client, local, &worker.settings.trusted_proxies);
        let host = Rc::new(Host { worker, client, state, metrics, conversation: conversation.clone() });
        service_fn(move |request| {
            let host = host.clone();
            let turn = host.conversation.begin();
            async move { Ok::<_, std::convert::Infallible>(host.answer(request, turn).await) }
        })
    };
    let builder = builder(&bounds);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(guarded), service);
    tokio::pin!(connection);
    // How a connection ends (reset, bad request, hung up) is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stopped| *stopped) => {}
        () = conversation.idle(&bounds) => {}
        () = conversation.ended() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        // It had nothing to do before, and still has not: the other end does not finish.
        () = conversation.idle(&bounds) => {}
    }
}

fn builder(bounds: &Bounds) -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    // Heads are timed and measured by the guarded stream, idleness by the conversation.
    // Head and body are copied together: for the small answers that most are, one buffer costs the kernel less.
    builder.http1().header_read_timeout(None).writev(false).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .max_header_list_size(u32::try_from(bounds.max_head).unwrap_or(u32::MAX))
        // A peer that is gone without a word is found out while its requests still take place.
        .keep_alive_interval(bounds.body_timeout)
        .keep_alive_timeout(bounds.head_timeout);
    builder
}

/// Answers one connection's requests.
struct Host {
    worker: Rc<Worker>,
    client: Client,
    state: Arc<ConnState>,
    metrics: Rc<Metrics>,
    conversation: Rc<Conversation>,
}

impl Host {
    async fn answer(&self, request: Request<Incoming>, turn: Turn) -> Response<Answer> {
        if request.version() == Version::HTTP_2 {
            return self.answer_stream(request, turn).await;
        }
        if let Some(refusal) = self.state.refusal(turn.number) {
            self.metrics.requests_refused.inc();
            let response = Problem::Refused(refusal).answer(None, request.headers(), Audience::Anybody);
            return response.map(|body| turn.answer(body));
        }
        let is_last = self.is_last(&turn);
        // What is behind it on the connection belongs to another protocol.
        let leads_away = request.headers().contains_key(UPGRADE);
        let has_body = !request.body().is_end_stream();
        let mut response = self.worker.handle(request, &self.client).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.switch();
        } else if is_last || leads_away || has_body && response.body().is_own() {
            // In the last case the body may not have been read to its end.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.state.answer();
        response.map(|body| turn.answer(body))
    }

    async fn answer_stream(&self, request: Request<Incoming>, turn: Turn) -> Response<Answer> {
        if self.is_last(&turn) {
            self.conversation.end();
        }
        let mut response = self.worker.handle(request, &self.client).await;
        response.headers_mut().remove(CONNECTION);
        response.map(|body| turn.answer_stream(body))
    }

    fn is_last(&self, turn: &Turn) -> bool {
        turn.number + 1 >= self.worker.settings.bounds.max_connection_requests
    }
}

/// Runs what hyper spawns for HTTP/2 streams on the thread that it is on.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}
