//! The number of open connections: in all, and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ListenerLimits, ListenerMetrics};
use crate::connections::client_of;
use crate::forwarded::TrustedProxies;
use crate::throttle::LogThrottle;

/// The limit that a connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// Connections of all clients.
    All,
    /// Connections of one client.
    Client,
}

/// Admits connections within the limits, and logs how many it refuses.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    open: Arc<OpenConnections>,
    max: usize,
    max_client: usize,
    trusted: TrustedProxies,
    refusals: LogThrottle,
}

/// An admitted connection, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    open: Arc<OpenConnections>,
    /// `None` for a trusted proxy: its connections belong to many clients.
    client: Option<IpAddr>,
}

struct OpenConnections {
    counts: Mutex<Counts>,
    metrics: Arc<dyn ListenerMetrics>,
}

impl std::fmt::Debug for OpenConnections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenConnections").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Clients with at least one connection.
    clients: HashMap<IpAddr, usize>,
}

impl ConnectionLimiter {
    /// Connections of `trusted` peers count towards the limit on all connections only.
    pub(super) fn new(
        limits: &ListenerLimits,
        trusted: TrustedProxies,
        metrics: Arc<dyn ListenerMetrics>,
    ) -> Self {
        let open = Arc::new(OpenConnections { counts: Mutex::default(), metrics });
        let (max, max_client) = (limits.max_connections, limits.max_client_connections);
        Self { open, max, max_client, trusted, refusals: LogThrottle::default() }
    }

    /// Admits a connection of `peer`. Returns `None` if there are too many.
    pub(super) fn admit(&mut self, peer: IpAddr) -> Option<ConnectionPermit> {
        let client = (!self.trusted.contains(peer)).then(|| client_of(peer));
        match self.open.add(client, self.max, self.max_client) {
            Ok(()) => {
                self.open.metrics.connection_opened();
                Some(ConnectionPermit { open: self.open.clone(), client })
            }
            Err(limit) => {
                self.open.metrics.connection_refused(limit);
                self.log(peer, limit);
                None
            }
        }
    }

    fn log(&mut self, peer: IpAddr, limit: ConnectionLimit) {
        let Some(count) = self.refusals.hit() else { return };
        let flag = match limit {
            ConnectionLimit::All => "--max-connections",
            ConnectionLimit::Client => "--max-client-connections",
        };
        tracing::warn!(
            connections.refused = count,
            client.address = %peer,
            "{count} connections were closed at once: too many are open ({flag}); the last one \
             came from {peer}"
        );
    }
}

impl OpenConnections {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, client: Option<IpAddr>, max: usize, max_client: usize) -> Result<(), ConnectionLimit> {
        let mut counts = self.counts();
        if counts.all >= max {
            return Err(ConnectionLimit::All);
        }
        if let Some(client) = client {
            if counts.clients.get(&client).is_some_and(|count| *count >= max_client) {
                return Err(ConnectionLimit::Client);
            }
            *counts.clients.entry(client).or_default() += 1;
        }
        counts.all += 1;
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.metrics.connection_closed();
        let mut counts = self.open.counts();
        counts.all -= 1;
        if let Some(client) = self.client
            && let Some(count) = counts.clients.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                counts.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;

    #[derive(Debug, Default)]
    struct OpenCount(AtomicI64);

    impl ListenerMetrics for OpenCount {
        fn connection_opened(&self) {
            self.0.fetch_add(1, Relaxed);
        }

        fn connection_closed(&self) {
            self.0.fetch_sub(1, Relaxed);
        }

        fn connection_refused(&self, _: ConnectionLimit) {}

        fn request_refused(&self) {}
    }

    fn limiter(max: usize, max_client: usize) -> (ConnectionLimiter, Arc<OpenCount>) {
        let trusted = "10.0.0.0/8".parse().unwrap();
        let limits = ListenerLimits {
            max_connections: max,
            max_client_connections: max_client,
            ..ListenerLimits::default()
        };
        let count = Arc::new(OpenCount::default());
        (ConnectionLimiter::new(&limits, trusted, count.clone()), count)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_a_limited_number_of_connections_and_others_still_get_in() {
        let (mut limiter, count) = limiter(100, 2);
        let first = limiter.admit(address("192.0.2.1")).unwrap();
        let second = limiter.admit(address("::ffff:192.0.2.1")).unwrap();
        assert!(limiter.admit(address("192.0.2.1")).is_none());
        assert!(limiter.admit(address("192.0.2.2")).is_some());
        drop(first);
        assert!(limiter.admit(address("192.0.2.1")).is_some());
        drop(second);
        assert_eq!(limiter.open.counts().all, 0);
        assert!(limiter.open.counts().clients.is_empty());
        assert_eq!(count.0.load(Relaxed), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (mut limiter, _) = limiter(100, 1);
        let _one = limiter.admit(address("2001:db8::1")).unwrap();
        assert!(limiter.admit(address("2001:db8::2")).is_none());
        assert!(limiter.admit(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_trusted_proxy_counts_in_all_only() {
        let (mut limiter, _) = limiter(3, 1);
        let admitted: Vec<_> = (0..5).filter_map(|_| limiter.admit(address("10.1.2.3"))).collect();
        assert_eq!(admitted.len(), 3);
        assert!(limiter.admit(address("192.0.2.1")).is_none());
    }
}
