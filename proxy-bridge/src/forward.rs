//! Forwards the requests of clients to routers: to one that is ready, and that has published the
//! last deploy.
//!
//! Bodies are streamed both ways. A request is sent again only if that cannot have an effect twice.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Context as _;
use switchyard_edge::forwarded::TrustedProxies;
use switchyard_edge::listener::{ListenerLimits, ListenerSettings, Server};
use switchyard_edge::socket::{ListenAddress, Listener};
use tokio::time::Instant;

use self::handle::{RequestHandler, Shared};
use super::routers::Routers;

pub use self::metrics::ForwardMetrics;

mod body;
mod connector;
mod handle;
mod metrics;
mod problem;
#[cfg(test)]
mod tests;

/// The settings of the listener that forwards.
#[derive(Debug, Clone)]
pub struct ForwardSettings {
    /// Proxies with trusted headers about the client.
    pub trusted: TrustedProxies,
    /// The time from the end of a request (or from the last piece of its body that a router takes)
    /// to the beginning of its response.
    pub request_timeout: Duration,
    /// The limits on clients.
    pub limits: ListenerLimits,
    /// Time from now on in which requests wait for a first router that is ready: clients may have
    /// connected before this process was started.
    pub first_router: Duration,
    /// Threads that serve connections. `None`: one per core.
    pub threads: Option<usize>,
}

/// The running listener that forwards. Dropping it cuts its connections off.
#[derive(Debug)]
pub struct ForwardServer {
    server: Server,
    metrics: Arc<ForwardMetrics>,
}

impl ForwardServer {
    /// Forwards the requests that come to `listener`.
    ///
    /// # Errors
    /// The listener cannot be prepared, or a thread cannot be made.
    pub fn start(listener: Listener, settings: ForwardSettings, routers: Routers) -> anyhow::Result<Self> {
        let ForwardSettings { trusted, request_timeout, limits, first_router, threads } = settings;
        let metrics = Arc::new(ForwardMetrics::new(routers.clone()));
        let shared = Arc::new(Shared {
            request_timeout,
            body_timeout: limits.body_timeout,
            first_router_by: Instant::now() + first_router,
            routers,
            metrics: metrics.clone(),
            turn: AtomicUsize::new(0),
        });
        let mut settings = ListenerSettings::new("forward", trusted, limits);
        settings.threads = threads.unwrap_or(settings.threads);
        let server =
            Server::start(listener, settings, metrics.clone(), move || RequestHandler::new(shared.clone()))
                .context("start the listener that forwards")?;
        Ok(Self { server, metrics })
    }

    /// The address that it listens on.
    pub fn address(&self) -> &ListenAddress {
        self.server.address()
    }

    /// The counters of forwarded requests.
    pub fn metrics(&self) -> Arc<ForwardMetrics> {
        self.metrics.clone()
    }

    /// Accepts no more connections, closes idle ones, and returns when the others have finished
    /// their requests, or are cut off because `grace` is over.
    pub async fn stop(self, grace: Duration) {
        self.server.stop(grace).await;
    }
}
