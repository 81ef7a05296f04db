//! The data flow: the requests of clients, each routed to its project's live version and answered
//! with one of its files or by its cell. Versions become live elsewhere (`reload`); connections of
//! clients are `switchyard_edge`'s.

mod body;
mod connector;
mod cors;
mod destination;
mod dev;
mod dev_changes;
mod dev_page;
mod direct;
mod enter;
mod handle;
mod lease;
mod metrics;
mod pass_back;
mod problem;
mod problem_answer;
mod record;
mod site;
mod span;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use switchyard_edge::forwarded::TrustedProxies;
use switchyard_edge::listener::{ListenerLimits, ListenerSettings, Server};
use switchyard_edge::socket::Listener;

use self::enter::Entrance;
use self::handle::RequestHandler;
use self::record::Recorder;
pub(crate) use self::span::RequestSpans;
use crate::access_log::AccessLog;
use crate::live::{Commands, LiveTable};
use crate::metrics::Metrics;

/// The settings of the data flow.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Show build errors to browsers.
    pub(crate) dev: bool,
    /// Add a script to pages, which shows build errors and loads pages again.
    pub(crate) overlay: bool,
    /// The clients may have connected before this process was started: they wait for a project's first
    /// version.
    pub(crate) awaits_first: bool,
    /// Makes the spans of requests. `None`: none are exported.
    pub(crate) spans: Option<RequestSpans>,
    /// Proxies whose headers about the client are believed.
    pub(crate) trusted_proxies: TrustedProxies,
    /// The limits on clients.
    pub(crate) limits: ListenerLimits,
    /// The access log, if there is one.
    pub(crate) access_log: Option<Arc<AccessLog>>,
}

/// Serves the public listener with the projects of `live`.
///
/// # Errors
/// The listener cannot be prepared, or a thread cannot be made.
pub(crate) fn start(
    listener: Listener,
    settings: &HttpSettings,
    live: &Arc<LiveTable>,
    commands: &Commands,
    metrics: &Metrics,
) -> Result<Server> {
    let HttpSettings { dev, overlay, awaits_first, spans, trusted_proxies, limits, access_log } =
        settings.clone();
    let (live, commands, handler_limits) = (live.clone(), commands.clone(), limits.clone());
    let make_handler = move || {
        let recorder = Recorder::new(access_log.clone(), spans.clone());
        let entrance = Entrance::new(live.clone(), commands.clone(), awaits_first);
        RequestHandler::new([dev, overlay], &handler_limits, entrance, recorder)
    };
    let settings = ListenerSettings::new("http", trusted_proxies, limits);
    Server::start(listener, settings, Arc::new(metrics.clone()), make_handler)
        .context("start the public listener")
}
