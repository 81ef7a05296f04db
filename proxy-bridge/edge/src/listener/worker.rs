//! The threads of a listener. Each has a runtime, its connections and a handler of its own, so that
//! a request never crosses threads.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Handler;
use super::accepted::{Accepted, Load, Worker};
use super::connection;
use super::limiter::{ConnectionLimiter, ConnectionPermit};
use crate::accept::Acceptor;
use crate::socket::Listener;

/// Blocking tasks of one thread at once (reading files, looking up names): enough to keep a disk
/// busy. Further ones wait; there are no more of them than connections and requests in flight.
const MAX_BLOCKING: usize = 16;

/// Accepted connections that wait for their thread. When as many wait, no more are accepted.
const MAX_WAITING: usize = 128;

/// Interval at which handlers close idle connections to their servers.
const SWEEP: Duration = Duration::from_secs(1);

/// Hands connections to one thread.
#[derive(Debug, Clone)]
pub(super) struct WorkerHandle {
    accepted: mpsc::Sender<Accepted>,
    /// Connections that the thread has, or is about to get.
    load: Arc<AtomicUsize>,
}

/// Returns the handle of a thread to be, and the receiver for [`run`].
pub(super) fn handle() -> (WorkerHandle, mpsc::Receiver<Accepted>) {
    let (accepted, receiver) = mpsc::channel(MAX_WAITING);
    (WorkerHandle { accepted, load: Arc::default() }, receiver)
}

/// The accept loop, which runs on one of the threads.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) name: &'static str,
    pub(super) listener: Listener,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) limiter: ConnectionLimiter,
}

impl Dispatcher {
    /// Accepts connections until the stop and hands each to the thread with the fewest: threads
    /// that share a listener would leave nearly all connections to one of them.
    async fn run(mut self, mut stop: watch::Receiver<Option<Duration>>) {
        let mut acceptor = match Acceptor::new(self.name, self.listener) {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!("cannot use the listener: {error}"),
        };
        loop {
            let (stream, peer) = tokio::select! {
                accepted = acceptor.accept() => accepted,
                _ = stop.wait_for(Option::is_some) => return,
            };
            let Some((permit, worker)) = admit(&mut self.limiter, peer.ip(), &self.workers) else { continue };
            let Ok(stream) = stream.detach() else { continue };
            let accepted = Accepted { stream, peer, permit, load: Load::add(&worker.load) };
            if worker.accepted.send(accepted).await.is_err() {
                return;
            }
        }
    }
}

fn admit<'w>(
    limiter: &mut ConnectionLimiter,
    peer: IpAddr,
    workers: &'w [WorkerHandle],
) -> Option<(ConnectionPermit, &'w WorkerHandle)> {
    let permit = limiter.admit(peer)?;
    let idlest = workers.iter().min_by_key(|worker| worker.load.load(Relaxed))?;
    Some((permit, idlest))
}

/// Runs one thread of the listener until its connections have ended after the stop.
pub(super) fn run<H: Handler>(
    runtime: &LocalRuntime,
    worker: Worker<H>,
    accepted: mpsc::Receiver<Accepted>,
    dispatcher: Option<Dispatcher>,
    stop: watch::Receiver<Option<Duration>>,
) {
    runtime.block_on(async {
        if let Some(dispatcher) = dispatcher {
            spawn_local(dispatcher.run(stop.clone()));
        }
        serve(Rc::new(worker), accepted, stop).await;
    });
}

/// Returns the runtime of one thread. To be called on that thread.
pub(super) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        // Everything that had come is handed out by now: the processes behind go first, and answer
        // it in one go.
        .on_thread_park(std::thread::yield_now)
        .max_blocking_threads(MAX_BLOCKING)
        .build_local(LocalOptions::default())
}

async fn serve<H: Handler>(
    worker: Rc<Worker<H>>,
    mut accepted: mpsc::Receiver<Accepted>,
    stop: watch::Receiver<Option<Duration>>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = stopped(stop.clone());
    tokio::pin!(stopped);
    let grace = loop {
        tokio::select! {
            Some(next) = accepted.recv() => {
                connections.spawn_local(connection::serve(next, worker.clone(), stop.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.handler.sweep(),
            grace = &mut stopped => break grace,
        }
    };
    drop(accepted);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, ended).await.is_err() {
        let cut_off = connections.len();
        tracing::warn!(cut_off, "the grace period is over: {cut_off} connections are cut off");
    }
}

/// Resolves at the stop. Returns the grace period, which is zero if the listener was dropped.
async fn stopped(mut stop: watch::Receiver<Option<Duration>>) -> Duration {
    stop.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
}
