//! The counters of forwarded requests and of the clients that send them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use switchyard_edge::listener::{ConnectionLimit, ListenerMetrics};

use super::problem::ForwardProblem;
use crate::metrics::MetricSource;
use crate::routers::Routers;

/// The label values for the classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters since the start. A router's responses are counted as long as the router is known.
#[derive(Debug)]
pub struct ForwardMetrics {
    routers: Routers,
    retries: AtomicU64,
    no_router: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    connections: AtomicI64,
    connections_refused: [AtomicU64; 2],
    requests_refused: AtomicU64,
}

impl ListenerMetrics for ForwardMetrics {
    fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    fn connection_refused(&self, limit: ConnectionLimit) {
        let [all, client] = &self.connections_refused;
        let counter = match limit {
            ConnectionLimit::All => all,
            ConnectionLimit::Client => client,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn request_refused(&self) {
        self.requests_refused.fetch_add(1, Relaxed);
    }
}

impl ForwardMetrics {
    pub(super) fn new(routers: Routers) -> Self {
        let zero = AtomicU64::default;
        Self {
            routers,
            retries: zero(),
            no_router: zero(),
            failed: zero(),
            timed_out: zero(),
            connections: AtomicI64::default(),
            connections_refused: [zero(), zero()],
            requests_refused: zero(),
        }
    }

    /// The responses of each router (by name), by class of status from 1xx to 5xx.
    pub fn requests(&self) -> Vec<(String, [u64; 5])> {
        let routers = self.routers.list();
        routers.iter().map(|router| (router.name().to_owned(), router.answers())).collect()
    }

    /// Attempts after the first of a request.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Requests that were answered 503 because no router could take them.
    pub fn no_router(&self) -> u64 {
        self.no_router.load(Relaxed)
    }

    /// Requests that were answered 502.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Requests that were answered 504.
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    fn register_connections(&self, registry: &mut Registry) {
        let open = ConstGauge::new(self.connections.load(Relaxed));
        registry.register("switchyard_bridge_forward_connections", "Open connections of clients", open);
        let refused = Family::<[(&str, &str); 1], Counter>::default();
        for (bound, count) in ["all", "client"].into_iter().zip(&self.connections_refused) {
            refused.get_or_create(&[("bound", bound)]).inc_by(count.load(Relaxed));
        }
        registry.register(
            "switchyard_bridge_forward_connections_refused",
            "Connections of clients that were closed at once, by the limit that they exceed",
            refused,
        );
    }

    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, problem: ForwardProblem) {
        let counter = match problem {
            ForwardProblem::BadRequest(_) | ForwardProblem::Refused(_) | ForwardProblem::Upload(_) => return,
            ForwardProblem::NoRouters => &self.no_router,
            ForwardProblem::RouterFailed | ForwardProblem::BadAnswer(_) => &self.failed,
            ForwardProblem::Timeout => &self.timed_out,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl MetricSource for ForwardMetrics {
    fn register(&self, registry: &mut Registry) {
        let requests = Family::<[(&str, String); 2], Counter>::default();
        for (router, answers) in self.requests() {
            for (class, count) in CLASSES.into_iter().zip(answers) {
                let labels = [("router", router.clone()), ("status", class.to_owned())];
                requests.get_or_create(&labels).inc_by(count);
            }
        }
        registry.register(
            "switchyard_bridge_forwarded_requests",
            "Requests that a router responded to",
            requests,
        );
        let counters = [
            ("retries", "Attempts after the first of a forwarded request", self.retries()),
            ("no_router", "Requests that no router could take", self.no_router()),
            (
                "failed",
                "Requests for which the router closed the connection instead of responding, or sent an invalid response",
                self.failed(),
            ),
            ("timed_out", "Requests without a response in time", self.timed_out()),
            (
                "requests_refused",
                "Requests that are ambiguous, or have a head that is too large or too slow",
                self.requests_refused.load(Relaxed),
            ),
        ];
        for (name, help, count) in counters {
            registry.register(format!("switchyard_bridge_forward_{name}"), help, ConstCounter::new(count));
        }
        self.register_connections(registry);
    }
}
