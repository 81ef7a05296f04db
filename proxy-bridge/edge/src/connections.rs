//! The connections of a listener that takes commands: bounded, and so shared out that health checks
//! are answered however many clients follow events or hold a connection and say nothing.
//!
//! A request that may take its time needs a permit; without one it is refused at once. There are fewer
//! permits than connections. So when there are as many connections as may be, one of them is idle, and
//! makes room for the next.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How many there may be at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Answers without an end: events, logs, debuggers.
    pub streams: usize,
    /// Other requests that are not answered at once.
    pub requests: usize,
    /// Requests that anybody may send: their sender is only known once they have been read.
    pub unproven: usize,
    /// Requests for metrics, so that monitoring sees what holds the others.
    pub metrics: usize,
    /// Connections beyond all of these: for health checks, and those between two requests.
    pub reserve: usize,
}

impl Limits {
    /// How many connections there may be.
    pub fn connections(&self) -> usize {
        self.streams + self.requests + self.unproven + self.metrics + self.reserve
    }
}

/// What a request needs a permit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Request,
    Unproven,
    Metrics,
}

/// As many requests of this kind are under way as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} {what} are under way, and more are not taken: try again later, or end some of them")]
pub struct Busy {
    limit: usize,
    what: &'static str,
}

/// All connections of one listener. Clones are the same.
#[derive(Debug, Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    streams: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    metrics: Arc<Semaphore>,
    /// Counts what happens, to know which connection has been idle for longest.
    clock: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<State>>>,
}

#[derive(Debug)]
struct State {
    /// Permits that its requests hold.
    busy: AtomicUsize,
    idle_since: AtomicU64,
    close: Notify,
}

/// One connection. Dropped, it is forgotten.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    state: Arc<State>,
    shared: Arc<Shared>,
}

/// The right to answer a request in one's own time, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    state: Arc<State>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub fn new(limits: Limits) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (streams, requests) = (semaphore(limits.streams), semaphore(limits.requests));
        let (unproven, metrics) = (semaphore(limits.unproven), semaphore(limits.metrics));
        let (clock, open) = (AtomicU64::default(), Mutex::default());
        Self { shared: Arc::new(Shared { limits, streams, requests, unproven, metrics, clock, open }) }
    }

    /// Takes a new connection. When there are as many as may be, the one that has been idle for longest
    /// is to be closed.
    pub fn enter(&self) -> Connection {
        let id = self.shared.tick();
        let state = Arc::new(State {
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(id),
            close: Notify::new(),
        });
        let mut open = self.shared.open();
        if open.len() >= self.shared.limits.connections()
            && let Some(longest) = longest_idle(&open)
            && let Some(closed) = open.remove(&longest)
        {
            closed.close.notify_one();
        }
        open.insert(id, state.clone());
        Connection { id, state, shared: self.shared.clone() }
    }
}

fn longest_idle(open: &BTreeMap<u64, Arc<State>>) -> Option<u64> {
    let idle = open.iter().filter(|(_, state)| state.busy.load(Ordering::Relaxed) == 0);
    idle.min_by_key(|(_, state)| state.idle_since.load(Ordering::Relaxed)).map(|(id, _)| *id)
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<State>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Resolves when the connection has to make room for another one.
    pub async fn evicted(&self) {
        self.state.close.notified().await;
    }

    /// A permit for a request on this connection. While there is one it is not closed for another.
    ///
    /// # Errors
    /// As many as may be are out.
    pub fn permit(&self, kind: Kind) -> Result<Permit, Busy> {
        let Shared { limits, streams, requests, unproven, metrics, .. } = &*self.shared;
        let (semaphore, limit, what) = match kind {
            Kind::Stream => (streams, limits.streams, "streams of events, logs and debuggers"),
            Kind::Request => (requests, limits.requests, "requests"),
            Kind::Unproven => (unproven, limits.unproven, "events whose signature has not been checked"),
            Kind::Metrics => (metrics, limits.metrics, "requests for metrics"),
        };
        let permit = semaphore.clone().try_acquire_owned().map_err(|_| Busy { limit, what })?;
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { state: self.state.clone(), shared: self.shared.clone(), _permit: permit })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.open().remove(&self.id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.state.idle_since.store(self.shared.tick(), Ordering::Relaxed);
        self.state.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with what is given back when the last of it is out.
#[derive(Debug)]
pub struct Held<B, H> {
    body: B,
    _held: H,
}

impl<B, H> Held<B, H> {
    pub fn new(body: B, held: H) -> Self {
        Self { body, _held: held }
    }
}

impl<B: Body + Unpin, H: Unpin> Body for Held<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { streams: 1, requests: 1, unproven: 0, metrics: 0, reserve: 1 };

    fn is_evicted(connection: &Connection) -> bool {
        let evicted = connection.evicted();
        let mut evicted = std::pin::pin!(evicted);
        evicted.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let connections = Connections::new(LIMITS);
        let (one, two, three) = (connections.enter(), connections.enter(), connections.enter());
        let busy = one.permit(Kind::Stream).unwrap();
        drop(two.permit(Kind::Request).unwrap());
        let _four = connections.enter();
        assert_eq!([&one, &two, &three].map(is_evicted), [false, false, true]);
        drop(busy);
        let _five = connections.enter();
        assert_eq!([&one, &two].map(is_evicted), [false, true]);
    }

    #[test]
    fn a_connection_that_is_gone_leaves_its_room() {
        let connections = Connections::new(LIMITS);
        let one = connections.enter();
        for _ in 0..10 {
            drop(connections.enter());
        }
        assert!(!is_evicted(&one));
    }

    #[test]
    fn each_kind_of_request_has_permits_of_its_own() {
        let connections = Connections::new(LIMITS);
        let (one, two) = (connections.enter(), connections.enter());
        let stream = one.permit(Kind::Stream).unwrap();
        assert!(two.permit(Kind::Stream).unwrap_err().to_string().starts_with("1 streams"));
        assert!(two.permit(Kind::Request).is_ok());
        drop(stream);
        assert!(two.permit(Kind::Stream).is_ok());
        assert!(two.permit(Kind::Metrics).is_err());
    }
}
