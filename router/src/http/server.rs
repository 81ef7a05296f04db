//! The public listener: one thread a core, each with a runtime, connections to clients and
//! connections to cells of its own, so that a request never crosses threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use switchyard_bridge::forwarded::Client;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::Settings;
use super::handle::Worker;
use crate::drain::InFlight;
use crate::live::{Commands, Live};

/// A client that opens a connection and sends no request head is cut off after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// After an error of `accept` that is not one connection's own (no descriptors left): long enough
/// for some to be given back, short enough to go unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

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
    ) -> Result<Self> {
        listener.set_nonblocking(true).context("prepare the public listener")?;
        let listener = listener.try_clone().context("share the public listener")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = watch::Sender::new(false);
        let (lanes, arrivals): (Vec<_>, Vec<_>) = (0..cores).map(|_| lane()).unzip();
        let mut acceptor = Some((listener, lanes.clone()));
        let mut threads = Vec::with_capacity(cores);
        for (number, (lane, arriving)) in lanes.into_iter().zip(arrivals).enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // All that was there is handed out: the cells go first now, and answer it in one go.
                .on_thread_park(rustix::thread::sched_yield)
                .build()
                .context("make a runtime for requests")?;
            let (settings, live, commands) = (settings.clone(), live.clone(), commands.clone());
            let stopped = stop.subscribe();
            let acceptor = acceptor.take();
            let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
                let worker = Rc::new(Worker::new(settings, live, commands, lane.open));
                let local = LocalSet::new();
                if let Some((listener, lanes)) = acceptor {
                    local.spawn_local(accept(listener, lanes, stopped.clone()));
                }
                local.block_on(&runtime, serve(arriving, worker, stopped));
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
type Arrival = (std::net::TcpStream, SocketAddr);

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
async fn accept(listener: TcpListener, lanes: Vec<Lane>, mut stopped: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the public listener cannot be used: {error}"),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let arrived = accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client)));
        match arrived {
            Ok(arrival) => {
                let idlest = lanes.iter().min_by_key(|lane| lane.waiting() + lane.open.count());
                let Some(lane) = idlest else { return };
                if lane.arrivals.send(arrival).await.is_err() {
                    return;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!("no connection can be accepted: {error}");
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
    mut stopped: watch::Receiver<bool>,
) {
    let sweeper = spawn_local(worker.clone().sweep());
    let stop = stopped.clone();
    loop {
        let (stream, client) = tokio::select! {
            Some(arrival) = arriving.recv() => arrival,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        // It fails only where a thread has no descriptors left; the client sees a closed connection.
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let Some(open) = worker.open.enter() else { break };
        let (worker, stop) = (worker.clone(), stop.clone());
        spawn_local(async move {
            connection(stream, client, worker, stop).await;
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
    stream: TcpStream,
    client: SocketAddr,
    worker: Rc<Worker>,
    mut stop: watch::Receiver<bool>,
) {
    // A proxied answer is written when it is there; waiting for more would only add latency.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(LocalExecutor);
    // Head and body are copied together: for the small answers that most are, one buffer costs the kernel less.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).writev(false);
    builder.http2().timer(TokioTimer::new());
    let client = Rc::new(Client::new(client, &worker.settings.trusted_proxies));
    let service = service_fn(move |request| {
        let (worker, client) = (worker.clone(), client.clone());
        async move { Ok::<_, std::convert::Infallible>(worker.handle(request, &client).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends (reset, bad request, hung up) is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stop.wait_for(|stopped| *stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
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
