//! How many connections there may be: in all, and of one client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchyard_edge::forwarded::TrustedProxies;

use crate::metrics::{BoundLabel, Metrics};

/// What comes in floods is told of no more often than this.
const TELL: Duration = Duration::from_secs(1);

/// Counts connections in and out.
#[derive(Debug)]
pub(super) struct Door {
    open: Arc<Open>,
    max: usize,
    max_of_client: usize,
    trusted: TrustedProxies,
    metrics: Metrics,
    turned_away: Flood,
}

/// Counts what is too much to be told of one by one.
#[derive(Debug, Default)]
pub(super) struct Flood {
    count: usize,
    told: Option<Instant>,
}

/// One connection's place. Dropped when it is closed.
#[derive(Debug)]
pub(super) struct Permit {
    open: Arc<Open>,
    client: Option<IpAddr>,
}

#[derive(Debug)]
struct Open {
    counts: Mutex<Counts>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    clients: HashMap<IpAddr, usize>,
}

impl Door {
    /// Connections of `trusted` peers are those of many clients, and are counted in all only.
    pub(super) fn new(max: usize, max_of_client: usize, trusted: TrustedProxies, metrics: Metrics) -> Self {
        let open = Arc::new(Open { counts: Mutex::default(), metrics: metrics.clone() });
        Self { open, max, max_of_client, trusted, metrics, turned_away: Flood::default() }
    }

    /// A place for a connection of `peer`, unless there are too many.
    pub(super) fn enter(&mut self, peer: IpAddr) -> Option<Permit> {
        let client = (!self.trusted.contains(peer)).then(|| client_of(peer));
        let entered = self.open.enter(client, self.max, self.max_of_client);
        match entered {
            Ok(()) => {
                self.metrics.connections.inc();
                Some(Permit { open: self.open.clone(), client })
            }
            Err(bound) => {
                self.metrics.connections_refused.get_or_create(&bound.into()).inc();
                self.tell(peer, bound);
                None
            }
        }
    }

    fn tell(&mut self, peer: IpAddr, bound: BoundLabel) {
        let Some(count) = self.turned_away.tell() else { return };
        let flag = match bound {
            BoundLabel::all => "--max-connections",
            BoundLabel::client => "--max-client-connections",
        };
        tracing::warn!(
            connections.refused = count,
            client.address = %peer,
            "{count} connections were closed at once: there are too many ({flag}); the last was of {peer}"
        );
    }
}

impl Flood {
    /// How many there were since it was told of them, when it is time to.
    pub(super) fn tell(&mut self) -> Option<usize> {
        self.count += 1;
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

impl Open {
    fn enter(&self, client: Option<IpAddr>, max: usize, max_of_client: usize) -> Result<(), BoundLabel> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= max {
            return Err(BoundLabel::all);
        }
        if let Some(client) = client {
            // An entry is there only while it counts something.
            if counts.clients.get(&client).is_some_and(|count| *count >= max_of_client) {
                return Err(BoundLabel::client);
            }
            *counts.clients.entry(client).or_default() += 1;
        }
        counts.all += 1;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.metrics.connections.dec();
        let mut counts = self.open.counts.lock().unwrap_or_else(PoisonError::into_inner);
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

/// One client has one IPv4 address, or all the IPv6 addresses of a /64: that is the least that is given out.
fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(max: usize, max_of_client: usize) -> Door {
        let trusted = "10.0.0.0/8".parse().unwrap();
        Door::new(max, max_of_client, trusted, Metrics::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_others_still_get_in() {
        let mut door = door(100, 2);
        let first = door.enter(address("192.0.2.1")).unwrap();
        let second = door.enter(address("::ffff:192.0.2.1")).unwrap();
        assert!(door.enter(address("192.0.2.1")).is_none());
        assert!(door.enter(address("192.0.2.2")).is_some());
        drop(first);
        assert!(door.enter(address("192.0.2.1")).is_some());
        drop(second);
        assert_eq!(door.open.counts.lock().unwrap().all, 0);
        assert!(door.open.counts.lock().unwrap().clients.is_empty());
        assert_eq!(door.metrics.connections.get(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let mut door = door(100, 1);
        let _one = door.enter(address("2001:db8::1")).unwrap();
        assert!(door.enter(address("2001:db8::2")).is_none());
        assert!(door.enter(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_trusted_proxy_counts_in_all_only() {
        let mut door = door(3, 1);
        let entered: Vec<_> = (0..5).filter_map(|_| door.enter(address("10.1.2.3"))).collect();
        assert_eq!(entered.len(), 3);
        assert!(door.enter(address("192.0.2.1")).is_none());
    }
}
