//! The data flow: a connection's requests, each routed to its project's live version and forwarded
//! to that version's cell. Knows no files, and nothing of how a version comes to be live.

mod body;
mod dev_page;
mod handle;
mod pool;
mod problem;
mod server;
mod tunnel;

use std::time::Duration;

pub(crate) use server::Server;
use switchyard_bridge::forwarded::TrustedProxies;

/// What the data flow is told at start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether browsers are shown build errors.
    pub(crate) dev: bool,
    /// Whose word on where a request came from is taken.
    pub(crate) trusted_proxies: TrustedProxies,
    /// How long connections may go on once the router is to stop.
    pub(crate) grace: Duration,
}
