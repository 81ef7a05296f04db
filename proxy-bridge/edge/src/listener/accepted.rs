//! An accepted connection, and the state of its thread that it is served with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::limiter::ConnectionPermit;
use super::{ListenerLimits, ListenerMetrics};
use crate::forwarded::TrustedProxies;
use crate::socket::DetachedStream;
use crate::tls::Tls;

/// An accepted connection on its way to its thread.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: DetachedStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: ConnectionPermit,
    pub(super) load: Load,
}

/// One connection in the load of its thread. Dropped at the connection's end.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    /// Adds a connection to `count`.
    pub(super) fn add(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Everything that the connections of one thread share.
pub(super) struct Worker<H> {
    pub(super) handler: H,
    pub(super) limits: ListenerLimits,
    pub(super) trusted: TrustedProxies,
    pub(super) metrics: Arc<dyn ListenerMetrics>,
    /// `None`: clients speak plain HTTP.
    pub(super) tls: Option<Tls>,
}
