//! Forwards requests to routers: to one that is ready, and that has published what was deployed.
//!
//! Bodies are streamed both ways. A request is tried again only where that cannot do a thing twice.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::routers::Routers;
use handle::Worker;
use switchyard_edge::forwarded::TrustedProxies;

pub use metrics::Metrics;

mod body;
mod connection;
mod handle;
mod metrics;
mod pool;
mod problem;
#[cfg(test)]
mod tests;
mod tunnel;

/// After an error of `accept` that is not one connection's own (no descriptors left): long enough for some to
/// be given back, short enough to go unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How often idle connections to routers are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How requests are taken and handed on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose word on where a request came from is taken.
    pub trusted: TrustedProxies,
    /// From the end of a request (or the last piece of its body that a router takes) to the beginning of its answer.
    pub request_timeout: Duration,
    /// Connections of clients at once; the next one waits to be accepted.
    pub max_connections: usize,
    /// From the first byte of a request's head (or from connecting) to its end.
    pub head_timeout: Duration,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// The longest pause of a client that sends a request's body, or that reads an answer.
    pub body_timeout: Duration,
}

impl Default for Settings {
    /// A head is a few packets. What stands in front keeps idle connections for up to a minute: it should be the
    /// one that closes them, since a request may be on its way.
    fn default() -> Self {
        Self {
            trusted: TrustedProxies::default(),
            request_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// The listener, and all connections on it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Takes requests on `listener`, on the current tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn start(
        listener: std::net::TcpListener,
        settings: Settings,
        routers: Routers,
    ) -> anyhow::Result<Self> {
        listener.set_nonblocking(true).context("prepare the listener that forwards")?;
        let listener = TcpListener::from_std(listener).context("prepare the listener that forwards")?;
        let address = listener.local_addr().context("read the address of the listener that forwards")?;
        let metrics = Arc::new(Metrics::new(routers.clone()));
        let stop = watch::Sender::new(false);
        let worker = Arc::new(Worker::new(settings, routers, metrics.clone()));
        let task = tokio::spawn(accept(listener, worker, stop.subscribe()));
        Ok(Self { address, metrics, stop, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Takes no more connections, closes those that are idle, and returns when the others have finished
    /// their requests, or are cut off because the grace is over.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        if timeout(grace, &mut self.task).await.is_err() {
            tracing::warn!("the grace is over: forwarded requests are cut off");
            self.task.abort();
            let _ = self.task.await;
        }
    }
}

/// Accepts until it is stopped, then waits for the connections. Dropping it cuts them off.
async fn accept(listener: TcpListener, worker: Arc<Worker>, stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(worker.settings.max_connections));
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP);
    let mut stopped = pin!(stopped(stop.clone()));
    loop {
        let permit = permits.clone();
        let accepting = async {
            let permit = permit.acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            (accepted, permit) = accepting => match accepted {
                Ok((stream, peer)) => {
                    let (worker, stop) = (worker.clone(), stop.clone());
                    connections.spawn(async move {
                        connection::serve(stream, peer, worker, stop).await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("no connection can be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.pool.sweep(),
            () = &mut stopped => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Resolves when it is to stop, and when nobody is left who could say so.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
