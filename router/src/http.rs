//! The data flow: a connection's requests, each routed to its project's live version and answered with
//! one of its files or forwarded to its cell. Knows nothing of how a version comes to be live.

mod body;
mod conversation;
mod cors;
mod dev_page;
mod door;
mod handle;
mod lease;
mod pool;
mod problem;
mod request_id;
mod server;
mod site;
mod tunnel;

use std::time::Duration;

pub(crate) use server::Server;
use switchyard_edge::forwarded::TrustedProxies;

/// What the data flow is told at start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether browsers are shown build errors.
    pub(crate) dev: bool,
    /// Whose word on where a request came from is taken.
    pub(crate) trusted_proxies: TrustedProxies,
    /// How long connections may go on once the router is to stop.
    pub(crate) grace: Duration,
    pub(crate) bounds: Bounds,
}

/// What clients may take of the public listener.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// Of them, those of one client that is no trusted proxy.
    pub(crate) max_client_connections: usize,
    /// Requests on one connection.
    pub(crate) max_connection_requests: u64,
    /// The largest head of a request, in bytes.
    pub(crate) max_head: usize,
    /// From a head's first byte, or from connecting, to its end.
    pub(crate) head_timeout: Duration,
    /// How long a connection is kept without a request.
    pub(crate) idle_timeout: Duration,
    /// The longest pause of a client that sends a request's body, or that reads an answer.
    pub(crate) body_timeout: Duration,
}
