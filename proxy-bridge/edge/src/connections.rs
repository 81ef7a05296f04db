//! The connections of a listener that takes commands: limited, and shared out so that health checks
//! are answered however many clients follow events or hold idle connections.
//!
//! A request that may take long needs a permit, and is refused at once without one. There are fewer
//! permits than connections, so when the listener is full, at least one connection is idle: it
//! makes room for the next.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The numbers of connections and requests that a listener takes at once.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Answers without an end: events, logs, debuggers.
    pub streams: usize,
    /// Other requests that are not answered at once.
    pub requests: usize,
    /// Requests with a sender that is only known once they have been read, so that anyone may
    /// send them. One client takes at most half of them.
    pub unproven: usize,
    /// Requests for metrics: monitoring has to work while all other permits are taken.
    pub metrics: usize,
    /// Connections beyond the permits: for health checks, and between two requests.
    pub reserve: usize,
}

impl ConnectionLimits {
    /// The largest number of open connections.
    pub fn connections(&self) -> usize {
        self.streams + self.requests + self.unproven + self.metrics + self.reserve
    }

    /// The most that one client takes of the unproven requests.
    fn share(&self) -> usize {
        self.unproven.div_ceil(2)
    }
}

/// The kinds of requests that need a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The answer has no end of its own.
    Stream,
    /// The answer may take a while.
    Request,
    /// The sender is not known before the request was read.
    Unproven,
    /// A request for metrics.
    Metrics,
}

/// All permits of this kind are taken, or the client's share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} {what} are in progress, which is the limit: try again later, or end some of them")]
pub struct Busy {
    limit: usize,
    what: &'static str,
}

/// All connections of one listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    streams: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    metrics: Arc<Semaphore>,
    /// Counts the ends of requests: a logical clock that orders connections by their last use.
    clock: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Usage>>>,
    /// Unproven requests of each client that has any.
    shares: Mutex<BTreeMap<IpAddr, usize>>,
}

/// The use that is made of a connection.
#[derive(Debug)]
struct Usage {
    client: IpAddr,
    /// Permits that its requests hold.
    busy: AtomicUsize,
    idle_since: AtomicU64,
    close: Notify,
}

/// One open connection. Dropping it gives its room back.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    usage: Arc<Usage>,
    shared: Arc<Shared>,
}

/// The right to answer a request without a time limit. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    usage: Arc<Usage>,
    shared: Arc<Shared>,
    kind: RequestKind,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// No connections yet.
    pub fn new(limits: ConnectionLimits) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (streams, requests) = (semaphore(limits.streams), semaphore(limits.requests));
        let (unproven, metrics) = (semaphore(limits.unproven), semaphore(limits.metrics));
        let (clock, open, shares) = (AtomicU64::default(), Mutex::default(), Mutex::default());
        Self {
            shared: Arc::new(Shared { limits, streams, requests, unproven, metrics, clock, open, shares }),
        }
    }

    /// Adds a new connection of `peer`. If the listener is full, the connection that has been idle for
    /// longest is closed.
    pub fn enter(&self, peer: IpAddr) -> Connection {
        let id = self.shared.tick();
        let usage = Arc::new(Usage {
            client: client_of(peer),
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
        open.insert(id, usage.clone());
        Connection { id, usage, shared: self.shared.clone() }
    }
}

/// Returns the connection whose last request ended first.
fn longest_idle(open: &BTreeMap<u64, Arc<Usage>>) -> Option<u64> {
    let idle = open.iter().filter(|(_, usage)| usage.busy.load(Ordering::Relaxed) == 0);
    idle.min_by_key(|(_, usage)| usage.idle_since.load(Ordering::Relaxed)).map(|(id, _)| *id)
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Usage>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shares(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an unproven request of a client.
    fn take_share(&self, client: IpAddr) -> Result<(), Busy> {
        let (limit, mut shares) = (self.limits.share(), self.shares());
        let taken = shares.entry(client).or_default();
        if *taken >= limit {
            return Err(Busy { limit, what: "events of this client whose signature has not been checked" });
        }
        *taken += 1;
        Ok(())
    }

    fn return_share(&self, client: IpAddr) {
        let mut shares = self.shares();
        if let Some(taken) = shares.get_mut(&client) {
            *taken -= 1;
            if *taken == 0 {
                shares.remove(&client);
            }
        }
    }
}

/// Returns the address that a client is counted by: an IPv4 address, or the /64 network of an IPv6
/// address, which is the smallest that providers give to one customer.
pub(crate) fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Connection {
    /// Resolves when the connection has to make room for another one.
    pub async fn evicted(&self) {
        self.usage.close.notified().await;
    }

    /// Returns a permit for a request on this connection, which is not closed while it is held.
    ///
    /// # Errors
    /// All permits of this kind are taken, or the client's share of them.
    pub fn permit(&self, kind: RequestKind) -> Result<Permit, Busy> {
        let Shared { limits, streams, requests, unproven, metrics, .. } = &*self.shared;
        let (semaphore, limit, what) = match kind {
            RequestKind::Stream => (streams, limits.streams, "streams of events, logs and debuggers"),
            RequestKind::Request => (requests, limits.requests, "requests"),
            RequestKind::Unproven => {
                (unproven, limits.unproven, "events whose signature has not been checked")
            }
            RequestKind::Metrics => (metrics, limits.metrics, "requests for metrics"),
        };
        let permit = semaphore.clone().try_acquire_owned().map_err(|_| Busy { limit, what })?;
        if kind == RequestKind::Unproven {
            self.shared.take_share(self.usage.client)?;
        }
        self.usage.busy.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { usage: self.usage.clone(), shared: self.shared.clone(), kind, _permit: permit })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.open().remove(&self.id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.kind == RequestKind::Unproven {
            self.shared.return_share(self.usage.client);
        }
        self.usage.idle_since.store(self.shared.tick(), Ordering::Relaxed);
        self.usage.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer together with its permit, which is given back after the last frame.
#[derive(Debug)]
pub struct PermitBody<B, P> {
    body: B,
    _permit: P,
}

impl<B, P> PermitBody<B, P> {
    /// Ties `permit` to `body`.
    pub fn new(body: B, permit: P) -> Self {
        Self { body, _permit: permit }
    }
}

impl<B: Body + Unpin, P: Unpin> Body for PermitBody<B, P> {
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

    const LIMITS: ConnectionLimits =
        ConnectionLimits { streams: 1, requests: 1, unproven: 0, metrics: 0, reserve: 1 };

    const HOME: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn is_evicted(connection: &Connection) -> bool {
        let evicted = connection.evicted();
        let mut evicted = std::pin::pin!(evicted);
        evicted.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn a_new_connection_replaces_the_one_that_was_idle_for_longest() {
        let connections = Connections::new(LIMITS);
        let (one, two, three) = (connections.enter(HOME), connections.enter(HOME), connections.enter(HOME));
        let busy = one.permit(RequestKind::Stream).unwrap();
        drop(two.permit(RequestKind::Request).unwrap());
        let _four = connections.enter(HOME);
        assert_eq!([&one, &two, &three].map(is_evicted), [false, false, true]);
        drop(busy);
        let _five = connections.enter(HOME);
        assert_eq!([&one, &two].map(is_evicted), [false, true]);
    }

    #[test]
    fn a_closed_connection_gives_its_room_back() {
        let connections = Connections::new(LIMITS);
        let one = connections.enter(HOME);
        for _ in 0..10 {
            drop(connections.enter(HOME));
        }
        assert!(!is_evicted(&one));
    }

    #[test]
    fn each_kind_of_request_has_permits_of_its_own() {
        let connections = Connections::new(LIMITS);
        let (one, two) = (connections.enter(HOME), connections.enter(HOME));
        let stream = one.permit(RequestKind::Stream).unwrap();
        assert!(two.permit(RequestKind::Stream).unwrap_err().to_string().starts_with("1 streams"));
        assert!(two.permit(RequestKind::Request).is_ok());
        drop(stream);
        assert!(two.permit(RequestKind::Stream).is_ok());
        assert!(two.permit(RequestKind::Metrics).is_err());
    }

    #[test]
    fn one_client_takes_half_of_the_permits_for_those_who_are_not_known() {
        let connections = Connections::new(ConnectionLimits { unproven: 4, ..LIMITS });
        let here = connections.enter("2001:db8::1".parse().unwrap());
        let beside = connections.enter("2001:db8::2".parse().unwrap());
        let there = connections.enter("192.0.2.1".parse().unwrap());
        let first = here.permit(RequestKind::Unproven).unwrap();
        let _second = beside.permit(RequestKind::Unproven).unwrap();
        let busy = here.permit(RequestKind::Unproven).unwrap_err().to_string();
        assert!(busy.starts_with("2 events of this client"), "{busy}");
        let _others: Vec<_> = (0..2).map(|_| there.permit(RequestKind::Unproven).unwrap()).collect();
        drop(first);
        assert!(here.permit(RequestKind::Unproven).is_ok());
    }
}
